//! Lists: short ones packed in their entry, others in a deque of packed chunks.
//!
//! A list is [`Kind::ListPacked`] while it has at most [`PACKED_MAX`] bytes and would fit into one node
//! of Redis's by `list-max-listpack-size`; then it becomes a [`Kind::ListDeque`], and stays one. Clients
//! see no difference: `OBJECT ENCODING` of both is `quicklist`.

mod change;

pub use change::{Limits, Moved, create, extend, insert, len, pop, remove, remove_equal, replace};

use shm::check::{Checker, mark_deque};
use shm::deque::{self, Deque, Direction};
use shm::pack::{self, Item};
use shm::{Fresh, Off, OutOfMemory, Tx, View};

use super::packed::{self, Packed};
use crate::keyspace::entry::{EntryView, Kind};

/// Most bytes of a list that is packed in its entry: its run of items, with what stands before it.
pub const PACKED_MAX: usize = 512;

/// A list, to be read.
#[derive(Clone, Copy)]
pub enum List<'a> {
    /// Packed in the entry.
    Packed(Packed<'a>),
    /// A deque.
    Deque(&'a View, Off<Deque>),
}

/// Where an item of a list is; valid until the list changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Bytes from the start of the entry's run.
    Packed(usize),
    /// In a deque.
    Deque(deque::Place),
}

impl<'a> List<'a> {
    /// The list that an entry holds; `None` if it holds something else.
    #[inline]
    pub fn of(entry: &EntryView<'a>) -> Option<List<'a>> {
        match entry.kind() {
            Kind::ListPacked => Some(List::Packed(Packed::of(entry))),
            Kind::ListDeque => Some(List::Deque(entry.view(), entry.value_off().cast())),
            _ => None,
        }
    }

    /// Number of items, never 0.
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            List::Packed(packed) => packed.count as u64,
            List::Deque(view, at) => deque::len(view, *at),
        }
    }

    /// Whether there are no items, which no key's list is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the item of that number is, if there are so many.
    pub fn locate(&self, index: u64) -> Option<Place> {
        match self {
            List::Packed(packed) if index < packed.count as u64 => {
                Some(Place::Packed(pack::nth(packed.run, packed.count, index as usize)))
            }
            List::Packed(_) => None,
            List::Deque(view, at) => deque::locate(view, *at, index).map(Place::Deque),
        }
    }

    /// The place just behind the item at a place, for [`insert`].
    pub fn after(&self, place: Place) -> Place {
        match (self, place) {
            (List::Packed(packed), Place::Packed(at)) => Place::Packed(pack::skip(packed.run, at)),
            (List::Deque(view, _), Place::Deque(at)) => Place::Deque(deque::after(view, at)),
            (_, other) => other,
        }
    }

    /// The item of that number, if there are so many.
    pub fn get(&self, index: u64) -> Option<Item<'a>> {
        self.walk(index, Direction::Forward).next()
    }

    /// The items from the one of that number on, in that direction; none if there are not so many.
    #[inline]
    pub fn walk(&self, index: u64, direction: Direction) -> Items<'a> {
        match *self {
            List::Deque(view, at) => Items::Deque(deque::walk(view, at, index, direction)),
            List::Packed(Packed { count, run }) => {
                let number = match direction {
                    Direction::Forward => index.min(count as u64) as usize,
                    Direction::Backward if index < count as u64 => index as usize + 1,
                    Direction::Backward => 0,
                };
                Items::Packed { run, at: pack::nth(run, count, number), direction }
            }
        }
    }

    /// All items, the first one first.
    pub fn items(&self) -> Items<'a> {
        self.walk(0, Direction::Forward)
    }
}

/// An iterator over the items of a list.
#[derive(Clone)]
pub enum Items<'a> {
    /// Of a list in an entry.
    Packed {
        /// All items.
        run: &'a [u8],
        /// Forward: where the next item starts. Backward: where it ends.
        at: usize,
        /// Which way.
        direction: Direction,
    },
    /// Of a deque.
    Deque(deque::Walk<'a>),
}

impl<'a> Items<'a> {
    /// The next item, and where it is.
    #[inline]
    pub fn next_place(&mut self) -> Option<(Item<'a>, Place)> {
        match self {
            Items::Deque(walk) => walk.next_place().map(|(item, at)| (item, Place::Deque(at))),
            Items::Packed { run, at, direction: Direction::Forward } => {
                let start = *at;
                let (item, next) = pack::next(run, start)?;
                *at = next;
                Some((item, Place::Packed(start)))
            }
            Items::Packed { run, at, direction: Direction::Backward } => {
                let (item, start) = pack::previous(run, *at)?;
                *at = start;
                Some((item, Place::Packed(start)))
            }
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;
    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        self.next_place().map(|(item, _)| item)
    }
}

/// Frees up to about `limit` blocks of what hangs on a root record. True when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, at: Off<u8>, limit: usize) -> Result<bool, OutOfMemory> {
    deque::free_step(tx, at.cast(), limit)
}

/// Marks the blocks of a value and proves what holds of it.
pub fn mark(checker: &mut Checker<'_>, kind: Kind, at: Off<u8>, len: usize, what: &str) {
    match kind {
        Kind::ListPacked => {
            packed::check(checker, at, len, what);
        }
        // Of what was set aside to be freed there is the root alone.
        _ if len == size_of::<Deque>() || len == 0 => mark_deque(checker, at.cast(), what),
        _ => checker.finding(format!("{what}: the root of a list has {len} bytes")),
    }
}

/// Bytes of what hangs on a root record.
pub fn memory(view: &View, at: Off<u8>, samples: u64) -> u64 {
    deque::memory(view, at.cast(), samples)
}

/// Copies what hangs on a root record; the copy's record goes to `start` in the fresh entry.
pub fn copy(tx: &mut Tx<'_>, from: Off<u8>, fresh: &Fresh, start: u64) -> Result<(), OutOfMemory> {
    let copied = deque::copy(tx, from.cast())?;
    tx.init(fresh, start, copied);
    Ok(())
}
