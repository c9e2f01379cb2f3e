//! `SHUTDOWN`.

use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Action, Cx, Outcome, error};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("shutdown", -1, shutdown).flags(
    flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
)];

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`: synchronously save the dataset to disk and
/// then shut down the server.
///
/// There is nothing to save to yet, so `SAVE` is `NOSAVE`; and nothing to wait for, so there is
/// never a shutdown under way that could be aborted.
fn shutdown(cx: &mut Cx<'_>) -> Outcome {
    let (mut save, mut no_save, mut abort, mut others) = (false, false, false, false);
    for position in 1..cx.args.len() {
        match cx.arg(position).to_ascii_lowercase().as_slice() {
            b"nosave" => no_save = true,
            b"save" => save = true,
            b"now" | b"force" => others = true,
            b"abort" => abort = true,
            _ => return Err(error::SYNTAX),
        }
    }
    if (save && no_save) || (abort && (save || no_save || others)) {
        return Err(error::SYNTAX);
    }
    if abort {
        return Err("ERR No shutdown in progress.".into());
    }
    cx.after_commit(Action::Shutdown);
    Ok(())
}
