//! Who is interested in what: an index from names to sessions, and back.
//!
//! Channels, patterns, watched keys and prefixes of broadcast tracking are all of this kind. A
//! [`Topic`] is a name with an array of its [`Member`]s; a member is one session's interest in one
//! topic, and knows its place in that array. So joining and leaving take the same time however many
//! others there are, even when all of them leave at once.
//!
//! ```text
//! index (a table in the root) ──▶ Topic ──▶ array ──▶ Member ──▶ Session
//!                                   ▲────────────────────┘  ▲────────┘ by table or list
//! ```

use shm::table::{self, Drained, Table};
use shm::{Off, OutOfMemory, Slot, Tx, U32, View, field, record};

use super::Session;

record! {
    /// A name with those who are interested in it; the bytes of the name follow.
    pub struct Topic {
        /// An array of `room` offsets, of which the first `len` count.
        pub members: Slot<Off<Slot<Off<Member>>>>,
        /// Members.
        pub len: Slot<U32>,
        /// Room in the array.
        pub room: Slot<U32>,
        /// The database of a watched key; 0 for what has none.
        pub database: U32,
        /// Bytes of the name.
        pub name_len: U32,
    }
}

record! {
    /// One session's interest in one topic.
    pub struct Member {
        /// The topic.
        pub topic: Off<Topic>,
        /// The session.
        pub session: Off<Session>,
        /// The session's next member, where they form a list.
        pub next: Slot<Off<Member>>,
        /// Position in the topic's array.
        pub position: Slot<U32>,
        /// 1 for a watched key that had expired already when it was watched.
        pub expired: Slot<U32>,
    }
}

const TOPIC: u64 = size_of::<Topic>() as u64;
/// Directories of this depth are dropped as soon as their table is empty; deeper ones are left to
/// the background.
const SMALL_DEPTH: u32 = 4;

/// The hash of a name in an index; that of a name without a database is the plain one.
pub(super) fn hash(view: &View, database: u32, name: &[u8]) -> u64 {
    view.hash(name) ^ u64::from(database).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The name of a topic.
pub fn name(view: &View, topic: Off<Topic>) -> &[u8] {
    view.bytes(topic.byte_add(TOPIC), view.get(topic).name_len.to_native() as usize)
}

/// The members of a topic, in no particular order.
pub fn members(view: &View, topic: Off<Topic>) -> Vec<Member> {
    let record = view.get(topic);
    let len = record.len.get().to_native() as usize;
    view.array(record.members.get(), len).iter().map(|member| view.read(member.get())).collect()
}

/// Number of members of a topic.
pub fn count(view: &View, topic: Off<Topic>) -> u32 {
    view.get(topic).len.get().to_native()
}

/// Looks a topic up.
pub fn find(view: &View, index: Off<Table>, database: u32, wanted: &[u8]) -> Option<Off<Topic>> {
    let place = table::find(view, index, hash(view, database, wanted), |view, block| {
        let topic: Off<Topic> = block.cast();
        view.get(topic).database.to_native() == database && name(view, topic) == wanted
    })?;
    Some(place.entry.cast())
}

/// Makes a session a member of a topic, of which it is none yet.
pub fn join(
    tx: &mut Tx<'_>,
    index: Off<Table>,
    database: u32,
    wanted: &[u8],
    session: Off<Session>,
) -> Result<Off<Member>, OutOfMemory> {
    let topic = match find(tx, index, database, wanted) {
        Some(topic) => topic,
        None => create(tx, index, database, wanted)?,
    };
    add(tx, topic, session)
}

fn create(
    tx: &mut Tx<'_>,
    index: Off<Table>,
    database: u32,
    wanted: &[u8],
) -> Result<Off<Topic>, OutOfMemory> {
    let topic = new_topic(tx, database, wanted)?;
    let hash = hash(tx, database, wanted);
    table::insert(tx, index, hash, topic.cast())?;
    Ok(topic)
}

/// Makes a topic that stands in no index.
pub fn new_topic(tx: &mut Tx<'_>, database: u32, wanted: &[u8]) -> Result<Off<Topic>, OutOfMemory> {
    let block = tx.alloc(TOPIC + wanted.len() as u64)?;
    let topic = Topic {
        members: Slot::new(Off::NULL),
        len: Slot::new(U32::from_native(0)),
        room: Slot::new(U32::from_native(0)),
        database: U32::from_native(database),
        name_len: U32::from_native(wanted.len() as u32),
    };
    tx.init(&block, 0, topic);
    tx.init_bytes(&block, TOPIC, wanted);
    Ok(block.off().cast())
}

/// Adds a member to a topic.
pub fn add(
    tx: &mut Tx<'_>,
    topic: Off<Topic>,
    session: Off<Session>,
) -> Result<Off<Member>, OutOfMemory> {
    let record = tx.read(topic);
    let (len, room) = (record.len.get().to_native(), record.room.get().to_native());
    if len == room {
        grow(tx, topic, (room * 2).max(1))?;
    }
    let member = tx.alloc_record(Member {
        topic,
        session,
        next: Slot::new(Off::NULL),
        position: Slot::new(U32::from_native(len)),
        expired: Slot::new(U32::from_native(0)),
    })?;
    let array = tx.get(topic).members.get();
    tx.set(array.nth(u64::from(len)), member)?;
    tx.set(field!(topic, Topic.len), U32::from_native(len + 1))?;
    Ok(member)
}

fn grow(tx: &mut Tx<'_>, topic: Off<Topic>, room: u32) -> Result<(), OutOfMemory> {
    let record = tx.read(topic);
    let fresh = tx.alloc(u64::from(room) * 8)?;
    tx.init_fill(&fresh, 0, 0, fresh.size());
    let old = record.members.get();
    if !old.is_null() {
        tx.init_copy(&fresh, 0, old.cast(), u64::from(record.len.get().to_native()) * 8);
        tx.free(old)?;
    }
    tx.set(field!(topic, Topic.members), fresh.off().cast())?;
    tx.set(field!(topic, Topic.room), U32::from_native(room))
}

/// Takes a member out of its topic and frees it; says whether the topic has none left.
pub fn remove(tx: &mut Tx<'_>, member: Off<Member>) -> Result<bool, OutOfMemory> {
    let record = tx.read(member);
    let topic = record.topic;
    let array = tx.get(topic).members.get();
    let last = u64::from(tx.get(topic).len.get().to_native() - 1);
    let moved = tx.read(array.nth(last)).get();
    if moved != member {
        tx.set(array.nth(u64::from(record.position.get().to_native())), moved)?;
        tx.set(field!(moved, Member.position), record.position.get())?;
    }
    tx.set(field!(topic, Topic.len), U32::from_native(last as u32))?;
    tx.free(member)?;
    Ok(last == 0)
}

/// As [`remove`]; a topic that has no members left leaves the index.
pub fn leave(tx: &mut Tx<'_>, index: Off<Table>, member: Off<Member>) -> Result<(), OutOfMemory> {
    let topic = tx.get(member).topic;
    if !remove(tx, member)? {
        return Ok(());
    }
    let hash = hash(tx, tx.get(topic).database.to_native(), name(tx, topic));
    if let Some(place) = table::find(tx, index, hash, |_, block| block == topic.cast()) {
        table::remove(tx, index, &place)?;
    }
    drop_if_empty(tx, index)?;
    free_topic(tx, topic)
}

/// Frees a topic without members.
pub fn free_topic(tx: &mut Tx<'_>, topic: Off<Topic>) -> Result<(), OutOfMemory> {
    let array = tx.get(topic).members.get();
    if !array.is_null() {
        tx.free(array)?;
    }
    tx.free(topic)
}

/// Gives back the memory of a small table without entries.
pub fn drop_if_empty(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let record = tx.get(table);
    let empty = record.len.get().to_native() == 0 && !record.directory.get().is_null();
    if empty && record.depth.get().to_native() <= SMALL_DEPTH {
        while table::drain_step(tx, table, usize::MAX, |_, _| Ok(()))? != Drained::All {}
    }
    Ok(())
}

/// A session's own table: its members by the names of their topics.
pub mod own {
    use super::*;

    /// The session's member of a topic of this name.
    pub fn find(view: &View, own: Off<Table>, wanted: &[u8]) -> Option<Off<Member>> {
        place(view, own, wanted).map(|place| place.entry.cast())
    }

    fn place(view: &View, own: Off<Table>, wanted: &[u8]) -> Option<table::Place> {
        table::find(view, own, hash(view, 0, wanted), |view, block| {
            name(view, view.get(block.cast::<Member>()).topic) == wanted
        })
    }

    /// Notes a member under a name that is not there yet.
    pub fn insert(
        tx: &mut Tx<'_>,
        own: Off<Table>,
        wanted: &[u8],
        member: Off<Member>,
    ) -> Result<(), OutOfMemory> {
        let hash = hash(tx, 0, wanted);
        table::insert(tx, own, hash, member.cast())
    }

    /// Takes the member of a name out of the table, if it is there.
    pub fn take(
        tx: &mut Tx<'_>,
        own: Off<Table>,
        wanted: &[u8],
    ) -> Result<Option<Off<Member>>, OutOfMemory> {
        let Some(place) = place(tx, own, wanted) else { return Ok(None) };
        table::remove(tx, own, &place)?;
        drop_if_empty(tx, own)?;
        Ok(Some(place.entry.cast()))
    }
}
