//! What is dead but too large to be freed within one command: it is set aside in a list and taken
//! apart in small steps later.

use shm::blob::Blob;
use shm::deque::{self, Deque};
use shm::table::{self, Drained, Table};
use shm::{Off, OutOfMemory, Slot, Tx, U32, View, field, record};

use super::entry::{Entry, EntryView, Kind};
use crate::root::Root;
use crate::session::tracking;
use crate::values;

/// Bytes that the root record of what is set aside may take.
const BODY: usize = 64;

record! {
    /// One dead thing.
    pub struct Trash {
        /// The next one.
        pub next: Slot<Off<Trash>>,
        /// [`TABLE`], [`TRACKED`], or [`VALUE`] and the number of its [`Kind`].
        pub kind: U32,
        /// Its root record: a table, or what stands in an entry of that kind. The rest is zeros.
        pub body: Slot<[u8; 64]>,
    }
}

const TABLE: u32 = 1;
const TRACKED: u32 = 3;
const VALUE: u32 = 0x100;

/// Values of more blocks than this, about, are not freed in one go.
const AT_ONCE: usize = 64;

/// Frees an entry and what hangs on its value.
pub fn free_entry(tx: &mut Tx<'_>, off: Off<Entry>) -> Result<(), OutOfMemory> {
    let (kind, value, len) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off(), entry.value_len())
    };
    if !values::is_flat(kind) {
        free_value(tx, kind, value, len)?;
    }
    tx.free(off)
}

/// Frees what hangs on the root record of a value, in a record that is dead; sets it aside if that
/// is much.
pub fn free_value(tx: &mut Tx<'_>, kind: Kind, at: Off<u8>, len: usize) -> Result<(), OutOfMemory> {
    if values::free_step(tx, kind, at, AT_ONCE)? {
        return Ok(());
    }
    let body = body_at(tx, at, len);
    add(tx, VALUE | kind as u32, body)
}

/// Frees the chunks that were cut out of a list, or sets them aside if there are many.
pub fn free_cut(tx: &mut Tx<'_>, cut: Deque) -> Result<(), OutOfMemory> {
    if cut.chunks.get().to_native() <= AT_ONCE as u64 {
        return deque::free(tx, cut);
    }
    add(tx, VALUE | Kind::ListDeque as u32, [0; BODY])?;
    let first = tx.get(crate::root::of(tx)).trash.get();
    tx.set(field!(first, Trash.body).cast::<Slot<Deque>>(), cut)
}

/// Frees a blob that stands in a dead record, or sets it aside if it is large.
pub fn free_blob(tx: &mut Tx<'_>, at: Off<Blob>) -> Result<(), OutOfMemory> {
    free_value(tx, Kind::Blob, at.cast(), size_of::<Blob>())
}

/// Sets aside the table of a database, whose record is used for another one afterwards.
pub fn add_table(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let body = body_at(tx, table.cast(), size_of::<Table>());
    add(tx, TABLE, body)
}

/// Sets aside a table of tracked keys ([`tracking`]), as [`add_table`] does.
pub fn add_tracked(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let body = body_at(tx, table.cast(), size_of::<Table>());
    add(tx, TRACKED, body)
}

fn body_at(view: &View, at: Off<u8>, len: usize) -> [u8; BODY] {
    let mut body = [0; BODY];
    body[..len].copy_from_slice(view.bytes(at, len));
    body
}

fn add(tx: &mut Tx<'_>, kind: u32, body: [u8; BODY]) -> Result<(), OutOfMemory> {
    let root = crate::root::of(tx);
    let next = Slot::new(tx.get(root).trash.get());
    let trash = Trash { next, kind: U32::from_native(kind), body: Slot::new(body) };
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
    let body: Off<u8> = field!(first, Trash.body).cast();
    let done = match Dead::of(tx, first) {
        Dead::Keys => {
            let free = |tx: &mut Tx<'_>, block: Off<u8>| free_entry(tx, block.cast());
            table::drain_step(tx, body.cast(), limit, free)? == Drained::All
        }
        Dead::Tracked => {
            table::drain_step(tx, body.cast(), limit, tracking::free_tracked)? == Drained::All
        }
        Dead::Value(kind) => values::free_step(tx, kind, body, limit)?,
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

/// What a dead thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dead {
    /// The table of a database.
    Keys,
    /// A table of tracked keys.
    Tracked,
    /// A value of that kind.
    Value(Kind),
}

impl Dead {
    fn of(view: &View, trash: Off<Trash>) -> Dead {
        match view.get(trash).kind.to_native() {
            TABLE => Dead::Keys,
            TRACKED => Dead::Tracked,
            value => Dead::Value(Kind::from_number(value as u8)),
        }
    }
}

/// Calls `each` with everything that was set aside.
pub fn for_each(view: &View, root: Off<Root>, mut each: impl FnMut(Off<Trash>, Dead)) {
    let mut at = view.get(root).trash.get();
    while !at.is_null() {
        each(at, Dead::of(view, at));
        at = view.get(at).next.get();
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    /// The checker is content with what was set aside, from the command on that did so to the last step.
    #[test]
    fn what_was_set_aside_is_sound_until_it_is_gone() {
        const ELEMENTS: usize = 4000;
        let numbered = |name: &str, each: fn(usize) -> String| {
            let elements: Vec<String> = (0..ELEMENTS).map(each).collect();
            format!("{name} k {}", elements.join(" "))
        };
        let long = |number: usize| format!("{number:0>100}");
        let mut server = Server::new();
        let client = server.connect();
        let makers = [
            numbered("RPUSH", long),
            numbered("SADD", |number| format!("member:{number}")),
            numbered("HSET", |number| format!("field:{number} {number}")),
            numbered("ZADD", |number| format!("{number} member:{number}")),
            numbered("XADD", |number| format!("field:{number} {number:0>90}"))
                .replacen(" k", " k *", 1),
            format!("SETRANGE k {} x", 3 << 20),
        ];
        let enders = ["DEL k", "SET k x", "LTRIM k 1000 1005", "FLUSHALL"];
        for (maker, ender) in makers.iter().flat_map(|maker| enders.map(|ender| (maker, ender))) {
            server.line(client, "DEL k");
            server.line(client, maker);
            server.line(client, ender);
            server.check();
            loop {
                let root = crate::root::of(&server.executor.arena);
                let arena = &mut server.executor.arena;
                if !arena.transact(|tx| super::step(tx, root, 40)).expect("memory") {
                    break;
                }
                server.check();
            }
        }
    }
}
