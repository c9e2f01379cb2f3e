//! What has to be done besides commands: expiry, taking dead things apart, shrinking tables, giving
//! memory back, closing idle clients. In slices, between turns, so that no client waits long.

use shm::{U64, field, table};

use super::defrag::Defrag;
use super::{Executor, blocking, bump, events};
use crate::keyspace::expire::{self, Cursor, Slice};
use crate::keyspace::trash;
use crate::root::{Counters, Root};
use crate::session::{self, flag, tracking, watch};
use crate::util::time::monotonic_us;

/// Where the rounds stand; private, since starting over costs little.
#[derive(Debug, Default)]
pub struct Background {
    expiring: u32,
    expire_cursor: Cursor,
    shrinking: u32,
    shrink_hash: u64,
    next_session: u32,
    expired: Vec<(u64, Vec<u8>)>,
    pub(super) defrag: Defrag,
}

/// Segments whose headers one slice of the expiry cycle looks at.
const EXPIRE_SEGMENTS: usize = 64;
/// Keys that one slice of the expiry cycle removes.
const EXPIRE_KEYS: usize = 16;
/// Blocks that one slice of taking dead things apart frees.
const TRASH_BLOCKS: usize = 128;
/// Unused spans (of 64 KiB) that are kept backed, at least.
const KEEP_SPANS: u64 = 8;

/// Spans that one step of giving memory back releases.
const GIVEN_BACK: u64 = 4;

/// Bytes of a log grown large that one step gives back.
const LOG_GIVEN_BACK: u64 = 2 << 20;

/// Microseconds after which a round begins no further step.
const ROUND_US: u64 = 300;

impl Executor {
    /// One round, ten times a second or so: looks at everything a little. True when there is
    /// urgent work left, so that the next round should come soon.
    pub fn round(&mut self) -> bool {
        self.state.read_clock();
        let start = monotonic_us();
        let commands = self.arena.get(self.root).counters.commands.get().to_native();
        self.state.rate.sample(commands, start);
        self.note_peak();
        self.end_pause();
        self.look_at_sessions();
        let mut urgent = self.expire(start + ROUND_US);
        urgent |= self.free_trash(start + ROUND_US);
        self.shrink_tables(start + ROUND_US);
        self.consider_defragmenting();
        urgent | self.give_back(start + ROUND_US)
    }

    /// Gives memory that lies unused back to the system. True when there is more.
    fn give_back(&mut self, deadline: u64) -> bool {
        let keep = match self.state.defrag.is_by_order {
            true => 0,
            false => (self.arena.stats().spans / shm::layout::SPAN / 16).max(KEEP_SPANS),
        };
        while self.arena.maintain(keep, GIVEN_BACK) == GIVEN_BACK {
            if monotonic_us() >= deadline {
                return true;
            }
        }
        while self.arena.trim_log(LOG_GIVEN_BACK) {
            if monotonic_us() >= deadline {
                return true;
            }
        }
        false
    }

    fn note_peak(&mut self) {
        let peak = field!(field!(self.root, Root.counters), Counters.peak_memory);
        let used = self.arena.used_bytes();
        if used > self.arena.read(peak).get().to_native() {
            self.arena.hint(peak, U64::from_native(used));
        }
    }

    fn end_pause(&mut self) {
        let until = self.paused_until_ms();
        if until != 0 && until <= self.state.now_ms {
            let root = self.root;
            let ended = self.arena.transact(|tx| {
                tx.set(field!(root, Root.paused_until_ms), shm::I64::from_native(0))
            });
            if ended.is_ok() {
                self.state.actions.push(super::Action::Unpaused);
            }
        }
    }

    /// Whether a `CLIENT PAUSE` has run out that the next round will end.
    pub fn pause_is_over(&self) -> bool {
        let until = self.paused_until_ms();
        until != 0 && until <= crate::util::time::unix_time_ms()
    }

    /// Until when `CLIENT PAUSE` holds commands back, for the event loop's time-out.
    pub fn paused_until_ms(&self) -> i64 {
        self.arena.get(self.root).paused_until_ms.get().to_native()
    }

    /// A part of the expiry cycle. True when more has expired than fitted. A cycle through many keys
    /// of which none has expired takes its time.
    fn expire(&mut self, deadline: u64) -> bool {
        let root = self.root;
        // Paused clients find the keys as they were.
        let paused = self.paused_until_ms() > self.state.now_ms;
        if paused || self.arena.get(root).active_expire_off.get() != 0 {
            return false;
        }
        let databases = self.arena.get(self.root).database_count.to_native();
        let mut visited = 0;
        let expired = |executor: &Self| executor.arena.get(root).counters.expired.get().to_native();
        let before = expired(self);
        while visited <= databases {
            if monotonic_us() >= deadline {
                return expired(self) != before;
            }
            let index = self.background.expiring % databases;
            let database = crate::root::database(&self.arena, self.root, index);
            let none = crate::keyspace::volatile(&self.arena, database) == 0;
            if none || self.expire_slice(index) == Slice::Complete {
                self.background.expiring = (index + 1) % databases;
                self.background.expire_cursor = Cursor::default();
                visited += 1;
            }
        }
        false
    }

    fn expire_slice(&mut self, index: u32) -> Slice {
        let now = self.state.now_ms;
        let database = crate::root::database(&self.arena, self.root, index);
        let (cursor, expired) = (&mut self.background.expire_cursor, &mut self.background.expired);
        expired.clear();
        let point = self.state.point();
        let root = self.root;
        let payload = self.arena.payload();
        let mut tx = self.arena.begin();
        let slice =
            expire::collect(&mut tx, database, cursor, now, EXPIRE_SEGMENTS, EXPIRE_KEYS, expired);
        let mut removed = 0;
        let done = expired.drain(..).try_for_each(|(hash, key)| {
            let due = expire::remove_expired(&mut tx, database, hash, &key, now)?;
            removed += u64::from(due);
            if due {
                blocking::end_groups(&mut tx, &mut self.state, root, index, &key)?;
                events::expired(&mut tx, &mut self.state, root, index, &key)?;
            }
            watch::key_expired(&mut tx, root, index, &key)?;
            tracking::key_changed(&mut tx, &mut self.state, index, &key, None)
        });
        if done.and_then(|()| tracking::broadcast(&mut tx, &mut self.state)).is_err() {
            // No memory for the log: expiry on access goes on.
            tx.rollback_all();
            self.state.take_back(&tx, root, &point);
            return Slice::Complete;
        }
        tx.commit(&payload);
        let counter = field!(field!(root, Root.counters), Counters.expired);
        bump(&mut self.arena, counter, removed);
        slice
    }

    /// Takes dead things apart. True when there is more.
    fn free_trash(&mut self, deadline: u64) -> bool {
        let root = self.root;
        loop {
            match self.arena.transact(|tx| trash::step(tx, root, TRASH_BLOCKS)) {
                Ok(true) if monotonic_us() < deadline => {}
                Ok(more) => return more,
                Err(_) => return false,
            }
        }
    }

    /// Joins sparse segments of the databases' tables.
    fn shrink_tables(&mut self, deadline: u64) {
        let databases = self.arena.get(self.root).database_count.to_native();
        for _ in 0..16 {
            let index = self.background.shrinking % databases;
            let keys = self.keys(index);
            let hash = self.background.shrink_hash;
            match self.arena.transact(|tx| table::shrink_step(tx, keys, hash)) {
                Ok(Some(next)) => self.background.shrink_hash = next,
                Ok(None) | Err(_) => {
                    self.background.shrinking = (index + 1) % databases;
                    self.background.shrink_hash = 0;
                }
            }
            if monotonic_us() >= deadline {
                return;
            }
        }
    }

    /// Looks at some sessions: idle ones are closed after `timeout`, and soft limits of output run
    /// out.
    fn look_at_sessions(&mut self) {
        self.check_limits();
        const AT_LEAST: u32 = 64;
        let timeout = i64::from(self.state.config.timeout()) * 1000;
        let capacity = session::directory::capacity(&self.arena, self.root);
        if capacity == 0 || timeout == 0 {
            return;
        }
        const EXEMPT: u64 = flag::SUBSCRIBER | flag::MONITOR | flag::POSTPONED | flag::BLOCKED;
        let rounds = (capacity / self.state.config.hz().max(1)).max(AT_LEAST).min(capacity);
        for _ in 0..rounds {
            let slot = self.background.next_session % capacity;
            self.background.next_session = (slot + 1) % capacity;
            let Some(session) = self.session(slot) else { continue };
            let record = self.arena.get(session);
            let idle = self.state.now_ms - record.active_ms.get().to_native();
            let exempt = record.is(EXEMPT);
            if idle > timeout && !exempt {
                let closed = self
                    .arena
                    .transact(|tx| session::change_flags(tx, session, 0, flag::CLOSE_ASAP));
                if closed.is_ok() {
                    self.state.actions.push(super::Action::Close(slot));
                }
            }
        }
    }

    /// Looks at sessions with unsent output, whose soft limit may have run out: some of them, if
    /// they are many.
    fn check_limits(&mut self) {
        const AT_MOST: usize = 256;
        let mut session = self.arena.get(self.root).pending_output.get();
        for _ in 0..AT_MOST {
            if session.is_null() {
                return;
            }
            let state = &mut self.state;
            let _ = self.arena.transact(|tx| super::limits::check(tx, state, session));
            session = self.arena.get(session).out_next.get();
        }
    }
}
