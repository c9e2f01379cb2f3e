//! Lists.

use shm::check::Checker;
use shm::{Fresh, Off, OutOfMemory, Tx, View};

use crate::keyspace::entry::Kind;

/// Frees up to about `limit` blocks of what hangs on a root record. True when nothing is left.
pub fn free_step(_tx: &mut Tx<'_>, _at: Off<u8>, _limit: usize) -> Result<bool, OutOfMemory> {
    Ok(true)
}

/// Marks the blocks of a value and proves what holds of it.
pub fn mark(_checker: &mut Checker<'_>, _kind: Kind, _at: Off<u8>, _len: usize, _what: &str) {}

/// Bytes of what hangs on a root record.
pub fn memory(_view: &View, _at: Off<u8>, _samples: u64) -> u64 {
    0
}

/// Copies what hangs on a root record; the copy's record goes to `start` in the fresh entry.
pub fn copy(
    _tx: &mut Tx<'_>,
    _from: Off<u8>,
    _fresh: &Fresh,
    _start: u64,
) -> Result<(), OutOfMemory> {
    Ok(())
}
