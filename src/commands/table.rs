//! All families joined into one table, built by the compiler; finding commands in it by name.
//!
//! The hash table is part of the binary: nothing is set up at start, and a lookup is one hash,
//! mostly one probe and one comparison. Names are compared without regard to case, as Redis does.

use std::ops::Deref;

use super::spec::{CommandSpec, cmd};
use super::{
    bitmaps, blocking, client, command, config, connection, databases, debug, expire, geo, hashes,
    hyperloglog, info, keys, lists, lolwut, memory, monitor, object, pubsub, scan, serialized,
    server, sets, shutdown, sort, streams, strings, transactions, zsets,
};

/// The rows of every family. A new family is one line here.
const FAMILIES: &[&[CommandSpec]] = &[
    connection::COMMANDS,
    client::COMMANDS,
    strings::basic::COMMANDS,
    strings::counters::COMMANDS,
    strings::ranges::COMMANDS,
    strings::lcs::COMMANDS,
    bitmaps::COMMANDS,
    hyperloglog::COMMANDS,
    lists::COMMANDS,
    sets::members::COMMANDS,
    sets::operations::COMMANDS,
    sets::random::COMMANDS,
    zsets::COMMANDS,
    geo::COMMANDS,
    hashes::basic::COMMANDS,
    hashes::counters::COMMANDS,
    hashes::random::COMMANDS,
    streams::COMMANDS,
    blocking::COMMANDS,
    sort::COMMANDS,
    serialized::COMMANDS,
    keys::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    object::COMMANDS,
    databases::COMMANDS,
    transactions::COMMANDS,
    pubsub::COMMANDS,
    server::COMMANDS,
    config::COMMANDS,
    command::COMMANDS,
    info::COMMANDS,
    memory::COMMANDS,
    debug::COMMANDS,
    monitor::COMMANDS,
    lolwut::COMMANDS,
    shutdown::COMMANDS,
];

/// A command or subcommand in the joined table: its row, and its place among the others.
#[derive(Debug)]
pub struct Command {
    spec: CommandSpec,
    /// Index in [`all`]; dense, so statistics can be kept in an array. Differs between builds:
    /// never store it where another generation reads it, store [`CommandSpec::full_name`] there.
    pub id: u16,
    /// A number for the full name that is the same in every build ([`by_name_hash`]).
    pub name_hash: u32,
    /// The id of the container, for a subcommand.
    pub parent: Option<u16>,
    children: (u16, u16),
}

impl Deref for Command {
    type Target = CommandSpec;

    fn deref(&self) -> &CommandSpec {
        &self.spec
    }
}

impl Command {
    /// The subcommands of a container, with their ids; empty for every other command.
    pub fn children(&self) -> &'static [Command] {
        &TABLE[usize::from(self.children.0)..usize::from(self.children.1)]
    }

    /// The subcommand of this name, in any case.
    pub fn child(&self, name: &[u8]) -> Option<&'static Command> {
        self.children().iter().find(|child| child.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Commands and subcommands together: containers first among the top level, subcommands behind all
/// of it.
const COUNT: usize = {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            count += 1 + FAMILIES[family][row].subcommands.len();
            row += 1;
        }
        family += 1;
    }
    count
};

/// Commands without subcommands' rows: the first part of the table.
const TOP_LEVEL: usize = {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

const fn unused(handler: super::spec::Handler) -> Command {
    Command { spec: cmd("", 0, handler), id: 0, name_hash: 0, parent: None, children: (0, 0) }
}

static TABLE: [Command; COUNT] = {
    let mut table = [const { unused(super::not_a_command) }; COUNT];
    let (mut next, mut next_child, mut family) = (0, TOP_LEVEL, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let spec = FAMILIES[family][row];
            let first_child = next_child;
            let mut child = 0;
            while child < spec.subcommands.len() {
                table[next_child] = Command {
                    spec: spec.subcommands[child],
                    id: next_child as u16,
                    name_hash: name_hash(spec.subcommands[child].full_name),
                    parent: Some(next as u16),
                    children: (0, 0),
                };
                next_child += 1;
                child += 1;
            }
            let children = (first_child as u16, next_child as u16);
            let name_hash = name_hash(spec.full_name);
            table[next] = Command { spec, id: next as u16, name_hash, parent: None, children };
            next += 1;
            row += 1;
        }
        family += 1;
    }
    table
};

/// Slots of the hash table: a power of two, at least four times the commands, so that nearly all
/// first probes hit.
const SLOTS: usize = (TOP_LEVEL * 4).next_power_of_two();
const EMPTY: u16 = u16::MAX;

/// No command's name is longer; longer words are refused unhashed.
const LONGEST_NAME: usize = 32;

/// A name with its case folded, in two words that can be compared: its first and its last bytes, which are all
/// of them up to 16.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Folded {
    first: u64,
    last: u64,
}

impl Folded {
    /// Case is folded by setting bit 5 of every byte, which makes letters equal to themselves only.
    #[inline(always)]
    const fn of(name: &[u8]) -> Folded {
        const CASE: u64 = 0x2020_2020_2020_2020;
        let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (Folded::short(name), 0),
        };
        Folded { first: first | CASE, last: last | CASE }
    }

    /// Fewer than 8 bytes in a word.
    #[inline(always)]
    const fn short(name: &[u8]) -> u64 {
        if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            return u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32;
        }
        match *name {
            [] => 0,
            [one] => one as u64,
            [one, two] => one as u64 | (two as u64) << 8,
            [one, two, three, ..] => one as u64 | (two as u64) << 8 | (three as u64) << 16,
        }
    }

    #[inline(always)]
    const fn slot(self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(29);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (SLOTS - 1)
    }
}

/// A slot of the hash table.
#[derive(Clone, Copy)]
struct Row {
    name: Folded,
    /// Bytes of the name.
    len: u8,
    /// Whether the folded words do not tell all: then the names themselves are compared.
    inexact: bool,
    /// The command, or [`EMPTY`].
    id: u16,
}

/// Whether a name is as its folded words say and nothing else is.
const fn is_exact(name: &[u8]) -> bool {
    let mut i = 0;
    while i < name.len() && name[i].is_ascii_lowercase() {
        i += 1;
    }
    i == name.len() && name.len() <= 16
}

/// Top-level commands by the hash of their names, with linear probing.
static INDEX: [Row; SLOTS] = {
    let mut index =
        [Row { name: Folded { first: 0, last: 0 }, len: 0, inexact: false, id: EMPTY }; SLOTS];
    let mut id = 0;
    while id < TOP_LEVEL {
        let name = TABLE[id].spec.full_name.as_bytes();
        assert!(name.len() <= LONGEST_NAME, "raise LONGEST_NAME");
        let folded = Folded::of(name);
        let mut slot = folded.slot();
        while index[slot].id != EMPTY {
            slot = (slot + 1) & (SLOTS - 1);
        }
        let (len, inexact) = (name.len() as u8, !is_exact(name));
        index[slot] = Row { name: folded, len, inexact, id: id as u16 };
        id += 1;
    }
    index
};

/// Every command and subcommand; the position is the id.
pub fn all() -> &'static [Command] {
    &TABLE
}

/// Every command without the subcommands, which [`Command::children`] gives.
pub fn top_level() -> &'static [Command] {
    &TABLE[..TOP_LEVEL]
}

/// The command of this name, in any case; a container if it is one.
#[inline]
pub fn command(name: &[u8]) -> Option<&'static Command> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let folded = Folded::of(name);
    let mut slot = folded.slot();
    loop {
        let row = &INDEX[slot];
        if row.id == EMPTY {
            return None;
        }
        if row.name == folded && usize::from(row.len) == name.len() {
            let candidate = &TABLE[usize::from(row.id)];
            let is_it =
                !row.inexact || candidate.spec.full_name.as_bytes().eq_ignore_ascii_case(name);
            if is_it {
                return Some(candidate);
            }
        }
        slot = (slot + 1) & (SLOTS - 1);
    }
}

/// A number for a full name that is the same in every build: what the arena notes as a session's
/// last command.
const fn name_hash(full_name: &str) -> u32 {
    let bytes = full_name.as_bytes();
    let mut hash = 0x811c_9dc5u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

/// The command of a [`Command::name_hash`], if this build has it.
pub fn by_name_hash(hash: u32) -> Option<&'static Command> {
    all().iter().find(|command| command.name_hash == hash)
}

/// What a request's words name.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// A command, or a container's subcommand. A container itself only if nothing follows its name.
    Found(&'static Command),
    /// No such command.
    UnknownCommand,
    /// This container has no such subcommand.
    UnknownSubcommand(&'static Command),
}

/// Finds the command of a request. `subcommand` is the word behind the name, if there is one.
#[inline]
pub fn lookup(name: &[u8], subcommand: Option<&[u8]>) -> Lookup {
    let Some(found) = command(name) else { return Lookup::UnknownCommand };
    match subcommand {
        Some(word) if found.children.0 != found.children.1 => {
            found.child(word).map_or(Lookup::UnknownSubcommand(found), Lookup::Found)
        }
        _ => Lookup::Found(found),
    }
}

/// The command of a full name as `COMMAND INFO` takes it: `get`, `client|list`.
pub fn by_full_name(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => command(name),
        Some(at) => command(&name[..at])?.child(&name[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_name_in_any_case() {
        for entry in all() {
            let upper = entry.full_name.to_ascii_uppercase();
            for name in [entry.full_name, upper.as_str()] {
                assert_eq!(
                    by_full_name(name.as_bytes()).map(|found| found.id),
                    Some(entry.id),
                    "{name}"
                );
            }
            assert_eq!(all()[usize::from(entry.id)].full_name, entry.full_name);
        }
    }

    #[test]
    fn unknown_names_are_told_apart() {
        assert!(matches!(lookup(b"nosuch", None), Lookup::UnknownCommand));
        assert!(matches!(lookup(b"", None), Lookup::UnknownCommand));
        assert!(matches!(lookup(&[b'g'; 100], None), Lookup::UnknownCommand));
        // Names that fold to the words of others: 0x7f to those of `_`, 0x11 to those of `1`.
        for name in [b"sort\x7fro".as_slice(), b"sort-ro", b"se", b"gett", b"GET ", b"hincrbyfloa"]
        {
            assert!(matches!(lookup(name, None), Lookup::UnknownCommand), "{name:?}");
        }
        for entry in all() {
            for at in 0..entry.full_name.len() {
                for byte in 0..=255u8 {
                    let mut name = entry.full_name.as_bytes().to_vec();
                    name[at] = byte;
                    let found = command(&name).map(|found| found.full_name.as_bytes());
                    let there = top_level().iter().map(|it| it.full_name.as_bytes());
                    assert_eq!(found, there.into_iter().find(|it| it.eq_ignore_ascii_case(&name)));
                }
            }
        }
        assert!(
            matches!(lookup(b"gEt", Some(b"x")), Lookup::Found(found) if found.full_name == "get")
        );
        assert!(
            matches!(lookup(b"client", None), Lookup::Found(found) if found.full_name == "client")
        );
        let list = lookup(b"client", Some(b"LIST"));
        assert!(matches!(list, Lookup::Found(found) if found.full_name == "client|list"));
        assert!(matches!(lookup(b"client", Some(b"x")), Lookup::UnknownSubcommand(_)));
    }

    #[test]
    fn arity_is_exact_or_a_minimum() {
        let get = command(b"get").expect("get");
        assert!(!get.arity_allows(1) && get.arity_allows(2) && !get.arity_allows(3));
        let del = command(b"del").expect("del");
        assert!(!del.arity_allows(1) && del.arity_allows(2) && del.arity_allows(300));
    }
}
