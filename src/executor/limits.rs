//! Limits of unsent output (`client-output-buffer-limit`).

use shm::{I64, Off, OutOfMemory, Tx, field};

use super::state::{Action, State};
use crate::config::BufferLimit;
use crate::session::{self, Session, flag};

/// Looks at a session whose unsent output has grown: beyond the hard limit, or beyond the soft one
/// for too long, it is to be closed. Called wherever output is appended, and from time to time.
pub fn check(tx: &mut Tx<'_>, state: &mut State, session: Off<Session>) -> Result<(), OutOfMemory> {
    let record = tx.read(session);
    let limits = state.config.client_output_buffer_limit();
    let limit: BufferLimit =
        if record.is(flag::SUBSCRIBER) { limits.pubsub } else { limits.normal };
    let bytes = record.out_bytes.get().to_native();
    let soft = limit.soft > 0 && bytes > limit.soft;
    let mut over = limit.hard > 0 && bytes > limit.hard;
    let since = record.soft_limit_ms.get().to_native();
    let hint = field!(session, Session.soft_limit_ms);
    if !soft {
        if since != 0 {
            tx.hint(hint, I64::from_native(0));
        }
    } else if since == 0 {
        tx.hint(hint, I64::from_native(state.now_ms));
    } else {
        over |= state.now_ms - since > limit.soft_seconds as i64 * 1000;
    }
    if over && !record.is(flag::CLOSE_ASAP) {
        tracing::warn!(
            client = record.id.to_native(),
            bytes,
            "closing a client: its unsent output exceeds client-output-buffer-limit"
        );
        session::change_flags(tx, session, 0, flag::CLOSE_ASAP)?;
        state.actions.push(Action::Close(record.slot.to_native()));
    }
    Ok(())
}
