//! Hashes: every command and option, in every encoding. What Redis chooses at random or gives in no
//! order is compared as far as it is determined.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Mask, Vary};

/// A few keys that are hashes as a rule.
fn key(g: &mut Gen) -> Vec<u8> {
    match g.choice(16) {
        0 => g.typed_key(),
        1 => b"missing".to_vec(),
        n => format!("h:{}", n % 4).into_bytes(),
    }
}

/// One of few fields, so that commands meet; integers and texts, some beyond the limits.
fn field(g: &mut Gen) -> Vec<u8> {
    match g.choice(20) {
        0..=7 => format!("f{}", g.choice(10)).into_bytes(),
        8..=13 => g.rng.within(-8..=8).to_string().into_bytes(),
        14 => g.integer(),
        15 => Vec::new(),
        16 => vec![b'l'; 62 + g.choice(5)],
        17 => g.odd_number(),
        18 => b"\x00\xff\r\n".to_vec(),
        _ => g.value(),
    }
}

fn value(g: &mut Gen) -> Vec<u8> {
    match g.choice(12) {
        0 => vec![b'v'; 62 + g.choice(5)],
        1 => g.odd_number(),
        2 => g.odd_float(),
        3..=6 => g.rng.within(-200..=200).to_string().into_bytes(),
        7 => g.value(),
        8 => g.integer(),
        _ => format!("v{}", g.choice(1000)).into_bytes(),
    }
}

fn set(g: &mut Gen) -> Command {
    let mut command = cmd![*g.rng.pick(&["HSET", "HSET", "HMSET"]), key(g)];
    for _ in 0..1 + g.choice(4) {
        command.push(field(g));
        command.push(value(g));
    }
    if g.percent(4) {
        command.push(field(g));
    }
    command
}

/// Many fields at once, so that a hash goes through all forms.
fn many(g: &mut Gen) -> Command {
    let mut command = cmd![*g.rng.pick(&["HSET", "HMSET"]), key(g)];
    let (first, count) = (g.choice(300), 1 + g.choice(200));
    for number in first..first + count {
        command.push(format!("f{number}"));
        command.push(number.to_string());
    }
    command
}

fn with_fields(g: &mut Gen, mut command: Command) -> Command {
    for _ in 0..1 + g.choice(5) {
        command.push(field(g));
    }
    command
}

/// Any hash command.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(44) {
        0..=7 => set(g),
        8..=9 => many(g),
        10 => cmd!["HSETNX", key(g), field(g), value(g)],
        11..=13 => cmd!["HGET", key(g), field(g)],
        14..=15 => {
            let command = cmd!["HMGET", key(g)];
            with_fields(g, command)
        }
        16..=19 => {
            let command = cmd!["HDEL", key(g)];
            with_fields(g, command)
        }
        20 => delete_many(g),
        21 => cmd!["HEXISTS", key(g), field(g)],
        22 => cmd!["HLEN", key(g)],
        23 => cmd!["HSTRLEN", key(g), field(g)],
        24 => cmd!["HKEYS", key(g)].mask(Mask::Unordered),
        25 => cmd!["HVALS", key(g)].mask(Mask::Unordered),
        26..=27 => cmd!["HGETALL", key(g)].mask(Mask::UnorderedPairs),
        28..=31 => cmd!["HINCRBY", key(g), field(g), g.integer()],
        32..=35 => cmd!["HINCRBYFLOAT", key(g), field(g), g.float()],
        36..=37 => random(g),
        38..=39 => scan(g),
        40 => limit(g),
        41 => cmd!["OBJECT", "ENCODING", key(g)],
        42 => cmd!["COPY", key(g), key(g), "REPLACE"],
        _ => cmd![g.word(&["DEL", "UNLINK", "PERSIST", "TYPE", "EXISTS"]), key(g)],
    }
}

fn delete_many(g: &mut Gen) -> Command {
    let mut command = cmd!["HDEL", key(g)];
    for number in 0..50 + g.choice(500) {
        command.push(format!("f{number}"));
    }
    command
}

fn limit(g: &mut Gen) -> Command {
    let fields =
        ["hash-max-listpack-entries", "hash-max-ziplist-entries", "hash-max-listpack-entries"];
    let (name, most) = if g.percent(60) {
        (*g.rng.pick(&fields), *g.rng.pick(&["0", "1", "4", "16", "128", "512"]))
    } else {
        ("hash-max-listpack-value", *g.rng.pick(&["0", "1", "4", "64", "64", "3000"]))
    };
    cmd!["CONFIG", "SET", name, most].vary(Vary::Not)
}

/// `HRANDFIELD`, where its reply is determined but for which fields it names.
fn random(g: &mut Gen) -> Command {
    let counts = ["0", "1", "3", "-1", "-4", "abc", "", "-9223372036854775808", "+1"];
    match g.choice(6) {
        0 => cmd!["HRANDFIELD", key(g)].mask(Mask::Kind).vary(Vary::Not),
        1 => cmd!["HRANDFIELD", key(g), *g.rng.pick(&counts)].mask(Mask::Kind).vary(Vary::Not),
        2 => {
            let count = *g.rng.pick(&counts);
            cmd!["HRANDFIELD", key(g), count, g.word(&["WITHVALUES"])]
                .mask(Mask::Kind)
                .vary(Vary::Not)
        }
        3 => cmd!["HRANDFIELD", key(g), "100000"].mask(Mask::Unordered).vary(Vary::Not),
        4 => {
            // All of them, with their values: flat in RESP2, in pairs in RESP3.
            let command = cmd!["HRANDFIELD", key(g), "100000", g.word(&["WITHVALUES"])];
            command.mask(Mask::Shuffled).vary(Vary::Not)
        }
        _ => g.form(&[
            &["HRANDFIELD"],
            &["HRANDFIELD", "absent"],
            &["HRANDFIELD", "absent", "5"],
            &["HRANDFIELD", "absent", "x"],
            &["HRANDFIELD", "h:1", "1", "VALUES"],
            &["HRANDFIELD", "h:1", "1", "WITHVALUES", "x"],
            &["HRANDFIELD", "h:1", "4611686018427387904", "WITHVALUES"],
            &["HRANDFIELD", "h:1", "-4611686018427387904", "WITHVALUES"],
            &["HRANDFIELD", "h:1", "-9223372036854775808", "WITHVALUES"],
        ]),
    }
}

/// A whole scan in one step: cursors are the server's own.
fn scan(g: &mut Gen) -> Command {
    if g.percent(25) {
        return g.form(&[
            &["HSCAN", "h:1"],
            &["HSCAN", "h:1", "abc"],
            &["HSCAN", "h:1", "0", "FOO"],
            &["HSCAN", "h:1", "0", "MATCH"],
            &["HSCAN", "h:1", "0", "COUNT", "0"],
            &["HSCAN", "h:1", "0", "COUNT", "-1"],
            &["HSCAN", "h:1", "0", "COUNT", "abc"],
            &["HSCAN", "h:1", "0", "TYPE", "hash"],
            &["HSCAN", "h:1", "0", "NOVALUES"],
            &["HSCAN", "absent", "0", "COUNT", "0"],
            &["HSCAN", "absent", "0", "FOO"],
        ]);
    }
    let mut command = cmd!["HSCAN", key(g), "0", g.word(&["COUNT"]), "100000"];
    if g.percent(50) {
        command.push(g.word(&["MATCH"]));
        command.push(*g.rng.pick(&["*", "f*", "?", "-*", "[0-9]", "f1*", "nothing", "\\f1"]));
    }
    command.mask(Mask::Scan(2)).vary(Vary::Not)
}
