//! What a generation keeps in private memory for its commands: caches and what has to be done after
//! the commit. All of it can be made anew from the arena.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shm::{Off, View};

use super::clients::ClientIndex;
use super::defrag::Effort;
use super::peers::{Nobody, Peers};
use crate::config::{ConfigValues, Id};
use crate::keyspace::access;
use crate::root::Root;
use crate::session::{Session, tracking};
use crate::settings::HugePages;
use crate::statistics::Ledger;
use crate::util::time::monotonic_ns;

/// Something to do outside of the arena once the transaction has committed. Dropped if it is rolled
/// back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the unsent output of the session in this slot.
    Flush(u32),
    /// Close the session in this slot: its flags say how.
    Close(u32),
    /// Have the configuration take effect where it is not read anew each time; these changed.
    Reconfigured(Vec<Id>),
    /// Stop serving, in order.
    Shutdown,
    /// Have the session in this slot go on with its input.
    Resume(u32),
    /// `CLIENT PAUSE` ended or changed: look at postponed sessions.
    Unpaused,
}

/// What a command found of a key, besides what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The key (of that database) had expired and was removed.
    Expired(u32, Vec<u8>),
    /// The key was not there, and subscribers were told.
    Missing(u32, Vec<u8>),
}

/// The private state of commands.
pub struct State {
    /// The configuration in force; the arena holds its archive.
    pub config: ConfigValues,
    /// Wall clock at the start of the command (of the `EXEC`), milliseconds since the epoch.
    pub now_ms: i64,
    /// The same in microseconds.
    pub now_us: i64,
    /// Random numbers for `RANDOMKEY` and the like.
    pub random: StdRng,
    /// What is to be done after the commit.
    pub actions: Vec<Action>,
    /// The session whose turn it is, null between turns: what is sent to it goes behind its reply.
    pub current: Off<Session>,
    /// What clients are to be told of the changes of the command under way.
    pub pending: tracking::Pending,
    /// What the command found of keys when it looked them up: it stays true even if it fails.
    pub findings: Vec<Finding>,
    /// Which events are told of ([`super::events::class`]): 0 while nobody is to be told.
    pub events: u32,
    /// Set while blocked clients are being served.
    pub serving: Option<super::blocking::Serving>,
    /// Which generation this process is.
    pub generation: u64,
    /// Pid of the keeper.
    pub keeper_pid: u32,
    /// Whether the predecessor stands by, for `INFO`.
    pub watched: bool,
    /// Monotonic microseconds at which this generation began to serve.
    pub serving_since_us: u64,
    /// Addresses this server listens on, for `INFO` and `CLIENT LIST`.
    pub addresses: Vec<String>,
    /// Which pages the arena is to have, for `INFO`.
    pub huge_pages: HugePages,
    /// `maxmemory`, 0 for none; read for every command.
    pub maxmemory: u64,
    /// How the use of keys is noted; read for every command.
    pub access: access::Policy,
    /// Whether a password is set; read for every command.
    pub password: bool,
    /// Asks the system for descriptors for so many clients; if it has too few, for how many it has.
    pub allow_clients: fn(u32) -> Result<(), u64>,
    /// Clients by their ids.
    pub clients: ClientIndex,
    /// Other servers.
    pub peers: Box<dyn Peers>,
    /// The cycle of defragmentation under way.
    pub defrag: Effort,
    /// Where commands are counted, and what of it has no time yet.
    pub ledger: Ledger,
    /// Monotonic clock when the clock was last read, nanoseconds.
    read_at_ns: u64,
    /// The wall clock less the monotonic one, microseconds, at the last [`State::read_clock`].
    offset_us: i64,
    /// Commands run in the present and the last periods, for `instantaneous_ops_per_sec`.
    pub rate: Rate,
}

/// A point of a transaction, as far as [`State`] is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    actions: usize,
    pending: tracking::PendingPoint,
}

/// A rate measured over the last sixteen periods, as Redis does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    samples: [u64; 16],
    next: usize,
    last_count: u64,
    last_us: u64,
}

impl Rate {
    /// Notes the count's present value at a time (monotonic microseconds).
    pub fn sample(&mut self, count: u64, now_us: u64) {
        let elapsed = now_us.saturating_sub(self.last_us);
        if elapsed == 0 {
            return;
        }
        let gained = count.wrapping_sub(self.last_count);
        if self.last_us != 0 {
            self.samples[self.next] = gained.saturating_mul(1_000_000) / elapsed;
            self.next = (self.next + 1) % self.samples.len();
        }
        (self.last_count, self.last_us) = (count, now_us);
    }

    /// Per second, averaged.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }
}

impl State {
    /// The state of a generation that serves with this configuration.
    pub fn new(config: ConfigValues, generation: u64, keeper_pid: u32) -> State {
        let mut state = State {
            config,
            now_ms: 0,
            now_us: 0,
            random: StdRng::seed_from_u64(rand::random()),
            actions: Vec::new(),
            current: Off::NULL,
            pending: tracking::Pending::default(),
            findings: Vec::new(),
            events: 0,
            serving: None,
            generation,
            keeper_pid,
            watched: false,
            serving_since_us: crate::util::time::monotonic_us(),
            addresses: Vec::new(),
            huge_pages: HugePages::No,
            maxmemory: 0,
            access: access::Policy::Time,
            password: false,
            allow_clients: |_| Ok(()),
            clients: ClientIndex::default(),
            peers: Box::new(Nobody),
            defrag: Effort::default(),
            ledger: Ledger::default(),
            read_at_ns: 0,
            offset_us: 0,
            rate: Rate::default(),
        };
        state.read_clock();
        state.apply_config();
        state
    }

    /// Reads the clock.
    #[inline]
    pub fn read_clock(&mut self) {
        self.now_us = crate::util::time::unix_time_us();
        self.now_ms = self.now_us / 1000;
        self.read_at_ns = monotonic_ns();
        self.offset_us = self.now_us - (self.read_at_ns / 1000) as i64;
    }

    /// As [`read_clock`](State::read_clock), but by the monotonic clock alone: for the turns of a
    /// tick, which measure their time by the same.
    #[inline]
    pub fn advance_clock(&mut self) {
        self.read_at_ns = monotonic_ns();
        self.now_us = self.offset_us + (self.read_at_ns / 1000) as i64;
        self.now_ms = self.now_us / 1000;
    }

    /// When the clock was read, by the monotonic clock, which all generations share.
    pub fn read_at_ns(&self) -> u64 {
        self.read_at_ns
    }

    /// Nanoseconds since the clock was read.
    #[inline]
    pub fn elapsed_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.read_at_ns)
    }

    /// Takes over what is read for every command from the configuration.
    pub fn apply_config(&mut self) {
        self.maxmemory = self.config.maxmemory();
        self.access = if self.config.maxmemory_policy().ends_with("-lfu") {
            access::Policy::Frequency(access::Frequency {
                log_factor: self.config.lfu_log_factor(),
                decay_minutes: self.config.lfu_decay_time(),
            })
        } else {
            access::Policy::Time
        };
        self.password = !self.config.requirepass().is_empty();
        self.events = super::events::wanted(self.config.notify_keyspace_events());
    }

    /// The present point, to which a command that fails takes the state back.
    #[inline(always)]
    pub fn point(&self) -> Point {
        Point { actions: self.actions.len(), pending: self.pending.point() }
    }

    /// Forgets what happened since a point, after the transaction was taken back to the same.
    pub fn take_back(&mut self, view: &View, root: Off<Root>, point: &Point) {
        self.pending.take_back(&point.pending);
        let dropped = self.actions.get(point.actions..).unwrap_or_default();
        let reconfigured = dropped.iter().any(|action| matches!(action, Action::Reconfigured(_)));
        self.actions.truncate(point.actions);
        if reconfigured && let Some(values) = crate::root::stored_config(view, root) {
            self.config = values;
            self.apply_config();
        }
    }

    /// Forgets the command under way, and what was to be done after earlier ones.
    pub fn forget_command(&mut self) {
        self.actions.clear();
        self.findings.clear();
        self.serving = None;
        self.pending = tracking::Pending::default();
        self.ledger.forget_time();
        self.current = Off::NULL;
    }

    /// A random 64-bit number.
    pub fn random(&mut self) -> u64 {
        self.random.next_u64()
    }
}
