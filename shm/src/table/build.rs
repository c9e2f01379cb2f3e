//! Making a table of entries that are all known.

use super::change::{Image, new_segment};
use super::*;
use crate::error::OutOfMemory;
use crate::tx::Tx;

/// Makes a table of entries, each with its hash, no two of which have equal keys. Gives the record, which
/// the caller puts where it belongs. The entries are put in another order.
///
/// It is as if one were [inserted](super::insert) after the other, but segments are made as a whole: so
/// none is made only to be split, and the log holds what the allocator needs, not the table.
///
/// # Errors
///
/// As for an insertion.
pub fn build(tx: &mut Tx<'_>, entries: &mut [(u64, Off<u8>)]) -> Result<Table, OutOfMemory> {
    if entries.is_empty() {
        return Ok(Table::EMPTY);
    }
    entries.sort_unstable_by_key(|(hash, _)| *hash);
    let mut segments = Vec::new();
    fill(tx, entries, 0, &mut segments)?;
    let depth = segments.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
    let directory = tx.alloc(8 << depth)?;
    let mut index = 0;
    for (of_segment, segment) in &segments {
        let end = index + (1 << (depth - of_segment));
        (index..end).for_each(|index| tx.init(&directory, index * 8, *segment));
        index = end;
    }
    let deepest = segments.iter().filter(|(of_segment, _)| *of_segment == depth).count();
    Ok(Table {
        directory: Slot::new(directory.off().cast()),
        len: Slot::new(U64::from_native(entries.len() as u64)),
        depth: Slot::new(U32::from_native(depth)),
        deepest: Slot::new(U32::from_native(deepest as u32)),
    })
}

/// Makes segments of entries in the order of their hashes, which share the first `depth` bits: one if
/// they fit into it. Adds each to `segments` with its depth.
fn fill(
    tx: &mut Tx<'_>,
    entries: &[(u64, Off<u8>)],
    depth: u32,
    segments: &mut Vec<(u32, Off<SegmentHeader>)>,
) -> Result<(), OutOfMemory> {
    if entries.len() <= BUCKETS as usize * SLOTS {
        let mut image = Image::EMPTY;
        let fits = entries.iter().all(|&(hash, entry)| {
            debug_assert!(entry.raw().is_multiple_of(8) && !entry.is_null());
            let content = SlotContent { entry, displacement: 0, tag: hash >> (64 - TAG_BITS) };
            image.place(home_of(hash), content)
        });
        if fits {
            segments.push((depth, new_segment(tx, &image, depth, U64::from_native(0))?));
            return Ok(());
        }
    }
    if depth == TAG_BITS {
        return Err(OutOfMemory);
    }
    let middle = entries.partition_point(|(hash, _)| hash >> (63 - depth) & 1 == 0);
    let (low, high) = entries.split_at(middle);
    fill(tx, low, depth + 1, segments)?;
    fill(tx, high, depth + 1, segments)
}
