//! Lists: right use with every option, long and short ones, at limits of every kind.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Vary};

/// Any command that works on lists.
pub fn command(g: &mut Gen) -> Command {
    if g.percent(6) {
        return g.make_typed_key();
    }
    match g.choice(48) {
        0..=9 => push(g),
        10..=11 => push_many(g),
        12..=14 => pop(g),
        15..=17 => cmd!["LRANGE", key(g), index(g), index(g)],
        18..=19 => cmd!["LINDEX", key(g), index(g)],
        20 => cmd!["LLEN", key(g)],
        21..=23 => {
            cmd!["LINSERT", key(g), g.word(&["BEFORE", "AFTER"]), element(g), element(g)]
        }
        24..=26 => cmd!["LSET", key(g), index(g), element(g)],
        27 => cmd!["LTRIM", key(g), index(g), index(g)],
        28 => cmd!["LTRIM", key(g), "0", (40 + g.choice(200)).to_string()],
        29..=31 => cmd!["LREM", key(g), g.integer(), element(g)],
        32..=35 => lpos(g),
        36..=38 => lmove(g),
        39 => cmd!["RPOPLPUSH", key(g), key(g)],
        40..=41 => lmpop(g),
        42 => cmd!["OBJECT", "ENCODING", key(g)],
        43 => cmd!["COPY", key(g), key(g), "REPLACE"],
        44 => cmd!["RENAME", key(g), key(g)],
        45 => cmd!["EXPIRE", key(g), g.seconds()].vary(Vary::Shape),
        46 if g.percent(30) => cmd!["DEL", key(g)],
        46 => cmd!["TYPE", key(g)],
        _ => limit(g),
    }
}

/// A key that mostly holds a list.
fn key(g: &mut Gen) -> Vec<u8> {
    match g.choice(20) {
        0 => g.typed_key(),
        1..=2 => b"l:short".to_vec(),
        3..=8 => b"l:1".to_vec(),
        9..=12 => b"l:2".to_vec(),
        13..=17 => b"l:3".to_vec(),
        _ => b"l:none".to_vec(),
    }
}

/// Something to put into a list: often something that is there already.
fn element(g: &mut Gen) -> Vec<u8> {
    match g.choice(16) {
        0..=6 => (*g.rng.pick(&["a", "b", "c", "1", "-5", "300", "70000", "x y"])).into(),
        7..=8 => g.value(),
        9 => g.rng.within(i64::MIN..=i64::MAX).to_string().into_bytes(),
        10 => vec![b'm'; 60 + g.choice(10)],
        11 => vec![b'n'; 120 + g.choice(200)],
        12 if g.percent(20) => vec![b'o'; 3000 + g.choice(9000)],
        _ => format!("element {}", g.choice(30)).into_bytes(),
    }
}

/// An index into a list: near its ends or in its midst.
fn index(g: &mut Gen) -> Vec<u8> {
    match g.choice(10) {
        0 => g.index(),
        1 => b"-1".to_vec(),
        2 => b"0".to_vec(),
        3..=5 => g.rng.within(-40..=40).to_string().into_bytes(),
        _ => g.rng.within(-5..=5).to_string().into_bytes(),
    }
}

fn push(g: &mut Gen) -> Command {
    let name = g.word(&["LPUSH", "RPUSH", "LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
    let mut command = cmd![name, key(g)];
    for _ in 0..1 + g.choice(4) {
        command.push(element(g));
    }
    command
}

/// So many at once that a list gets several nodes.
fn push_many(g: &mut Gen) -> Command {
    let name = g.word(&["LPUSH", "RPUSH"]);
    let mut command = cmd![name, key(g)];
    for _ in 0..20 + g.choice(80) {
        command.push(element(g));
    }
    command
}

fn pop(g: &mut Gen) -> Command {
    let mut command = cmd![g.word(&["LPOP", "RPOP"]), key(g)];
    if g.percent(50) {
        let count = if g.percent(30) { g.integer() } else { g.choice(12).to_string().into_bytes() };
        command.push(count);
    }
    command
}

fn lpos(g: &mut Gen) -> Command {
    let mut command = cmd!["LPOS", key(g), element(g)];
    for _ in 0..g.choice(4) {
        let option = g.word(&["RANK", "COUNT", "MAXLEN"]);
        command.push(option);
        if g.percent(95) {
            let small = g.rng.within(-4..=6).to_string().into_bytes();
            let number = if g.percent(10) { g.integer() } else { small };
            command.push(number);
        }
    }
    command
}

fn side(g: &mut Gen) -> String {
    if g.percent(4) { "MIDDLE".into() } else { g.word(&["LEFT", "RIGHT"]) }
}

fn lmove(g: &mut Gen) -> Command {
    let from = key(g);
    let to = if g.percent(25) { from.clone() } else { key(g) };
    cmd!["LMOVE", from, to, side(g), side(g)]
}

fn lmpop(g: &mut Gen) -> Command {
    let keys = 1 + g.choice(3);
    let told = if g.percent(90) { keys.to_string().into_bytes() } else { g.integer() };
    let mut command = cmd!["LMPOP", told];
    for _ in 0..keys {
        command.push(key(g));
    }
    command.push(side(g));
    for _ in 0..usize::from(g.percent(50)) + usize::from(g.percent(5)) {
        command.push(g.word(&["COUNT"]));
        let count = if g.percent(20) { g.integer() } else { g.choice(8).to_string().into_bytes() };
        command.push(count);
    }
    command
}

/// Another limit of nodes. It is the same for all connections, so that forms change often.
fn limit(g: &mut Gen) -> Command {
    let limits =
        ["-5", "-4", "-3", "-2", "-2", "-1", "-9", "0", "1", "2", "5", "16", "128", "100000"];
    let limit = *g.rng.pick(&limits);
    cmd!["CONFIG", "SET", "list-max-listpack-size", limit].vary(Vary::Not)
}
