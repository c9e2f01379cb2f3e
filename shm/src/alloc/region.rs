//! Regions: which spans are used, which are backed.
//!
//! Spans at or beyond the heap's frontier were never used: they are backed if they lie below the
//! header's word `READY_END`, which the growing thread moves ahead. Spans below the frontier are
//! backed unless their bit in `holes` is set.

use std::sync::atomic::Ordering;

use crate::alloc::HeapHeader;
use crate::alloc::span::REGION_HEADER;
use crate::arena::{Arena, View};
use crate::error::OutOfMemory;
use crate::field;
use crate::freeing::FreeStep;
use crate::header::{self, HEAP};
use crate::layout::{self, REGION, SPAN, SPANS_PER_REGION};
use crate::off::Off;
use crate::record;
use crate::record::{Record, Slot, U32, U64};
use crate::tx::Tx;

const WORDS: usize = SPANS_PER_REGION as usize / 64;

record! {
    /// The start of a region's first span.
    pub struct RegionHeader {
        /// Marks the span as a region's header.
        pub kind: u8,
        /// Unused.
        pub reserved: [u8; 3],
        /// Unused spans of the region.
        pub free: Slot<U32>,
        /// A set bit is a span in use.
        pub used: [Slot<U64>; WORDS],
        /// A set bit is a span below the frontier that is not backed.
        pub holes: [Slot<U64>; WORDS],
    }
}

const _: () = assert!(size_of::<RegionHeader>() as u64 <= SPAN);

/// The header of a region.
pub(crate) fn region(index: u64) -> Off<RegionHeader> {
    Off::new(layout::HEAP + index * REGION)
}

fn used_word(region: Off<RegionHeader>, word: u64) -> Off<Slot<U64>> {
    field!(region, RegionHeader.used).cast::<Slot<U64>>().nth(word)
}

fn hole_word(region: Off<RegionHeader>, word: u64) -> Off<Slot<U64>> {
    field!(region, RegionHeader.holes).cast::<Slot<U64>>().nth(word)
}

/// The number of a span, counted from the start of the heap.
pub(crate) fn span_number(span: Off<u8>) -> u64 {
    (span.raw() - layout::HEAP) / SPAN
}

/// The offset of the span of that number.
pub(crate) fn span_at(number: u64) -> Off<u8> {
    Off::new(layout::HEAP + number * SPAN)
}

/// Writes a record into a span just taken, which nothing leads to yet.
pub(crate) fn init_span<T: Record>(tx: &mut Tx<'_>, off: Off<T>, value: T) {
    let arena = tx.arena();
    let place = arena.place(off.raw(), size_of::<T>() as u64);
    // SAFETY: within a span that was unused before the transaction, so that no reference and no
    // reachable content is there; alignment 1.
    unsafe { place.cast::<T>().write_unaligned(value) }
}

/// Takes `count` adjacent spans of one region: unused ones that are backed before holes, and both
/// before new ones at the frontier.
///
/// A large block cannot cross regions, so it has at most [`SPANS_PER_REGION`] - 1 spans.
pub(crate) fn take_spans(tx: &mut Tx<'_>, count: u64) -> Result<Off<u8>, OutOfMemory> {
    if count >= SPANS_PER_REGION {
        return Err(OutOfMemory);
    }
    let heap = tx.get(HEAP);
    let frontier = heap.frontier.get().to_native();
    let unused = frontier.saturating_sub(heap.used_spans.get().to_native());
    let mut found = None;
    if unused >= count {
        found = find_unused(tx, count, frontier, true);
        // Under the cap, what is backed beyond the frontier already may still do.
        if found.is_none() && tx.heap_bytes() + count * SPAN <= tx.arena().cap() {
            found = find_unused(tx, count, frontier, false);
        }
    }
    let first = match found {
        Some(first) => first,
        None => advance_frontier(tx, count)?,
    };
    mark_used(tx, first, count)?;
    Ok(span_at(first))
}

/// A run of unused spans below the frontier.
fn find_unused(tx: &mut Tx<'_>, count: u64, frontier: u64, backed: bool) -> Option<u64> {
    let regions = frontier.div_ceil(SPANS_PER_REGION);
    let hint = tx.arena().span_hint;
    for index in 0..regions {
        let header = region(index);
        if u64::from(tx.get(header).free.get().to_native()) < count {
            continue;
        }
        let base = index * SPANS_PER_REGION;
        let end = (frontier - base).min(SPANS_PER_REGION);
        // Single spans are by far the most frequent: they start where the last one was found.
        let start = if count == 1 && hint >= base && hint < base + end { hint - base } else { 0 };
        let found = find_run(tx, header, start, end, count, backed)
            .or_else(|| if start > 0 { find_run(tx, header, 0, end, count, backed) } else { None });
        if let Some(at) = found {
            tx.arena().span_hint = base + at;
            return Some(base + at);
        }
    }
    None
}

fn find_run(
    view: &View,
    header: Off<RegionHeader>,
    start: u64,
    end: u64,
    count: u64,
    backed: bool,
) -> Option<u64> {
    let header = view.get(header);
    let mut run = 0;
    let mut at = start;
    while at < end {
        let word = (at / 64) as usize;
        let mut busy = header.used[word].get().to_native();
        if backed {
            busy |= header.holes[word].get().to_native();
        }
        if at.is_multiple_of(64) && busy == u64::MAX {
            (run, at) = (0, at + 64);
            continue;
        }
        if at.is_multiple_of(64) && busy == 0 && count > 64 && at + 64 <= end {
            (run, at) = (run + 64, at + 64);
            if run >= count {
                return Some(at - run);
            }
            continue;
        }
        run = if busy >> (at % 64) & 1 == 0 { run + 1 } else { 0 };
        at += 1;
        if run >= count {
            return Some(at - run);
        }
    }
    None
}

/// Moves the frontier on by `count` spans within one region, making new regions as needed; gives
/// the number of the first.
fn advance_frontier(tx: &mut Tx<'_>, count: u64) -> Result<u64, OutOfMemory> {
    loop {
        let frontier = tx.get(HEAP).frontier.get().to_native();
        let left = (SPANS_PER_REGION - frontier % SPANS_PER_REGION) % SPANS_PER_REGION;
        if left == 0 {
            new_region(tx, frontier)?;
        } else {
            // Too short a rest of a region is passed over: it stays unused for smaller blocks.
            // What lies below `READY_END` is backed, so it is, too, and no hole.
            let passed = left.min(count);
            ensure_ready(tx.arena(), frontier + passed)?;
            clear_holes(tx, frontier, passed)?;
            set_frontier(tx, frontier + passed)?;
            if passed == count {
                return Ok(frontier);
            }
        }
    }
}

/// Notes that spans are backed; gives the number of those that were not noted as such before.
fn clear_holes(tx: &mut Tx<'_>, first: u64, count: u64) -> Result<u64, OutOfMemory> {
    let header = region(first / SPANS_PER_REGION);
    let mut cleared = 0;
    for_words(first % SPANS_PER_REGION, count, |word, mask| {
        let holes = tx.get(hole_word(header, word)).get().to_native();
        if holes & mask != 0 {
            cleared += u64::from((holes & mask).count_ones());
            tx.set(hole_word(header, word), U64::from_native(holes & !mask))?;
        }
        Ok(())
    })?;
    Ok(cleared)
}

fn set_frontier(tx: &mut Tx<'_>, frontier: u64) -> Result<(), OutOfMemory> {
    tx.set(field!(HEAP, HeapHeader.frontier), U64::from_native(frontier))?;
    let arena = tx.arena();
    arena.word(header::FRONTIER).store(span_at(frontier).raw(), Ordering::Relaxed);
    arena.wake_grower();
    Ok(())
}

fn new_region(tx: &mut Tx<'_>, frontier: u64) -> Result<(), OutOfMemory> {
    let index = frontier / SPANS_PER_REGION;
    if layout::HEAP + (index + 1) * REGION > tx.len() {
        return Err(OutOfMemory);
    }
    ensure_ready(tx.arena(), frontier + 1)?;
    let mut used = [Slot::new(U64::from_native(0)); WORDS];
    used[0] = Slot::new(U64::from_native(1));
    let mut holes = [Slot::new(U64::from_native(u64::MAX)); WORDS];
    holes[0] = Slot::new(U64::from_native(u64::MAX - 1));
    let header = RegionHeader {
        kind: REGION_HEADER,
        reserved: [0; 3],
        free: Slot::new(U32::from_native(SPANS_PER_REGION as u32 - 1)),
        used,
        holes,
    };
    init_span(tx, region(index), header);
    let spans = tx.get(HEAP).used_spans.get().to_native();
    tx.set(field!(HEAP, HeapHeader.used_spans), U64::from_native(spans + 1))?;
    set_frontier(tx, frontier + 1)
}

/// Makes sure that the heap is backed up to a span at the frontier; waits for it if the growing
/// thread lags.
fn ensure_ready(arena: &mut Arena, end_span: u64) -> Result<(), OutOfMemory> {
    let end = span_at(end_span).raw();
    let ready = arena.word(header::READY_END).load(Ordering::Relaxed);
    if end <= ready {
        return Ok(());
    }
    if end > arena.len() || arena.heap_bytes() + (end - ready) > arena.cap() {
        return Err(OutOfMemory);
    }
    arena.mapping().back(ready, end - ready).map_err(|_| OutOfMemory)?;
    arena.word(header::READY_END).fetch_max(end, Ordering::Relaxed);
    Ok(())
}

fn mark_hole(tx: &mut Tx<'_>, number: u64) -> Result<(), OutOfMemory> {
    let (header, bit) = (region(number / SPANS_PER_REGION), number % SPANS_PER_REGION);
    let word = hole_word(header, bit / 64);
    let bits = tx.get(word).get().to_native();
    tx.set(word, U64::from_native(bits | 1 << (bit % 64)))?;
    let holes = tx.get(HEAP).holes.get().to_native();
    tx.set(field!(HEAP, HeapHeader.holes), U64::from_native(holes + 1))
}

fn mark_used(tx: &mut Tx<'_>, first: u64, count: u64) -> Result<(), OutOfMemory> {
    let header = region(first / SPANS_PER_REGION);
    let start = first % SPANS_PER_REGION;
    for_words(start, count, |word, mask| {
        let used = tx.get(used_word(header, word)).get().to_native();
        debug_assert_eq!(used & mask, 0);
        tx.set(used_word(header, word), U64::from_native(used | mask))
    })?;
    let refilled = clear_holes(tx, first, count)?;
    if refilled > 0 {
        let arena = tx.arena();
        if arena.heap_bytes() + refilled * SPAN > arena.cap() {
            return Err(OutOfMemory);
        }
        arena.mapping().back(span_at(first).raw(), count * SPAN).map_err(|_| OutOfMemory)?;
        let holes = tx.get(HEAP).holes.get().to_native();
        tx.set(field!(HEAP, HeapHeader.holes), U64::from_native(holes - refilled))?;
    }
    let free = tx.get(header).free.get().to_native();
    tx.set(field!(header, RegionHeader.free), U32::from_native(free - count as u32))?;
    let spans = tx.get(HEAP).used_spans.get().to_native();
    tx.set(field!(HEAP, HeapHeader.used_spans), U64::from_native(spans + count))
}

/// Calls `each` with every word of a bitmap that the run touches, and the run's bits in it.
fn for_words<E>(
    start: u64,
    count: u64,
    mut each: impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = start;
    while at < start + count {
        let bits = (64 - at % 64).min(start + count - at);
        let mask = if bits == 64 { u64::MAX } else { ((1 << bits) - 1) << (at % 64) };
        each(at / 64, mask)?;
        at += bits;
    }
    Ok(())
}

/// Gives spans back to their region. They stay backed until [`Arena::maintain`].
pub(crate) fn give_spans(step: &mut FreeStep<'_>, span: Off<u8>, count: u64) {
    let first = span_number(span);
    let header = region(first / SPANS_PER_REGION);
    let _: Result<(), OutOfMemory> = for_words(first % SPANS_PER_REGION, count, |word, mask| {
        let used = step.arena.get(used_word(header, word)).get().to_native();
        step.set(used_word(header, word), U64::from_native(used & !mask));
        Ok(())
    });
    let free = step.arena.get(header).free.get().to_native();
    step.set(field!(header, RegionHeader.free), U32::from_native(free + count as u32));
    let spans = step.arena.get(HEAP).used_spans.get().to_native();
    step.set(field!(HEAP, HeapHeader.used_spans), U64::from_native(spans - count));
}

impl Arena {
    /// Gives memory that has lain unused back to the system, at most `limit` spans (of 64 KiB) a
    /// call, keeping `keep` unused spans at hand; gives the number released.
    ///
    /// The span is marked as a hole before it is punched, so a death in between costs nothing.
    pub fn maintain(&mut self, keep: u64, limit: u64) -> u64 {
        let heap = self.get(HEAP);
        let frontier = heap.frontier.get().to_native();
        let spare = frontier
            .saturating_sub(heap.used_spans.get().to_native() + heap.holes.get().to_native());
        let mut wanted = spare.saturating_sub(keep).min(limit);
        let mut released = 0;
        let mut end = frontier;
        while wanted > 0
            && let Some(number) = self.last_spare(end)
        {
            if self.transact(|tx| mark_hole(tx, number)).is_err() {
                break;
            }
            // Should the system refuse, the span stays backed though marked: harmless.
            let _ = self.mapping().punch(span_at(number).raw(), SPAN);
            end = number;
            wanted -= 1;
            released += 1;
        }
        released
    }

    /// The last span below `end` that is unused and backed.
    fn last_spare(&self, end: u64) -> Option<u64> {
        let mut end = end;
        while end > 0 {
            let (base, bits) = ((end - 1) & !63, (end - 1) % 64 + 1);
            let header = self.get(region(base / SPANS_PER_REGION));
            let word = (base % SPANS_PER_REGION / 64) as usize;
            let busy = header.used[word].get().to_native() | header.holes[word].get().to_native();
            let spare = !busy & (u64::MAX >> (64 - bits));
            if spare != 0 {
                return Some(base + u64::from(spare.ilog2()));
            }
            end = base;
        }
        None
    }

    /// Gives back what a rollback left backed: spans that are holes again now that the words at
    /// `restored` have their old content, each of which [tells of holes](tells_of_holes).
    pub(crate) fn punch_again(&self, restored: &[u64]) {
        let frontier = self.get(HEAP).frontier.get().to_native();
        for &at in restored {
            let within = (at - layout::HEAP) % REGION - HOLES_AT;
            let first = (at - layout::HEAP) / REGION * SPANS_PER_REGION + within * 8;
            let holes = self.read(Off::<U64>::new(at)).to_native();
            for number in (first..first + 64).filter(|n| holes >> (n - first) & 1 != 0) {
                // Beyond the frontier the bit means nothing yet: the memory is there, ahead of need.
                if number < frontier {
                    let _ = self.mapping().punch(span_at(number).raw(), SPAN);
                }
            }
        }
    }
}

/// Bytes from the start of a region to its bitmap of holes.
const HOLES_AT: u64 = std::mem::offset_of!(RegionHeader, holes) as u64;

/// Whether a word at an offset belongs to a region's bitmap of holes.
pub(crate) fn tells_of_holes(offset: u64) -> bool {
    let within = offset.wrapping_sub(layout::HEAP) % REGION;
    offset >= layout::HEAP && (HOLES_AT..HOLES_AT + WORDS as u64 * 8).contains(&within)
}

/// Whether the span is in use.
#[inline]
pub(crate) fn is_used<T>(view: &View, span: Off<T>) -> bool {
    let number = span_number(span.cast());
    let bit = number % SPANS_PER_REGION;
    let header = view.get(region(number / SPANS_PER_REGION));
    header.used[(bit / 64) as usize].get().to_native() >> (bit % 64) & 1 != 0
}
