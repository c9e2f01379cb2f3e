//! What a command handler works with.

use std::borrow::Cow;

use rand::Rng;
use shm::{Fresh, Off, OutOfMemory, Tx, U64, field};

use super::args::Args;
use super::events::class;
use super::output::Output;
use super::state::{Action, Finding, State};
use crate::commands::table::Command;
use crate::keyspace::{self, Database, Entry, EntryView, Found, Type, access, entry};
use crate::proto::reply::{Protocol, Reply, Sink};
use crate::root::{Counters, Root};
use crate::session::{Session, tracking, watch};
use crate::values::packed;

/// One command at work: its arguments, its transaction, its reply.
pub struct Cx<'a> {
    /// The arguments, the command's name first.
    pub args: Args<'a>,
    /// The transaction of the command (of the whole `EXEC`, for a queued one).
    pub tx: Tx<'a>,
    /// Where the reply goes.
    pub reply: Reply<'a, Output>,
    /// What this process keeps for itself: configuration, clock, random numbers.
    pub state: &'a mut State,
    /// The row of the command.
    pub command: &'static Command,
    /// The root record.
    pub root: Off<Root>,
    /// The session that sent the command.
    pub session: Off<Session>,
    /// The database that the session works on.
    pub database: Off<Database>,
    /// Number of that database.
    pub database_index: u32,
    /// Whether the command runs within `EXEC`.
    pub in_exec: bool,
    /// Changes to the data set that the command made.
    pub dirty: u64,
}

/// Why a command failed. What it did is rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fail {
    /// An error reply, with its code (`ERR ...`), without the leading `-`.
    Err(Cow<'static, str>),
    /// The same, with bytes that need not be UTF-8.
    Bytes(Vec<u8>),
    /// The arena has no memory left.
    Oom,
}

/// What came of a command. On `Ok` the handler has written its reply.
pub type Outcome = Result<(), Fail>;

impl From<OutOfMemory> for Fail {
    fn from(_: OutOfMemory) -> Fail {
        Fail::Oom
    }
}

impl From<&'static str> for Fail {
    fn from(text: &'static str) -> Fail {
        Fail::Err(Cow::Borrowed(text))
    }
}

impl From<String> for Fail {
    fn from(text: String) -> Fail {
        Fail::Err(Cow::Owned(text))
    }
}

/// Frequent errors.
pub mod error {
    use super::{Cow, Fail};

    /// The key holds another type.
    pub const WRONG_TYPE: Fail = Fail::Err(Cow::Borrowed(
        "WRONGTYPE Operation against a key holding the wrong kind of value",
    ));
    /// The arguments do not fit the command.
    pub const SYNTAX: Fail = Fail::Err(Cow::Borrowed("ERR syntax error"));
    /// An argument or a value is no 64-bit integer.
    pub const NOT_INTEGER: Fail =
        Fail::Err(Cow::Borrowed("ERR value is not an integer or out of range"));
    /// An argument or a value is no number.
    pub const NOT_FLOAT: Fail = Fail::Err(Cow::Borrowed("ERR value is not a valid float"));
    /// The key is not there.
    pub const NO_KEY: Fail = Fail::Err(Cow::Borrowed("ERR no such key"));
}

/// A key that was looked up; valid until the database's table changes.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its hash.
    pub hash: u64,
    /// The entry, if the key is there.
    pub found: Option<Found>,
}

impl Key<'_> {
    /// Whether the key is there.
    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.found.is_some()
    }
}

impl<'a> Cx<'a> {
    /// The argument of that number, which the arity guarantees.
    #[inline(always)]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.at(index)
    }

    /// The argument of that number as a 64-bit integer.
    #[inline]
    pub fn int_arg(&self, index: usize) -> Result<i64, Fail> {
        crate::util::numbers::string2ll(self.arg(index)).ok_or(error::NOT_INTEGER)
    }

    /// Wall clock at the start of the command, milliseconds since the epoch.
    #[inline(always)]
    pub fn now_ms(&self) -> i64 {
        self.state.now_ms
    }

    /// The protocol that the client speaks.
    #[inline(always)]
    pub fn protocol(&self) -> Protocol {
        self.reply.protocol()
    }

    /// The session's record.
    #[inline(always)]
    pub fn session_record(&self) -> &Session {
        self.tx.get(self.session)
    }

    /// Has something done after the commit, outside of the arena.
    pub fn after_commit(&mut self, action: Action) {
        self.state.actions.push(action);
    }

    /// Looks a key up to read it: counts a hit or a miss, and notes the use. A key that has expired
    /// is removed and counts as missing.
    #[inline]
    pub fn read<'k>(&mut self, name: &'k [u8]) -> Result<Key<'k>, Fail> {
        let key = self.open(name)?;
        self.count_lookup(&key)?;
        Ok(key)
    }

    /// As [`read`](Cx::read), but without noting the use: for commands that ask about a key.
    pub fn look<'k>(&mut self, name: &'k [u8]) -> Result<Key<'k>, Fail> {
        let key = self.peek(name)?;
        self.count_lookup(&key)?;
        Ok(key)
    }

    /// As [`look`](Cx::look), but without an event if the key is not there: for commands that ask
    /// about the server's doings rather than about the data.
    pub fn inspect(&mut self, name: &'a [u8]) -> Result<Key<'a>, Fail> {
        let key = self.peek(name)?;
        let counters = field!(self.root, Root.counters);
        let counter = match key.exists() {
            true => field!(counters, Counters.hits),
            false => field!(counters, Counters.misses),
        };
        self.count(counter, 1);
        Ok(key)
    }

    /// [`read`](Cx::read) a key that is to be of a type; `None` if it is not there.
    #[inline]
    pub fn read_as(&mut self, name: &'a [u8], of_type: Type) -> Result<Option<Found>, Fail> {
        let key = self.read(name)?;
        self.expect_type(&key, of_type)?;
        Ok(key.found)
    }

    /// [`open`](Cx::open) a key that is to be of a type, if it is there.
    #[inline]
    pub fn open_as(&mut self, name: &'a [u8], of_type: Type) -> Result<Key<'a>, Fail> {
        let key = self.open(name)?;
        self.expect_type(&key, of_type)?;
        Ok(key)
    }

    #[inline]
    fn expect_type(&self, key: &Key<'_>, of_type: Type) -> Outcome {
        match &key.found {
            Some(found) if self.entry(found).kind().value_type() != of_type => {
                Err(error::WRONG_TYPE)
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn count_lookup(&mut self, key: &Key<'_>) -> Outcome {
        let counters = field!(self.root, Root.counters);
        if key.exists() {
            self.count(field!(counters, Counters.hits), 1);
        } else {
            self.count(field!(counters, Counters.misses), 1);
            if self.state.events & class::KEY_MISS != 0 {
                self.missing(self.database_index, key.name)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn missing(&mut self, index: u32, name: &[u8]) -> Outcome {
        self.state.findings.push(Finding::Missing(index, name.to_vec()));
        self.notify_in(index, class::KEY_MISS, "keymiss", name)
    }

    /// Looks a key up to change it. A key that has expired is removed and counts as missing.
    #[inline]
    pub fn open<'k>(&mut self, name: &'k [u8]) -> Result<Key<'k>, Fail> {
        let key = self.peek(name)?;
        if let Some(found) = key.found {
            self.touch(found.entry);
        }
        Ok(key)
    }

    /// Notes that an entry is used.
    #[inline(always)]
    fn touch(&mut self, off: Off<Entry>) {
        let State { access, now_ms, random, .. } = &mut *self.state;
        let word = match access {
            // What is there need not be read.
            access::Policy::Time => access.first(*now_ms),
            _ => {
                let word = EntryView::new(&self.tx, off).access();
                access.used(word, *now_ms, || random.next_u64())
            }
        };
        entry::touch(&mut self.tx, off, word);
    }

    /// Notes the first use of an entry that is new.
    pub fn touch_first(&mut self, off: Off<Entry>) {
        let word = self.state.access.first(self.state.now_ms);
        entry::touch(&mut self.tx, off, word);
    }

    /// Removes a key of the session's database with its event, expired or not: what commands do that
    /// store a result which turns out to be empty. Says whether it was there.
    pub fn delete_target(&mut self, name: &[u8]) -> Result<bool, Fail> {
        let hash = self.tx.hash(name);
        let Some(found) = keyspace::find(&self.tx, self.database, hash, name) else {
            return Ok(false);
        };
        self.delete(&found)?;
        self.changed(name)?;
        self.notify(class::GENERIC, "del", name)?;
        Ok(true)
    }

    /// Looks a key up without counting or noting its use. A key that has expired is removed.
    #[inline]
    pub fn peek<'k>(&mut self, name: &'k [u8]) -> Result<Key<'k>, Fail> {
        self.peek_in(self.database, self.database_index, name)
    }

    /// [`peek`](Cx::peek) in another database.
    #[inline(always)]
    pub fn peek_in<'k>(
        &mut self,
        database: Off<Database>,
        index: u32,
        name: &'k [u8],
    ) -> Result<Key<'k>, Fail> {
        let hash = self.tx.hash(name);
        let mut found = keyspace::find(&self.tx, database, hash, name);
        if let Some(at) = found.and_then(|f| EntryView::new(&self.tx, f.entry).expiry())
            && at <= self.state.now_ms
            && let Some(expired) = found.take()
            && !self.keeps_expired()
        {
            self.note_gone(index, expired.entry)?;
            keyspace::remove(&mut self.tx, database, &expired)?;
            self.expired(index, name)?;
        }
        Ok(Key { name, hash, found })
    }

    /// Whether a key that has expired counts as missing, but stays: while clients are paused the data
    /// does not change, unless a command that writes runs nevertheless.
    #[cold]
    fn keeps_expired(&self) -> bool {
        let until = self.tx.get(self.root).paused_until_ms.get().to_native();
        until > self.state.now_ms && !self.command.is(crate::commands::spec::flag::WRITE)
    }

    /// Removes a key of the session's database if it has expired.
    pub fn remove_if_expired(&mut self, name: &[u8]) -> Result<bool, Fail> {
        self.remove_if_expired_in(self.database_index, name)
    }

    fn remove_if_expired_in(&mut self, index: u32, name: &[u8]) -> Result<bool, Fail> {
        let there = self.expired_entry(index, name);
        if let Some((database, found)) = there {
            self.note_gone(index, found.entry)?;
            keyspace::remove(&mut self.tx, database, &found)?;
            self.expired(index, name)?;
        }
        Ok(there.is_some())
    }

    /// The entry of a key that has expired, with its database.
    fn expired_entry(&self, index: u32, name: &[u8]) -> Option<(Off<Database>, Found)> {
        let database = crate::root::database(&self.tx, self.root, index);
        let found = keyspace::find(&self.tx, database, self.tx.hash(name), name)?;
        let at = EntryView::new(&self.tx, found.entry).expiry()?;
        (at <= self.state.now_ms).then_some((database, found))
    }

    /// After a command has failed and was taken back: removes again what it had found expired, and
    /// tells again of what it had not found.
    pub fn find_again(&mut self) -> Outcome {
        for finding in std::mem::take(&mut self.state.findings) {
            match finding {
                Finding::Expired(index, name) => {
                    self.remove_if_expired_in(index, &name)?;
                }
                Finding::Missing(index, name) => self.missing(index, &name)?,
            }
        }
        self.state.findings.clear();
        Ok(())
    }

    #[cold]
    fn expired(&mut self, index: u32, name: &[u8]) -> Result<(), Fail> {
        let counters = field!(self.root, Root.counters);
        self.count(field!(counters, Counters.expired), 1);
        watch::key_expired(&mut self.tx, self.root, index, name)?;
        self.state.findings.push(Finding::Expired(index, name.to_vec()));
        self.notify_in(index, class::EXPIRED, "expired", name)?;
        tracking::key_changed(&mut self.tx, self.state, index, name, None)?;
        Ok(())
    }

    /// A look at the entry of a key that is there.
    #[inline(always)]
    pub fn entry(&self, found: &Found) -> EntryView<'_> {
        EntryView::new(&self.tx, found.entry)
    }

    /// Makes a fresh entry ([`entry::create`]) the key's: instead of what it has, which is freed, or
    /// as a new key. The key is invalid afterwards.
    pub fn put(&mut self, key: &Key<'_>, fresh: Fresh) -> Result<Off<Entry>, Fail> {
        let off = fresh.off().cast();
        let mut word = self.state.access.first(self.state.now_ms);
        match &key.found {
            Some(found) => {
                self.note_gone(self.database_index, found.entry)?;
                if matches!(self.state.access, access::Policy::Frequency(_)) {
                    // The key is counted, whatever value it has.
                    word = EntryView::new(&self.tx, found.entry).access();
                }
                keyspace::replace(&mut self.tx, self.database, key.hash, found, off)?;
            }
            None => self.add_in(self.database, self.database_index, key, off)?,
        }
        entry::touch(&mut self.tx, off, word);
        Ok(off)
    }

    /// Adds an entry as a new key of a database. The key is invalid afterwards.
    pub fn add_in(
        &mut self,
        database: Off<Database>,
        index: u32,
        key: &Key<'_>,
        entry: Off<Entry>,
    ) -> Outcome {
        keyspace::insert(&mut self.tx, database, key.hash, entry)?;
        if self.somebody_waits() {
            self.note_new(index, key.name, entry)?;
        }
        self.notify_in(index, class::NEW, "new", key.name)
    }

    /// Makes another entry of the same key, which has taken over what hangs on the old one's value, the
    /// key's; only the old block is freed. The key stays valid.
    ///
    /// # Panics
    ///
    /// If the key is not there.
    pub fn exchange(&mut self, key: &mut Key<'_>, entry: Off<Entry>) -> Outcome {
        let old = key.found.as_ref().expect("a key that is there");
        let (database, hash) = (self.database, key.hash);
        let new = keyspace::replace_reshaped(&mut self.tx, database, hash, old, entry)?;
        key.found = Some(new);
        Ok(())
    }

    /// Changes the packed list that is a key's value. The key stays valid.
    ///
    /// # Panics
    ///
    /// If the key is not there, or the bytes that go do not lie within the run.
    #[inline]
    pub fn splice(&mut self, key: &mut Key<'_>, splice: packed::Splice<'_>) -> Outcome {
        let entry = key.found.as_ref().expect("a key that is there").entry;
        match packed::splice(&mut self.tx, entry, splice)? {
            Some(moved) => self.exchange(key, moved),
            None => Ok(()),
        }
    }

    /// Removes a key that is there.
    pub fn delete(&mut self, found: &Found) -> Result<(), Fail> {
        self.note_gone(self.database_index, found.entry)?;
        Ok(keyspace::remove(&mut self.tx, self.database, found)?)
    }

    /// Sets or removes the expiry of a key that is there. The key is invalid afterwards.
    pub fn set_expiry(&mut self, key: &Key<'_>, at: Option<i64>) -> Result<(), Fail> {
        if let Some(found) = &key.found {
            keyspace::set_expiry(&mut self.tx, self.database, key.hash, found, at)?;
        }
        Ok(())
    }

    /// Notes that a key of the session's database was changed: watchers' transactions fail,
    /// trackers hear of it. Every handler that changes a key calls it once for that key.
    #[inline]
    pub fn changed(&mut self, name: &[u8]) -> Result<(), Fail> {
        self.changed_in(self.database_index, name)
    }

    /// [`changed`](Cx::changed) for a key of another database.
    #[inline]
    pub fn changed_in(&mut self, index: u32, name: &[u8]) -> Result<(), Fail> {
        self.dirty += 1;
        let root = self.tx.get(self.root);
        let (watched, trackers) = (root.watched.len.get(), root.trackers.get());
        let root_tracks = root.tracked.len.get() != 0;
        if watched != 0 {
            watch::key_changed(&mut self.tx, self.root, index, name)?;
        }
        if trackers != 0 || root_tracks {
            let by = Some(self.session);
            tracking::key_changed(&mut self.tx, self.state, index, name, by)?;
        }
        Ok(())
    }

    /// Whether whatever else is replied is lost: nobody is to get it, or it does not fit into memory. A
    /// handler that writes as much as its arguments ask for looks at it now and then.
    pub fn reply_is_lost(&mut self) -> bool {
        let sink = self.reply.sink();
        sink.is_muted() || sink.check().is_err()
    }

    /// Sends bytes that are a message, not a reply: `CLIENT REPLY` does not hold them back.
    pub fn push_raw(&mut self, message: &[u8]) {
        let sink = self.reply.sink();
        let muted = sink.is_muted();
        sink.mute(false);
        sink.put(message);
        sink.mute(muted);
    }

    /// Adds to one of the statistics.
    #[inline(always)]
    pub fn count(&mut self, counter: Off<shm::Hint<U64>>, by: u64) {
        let value = self.tx.read(counter).get().to_native();
        self.tx.hint(counter, U64::from_native(value.wrapping_add(by)));
    }
}
