//! The heap as a whole: its creation and its figures.

use std::sync::atomic::Ordering;

use crate::alloc::{CLASS_COUNT, ClassHeader, HeapHeader, class_size, free_blocks, objects};
use crate::arena::{Arena, View};
use crate::error::OutOfMemory;
use crate::header::{self, HEAP};
use crate::layout::{self, SPAN};
use crate::off::Off;
use crate::record::{Slot, U64};

/// Writes the heap's header into a new arena and backs the executor's areas as far as they always
/// are.
pub(crate) fn initialise(arena: &mut Arena) -> Result<(), OutOfMemory> {
    let zero = Slot::new(U64::from_native(0));
    let class = ClassHeader { partial: Slot::new(Off::NULL), spans: zero };
    let header = HeapHeader {
        frontier: zero,
        used_spans: zero,
        holes: zero,
        large_spans: zero,
        large_live: zero,
        evacuating: zero,
        classes: [class; CLASS_COUNT],
    };
    let place = arena.place(HEAP.raw(), size_of::<HeapHeader>() as u64);
    // SAFETY: within the backed header; nobody else knows this arena yet.
    unsafe { place.cast::<HeapHeader>().write_unaligned(header) };
    arena.back_area(layout::UNDO, Arena::LOG_FLOOR)?;
    arena.back_area(layout::FREES, Arena::LOG_FLOOR)
}

/// How full the arena is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks in use, at the size of their class.
    pub used: u64,
    /// Memory of the heap that is backed.
    pub heap: u64,
    /// Spans in use.
    pub spans: u64,
    /// Spans that are unused but backed, below the frontier.
    pub spare: u64,
}

/// One size class's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Size of a block in bytes.
    pub size: u64,
    /// Blocks in use.
    pub live: u64,
}

impl View {
    /// Bytes of the heap that are backed: what counts against the cap.
    pub fn heap_bytes(&self) -> u64 {
        let ready = self.word(header::READY_END).load(Ordering::Relaxed);
        let holes = self.get(HEAP).holes.get().to_native();
        ready.saturating_sub(layout::HEAP).saturating_sub(holes * SPAN)
    }

    /// How full the arena is.
    pub fn stats(&self) -> Stats {
        let heap = self.get(HEAP);
        let spans = heap.used_spans.get().to_native();
        let holes = heap.holes.get().to_native();
        Stats {
            used: self.used_bytes(),
            heap: self.heap_bytes(),
            spans: spans * SPAN,
            spare: heap.frontier.get().to_native().saturating_sub(spans + holes) * SPAN,
        }
    }

    /// Every size class's figures, smallest first. Looks at each span that has both free blocks and blocks
    /// in use, but for those that are being emptied, whose blocks count as in use.
    pub fn class_usage(&self) -> Vec<Usage> {
        let classes = self.get(HEAP).classes;
        let usage = |(class, header): (usize, &ClassHeader)| {
            let mut live = header.spans.get().to_native() * objects(class);
            let mut span = header.partial.get();
            while !span.is_null() {
                live = live.saturating_sub(free_blocks(self, span, class));
                span = self.get(span).next.get();
            }
            Usage { size: class_size(class), live }
        };
        classes.iter().enumerate().map(usage).collect()
    }
}
