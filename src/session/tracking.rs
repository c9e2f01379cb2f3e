//! Client-side caching (`CLIENT TRACKING`): who has read which keys, and telling them of changes.

use shm::{Off, OutOfMemory, Tx};

use super::Session;
use crate::executor::{Cx, Outcome, State};

/// Notes that a key was changed by a session (or by expiry): those who have read it are told.
pub fn key_changed(
    tx: &mut Tx<'_>,
    state: &mut State,
    database: u32,
    key: &[u8],
    by: Option<Off<Session>>,
) -> Result<(), OutOfMemory> {
    let _ = (tx, state, database, key, by);
    Ok(())
}

/// Notes what the command that ran has read.
pub fn after_command(cx: &mut Cx<'_>) -> Outcome {
    let _ = cx;
    Ok(())
}
