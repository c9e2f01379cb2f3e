//! Deques of packed items: a doubly linked list of chunks, each a block with a [run](crate::pack) of
//! items that has slack on both sides.
//!
//! ```text
//! Deque: head, tail ──▶ chunk ◀──▶ chunk ◀──▶ chunk
//!
//! chunk = Chunk (32 bytes) | slack | run | slack
//! ```
//!
//! - Bytes of the slack are nobody's: an item is added at an end by writing it there without a log,
//!   and then the chunk's bounds with one. So that this holds within a transaction too, whatever is
//!   cut off a run is logged as it becomes slack.
//! - No chunk is empty. A chunk holds no more than the [`Limits`] that the caller gives with each
//!   change, unless it holds a single item that is larger. Limits may change from call to call.
//! - A chunk of a short deque begins small and doubles its block when it is full; chunks that removals
//!   left sparse are joined with a neighbour, or cut down. Chunks at the ends, which are filled and
//!   emptied bit by bit, are joined only when something within the deque is removed.
//! - Runs are canonical ([`crate::pack`]): equal items have equal bytes.

mod change;
mod chunk;
mod relocate;
mod remove;
mod walk;

pub use change::{copy, found, insert, push, replace};
pub use relocate::relocate_step;
pub use remove::{free, free_step, pop, remove, remove_equal};
pub use walk::{Direction, Place, Walk, after, item, locate, walk};

use crate::alloc;
use crate::arena::View;
use crate::off::Off;
use crate::record;
use crate::record::{Slot, U32, U64};

record! {
    /// A deque; stands inside its owner's record.
    pub struct Deque {
        /// The first chunk; null if there are no items.
        pub head: Slot<Off<Chunk>>,
        /// The last chunk; null if there are no items.
        pub tail: Slot<Off<Chunk>>,
        /// Items.
        pub len: Slot<U64>,
        /// Chunks.
        pub chunks: Slot<U64>,
    }
}

record! {
    /// Where a chunk's run is, in bytes from the start of its block.
    pub struct Bounds {
        /// Where it starts.
        pub start: U32,
        /// Where it ends.
        pub end: U32,
        /// Items in it.
        pub len: U32,
    }
}

record! {
    /// The head of a chunk.
    pub struct Chunk {
        /// The next chunk; null for the last one.
        pub next: Slot<Off<Chunk>>,
        /// The chunk before; null for the first one.
        pub previous: Slot<Off<Chunk>>,
        /// Where the items are.
        pub bounds: Slot<Bounds>,
        /// Bytes of the block.
        pub size: U32,
    }
}

/// Bytes of a chunk's head.
const HEAD: usize = size_of::<Chunk>();

impl Deque {
    /// No items, no memory.
    pub const EMPTY: Deque = Deque {
        head: Slot::new(Off::NULL),
        tail: Slot::new(Off::NULL),
        len: Slot::new(U64::from_native(0)),
        chunks: Slot::new(U64::from_native(0)),
    };

    /// The chunk at that end.
    #[inline(always)]
    fn edge(&self, end: End) -> Off<Chunk> {
        match end {
            End::Front => self.head.get(),
            End::Back => self.tail.get(),
        }
    }
}

impl Bounds {
    fn new(start: usize, end: usize, len: usize) -> Bounds {
        let word = |number: usize| U32::from_native(number as u32);
        Bounds { start: word(start), end: word(end), len: word(len) }
    }

    #[inline(always)]
    fn start(&self) -> usize {
        self.start.to_native() as usize
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.end.to_native() as usize
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.len.to_native() as usize
    }

    /// Bytes of the run.
    #[inline(always)]
    fn bytes(&self) -> usize {
        self.end() - self.start()
    }
}

/// One of the two ends of a deque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where the first item is.
    Front,
    /// Where the last item is.
    Back,
}

/// How large a chunk may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a chunk's block, unless it holds a single item that is larger.
    block: usize,
    /// Bytes of the block of a chunk that has just one item yet, in a deque of few chunks.
    small: usize,
    /// Items in a chunk.
    items: usize,
}

impl Limits {
    /// Chunks of at most so many bytes, all in all, and so many items. The bytes are cut to the largest
    /// block that the allocator has no larger than that; at least, an item always fits.
    pub const fn new(bytes: u64, items: u32) -> Limits {
        const LEAST: usize = 2 * HEAD;
        const MOST: u64 = 1 << 20;
        let block = alloc::largest_within(if bytes < MOST { bytes } else { MOST }) as usize;
        let small = alloc::largest_within(block as u64 / 4) as usize;
        Limits {
            block: if block < LEAST { LEAST } else { block },
            small: if small < HEAD { HEAD } else { small },
            items: if items == 0 { 1 } else { items as usize },
        }
    }

    /// Most bytes of the run in a chunk of several items.
    #[inline(always)]
    fn run(&self) -> usize {
        self.block - HEAD
    }

    /// Whether a chunk may hold so much.
    #[inline(always)]
    fn allow(&self, bytes: usize, items: usize) -> bool {
        bytes <= self.run() && items <= self.items
    }
}

/// Number of items.
#[inline]
pub fn len(view: &View, deque: Off<Deque>) -> u64 {
    view.get(deque).len.get().to_native()
}

/// The items of a chunk.
#[inline(always)]
pub(crate) fn run_of(view: &View, chunk: Off<Chunk>) -> &[u8] {
    let bounds = view.get(chunk).bounds.get();
    view.bytes(chunk.byte_add(bounds.start() as u64), bounds.bytes())
}

/// Bytes of memory that the deque takes beside its record. Of many chunks `samples` are looked at and
/// the rest is taken to be like them; all if it is 0.
pub fn memory(view: &View, deque: Off<Deque>, samples: u64) -> u64 {
    let record = view.get(deque);
    let chunks = record.chunks.get().to_native();
    let looked = if samples == 0 { chunks } else { samples.min(chunks) };
    let (mut at, mut bytes) = (record.head.get(), 0);
    for _ in 0..looked {
        let chunk = view.get(at);
        bytes += u64::from(chunk.size.to_native());
        at = chunk.next.get();
    }
    (bytes * chunks).checked_div(looked).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_cut_to_blocks() {
        let sizes = [(4096, 4032), (8192, 8160), (16384, 16320), (32768, 32688), (65536, 65472)];
        for (asked, given) in sizes {
            assert_eq!(Limits::new(asked, 1).block, given);
        }
        let least = Limits::new(0, 0);
        assert_eq!((least.block, least.items), (2 * HEAD, 1));
    }
}
