//! `SHUTDOWN`.

use super::not_implemented;
use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("shutdown", -1, shutdown).flags(
    flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
)];

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`: synchronously save the dataset to disk and
/// then shut down the server.
fn shutdown(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
