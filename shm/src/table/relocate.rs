//! Moving a table's blocks out of spans that are to be emptied ([`crate::alloc::Survey`]).

use super::change::{each_entry, point_directory, set_slot};
use super::*;
use crate::error::OutOfMemory;
use crate::tx::Tx;

/// Moves the segment of a hash, and up to `limit` of its entries for which `relocate` gives another block. Gives the hash
/// to go on with, which is the same if there may be more to move; `None` at the end of the table.
///
/// A cursor of [`scan_step`] stays valid across it.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    limit: usize,
    mut relocate: impl FnMut(&mut Tx<'_>, Off<u8>) -> Result<Option<Off<u8>>, OutOfMemory>,
) -> Result<Option<u64>, OutOfMemory> {
    let mut segment = segment_of(tx, table, hash);
    if segment.is_null() {
        return Ok(None);
    }
    let depth = tx.get(segment).depth.to_native();
    if tx.is_evacuating(segment) {
        segment = tx.relocate(segment)?;
        point_directory(tx, table, hash, depth, [segment, segment])?;
    }
    let mut entries = Vec::new();
    each_entry(tx, segment, |bucket, slot, _, content| entries.push((bucket, slot, content)));
    let mut moved = 0;
    for (bucket, slot, content) in entries {
        if moved == limit {
            return Ok(Some(hash));
        }
        if let Some(entry) = relocate(tx, content.entry)? {
            let slot = slot_at(bucket_at(segment, bucket), slot);
            set_slot(tx, slot, SlotContent { entry, ..content }.encode())?;
            moved += 1;
        }
    }
    let next = directory_index(hash, depth) + 1;
    Ok(next.checked_shl(64 - depth).filter(|next| *next != 0))
}
