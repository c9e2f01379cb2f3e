//! Spans: small blocks of one class behind a bitmap, and large blocks of several spans.

use crate::alloc::{ClassHeader, HeapHeader, class, class_header, class_size, region};
use crate::arena::View;
use crate::error::OutOfMemory;
use crate::field;
use crate::freeing::FreeStep;
use crate::header::HEAP;
use crate::layout::SPAN;
use crate::off::Off;
use crate::record;
use crate::record::{Hint, Slot, U32, U64};
use crate::tx::Tx;

/// A span that was given back.
const UNUSED: u8 = 0;
/// A span of small blocks.
pub(crate) const SMALL: u8 = 1;
/// The first span of a large block.
pub(crate) const LARGE: u8 = 2;
/// The header span of a region.
pub(crate) const REGION_HEADER: u8 = 3;
/// Bytes of a span's header; the bitmap (small) or the block (large) follows.
pub(crate) const HEADER_BYTES: u64 = 64;

record! {
    /// The header of a span; its fixed part is written while the span is fresh.
    pub struct SpanHeader {
        /// Small, large, a region's header, or given back.
        pub kind: Slot<u8>,
        /// Class of a small span.
        pub class: u8,
        /// 1 while the blocks of a small span are to be moved elsewhere: it is in no list, so nothing is
        /// allocated from it.
        pub evacuating: Slot<u8>,
        /// Unused.
        pub reserved: [u8; 5],
        /// The next span of the class with free blocks.
        pub next: Slot<Off<SpanHeader>>,
        /// The previous one.
        pub previous: Slot<Off<SpanHeader>>,
        /// Word of the bitmap where the search starts.
        pub search: Hint<U32>,
        /// Spans that a large block takes.
        pub spans: U32,
        /// Unused.
        pub rest: [u8; 32],
    }
}

const _: () = assert!(size_of::<SpanHeader>() as u64 == HEADER_BYTES);

/// Bytes before the first block: header and bitmap, rounded to a cache line.
#[inline(always)]
pub(crate) const fn data_start(class: usize) -> u64 {
    DATA_STARTS[class] as u64
}

/// Blocks in a span of the class.
#[inline(always)]
pub(crate) const fn objects(class: usize) -> u64 {
    OBJECTS[class] as u64
}

/// Words of the bitmap.
#[inline(always)]
pub(crate) const fn bitmap_words(class: usize) -> u64 {
    objects(class).div_ceil(64)
}

const COUNT: usize = crate::alloc::CLASS_COUNT;

static DATA_STARTS: [u16; COUNT] = {
    let mut starts = [0; COUNT];
    let mut class = 0;
    while class < COUNT {
        starts[class] = layout_of(class).0 as u16;
        class += 1;
    }
    starts
};

static OBJECTS: [u16; COUNT] = {
    let mut counts = [0; COUNT];
    let mut class = 0;
    while class < COUNT {
        counts[class] = layout_of(class).1 as u16;
        class += 1;
    }
    counts
};

const fn layout_of(class: usize) -> (u64, u64) {
    let size = crate::alloc::class::SIZES[class];
    let bitmap = (SPAN / size).div_ceil(64) * 8;
    let start = (HEADER_BYTES + bitmap).next_multiple_of(64);
    (start, (SPAN - start) / size)
}

/// A word of a span's bitmap; a set bit is a block in use (or none at all).
#[inline(always)]
pub(crate) fn bitmap_word(span: Off<SpanHeader>, word: u64) -> Off<Slot<U64>> {
    span.byte_add::<Slot<U64>>(HEADER_BYTES).nth(word)
}

const _: () = {
    let mut class = 0;
    while class < COUNT {
        // A span with one block would be full and empty at once.
        assert!(layout_of(class).1 >= 2);
        class += 1;
    }
};

/// The bits of a word of a bitmap whose blocks are all free: those beyond the last block count as used.
#[inline(always)]
fn empty_word(class: usize, word: u64) -> u64 {
    let blocks = objects(class) - word * 64;
    if blocks >= 64 { 0 } else { u64::MAX << blocks }
}

/// Whether no block of a span is free.
pub(super) fn is_full(view: &View, span: Off<SpanHeader>, class: usize) -> bool {
    let words = view.array(bitmap_word(span, 0), bitmap_words(class) as usize);
    words.iter().all(|word| word.get().to_native() == u64::MAX)
}

/// Whether every block of a span is free, but for those of one word.
fn is_empty_beside(view: &View, span: Off<SpanHeader>, class: usize, beside: u64) -> bool {
    let words = view.array(bitmap_word(span, 0), bitmap_words(class) as usize);
    let mut words = (0..).zip(words);
    words.all(|(at, word)| at == beside || word.get().to_native() == empty_word(class, at))
}

/// Free blocks of a span.
pub(crate) fn free_blocks(view: &View, span: Off<SpanHeader>, class: usize) -> u64 {
    let words = view.array(bitmap_word(span, 0), bitmap_words(class) as usize);
    words.iter().map(|word| u64::from(word.get().to_native().count_zeros())).sum()
}

/// Allocates a block of a class.
///
/// The bitmap is all that says which blocks are used, so that one word is all that is logged, unless the
/// span was the last free block's.
#[inline]
pub(crate) fn allocate(tx: &mut Tx<'_>, class: usize) -> Result<Off<u8>, OutOfMemory> {
    let class_off = class_header(class);
    let mut span = tx.get(class_off).partial.get();
    if span.is_null() {
        span = new_span(tx, class)?;
    }
    let words = bitmap_words(class);
    let mut word = u64::from(tx.get(span).search.get().to_native());
    if word >= words {
        word = 0;
    }
    let mut bits = tx.get(bitmap_word(span, word)).get().to_native();
    if bits == u64::MAX {
        (word, bits) = search_on(tx, span, class, word);
    }
    let bit = u64::from(bits.trailing_ones());
    bits |= 1 << bit;
    tx.set(bitmap_word(span, word), U64::from_native(bits))?;
    if bits == u64::MAX && is_full(tx, span, class) {
        unlink_full(tx, class_off, span)?;
    }
    Ok(span.byte_add(data_start(class) + (word * 64 + bit) * class_size(class)))
}

/// The next word of the bitmap with a free block, and its bits.
#[inline(never)]
fn search_on(tx: &mut Tx<'_>, span: Off<SpanHeader>, class: usize, from: u64) -> (u64, u64) {
    let words = bitmap_words(class);
    for step in 1..words {
        let word = if from + step < words { from + step } else { from + step - words };
        let bits = tx.get(bitmap_word(span, word)).get().to_native();
        if bits != u64::MAX {
            tx.hint(field!(span, SpanHeader.search), U32::from_native(word as u32));
            return (word, bits);
        }
    }
    panic!("a span in the list of those with free blocks has none: the arena is damaged")
}

/// Takes the span, which is the first of its list and has no free block left, off the list.
#[cold]
fn unlink_full(
    tx: &mut Tx<'_>,
    class: Off<ClassHeader>,
    span: Off<SpanHeader>,
) -> Result<(), OutOfMemory> {
    let next = tx.get(span).next.get();
    tx.set(field!(class, ClassHeader.partial), next)?;
    tx.set(field!(span, SpanHeader.next), Off::NULL)?;
    if !next.is_null() {
        tx.set(field!(next, SpanHeader.previous), Off::NULL)?;
    }
    Ok(())
}

#[cold]
fn new_span(tx: &mut Tx<'_>, class: usize) -> Result<Off<SpanHeader>, OutOfMemory> {
    let span: Off<SpanHeader> = match region::take_spans(tx, 1) {
        Ok(span) => span.cast(),
        Err(error) => return super::evacuate::reclaim(tx, class)?.ok_or(error),
    };
    let header = SpanHeader {
        kind: Slot::new(SMALL),
        class: class as u8,
        evacuating: Slot::new(0),
        reserved: [0; 5],
        next: Slot::new(Off::NULL),
        previous: Slot::new(Off::NULL),
        search: Hint::new(U32::from_native(0)),
        spans: U32::from_native(1),
        rest: [0; 32],
    };
    region::init_span(tx, span.cast(), header);
    for word in 0..bitmap_words(class) {
        let bits = U64::from_native(empty_word(class, word));
        region::init_span(tx, bitmap_word(span, word).cast(), bits);
    }
    let class = class_header(class);
    let spans = tx.get(class).spans.get().to_native();
    tx.set(field!(class, ClassHeader.spans), U64::from_native(spans + 1))?;
    tx.set(field!(class, ClassHeader.partial), span)?;
    Ok(span)
}

/// A block in use.
pub(crate) enum Block {
    Small(Place),
    Large { span: Off<SpanHeader>, spans: u64 },
}

/// Where a small block is.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub span: Off<SpanHeader>,
    pub class: usize,
    /// Word of the bitmap.
    word: u64,
    /// Its content.
    bits: u64,
    /// The block's bit in it.
    bit: u64,
}

/// The block in use that begins at the offset.
///
/// Any offset is allowed. Of one that never led to a block it may say that it does if it leads into a large
/// block, whose content is anything.
#[inline(always)]
pub(crate) fn block_at(view: &View, block: u64) -> Option<Block> {
    let span = Off::<SpanHeader>::new(block & !(SPAN - 1));
    let end = region::span_at(view.get(HEAP).frontier.get().to_native()).raw();
    if span.raw() < crate::layout::HEAP || block >= end {
        return None;
    }
    let header = view.get(span);
    let class = header.class as usize;
    match header.kind.get() {
        SMALL if class < COUNT => {
            let at = (block - span.raw()).checked_sub(data_start(class))?;
            let index = class::index_of(class, at);
            let (word, bit) = (index / 64, 1 << (index % 64));
            let bits = view.get(bitmap_word(span, word)).get().to_native();
            let used = index * class_size(class) == at && index < objects(class) && bits & bit != 0;
            debug_assert!(!used || region::is_used(view, span));
            used.then_some(Block::Small(Place { span, class, word, bits, bit }))
        }
        // Of a block whose allocation was taken back the header still stands there.
        LARGE if block == span.raw() + HEADER_BYTES && region::is_used(view, span) => {
            Some(Block::Large { span, spans: u64::from(header.spans.to_native()) })
        }
        _ => None,
    }
}

/// Frees a small block.
///
/// To clear its bit once more does no harm, so that needs no log until the lists change too.
#[inline]
pub(crate) fn release(step: &mut FreeStep<'_>, block: Place) {
    let Place { span, class, word, bits, bit } = block;
    let cleared = bits & !bit;
    let fills = bits == u64::MAX && is_full(step.arena, span, class);
    let empties =
        cleared == empty_word(class, word) && is_empty_beside(step.arena, span, class, word);
    let place = bitmap_word(span, word);
    if !fills && !empties {
        return step.set_again(place, U64::from_native(cleared));
    }
    step.set(place, U64::from_native(cleared));
    if fills { link(step, span, class) } else { unlink_empty(step, span, class) }
}

/// Puts a span that was full on the list of those with free blocks.
fn link(step: &mut FreeStep<'_>, span: Off<SpanHeader>, class: usize) {
    let class = class_header(class);
    let first = step.arena.get(class).partial.get();
    step.set(field!(span, SpanHeader.next), first);
    if !first.is_null() {
        step.set(field!(first, SpanHeader.previous), span);
    }
    step.set(field!(class, ClassHeader.partial), span);
}

/// Gives an empty span back to its region, except the last one with free blocks: a class that swings
/// between n and n + 1 blocks would otherwise make and release a span each time.
fn unlink_empty(step: &mut FreeStep<'_>, span: Off<SpanHeader>, class: usize) {
    let header = step.arena.read(span);
    let (next, previous) = (header.next.get(), header.previous.get());
    let class = class_header(class);
    if header.evacuating.get() != 0 {
        let left = step.arena.get(HEAP).evacuating.get().to_native();
        step.set(field!(HEAP, HeapHeader.evacuating), U64::from_native(left - 1));
    } else if next.is_null() && previous.is_null() {
        return;
    } else if previous.is_null() {
        step.set(field!(class, ClassHeader.partial), next);
    } else {
        step.set(field!(previous, SpanHeader.next), next);
    }
    if !next.is_null() {
        step.set(field!(next, SpanHeader.previous), previous);
    }
    let spans = step.arena.get(class).spans.get().to_native();
    step.set(field!(class, ClassHeader.spans), U64::from_native(spans - 1));
    give_back(step, span, 1);
}

/// Gives spans back. Nothing that still leads there finds a block any more.
fn give_back(step: &mut FreeStep<'_>, span: Off<SpanHeader>, spans: u64) {
    step.set(field!(span, SpanHeader.kind), UNUSED);
    region::give_spans(step, span.cast(), spans);
}

/// Allocates a block too large for any class: gives its offset and usable size.
pub(crate) fn allocate_large(tx: &mut Tx<'_>, size: u64) -> Result<(Off<u8>, u64), OutOfMemory> {
    let spans = size.checked_add(HEADER_BYTES).ok_or(OutOfMemory)?.div_ceil(SPAN);
    let span: Off<SpanHeader> = region::take_spans(tx, spans)?.cast();
    let header = SpanHeader {
        kind: Slot::new(LARGE),
        class: 0,
        evacuating: Slot::new(0),
        reserved: [0; 5],
        next: Slot::new(Off::NULL),
        previous: Slot::new(Off::NULL),
        search: Hint::new(U32::from_native(0)),
        spans: U32::from_native(spans as u32),
        rest: [0; 32],
    };
    region::init_span(tx, span.cast(), header);
    tx.arena().large_made += 1;
    let (live, total) = {
        let heap = tx.get(HEAP);
        (heap.large_live.get().to_native(), heap.large_spans.get().to_native())
    };
    tx.set(field!(HEAP, HeapHeader.large_live), U64::from_native(live + 1))?;
    tx.set(field!(HEAP, HeapHeader.large_spans), U64::from_native(total + spans))?;
    Ok((span.byte_add(HEADER_BYTES), spans * SPAN - HEADER_BYTES))
}

/// Frees a large block.
pub(crate) fn release_large(step: &mut FreeStep<'_>, span: Off<SpanHeader>, spans: u64) {
    let (live, total) = {
        let heap = step.arena.get(HEAP);
        (heap.large_live.get().to_native(), heap.large_spans.get().to_native())
    };
    step.set(field!(HEAP, HeapHeader.large_live), U64::from_native(live - 1));
    step.set(field!(HEAP, HeapHeader.large_spans), U64::from_native(total - spans));
    give_back(step, span, spans);
}
