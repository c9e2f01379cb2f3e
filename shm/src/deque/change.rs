//! Adding and replacing items.

use super::chunk::{self, Between, Slack};
use super::{Bounds, Chunk, Deque, End, HEAD, Limits, Place, run_of};
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::pack;
use crate::record::{Slot, U64};
use crate::tx::Tx;

/// Adds an item, as [`pack::encode`] encodes it, at one end.
#[inline]
pub fn push(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    end: End,
    item: &[u8],
    limits: &Limits,
) -> Result<(), OutOfMemory> {
    let record = tx.get(deque);
    let (edge, len) = (record.edge(end), record.len.get().to_native());
    if !edge.is_null() {
        let record = tx.get(edge);
        let (bounds, size) = (record.bounds.get(), record.size.to_native() as usize);
        if chunk::slack(&bounds, size, end) >= item.len()
            && limits.allow(bounds.bytes() + item.len(), bounds.len() + 1)
        {
            add(tx, edge, &bounds, end, item)?;
            return tx.set(field!(deque, Deque.len), U64::from_native(len + 1));
        }
    }
    push_slowly(tx, deque, end, item, limits)
}

/// Adds an item to a chunk that has slack for it. Does not count it in the deque.
#[inline(always)]
fn add(
    tx: &mut Tx<'_>,
    chunk: Off<Chunk>,
    bounds: &Bounds,
    end: End,
    item: &[u8],
) -> Result<(), OutOfMemory> {
    let (start, stop) = match end {
        End::Front => (bounds.start() - item.len(), bounds.end()),
        End::Back => (bounds.start(), bounds.end() + item.len()),
    };
    let at = if end == End::Front { start } else { bounds.end() };
    tx.write_unreachable(chunk.byte_add(at as u64), item);
    tx.set(field!(chunk, Chunk.bounds), Bounds::new(start, stop, bounds.len() + 1))
}

/// [`push`] where the chunk at that end has no room: a larger block for it, or another chunk.
#[cold]
#[inline(never)]
fn push_slowly(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    end: End,
    item: &[u8],
    limits: &Limits,
) -> Result<(), OutOfMemory> {
    let edge = tx.get(deque).edge(end);
    if !edge.is_null() {
        let record = tx.get(edge);
        let (bounds, size) = (record.bounds.get(), record.size.to_native() as usize);
        let bytes = bounds.bytes() + item.len();
        let is_growing = size < limits.block || 2 * bounds.bytes() <= limits.run();
        if is_growing && limits.allow(bytes, bounds.len() + 1) {
            let grown = grow(tx, deque, edge, end, item.len(), limits)?;
            let bounds = tx.get(grown).bounds.get();
            add(tx, grown, &bounds, end, item)?;
            return chunk::count(tx, deque, 1, 0);
        }
    }
    let (between, slack) = match end {
        End::Front => (Between { previous: Off::NULL, next: edge }, Slack::Before),
        End::Back => (Between { previous: edge, next: Off::NULL }, Slack::Behind),
    };
    chunk::create_single(tx, deque, between, item, limits, slack)
}

/// Gives a chunk that has no slack at one end a block of twice the size that its content needs.
///
/// The other end keeps what slack it has, but not more than half: a chunk that is fed at both ends has
/// slack at both, so that copying it is paid for by the additions before.
fn grow(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    end: End,
    more: usize,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let record = tx.get(chunk);
    let (bounds, old_size) = (record.bounds.get(), record.size.to_native() as usize);
    let bytes = bounds.bytes() + more;
    let size = (HEAD + 2 * bytes).min(limits.block);
    let spare = size - HEAD - bytes;
    let other = match end {
        End::Front => chunk::slack(&bounds, old_size, End::Back),
        End::Back => chunk::slack(&bounds, old_size, End::Front),
    };
    let kept = other.min(spare / 2);
    let before = if end == End::Back { kept } else { spare - kept + more };
    chunk::resize(tx, deque, chunk, size, Slack::At(before))
}

/// Inserts an item, as [`pack::encode`] encodes it, before the item at a place, or [after](super::after)
/// one.
pub fn insert(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    place: Place,
    item: &[u8],
    limits: &Limits,
) -> Result<(), OutOfMemory> {
    let Place { chunk, at } = place;
    if put_into(tx, deque, place, item, limits)? {
        return Ok(());
    }
    let between = chunk::around(tx, chunk);
    let bytes = tx.get(chunk).bounds.get().bytes();
    let (before, behind) = if at == 0 {
        (between.previous, chunk)
    } else if at == bytes {
        (chunk, between.next)
    } else {
        (chunk, split(tx, deque, place)?)
    };
    let sizes = [before, behind]
        .map(|side| if side.is_null() { usize::MAX } else { tx.get(side).bounds.get().bytes() });
    let end_of_first = Place { chunk: before, at: sizes[0] };
    let start_of_second = Place { chunk: behind, at: 0 };
    let sides = if sizes[0] <= sizes[1] {
        [end_of_first, start_of_second]
    } else {
        [start_of_second, end_of_first]
    };
    for side in sides {
        if !side.chunk.is_null() && put_into(tx, deque, side, item, limits)? {
            return Ok(());
        }
    }
    let between = Between { previous: before, next: behind };
    chunk::create_single(tx, deque, between, item, limits, Slack::Both)
}

/// Inserts an item into a chunk if the limits allow; says whether they did.
fn put_into(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    place: Place,
    item: &[u8],
    limits: &Limits,
) -> Result<bool, OutOfMemory> {
    let bounds = tx.get(place.chunk).bounds.get();
    if !limits.allow(bounds.bytes() + item.len(), bounds.len() + 1) {
        return Ok(false);
    }
    chunk::splice(tx, deque, place.chunk, place.at..place.at, item, 1, limits)?;
    chunk::count(tx, deque, 1, 0)?;
    Ok(true)
}

/// Moves what stands from a place on into a chunk of its own, and gives that.
fn split(tx: &mut Tx<'_>, deque: Off<Deque>, place: Place) -> Result<Off<Chunk>, OutOfMemory> {
    let Place { chunk, at } = place;
    let bounds = tx.get(chunk).bounds.get();
    let moved = run_of(tx, chunk)[at..].to_vec();
    let items = pack::items(&moved).count();
    let between = Between { previous: chunk, next: chunk::around(tx, chunk).next };
    let size = HEAD + moved.len() + moved.len() / 2;
    let content = (moved.len(), items);
    let (fresh, start) = chunk::create(tx, deque, between, content, size, Slack::Both)?;
    tx.init_bytes(&fresh, start as u64, &moved);
    let end = bounds.start() + at;
    tx.abandon(chunk.byte_add(end as u64), moved.len())?;
    let left = Bounds::new(bounds.start(), end, bounds.len() - items);
    tx.set(field!(chunk, Chunk.bounds), left)?;
    chunk::count(tx, deque, 0, 1)?;
    Ok(fresh.off().cast())
}

/// Replaces the item at a place by another one, as [`pack::encode`] encodes it.
pub fn replace(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    place: Place,
    item: &[u8],
    limits: &Limits,
) -> Result<(), OutOfMemory> {
    let Place { chunk, at } = place;
    let bounds = tx.get(chunk).bounds.get();
    let end = pack::skip(run_of(tx, chunk), at);
    let bytes = bounds.bytes() - (end - at) + item.len();
    if bytes <= limits.run() || bytes <= bounds.bytes() || bounds.len() == 1 {
        let chunk = chunk::splice(tx, deque, chunk, at..end, item, 0, limits)?;
        if bytes < bounds.bytes() {
            chunk::settle(tx, deque, chunk, limits)?;
        }
        return Ok(());
    }
    let chunk = chunk::splice(tx, deque, chunk, at..end, &[], -1, limits)?;
    chunk::count(tx, deque, -1, 0)?;
    insert(tx, deque, Place { chunk, at }, item, limits)
}

/// Puts a run of items into an empty deque; if they fit into a chunk, with little room for more.
pub fn found(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    run: &[u8],
    items: usize,
    limits: &Limits,
) -> Result<(), OutOfMemory> {
    debug_assert!(tx.get(deque).head.get().is_null());
    if items > 0 && limits.allow(run.len(), items) {
        let nowhere = Between { previous: Off::NULL, next: Off::NULL };
        let (content, size) = ((run.len(), items), HEAD + run.len() + run.len() / 8);
        let (fresh, start) = chunk::create(tx, deque, nowhere, content, size, Slack::Both)?;
        tx.init_bytes(&fresh, start as u64, run);
        return chunk::count(tx, deque, items as i64, 1);
    }
    let mut at = 0;
    while at < run.len() {
        let next = pack::skip(run, at);
        push(tx, deque, End::Back, &run[at..next], limits)?;
        at = next;
    }
    Ok(())
}

/// Makes a copy of the deque's items; its record is to be put into a fresh block, or an empty one's.
pub fn copy(tx: &mut Tx<'_>, deque: Off<Deque>) -> Result<Deque, OutOfMemory> {
    let mut copied = tx.read(deque);
    let mut from = copied.head.get();
    let mut last: Off<Chunk> = Off::NULL;
    while !from.is_null() {
        let record = tx.read(from);
        let bounds = record.bounds.get();
        let fresh = tx.alloc(u64::from(record.size.to_native()))?;
        let head = Chunk { previous: Slot::new(last), next: Slot::new(Off::NULL), ..record };
        tx.init(&fresh, 0, head);
        let (at, bytes) = (bounds.start() as u64, bounds.bytes() as u64);
        tx.init_copy(&fresh, at, from.byte_add(at), bytes);
        let chunk: Off<Chunk> = fresh.off().cast();
        if last.is_null() {
            copied.head = Slot::new(chunk);
        } else {
            tx.set(field!(last, Chunk.next), chunk)?;
        }
        (from, last) = (record.next.get(), chunk);
    }
    copied.tail = Slot::new(last);
    Ok(copied)
}
