//! Moving a table's blocks out of spans that are to be emptied ([`crate::relocate`]).

use super::change::{each_entry, point_directory, set_slot};
use super::*;
use crate::error::OutOfMemory;
use crate::relocate::Mover;
use crate::tx::Tx;

/// Where a walk stands. Any is allowed: segments that split or join may have some entries passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// A hash of the segment.
    hash: u64,
    /// Slots of it that were looked at.
    slot: u64,
}

/// How far ahead entries are fetched.
const AHEAD: usize = 8;

/// Moves directory, segments and entries, from a position on. `each` moves an entry's block and what hangs on it;
/// it gives the new block if there is one. Gives the position to go on with; `None` at the end of the table.
///
/// A cursor of [`scan_step`] stays valid across it.
///
/// # Errors
///
/// If there is no memory; the transaction is to be rolled back then.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    at: Position,
    mover: &mut Mover,
    mut each: impl FnMut(&mut Tx<'_>, &mut Mover, Off<u8>) -> Result<Option<Off<u8>>, OutOfMemory>,
) -> Result<Option<Position>, OutOfMemory> {
    if tx.get(table).directory.get().is_null() {
        return Ok(None);
    }
    if at == Position::default() {
        mover.relocate_at(tx, field!(table, Table.directory))?;
    }
    let mut at = at;
    loop {
        let Some(segment) = relocate_segment(tx, table, at, mover)? else { return Ok(None) };
        let mut entries = Vec::with_capacity(BUCKETS as usize * SLOTS);
        each_entry(tx, segment, |bucket, slot, _, content| {
            let number = bucket * SLOTS as u64 + slot as u64;
            if number >= at.slot {
                entries.push((number, content));
            }
        });
        for (i, &(number, content)) in entries.iter().enumerate() {
            if let Some((_, ahead)) = entries.get(i + AHEAD) {
                tx.prefetch_to_relocate(ahead.entry);
            }
            if let Some(entry) = each(tx, mover, content.entry)? {
                let bucket = bucket_at(segment, number / SLOTS as u64);
                let slot = slot_at(bucket, number as usize % SLOTS);
                set_slot(tx, slot, SlotContent { entry, ..content }.encode())?;
            }
            if mover.is_spent() {
                return Ok(Some(Position { slot: number + 1, ..at }));
            }
        }
        match segment_end(tx, table, at.hash) {
            Some(hash) => at = Position { hash, slot: 0 },
            None => return Ok(None),
        }
        if mover.is_spent() {
            return Ok(Some(at));
        }
    }
}

/// Moves the segment at a position; gives it, or `None` if there is none (of a table that is being drained).
fn relocate_segment(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    at: Position,
    mover: &mut Mover,
) -> Result<Option<Off<SegmentHeader>>, OutOfMemory> {
    let segment = segment_of(tx, table, at.hash);
    if segment.is_null() {
        return Ok(None);
    }
    let Some(moved) = mover.relocate(tx, segment)? else { return Ok(Some(segment)) };
    let depth = tx.get(moved).depth.to_native();
    point_directory(tx, table, at.hash, depth, [moved, moved])?;
    Ok(Some(moved))
}
