//! Sessions: everything the server knows of one client connection, in the arena.
//!
//! | module | what |
//! | --- | --- |
//! | [`directory`] | all sessions by slot |
//! | [`output`] | bytes for a client that are not in the executor's buffer |
//! | [`cold`] | the rarely changing part: names and addresses |
//! | [`queue`] | commands between `MULTI` and `EXEC` |
//! | [`members`] | the index behind [`watch`], [`pubsub`], [`monitors`] and [`tracking`] |
//! | [`waits`], [`deadlines`] | what blocked sessions wait for, and until when |
//! | [`push`] | messages to other sessions |
//!
//! A session is matched to its socket by the kernel's socket cookie, never by descriptor number.

pub mod check;
mod check_waits;
pub mod cold;
pub mod deadlines;
pub mod directory;
pub mod members;
pub mod monitors;
pub mod output;
pub mod pubsub;
pub mod push;
pub mod queue;
pub mod tracking;
pub mod waits;
pub mod watch;

use shm::table::Table;
use shm::{Hint, I64, Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

pub use directory::Directory;
use members::Member;
use queue::Queued;
use waits::Wait;

record! {
    /// One client connection.
    pub struct Session {
        /// The client's id, never used again.
        pub id: U64,
        /// `SO_COOKIE` of its socket.
        pub cookie: U64,
        /// Its slot in the directory.
        pub slot: U32,
        /// [`TCP`] or [`UNIX`].
        pub transport: u8,
        /// Unused.
        pub reserved: [u8; 3],
        /// When it was accepted, milliseconds since the epoch.
        pub created_ms: I64,
        /// [`flag`] bits.
        pub flags: Slot<U64>,
        /// Number of the database it works on.
        pub database: Slot<U32>,
        /// 2 or 3.
        pub protocol: Slot<u8>,
        /// Bytes read from the socket since accept.
        pub total_in: Slot<U64>,
        /// Bytes written to the socket since accept.
        pub total_out: Slot<U64>,
        /// When it last sent something, milliseconds since the epoch.
        pub active_ms: Hint<I64>,
        /// Hash of the full name of its last command ([`crate::commands::table::Command::name_hash`]).
        pub last_command: Hint<U32>,
        /// Block of input that was read but not executed.
        pub input: Slot<Off<u8>>,
        /// Bytes in it.
        pub input_len: Slot<U32>,
        /// State of the request decoder over it.
        pub decoder: Slot<[U64; 4]>,
        /// First chunk of unsent output.
        pub out_head: Slot<Off<output::Chunk>>,
        /// Last chunk.
        pub out_tail: Slot<Off<output::Chunk>>,
        /// Bytes of unsent output in all chunks.
        pub out_bytes: Slot<U64>,
        /// Bytes of the first chunk that were sent.
        pub out_sent: Slot<U64>,
        /// Neighbours in the list of sessions with unsent output.
        pub out_next: Slot<Off<Session>>,
        /// The same, backwards.
        pub out_previous: Slot<Off<Session>>,
        /// Since when the soft output limit is exceeded, milliseconds since the epoch; 0 if it is not.
        pub soft_limit_ms: Hint<I64>,
        /// First queued command of `MULTI`.
        pub queue_head: Slot<Off<Queued>>,
        /// Last queued command.
        pub queue_tail: Slot<Off<Queued>>,
        /// Number of queued commands.
        pub queue_len: Slot<U32>,
        /// Bytes of queued commands.
        pub queue_bytes: Slot<U64>,
        /// First watched key; they form a list.
        pub watches: Slot<Off<Member>>,
        /// Channels it is subscribed to.
        pub channels: Table,
        /// Patterns it is subscribed to.
        pub patterns: Table,
        /// Shard channels it is subscribed to.
        pub shard_channels: Table,
        /// Its place among the sessions in `MONITOR` mode, or null.
        pub monitor: Slot<Off<Member>>,
        /// Client id to which invalidations go; 0 for itself.
        pub tracking_redirect: Slot<U64>,
        /// First of its prefixes of broadcast tracking, which form a list.
        pub tracking_prefixes: Slot<Off<Member>>,
        /// What it waits for while it is blocked, or null.
        pub wait: Slot<Off<Wait>>,
        /// Archive of the rarely changing part ([`cold::Cold`]), or null.
        pub cold: Slot<Off<u8>>,
        /// Its length.
        pub cold_len: Slot<U32>,
        /// Since when a command is held back, by the monotonic clock in nanoseconds: they are resumed in
        /// this order. Holds while [`flag::POSTPONED`] is set.
        pub postponed_ns: Slot<U64>,
    }
}

/// The session came over TCP.
pub const TCP: u8 = 0;
/// The session came over the Unix socket.
pub const UNIX: u8 = 1;

/// Bits of [`Session::flags`]. The numbers are part of the arena's format.
pub mod flag {
    /// In `MULTI`.
    pub const MULTI: u64 = 1 << 0;
    /// A watched key was changed: `EXEC` fails.
    pub const DIRTY_CAS: u64 = 1 << 1;
    /// A command could not be queued: `EXEC` fails.
    pub const DIRTY_EXEC: u64 = 1 << 2;
    /// Nothing is read any more; closed once its output is sent.
    pub const CLOSE_AFTER_REPLY: u64 = 1 << 3;
    /// To be closed as soon as possible, output or not.
    pub const CLOSE_ASAP: u64 = 1 << 4;
    /// `CLIENT REPLY OFF`.
    pub const REPLY_OFF: u64 = 1 << 5;
    /// `CLIENT REPLY SKIP` was the last command.
    pub const REPLY_SKIP_NEXT: u64 = 1 << 6;
    /// The reply to this command is to be skipped.
    pub const REPLY_SKIP: u64 = 1 << 7;
    /// Authenticated, or no password was needed when it came.
    pub const AUTHENTICATED: u64 = 1 << 8;
    /// In `MONITOR` mode.
    pub const MONITOR: u64 = 1 << 9;
    /// `CLIENT NO-EVICT ON`.
    pub const NO_EVICT: u64 = 1 << 10;
    /// `CLIENT TRACKING ON`.
    pub const TRACKING: u64 = 1 << 11;
    /// Tracking in `BCAST` mode.
    pub const TRACKING_BCAST: u64 = 1 << 12;
    /// Tracking in `OPTIN` mode.
    pub const TRACKING_OPTIN: u64 = 1 << 13;
    /// Tracking in `OPTOUT` mode.
    pub const TRACKING_OPTOUT: u64 = 1 << 14;
    /// Tracking with `NOLOOP`.
    pub const TRACKING_NOLOOP: u64 = 1 << 15;
    /// `CLIENT CACHING YES` or `NO` holds for the next command.
    pub const TRACKING_CACHING: u64 = 1 << 16;
    /// The client that invalidations were redirected to is gone.
    pub const TRACKING_BROKEN: u64 = 1 << 17;
    /// A command is held back by `CLIENT PAUSE`; it stands at the start of the input.
    pub const POSTPONED: u64 = 1 << 18;
    /// It has subscriptions: RESP2 clients may only use a few commands.
    pub const SUBSCRIBER: u64 = 1 << 19;
    /// Waits for keys or a deadline ([`super::waits`]); what it sends meanwhile is only read.
    pub const BLOCKED: u64 = 1 << 20;
    /// Has a non-empty list of watched keys.
    pub const WATCHING: u64 = 1 << 21;
    /// Was blocked, or cut off by a death, and has input to go on with.
    pub const RESUMED: u64 = 1 << 22;
}

impl Session {
    /// Whether any of these [`flag`] bits is set.
    #[inline(always)]
    pub fn is(&self, bits: u64) -> bool {
        self.flags.get().to_native() & bits != 0
    }
}

/// Changes [`flag`] bits: first clears, then sets.
#[inline]
pub fn change_flags(
    tx: &mut Tx<'_>,
    session: Off<Session>,
    clear: u64,
    set: u64,
) -> Result<(), OutOfMemory> {
    let old = tx.get(session).flags.get().to_native();
    let new = old & !clear | set;
    if new != old {
        tx.set(field!(session, Session.flags), U64::from_native(new))?;
    }
    Ok(())
}

/// After a command of a session: `CLIENT REPLY SKIP` holds for the one behind it only.
pub fn step_reply_mode(tx: &mut Tx<'_>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let record = tx.get(session);
    let set = if record.is(flag::REPLY_SKIP_NEXT) { flag::REPLY_SKIP } else { 0 };
    change_flags(tx, session, flag::REPLY_SKIP | flag::REPLY_SKIP_NEXT, set)
}

/// What is known of a connection when it is accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// `SO_COOKIE` of the socket.
    pub cookie: u64,
    /// [`TCP`] or [`UNIX`].
    pub transport: u8,
    /// The peer's address, as `CLIENT LIST` shows it.
    pub peer: String,
    /// Our address, as `CLIENT LIST` shows it.
    pub local: String,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// Whether no password is needed.
    pub authenticated: bool,
}

/// Makes the session of a new connection, and gives it a slot and an id.
pub fn create(tx: &mut Tx<'_>, accepted: &Accepted) -> Result<Off<Session>, OutOfMemory> {
    let root = crate::root::of(tx);
    let block = tx.alloc(size_of::<Session>() as u64)?;
    // Everything not named below starts as zero.
    tx.init_fill(&block, 0, 0, block.size());
    let session: Off<Session> = block.off().cast();
    let id = tx.get(root).next_client_id.get().to_native();
    tx.set(field!(root, Root.next_client_id), U64::from_native(id + 1))?;
    let slot = directory::insert(tx, root, session)?;
    let mut record = tx.read(session);
    record.id = U64::from_native(id);
    record.cookie = U64::from_native(accepted.cookie);
    record.slot = U32::from_native(slot);
    record.transport = accepted.transport;
    record.created_ms = I64::from_native(accepted.now_ms);
    record.active_ms = Hint::new(I64::from_native(accepted.now_ms));
    record.protocol = Slot::new(2);
    let flags = if accepted.authenticated { flag::AUTHENTICATED } else { 0 };
    record.flags = Slot::new(U64::from_native(flags));
    tx.init(&block, 0, record);
    let cold = cold::Cold {
        peer: accepted.peer.clone(),
        local: accepted.local.clone(),
        ..cold::Cold::default()
    };
    cold::store(tx, session, &cold)?;
    Ok(session)
}

/// Subscriptions that one transaction of a session's end gives up.
pub const LEAVE_AT_ONCE: usize = 1 << 14;

/// Takes a session out of every index: subscriptions, watched keys, tracking, monitors, what it
/// waits for; and drops its queue.
pub fn leave_everything(
    tx: &mut Tx<'_>,
    state: &mut crate::executor::State,
    root: Off<Root>,
    session: Off<Session>,
) -> Result<(), OutOfMemory> {
    while !leave_step(tx, state, root, session, usize::MAX)? {}
    Ok(())
}

/// A part of [`leave_everything`] that gives up `limit` subscriptions at most; true when nothing is
/// left.
pub fn leave_step(
    tx: &mut Tx<'_>,
    state: &mut crate::executor::State,
    root: Off<Root>,
    session: Off<Session>,
    limit: usize,
) -> Result<bool, OutOfMemory> {
    let _ = state;
    queue::clear(tx, session)?;
    watch::clear(tx, root, session)?;
    waits::leave(tx, root, session)?;
    change_flags(tx, session, flag::MULTI | flag::DIRTY_CAS | flag::DIRTY_EXEC, 0)?;
    monitors::remove(tx, root, session)?;
    tracking::disable(tx, root, session)?;
    pubsub::leave(tx, root, session, limit)
}

/// Frees a session whose subscriptions, watches and queue are gone already
/// ([`crate::executor::Executor::close`] sees to that).
pub fn destroy(tx: &mut Tx<'_>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let root = crate::root::of(tx);
    let record = tx.read(session);
    output::clear(tx, session)?;
    for block in [record.input.get(), record.cold.get()] {
        if !block.is_null() {
            tx.free(block)?;
        }
    }
    for table in [record.channels, record.patterns, record.shard_channels] {
        debug_assert!(table.directory.get().is_null(), "a session ends with subscriptions");
    }
    directory::remove(tx, root, record.slot.to_native())?;
    tx.free(session)
}

/// The session in a slot.
#[inline(always)]
pub fn at(view: &View, slot: u32) -> Option<Off<Session>> {
    directory::get(view, crate::root::of(view), slot)
}

use crate::root::Root;

#[cfg(test)]
mod tests;
