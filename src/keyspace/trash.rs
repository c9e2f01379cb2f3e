//! What is dead but too large to be freed within one command: it is set aside in a list and taken
//! apart in small steps later.

use shm::blob::{self, Blob};
use shm::table::{self, Drained, Table};
use shm::{Off, OutOfMemory, Slot, Tx, U32, View, field, record};

use super::entry::{Entry, EntryView, Kind};
use crate::root::Root;
use crate::session::tracking;

record! {
    /// One dead thing.
    pub struct Trash {
        /// The next one.
        pub next: Slot<Off<Trash>>,
        /// [`TABLE`], [`BLOB`] or [`TRACKED`].
        pub kind: U32,
        /// The table of a database or of tracked keys, if that is what it is.
        pub table: Table,
        /// The blob, if that is what it is.
        pub blob: Blob,
    }
}

const TABLE: u32 = 1;
const BLOB: u32 = 2;
const TRACKED: u32 = 3;

/// Blobs of more parts than this are not freed in one go.
const LARGE_PARTS: u64 = 64;

/// Frees an entry and what hangs on its value.
pub fn free_entry(tx: &mut Tx<'_>, off: Off<Entry>) -> Result<(), OutOfMemory> {
    let (kind, value) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off())
    };
    match kind {
        Kind::Int | Kind::Embedded | Kind::Inline => {}
        Kind::Blob => free_blob(tx, value.cast())?,
    }
    tx.free(off)
}

/// Frees a blob that stands in a dead record, or sets it aside if it is large.
pub fn free_blob(tx: &mut Tx<'_>, at: Off<Blob>) -> Result<(), OutOfMemory> {
    if blob::parts(tx, at) <= LARGE_PARTS {
        return blob::free(tx, at);
    }
    let root = crate::root::of(tx);
    let record = tx.read(at);
    add(tx, root, BLOB, Table::EMPTY, record)
}

/// Sets aside the table of a database, which nobody uses any more.
pub fn add_table(tx: &mut Tx<'_>, root: Off<Root>, table: Table) -> Result<(), OutOfMemory> {
    add(tx, root, TABLE, table, Blob::EMPTY)
}

/// Sets aside a table of tracked keys ([`tracking`]), which nobody uses any more.
pub fn add_tracked(tx: &mut Tx<'_>, root: Off<Root>, table: Table) -> Result<(), OutOfMemory> {
    add(tx, root, TRACKED, table, Blob::EMPTY)
}

fn add(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    kind: u32,
    table: Table,
    blob: Blob,
) -> Result<(), OutOfMemory> {
    let next = Slot::new(tx.get(root).trash.get());
    let trash = Trash { next, kind: U32::from_native(kind), table, blob };
    let off = tx.alloc_record(trash)?;
    tx.set(field!(root, Root.trash), off)
}

/// Takes a bounded part of what was set aside apart: about `limit` blocks. False when there is
/// nothing left.
pub fn step(tx: &mut Tx<'_>, root: Off<Root>, limit: usize) -> Result<bool, OutOfMemory> {
    let first = tx.get(root).trash.get();
    if first.is_null() {
        return Ok(false);
    }
    let done = match tx.get(first).kind.to_native() {
        TABLE => {
            let free = |tx: &mut Tx<'_>, block: Off<u8>| free_entry(tx, block.cast());
            table::drain_step(tx, field!(first, Trash.table), limit, free)? == Drained::All
        }
        TRACKED => {
            let table = field!(first, Trash.table);
            table::drain_step(tx, table, limit, tracking::free_tracked)? == Drained::All
        }
        _ => blob::free_step(tx, field!(first, Trash.blob), limit)?,
    };
    if done {
        // Freeing an entry may have put something before this one.
        unlink(tx, root, first)?;
        tx.free(first)?;
    }
    Ok(true)
}

fn unlink(tx: &mut Tx<'_>, root: Off<Root>, trash: Off<Trash>) -> Result<(), OutOfMemory> {
    let next = tx.get(trash).next.get();
    let mut at = field!(root, Root.trash);
    while tx.read(at).get() != trash {
        let before = tx.read(at).get();
        at = field!(before, Trash.next);
    }
    tx.set(at, next)
}

/// What a dead thing is, for those who look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dead {
    /// The table of a database.
    Keys,
    /// A table of tracked keys.
    Tracked,
    /// A blob.
    Blob,
}

/// Calls `each` with everything that was set aside.
pub fn for_each(view: &View, root: Off<Root>, mut each: impl FnMut(Off<Trash>, Dead)) {
    let mut at = view.get(root).trash.get();
    while !at.is_null() {
        let kind = match view.get(at).kind.to_native() {
            TABLE => Dead::Keys,
            TRACKED => Dead::Tracked,
            _ => Dead::Blob,
        };
        each(at, kind);
        at = view.get(at).next.get();
    }
}
