//! The checker: proves that every block in use is reached exactly once, and every count right.
//!
//! Whoever knows the roots calls [`Checker::mark`] for every block it reaches; containers mark their
//! own blocks ([`mark_table`], [`mark_tree`], [`mark_blob`], [`mark_deque`]). [`Checker::finish`] then
//! compares with the allocator's books. Nothing is changed, and nothing that stands in the arena is
//! believed before it was compared with the bounds: a damaged arena gives findings, not a panic.

mod books;
mod containers;
mod tree;

pub use containers::{mark_blob, mark_deque, mark_table};
pub use tree::mark_tree;

use std::sync::atomic::Ordering;

use crate::alloc;
use crate::arena::View;
use crate::header;
use crate::layout::{self, SPAN};
use crate::off::Off;
use crate::record::U64;
use crate::undo::State;

use books::Kind;

/// Findings beyond this number are counted but not described.
const MAX_FINDINGS: usize = 100;

/// A walk over an arena.
pub struct Checker<'a> {
    view: &'a View,
    /// What every span below the frontier is.
    spans: Vec<Kind>,
    /// Bitmaps of the blocks that were reached, by span; empty where none was.
    reached: Vec<Box<[u64]>>,
    findings: Vec<String>,
    total: usize,
    blocks: u64,
}

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Blocks that were reached.
    pub blocks: u64,
    /// Everything that is wrong, the first hundred in words.
    pub findings: Vec<String>,
    /// Number of findings.
    pub total: usize,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.total == 0
    }
}

impl<'a> Checker<'a> {
    /// Begins a walk. The caller owns the arena and is between two transactions.
    pub fn new(view: &'a View) -> Checker<'a> {
        let mut checker = Checker {
            view,
            spans: Vec::new(),
            reached: Vec::new(),
            findings: Vec::new(),
            total: 0,
            blocks: 0,
        };
        let state = State::decode(view.log_state().load(Ordering::Relaxed));
        if state.undo != 0 || state.frees != 0 || state.freeing {
            checker.finding(format!("a transaction is unfinished: {state:?}"));
        }
        let refused = view.word(header::REFUSED_FREES).load(Ordering::Relaxed);
        if refused != 0 {
            checker.finding(format!("{refused} blocks were freed twice; the second was refused"));
        }
        checker.read_spans();
        checker.reached.resize_with(checker.spans.len(), Box::default);
        checker
    }

    /// The arena.
    pub fn view(&self) -> &'a View {
        self.view
    }

    /// What was found first, if anything was.
    pub fn first(&self) -> Option<String> {
        self.findings.first().cloned()
    }

    /// Notes something wrong.
    pub fn finding(&mut self, what: String) {
        self.total += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(what);
        }
    }

    /// Notes that a block of at least `size` bytes was reached; says whether it may be read.
    ///
    /// `what` names whoever leads to the block, for the finding if something is wrong.
    pub fn mark<T>(&mut self, block: Off<T>, size: u64, what: &str) -> bool {
        let Some((span, index, room)) = self.locate(block.raw()) else {
            self.finding(format!("{what}: {block:?} is no block in use"));
            return false;
        };
        let words = &mut self.reached[span];
        if words.is_empty() {
            *words = vec![0; self.spans[span].bitmap_words()].into_boxed_slice();
        }
        let word = &mut words[index / 64];
        let twice = *word >> (index % 64) & 1 != 0;
        *word |= 1 << (index % 64);
        self.blocks += 1;
        if twice {
            self.finding(format!("{what}: {block:?} is reached twice"));
            return false;
        }
        if size > room {
            self.finding(format!("{what}: {block:?} has {room} bytes, {size} are needed"));
            return false;
        }
        true
    }

    /// Number of the span, index in it, and size of the block in use at an offset.
    #[inline]
    fn locate(&self, raw: u64) -> Option<(usize, usize, u64)> {
        let number = (raw.checked_sub(layout::HEAP)? / SPAN) as usize;
        let at = raw % SPAN;
        match *self.spans.get(number)? {
            Kind::Small(class) => {
                let class = class as usize;
                let (at, size) =
                    (at.checked_sub(alloc::data_start(class))?, alloc::class_size(class));
                let (index, rest) = (at as u32 / size as u32, at as u32 % size as u32);
                let used = u64::from(index) < alloc::objects(class)
                    && self.bitmap(number, u64::from(index / 64)) >> (index % 64) & 1 != 0;
                (rest == 0 && used).then_some((number, index as usize, size))
            }
            Kind::Large(spans) => {
                let head = alloc::HEADER_BYTES;
                (at == head).then_some((number, 0, u64::from(spans) * SPAN - head))
            }
            _ => None,
        }
    }

    /// A word of the bitmap of a span of small blocks.
    fn bitmap(&self, number: usize, word: u64) -> u64 {
        let at = layout::HEAP + number as u64 * SPAN + alloc::HEADER_BYTES + word * 8;
        self.view.read(Off::<U64>::new(at)).to_native()
    }

    /// Compares what was reached with the allocator's books.
    pub fn finish(mut self) -> Report {
        let totals = self.check_spans();
        self.check_lists();
        self.check_totals(&totals);
        Report { blocks: self.blocks, findings: self.findings, total: self.total }
    }

    fn compare(&mut self, what: &str, counted: u64, noted: u64) {
        if counted != noted {
            self.finding(format!("{what}: {counted} counted, {noted} noted"));
        }
    }
}
