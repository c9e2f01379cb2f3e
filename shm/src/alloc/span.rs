//! Spans: small blocks of one class behind a bitmap, and large blocks of several spans.

use crate::alloc::{ClassHeader, HeapHeader, class_header, class_size, region};
use crate::arena::View;
use crate::error::OutOfMemory;
use crate::field;
use crate::header::HEAP;
use crate::layout::SPAN;
use crate::off::Off;
use crate::record;
use crate::record::{Hint, Slot, U16, U32, U64};
use crate::tx::{FreeStep, Tx};

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
        /// Small, large, or a region's header.
        pub kind: u8,
        /// Class of a small span.
        pub class: u8,
        /// Unused.
        pub reserved: U16,
        /// Free blocks of a small span.
        pub free: Slot<U32>,
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

/// Allocates a block of a class.
#[inline]
pub(crate) fn allocate(tx: &mut Tx<'_>, class: usize) -> Result<Off<u8>, OutOfMemory> {
    let class_off = class_header(class);
    let mut span = tx.get(class_off).partial.get();
    if span.is_null() {
        span = new_span(tx, class)?;
    }
    let header = tx.get(span);
    let free = header.free.get().to_native();
    let words = bitmap_words(class);
    let mut word = u64::from(header.search.get().to_native());
    if word >= words {
        word = 0;
    }
    let mut searched = 0;
    let bits = loop {
        let bits = tx.get(bitmap_word(span, word)).get().to_native();
        if bits != u64::MAX {
            break bits;
        }
        searched += 1;
        assert!(searched <= words, "a span with free blocks has none: the arena is damaged");
        word = if word + 1 == words { 0 } else { word + 1 };
    };
    if searched > 0 {
        tx.hint(field!(span, SpanHeader.search), U32::from_native(word as u32));
    }
    let bit = u64::from((!bits).trailing_zeros());
    tx.set(bitmap_word(span, word), U64::from_native(bits | 1 << bit))?;
    tx.set(field!(span, SpanHeader.free), U32::from_native(free - 1))?;
    if free == 1 {
        unlink_full(tx, class_off, span)?;
    }
    let live = tx.get(class_off).live.get().to_native();
    tx.set(field!(class_off, ClassHeader.live), U64::from_native(live + 1))?;
    Ok(span.byte_add(data_start(class) + (word * 64 + bit) * class_size(class)))
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
    let span: Off<SpanHeader> = region::take_spans(tx, 1)?.cast();
    let header = SpanHeader {
        kind: SMALL,
        class: class as u8,
        reserved: U16::from_native(0),
        free: Slot::new(U32::from_native(objects(class) as u32)),
        next: Slot::new(Off::NULL),
        previous: Slot::new(Off::NULL),
        search: Hint::new(U32::from_native(0)),
        spans: U32::from_native(1),
        rest: [0; 32],
    };
    region::init_span(tx, span.cast(), header);
    for word in 0..bitmap_words(class) {
        // Bits beyond the last block count as used.
        let blocks = objects(class) - word * 64;
        let bits = if blocks >= 64 { 0 } else { u64::MAX << blocks };
        region::init_span(tx, bitmap_word(span, word).cast(), U64::from_native(bits));
    }
    tx.set(field!(class_header(class), ClassHeader.partial), span)?;
    Ok(span)
}

/// Whether a block in use begins at the offset.
#[inline]
pub(crate) fn is_in_use(view: &View, block: u64) -> bool {
    let span = Off::<SpanHeader>::new(block & !(SPAN - 1));
    let end = region::span_at(view.get(HEAP).frontier.get().to_native()).raw();
    if span.raw() < crate::layout::HEAP || block >= end || !region::is_used(view, span) {
        return false;
    }
    let header = view.get(span);
    let class = header.class as usize;
    match header.kind {
        SMALL if class < COUNT => {
            let Some(at) = (block - span.raw()).checked_sub(data_start(class)) else {
                return false;
            };
            let (at, size) = (at as u32, class_size(class) as u32);
            let index = at / size;
            let word = view.get(bitmap_word(span, u64::from(index / 64))).get().to_native();
            index * size == at && u64::from(index) < objects(class) && word >> (index % 64) & 1 != 0
        }
        LARGE => block == span.raw() + HEADER_BYTES,
        _ => false,
    }
}

/// Frees a small block.
pub(crate) fn release(step: &mut FreeStep<'_>, span: Off<SpanHeader>, block: u64) {
    let header = step.arena.read(span);
    let class = header.class as usize;
    let index = (block - span.raw() - data_start(class)) / class_size(class);
    let word = bitmap_word(span, index / 64);
    let bits = step.arena.get(word).get().to_native();
    let bit = 1 << (index % 64);
    step.set(word, U64::from_native(bits & !bit));
    let class_off = class_header(class);
    let live = step.arena.get(class_off).live.get().to_native();
    step.set(field!(class_off, ClassHeader.live), U64::from_native(live - 1));
    let free = header.free.get().to_native() + 1;
    step.set(field!(span, SpanHeader.free), U32::from_native(free));
    let first = step.arena.get(class_off).partial.get();
    if free == 1 {
        step.set(field!(span, SpanHeader.next), first);
        if !first.is_null() {
            step.set(field!(first, SpanHeader.previous), span);
        }
        step.set(field!(class_off, ClassHeader.partial), span);
        return;
    }
    // An empty span goes back to its region, except the last one with free blocks: a class that
    // swings between n and n + 1 blocks would otherwise make and release a span each time.
    let (next, previous) = (header.next.get(), header.previous.get());
    if u64::from(free) == objects(class) && !(next.is_null() && previous.is_null()) {
        if previous.is_null() {
            step.set(field!(class_off, ClassHeader.partial), next);
        } else {
            step.set(field!(previous, SpanHeader.next), next);
        }
        if !next.is_null() {
            step.set(field!(next, SpanHeader.previous), previous);
        }
        region::give_spans(step, span.cast(), 1);
    }
}

/// Allocates a block too large for any class: gives its offset and usable size.
pub(crate) fn allocate_large(tx: &mut Tx<'_>, size: u64) -> Result<(Off<u8>, u64), OutOfMemory> {
    let spans = size.checked_add(HEADER_BYTES).ok_or(OutOfMemory)?.div_ceil(SPAN);
    let span: Off<SpanHeader> = region::take_spans(tx, spans)?.cast();
    let header = SpanHeader {
        kind: LARGE,
        class: 0,
        reserved: U16::from_native(0),
        free: Slot::new(U32::from_native(0)),
        next: Slot::new(Off::NULL),
        previous: Slot::new(Off::NULL),
        search: Hint::new(U32::from_native(0)),
        spans: U32::from_native(spans as u32),
        rest: [0; 32],
    };
    region::init_span(tx, span.cast(), header);
    let (live, total) = {
        let heap = tx.get(HEAP);
        (heap.large_live.get().to_native(), heap.large_spans.get().to_native())
    };
    tx.set(field!(HEAP, HeapHeader.large_live), U64::from_native(live + 1))?;
    tx.set(field!(HEAP, HeapHeader.large_spans), U64::from_native(total + spans))?;
    Ok((span.byte_add(HEADER_BYTES), spans * SPAN - HEADER_BYTES))
}

/// Frees a large block.
pub(crate) fn release_large(step: &mut FreeStep<'_>, span: Off<SpanHeader>) {
    let spans = u64::from(step.arena.get(span).spans.to_native());
    let (live, total) = {
        let heap = step.arena.get(HEAP);
        (heap.large_live.get().to_native(), heap.large_spans.get().to_native())
    };
    step.set(field!(HEAP, HeapHeader.large_live), U64::from_native(live - 1));
    step.set(field!(HEAP, HeapHeader.large_spans), U64::from_native(total - spans));
    region::give_spans(step, span.cast(), spans);
}
