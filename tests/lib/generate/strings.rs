//! Strings: right use with every option, and what the options do to each other.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Vary};

/// Any string command.
pub fn command(g: &mut Gen) -> Command {
    if g.percent(10) {
        return g.make_typed_key();
    }
    match g.choice(32) {
        0..=5 => set(g),
        6..=8 => cmd!["GET", g.typed_key()],
        9 => cmd!["GETSET", g.typed_key(), g.value()],
        10 => cmd!["GETDEL", g.typed_key()],
        11 => getex(g),
        12 => cmd!["GETRANGE", g.typed_key(), g.index(), g.index()],
        13 => cmd!["SUBSTR", g.key(), g.index(), g.index()],
        14 => cmd!["SETRANGE", g.typed_key(), g.index(), g.value()],
        15 => cmd!["SETNX", g.key(), g.value()],
        16 => cmd!["SETEX", g.key(), g.seconds(), g.value()].vary(Vary::Shape),
        17 => cmd!["PSETEX", g.key(), g.milliseconds(), g.value()].vary(Vary::Shape),
        18 => many(g, "MSET"),
        19 => many(g, "MSETNX"),
        20 => {
            let mut command = cmd!["MGET", g.typed_key()];
            for _ in 0..g.choice(4) {
                command.push(g.typed_key());
            }
            command
        }
        21 => cmd!["APPEND", g.typed_key(), g.value()],
        22 => cmd!["STRLEN", g.typed_key()],
        23 => cmd!["INCR", g.typed_key()],
        24 => cmd!["DECR", g.key()],
        25 => cmd!["INCRBY", g.key(), g.integer()],
        26 => cmd!["DECRBY", g.key(), g.integer()],
        27..=28 => cmd!["INCRBYFLOAT", g.key(), g.float()],
        // Numbers that later increments carry over the edge or print in another way.
        29 => {
            let number = if g.percent(50) { g.odd_number() } else { g.odd_float() };
            cmd!["SET", g.key(), number].vary(Vary::Shape)
        }
        30 => lcs_text(g),
        _ => lcs(g),
    }
}

fn set(g: &mut Gen) -> Command {
    let mut command = cmd!["SET", g.typed_key(), g.value()];
    if g.percent(50) {
        return command;
    }
    for _ in 0..1 + g.choice(3) {
        match g.choice(5) {
            0 => command.push(g.word(&["NX"])),
            1 => command.push(g.word(&["XX"])),
            2 => command.push(g.word(&["GET"])),
            3 => command.push(g.word(&["KEEPTTL"])),
            _ => {
                let (option, time) = g.lifetime();
                command.push(g.word(&[option]));
                if g.percent(95) { command.push(time) } else { &mut command }
            }
        };
    }
    command.vary(Vary::Shape)
}

fn getex(g: &mut Gen) -> Command {
    let mut command = cmd!["GETEX", g.typed_key()];
    for _ in 0..g.choice(3) {
        if g.percent(25) {
            command.push(g.word(&["PERSIST"]));
        } else {
            let (option, time) = g.lifetime();
            command.push(g.word(&[option]));
            command.push(time);
        }
    }
    command.vary(Vary::Shape)
}

fn many(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name];
    for _ in 0..1 + g.choice(4) {
        command.push(g.key());
        command.push(g.value());
    }
    if g.percent(8) {
        command.push(g.key());
    }
    command
}

/// LCS takes time and space with the product of the lengths: it has keys of its own, which only
/// this sets.
fn lcs_text(g: &mut Gen) -> Command {
    let len = g.choice(40);
    let text: Vec<u8> = (0..len).map(|_| *g.rng.pick(b"abcdx")).collect();
    let key = g.word(&["LCS:A", "LCS:B"]).to_uppercase();
    cmd!["SET", key, text].vary(Vary::Not)
}

fn lcs(g: &mut Gen) -> Command {
    let keys = ["LCS:A", "LCS:B", "missing"];
    let mut command = cmd!["LCS", *g.rng.pick(&keys), *g.rng.pick(&keys)];
    for _ in 0..g.choice(4) {
        match g.choice(5) {
            0 => command.push(g.word(&["LEN"])),
            1 | 2 => command.push(g.word(&["IDX"])),
            3 => command.push(g.word(&["WITHMATCHLEN"])),
            _ => {
                command.push(g.word(&["MINMATCHLEN"]));
                if g.percent(90) { command.push(g.integer()) } else { &mut command }
            }
        };
    }
    command
}
