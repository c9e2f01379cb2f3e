//! Runs an episode against both servers.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::events::Heard;
use super::mask::Mask;
use super::side::{Event, Side};
use super::state::{DATABASES, differences, state};
use super::step::{Arg, Command, Step};
use super::upgrading::{Dying, PROBATION};
use crate::coverage::Coverage;
use crate::generate::CLIENTS;
use crate::server::{Kind, Setup};
use crate::value::{Value, quoted};

/// Directives of both servers. The bulk limit is far below the default, so that every offset and
/// length a generator can think of is safe to try.
const DIRECTIVES: [(&str, &str); 2] =
    [("enable-debug-command", "yes"), ("proto-max-bulk-len", "1048576")];

/// What episodes may change with CONFIG SET, and what it is between episodes.
pub const DEFAULTS: [(&str, &str); 19] = [
    ("requirepass", ""),
    ("proto-max-bulk-len", "1048576"),
    ("timeout", "0"),
    ("maxclients", "1000"),
    ("tcp-keepalive", "300"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", ""),
    ("rdbcompression", "yes"),
    ("sanitize-dump-payload", "no"),
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    ("list-max-listpack-size", "-2"),
    ("set-max-intset-entries", "512"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
];

/// The number of the connection that listens to keyspace events: it comes behind the others.
pub(super) const LISTENER: usize = CLIENTS;

/// What an error is told of that the reference has made.
pub(super) const REFERENCE: &str = "the reference";

/// What Redis writes to its log when it stops with a failed assertion.
const ASSERTION: &str = "=== ASSERTION FAILED ===";

/// How much was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps of episodes, without those that were tried again to cut a difference down.
    pub steps: u64,
    /// Commands that these steps sent.
    pub commands: u64,
    /// Upgrades of the candidate.
    pub upgrades: u64,
    /// Times that the checker has gone through the candidate's arena.
    pub checks: u64,
    /// Episodes that ended with a failed assertion of the reference.
    pub crashes: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, commands, upgrades, checks, crashes } = self;
        write!(f, "{steps} steps ({commands} commands), {upgrades} upgrades, {checks} checks")?;
        match crashes {
            0 => Ok(()),
            _ => write!(f, ", {crashes} failed assertions of Redis"),
        }
    }
}

/// Where the servers differed.
#[derive(Debug, Clone)]
pub struct Mismatch {
    /// The number of the step, from 0.
    pub step: usize,
    /// What each of them showed.
    pub what: String,
}

impl Mismatch {
    /// Whether it is nothing but that Redis stopped with a failed assertion.
    pub fn is_crash_of_reference(&self) -> bool {
        self.what.starts_with(REFERENCE) && self.what.contains(ASSERTION)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The masks of the commands that a connection's MULTI has queued.
#[derive(Debug, Clone, Default)]
pub(super) struct Queued {
    pub masks: Vec<Mask>,
    /// Replies could not be told apart at some point: any mask may be meant.
    pub lost: bool,
}

/// The reference and the candidate.
#[derive(Debug)]
pub struct Pair {
    setups: [Setup; 2],
    pub(super) oracle: Option<Side>,
    pub(super) candidate: Option<Side>,
    pub(super) builds: Vec<PathBuf>,
    /// The candidate's generation that is about to be killed.
    pub(super) dying: Option<Dying>,
    /// One has been killed.
    pub(super) killed: bool,
    pub(super) tally: Tally,
    /// What was tried with success, as far as it can be told.
    coverage: Coverage,
    /// Bytes of the longest request since the servers were last compared.
    pub(super) sent: usize,
    /// For each connection, the masks of the commands queued in its MULTI.
    pub(super) queued: Vec<Queued>,
    /// Expiries that the listener has heard of in another order on each side.
    pub(super) expired: Heard,
}

impl Pair {
    /// Starts Redis and the hotredis under test.
    pub fn start() -> Self {
        Self::between(Setup::redis(), Setup::candidate())
    }

    /// Starts Redis and the first of these builds of hotredis; [`Step::Upgrade`] takes it through
    /// all of them in turn. Without builds, as [`Pair::start`].
    pub fn start_with(builds: Vec<PathBuf>) -> Self {
        let first = builds
            .first()
            .map_or_else(Setup::candidate, |path| Setup::of_binary(path).arguments(&PROBATION));
        Self { builds, ..Self::between(Setup::redis(), first) }
    }

    /// Starts any two servers.
    pub fn between(oracle: Setup, candidate: Setup) -> Self {
        let with = |setup: Setup| {
            DIRECTIVES.iter().fold(setup, |setup, (name, value)| setup.directive(name, value))
        };
        let mut pair = Self {
            setups: [with(oracle), with(candidate)],
            oracle: None,
            candidate: None,
            builds: Vec::new(),
            dying: None,
            killed: false,
            tally: Tally::default(),
            coverage: Coverage::default(),
            sent: 0,
            queued: Vec::new(),
            expired: Heard::default(),
        };
        pair.ensure_running();
        pair
    }

    fn ensure_running(&mut self) {
        let [oracle, candidate] = &self.setups;
        self.oracle.get_or_insert_with(|| Side::start(oracle.clone()));
        self.candidate.get_or_insert_with(|| Side::start(candidate.clone()));
    }

    /// How much was done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts an episode.
    pub(super) fn count(&mut self, steps: &[Step]) {
        self.tally.steps += steps.len() as u64;
        let commands = steps.iter().map(|step| match step {
            Step::Send { commands, .. } => commands.len() as u64,
            _ => 0,
        });
        self.tally.commands += commands.sum::<u64>();
    }

    /// Counts an episode that Redis did not survive, and lets go of what is left of it.
    pub(super) fn count_crash(&mut self) {
        self.tally.crashes += 1;
        if let Some(side) = self.oracle.take() {
            side.server.abandon();
        }
    }

    /// What was tried so far: commands that the reference has not refused, and encodings.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Brings both servers back to the state of fresh ones. One that does not get there is
    /// replaced.
    ///
    /// # Panics
    /// If even a fresh server cannot be used.
    pub fn reset(&mut self) {
        self.queued = vec![Queued::default(); CLIENTS + 1];
        self.expired = Heard::default();
        for attempt in 0..2 {
            self.ensure_running();
            let mut failure = None;
            for slot in [&mut self.oracle, &mut self.candidate] {
                let side = slot.as_mut().expect("just ensured");
                if let Err(e) = side.reset(CLIENTS, &DEFAULTS) {
                    let server = slot.take().expect("it was there");
                    failure = Some(format!("{e}\n{}", server.server.log()));
                    server.server.abandon();
                }
            }
            match failure {
                None => return,
                Some(why) if attempt == 1 => panic!("a fresh server cannot be used: {why}"),
                Some(why) => eprintln!("a server is replaced by a fresh one: {why}"),
            }
        }
    }

    /// Ends the servers without the checker: the test has failed already.
    pub fn abandon(&mut self) {
        for side in [self.oracle.take(), self.candidate.take()].into_iter().flatten() {
            side.server.abandon();
        }
    }

    /// Ends both servers; the checker must find nothing. Gives what was tried.
    pub fn finish(mut self) -> Coverage {
        for side in [self.oracle.take(), self.candidate.take()].into_iter().flatten() {
            side.server.finish();
        }
        self.coverage
    }

    /// The checker on the candidate, between episodes of a long run.
    pub fn check(&mut self) {
        if let Some(side) = &self.candidate
            && side.server.kind() == Kind::Hotredis
        {
            side.server.check();
            self.tally.checks += 1;
        }
    }

    /// Runs the steps until the servers differ.
    pub fn run(&mut self, steps: &[Step]) -> Result<(), Mismatch> {
        let outcome = self.run_steps(steps);
        let settled = self.await_return();
        outcome?;
        settled.map_err(|what| Mismatch { step: steps.len(), what })
    }

    fn run_steps(&mut self, steps: &[Step]) -> Result<(), Mismatch> {
        for (number, step) in steps.iter().enumerate() {
            let outcome = match step {
                Step::Send { client, commands } => self.send(*client, commands),
                Step::Raw { client, pieces } => self.raw(*client, pieces),
                Step::Scan { db, options } => self.scan(*db, options),
                Step::AwaitGone { db, key } => self.await_gone(*db, key),
                // Dropped is a connection that has just been accepted when its generation dies.
                Step::Reconnect { client } => {
                    self.await_return().and_then(|()| self.reconnect(*client))
                }
                Step::Listen => self.await_return().and_then(|()| self.listen()),
                Step::CompareState => self.compare_state(),
                Step::Upgrade(then) => self.upgrade(*then),
            };
            outcome.map_err(|what| Mismatch { step: number, what })?;
        }
        Ok(())
    }

    pub(super) fn sides(&mut self) -> (&mut Side, &mut Side) {
        let oracle = self.oracle.as_mut().expect("reset has started both");
        (oracle, self.candidate.as_mut().expect("reset has started both"))
    }

    fn send(&mut self, n: usize, commands: &[Command]) -> Result<(), String> {
        let n = n % CLIENTS;
        let queued = self.queued[n].clone();
        let loose = |mask: &Mask| *mask != Mask::Exact;
        let ends = commands.len() > 1 && commands.iter().any(|command| command.is("EXEC"));
        if ends && (queued.masks.iter().any(loose) || commands.iter().any(|c| loose(&c.mask))) {
            // The masks of what an EXEC runs are told from the replies before it.
            return commands.iter().try_for_each(|one| self.send(n, std::slice::from_ref(one)));
        }
        let (oracle, candidate) = self.sides();
        let bytes = oracle.encode(commands);
        oracle.send(n, &bytes);
        let bytes = candidate.encode(commands);
        candidate.send(n, &bytes);
        self.sent = bytes.len();
        let [lone] = commands else {
            let masks: Vec<Mask> = commands.iter().map(|c| c.mask).collect();
            let seen = self.observe(n, &masks)?.theirs;
            if seen.len() != commands.len() {
                self.queued[n].lost = true;
            }
            for (command, reply) in commands.iter().zip(&seen) {
                self.track_queue(n, command, Some(reply));
            }
            if seen.len() == commands.len() {
                commands.iter().zip(&seen).for_each(|(command, reply)| self.cover(command, reply));
            }
            return Ok(());
        };
        let mask = if lone.is("EXEC") { Mask::Exact } else { lone.mask };
        let seen = if lone.is("EXEC") && (queued.lost || !queued.masks.is_empty()) {
            self.observe_exec(n, &queued)?
        } else {
            self.observe(n, &[mask])?
        };
        if lone.mask == Mask::RandomKey
            && let [Event::Value(Value::Bulk(key))] = seen.ours.as_slice()
        {
            self.require_key(key)?;
        }
        let chose = lone.mask == Mask::RandomKey || queued.masks.contains(&Mask::RandomKey);
        if chose || (lone.is("EXEC") && queued.lost) {
            self.remove_expired()?;
        }
        self.track_queue(n, lone, seen.theirs.first());
        if let Some(reply) = seen.theirs.first() {
            self.cover(lone, reply);
        }
        Ok(())
    }

    /// Notes a command that the reference has not refused, nor queued.
    fn cover(&mut self, command: &Command, reply: &Event) {
        let Event::Value(reply) = reply else { return };
        if reply.is_error() || *reply == Value::Simple(b"QUEUED".to_vec()) {
            return;
        }
        self.coverage.note(&command.words());
        if command.is("OBJECT")
            && let (Some(Arg::Bytes(what)), Value::Bulk(name)) = (command.args.get(1), reply)
            && what.eq_ignore_ascii_case(b"ENCODING")
        {
            self.coverage.note_encoding(name);
        }
    }

    /// Remembers the masks of what MULTI queues: EXEC's reply is made of theirs.
    fn track_queue(&mut self, n: usize, command: &Command, reply: Option<&Event>) {
        match reply {
            Some(Event::Value(Value::Simple(text))) if text == b"QUEUED" => {
                self.queued[n].masks.push(command.mask);
            }
            // A MULTI inside MULTI is an error and leaves the queue alone.
            Some(Event::Value(Value::Error(_))) if command.is("MULTI") => {}
            _ if ["EXEC", "DISCARD", "RESET", "MULTI"].iter().any(|name| command.is(name)) => {
                self.queued[n] = Queued::default();
            }
            Some(Event::Closed) => self.queued[n] = Queued::default(),
            _ => {}
        }
    }

    /// What RANDOMKEY chose must exist.
    fn require_key(&mut self, key: &[u8]) -> Result<(), String> {
        let commands: Vec<Vec<Vec<u8>>> = (0..DATABASES)
            .flat_map(|db| [select(db), vec![b"EXISTS".to_vec(), key.to_vec()]])
            .collect();
        let (oracle, candidate) = self.sides();
        oracle.control_pipeline(&commands).map_err(|e| failed(REFERENCE, oracle, &e))?;
        let replies = candidate.control_pipeline(&commands);
        let replies = replies.map_err(|e| failed("the candidate", candidate, &e))?;
        if replies.contains(&Value::Integer(1)) {
            return Ok(());
        }
        Err(format!("RANDOMKEY gave {}, which does not exist", quoted(key)))
    }

    /// RANDOMKEY removes the expired keys it meets, which are different ones on each server:
    /// removes the others as well.
    fn remove_expired(&mut self) -> Result<(), String> {
        let scan = || ["SCAN", "0", "COUNT", "1000000"].map(|w| w.as_bytes().to_vec()).to_vec();
        let commands: Vec<_> = (0..DATABASES).flat_map(|db| [select(db), scan()]).collect();
        let (oracle, candidate) = self.sides();
        oracle.control_pipeline(&commands).map_err(|e| failed(REFERENCE, oracle, &e))?;
        let done = candidate.control_pipeline(&commands);
        done.map_err(|e| failed("the candidate", candidate, &e))?;
        self.observe_listener()
    }

    /// Has one more connection listen to every keyspace event, from here on.
    fn listen(&mut self) -> Result<(), String> {
        let (oracle, candidate) = self.sides();
        if oracle.count() > LISTENER {
            return Ok(());
        }
        for (name, side) in [(REFERENCE, oracle), ("the candidate", candidate)] {
            let set = ["CONFIG", "SET", "notify-keyspace-events", "KEAmn"];
            let done = side.control_call(&set).and_then(|_| side.open(LISTENER));
            done.map_err(|e| failed(name, side, &e))?;
        }
        self.subscribe_listener();
        self.observe(LISTENER, &[]).map(|_| ())
    }

    pub(super) fn subscribe_listener(&mut self) {
        let (oracle, candidate) = self.sides();
        for side in [oracle, candidate] {
            let bytes = side.encode(&[crate::cmd!["PSUBSCRIBE", "__key*__:*"]]);
            side.send(LISTENER, &bytes);
        }
    }

    /// Compares what the listener has heard of what the control connection did, which met expired
    /// keys in any order.
    fn observe_listener(&mut self) -> Result<(), String> {
        if self.sides().0.count() <= LISTENER {
            return Ok(());
        }
        self.observe(LISTENER, &[Mask::Unordered])?;
        self.expired.settle()
    }

    fn raw(&mut self, n: usize, pieces: &[Vec<u8>]) -> Result<(), String> {
        let n = n % CLIENTS;
        for piece in pieces {
            let (oracle, candidate) = self.sides();
            oracle.send(n, piece);
            candidate.send(n, piece);
            self.sent = piece.len();
            let seen = self.observe(n, &[])?;
            if seen.theirs.contains(&Event::Closed) {
                break;
            }
        }
        // Raw requests may queue and execute anything; their masks are unknown.
        self.queued[n] = Queued::default();
        Ok(())
    }

    fn scan(&mut self, db: usize, options: &[Vec<u8>]) -> Result<(), String> {
        let (oracle, candidate) = self.sides();
        let theirs = scan_all(oracle, db, options).map_err(|e| failed(REFERENCE, oracle, &e))?;
        let ours =
            scan_all(candidate, db, options).map_err(|e| failed("the candidate", candidate, &e))?;
        if theirs == ours {
            if theirs.is_ok() {
                let words = [&b"SCAN"[..], b"0"].into_iter();
                let words: Vec<&[u8]> = words.chain(options.iter().map(Vec::as_slice)).collect();
                self.coverage.note(&words);
            }
            return self.observe_listener();
        }
        Err(format!("SCAN found\n  Redis:     {theirs:?}\n  candidate: {ours:?}"))
    }

    fn await_gone(&mut self, db: usize, key: &[u8]) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let (oracle, candidate) = self.sides();
        let commands = [select(db), vec![b"PTTL".to_vec(), key.to_vec()]];
        for (name, side) in [(REFERENCE, oracle), ("the candidate", candidate)] {
            loop {
                let replies =
                    side.control_pipeline(&commands).map_err(|e| failed(name, side, &e))?;
                // Gone, or given no lifetime at all: the connection may have lacked a password.
                if !matches!(replies[1], Value::Integer(0..60_000)) {
                    break;
                }
                if Instant::now() > deadline {
                    let key = quoted(key);
                    return Err(format!("{name}: {key} does not expire: {:?}", replies[1]));
                }
            }
        }
        self.observe_listener()
    }

    fn reconnect(&mut self, n: usize) -> Result<(), String> {
        let n = n % CLIENTS;
        self.queued[n] = Queued::default();
        let (oracle, candidate) = self.sides();
        oracle.reconnect(n).map_err(|e| failed(REFERENCE, oracle, &e))?;
        candidate.reconnect(n).map_err(|e| failed("the candidate", candidate, &e))?;
        self.observe(n, &[]).map(|_| ())
    }

    fn compare_state(&mut self) -> Result<(), String> {
        let (oracle, candidate) = self.sides();
        let theirs = state(oracle).map_err(|e| failed(REFERENCE, oracle, &e))?;
        let ours = state(candidate).map_err(|e| failed("the candidate", candidate, &e))?;
        differences(&theirs, &ours, self.killed).map_or(Ok(()), Err)?;
        theirs.encodings().for_each(|name| self.coverage.note_encoding(name));
        self.remove_expired()
    }
}

fn select(db: usize) -> Vec<Vec<u8>> {
    vec![b"SELECT".to_vec(), db.to_string().into_bytes()]
}

fn scan_all(
    side: &mut Side,
    db: usize,
    options: &[Vec<u8>],
) -> io::Result<Result<Vec<Value>, Value>> {
    let mut found = std::collections::BTreeSet::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..100_000 {
        let mut scan = vec![b"SCAN".to_vec(), cursor];
        scan.extend(options.iter().cloned());
        let replies = side.control_pipeline(&[select(db), scan])?;
        let Value::Array(parts) = &replies[1] else { return Ok(Err(replies[1].clone())) };
        let [Value::Bulk(next), Value::Array(keys)] = parts.as_slice() else {
            return Ok(Err(replies[1].clone()));
        };
        found.extend(keys.iter().cloned());
        if next == b"0" {
            return Ok(Ok(found.into_iter().collect()));
        }
        cursor = next.clone();
    }
    Err(io::Error::other("SCAN does not come to an end"))
}

pub(super) fn failed(name: &str, side: &Side, error: &io::Error) -> String {
    let log = side.server.log();
    let assertion = log.lines().find(|line| line.contains(ASSERTION)).unwrap_or_default();
    let tail: Vec<&str> = log.lines().rev().take(30).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    let tail = tail.join("\n");
    format!("{name} failed: {error}; {assertion}\nthe end of its output:\n{tail}")
}
