//! SORT and SORT_RO: every option, over lists, sets and sorted sets, by themselves, by other keys
//! and by fields of hashes.
//!
//! In Redis a sort may fail for a number that was out of range in a command before: it looks into
//! `errno` without clearing it. So each one comes behind a command that does clear it.

use super::{Gen, data_command, usual_steps};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

const KEYS: [&str; 6] = ["sort:list", "sort:list", "sort:set", "sort:zset", "sort:to", "missing"];

fn element(g: &mut Gen) -> Vec<u8> {
    match g.choice(14) {
        0..=8 => g.rng.within(-4..=12).to_string().into_bytes(),
        9 => g.rng.within(-400_000..=400_000).to_string().into_bytes(),
        10 => g.bytes_from(&[
            b"1.5", b"-0", b"0x10", b"1e3", b" 2", b"", b".5", b"inf", b"007", b"5.",
        ]),
        11 => g.bytes_from(&[b"a\0b", b"a\0c", b"1\0x", b"\xff", b"\x7f", b"B", b"b"]),
        _ => format!("t{}", g.choice(8)).into_bytes(),
    }
}

/// An element that is a number, so that sorting succeeds often.
fn number(g: &mut Gen) -> Vec<u8> {
    if g.percent(90) { g.rng.within(-4..=12).to_string().into_bytes() } else { element(g) }
}

fn fill(g: &mut Gen) -> Command {
    let mut command = match g.choice(3) {
        0 => cmd![g.word(&["RPUSH", "LPUSH"]), "sort:list"],
        1 => cmd!["SADD", "sort:set"],
        _ => cmd!["ZADD", "sort:zset"],
    };
    let with_score = command.is("ZADD");
    for _ in 0..1 + g.choice(12) {
        if with_score {
            command.push(g.rng.within(-3..=3).to_string());
        }
        command.push(number(g));
    }
    command.vary(Vary::Not)
}

/// Keys and fields by which elements are sorted, or which are given of them.
fn weight(g: &mut Gen) -> Command {
    let (of, value) = (number(g), element(g));
    let name = |prefix: &str| [prefix.as_bytes(), &of].concat();
    match g.choice(5) {
        0..=1 => cmd!["SET", name("w_"), number(g)].vary(Vary::Not),
        2 => cmd!["SET", name("w_"), value].vary(Vary::Not),
        3 => cmd!["HSET", name("h_"), "f", value].vary(Vary::Not),
        _ => cmd!["LPUSH", name("h_"), "wrong type"].vary(Vary::Not),
    }
}

fn pattern(g: &mut Gen) -> &'static str {
    const PATTERNS: &[&str] = &[
        "w_*",
        "w_*",
        "w_*",
        "h_*->f",
        "h_*->f",
        "h_*->g",
        "#",
        "nosort",
        "*",
        "w_*->",
        "h_*->->f",
        "w*_*",
        "w_1",
        "",
        "h_*->f\0x",
        "w_\0*",
    ];
    let &pattern = g.rng.pick(PATTERNS);
    pattern
}

fn sort(g: &mut Gen) -> Command {
    let name = if g.percent(80) { "SORT" } else { "SORT_RO" };
    let key = *g.rng.pick(&KEYS);
    let key = if g.percent(4) { g.typed_key() } else { key.as_bytes().to_vec() };
    let is_list = matches!(key.as_slice(), b"sort:list" | b"sort:to");
    let is_zset = key == b"sort:zset";
    let mut command = cmd![g.word(&[name]), key];
    let (alpha, by) = (g.percent(40), g.percent(40).then(|| pattern(g)));
    if alpha {
        command.push(g.word(&["ALPHA"]));
    }
    if let Some(pattern) = by {
        command.push(g.word(&["BY"]));
        command.push(pattern);
    }
    let unsorted = by.is_some_and(|by| !by.split('\0').next().unwrap_or_default().contains('*'));
    // Elements that are met in the order of a table: so are the keys that they are sorted by, and
    // those that compare as equal stay in that order.
    let any_order = !(is_list || is_zset && unsorted) && (by.is_some() || alpha);
    let limited = g.percent(30);
    // Which elements are within the limits depends on their order, and so does what is given of them.
    if !(any_order && limited) {
        for _ in 0..g.choice(4) / 2 + g.choice(2) {
            command.push(g.word(&["GET"]));
            command.push(pattern(g));
        }
    }
    if limited {
        command.push(g.word(&["LIMIT"]));
        command.push(g.rng.within(-2..=12).to_string());
        command.push(g.rng.within(-2..=12).to_string());
    }
    if g.percent(50) {
        command.push(g.word(&["DESC", "ASC"]));
    }
    // What is stored must not depend on the order of a table.
    if name == "SORT" && g.percent(25) && !(any_order && by.is_some()) {
        command.push(g.word(&["STORE"]));
        command.push("sort:to");
    }
    if !any_order {
        return command.vary(Vary::Shape);
    }
    let mask = if limited && (alpha || unsorted) { Mask::Kind } else { Mask::Unordered };
    command.mask(mask).vary(Vary::Not)
}

/// `SORT` as it fails, and what `COMMAND` makes of its keys.
fn odd(g: &mut Gen) -> Command {
    g.form(&[
        &["SORT"],
        &["SORT_RO"],
        &["SORT", "sort:list", "LIMIT"],
        &["SORT", "sort:list", "LIMIT", "1"],
        &["SORT", "sort:list", "LIMIT", "a", "1"],
        &["SORT", "sort:list", "LIMIT", "1", ""],
        &["SORT", "sort:list", "LIMIT", "0", "9223372036854775807", "ALPHA"],
        &["SORT", "sort:list", "LIMIT", "9223372036854775807", "1", "ALPHA"],
        &["SORT", "sort:list", "LIMIT", "9223372036854775808", "1"],
        &["SORT", "sort:list", "BY"],
        &["SORT", "sort:list", "GET"],
        &["SORT", "sort:list", "STORE"],
        &["SORT", "sort:list", "FOO"],
        &["SORT", "sort:list", "BY", "nosort", "BY", "w_*"],
        &["SORT", "sort:set", "BY", "nosort", "BY", "w_*", "STORE", "sort:to"],
        &["SORT_RO", "sort:list", "STORE", "sort:to"],
        &["COMMAND", "GETKEYS", "SORT", "a", "STORE", "b"],
        &["COMMAND", "GETKEYS", "SORT", "a", "STORE", "b", "STORE", "c"],
        &["COMMAND", "GETKEYS", "SORT", "a", "BY", "store", "GET", "x", "STORE"],
        &["COMMAND", "GETKEYSANDFLAGS", "SORT", "a", "LIMIT", "store", "1", "store", "d"],
        &["COMMAND", "GETKEYSANDFLAGS", "SORT_RO", "a", "BY", "w_*"],
    ])
}

/// The family's steps: any of its commands.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    let mut steps = Vec::new();
    usual_steps(g, &mut steps, command);
    for step in steps {
        let Step::Send { client, commands } = step else {
            out.push(step);
            continue;
        };
        let sorts = |command: &Command| command.is("SORT") || command.is("SORT_RO");
        let clear = || cmd!["SSCAN", "sort:none", "0"];
        if let [lone] = commands.as_slice()
            && sorts(lone)
        {
            // Not in one write: replies to several commands are compared byte for byte.
            out.push(Step::Send { client, commands: vec![clear()] });
            out.push(Step::Send { client, commands });
            continue;
        }
        let cleared = |command: Command| [sorts(&command).then(clear), Some(command)];
        let commands = commands.into_iter().flat_map(cleared).flatten().collect();
        out.push(Step::Send { client, commands });
    }
}

/// Any of them, and what they work on.
fn command(g: &mut Gen) -> Command {
    match g.choice(30) {
        0..=4 => fill(g),
        5..=9 => weight(g),
        10..=25 => sort(g),
        26 => odd(g),
        27 => cmd!["OBJECT", "ENCODING", *g.rng.pick(&KEYS)],
        28 => cmd!["DEL", *g.rng.pick(&KEYS)].vary(Vary::Not),
        _ => data_command(g),
    }
}
