//! The allocator's books: regions, spans, lists, counts.

use std::sync::atomic::Ordering;

use super::Checker;
use crate::alloc::{self, CLASS_COUNT, HeapHeader, LARGE, REGION_HEADER, RegionHeader, SMALL};
use crate::alloc::{SpanHeader, bitmap_words, class_size, data_start, objects};
use crate::header::{self, HEAP};
use crate::layout::{self, REGION, SPAN, SPANS_PER_REGION};
use crate::off::Off;

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unused,
    Hole,
    /// Blocks of this class.
    Small(u8),
    /// The first of so many spans.
    Large(u32),
    /// One of a large block's other spans.
    Inside,
    RegionHeader,
    /// In use, and nothing that could be in use: already found.
    Damaged,
}

impl Kind {
    /// Words of the bitmap of blocks reached in it.
    pub(super) fn bitmap_words(self) -> usize {
        match self {
            Kind::Small(class) => bitmap_words(class as usize) as usize,
            _ => 1,
        }
    }
}

/// What was counted on the way.
#[derive(Default)]
pub(super) struct Totals {
    used: u64,
    holes: u64,
    large: u64,
    large_spans: u64,
    /// Bytes in blocks in use.
    bytes: u64,
    /// Spans of each class.
    spans: Vec<u64>,
}

fn span_offset(number: usize) -> Off<SpanHeader> {
    Off::new(layout::HEAP + number as u64 * SPAN)
}

impl Checker<'_> {
    /// Finds out what every span is, believing nothing.
    pub(super) fn read_spans(&mut self) {
        let frontier = self.view.get(HEAP).frontier.get().to_native();
        let ready = self.view.word(header::READY_END).load(Ordering::Relaxed);
        let backed = ready.clamp(layout::HEAP, self.view.len().max(layout::HEAP)) - layout::HEAP;
        if ready < layout::HEAP || ready > self.view.len() || frontier > backed / SPAN {
            self.finding(format!(
                "{frontier} spans were used, but the heap is ready to {ready:#x}"
            ));
        }
        let frontier = frontier.min(backed / SPAN) as usize;
        self.spans = Vec::with_capacity(frontier);
        while self.spans.len() < frontier {
            let first = self.spans.len();
            let end = frontier.min(first + SPANS_PER_REGION as usize);
            self.read_region(first, end);
        }
    }

    fn read_region(&mut self, first: usize, end: usize) {
        let index = first as u64 / SPANS_PER_REGION;
        let region: &RegionHeader = self.view.get(Off::new(layout::HEAP + index * REGION));
        if region.kind != REGION_HEADER || region.used[0].get().to_native() & 1 == 0 {
            self.finding(format!("region {index} has no header"));
            self.spans.resize(end, Kind::Damaged);
            return;
        }
        let used: u64 =
            region.used.iter().map(|w| u64::from(w.get().to_native().count_ones())).sum();
        let free = u64::from(region.free.get().to_native());
        self.compare(&format!("free spans of region {index}"), SPANS_PER_REGION - used, free);
        let bit = |words: &[crate::Slot<crate::U64>], n: usize| {
            words[(n - first) / 64].get().to_native() >> ((n - first) % 64) & 1 != 0
        };
        for number in end..first + SPANS_PER_REGION as usize {
            if bit(&region.used, number) {
                self.finding(format!("span {number} is in use beyond the frontier"));
            }
        }
        self.spans.push(Kind::RegionHeader);
        while self.spans.len() < end {
            let number = self.spans.len();
            let (used, hole) = (bit(&region.used, number), bit(&region.holes, number));
            if used && hole {
                self.finding(format!("span {number} is in use and a hole"));
            }
            if !used {
                self.spans.push(if hole { Kind::Hole } else { Kind::Unused });
                continue;
            }
            let kind = self.kind_of(number);
            self.spans.push(kind);
            let Kind::Large(spans) = kind else { continue };
            for inside in number + 1..(number + spans as usize).min(end) {
                if !bit(&region.used, inside) {
                    self.finding(format!("span {inside} of large block {number} is not in use"));
                }
                self.spans.push(Kind::Inside);
            }
            if number + spans as usize > end {
                self.finding(format!("the large block in span {number} has {spans} spans"));
                self.spans[number] = Kind::Damaged;
            }
        }
    }

    fn kind_of(&mut self, number: usize) -> Kind {
        let header = self.view.get(span_offset(number));
        match header.kind.get() {
            SMALL if (header.class as usize) < CLASS_COUNT => Kind::Small(header.class),
            LARGE if header.spans.to_native() > 0 => Kind::Large(header.spans.to_native()),
            kind => {
                self.finding(format!("span {number} is in use and of kind {kind}"));
                Kind::Damaged
            }
        }
    }

    /// Compares the blocks in use with those that were reached.
    pub(super) fn check_spans(&mut self) -> Totals {
        let mut totals = Totals { spans: vec![0; CLASS_COUNT], ..Totals::default() };
        for number in 0..self.spans.len() {
            match self.spans[number] {
                Kind::Unused => continue,
                Kind::Hole => {
                    totals.holes += 1;
                    continue;
                }
                Kind::Small(class) => {
                    totals.spans[class as usize] += 1;
                    totals.bytes += self.check_small(number, class) * class_size(class as usize);
                }
                Kind::Large(spans) => {
                    if self.reached[number].is_empty() {
                        self.finding(format!("large block in span {number} is unreachable"));
                    }
                    totals.large += 1;
                    totals.large_spans += u64::from(spans);
                    totals.bytes += u64::from(spans) * SPAN;
                }
                Kind::Inside | Kind::RegionHeader | Kind::Damaged => {}
            }
            totals.used += 1;
        }
        totals
    }

    /// Checks a span of small blocks; gives the number of those in use.
    fn check_small(&mut self, number: usize, class: u8) -> u64 {
        let class = class as usize;
        let reached = std::mem::take(&mut self.reached[number]);
        let mut live = 0;
        for word in 0..bitmap_words(class) {
            let blocks = objects(class) - word * 64;
            let valid = if blocks >= 64 { u64::MAX } else { !(u64::MAX << blocks) };
            let bits = self.bitmap(number, word);
            if bits & !valid != !valid {
                self.finding(format!("span {number} has blocks beyond its last one"));
            }
            let used = bits & valid;
            live += u64::from(used.count_ones());
            let mut lost = used & !reached.get(word as usize).copied().unwrap_or(0);
            while lost != 0 {
                let index = word * 64 + u64::from(lost.trailing_zeros());
                lost &= lost - 1;
                let size = class_size(class);
                let block = span_offset(number).raw() + data_start(class) + index * size;
                self.finding(format!("block {block:#x} of {size} bytes is in use but unreachable"));
            }
        }
        live
    }

    /// The lists of spans with free blocks hold just those spans, and their links agree.
    pub(super) fn check_lists(&mut self) {
        let heap: HeapHeader = self.view.read(HEAP);
        let mut listed = vec![false; self.spans.len()];
        for (class, header) in heap.classes.iter().enumerate() {
            let mut previous = Off::NULL;
            let mut span = header.partial.get();
            while !span.is_null() {
                let number = span.raw().wrapping_sub(layout::HEAP) / SPAN;
                let known = self.spans.get(number as usize).copied();
                if span.raw() % SPAN != 0 || known != Some(Kind::Small(class as u8)) {
                    self.finding(format!("the list of class {class} leads to {span:?}"));
                    break;
                }
                if std::mem::replace(&mut listed[number as usize], true) {
                    self.finding(format!("the list of class {class} has a loop at {span:?}"));
                    break;
                }
                let head = self.view.get(span);
                if head.previous.get() != previous {
                    self.finding(format!("span {number} does not lead back in its list"));
                }
                previous = span;
                span = head.next.get();
            }
        }
        let mut marked = 0;
        for (number, listed) in listed.into_iter().enumerate() {
            let Kind::Small(class) = self.spans[number] else { continue };
            let free = alloc::free_blocks(self.view, span_offset(number), class as usize);
            let evacuating = self.view.get(span_offset(number)).evacuating.get();
            marked += u64::from(evacuating != 0);
            if listed != (free > 0 && evacuating == 0) || evacuating > 1 {
                self.finding(format!(
                    "span {number} has {free} free blocks, evacuating {evacuating}; in a list: {listed}"
                ));
            }
        }
        self.compare("spans to be emptied", marked, self.view.evacuating());
    }

    pub(super) fn check_totals(&mut self, totals: &Totals) {
        let heap: HeapHeader = self.view.read(HEAP);
        self.compare("used spans", totals.used, heap.used_spans.get().to_native());
        self.compare("holes", totals.holes, heap.holes.get().to_native());
        self.compare("large blocks", totals.large, heap.large_live.get().to_native());
        let noted = heap.large_spans.get().to_native();
        self.compare("spans of large blocks", totals.large_spans, noted);
        for (class, header) in heap.classes.iter().enumerate() {
            let what = format!("spans of blocks of {} bytes", alloc::class_size(class));
            self.compare(&what, totals.spans[class], header.spans.get().to_native());
        }
        self.compare("bytes in use", totals.bytes, self.view.used_bytes());
    }
}
