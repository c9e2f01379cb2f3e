//! Single chunks: making, linking, and changing their runs.

use std::ops::Range;

use super::{Bounds, Chunk, Deque, End, HEAD, Limits};
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::record::{Slot, U32, U64};
use crate::tx::{Fresh, Tx};

/// Blocks of at most so many bytes are not cut down.
const SMALL: usize = 256;

/// Where the chunk is to be linked.
#[derive(Clone, Copy)]
pub(super) struct Between {
    pub previous: Off<Chunk>,
    pub next: Off<Chunk>,
}

/// Where in a block its run goes.
#[derive(Clone, Copy)]
pub(super) enum Slack {
    /// All slack behind the run.
    Behind,
    /// All slack before the run.
    Before,
    /// So many bytes before the run, the rest behind.
    At(usize),
    /// As much before as behind.
    Both,
}

/// A change of the number of a deque's items and chunks.
pub(super) fn count(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    items: i64,
    chunks: i64,
) -> Result<(), OutOfMemory> {
    let record = tx.get(deque);
    let len = record.len.get().to_native().wrapping_add_signed(items);
    let total = record.chunks.get().to_native().wrapping_add_signed(chunks);
    if items != 0 {
        tx.set(field!(deque, Deque.len), U64::from_native(len))?;
    }
    if chunks != 0 {
        tx.set(field!(deque, Deque.chunks), U64::from_native(total))?;
    }
    Ok(())
}

/// Has a chunk (or the deque's head) lead to `next`.
pub(super) fn set_next(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    next: Off<Chunk>,
) -> Result<(), OutOfMemory> {
    if chunk.is_null() {
        tx.set(field!(deque, Deque.head), next)
    } else {
        tx.set(field!(chunk, Chunk.next), next)
    }
}

/// Has a chunk (or the deque's tail) lead back to `previous`.
pub(super) fn set_previous(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    previous: Off<Chunk>,
) -> Result<(), OutOfMemory> {
    if chunk.is_null() {
        tx.set(field!(deque, Deque.tail), previous)
    } else {
        tx.set(field!(chunk, Chunk.previous), previous)
    }
}

/// The neighbours of a chunk.
pub(super) fn around(tx: &Tx<'_>, chunk: Off<Chunk>) -> Between {
    let record = tx.get(chunk);
    Between { previous: record.previous.get(), next: record.next.get() }
}

/// Has both neighbours lead to a chunk instead of what was there; to each other if it is null.
pub(super) fn link(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    between: Between,
    chunk: Off<Chunk>,
) -> Result<(), OutOfMemory> {
    let (first, last) =
        if chunk.is_null() { (between.next, between.previous) } else { (chunk, chunk) };
    set_next(tx, deque, between.previous, first)?;
    set_previous(tx, deque, between.next, last)
}

/// Takes a chunk out of the list, without freeing it or counting.
pub(super) fn unlink(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
) -> Result<(), OutOfMemory> {
    let between = around(tx, chunk);
    link(tx, deque, between, Off::NULL)
}

/// Makes a chunk with room for a run of so many bytes, in a block of about `size` bytes, and links it.
/// The caller writes the run to the fresh block, from the place given on.
pub(super) fn create(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    between: Between,
    (bytes, items): (usize, usize),
    size: usize,
    slack: Slack,
) -> Result<(Fresh, usize), OutOfMemory> {
    let fresh = tx.alloc(size.max(HEAD + bytes) as u64)?;
    let size = fresh.size() as usize;
    let spare = size - HEAD - bytes;
    let start = HEAD
        + match slack {
            Slack::Behind => 0,
            Slack::Before => spare,
            Slack::At(before) => before.min(spare),
            Slack::Both => spare / 2,
        };
    let head = Chunk {
        next: Slot::new(between.next),
        previous: Slot::new(between.previous),
        bounds: Slot::new(Bounds::new(start, start + bytes, items)),
        size: U32::from_native(size as u32),
    };
    tx.init(&fresh, 0, head);
    link(tx, deque, between, fresh.off().cast())?;
    Ok((fresh, start))
}

/// Makes a chunk of one item, links and counts it.
pub(super) fn create_single(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    between: Between,
    item: &[u8],
    limits: &Limits,
    slack: Slack,
) -> Result<(), OutOfMemory> {
    // A deque that is long gets whole chunks, a short one room for a few items.
    let is_short = tx.get(deque).chunks.get().to_native() < 4;
    let room = (if is_short { limits.small } else { limits.block }) - HEAD;
    let size = HEAD + room.min(item.len().saturating_mul(limits.items));
    let (fresh, start) = create(tx, deque, between, (item.len(), 1), size, slack)?;
    tx.init_bytes(&fresh, start as u64, item);
    count(tx, deque, 1, 1)
}

/// Replaces a range of a chunk's run (in bytes from the run's start) by other bytes, which changes the
/// number of its items by `items`. Gives the chunk, which may be another block now. It must not become
/// empty, nor larger than the limits allow unless it holds one item. Counts nothing.
pub(super) fn splice(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    range: Range<usize>,
    new: &[u8],
    items: isize,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let record = tx.get(chunk);
    let (bounds, size) = (record.bounds.get(), record.size.to_native() as usize);
    let (old_start, old_end) = (bounds.start(), bounds.end());
    let (left, right) = (range.start, bounds.bytes() - range.end);
    let len = bounds.len().wrapping_add_signed(items);
    let bytes = left + new.len() + right;
    let (grown, shrunk) =
        (new.len().saturating_sub(range.len()), range.len().saturating_sub(new.len()));
    // The shorter part moves, if there is slack on its side.
    let fits_before = old_start - HEAD >= grown;
    let fits_behind = size - old_end >= grown;
    if !fits_before && !fits_behind {
        return remake(tx, deque, chunk, range, new, len, limits);
    }
    let start = if fits_behind && (right <= left || !fits_before) {
        old_start
    } else {
        old_start + shrunk - grown
    };
    let at = |distance: usize| chunk.byte_add::<u8>(distance as u64);
    let end = start + bytes;
    move_part(tx, chunk, old_start..old_start + left, start, old_start..old_end)?;
    move_part(tx, chunk, old_end - right..old_end, end - right, old_start..old_end)?;
    put(tx, chunk, start + left, new, old_start..old_end)?;
    if start > old_start {
        tx.abandon(at(old_start), start - old_start)?;
    }
    if end < old_end {
        tx.abandon(at(end), old_end - end)?;
    }
    tx.set(field!(chunk, Chunk.bounds), Bounds::new(start, end, len))?;
    Ok(chunk)
}

/// Moves part of a chunk's old run to another place in its block.
fn move_part(
    tx: &mut Tx<'_>,
    chunk: Off<Chunk>,
    part: Range<usize>,
    to: usize,
    old: Range<usize>,
) -> Result<(), OutOfMemory> {
    if part.start == to || part.is_empty() {
        return Ok(());
    }
    let moved = tx.bytes(chunk.byte_add(part.start as u64), part.len()).to_vec();
    put(tx, chunk, to, &moved, old)
}

/// Writes bytes to a chunk's block: those within the old run with a log, those in the slack without.
fn put(
    tx: &mut Tx<'_>,
    chunk: Off<Chunk>,
    at: usize,
    bytes: &[u8],
    old: Range<usize>,
) -> Result<(), OutOfMemory> {
    let place = |distance: usize| chunk.byte_add::<u8>(distance as u64);
    let before = old.start.saturating_sub(at).min(bytes.len());
    let (slack, rest) = bytes.split_at(before);
    if !slack.is_empty() {
        tx.write_unreachable(place(at), slack);
    }
    let at = at + before;
    let (logged, slack) = rest.split_at(old.end.saturating_sub(at).min(rest.len()));
    if !logged.is_empty() {
        tx.write(place(at), logged)?;
    }
    if !slack.is_empty() {
        tx.write_unreachable(place(at + logged.len()), slack);
    }
    Ok(())
}

/// [`splice`] into a new, larger block, which takes the place of the old one.
fn remake(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    range: Range<usize>,
    new: &[u8],
    len: usize,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let (between, bounds) = (around(tx, chunk), tx.get(chunk).bounds.get());
    let (left, right) = (range.start, bounds.bytes() - range.end);
    let bytes = left + new.len() + right;
    let size = (HEAD + 2 * bytes).min(limits.block);
    let (fresh, start) = create(tx, deque, between, (bytes, len), size, Slack::Both)?;
    let (start, old) = (start as u64, chunk.byte_add::<u8>(bounds.start() as u64));
    let behind = old.byte_add(range.end as u64);
    tx.init_copy(&fresh, start, old, left as u64);
    tx.init_bytes(&fresh, start + left as u64, new);
    tx.init_copy(&fresh, start + (left + new.len()) as u64, behind, right as u64);
    tx.free(chunk)?;
    Ok(fresh.off().cast())
}

/// Puts the run of a chunk into a new block of about `size` bytes, which takes its place.
pub(super) fn resize(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    size: usize,
    slack: Slack,
) -> Result<Off<Chunk>, OutOfMemory> {
    let (between, bounds) = (around(tx, chunk), tx.get(chunk).bounds.get());
    let content = (bounds.bytes(), bounds.len());
    let (fresh, start) = create(tx, deque, between, content, size, slack)?;
    let from = chunk.byte_add(bounds.start() as u64);
    tx.init_copy(&fresh, start as u64, from, bounds.bytes() as u64);
    tx.free(chunk)?;
    Ok(fresh.off().cast())
}

/// After a removal: joins the chunk with a neighbour if both are sparse, or cuts its block down. Gives
/// the chunk that holds its items now.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let at = join_next(tx, deque, chunk, limits)?;
    let at = join_previous(tx, deque, at, limits)?;
    cut_down(tx, deque, at)
}

/// Joins a chunk with the next one if both are sparse; gives the chunk that holds its items.
pub(super) fn join_next(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let next = around(tx, chunk).next;
    if next.is_null() || !are_sparse(tx, chunk, next, limits) {
        return Ok(chunk);
    }
    join(tx, deque, chunk, next)
}

/// [`join_next`] with the chunk before.
pub(super) fn join_previous(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
    limits: &Limits,
) -> Result<Off<Chunk>, OutOfMemory> {
    let previous = around(tx, chunk).previous;
    if previous.is_null() || !are_sparse(tx, previous, chunk, limits) {
        return Ok(chunk);
    }
    join(tx, deque, previous, chunk)
}

/// Gives a chunk whose block is mostly slack a smaller one.
pub(super) fn cut_down(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    chunk: Off<Chunk>,
) -> Result<Off<Chunk>, OutOfMemory> {
    let record = tx.get(chunk);
    let (bytes, size) = (record.bounds.get().bytes(), record.size.to_native() as usize);
    if size <= SMALL || HEAD + bytes > size / 4 {
        return Ok(chunk);
    }
    resize(tx, deque, chunk, HEAD + bytes + bytes / 2, Slack::Both)
}

/// Whether two neighbours would together fill only half a chunk.
fn are_sparse(tx: &Tx<'_>, first: Off<Chunk>, second: Off<Chunk>, limits: &Limits) -> bool {
    let (first, second) = (tx.get(first).bounds.get(), tx.get(second).bounds.get());
    2 * (first.bytes() + second.bytes()) <= limits.run()
        && first.len() + second.len() <= limits.items
}

/// Puts the items of two neighbours into one new chunk.
fn join(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    first: Off<Chunk>,
    second: Off<Chunk>,
) -> Result<Off<Chunk>, OutOfMemory> {
    let between = Between { previous: around(tx, first).previous, next: around(tx, second).next };
    let (one, two) = (tx.get(first).bounds.get(), tx.get(second).bounds.get());
    let bytes = one.bytes() + two.bytes();
    let content = (bytes, one.len() + two.len());
    let (fresh, start) =
        create(tx, deque, between, content, HEAD + bytes + bytes / 2, Slack::Both)?;
    let mut at = start as u64;
    for (chunk, bounds) in [(first, one), (second, two)] {
        let from = chunk.byte_add(bounds.start() as u64);
        tx.init_copy(&fresh, at, from, bounds.bytes() as u64);
        at += bounds.bytes() as u64;
        tx.free(chunk)?;
    }
    count(tx, deque, 0, -1)?;
    Ok(fresh.off().cast())
}

/// Bytes of slack of a chunk at that end.
#[inline(always)]
pub(super) fn slack(bounds: &Bounds, size: usize, end: End) -> usize {
    match end {
        End::Front => bounds.start() - HEAD,
        End::Back => size - bounds.end(),
    }
}
