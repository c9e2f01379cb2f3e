//! Every command with any number of any arguments, and commands that do not exist.

use super::Gen;
use super::commands::supported_names;
use crate::cmd;
use crate::differential::{Command, Mask, Vary};

/// Commands that are left to their own families: with arbitrary arguments they stop, pause or
/// change the server, subscribe, wait for a while, answer at length, choose at random or go by the
/// order of a hash table.
const DANGEROUS: [&str; 26] = [
    "shutdown",
    "debug",
    "client",
    "config",
    "monitor",
    "scan",
    "hscan",
    "sscan",
    "zscan",
    "spop",
    "migrate",
    "lcs",
    "info",
    "quit",
    "hello",
    "auth",
    "command",
    "blpop",
    "brpop",
    "blmove",
    "brpoplpush",
    "blmpop",
    "bzpopmin",
    "bzpopmax",
    "bzmpop",
    "wait",
];

/// Any command with arguments that fit by chance.
pub fn command(g: &mut Gen) -> Command {
    if g.percent(20) {
        return unknown(g);
    }
    let name = loop {
        let name = g.rng.pick(supported_names()).as_str();
        if !DANGEROUS.contains(&name) && !name.contains('|') {
            break name;
        }
    };
    let mut command = cmd![g.word(&[&name.to_uppercase()])];
    for _ in 0..g.choice(6) {
        command.push(argument(g));
    }
    command.mask(mask_of(name)).vary(Vary::Not)
}

/// Arguments; as lifetimes they are over, long or invalid.
fn argument(g: &mut Gen) -> Vec<u8> {
    match g.choice(4) {
        0..=1 => g.key(),
        2 => {
            let from = [
                "0",
                "-1",
                "100000",
                "abc",
                "",
                "1.5",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775808",
                "inf",
            ];
            g.rng.pick(&from).as_bytes().to_vec()
        }
        _ => g
            .word(&[
                "NX", "XX", "GT", "EX", "GET", "SET", "u8", "AND", "NOT", "REPLACE", "DB",
                "ENCODING", "USAGE", "NUMSUB", "ASYNC", "BYTE", "KEEPTTL", "PERSIST", "OVERFLOW",
            ])
            .into_bytes(),
    }
}

/// What the replies to a command have in common on two servers, whatever its arguments.
fn mask_of(name: &str) -> Mask {
    match name {
        "ttl" => Mask::Near(5),
        "pttl" => Mask::Near(5000),
        "expiretime" => Mask::NearTime(5),
        "pexpiretime" => Mask::NearTime(5000),
        "keys" | "pubsub" | "smembers" | "sinter" | "sunion" | "sdiff" | "hkeys" | "hvals" => {
            Mask::Unordered
        }
        "hgetall" => Mask::UnorderedPairs,
        "randomkey" => Mask::RandomKey,
        "time" | "lolwut" | "memory" | "dump" | "srandmember" | "hrandfield" | "zrandmember" => {
            Mask::Kind
        }
        "unsubscribe" | "punsubscribe" | "sunsubscribe" => Mask::Unsubscribed,
        _ => Mask::Exact,
    }
}

/// A command that does not exist: the error quotes it and its arguments, within limits.
pub fn unknown(g: &mut Gen) -> Command {
    let names: [&[u8]; 9] = [
        b"NOSUCH",
        b"",
        b"get ",
        b"GETT",
        b"\x00\xff",
        b"foo\r\nbar",
        b"a'b\"c",
        b"client|id",
        b"nosuch|sub",
    ];
    let name = match g.choice(10) {
        0 => vec![b'n'; 100 + g.choice(100)],
        _ => g.rng.pick(&names).to_vec(),
    };
    let mut command = cmd![name];
    for _ in 0..g.choice(5) {
        let argument = if g.percent(20) { vec![b'q'; g.choice(150)] } else { g.value() };
        command.push(argument);
    }
    command.vary(Vary::Not)
}
