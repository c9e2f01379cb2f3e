//! Taking tables apart in small steps, and joining segments that have become sparse.

use super::change::{
    Image, change_deepest, change_displaced, change_len, each_entry, new_segment, point_directory,
    set_slot,
};
use super::*;
use crate::error::OutOfMemory;
use crate::tx::Tx;

/// How far a step of [`drain_step`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// There is more.
    More,
    /// The table is empty and has no memory of its own any more.
    All,
}

/// Takes entries out of the table, gives each to `each` (which frees what hangs on it), and frees
/// segments as they become empty and the directory at the end: up to `limit` entries and segments
/// in all.
///
/// Meant for tables that nobody else uses any more: segments of a table under way lead nowhere.
pub fn drain_step(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    limit: usize,
    mut each: impl FnMut(&mut Tx<'_>, Off<u8>) -> Result<(), OutOfMemory>,
) -> Result<Drained, OutOfMemory> {
    let record = tx.read(table);
    let directory = record.directory.get();
    if directory.is_null() {
        return Ok(Drained::All);
    }
    // Drained segments leave null entries at the directory's start.
    let entries = 1u64 << record.depth.get().to_native();
    let mut index = first_left(tx, directory, entries);
    let mut left = limit;
    while index < entries {
        let segment = tx.read(directory.nth(index));
        left -= drain_segment(tx, table, segment, left, &mut each)?;
        if left == 0 {
            return Ok(Drained::More);
        }
        left -= 1;
        let span = 1u64 << (record.depth.get().to_native() - tx.get(segment).depth.to_native());
        tx.free(segment)?;
        tx.fill(directory.nth(index).cast(), 0, (span * 8) as usize)?;
        index += span;
    }
    drop_directory(tx, table)?;
    Ok(Drained::All)
}

/// Frees the directory of a table without segments, which then is as it was at first.
fn drop_directory(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let directory = tx.get(table).directory.get();
    tx.set(field!(table, Table.directory), Off::NULL)?;
    tx.set(field!(table, Table.depth), U32::from_native(0))?;
    tx.set(field!(table, Table.deepest), U32::from_native(0))?;
    tx.free(directory)
}

/// Index of the first directory entry that is not null. Drained ones form a prefix.
fn first_left(view: &View, directory: Off<Off<SegmentHeader>>, entries: u64) -> u64 {
    view.array(directory, entries as usize).partition_point(|segment| segment.is_null()) as u64
}

/// Takes up to `limit` entries out of a segment; gives their number. Fewer than `limit` means that
/// the segment is empty.
fn drain_segment(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    segment: Off<SegmentHeader>,
    limit: usize,
    each: &mut impl FnMut(&mut Tx<'_>, Off<u8>) -> Result<(), OutOfMemory>,
) -> Result<usize, OutOfMemory> {
    let mut found = Vec::new();
    each_entry(tx, segment, |bucket, slot, home, content| {
        if found.len() < limit {
            found.push((bucket, slot, home, content));
        }
    });
    for &(bucket, slot, home, content) in &found {
        each(tx, content.entry)?;
        set_slot(tx, slot_at(bucket_at(segment, bucket), slot), 0)?;
        if content.displacement > 0 {
            change_displaced(tx, bucket_at(segment, home), -1)?;
        }
    }
    change_len(tx, table, -(found.len() as i64))?;
    Ok(found.len())
}

/// Entries that two halves may hold together and still be joined: well below what a segment holds,
/// so that a join is not soon followed by a split.
const JOIN_BELOW: usize = (BUCKETS as usize * SLOTS) / 3;

/// Looks at the segment of a hash, and joins it with its sibling if both are sparse. Gives the first
/// hash behind what was looked at, or `None` at the end of the table. When no segment needs the
/// directory's full depth any more, the directory is halved; a table of one empty segment gives back
/// all its memory.
///
/// A cursor of [`scan_step`] stays valid across it.
pub fn shrink_step(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
) -> Result<Option<u64>, OutOfMemory> {
    let segment = segment_of(tx, table, hash);
    if segment.is_null() {
        return Ok(None);
    }
    let depth = tx.get(segment).depth.to_native();
    if depth == 0 {
        if len(tx, table) == 0 {
            tx.free(segment)?;
            drop_directory(tx, table)?;
        }
        return Ok(None);
    }
    let parent = directory_index(hash, depth) >> 1;
    let low_hash = parent << 1 << (64 - depth);
    let high_hash = low_hash | 1 << (64 - depth);
    let next = (directory_index(hash, depth) + 1).checked_mul(1 << (64 - depth));
    let (low, high) = (segment_of(tx, table, low_hash), segment_of(tx, table, high_hash));
    let equal = tx.get(low).depth.to_native() == tx.get(high).depth.to_native();
    let mut entries = 0;
    if equal {
        for half in [low, high] {
            each_entry(tx, half, |_, _, _, _| entries += 1);
        }
    }
    if !equal || entries > JOIN_BELOW {
        return Ok(next);
    }
    let mut image = Image::EMPTY;
    let mut fits = true;
    for half in [low, high] {
        each_entry(tx, half, |_, _, home, content| fits &= image.place(home, content));
    }
    if fits {
        let hint = lesser_hint([low, high].map(|half| tx.get(half).hint.get().to_native()));
        let joined = new_segment(tx, &image, depth - 1, U64::from_native(hint))?;
        point_directory(tx, table, low_hash, depth - 1, [joined, joined])?;
        tx.free(low)?;
        tx.free(high)?;
        if depth == tx.get(table).depth.get().to_native() {
            change_deepest(tx, table, -2)?;
            if tx.get(table).deepest.get() == 0 {
                cut_directory(tx, table)?;
            }
        }
    }
    Ok(next)
}

/// The hint of two segments together: the lesser one, but 0 says nothing.
fn lesser_hint(hints: [u64; 2]) -> u64 {
    hints.into_iter().filter(|hint| *hint != 0).min().unwrap_or(0)
}

/// Makes the directory as small as its deepest segments allow.
///
/// It takes as many joins as the new directory has entries, or more, to come to this again, so the
/// copy costs little in the mean.
fn cut_directory(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let (mut depth, mut deepest) = (0, 0);
    segments(tx, table, |_, _, of_segment| {
        if of_segment > depth {
            (depth, deepest) = (of_segment, 0);
        }
        deepest += u32::from(of_segment == depth);
    });
    let record = tx.read(table);
    let (old, old_depth) = (record.directory.get(), record.depth.get().to_native());
    let fresh = tx.alloc(8 << depth)?;
    for i in 0..1 << depth {
        let segment = tx.read(old.nth(i << (old_depth - depth)));
        tx.init(&fresh, i * 8, segment);
    }
    tx.set(field!(table, Table.directory), fresh.off().cast())?;
    tx.set(field!(table, Table.depth), U32::from_native(depth))?;
    tx.set(field!(table, Table.deepest), U32::from_native(deepest))?;
    tx.free(old)
}
