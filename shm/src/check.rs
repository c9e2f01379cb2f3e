//! The checker: proves that every block in use is reached exactly once, and every count right.
//!
//! Whoever knows the roots calls [`Checker::mark`] for every block it reaches; containers mark their
//! own blocks ([`mark_table`], [`mark_blob`]). [`Checker::finish`] then compares with the allocator's
//! books. Nothing is changed.

use std::collections::BTreeMap;

use crate::alloc::{self, CLASS_COUNT, HeapHeader, LARGE, RegionHeader, SMALL, SpanHeader};
use crate::arena::View;
use crate::blob::{self, Blob};
use crate::header::HEAP;
use crate::layout::{self, REGION, SPAN, SPANS_PER_REGION};
use crate::off::Off;
use crate::table::{self, Table};
use crate::undo::State;

/// Findings beyond this number are counted but not described.
const MAX_FINDINGS: usize = 100;

/// A walk over an arena.
pub struct Checker<'a> {
    view: &'a View,
    /// Bitmaps of the blocks that were reached, by span.
    reached: BTreeMap<u64, Vec<u64>>,
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
        let mut checker =
            Checker { view, reached: BTreeMap::new(), findings: Vec::new(), total: 0, blocks: 0 };
        let state = State::decode(view.log_state().load(std::sync::atomic::Ordering::Relaxed));
        if state.undo != 0 || state.frees != 0 || state.freeing {
            checker.finding(format!("a transaction is unfinished: {state:?}"));
        }
        checker
    }

    /// The arena.
    pub fn view(&self) -> &'a View {
        self.view
    }

    /// Notes something wrong.
    pub fn finding(&mut self, what: String) {
        self.total += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(what);
        }
    }

    /// Notes that a block of at least `size` bytes was reached; says whether it may be read.
    pub fn mark<T>(&mut self, block: Off<T>, size: u64, what: &str) -> bool {
        let raw = block.raw();
        let Some((span, index, room)) = self.locate(raw) else {
            self.finding(format!("{what}: {block:?} is no block"));
            return false;
        };
        let words = self.reached.entry(span).or_default();
        let word = (index / 64) as usize;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        let twice = words[word] >> (index % 64) & 1 != 0;
        words[word] |= 1 << (index % 64);
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

    /// Span, index and size of the block in use at an offset.
    fn locate(&self, raw: u64) -> Option<(u64, u64, u64)> {
        let frontier = self.view.get(HEAP).frontier.get().to_native();
        if raw < layout::HEAP || raw >= layout::HEAP + frontier * SPAN {
            return None;
        }
        let span = raw & !(SPAN - 1);
        if !self.span_used(span) {
            return None;
        }
        let header = self.view.get(Off::<SpanHeader>::new(span));
        match header.kind {
            SMALL if (header.class as usize) < CLASS_COUNT => {
                let class = header.class as usize;
                let at = (raw - span).checked_sub(alloc::data_start(class))?;
                let (index, rest) = (at / alloc::class_size(class), at % alloc::class_size(class));
                let used = index < alloc::objects(class)
                    && self.bitmap(span, index / 64) >> (index % 64) & 1 != 0;
                (rest == 0 && used).then_some((span, index, alloc::class_size(class)))
            }
            LARGE => {
                let head = size_of::<SpanHeader>() as u64;
                let room = u64::from(header.spans.to_native()) * SPAN - head;
                (raw == span + head).then_some((span, 0, room))
            }
            _ => None,
        }
    }

    fn bitmap(&self, span: u64, word: u64) -> u64 {
        let at = span + size_of::<SpanHeader>() as u64 + word * 8;
        self.view.read(Off::<crate::record::U64>::new(at)).to_native()
    }

    fn region(&self, index: u64) -> &'a RegionHeader {
        self.view.get(Off::new(layout::HEAP + index * REGION))
    }

    fn span_used(&self, span: u64) -> bool {
        let number = (span - layout::HEAP) / SPAN;
        let bit = number % SPANS_PER_REGION;
        let word = self.region(number / SPANS_PER_REGION).used[(bit / 64) as usize].get();
        word.to_native() >> (bit % 64) & 1 != 0
    }

    /// Compares what was reached with the allocator's books.
    pub fn finish(mut self) -> Report {
        let heap = self.view.read(HEAP);
        let frontier = heap.frontier.get().to_native();
        let mut totals = Totals::default();
        let mut number = 0;
        while number < frontier {
            let bit = number % SPANS_PER_REGION;
            let region = self.region(number / SPANS_PER_REGION);
            if bit == 0 {
                totals.used += 1;
                self.check_region(region, number, frontier);
                number += 1;
                continue;
            }
            let hole = region.holes[(bit / 64) as usize].get().to_native() >> (bit % 64) & 1 != 0;
            totals.holes += u64::from(hole);
            if !self.span_used(layout::HEAP + number * SPAN) {
                number += 1;
                continue;
            }
            if hole {
                self.finding(format!("span {number} is in use and a hole"));
            }
            let spans = self.check_span(number, &mut totals);
            totals.used += spans;
            number += spans;
        }
        self.check_lists();
        self.compare("used spans", totals.used, heap.used_spans.get().to_native());
        self.compare("holes", totals.holes, heap.holes.get().to_native());
        self.compare("large blocks", totals.large, heap.large_live.get().to_native());
        self.compare(
            "spans of large blocks",
            totals.large_spans,
            heap.large_spans.get().to_native(),
        );
        for class in 0..CLASS_COUNT {
            let what = format!("blocks of {} bytes", alloc::class_size(class));
            self.compare(&what, totals.live[class], heap.classes[class].live.get().to_native());
        }
        Report { blocks: self.blocks, findings: self.findings, total: self.total }
    }

    fn compare(&mut self, what: &str, counted: u64, noted: u64) {
        if counted != noted {
            self.finding(format!("{what}: {counted} counted, {noted} noted"));
        }
    }

    fn check_region(&mut self, region: &RegionHeader, first: u64, frontier: u64) {
        let used: u64 =
            region.used.iter().map(|w| u64::from(w.get().to_native().count_ones())).sum();
        self.compare(
            &format!("free spans of region {}", first / SPANS_PER_REGION),
            SPANS_PER_REGION - used,
            u64::from(region.free.get().to_native()),
        );
        for number in frontier..first + SPANS_PER_REGION {
            if number >= first && self.span_used(layout::HEAP + number * SPAN) {
                self.finding(format!("span {number} is in use beyond the frontier"));
            }
        }
    }

    /// Checks a span in use; gives the number of spans it stands for.
    fn check_span(&mut self, number: u64, totals: &mut Totals) -> u64 {
        let span = layout::HEAP + number * SPAN;
        let header = self.view.read(Off::<SpanHeader>::new(span));
        let reached = self.reached.remove(&span).unwrap_or_default();
        match header.kind {
            SMALL if (header.class as usize) < CLASS_COUNT => {
                let class = header.class as usize;
                let mut live = 0;
                for word in 0..alloc::bitmap_words(class) {
                    let blocks = alloc::objects(class) - word * 64;
                    let valid = if blocks >= 64 { u64::MAX } else { !(u64::MAX << blocks) };
                    let used = self.bitmap(span, word) & valid;
                    live += u64::from(used.count_ones());
                    let lost = used & !reached.get(word as usize).copied().unwrap_or(0);
                    for bit in (0..64).filter(|bit| lost >> bit & 1 != 0) {
                        let block = span
                            + alloc::data_start(class)
                            + (word * 64 + bit) * alloc::class_size(class);
                        self.finding(format!(
                            "block {block:#x} of {} bytes is in use but unreachable",
                            alloc::class_size(class)
                        ));
                    }
                }
                totals.live[class] += live;
                let free = u64::from(header.free.get().to_native());
                self.compare(
                    &format!("free blocks of span {number}"),
                    alloc::objects(class) - live,
                    free,
                );
                1
            }
            LARGE => {
                if reached.is_empty() {
                    self.finding(format!("large block in span {number} is unreachable"));
                }
                totals.large += 1;
                totals.large_spans += u64::from(header.spans.to_native());
                u64::from(header.spans.to_native()).max(1)
            }
            kind => {
                self.finding(format!("span {number} is in use and of kind {kind}"));
                1
            }
        }
    }

    /// The lists of spans with free blocks hold just those spans, and their links agree.
    fn check_lists(&mut self) {
        let heap: HeapHeader = self.view.read(HEAP);
        let frontier = heap.frontier.get().to_native();
        let mut listed = std::collections::BTreeSet::new();
        for (class, header) in heap.classes.iter().enumerate() {
            let mut previous = Off::NULL;
            let mut span = header.partial.get();
            while !span.is_null() {
                if !listed.insert(span.raw()) {
                    self.finding(format!("the list of class {class} has a loop at {span:?}"));
                    break;
                }
                let head = self.view.read(span);
                if head.kind != SMALL
                    || head.class as usize != class
                    || head.previous.get() != previous
                    || head.free.get().to_native() == 0
                {
                    self.finding(format!(
                        "span {span:?} does not belong in the list of class {class}"
                    ));
                }
                previous = span;
                span = head.next.get();
            }
        }
        for number in 0..frontier {
            let span = layout::HEAP + number * SPAN;
            if number % SPANS_PER_REGION == 0 || !self.span_used(span) || listed.contains(&span) {
                continue;
            }
            let head = self.view.get(Off::<SpanHeader>::new(span));
            // Spans inside of a large block have no header; their bytes are the block's.
            let inside = self.inside_large(number);
            if !inside && head.kind == SMALL && head.free.get().to_native() > 0 {
                self.finding(format!("span {number} has free blocks and is in no list"));
            }
        }
    }

    fn inside_large(&self, number: u64) -> bool {
        let base = number - number % SPANS_PER_REGION;
        let mut at = base + 1;
        while at < number {
            let span = layout::HEAP + at * SPAN;
            let head = self.view.get(Off::<SpanHeader>::new(span));
            if self.span_used(span) && head.kind == LARGE {
                at += u64::from(head.spans.to_native()).max(1);
            } else {
                at += 1;
            }
        }
        at != number
    }
}

struct Totals {
    used: u64,
    holes: u64,
    large: u64,
    large_spans: u64,
    live: [u64; CLASS_COUNT],
}

impl Default for Totals {
    fn default() -> Self {
        Totals { used: 0, holes: 0, large: 0, large_spans: 0, live: [0; CLASS_COUNT] }
    }
}

/// Marks the blocks of a table and gives every entry to `each`, which marks it in turn.
pub fn mark_table(
    checker: &mut Checker<'_>,
    table: Off<Table>,
    what: &str,
    mut each: impl FnMut(&mut Checker<'_>, Off<u8>),
) {
    let view = checker.view();
    let record = view.read(table);
    if record.directory.get().is_null() {
        checker.compare(what, 0, record.len.get().to_native());
        return;
    }
    let entries = 8u64 << record.depth.get().to_native();
    if !checker.mark(record.directory.get(), entries, what) {
        return;
    }
    let mut found = Vec::new();
    table::segments(view, table, |_, segment, _| found.push(segment));
    let mut count = 0;
    for segment in found {
        if !checker.mark(segment, table::SEGMENT_BYTES, what) {
            continue;
        }
        for problem in table::check_segment(view, segment) {
            checker.finding(format!("{what}: {problem}"));
        }
        table::for_each_in(view, segment, |entry| {
            count += 1;
            each(checker, entry);
        });
    }
    checker.compare(&format!("{what}: entries"), count, record.len.get().to_native());
}

/// Marks the blocks of a blob.
pub fn mark_blob(checker: &mut Checker<'_>, at: Off<Blob>, what: &str) {
    let view = checker.view();
    let record = view.read(at);
    let (len, data) = (record.len.get().to_native(), record.data.get());
    let room = u64::from(record.room.get().to_native());
    if data.is_null() {
        checker.compare(&format!("{what}: bytes without memory"), 0, len);
    } else if room == 0 {
        checker.mark(data, len, what);
    } else if checker.mark(data, room * 8, what) {
        if len > room * blob::PART {
            checker.finding(format!("{what}: {len} bytes in {room} parts"));
        }
        for i in 0..room {
            let part = view.read(data.cast::<Off<u8>>().nth(i));
            if !part.is_null() {
                checker.mark(part, blob::PART, what);
            }
        }
    }
}
