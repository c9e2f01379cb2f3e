//! Random episodes for the differential test: one file per command family.
//!
//! A family's `command` makes one command; this file damages some of them, puts them into
//! pipelines, transactions and inline form, spreads them over the connections and adds the
//! comparisons of the whole state.
//!
//! Rules that keep an episode independent of time: a key either expires never, in more than a
//! minute, or at once with [`Step::AwaitGone`] behind it; nothing pauses or stops a server.

pub mod arity;
pub mod bitmaps;
pub mod blocking;
pub mod clients;
pub mod commands;
pub mod connection;
pub mod dump;
pub mod expiry;
pub mod geo;
pub mod hashes;
pub mod hyperloglog;
pub mod keys;
pub mod limits;
pub mod lists;
pub mod protocol;
pub mod pubsub;
pub mod server;
pub mod sets;
pub mod sort;
pub mod streams;
pub mod strings;
pub mod transactions;
pub mod words;
pub mod zsets;

use std::fmt;
use std::str::FromStr;

use crate::cmd;
use crate::differential::{Arg, Command, Mask, Step, Vary};
use crate::rng::Rng;

pub use commands::supported;

/// Connections of an episode, so that WATCH, MULTI and publish/subscribe meet others.
pub const CLIENTS: usize = 3;

/// What the episode is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// SET, GET, INCR, LCS and the like.
    Strings,
    /// SETBIT, BITFIELD and the like.
    Bitmaps,
    /// LPUSH, LRANGE, LPOS and the like.
    Lists,
    /// HSET, HINCRBY, HSCAN and the like.
    Hashes,
    /// SADD, SINTER, SPOP and the like.
    Sets,
    /// GEOADD, GEOSEARCH and the like.
    Geo,
    /// SORT and SORT_RO.
    Sort,
    /// PFADD, PFCOUNT, PFMERGE and what they make of other strings.
    HyperLogLogs,
    /// XADD, XREADGROUP and the like.
    Streams,
    /// DEL, RENAME, COPY, SCAN, OBJECT and the like, over several databases.
    Keys,
    /// ZADD, ZRANGE, ZUNION and the like.
    Zsets,
    /// EXPIRE, TTL, SET EX and the like.
    Expiry,
    /// MULTI, EXEC, WATCH.
    Transactions,
    /// SUBSCRIBE, PUBLISH and the like.
    PubSub,
    /// HELLO, AUTH, SELECT, RESET, QUIT.
    Connection,
    /// CLIENT and its subcommands.
    Clients,
    /// INFO, CONFIG, DEBUG, MEMORY and the like.
    Server,
    /// COMMAND and its subcommands.
    Commands,
    /// Every command with any number of any arguments; unknown commands.
    Arity,
    /// Inline commands, broken frames, requests cut into pieces.
    Protocol,
    /// BLPOP, XREAD BLOCK, WAIT and the like, and what ends their waiting.
    Blocking,
    /// Values at the limit of `proto-max-bulk-len`.
    Limits,
    /// DUMP, RESTORE, DEBUG DIGEST-VALUE.
    Dump,
    /// All of them.
    Mixed,
}

/// All families, with their names.
pub const FAMILIES: [(Family, &str); 24] = [
    (Family::Strings, "strings"),
    (Family::Bitmaps, "bitmaps"),
    (Family::Lists, "lists"),
    (Family::Hashes, "hashes"),
    (Family::Sets, "sets"),
    (Family::Geo, "geo"),
    (Family::Sort, "sort"),
    (Family::HyperLogLogs, "hyperloglogs"),
    (Family::Streams, "streams"),
    (Family::Zsets, "zsets"),
    (Family::Keys, "keys"),
    (Family::Expiry, "expiry"),
    (Family::Transactions, "transactions"),
    (Family::PubSub, "pubsub"),
    (Family::Connection, "connection"),
    (Family::Clients, "clients"),
    (Family::Server, "server"),
    (Family::Commands, "commands"),
    (Family::Arity, "arity"),
    (Family::Protocol, "protocol"),
    (Family::Blocking, "blocking"),
    (Family::Limits, "limits"),
    (Family::Dump, "dump"),
    (Family::Mixed, "mixed"),
];

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAMILIES.iter().find(|(family, _)| family == self).map(|(_, name)| *name);
        f.write_str(name.unwrap_or("unnamed"))
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = FAMILIES.iter().find(|(_, name)| *name == text);
        found.map(|(family, _)| *family).ok_or_else(|| {
            let names: Vec<&str> = FAMILIES.iter().map(|(_, name)| *name).collect();
            format!("no family {text:?}; there are: {}", names.join(", "))
        })
    }
}

/// The source of all choices of an episode.
#[derive(Debug)]
pub struct Gen {
    /// Randomness.
    pub rng: Rng,
    /// Whether commands are left as they were made: none is damaged by [`vary`].
    pub sound: bool,
}

impl Gen {
    /// A generator whose choices follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), sound: false }
    }

    /// One of these words, in any case.
    pub fn word(&mut self, from: &[&str]) -> String {
        let word = (*self.rng.pick(from)).to_owned();
        match self.rng.below(4) {
            0 => word.to_lowercase(),
            1 => word
                .chars()
                .map(|c| if self.rng.percent(50) { c.to_ascii_lowercase() } else { c })
                .collect(),
            _ => word,
        }
    }

    /// One of these commands as it stands: damaged, it might do harm.
    pub fn form(&mut self, forms: &[&[&str]]) -> Command {
        let words = *self.rng.pick(forms);
        Command::new(words.iter().map(|w| Arg::from(*w)).collect()).vary(Vary::Not)
    }

    /// One of these byte strings.
    pub fn bytes_from(&mut self, from: &[&[u8]]) -> Vec<u8> {
        self.rng.pick(from).to_vec()
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.rng.percent(percent)
    }

    /// One of the alternatives' numbers, below `count`.
    pub fn choice(&mut self, count: usize) -> usize {
        self.rng.below(count)
    }

    /// Any connection.
    pub fn client(&mut self) -> usize {
        self.rng.below(CLIENTS)
    }
}

/// Makes an episode of about `steps` steps.
pub fn episode(family: Family, seed: u64, steps: usize) -> Vec<Step> {
    episode_from(&mut generator(family, seed), family, steps)
}

/// The generator of an episode.
pub fn generator(family: Family, seed: u64) -> Gen {
    // Families with the same seed shall not see the same choices.
    let salt = FAMILIES.iter().position(|(f, _)| *f == family).unwrap_or(0) as u64;
    Gen::new(seed.wrapping_mul(31).wrapping_add(salt))
}

/// As [`episode`], from a generator.
pub fn episode_from(g: &mut Gen, family: Family, steps: usize) -> Vec<Step> {
    let mut out = Vec::with_capacity(steps + 16);
    if g.percent(50) {
        out.push(Step::Listen);
    }
    for client in 0..CLIENTS {
        if g.percent(50) {
            let hello = cmd!["HELLO", "3"].mask(Mask::Hello);
            out.push(Step::Send { client, commands: vec![hello] });
        }
    }
    let mut since_compared = 0;
    while out.len() < steps {
        let before = out.len();
        family_steps(family, g, &mut out);
        since_compared += out.len() - before;
        if since_compared > 60 {
            since_compared = 0;
            out.push(Step::CompareState);
        }
    }
    out.push(Step::CompareState);
    out
}

/// Adds the next step or few.
fn family_steps(family: Family, g: &mut Gen, out: &mut Vec<Step>) {
    match family {
        Family::Hashes => usual_steps(g, out, hashes::command),
        Family::Sets => sets::steps(g, out),
        Family::Sort => sort::steps(g, out),
        Family::Streams => streams::steps(g, out),
        Family::Keys => keys::steps(g, out),
        Family::Zsets => zsets::steps(g, out),
        Family::Expiry => expiry::steps(g, out),
        Family::Transactions => transactions::steps(g, out),
        Family::PubSub => pubsub::steps(g, out),
        Family::Connection => connection::steps(g, out),
        Family::Clients => clients::steps(g, out),
        Family::Protocol => protocol::steps(g, out),
        Family::Blocking => blocking::steps(g, out),
        Family::Limits => limits::steps(g, out),
        Family::Dump => dump::steps(g, out),
        Family::Mixed => {
            // Limits changes settings that the others rely on, Dump relies on those that the others
            // change, and what waits would stop them; they stay apart.
            let family = FAMILIES[g.choice(FAMILIES.len() - 4)].0;
            family_steps(family, g, out);
        }
        Family::Strings
        | Family::Bitmaps
        | Family::Lists
        | Family::Geo
        | Family::HyperLogLogs
        | Family::Server
        | Family::Commands
        | Family::Arity => {
            usual_steps(g, out, |g| match family {
                Family::Strings => strings::command(g),
                Family::Bitmaps => bitmaps::command(g),
                Family::Lists => lists::command(g),
                Family::Geo => geo::command(g),
                Family::HyperLogLogs => hyperloglog::command(g),
                Family::Server => server::command(g),
                Family::Commands => commands::command(g),
                _ => arity::command(g),
            });
        }
    }
}

/// A command of any family that reads or writes keys.
pub fn data_command(g: &mut Gen) -> Command {
    match g.choice(10) {
        0..=4 => strings::command(g),
        5..=6 => bitmaps::command(g),
        7..=8 => keys::command(g),
        _ => expiry::command(g),
    }
}

/// One step, or a few that belong together, of commands from `make`.
pub fn usual_steps(g: &mut Gen, out: &mut Vec<Step>, mut make: impl FnMut(&mut Gen) -> Command) {
    let client = g.client();
    match g.choice(20) {
        0..=2 => pipeline(g, out, client, &mut make),
        3 => {
            out.push(Step::Send { client, commands: vec![cmd!["MULTI"]] });
            for _ in 0..1 + g.choice(4) {
                let command = make(g);
                out.push(Step::Send { client, commands: vec![vary(g, command)] });
            }
            let end = if g.percent(85) { cmd!["EXEC"] } else { cmd!["DISCARD"] };
            out.push(Step::Send { client, commands: vec![end] });
        }
        4 => {
            let command = data_command(g);
            out.push(Step::Send { client, commands: vec![vary(g, command)] });
        }
        _ => {
            let command = make(g);
            out.push(Step::Send { client, commands: vec![vary(g, command)] });
        }
    }
}

/// Several commands in one write. Only those with equal replies: where a command has several
/// replies or none, which belongs to which could not be told.
fn pipeline(
    g: &mut Gen,
    out: &mut Vec<Step>,
    client: usize,
    make: &mut impl FnMut(&mut Gen) -> Command,
) {
    let mut commands = Vec::new();
    for _ in 0..2 + g.choice(6) {
        let command = make(g);
        if command.mask == Mask::Exact && command.vary != Vary::Not {
            commands.push(vary(g, command));
        }
    }
    if !commands.is_empty() {
        out.push(Step::Send { client, commands });
    }
}

/// Damages some commands: every command gets its share of wrong arities and odd arguments.
pub fn vary(g: &mut Gen, mut command: Command) -> Command {
    if g.sound || command.vary == Vary::Not || !g.percent(12) {
        return command;
    }
    if g.percent(15)
        && let Some(Arg::Bytes(name)) = command.args.first_mut()
    {
        *name = g.word(&[&String::from_utf8_lossy(name)]).into_bytes();
        return command;
    }
    let len = command.args.len();
    let at = if len > 1 { 1 + g.choice(len - 1) } else { 1 };
    match g.choice(if command.vary == Vary::Freely { 6 } else { 3 }) {
        0 if len > 1 => {
            command.args.pop();
        }
        1 => {
            let extra = g.word(&["x", "0", "-1", "NX", "GET", "", "KEEPTTL", "LIMIT"]);
            command.args.push(extra.into());
        }
        2 if len > 1 => {
            let repeated = command.args[at].clone();
            command.args.insert(at, repeated);
        }
        3 | 4 if len > 1 => command.args[at] = g.odd_number().into(),
        5 if len > 1 => command.args[at] = g.odd_float().into(),
        _ => {}
    }
    command
}
