//! Finding items and walking over them.

use super::{Chunk, Deque, run_of};
use crate::arena::View;
use crate::off::Off;
use crate::pack::{self, Item};

/// Where an item is, or the end of a chunk's run; valid until the deque changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) chunk: Off<Chunk>,
    /// Bytes from the start of the run.
    pub(super) at: usize,
}

/// Which way to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first item to the last.
    Forward,
    /// From the last item to the first.
    Backward,
}

/// The item at a place.
///
/// # Panics
///
/// If there is none.
pub fn item(view: &View, place: Place) -> Item<'_> {
    match pack::next(run_of(view, place.chunk), place.at) {
        Some((item, _)) => item,
        None => panic!("no item is at {place:?}"),
    }
}

/// The place just behind the item at a place, for [`insert`](super::insert).
pub fn after(view: &View, place: Place) -> Place {
    Place { at: pack::skip(run_of(view, place.chunk), place.at), ..place }
}

/// The chunk that holds the item of that number, and the item's number in it. Chunks are passed over
/// from the nearer end. `None` if there are not so many items.
pub(super) fn chunk_of(view: &View, deque: Off<Deque>, index: u64) -> Option<(Off<Chunk>, usize)> {
    let record = view.get(deque);
    let len = record.len.get().to_native();
    if index >= len {
        return None;
    }
    if index <= len / 2 {
        let (mut at, mut left) = (record.head.get(), index);
        loop {
            let chunk = view.get(at);
            let items = chunk.bounds.get().len() as u64;
            if left < items {
                return Some((at, left as usize));
            }
            (at, left) = (chunk.next.get(), left - items);
        }
    }
    let (mut at, mut left) = (record.tail.get(), len - 1 - index);
    loop {
        let chunk = view.get(at);
        let items = chunk.bounds.get().len() as u64;
        if left < items {
            return Some((at, (items - 1 - left) as usize));
        }
        (at, left) = (chunk.previous.get(), left - items);
    }
}

/// Where the item of that number is, counted from the first one; `None` if there are not so many.
pub fn locate(view: &View, deque: Off<Deque>, index: u64) -> Option<Place> {
    let (chunk, number) = chunk_of(view, deque, index)?;
    let items = view.get(chunk).bounds.get().len();
    Some(Place { chunk, at: pack::nth(run_of(view, chunk), items, number) })
}

/// The items from the one of that number on, in that direction; none if there are not so many.
pub fn walk(view: &View, deque: Off<Deque>, index: u64, direction: Direction) -> Walk<'_> {
    let at = if direction == Direction::Forward && index == 0 {
        let chunk = view.get(deque).head.get();
        (!chunk.is_null()).then_some(Place { chunk, at: 0 })
    } else {
        locate(view, deque, index)
    };
    let chunk = at.map_or(Off::NULL, |place| place.chunk);
    let run = if chunk.is_null() { &[][..] } else { run_of(view, chunk) };
    let mut walk = Walk { view, chunk, run, at: at.map_or(0, |place| place.at), direction };
    if direction == Direction::Backward && !run.is_empty() {
        walk.at = pack::skip(run, walk.at);
    }
    walk
}

/// An iterator over items.
#[derive(Clone)]
pub struct Walk<'a> {
    view: &'a View,
    chunk: Off<Chunk>,
    run: &'a [u8],
    /// Forward: where the next item starts. Backward: where it ends.
    at: usize,
    direction: Direction,
}

impl<'a> Walk<'a> {
    /// The next item, and where it is.
    #[inline]
    pub fn next_place(&mut self) -> Option<(Item<'a>, Place)> {
        loop {
            let found = match self.direction {
                Direction::Forward => pack::next(self.run, self.at)
                    .map(|(item, after)| (item, std::mem::replace(&mut self.at, after))),
                Direction::Backward => pack::previous(self.run, self.at).inspect(|(_, start)| {
                    self.at = *start;
                }),
            };
            if let Some((item, at)) = found {
                return Some((item, Place { chunk: self.chunk, at }));
            }
            if !self.go_on() {
                return None;
            }
        }
    }

    /// Goes to the next chunk; false if there is none.
    fn go_on(&mut self) -> bool {
        if self.chunk.is_null() {
            return false;
        }
        let record = self.view.get(self.chunk);
        self.chunk = match self.direction {
            Direction::Forward => record.next.get(),
            Direction::Backward => record.previous.get(),
        };
        if self.chunk.is_null() {
            (self.run, self.at) = (&[], 0);
            return false;
        }
        self.run = run_of(self.view, self.chunk);
        self.at = if self.direction == Direction::Forward { 0 } else { self.run.len() };
        true
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Item<'a>;
    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        self.next_place().map(|(item, _)| item)
    }
}
