//! Sorted sets: every command with every option, in every encoding.
//!
//! Keys are few and members are many, so that values grow beyond the limits, which are small at times;
//! deletions make them small again. Ranges of members mean something only where all scores are equal, so
//! those have keys of their own.

use super::{Gen, usual_steps};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

/// One step or a few.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    if g.percent(2) {
        out.push(Step::Send { client: g.client(), commands: vec![limits(g)] });
    }
    usual_steps(g, out, command);
}

/// Any command on sorted sets.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(40) {
        0..=8 => add(g),
        9 => bulk(g),
        10..=11 => lex_add(g),
        12 => cmd!["ZINCRBY", key(g), score(g), member(g)],
        13..=14 => remove(g),
        15 => remove_range(g),
        16 => question(g),
        17..=22 => range(g),
        23..=24 => lex_range(g),
        25..=26 => pop(g),
        27..=28 => random(g),
        29..=33 => combine(g),
        34 => scan(g),
        35 => input(g),
        36 => cmd!["OBJECT", "ENCODING", key(g)],
        37 => cmd!["DEL", key(g)].vary(Vary::Not),
        38 => cmd!["COPY", key(g), key(g), "REPLACE"],
        _ => question(g),
    }
}

/// Other limits of the listpack encoding.
fn limits(g: &mut Gen) -> Command {
    let (name, value) = match g.choice(5) {
        0..=2 => ("zset-max-listpack-entries", ["0", "3", "10", "128", "300"][g.choice(5)]),
        _ => ("zset-max-listpack-value", ["0", "4", "64", "64"][g.choice(4)]),
    };
    cmd!["CONFIG", "SET", name, value].vary(Vary::Not)
}

fn key(g: &mut Gen) -> Vec<u8> {
    match g.choice(40) {
        0..=15 => b"z:1".to_vec(),
        16..=26 => b"z:2".to_vec(),
        27..=34 => b"z:3".to_vec(),
        35 => b"set:1".to_vec(),
        36 => b"missing".to_vec(),
        _ => g.typed_key(),
    }
}

fn lex_key(g: &mut Gen) -> String {
    format!("lex:{}", 1 + g.choice(3))
}

fn member(g: &mut Gen) -> Vec<u8> {
    match g.choice(24) {
        0 => g.value(),
        1 => g.odd_number(),
        2..=8 => format!("m{}", g.choice(12)).into_bytes(),
        9..=12 => g.rng.within(-30..=30).to_string().into_bytes(),
        13 => vec![b'L'; 60 + g.choice(10)],
        _ => format!("member:{}", g.choice(200)).into_bytes(),
    }
}

fn score(g: &mut Gen) -> Vec<u8> {
    match g.choice(12) {
        0 => g.odd_float(),
        1 => g.float(),
        2 => (*g.rng.pick(&["inf", "-inf", "+inf", "-0", "0"])).into(),
        3 => format!("{}.5", g.rng.within(-8..=8)).into_bytes(),
        4 => format!("{}e{}", g.rng.within(1..=9), g.rng.within(-20..=20)).into_bytes(),
        _ => g.rng.within(-12..=12).to_string().into_bytes(),
    }
}

fn add(g: &mut Gen) -> Command {
    let mut command = cmd!["ZADD", key(g)];
    let mut single = false;
    if g.percent(40) {
        for _ in 0..1 + g.choice(3) {
            let option = g.word(&["NX", "XX", "GT", "LT", "CH", "CH", "INCR"]);
            single |= option.eq_ignore_ascii_case("incr");
            command.push(option);
        }
    }
    let pairs = if single && g.percent(90) { 1 } else { 1 + g.choice(4) };
    for _ in 0..pairs {
        command.push(score(g));
        command.push(member(g));
    }
    command.vary(Vary::Shape)
}

/// Many members at once, in order or not, so that the value becomes large.
fn bulk(g: &mut Gen) -> Command {
    let mut command = cmd!["ZADD", key(g)];
    let (from, step) = (g.rng.within(-50..=50), g.rng.within(-2..=2));
    for i in 0..20 + g.choice(150) as i64 {
        command.push((from + i * step).to_string());
        command.push(format!("member:{}", g.choice(400)));
    }
    command.vary(Vary::Not)
}

fn lex_word(g: &mut Gen) -> Vec<u8> {
    let len = g.choice(4);
    (0..len).map(|_| *g.rng.pick(b"abc\xff\x00m1")).collect()
}

fn lex_add(g: &mut Gen) -> Command {
    let mut command = cmd!["ZADD", lex_key(g)];
    for _ in 0..1 + g.choice(6) {
        command.push("0");
        command.push(lex_word(g));
    }
    command.vary(Vary::Not)
}

fn remove(g: &mut Gen) -> Command {
    let mut command = cmd!["ZREM", key(g), member(g)];
    for _ in 0..g.choice(6) {
        command.push(member(g));
    }
    command
}

fn remove_range(g: &mut Gen) -> Command {
    match g.choice(4) {
        0 => cmd!["ZREMRANGEBYSCORE", key(g), bound(g), bound(g)],
        1 => cmd!["ZREMRANGEBYLEX", lex_key(g), lex_bound(g), lex_bound(g)],
        _ => cmd!["ZREMRANGEBYRANK", key(g), g.index(), g.index()],
    }
}

fn question(g: &mut Gen) -> Command {
    match g.choice(8) {
        0 => cmd!["ZCARD", key(g)],
        1 => cmd!["ZSCORE", key(g), member(g)],
        2 => {
            let mut command = cmd!["ZMSCORE", key(g), member(g)];
            for _ in 0..g.choice(4) {
                command.push(member(g));
            }
            command
        }
        3 => cmd!["ZRANK", key(g), member(g)],
        4 => cmd!["ZREVRANK", key(g), member(g)],
        5 => cmd!["ZLEXCOUNT", lex_key(g), lex_bound(g), lex_bound(g)],
        _ => cmd!["ZCOUNT", key(g), bound(g), bound(g)],
    }
}

fn bound(g: &mut Gen) -> Vec<u8> {
    const INFINITIES: &[&[u8]] = &[b"-inf", b"+inf", b"inf", b"-0", b""];
    let mut bound = if g.percent(30) { b"(".to_vec() } else { Vec::new() };
    match g.choice(10) {
        0 => {
            let &infinity = g.rng.pick(INFINITIES);
            bound.extend_from_slice(infinity);
        }
        1 => bound.extend(g.odd_float()),
        _ => bound.extend(score(g)),
    }
    bound
}

fn lex_bound(g: &mut Gen) -> Vec<u8> {
    match g.choice(10) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => g.bytes_from(&[b"", b"a", b"-x", b"+x", b"[", b"(", b"-\0", b"+\0x"]),
        3..=5 => [&b"("[..], &lex_word(g)].concat(),
        _ => [&b"["[..], &lex_word(g)].concat(),
    }
}

fn limit(g: &mut Gen, command: &mut Command) {
    command.push(g.word(&["LIMIT"]));
    let number = |g: &mut Gen| match g.choice(8) {
        0 => g.odd_number(),
        _ => g.rng.within(-2..=12).to_string().into_bytes(),
    };
    command.push(number(g));
    command.push(number(g));
}

/// Ranges by rank and score, old and new commands.
fn range(g: &mut Gen) -> Command {
    let mut command = match g.choice(9) {
        0..=1 => cmd!["ZRANGE", key(g), g.index(), g.index()],
        2 => cmd!["ZREVRANGE", key(g), g.index(), g.index()],
        3 => cmd!["ZRANGEBYSCORE", key(g), bound(g), bound(g)],
        4 => cmd!["ZREVRANGEBYSCORE", key(g), bound(g), bound(g)],
        5..=6 => cmd!["ZRANGE", key(g), bound(g), bound(g), g.word(&["BYSCORE"])],
        7 => cmd!["ZRANGESTORE", key(g), key(g), g.index(), g.index()],
        _ => cmd!["ZRANGESTORE", key(g), key(g), bound(g), bound(g), g.word(&["BYSCORE"])],
    };
    for _ in 0..g.choice(4) {
        match g.choice(8) {
            0..=2 => limit(g, &mut command),
            3..=4 => {
                command.push(g.word(&["WITHSCORES"]));
            }
            5..=6 => {
                command.push(g.word(&["REV"]));
            }
            _ => {
                command.push(g.word(&["BYSCORE", "BYLEX"]));
            }
        }
    }
    command
}

fn lex_range(g: &mut Gen) -> Command {
    let mut command = match g.choice(4) {
        0 => cmd!["ZRANGEBYLEX", lex_key(g), lex_bound(g), lex_bound(g)],
        1 => cmd!["ZREVRANGEBYLEX", lex_key(g), lex_bound(g), lex_bound(g)],
        2 => cmd!["ZRANGE", lex_key(g), lex_bound(g), lex_bound(g), g.word(&["BYLEX"])],
        _ => {
            let (from, to) = (lex_key(g), lex_key(g));
            cmd!["ZRANGESTORE", to, from, lex_bound(g), lex_bound(g), g.word(&["BYLEX"])]
        }
    };
    for _ in 0..g.choice(3) {
        match g.choice(6) {
            0..=2 => limit(g, &mut command),
            3 => {
                command.push(g.word(&["WITHSCORES"]));
            }
            _ => {
                command.push(g.word(&["REV"]));
            }
        }
    }
    command.vary(Vary::Shape)
}

fn pop(g: &mut Gen) -> Command {
    if g.percent(40) {
        let keys = 1 + g.choice(3);
        let mut command = cmd!["ZMPOP", number_of(g, keys)];
        for _ in 0..keys {
            command.push(key(g));
        }
        command.push(g.word(&["MIN", "MAX"]));
        for _ in 0..g.choice(2) {
            command.push(g.word(&["COUNT"]));
            command.push(g.integer());
        }
        return command;
    }
    let mut command = cmd![["ZPOPMIN", "ZPOPMAX"][g.choice(2)], key(g)];
    if g.percent(60) {
        command.push(g.integer());
    }
    command
}

/// A number of keys, wrong now and then.
fn number_of(g: &mut Gen, keys: usize) -> Vec<u8> {
    if g.percent(6) { g.odd_number() } else { keys.to_string().into_bytes() }
}

/// What is chosen at random can be compared only where there is no choice.
fn random(g: &mut Gen) -> Command {
    let mut command = cmd!["ZRANDMEMBER", key(g)];
    match g.choice(4) {
        0 => return command.mask(Mask::Kind),
        1 => command.push("0"),
        2 => command.push(g.bytes_from(&[b"x", b"", b"-9223372036854775808", b"1.5"])),
        _ => command.push("1000"),
    };
    if g.percent(50) {
        command.push(g.word(&["WITHSCORES"]));
    }
    command.vary(Vary::Not)
}

fn combine(g: &mut Gen) -> Command {
    let keys = 1 + g.choice(4);
    let name =
        ["ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZINTERCARD"]
            [g.choice(7)];
    let mut command = cmd![name];
    if name.ends_with("STORE") {
        command.push(key(g));
    }
    command.push(number_of(g, keys));
    for _ in 0..keys {
        let input = if g.percent(20) { g.bytes_from(&[b"set:1", b"set:2"]) } else { key(g) };
        command.push(input);
    }
    for _ in 0..g.choice(3) {
        match g.choice(6) {
            0..=1 => {
                command.push(g.word(&["WEIGHTS"]));
                for _ in 0..keys {
                    command.push(score(g));
                }
            }
            2..=3 => {
                command.push(g.word(&["AGGREGATE"]));
                command.push(g.word(&["SUM", "MIN", "MAX", "MAX", "NONE"]));
            }
            4 => {
                command.push(g.word(&["WITHSCORES"]));
            }
            _ => {
                command.push(g.word(&["LIMIT"]));
                command.push(g.integer());
            }
        }
    }
    command.vary(Vary::Shape)
}

/// Sets that serve as inputs.
fn input(g: &mut Gen) -> Command {
    let mut command = cmd!["SADD", g.bytes_from(&[b"set:1", b"set:2"])];
    for _ in 0..1 + g.choice(5) {
        command.push(member(g));
    }
    command.vary(Vary::Not)
}

fn scan(g: &mut Gen) -> Command {
    // If the limits are low it is a table, whose order and cursors are the server's own: so there is one
    // member, and a scan that succeeds visits all of it.
    let mut command = cmd!["ZSCAN", "z:small", g.bytes_from(&[b"0", b"0", b"0", b"x", b" 1"])];
    for _ in 0..g.choice(3) {
        if g.percent(50) {
            command.push(g.word(&["MATCH"]));
            command.push(g.pattern());
        } else {
            command.push(g.word(&["COUNT"]));
            command.push(g.bytes_from(&[b"100", b"100000", b"100", b"0", b"-1", b"1x"]));
        }
    }
    if g.percent(40) {
        command = cmd!["ZADD", "z:small", score(g), "m0"];
    }
    command.vary(Vary::Not)
}
