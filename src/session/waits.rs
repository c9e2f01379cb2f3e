//! Blocked sessions: what they wait for, in which order, and until when.
//!
//! A blocked session has a [`Wait`]: one block with the session's command beside it and one [`Place`]
//! for each key. The places of a key form a [`Queue`] in the order of arrival, linked both ways, so
//! that who leaves (served, timed out, gone) does so in the same time however many others wait.
//!
//! ```text
//! root ── table by (database, key) ──▶ Queue ◀──▶ Place ◀──▶ Place     Session ──▶ Wait ──▶ command
//!   │                                    │ (each place stands in its wait)           ▲
//!   ├── list of ready keys ──▶ Queue ──▶ Queue                                       │
//!   └── deadlines, in order ─────────────────────────────────────────────────────────┘
//! ```
//!
//! A key that somebody waits for and that comes into being is *ready*: its queue is put on a list
//! which is worked off, and empty again, before the transaction ends.

use shm::table::{self, Table};
use shm::{I64, Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use super::queue::{self, Queued};
use super::{Session, change_flags, deadlines, flag, members};
use crate::executor::Args;
use crate::root::Root;

record! {
    /// What a blocked session waits for. Its [`Place`]s follow.
    pub struct Wait {
        /// The session.
        pub session: Off<Session>,
        /// The command that blocked.
        pub command: Off<Queued>,
        /// When it gives up, milliseconds since the epoch; 0 for never.
        pub deadline_ms: I64,
        /// Number of places.
        pub places: U32,
        /// [`Kind`] as a number.
        pub kind: u8,
        /// Unused.
        pub reserved: [u8; 3],
    }
}

record! {
    /// One session's place in the queue of one key.
    pub struct Place {
        /// What it is part of.
        pub wait: Off<Wait>,
        /// The key's queue.
        pub queue: Off<Queue>,
        /// Who came before.
        pub previous: Slot<Off<Place>>,
        /// Who came behind.
        pub next: Slot<Off<Place>>,
        /// Of a stream: the id (milliseconds, number) behind which entries are wanted.
        pub after: [U64; 2],
    }
}

record! {
    /// Everybody who waits for a key; the key's bytes follow.
    pub struct Queue {
        /// Who came first.
        pub first: Slot<Off<Place>>,
        /// Who came last.
        pub last: Slot<Off<Place>>,
        /// The next of the keys that are ready.
        pub next_ready: Slot<Off<Queue>>,
        /// Number of the database.
        pub database: U32,
        /// Bytes of the key.
        pub name_len: U32,
        /// 1 while the key is on the list of those that are ready.
        pub ready: Slot<u8>,
        /// Unused.
        pub reserved: [u8; 7],
    }
}

const WAIT: u64 = size_of::<Wait>() as u64;
const PLACE: u64 = size_of::<Place>() as u64;
const QUEUE: u64 = size_of::<Queue>() as u64;

/// What a session waits for. The numbers are part of the arena's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Elements of a list.
    List = 1,
    /// Elements of a sorted set.
    Zset = 2,
    /// Entries of a stream.
    Stream = 3,
    /// Entries of a stream that no consumer of the group has had. Ends when the stream does.
    Group = 4,
    /// Replicas to confirm what was written (`WAIT`).
    Replicas = 5,
}

impl Kind {
    /// The kind of that number. Another build may know kinds that this one does not: the server has
    /// no replicas, so such a session waits for its deadline only.
    pub fn from_number(number: u8) -> Kind {
        match number {
            1 => Kind::List,
            2 => Kind::Zset,
            3 => Kind::Stream,
            4 => Kind::Group,
            _ => Kind::Replicas,
        }
    }
}

/// A key to wait for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Of a stream: the id (milliseconds, number) behind which entries are wanted.
    pub after: (u64, u64),
}

/// What a session is to wait for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Of what kind it is.
    pub kind: Kind,
    /// Number of the database.
    pub database: u32,
    /// The keys. A key that is named twice counts once, as it is named first.
    pub keys: &'a [Wanted<'a>],
    /// When the session gives up, milliseconds since the epoch.
    pub deadline_ms: Option<i64>,
}

fn index(root: Off<Root>) -> Off<Table> {
    field!(root, Root.waiting)
}

/// A place of a wait.
pub fn place(wait: Off<Wait>, number: u32) -> Off<Place> {
    wait.byte_add(WAIT + u64::from(number) * PLACE)
}

/// Bytes of a wait's block.
pub fn size(view: &View, wait: Off<Wait>) -> u64 {
    WAIT + u64::from(view.get(wait).places.to_native()) * PLACE
}

/// Bytes of a queue's block.
pub fn queue_size(view: &View, queue: Off<Queue>) -> u64 {
    QUEUE + u64::from(view.get(queue).name_len.to_native())
}

/// The key that a queue is for.
pub fn name(view: &View, queue: Off<Queue>) -> &[u8] {
    view.bytes(queue.byte_add(QUEUE), view.get(queue).name_len.to_native() as usize)
}

/// The key that a queue is for, readable while the arena is changed.
///
/// # Safety
///
/// The name is not used beyond the transaction in which it was taken out.
pub unsafe fn pinned_name<'b>(view: &View, queue: Off<Queue>) -> &'b [u8] {
    let len = u64::from(view.get(queue).name_len.to_native());
    // SAFETY: the bytes were written before the queue was linked, and nothing writes them ever after;
    // a block that a transaction frees stays as it is until the commit, behind which the caller does
    // not use the name.
    unsafe { view.pinned(queue.byte_add(QUEUE), len) }
}

/// The queue of a key, if somebody waits for it.
pub fn find(view: &View, root: Off<Root>, database: u32, key: &[u8]) -> Option<Off<Queue>> {
    let hash = members::hash(view, database, key);
    let place = table::find(view, index(root), hash, |view, block| {
        let queue: Off<Queue> = block.cast();
        view.get(queue).database.to_native() == database && name(view, queue) == key
    })?;
    Some(place.entry.cast())
}

/// Calls `each` with the queue of every key that somebody waits for.
pub fn for_each(view: &View, root: Off<Root>, mut each: impl FnMut(Off<Queue>)) {
    if table::len(view, index(root)) > 0 {
        table::for_each(view, index(root), |_, block| each(block.cast()));
    }
}

/// Has a session wait, which is not blocked yet, for what its command (`args`) wants.
pub fn enter(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    args: &Args<'_>,
    request: &Request<'_>,
) -> Result<(), OutOfMemory> {
    let command = queue::store(tx, args)?;
    let block = tx.alloc(WAIT + request.keys.len() as u64 * PLACE)?;
    let wait: Off<Wait> = block.off().cast();
    let mut places = 0;
    for wanted in request.keys {
        let queue = match find(tx, root, request.database, wanted.key) {
            Some(queue) => queue,
            None => create(tx, root, request.database, wanted.key)?,
        };
        let last = tx.get(queue).last.get();
        if !last.is_null() && tx.get(last).wait == wait {
            continue;
        }
        let own = Place {
            wait,
            queue,
            previous: Slot::new(last),
            next: Slot::new(Off::NULL),
            after: [wanted.after.0, wanted.after.1].map(U64::from_native),
        };
        tx.init(&block, WAIT + u64::from(places) * PLACE, own);
        let at = place(wait, places);
        if last.is_null() {
            tx.set(field!(queue, Queue.first), at)?;
        } else {
            tx.set(field!(last, Place.next), at)?;
        }
        tx.set(field!(queue, Queue.last), at)?;
        places += 1;
    }
    let record = Wait {
        session,
        command,
        deadline_ms: I64::from_native(request.deadline_ms.unwrap_or(0)),
        places: U32::from_native(places),
        kind: request.kind as u8,
        reserved: [0; 3],
    };
    tx.init(&block, 0, record);
    if request.deadline_ms.is_some() {
        deadlines::insert(tx, root, wait)?;
    }
    tx.set(field!(session, Session.wait), wait)?;
    count_blocked(tx, root, request.kind, 1)?;
    change_flags(tx, session, 0, flag::BLOCKED)
}

fn count_blocked(tx: &mut Tx<'_>, root: Off<Root>, kind: Kind, by: i32) -> Result<(), OutOfMemory> {
    let blocked = tx.get(root).blocked.get().to_native().wrapping_add_signed(by);
    tx.set(field!(root, Root.blocked), U32::from_native(blocked))?;
    let count = match kind {
        Kind::List => field!(root, Root.blocked_lists),
        Kind::Zset => field!(root, Root.blocked_zsets),
        Kind::Stream | Kind::Group => field!(root, Root.blocked_streams),
        Kind::Replicas => return Ok(()),
    };
    let blocked = tx.get(count).get().to_native().wrapping_add_signed(by);
    tx.set(count, U32::from_native(blocked))
}

/// Has a session wait no more; false if it did not.
pub fn leave(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<bool, OutOfMemory> {
    let wait = tx.get(session).wait.get();
    if wait.is_null() {
        return Ok(false);
    }
    let record = tx.read(wait);
    for number in 0..record.places.to_native() {
        unlink(tx, root, place(wait, number))?;
    }
    if record.deadline_ms.to_native() != 0 {
        deadlines::remove(tx, root, wait)?;
    }
    tx.set(field!(session, Session.wait), Off::NULL)?;
    tx.free(record.command)?;
    tx.free(wait)?;
    count_blocked(tx, root, Kind::from_number(record.kind), -1)?;
    change_flags(tx, session, flag::BLOCKED, 0)?;
    Ok(true)
}

/// Takes a place out of its queue, which goes if it was the last one.
fn unlink(tx: &mut Tx<'_>, root: Off<Root>, at: Off<Place>) -> Result<(), OutOfMemory> {
    let record = tx.read(at);
    let (queue, previous, next) = (record.queue, record.previous.get(), record.next.get());
    if previous.is_null() {
        tx.set(field!(queue, Queue.first), next)?;
    } else {
        tx.set(field!(previous, Place.next), next)?;
    }
    if next.is_null() {
        tx.set(field!(queue, Queue.last), previous)?;
    } else {
        tx.set(field!(next, Place.previous), previous)?;
    }
    drop_if_done(tx, root, queue)
}

fn create(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    database: u32,
    key: &[u8],
) -> Result<Off<Queue>, OutOfMemory> {
    let block = tx.alloc(QUEUE + key.len() as u64)?;
    let queue = Queue {
        first: Slot::new(Off::NULL),
        last: Slot::new(Off::NULL),
        next_ready: Slot::new(Off::NULL),
        database: U32::from_native(database),
        name_len: U32::from_native(key.len() as u32),
        ready: Slot::new(0),
        reserved: [0; 7],
    };
    tx.init(&block, 0, queue);
    tx.init_bytes(&block, QUEUE, key);
    let hash = members::hash(tx, database, key);
    table::insert(tx, index(root), hash, block.off())?;
    Ok(block.off().cast())
}

/// Frees a queue in which nobody waits, unless it is on the list of ready keys, which leads to it.
fn drop_if_done(tx: &mut Tx<'_>, root: Off<Root>, queue: Off<Queue>) -> Result<(), OutOfMemory> {
    let record = tx.get(queue);
    if !record.first.get().is_null() || record.ready.get() != 0 {
        return Ok(());
    }
    let hash = members::hash(tx, record.database.to_native(), name(tx, queue));
    if let Some(place) = table::find(tx, index(root), hash, |_, block| block == queue.cast()) {
        table::remove(tx, index(root), &place)?;
    }
    members::drop_if_empty(tx, index(root))?;
    tx.free(queue)
}

/// Puts the key of a queue on the list of those that are ready, unless it is there.
pub fn make_ready(tx: &mut Tx<'_>, root: Off<Root>, queue: Off<Queue>) -> Result<(), OutOfMemory> {
    if tx.get(queue).ready.get() != 0 {
        return Ok(());
    }
    tx.set(field!(queue, Queue.ready), 1)?;
    let last = tx.get(root).ready_last.get();
    if last.is_null() {
        tx.set(field!(root, Root.ready_first), queue)?;
    } else {
        tx.set(field!(last, Queue.next_ready), queue)?;
    }
    tx.set(field!(root, Root.ready_last), queue)
}

/// Takes the first queue off the list of ready keys. If nobody waits in it any more, it goes.
pub fn take_ready(tx: &mut Tx<'_>, root: Off<Root>) -> Result<Option<Off<Queue>>, OutOfMemory> {
    loop {
        let queue = tx.get(root).ready_first.get();
        if queue.is_null() {
            return Ok(None);
        }
        let next = tx.get(queue).next_ready.get();
        tx.set(field!(root, Root.ready_first), next)?;
        if next.is_null() {
            tx.set(field!(root, Root.ready_last), Off::NULL)?;
        }
        tx.set(field!(queue, Queue.next_ready), Off::NULL)?;
        tx.set(field!(queue, Queue.ready), 0)?;
        if !tx.get(queue).first.get().is_null() {
            return Ok(Some(queue));
        }
        drop_if_done(tx, root, queue)?;
    }
}
