//! Client-side caching (`CLIENT TRACKING`): who has read which keys, and telling them of changes.
//!
//! In its default mode the server remembers which clients have read a key, and tells them once when
//! it changes. In broadcast mode clients choose prefixes, and hear of every change of a key that
//! begins with one of them.
//!
//! What a command changes is told to others within its transaction. What the client itself and the
//! broadcast prefixes are to hear is collected ([`Pending`]) until its reply is written.

use shm::table::{self, Table};
use shm::{Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use super::members::{self, Member, Topic};
use super::push::Push;
use super::{Session, change_flags, directory, flag};
use crate::commands::key_search;
use crate::commands::spec::flag as command_flag;
use crate::executor::{Cx, Outcome, State};
use crate::keyspace::trash;
use crate::proto::reply::{Protocol, Reply};
use crate::root::Root;

record! {
    /// A key that clients have read; its bytes follow.
    pub struct Tracked {
        /// An array of `room` readers, of which the first `len` count, in the order of ids.
        pub readers: Slot<Off<Reader>>,
        /// Readers.
        pub len: Slot<U32>,
        /// Room in the array.
        pub room: Slot<U32>,
        /// Bytes of the key.
        pub key_len: U32,
    }
}

record! {
    /// A client that has read a key. It may be gone: ids are never used again, slots are.
    pub struct Reader {
        /// Its id.
        pub id: U64,
        /// The slot of its session.
        pub slot: U32,
    }
}

const TRACKED: u64 = size_of::<Tracked>() as u64;
const READER: u64 = size_of::<Reader>() as u64;
/// Keys that one request may put out of an overfull table of tracked keys.
const EVICTED_AT_ONCE: usize = 100;

/// What is to be told when the request under way has been replied to.
#[derive(Debug, Default)]
pub struct Pending {
    /// Messages to the client itself.
    own: Vec<u8>,
    /// Keys for the broadcast prefixes, and who changed them.
    broadcast: Vec<(Vec<u8>, Option<Off<Session>>)>,
}

/// A point to which [`Pending`] can be taken back.
#[derive(Debug, Clone, Copy)]
pub struct PendingPoint {
    own: usize,
    broadcast: usize,
}

impl Pending {
    /// Whether there is nothing to tell.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.broadcast.is_empty()
    }

    /// The present point.
    #[inline(always)]
    pub fn point(&self) -> PendingPoint {
        PendingPoint { own: self.own.len(), broadcast: self.broadcast.len() }
    }

    /// Forgets what came behind a point.
    #[inline(always)]
    pub fn take_back(&mut self, point: &PendingPoint) {
        self.own.truncate(point.own);
        self.broadcast.truncate(point.broadcast);
    }
}

fn index(root: Off<Root>) -> Off<Table> {
    field!(root, Root.tracked)
}

fn key_of(view: &View, tracked: Off<Tracked>) -> &[u8] {
    view.bytes(tracked.byte_add(TRACKED), view.get(tracked).key_len.to_native() as usize)
}

fn readers(view: &View, tracked: Off<Tracked>) -> &[Reader] {
    let record = view.get(tracked);
    view.array(record.readers.get(), record.len.get().to_native() as usize)
}

fn find(view: &View, root: Off<Root>, key: &[u8]) -> Option<table::Place> {
    table::find(view, index(root), view.hash(key), |view, block| key_of(view, block.cast()) == key)
}

/// Has a session's reads tracked, or its prefixes: `modes` are bits of [`flag`].
pub fn enable(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    redirect: u64,
    modes: u64,
    prefixes: &[&[u8]],
) -> Result<(), OutOfMemory> {
    if !tx.get(session).is(flag::TRACKING) {
        change_trackers(tx, root, 1)?;
    }
    let clear = flag::TRACKING_BROKEN
        | flag::TRACKING_BCAST
        | flag::TRACKING_OPTIN
        | flag::TRACKING_OPTOUT
        | flag::TRACKING_NOLOOP;
    change_flags(tx, session, clear, flag::TRACKING | modes)?;
    tx.set(field!(session, Session.tracking_redirect), U64::from_native(redirect))?;
    if modes & flag::TRACKING_BCAST != 0 {
        let everything: &[&[u8]] = &[b""];
        for prefix in if prefixes.is_empty() { everything } else { prefixes } {
            add_prefix(tx, root, session, prefix)?;
        }
    }
    Ok(())
}

fn add_prefix(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    prefix: &[u8],
) -> Result<(), OutOfMemory> {
    if prefix_members(tx, session).any(|m| members::name(tx, tx.get(m).topic) == prefix) {
        return Ok(());
    }
    let member = members::join(tx, field!(root, Root.prefixes), 0, prefix, session)?;
    let first = tx.get(session).tracking_prefixes.get();
    tx.set(field!(member, Member.next), first)?;
    tx.set(field!(session, Session.tracking_prefixes), member)
}

/// A session's prefixes of broadcast tracking.
pub fn prefix_members(view: &View, session: Off<Session>) -> impl Iterator<Item = Off<Member>> {
    let mut at = view.get(session).tracking_prefixes.get();
    std::iter::from_fn(move || {
        let member = (!at.is_null()).then_some(at)?;
        at = view.get(member).next.get();
        Some(member)
    })
}

/// The same as bytes, in their order.
pub fn prefixes(view: &View, session: Off<Session>) -> Vec<Vec<u8>> {
    let name = |member: Off<Member>| members::name(view, view.get(member).topic).to_vec();
    let mut prefixes: Vec<_> = prefix_members(view, session).map(name).collect();
    prefixes.sort_unstable();
    prefixes
}

/// Ends tracking for a session. What it has read stays noted until it changes, as in Redis.
pub fn disable(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<(), OutOfMemory> {
    if !tx.get(session).is(flag::TRACKING) {
        return Ok(());
    }
    let mut member = tx.get(session).tracking_prefixes.get();
    while !member.is_null() {
        let next = tx.get(member).next.get();
        members::leave(tx, field!(root, Root.prefixes), member)?;
        member = next;
    }
    tx.set(field!(session, Session.tracking_prefixes), Off::NULL)?;
    change_trackers(tx, root, -1)?;
    let clear = flag::TRACKING
        | flag::TRACKING_BROKEN
        | flag::TRACKING_BCAST
        | flag::TRACKING_CACHING
        | flag::TRACKING_OPTIN
        | flag::TRACKING_OPTOUT
        | flag::TRACKING_NOLOOP;
    change_flags(tx, session, clear, 0)
}

fn change_trackers(tx: &mut Tx<'_>, root: Off<Root>, by: i32) -> Result<(), OutOfMemory> {
    let count = tx.get(root).trackers.get().to_native().wrapping_add_signed(by);
    tx.set(field!(root, Root.trackers), U32::from_native(count))
}

/// Notes that a key was changed by a session (or by expiry): those who have read it are told.
///
/// As in Redis, keys of the same name in all databases are one.
pub fn key_changed(
    tx: &mut Tx<'_>,
    state: &mut State,
    database: u32,
    key: &[u8],
    by: Option<Off<Session>>,
) -> Result<(), OutOfMemory> {
    let _ = database;
    let root = crate::root::of(tx);
    if table::len(tx, field!(root, Root.prefixes)) > 0 {
        state.pending.broadcast.push((key.to_vec(), by));
    }
    let Some(place) = find(tx, root, key) else { return Ok(()) };
    let readers = readers(tx, place.entry.cast()).to_vec();
    table::remove(tx, index(root), &place)?;
    members::drop_if_empty(tx, index(root))?;
    change_items(tx, root, -(readers.len() as i64))?;
    free_tracked(tx, place.entry)?;
    for reader in readers {
        let Some(session) = session_of(tx, root, &reader) else { continue };
        let record = tx.get(session);
        if !record.is(flag::TRACKING) || record.is(flag::TRACKING_BCAST) {
            continue;
        }
        if record.is(flag::TRACKING_NOLOOP) && session == state.current {
            continue;
        }
        tell(tx, state, session, &Content::Keys(&[key]))?;
    }
    Ok(())
}

fn session_of(view: &View, root: Off<Root>, reader: &Reader) -> Option<Off<Session>> {
    let session = directory::get(view, root, reader.slot.to_native())?;
    (view.get(session).id == reader.id).then_some(session)
}

/// What an invalidation says.
enum Content<'a> {
    /// These keys.
    Keys(&'a [&'a [u8]]),
    /// Everything, spelled as the null of the tracking client's protocol.
    Everything(Protocol),
}

/// Tells a tracking client, or the one to which it redirects.
fn tell(
    tx: &mut Tx<'_>,
    state: &mut State,
    session: Off<Session>,
    content: &Content<'_>,
) -> Result<(), OutOfMemory> {
    let root = crate::root::of(tx);
    let redirect = tx.get(session).tracking_redirect.get().to_native();
    let mut receiver = session;
    if redirect != 0 {
        let to = state.clients.find(tx, root, redirect);
        match to.filter(|to| !tx.get(*to).is(flag::CLOSE_ASAP)) {
            Some(to) => receiver = to,
            None => return redirect_is_broken(tx, state, session, redirect),
        }
    }
    let record = tx.get(receiver);
    let listens = redirect != 0 && record.is(flag::SUBSCRIBER);
    if record.protocol.get() != 3 && !listens {
        // RESP2 knows no messages but to subscribers.
        return Ok(());
    }
    send(tx, state, receiver, |reply| {
        if reply.protocol() == Protocol::Resp3 {
            reply.push(2);
            reply.bulk(b"invalidate");
        } else {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(b"__redis__:invalidate");
        }
        match content {
            Content::Keys(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            Content::Everything(Protocol::Resp2) => reply.raw(b"$-1\r\n"),
            Content::Everything(Protocol::Resp3) => reply.raw(b"_\r\n"),
        }
    })
}

/// The client to which invalidations go does not exist any more.
fn redirect_is_broken(
    tx: &mut Tx<'_>,
    state: &mut State,
    session: Off<Session>,
    redirect: u64,
) -> Result<(), OutOfMemory> {
    change_flags(tx, session, 0, flag::TRACKING_BROKEN)?;
    if tx.get(session).protocol.get() != 3 {
        return Ok(());
    }
    send(tx, state, session, |reply| {
        reply.push(2);
        reply.bulk(b"tracking-redir-broken");
        reply.integer(redirect as i64);
    })
}

/// Sends a message: behind the reply under way if it is for the session whose turn it is.
fn send(
    tx: &mut Tx<'_>,
    state: &mut State,
    receiver: Off<Session>,
    encode: impl Fn(&mut Reply<'_, Vec<u8>>),
) -> Result<(), OutOfMemory> {
    let mut push = Push::new(encode);
    if receiver != state.current {
        return push.send(tx, state, receiver);
    }
    let protocol = crate::executor::dispatch::protocol_of(tx.get(receiver).protocol.get());
    state.pending.own.extend(push.bytes(protocol));
    Ok(())
}

/// Notes that a database was emptied: clients are told to forget everything they know.
pub fn flushed(tx: &mut Tx<'_>, state: &mut State, root: Off<Root>) -> Result<(), OutOfMemory> {
    if tx.get(root).trackers.get().to_native() > 0 {
        for session in crate::commands::client::sessions(tx, root) {
            let record = tx.get(session);
            if record.is(flag::TRACKING) {
                let protocol = crate::executor::dispatch::protocol_of(record.protocol.get());
                tell(tx, state, session, &Content::Everything(protocol))?;
            }
        }
    }
    if !tx.get(root).tracked.directory.get().is_null() {
        trash::add_tracked(tx, index(root))?;
        tx.set(index(root).cast::<Slot<Table>>(), Table::EMPTY)?;
        tx.set(field!(root, Root.tracked_items), U64::from_native(0))?;
    }
    Ok(())
}

/// Frees a tracked key that is in no table.
pub fn free_tracked(tx: &mut Tx<'_>, block: Off<u8>) -> Result<(), OutOfMemory> {
    let readers = tx.get(block.cast::<Tracked>()).readers.get();
    if !readers.is_null() {
        tx.free(readers)?;
    }
    tx.free(block)
}

/// Notes what the command that ran has read.
pub fn after_command(cx: &mut Cx<'_>) -> Outcome {
    let record = cx.session_record();
    let reads = cx.command.is(command_flag::READONLY) && !cx.command.is(command_flag::PUBSUB);
    if !reads || !record.is(flag::TRACKING) || record.is(flag::TRACKING_BCAST) {
        return Ok(());
    }
    let given = record.is(flag::TRACKING_CACHING);
    if (record.is(flag::TRACKING_OPTIN) && !given) || (record.is(flag::TRACKING_OPTOUT) && given) {
        return Ok(());
    }
    let reader = Reader { id: record.id, slot: record.slot };
    let words = cx.args.to_vec();
    for key in key_search::find(cx.command, &words).unwrap_or_default() {
        remember(&mut cx.tx, cx.root, words[key.position], reader)?;
    }
    Ok(())
}

fn remember(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    key: &[u8],
    reader: Reader,
) -> Result<(), OutOfMemory> {
    let tracked: Off<Tracked> = match find(tx, root, key) {
        Some(place) => place.entry.cast(),
        None => create(tx, root, key)?,
    };
    let id = reader.id.to_native();
    let found = readers(tx, tracked).binary_search_by_key(&id, |reader| reader.id.to_native());
    let Err(position) = found else { return Ok(()) };
    let record = tx.read(tracked);
    let (len, room) = (record.len.get().to_native(), record.room.get().to_native());
    if len == room {
        grow(tx, tracked, (room * 2).max(1))?;
    }
    let array = tx.get(tracked).readers.get();
    tx.insert(array, len as usize, position, &[reader])?;
    tx.set(field!(tracked, Tracked.len), U32::from_native(len + 1))?;
    change_items(tx, root, 1)
}

fn change_items(tx: &mut Tx<'_>, root: Off<Root>, by: i64) -> Result<(), OutOfMemory> {
    let items = tx.get(root).tracked_items.get().to_native().wrapping_add_signed(by);
    tx.set(field!(root, Root.tracked_items), U64::from_native(items))
}

fn create(tx: &mut Tx<'_>, root: Off<Root>, key: &[u8]) -> Result<Off<Tracked>, OutOfMemory> {
    let block = tx.alloc(TRACKED + key.len() as u64)?;
    let none = U32::from_native(0);
    let tracked = Tracked {
        readers: Slot::new(Off::NULL),
        len: Slot::new(none),
        room: Slot::new(none),
        key_len: U32::from_native(key.len() as u32),
    };
    tx.init(&block, 0, tracked);
    tx.init_bytes(&block, TRACKED, key);
    let hash = tx.hash(key);
    table::insert(tx, index(root), hash, block.off())?;
    Ok(block.off().cast())
}

fn grow(tx: &mut Tx<'_>, tracked: Off<Tracked>, room: u32) -> Result<(), OutOfMemory> {
    let record = tx.read(tracked);
    let fresh = tx.alloc(u64::from(room) * READER)?;
    tx.init_fill(&fresh, 0, 0, fresh.size());
    let old = record.readers.get();
    if !old.is_null() {
        tx.init_copy(&fresh, 0, old.cast(), u64::from(record.len.get().to_native()) * READER);
        tx.free(old)?;
    }
    tx.set(field!(tracked, Tracked.readers), fresh.off().cast())?;
    tx.set(field!(tracked, Tracked.room), U32::from_native(room))
}

/// Ends a request: keeps the table of tracked keys in its bounds, ends `CLIENT CACHING`, and tells
/// what is pending.
pub fn end_of_request(cx: &mut Cx<'_>) -> Outcome {
    let record = cx.session_record();
    let caching = record.is(flag::TRACKING_CACHING) && !record.is(flag::MULTI);
    if caching && !cx.command.full_name.starts_with("client|") {
        change_flags(&mut cx.tx, cx.session, flag::TRACKING_CACHING, 0)?;
    }
    evict(cx)?;
    broadcast(&mut cx.tx, cx.state)?;
    let own = std::mem::take(&mut cx.state.pending.own);
    if !own.is_empty() {
        cx.push_raw(&own);
        cx.reply.sink().check()?;
    }
    Ok(())
}

/// Forgets some keys, chosen at random, while there are too many; their readers are told as if they
/// had changed.
fn evict(cx: &mut Cx<'_>) -> Outcome {
    let most = cx.state.config.tracking_table_max_keys();
    for _ in 0..EVICTED_AT_ONCE {
        if most == 0 || table::len(&cx.tx, index(cx.root)) <= most {
            return Ok(());
        }
        let state = &mut *cx.state;
        let chosen = table::random_entry(&cx.tx, index(cx.root), || state.random());
        let Some(block) = chosen else { return Ok(()) };
        let key = key_of(&cx.tx, block.cast()).to_vec();
        key_changed(&mut cx.tx, cx.state, 0, &key, None)?;
    }
    Ok(())
}

/// Tells those who chose prefixes of the keys that were changed.
pub fn broadcast(tx: &mut Tx<'_>, state: &mut State) -> Result<(), OutOfMemory> {
    let mut changed = std::mem::take(&mut state.pending.broadcast);
    if changed.is_empty() {
        return Ok(());
    }
    // Of several changes of a key the first counts, as in Redis.
    changed.sort_by(|one, other| one.0.cmp(&other.0));
    changed.dedup_by(|later, first| later.0 == first.0);
    let mut topics: Vec<Off<Topic>> = Vec::new();
    table::for_each(tx, field!(crate::root::of(tx), Root.prefixes), |_, block| {
        topics.push(block.cast());
    });
    topics.sort_by(|one, other| members::name(tx, *one).cmp(members::name(tx, *other)));
    for topic in topics {
        let prefix = members::name(tx, topic).to_vec();
        let matching: Vec<_> = changed.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        if matching.is_empty() {
            continue;
        }
        for member in members::members(tx, topic) {
            let quiet = tx.get(member.session).is(flag::TRACKING_NOLOOP);
            let news = matching.iter().filter(|(_, by)| !quiet || *by != Some(member.session));
            let keys: Vec<&[u8]> = news.map(|(key, _)| key.as_slice()).collect();
            if !keys.is_empty() {
                tell(tx, state, member.session, &Content::Keys(&keys))?;
            }
        }
    }
    Ok(())
}
