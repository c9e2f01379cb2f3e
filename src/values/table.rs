//! What sets, hashes and sorted sets share about tables whose entries are blocks, one for each element.
//!
//! How a block tells its key and its length is the type's own business ([`Element`]); the table is the
//! one referrer of each block.

use std::collections::HashSet;

use shm::check::{Checker, mark_table};
use shm::table::{self, Drained, Place, Table};
use shm::{Fresh, Off, OutOfMemory, Tx, View};

/// Blocks of a kind that stand in a table.
pub trait Element {
    /// Bytes that every block has at least: those that tell its length.
    const HEADER: u64;

    /// Bytes of a block that are in use. Reads nothing but the header.
    fn len(view: &View, block: Off<u8>) -> u64;

    /// By what the block is found: a set's member, a hash's field.
    fn key(view: &View, block: Off<u8>) -> &[u8];
}

/// Looks the element with a key up.
#[inline]
pub fn find<E: Element>(view: &View, table: Off<Table>, key: &[u8]) -> Option<Place> {
    find_hashed::<E>(view, table, view.hash(key), key)
}

/// Looks the element with a key up, whose hash is known.
#[inline]
pub fn find_hashed<E: Element>(
    view: &View,
    table: Off<Table>,
    hash: u64,
    key: &[u8],
) -> Option<Place> {
    table::find(view, table, hash, |view, block| E::key(view, block) == key)
}

/// Takes an element that was found by this hash out of the table, and frees its block.
pub fn remove(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    place: &Place,
) -> Result<(), OutOfMemory> {
    take(tx, table, hash, place)?;
    tx.free(place.entry)
}

/// Takes an element that was found by this hash out of the table; its block is the caller's to free.
///
/// Now and then that joins sparse segments, so places in the table are invalid afterwards.
pub fn take(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    place: &Place,
) -> Result<(), OutOfMemory> {
    /// Fewer elements for an entry of the directory are few: a segment holds 434.
    const SPARSE: u64 = 64;
    table::remove(tx, table, place)?;
    let record = tx.get(table);
    let sparse = record.len.get().to_native() >> record.depth.get().to_native() < SPARSE;
    // Bits of the hash that choose neither the segment nor the bucket, nearly: one element in 64 has none
    // of them, one in 8 none of the last three.
    let bits = hash >> 32 & if sparse { 0x7 } else { 0x3f };
    if bits == 0 {
        table::shrink_step(tx, table, hash)?;
    }
    Ok(())
}

/// Frees up to about `limit` blocks of a table that nobody uses any more. True when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, table: Off<Table>, limit: usize) -> Result<bool, OutOfMemory> {
    let drained = table::drain_step(tx, table, limit, |tx, block| tx.free(block))?;
    Ok(drained == Drained::All)
}

/// Marks a table and its elements, and proves that each can be found, so that no two have one key;
/// `each` is told of every element whose block is sound.
pub fn mark<E: Element>(
    checker: &mut Checker<'_>,
    table: Off<Table>,
    what: &str,
    mut each: impl FnMut(&mut Checker<'_>, Off<u8>),
) {
    mark_table(checker, table, what, |checker, block| {
        if !checker.mark(block, E::HEADER, what) {
            return;
        }
        let view = checker.view();
        let len = E::len(view, block);
        let room = shm::alloc::block_size(view, block);
        if len > room {
            return checker.finding(format!("{what}: {block:?} has {room} bytes of {len}"));
        }
        let found = find::<E>(view, table, E::key(view, block)).map(|place| place.entry);
        if found != Some(block) {
            return checker.finding(format!("{what}: {block:?} is hidden by {found:?}"));
        }
        each(checker, block);
    });
}

/// Bytes of a table and its elements. `samples` elements are looked at, and the others taken to be like
/// them; all if it is 0.
pub fn memory(view: &View, table: Off<Table>, samples: u64) -> u64 {
    let len = table::len(view, table);
    let looked_at = if samples == 0 { len } else { samples.min(len) };
    let blocks = table::entries(view, table).take(looked_at as usize);
    let bytes: u64 = blocks.map(|block| shm::alloc::block_size(view, block)).sum();
    let elements = u128::from(bytes) * u128::from(len) / u128::from(looked_at.max(1));
    table::memory(view, table, samples) + elements as u64
}

/// Copies a table with its elements; the copy's record goes to `start` in the fresh block.
pub fn copy<E: Element>(
    tx: &mut Tx<'_>,
    from: Off<Table>,
    fresh: &Fresh,
    start: u64,
) -> Result<(), OutOfMemory> {
    let copied = table::copy(tx, from, |tx, block| {
        let len = E::len(tx, block);
        let fresh = tx.alloc(len)?;
        tx.init_copy(&fresh, 0, block, len);
        Ok(fresh.off())
    })?;
    tx.init(fresh, start, copied);
    Ok(())
}

/// All elements.
pub fn all(view: &View, table: Off<Table>) -> Vec<Off<u8>> {
    let mut blocks = Vec::with_capacity(table::len(view, table) as usize);
    table::for_each(view, table, |_, block| blocks.push(block));
    blocks
}

/// Visits about `count` elements, those behind a cursor of a `SCAN`; gives the next cursor, 0 at the
/// end. Where the table is sparse, the work is bounded all the same.
pub fn scan(
    view: &View,
    table: Off<Table>,
    mut cursor: u64,
    count: u64,
    mut each: impl FnMut(&View, Off<u8>),
) -> u64 {
    let mut steps = count.saturating_mul(10);
    let mut visited = 0;
    loop {
        let step = table::scan_step(view, table, cursor, &mut each);
        (cursor, visited) = (step.cursor, visited + step.visited);
        steps -= 1;
        if cursor == 0 || visited >= count || steps == 0 {
            return cursor;
        }
    }
}

/// So many different elements, chosen at random, each with the same chance; all if there are not so
/// many.
pub fn sample(
    view: &View,
    table: Off<Table>,
    count: usize,
    mut random: impl FnMut() -> u64,
) -> Vec<Off<u8>> {
    let len = table::len(view, table) as usize;
    if count.saturating_mul(3) > len {
        let mut blocks = all(view, table);
        for i in 0..count.min(len) {
            blocks.swap(i, i + random() as usize % (len - i));
        }
        blocks.truncate(count);
        return blocks;
    }
    let (mut blocks, mut seen) = (Vec::with_capacity(count), HashSet::with_capacity(count));
    while blocks.len() < count
        && let Some(block) = table::random_entry(view, table, &mut random)
    {
        if seen.insert(block) {
            blocks.push(block);
        }
    }
    blocks
}
