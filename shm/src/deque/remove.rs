//! Removing items, and freeing what is left of a deque.

use std::ops::Range;

use super::chunk::{self, Between, Slack};
use super::walk::chunk_of;
use super::{Bounds, Chunk, Deque, Direction, End, HEAD, Limits, run_of};
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::pack;
use crate::record::{Slot, U64};
use crate::tx::Tx;

/// Removes the item at one end. The deque must not be empty.
#[inline]
pub fn pop(tx: &mut Tx<'_>, deque: Off<Deque>, end: End) -> Result<(), OutOfMemory> {
    let record = tx.get(deque);
    let (edge, len) = (record.edge(end), record.len.get().to_native());
    let is_only = record.head.get() == record.tail.get();
    let bounds = tx.get(edge).bounds.get();
    if bounds.len() == 1 {
        return drop_chunk(tx, deque, edge);
    }
    let run = run_of(tx, edge);
    let (start, stop, lost) = match end {
        End::Front => {
            let bytes = pack::skip(run, 0);
            (bounds.start() + bytes, bounds.end(), bounds.start()..bounds.start() + bytes)
        }
        End::Back => {
            let stop = bounds.start() + pack::before(run, run.len()).unwrap_or(0);
            (bounds.start(), stop, stop..bounds.end())
        }
    };
    tx.abandon(edge.byte_add(lost.start as u64), lost.len())?;
    tx.set(field!(edge, Chunk.bounds), Bounds::new(start, stop, bounds.len() - 1))?;
    tx.set(field!(deque, Deque.len), U64::from_native(len - 1))?;
    if is_only {
        chunk::cut_down(tx, deque, edge)?;
    }
    Ok(())
}

/// Frees a chunk with its items.
fn drop_chunk(tx: &mut Tx<'_>, deque: Off<Deque>, chunk: Off<Chunk>) -> Result<(), OutOfMemory> {
    let items = tx.get(chunk).bounds.get().len() as i64;
    chunk::unlink(tx, deque, chunk)?;
    chunk::count(tx, deque, -items, -1)?;
    tx.free(chunk)
}

/// Removes the items whose numbers lie in a range (clamped to those there are). Gives the chunks that
/// were removed as a whole, as the record of a deque that is not part of this one any more: the caller
/// [frees](free) it, or keeps it to be freed later, since that may take long.
pub fn remove(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    range: Range<u64>,
    limits: &Limits,
) -> Result<Deque, OutOfMemory> {
    let end = range.end.min(super::len(tx, deque));
    if range.start >= end {
        return Ok(Deque::EMPTY);
    }
    let Some((mut at, number)) = chunk_of(tx, deque, range.start) else {
        return Ok(Deque::EMPTY);
    };
    let mut left = end - range.start;
    let mut touched = Off::NULL;
    let items = tx.get(at).bounds.get().len();
    if number > 0 {
        let removed = (items - number).min(usize::try_from(left).unwrap_or(usize::MAX));
        touched = remove_within(tx, deque, at, number..number + removed, limits)?;
        left -= removed as u64;
        at = chunk::around(tx, touched).next;
    }
    let mut cut = Deque::EMPTY;
    if left > 0 {
        let previous = chunk::around(tx, at).previous;
        cut = cut_out(tx, deque, at, &mut left)?;
        at = next_of(tx, deque, previous);
    }
    if left > 0 {
        touched = remove_within(tx, deque, at, 0..left as usize, limits)?;
    }
    if !touched.is_null() {
        chunk::settle(tx, deque, touched, limits)?;
    }
    Ok(cut)
}

/// The chunk behind this one; the first one if it is null.
fn next_of(tx: &Tx<'_>, deque: Off<Deque>, chunk: Off<Chunk>) -> Off<Chunk> {
    if chunk.is_null() { tx.get(deque).head.get() } else { tx.get(chunk).next.get() }
}

/// Removes some but not all items of a chunk, by their numbers in it.
fn remove_within(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    items: Range<usize>,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let len = tx.get(chunk).bounds.get().len();
    let run = run_of(tx, chunk);
    let bytes = pack::nth(run, len, items.start)..pack::nth(run, len, items.end);
    let removed = items.len() as isize;
    let chunk = chunk::splice(tx, deque, chunk, bytes, &[], -removed, limits)?;
    chunk::count(tx, deque, -(removed as i64), 0)?;
    Ok(chunk)
}

/// Takes out of the deque, from a chunk on, those that have no more than `left` items all in all, and
/// makes `left` what is not in them.
fn cut_out(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    first: Off<Chunk>,
    left: &mut u64,
) -> Result<Deque, OutOfMemory> {
    let (mut at, mut last): (Off<Chunk>, Off<Chunk>) = (first, Off::NULL);
    let (mut items, mut chunks) = (0, 0);
    while !at.is_null() {
        let chunk = tx.get(at);
        let here = chunk.bounds.get().len() as u64;
        if here > *left - items {
            break;
        }
        (items, chunks) = (items + here, chunks + 1);
        (at, last) = (chunk.next.get(), at);
        if items == *left {
            break;
        }
    }
    if last.is_null() {
        return Ok(Deque::EMPTY);
    }
    let previous = tx.get(first).previous.get();
    chunk::set_next(tx, deque, previous, at)?;
    chunk::set_previous(tx, deque, at, previous)?;
    tx.set(field!(first, Chunk.previous), Off::NULL)?;
    tx.set(field!(last, Chunk.next), Off::NULL)?;
    chunk::count(tx, deque, -(items as i64), -chunks)?;
    *left -= items;
    Ok(Deque {
        head: Slot::new(first),
        tail: Slot::new(last),
        len: Slot::new(U64::from_native(items)),
        chunks: Slot::new(U64::from_native(chunks as u64)),
    })
}

/// Removes up to `most` items that are equal to a value, in the order of that direction; gives how many.
pub fn remove_equal(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    value: &[u8],
    direction: Direction,
    most: u64,
    limits: &Limits,
) -> Result<u64, OutOfMemory> {
    let record = tx.get(deque);
    let mut at = match direction {
        Direction::Forward => record.head.get(),
        Direction::Backward => record.tail.get(),
    };
    let (mut removed, mut touched) = (0, Off::NULL);
    while !at.is_null() && removed < most {
        let mut found = equal_in(run_of(tx, at), value);
        let wanted = usize::try_from(most - removed).unwrap_or(usize::MAX);
        let unwanted = found.len().saturating_sub(wanted);
        match direction {
            Direction::Forward => found.truncate(wanted),
            Direction::Backward => drop(found.drain(..unwanted)),
        }
        removed += found.len() as u64;
        let Between { previous, next } = chunk::around(tx, at);
        let was_touched = !touched.is_null();
        let left = remove_places(tx, deque, at, &found, limits)?;
        if !left.is_null() && (was_touched || !found.is_empty()) {
            // Only with the one that was looked at before: the next one is still to come.
            touched = match direction {
                Direction::Forward => chunk::join_previous(tx, deque, left, limits)?,
                Direction::Backward => chunk::join_next(tx, deque, left, limits)?,
            };
        }
        at = if direction == Direction::Forward { next } else { previous };
    }
    if !touched.is_null() {
        chunk::settle(tx, deque, touched, limits)?;
    }
    Ok(removed)
}

/// Where the items equal to a value start and end.
fn equal_in(run: &[u8], value: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = pack::find(run, from, value, 0) {
        from = pack::skip(run, at);
        found.push(at..from);
    }
    found
}

/// Removes the items at these places of a chunk; gives the chunk that holds the others, or null.
fn remove_places(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    places: &[Range<usize>],
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let items = tx.get(chunk).bounds.get().len();
    let removed = places.len();
    if removed == items {
        drop_chunk(tx, deque, chunk)?;
        return Ok(Off::NULL);
    }
    let changed = match places {
        [] => return Ok(chunk),
        [one] => chunk::splice(tx, deque, chunk, one.clone(), &[], -1, limits)?,
        _ => {
            let run = run_of(tx, chunk);
            let mut kept = Vec::with_capacity(run.len());
            let mut from = 0;
            for place in places {
                kept.extend_from_slice(&run[from..place.start]);
                from = place.end;
            }
            kept.extend_from_slice(&run[from..]);
            let between = chunk::around(tx, chunk);
            let content = (kept.len(), items - removed);
            let size = HEAD + kept.len() + kept.len() / 4;
            let (fresh, start) = chunk::create(tx, deque, between, content, size, Slack::Both)?;
            tx.init_bytes(&fresh, start as u64, &kept);
            tx.free(chunk)?;
            fresh.off().cast()
        }
    };
    chunk::count(tx, deque, -(removed as i64), 0)?;
    Ok(changed)
}

/// Frees all chunks of a deque whose record is not in the arena, or not used any more.
pub fn free(tx: &mut Tx<'_>, deque: Deque) -> Result<(), OutOfMemory> {
    let mut at = deque.head.get();
    while !at.is_null() {
        let next = tx.get(at).next.get();
        tx.free(at)?;
        at = next;
    }
    Ok(())
}

/// Frees up to `limit` chunks of a deque that nobody uses any more, from its head; true when nothing is
/// left. Until then the record is that of a shorter deque.
pub fn free_step(tx: &mut Tx<'_>, deque: Off<Deque>, limit: usize) -> Result<bool, OutOfMemory> {
    let record = tx.read(deque);
    let (mut at, mut items, mut chunks) = (record.head.get(), 0, 0);
    while !at.is_null() && chunks < limit as u64 {
        let chunk = tx.get(at);
        items += chunk.bounds.get().len() as u64;
        chunks += 1;
        let next = chunk.next.get();
        tx.free(at)?;
        at = next;
    }
    let tail = if at.is_null() {
        Off::NULL
    } else {
        tx.set(field!(at, Chunk.previous), Off::NULL)?;
        record.tail.get()
    };
    let rest = Deque {
        head: Slot::new(at),
        tail: Slot::new(tail),
        len: Slot::new(U64::from_native(record.len.get().to_native() - items)),
        chunks: Slot::new(U64::from_native(record.chunks.get().to_native() - chunks)),
    };
    tx.set(deque.cast::<Slot<Deque>>(), rest)?;
    Ok(at.is_null())
}
