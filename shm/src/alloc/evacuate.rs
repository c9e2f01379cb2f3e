//! Spans of which little is in use are emptied, so that they can be given back.
//!
//! What the allocator can do is to choose the spans and to keep others from being allocated in them: it
//! marks them, and takes them off their class's list. Whoever knows the one referrer of each block moves the
//! blocks that lie in such spans ([`View::is_evacuating`]). A span goes back to its region when its last
//! block is freed, like any other; at the end of the walk those that are not empty return to their lists.
//!
//! The marks stand in the arena, everything else is private: a new owner ends what another had begun.

use crate::alloc::span::{self, LARGE, SMALL, SpanHeader};
use crate::alloc::{
    CLASS_COUNT, ClassHeader, HeapHeader, class_header, class_size, objects, region,
};
use crate::arena::{Arena, View};
use crate::error::OutOfMemory;
use crate::field;
use crate::header::HEAP;
use crate::layout::{SPAN, SPANS_PER_REGION};
use crate::off::Off;
use crate::record::U64;
use crate::tx::Tx;

/// What is found of the spans of each class, in steps; then what is marked of them.
#[derive(Debug, Clone)]
pub struct Survey {
    walk: Walk,
    /// A span is worth emptying if fewer of its blocks are in use, in eighths.
    worth: u64,
    /// Spans that a class must be able to give back to be worth it.
    least: u64,
    /// Bytes that may still be in spans to be marked.
    budget: u64,
    classes: [Class; CLASS_COUNT],
}

#[derive(Debug, Clone, Copy, Default)]
struct Class {
    /// Spans that are worth emptying.
    sparse: u64,
    /// Blocks in use in them.
    to_move: u64,
    /// Free blocks in the others.
    room: u64,
}

/// How far an evacuation has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evacuation {
    /// Call again.
    More,
    /// That was all.
    Done,
}

impl Default for Survey {
    fn default() -> Survey {
        // To move what is in use costs less than twice what is won.
        Survey {
            walk: Walk::default(),
            worth: 5,
            least: 2,
            budget: u64::MAX,
            classes: [Class::default(); CLASS_COUNT],
        }
    }
}

impl Class {
    fn note(&mut self, class: usize, free: u64, is_sparse: bool) {
        if is_sparse {
            self.sparse += 1;
            self.to_move += objects(class) - free;
        } else {
            self.room += free;
        }
    }

    /// Spans that the class gives back if the sparse ones are emptied.
    fn won(&self, class: usize) -> u64 {
        let new = self.to_move.saturating_sub(self.room).div_ceil(objects(class));
        self.sparse.saturating_sub(new)
    }
}

impl Survey {
    /// Spans that would go back if all blocks were moved out of those that are worth emptying.
    pub fn won(&self) -> u64 {
        let won = (0..CLASS_COUNT).map(|class| self.classes[class].won(class));
        won.filter(|spans| *spans >= self.least).sum()
    }

    /// One that empties every span with a free block, whatever that costs and wins: for tests, which have few.
    pub fn of_all() -> Survey {
        Survey { worth: 8, least: 0, ..Survey::default() }
    }

    /// Whether a span is worth emptying. One that is empty would stay marked to the end, and has room for others.
    fn is_sparse(&self, class: usize, free: u64) -> bool {
        let used = objects(class) - free;
        used > 0 && used * 8 < objects(class) * self.worth
    }

    /// Looks at up to `limit` spans.
    pub fn look(&mut self, arena: &Arena, limit: u64) -> Evacuation {
        let mut walk = self.walk.clone();
        let done = walk.step(arena, limit, |view, span, class| {
            if view.get(span).evacuating.get() == 0 {
                let free = span::free_blocks(view, span, class);
                let is_sparse = self.is_sparse(class, free);
                self.classes[class].note(class, free, is_sparse);
            }
        });
        self.walk = walk;
        done
    }

    /// Marks no spans that have more bytes in use together: these need other memory before theirs is free.
    pub fn limit(&mut self, bytes: u64) {
        self.budget = bytes;
    }

    /// Marks up to `limit` spans, of the classes for which that is worth it.
    ///
    /// # Errors
    ///
    /// If there is no memory for the log; then nothing was marked.
    pub fn mark(&mut self, arena: &mut Arena, limit: u64) -> Result<Evacuation, OutOfMemory> {
        let (mut found, mut walk, mut budget) = (Vec::new(), self.walk.clone(), self.budget);
        let done = walk.step(arena, limit, |view, span, class| {
            let is_worth = self.classes[class].won(class) >= self.least;
            if !is_worth || view.get(span).evacuating.get() != 0 {
                return;
            }
            let free = span::free_blocks(view, span, class);
            let bytes = (objects(class) - free) * class_size(class);
            if self.is_sparse(class, free) && bytes <= budget {
                budget -= bytes;
                found.push((span, class));
            }
        });
        (self.walk, self.budget) = (walk, budget);
        arena.transact(|tx| found.iter().try_for_each(|&(span, class)| mark(tx, span, class)))?;
        Ok(done)
    }
}

/// The end of an evacuation: what is still marked returns to its lists.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    walk: Walk,
}

impl Ending {
    /// Looks at up to `limit` spans.
    ///
    /// # Errors
    ///
    /// If there is no memory for the log; then nothing was done.
    pub fn step(&mut self, arena: &mut Arena, limit: u64) -> Result<Evacuation, OutOfMemory> {
        let mut found = Vec::new();
        let done = self.walk.step(arena, limit, |view, span, class| {
            if view.get(span).evacuating.get() != 0 {
                found.push((span, class));
            }
        });
        arena.transact(|tx| found.iter().try_for_each(|&(span, class)| unmark(tx, span, class)))?;
        Ok(done)
    }
}

/// A walk over all spans of small blocks, in steps between which anything may happen.
#[derive(Debug, Clone, Default)]
struct Walk {
    next: u64,
    /// How many large blocks had been made: if there are more, the walk may be in the midst of one.
    large_made: u64,
}

impl Walk {
    fn step(
        &mut self,
        arena: &Arena,
        limit: u64,
        mut each: impl FnMut(&View, Off<SpanHeader>, usize),
    ) -> Evacuation {
        if self.large_made != arena.large_made {
            // A region begins with no large block. Some spans are looked at twice, which does no harm.
            (self.next, self.large_made) =
                (self.next - self.next % SPANS_PER_REGION, arena.large_made);
        }
        let end = arena.get(HEAP).frontier.get().to_native();
        let stop = end.min(self.next.saturating_add(limit));
        while self.next < stop {
            let span = region::span_at(self.next).cast::<SpanHeader>();
            self.next += 1;
            if !region::is_used(arena, span) {
                continue;
            }
            let header = arena.get(span);
            match header.kind.get() {
                SMALL => each(arena, span, header.class as usize),
                // Its other spans have no header.
                LARGE => self.next += u64::from(header.spans.to_native()) - 1,
                _ => {}
            }
        }
        if self.next < end {
            return Evacuation::More;
        }
        self.next = 0;
        Evacuation::Done
    }
}

/// Takes a span off its class's list, and notes that it is to be emptied.
fn mark(tx: &mut Tx<'_>, span: Off<SpanHeader>, class: usize) -> Result<(), OutOfMemory> {
    let header = tx.read(span);
    let (next, previous) = (header.next.get(), header.previous.get());
    match previous.is_null() {
        true => tx.set(field!(class_header(class), ClassHeader.partial), next)?,
        false => tx.set(field!(previous, SpanHeader.next), next)?,
    }
    if !next.is_null() {
        tx.set(field!(next, SpanHeader.previous), previous)?;
    }
    tx.set(field!(span, SpanHeader.next), Off::NULL)?;
    tx.set(field!(span, SpanHeader.previous), Off::NULL)?;
    tx.set(field!(span, SpanHeader.evacuating), 1)?;
    count(tx, 1)
}

/// Puts a span that was not emptied back on the list.
fn unmark(tx: &mut Tx<'_>, span: Off<SpanHeader>, class: usize) -> Result<(), OutOfMemory> {
    let class = class_header(class);
    let first = tx.get(class).partial.get();
    tx.set(field!(span, SpanHeader.next), first)?;
    if !first.is_null() {
        tx.set(field!(first, SpanHeader.previous), span)?;
    }
    tx.set(field!(class, ClassHeader.partial), span)?;
    tx.set(field!(span, SpanHeader.evacuating), 0)?;
    count(tx, -1)
}

/// A marked span of a class with a free block, which loses its mark: for when there is no memory for another span.
/// Otherwise commands would fail for want of memory that is there.
///
/// All spans are looked at, so whoever evacuates is told to end that ([`Arena::take_shortage`]).
#[cold]
pub(super) fn reclaim(
    tx: &mut Tx<'_>,
    class: usize,
) -> Result<Option<Off<SpanHeader>>, OutOfMemory> {
    if tx.evacuating() == 0 {
        return Ok(None);
    }
    tx.arena().is_short = true;
    let mut found = None;
    Walk::default().step(tx.arena(), u64::MAX, |view, span, of_class| {
        let is_marked = view.get(span).evacuating.get() != 0;
        if found.is_none() && is_marked && of_class == class && !span::is_full(view, span, class) {
            found = Some(span);
        }
    });
    if let Some(span) = found {
        unmark(tx, span, class)?;
    }
    Ok(found)
}

impl Arena {
    /// Whether memory was short since this was last asked, so that spans lost their marks.
    pub fn take_shortage(&mut self) -> bool {
        std::mem::take(&mut self.is_short)
    }
}

fn count(tx: &mut Tx<'_>, by: i64) -> Result<(), OutOfMemory> {
    let spans = tx.get(HEAP).evacuating.get().to_native().wrapping_add_signed(by);
    tx.set(field!(HEAP, HeapHeader.evacuating), U64::from_native(spans))
}

impl View {
    /// Whether a block lies in a span that is to be emptied.
    #[inline]
    pub fn is_evacuating<T>(&self, block: Off<T>) -> bool {
        let header = self.get(Off::<SpanHeader>::new(block.raw() & !(SPAN - 1)));
        header.kind.get() == SMALL && header.evacuating.get() != 0
    }

    /// Spans (of 64 KiB) that are marked to be emptied.
    pub fn evacuating(&self) -> u64 {
        self.get(HEAP).evacuating.get().to_native()
    }
}
