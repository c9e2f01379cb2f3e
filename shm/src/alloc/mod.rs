//! The allocator: size classes in spans of 64 KiB, large blocks in runs of spans, regions of 1 GiB.
//!
//! Everything it knows stands in the arena and changes through the undo log, so a transaction that
//! is rolled back has allocated nothing. Freeing happens after the commit, in batches that are
//! transactions of their own ([`crate::undo`]).
//!
//! - A *region* begins with a header span, which says of each span whether it is used and whether
//!   it is a hole (not backed by memory).
//! - A *small span* holds blocks of one class behind a header with a bitmap. Spans of a class with
//!   free blocks form a doubly linked list.
//! - A *large block* is a run of spans behind a header.
//!
//! The header of a block's span is found from the block's offset alone.

mod class;
mod evacuate;
mod heap;
pub(crate) mod region;
mod span;

pub(crate) use class::classes_hash;
pub use class::{CLASS_COUNT, CLASSES_VERSION, class_of, class_size};
pub use evacuate::{Ending, Evacuation, Survey};
pub use heap::{Stats, Usage};
pub use region::RegionHeader;
pub use span::SpanHeader;

use std::sync::atomic::Ordering;

use crate::arena::View;
use crate::error::OutOfMemory;
use crate::freeing::FreeStep;
use crate::header::HEAP;
use crate::layout::SPAN;
use crate::off::Off;
use crate::record;
use crate::record::{Slot, U64};
use crate::tx::Tx;

pub(crate) use heap::initialise;
use span::Block;
pub(crate) use span::{
    HEADER_BYTES, LARGE, REGION_HEADER, SMALL, bitmap_words, data_start, free_blocks, objects,
};

record! {
    /// What the allocator knows of one size class.
    pub struct ClassHeader {
        /// First span of the class with a free block.
        pub partial: Slot<Off<SpanHeader>>,
        /// Spans of the class.
        pub spans: Slot<U64>,
    }
}

record! {
    /// What the allocator knows of the whole heap. At [`crate::header::HEAP`].
    pub struct HeapHeader {
        /// Number of the first span that was never used; spans count from the start of the heap.
        pub frontier: Slot<U64>,
        /// Spans in use, headers of regions included.
        pub used_spans: Slot<U64>,
        /// Unused spans below the frontier that are holes.
        pub holes: Slot<U64>,
        /// Spans that large blocks take.
        pub large_spans: Slot<U64>,
        /// Large blocks in use.
        pub large_live: Slot<U64>,
        /// Small spans whose blocks are to be moved elsewhere.
        pub evacuating: Slot<U64>,
        /// One entry a class.
        pub classes: [ClassHeader; CLASS_COUNT],
    }
}

/// A class's entry in the heap's header.
#[inline(always)]
pub(crate) fn class_header(class: usize) -> Off<ClassHeader> {
    crate::field!(HEAP, HeapHeader.classes).cast::<ClassHeader>().nth(class as u64)
}

/// Allocates a block; gives its offset and usable size.
#[inline]
pub(crate) fn allocate(tx: &mut Tx<'_>, size: u64) -> Result<(Off<u8>, u64), OutOfMemory> {
    match class_of(size) {
        Some(class) => Ok((span::allocate(tx, class)?, class_size(class))),
        None => span::allocate_large(tx, size),
    }
}

/// Frees a block, as part of a batch.
///
/// The transaction made sure that it was in use. One that freed it twice can come here in vain: a defect
/// that must not become a server that dies again at each recovery, so it is counted. So can a batch that
/// is done again because its owner died amid it: what it had freed is free.
#[inline]
pub(crate) fn release(step: &mut FreeStep<'_>, block: u64) {
    match span::block_at(step.arena, block) {
        Some(Block::Small(place)) => span::release(step, place),
        Some(Block::Large { span, spans }) => span::release_large(step, span, spans),
        None if step.again => {}
        None => refuse(step, block),
    }
}

#[cold]
#[inline(never)]
fn refuse(step: &mut FreeStep<'_>, block: u64) {
    debug_assert!(false, "block {block:#x} is freed twice");
    step.arena.word(crate::header::REFUSED_FREES).fetch_add(1, Ordering::Relaxed);
}

/// Bytes that the block in use takes which begins at the offset.
///
/// # Panics
///
/// If there is none.
#[inline]
pub(crate) fn taken_by(view: &View, block: u64) -> u64 {
    match span::block_at(view, block) {
        Some(Block::Small(place)) => class_size(place.class),
        Some(Block::Large { spans, .. }) => spans * SPAN,
        None => no_block(block),
    }
}

/// Bytes that a block takes which has so many usable ones.
#[inline(always)]
pub(crate) fn taken_with(usable: u64) -> u64 {
    if usable >= SPAN - HEADER_BYTES { usable + HEADER_BYTES } else { usable }
}

#[cold]
#[inline(never)]
fn no_block(block: u64) -> ! {
    panic!("no block in use begins at {block:#x}: it was freed before, or the arena is damaged")
}

/// The largest size of a block that is not larger than `bytes`, and at least the smallest one.
pub const fn largest_within(bytes: u64) -> u64 {
    if bytes >= SPAN - HEADER_BYTES {
        return bytes - (bytes + HEADER_BYTES) % SPAN;
    }
    let mut class = CLASS_COUNT - 1;
    while class > 0 && class_size(class) > bytes {
        class -= 1;
    }
    class_size(class)
}

/// Usable bytes of a block in use.
///
/// # Panics
///
/// If the offset does not lead to a block.
pub fn block_size(view: &View, block: Off<u8>) -> u64 {
    let header = view.get(Off::<SpanHeader>::new(block.raw() & !(SPAN - 1)));
    match header.kind.get() {
        SMALL => class_size(header.class as usize),
        LARGE => header.spans.to_native() as u64 * SPAN - span::HEADER_BYTES,
        other => panic!("block {block:?} lies in a span of kind {other}: the arena is damaged"),
    }
}
