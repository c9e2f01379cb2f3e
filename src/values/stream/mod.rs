//! Streams: entries by ascending id, and groups of consumers that share them.
//!
//! | file | what |
//! | --- | --- |
//! | [`id`] | ids, and how clients write them |
//! | [`node`] | some entries in one block, as Redis packs them |
//! | [`entries`] | reading entries in a range |
//! | [`change`] | adding, deleting and trimming |
//! | [`group`] | groups, consumers, entries that were delivered and not acknowledged |
//! | [`lag`] | how far a group has got |
//! | [`whole`] | copying, measuring and freeing a stream |
//! | `relocate` | moving its blocks |
//! | [`serial`] | a stream as `DUMP` writes it, and back |
//! | [`check`] | what the checker proves |
//!
//! ```text
//! key's entry ──▶ Stream ──▶ tree of nodes, by the id of the first entry
//!                   └──────▶ tree of groups, by name
//!                              ├─▶ tree of pending entries, by id: their one referrer
//!                              └─▶ tree of consumers, by name
//!                                    └─▶ tree of the consumer's pending entries
//! ```
//!
//! A stream may be empty. The record has a block of its own, since it is larger than what may stand in a
//! key's entry.

pub mod change;
pub mod check;
pub mod entries;
pub mod group;
pub mod id;
pub mod lag;
pub mod node;
mod relocate;
pub mod serial;
#[cfg(test)]
mod tests;
pub mod whole;

use shm::tree::Tree;
use shm::{Fresh, Off, OutOfMemory, Slot, Tx, U64, View, record};

pub use check::mark;
pub use id::{Id, StoredId};
pub use node::{Limits, Node};
pub use relocate::relocate_step;
pub use whole::{copy, free_step, memory};

use crate::keyspace::entry::{self, EntryView, Kind};

record! {
    /// A stream.
    pub struct Stream {
        /// What every addition changes.
        pub totals: Slot<Totals>,
        /// Id of the first entry; zeros if there is none.
        pub first: Slot<StoredId>,
        /// The greatest id that was deleted by name; zeros if none was.
        pub max_deleted: Slot<StoredId>,
        /// The last node; null if there is none.
        pub tail: Slot<Off<Node>>,
        /// Nodes by id.
        pub nodes: Tree,
        /// Groups by name.
        pub groups: Tree,
        /// Whether it is being taken apart.
        pub dying: Slot<u8>,
    }
}

record! {
    /// What every addition changes.
    pub struct Totals {
        /// Entries that are there.
        pub len: U64,
        /// Entries that were ever added.
        pub added: U64,
        /// The greatest id there was, or what it was set to.
        pub last: StoredId,
    }
}

/// [`Totals`] as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries that are there.
    pub len: u64,
    /// Entries that were ever added.
    pub added: u64,
    /// The greatest id there was.
    pub last: Id,
}

impl From<Totals> for Counts {
    #[inline]
    fn from(totals: Totals) -> Counts {
        Counts {
            len: totals.len.to_native(),
            added: totals.added.to_native(),
            last: totals.last.into(),
        }
    }
}

impl From<Counts> for Totals {
    #[inline]
    fn from(counts: Counts) -> Totals {
        Totals {
            len: U64::from_native(counts.len),
            added: U64::from_native(counts.added),
            last: counts.last.into(),
        }
    }
}

impl Stream {
    fn empty() -> Stream {
        Stream {
            totals: Slot::new(Counts::default().into()),
            first: Slot::new(Id::MIN.into()),
            max_deleted: Slot::new(Id::MIN.into()),
            tail: Slot::new(Off::NULL),
            nodes: Tree::EMPTY,
            groups: Tree::EMPTY,
            dying: Slot::new(0),
        }
    }
}

/// The stream of an entry; `None` if it is none.
#[inline]
pub fn of(entry: &EntryView<'_>) -> Option<Off<Stream>> {
    (entry.kind() == Kind::Stream).then(|| entry.view().read(entry.value_off().cast()))
}

/// Makes an entry with an empty stream.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
) -> Result<(Fresh, Off<Stream>), OutOfMemory> {
    let stream = tx.alloc_record(Stream::empty())?;
    Ok((create_with(tx, key, expiry, stream)?, stream))
}

/// Makes an entry of a stream that no other entry has.
pub fn create_with(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    stream: Off<Stream>,
) -> Result<Fresh, OutOfMemory> {
    Ok(entry::create_record(tx, key, Kind::Stream, expiry, stream)?.0)
}

/// Numbers of entries, and the last id.
#[inline]
pub fn counts(view: &View, stream: Off<Stream>) -> Counts {
    view.get(stream).totals.get().into()
}

/// Number of entries.
#[inline]
pub fn len(view: &View, stream: Off<Stream>) -> u64 {
    counts(view, stream).len
}

/// Id of the first entry; `0-0` if there is none.
pub fn first_id(view: &View, stream: Off<Stream>) -> Id {
    view.get(stream).first.get().into()
}

/// The greatest id that was deleted by name; `0-0` if none was.
pub fn max_deleted(view: &View, stream: Off<Stream>) -> Id {
    view.get(stream).max_deleted.get().into()
}

/// Number of nodes: what Redis has as keys of a radix tree.
pub fn nodes(view: &View, stream: Off<Stream>) -> u64 {
    shm::tree::len(view, shm::field!(stream, Stream.nodes))
}
