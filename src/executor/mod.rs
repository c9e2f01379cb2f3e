//! The executor: the one that runs commands, writes the arena, and reads and writes clients.
//!
//! | module | what |
//! | --- | --- |
//! | [`turn`] | one client's turn: read and run |
//! | [`ahead`] | fetching what the next requests will look up |
//! | [`replies`] | writing replies, at the end of a tick and later |
//! | [`recovery`] | taking up what a dead owner left between two commits |
//! | [`culprit`] | commands in which processes die, and those that panic |
//! | [`dispatch`] | from words to a command that has run |
//! | [`cx`], [`args`], [`output`], [`state`] | what handlers work with |
//! | [`peers`] | other servers, as `MIGRATE` sees them |
//! | [`blocking`] | blocked clients: serving them, and letting them go |
//! | [`limits`] | limits of unsent output |
//! | [`background`] | expiry, freeing, shrinking, time-outs: in slices, between turns |
//!
//! It knows no sockets: the event loop hands it a [`Stream`] for each turn.

mod ahead;
pub mod args;
pub mod background;
pub mod blocking;
pub mod clients;
mod culprit;
mod cx;
mod defrag;
pub mod dispatch;
pub mod events;
mod input;
pub mod limits;
pub mod output;
pub mod peers;
mod recovery;
pub mod replies;
pub mod state;
pub mod turn;

use std::io;
use std::sync::atomic::Ordering;

use shm::io::Area;
use shm::table::Table;
use shm::{Arena, Off, OutOfMemory, field, header};

pub use args::Args;
pub use culprit::{Death, Left};
pub use cx::{Cx, Fail, Key, Outcome, error};
pub use events::class;
pub use output::Output;
pub use state::{Action, State};

use crate::proto::request::Argv;
use crate::root::Root;
use crate::session::{self, Accepted, Session, flag};

/// A client's connection, as the executor sees it. Both calls never block.
pub trait Stream {
    /// Reads what is there; 0 is the end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes what can be written now.
    fn transmit(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes what can be written now of several pieces.
    fn transmit_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize>;
    /// What it has carried since it was accepted, as the system counts; `None` if that is not known.
    fn carried(&self) -> Option<Carried>;
}

/// Bytes that a connection has carried since it was accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Read from it.
    pub read: u64,
    /// Written to it.
    pub written: u64,
}

/// Bytes that the input buffer holds: what one read may give.
const INPUT: usize = 64 << 10;
/// Bytes of the output buffer that are always there.
const OUTPUT: usize = 256 << 10;

/// The executor's buffers. They can be had before the arena is owned, since having them touches
/// nothing of it.
pub struct Buffers {
    input: shm::io::IoBuffer,
    output: shm::io::IoBuffer,
}

impl Buffers {
    /// Takes the buffers of an arena.
    ///
    /// # Errors
    /// If the system has no memory for them.
    pub fn take(arena: &mut Arena) -> Result<Buffers, OutOfMemory> {
        let input = arena.io_buffer(Area::Input, INPUT)?;
        let output = arena.io_buffer(Area::Output, OUTPUT)?;
        Ok(Buffers { input, output })
    }
}

/// The executor of a generation.
pub struct Executor {
    /// The arena, which this process owns while it serves.
    pub arena: Arena,
    /// What commands keep in private memory.
    pub state: State,
    root: Off<Root>,
    input: shm::io::IoBuffer,
    output: Output,
    argv: Argv,
    batch: replies::Batch,
    background: background::Background,
    /// After the arena was too full to let a blocked client go: when to try again, milliseconds
    /// since the epoch.
    time_outs_from_ms: i64,
}

/// What the executor is about to do, in the arena's in-flight words: for whoever has to finish it
/// after a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum InFlight {
    /// Reading from the session's socket.
    Read = 1,
    /// Writing to it.
    Write = 2,
    /// Running one of its commands.
    Execute = 3,
}

impl InFlight {
    /// The bits of the word that say what; the rest is the session's offset.
    pub(crate) const MASK: u64 = 7;
}

impl Executor {
    /// Takes the executor's place in an arena that has a root and is owned by this process.
    pub fn new(arena: Arena, buffers: Buffers, state: State) -> Executor {
        let Buffers { input, output } = buffers;
        let root = crate::root::of(&arena);
        let background = background::Background::default();
        let output = Output::new(output);
        let (argv, batch) = (Argv::new(), replies::Batch::default());
        let time_outs_from_ms = 0;
        Executor { arena, state, root, input, output, argv, batch, background, time_outs_from_ms }
    }

    /// The root record.
    pub fn root(&self) -> Off<Root> {
        self.root
    }

    /// Makes a session for a new connection; gives its slot.
    pub fn accept(&mut self, accepted: &Accepted) -> Result<u32, OutOfMemory> {
        let root = self.root;
        let counter = field!(field!(root, Root.counters), Counters.connections);
        bump(&mut self.arena, counter, 1);
        let (id, slot) = self.arena.transact(|tx| {
            let session = session::create(tx, accepted)?;
            let record = tx.get(session);
            Ok((record.id.to_native(), record.slot.to_native()))
        })?;
        self.state.clients.note(id, slot);
        Ok(slot)
    }

    /// The session in a slot.
    pub fn session(&self, slot: u32) -> Option<Off<Session>> {
        session::at(&self.arena, slot)
    }

    /// Number of sessions.
    pub fn session_count(&self) -> u32 {
        session::directory::len(&self.arena, self.root)
    }

    /// Whether a session has output to be written outside of a turn.
    pub fn has_output(&self, slot: u32) -> bool {
        self.session(slot).is_some_and(|s| session::output::is_pending(&self.arena, s))
    }

    /// Whether nothing more is to be read from a session.
    pub fn is_closing(&self, slot: u32) -> bool {
        let bits = flag::CLOSE_AFTER_REPLY | flag::CLOSE_ASAP;
        self.session(slot).is_none_or(|s| self.arena.get(s).is(bits))
    }

    /// Whether a session is to be closed whatever output it has.
    pub fn closes_at_once(&self, slot: u32) -> bool {
        self.session(slot).is_none_or(|s| self.arena.get(s).is(flag::CLOSE_ASAP))
    }

    /// The slots of sessions whose command is held back by `CLIENT PAUSE`, in the order in which that
    /// began.
    pub fn postponed(&self) -> Vec<u32> {
        let mut found: Vec<(u64, u32)> = Vec::new();
        session::directory::for_each(&self.arena, self.root, |session| {
            let record = self.arena.get(session);
            if record.is(flag::POSTPONED) {
                found.push((record.postponed_ns.get().to_native(), record.slot.to_native()));
            }
        });
        found.sort_unstable();
        found.into_iter().map(|(_, slot)| slot).collect()
    }

    /// One more than the highest slot of a session.
    pub fn capacity(&self) -> u32 {
        session::directory::capacity(&self.arena, self.root)
    }

    /// The socket cookie of the session in a slot.
    pub fn cookie(&self, slot: u32) -> Option<u64> {
        self.session(slot).map(|session| self.arena.get(session).cookie.to_native())
    }

    /// Ends a session, with everything that hangs on it. Its socket is the caller's to close.
    pub fn close(&mut self, slot: u32) -> Result<(), OutOfMemory> {
        let Some(session) = self.session(slot) else { return Ok(()) };
        let root = self.root;
        let state = &mut self.state;
        // Who closes is gone: nobody sees that it leaves in steps.
        const STEP: usize = session::LEAVE_AT_ONCE;
        while !self.arena.transact(|tx| session::leave_step(tx, state, root, session, STEP))? {}
        self.arena.transact(|tx| session::destroy(tx, session))
    }

    /// What commands asked to be done after their commit. The vector is to be given back empty, so
    /// that its memory is used again.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.state.actions)
    }

    /// Whether there is anything in [`take_actions`](Executor::take_actions).
    #[inline(always)]
    pub fn has_actions(&self) -> bool {
        !self.state.actions.is_empty()
    }

    /// Notes what is about to be done. See [`InFlight`].
    #[inline(always)]
    fn in_flight(&self, session: Off<Session>, what: InFlight) {
        if !shm::CRASH_SAFE {
            return;
        }
        let word = session.raw() | what as u64;
        self.arena.word(header::IN_FLIGHT).store(word, Ordering::Relaxed);
    }

    /// Notes that nothing is in flight.
    #[inline(always)]
    fn landed(&self) {
        if !shm::CRASH_SAFE {
            return;
        }
        self.arena.word(header::IN_FLIGHT).store(0, Ordering::Relaxed);
    }

    /// The table of a database, for the checker and statistics.
    pub fn keys(&self, database: u32) -> Off<Table> {
        crate::keyspace::keys(crate::root::database(&self.arena, self.root, database))
    }
}

use crate::root::Counters;

/// Adds to one of the statistics outside of a transaction.
pub(crate) fn bump(arena: &mut Arena, counter: Off<shm::Hint<shm::U64>>, by: u64) {
    let value = arena.read(counter).get().to_native();
    arena.hint(counter, shm::U64::from_native(value.wrapping_add(by)));
}

#[cfg(test)]
mod blocking_tests;
#[cfg(test)]
mod culprit_tests;
#[cfg(test)]
mod defrag_tests;
#[cfg(all(test, debug_assertions))]
mod fault_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;
