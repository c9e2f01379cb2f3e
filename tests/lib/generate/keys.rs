//! Commands on keys of any type, and on whole databases.

use super::{Gen, data_command, usual_steps, vary};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

/// Any command on keys or databases, without lifetimes.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(30) {
        0 => several(g, "DEL"),
        1 => several(g, "UNLINK"),
        2 => several(g, "EXISTS"),
        3 => several(g, "TOUCH"),
        4..=5 => cmd!["TYPE", g.typed_key()],
        6 => cmd!["KEYS", g.pattern()].mask(Mask::Unordered),
        7 => cmd!["RANDOMKEY"].mask(Mask::RandomKey).vary(Vary::Not),
        8..=10 => cmd!["RENAME", g.typed_key(), g.key()],
        11..=12 => cmd!["RENAMENX", g.typed_key(), g.key()],
        13..=14 => cmd!["MOVE", g.typed_key(), g.db()],
        15..=17 => copy(g),
        18..=20 => object(g),
        21..=22 => cmd!["DBSIZE"],
        23 => flush(g, "FLUSHDB"),
        24 => flush(g, "FLUSHALL"),
        25 => cmd!["SWAPDB", g.db(), g.db()],
        26..=27 => cmd!["SELECT", g.db()],
        28 => scan(g),
        _ => cmd!["PERSIST", g.key()],
    }
}

/// Steps with a whole SCAN now and then.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    match g.choice(20) {
        0 => {
            let options = scan_options(g);
            out.push(Step::Scan { db: g.choice(3), options });
        }
        1..=7 => {
            let (client, command) = (g.client(), data_command(g));
            out.push(Step::Send { client, commands: vec![vary(g, command)] });
        }
        _ => usual_steps(g, out, command),
    }
}

fn several(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name, g.typed_key()];
    for _ in 0..g.choice(3) {
        command.push(g.key());
    }
    command
}

fn copy(g: &mut Gen) -> Command {
    let mut command = cmd!["COPY", g.typed_key(), g.key()];
    for _ in 0..g.choice(3) {
        if g.percent(50) {
            command.push(g.word(&["REPLACE"]));
        } else {
            command.push(g.word(&["DB"]));
            if g.percent(95) {
                command.push(g.db());
            }
        }
    }
    command
}

fn object(g: &mut Gen) -> Command {
    let (key, name) = (g.typed_key(), g.word(&["OBJECT"]));
    match g.choice(8) {
        0..=2 => cmd![name, g.word(&["ENCODING"]), key],
        // Of a string that was set in the same EXEC, Redis counts the queued command's reference too.
        3 => cmd![name, g.word(&["REFCOUNT"]), "geo:1"].vary(Vary::Not),
        // Seconds since the last access.
        4 => cmd![name, g.word(&["IDLETIME"]), key].mask(Mask::Near(20)),
        5 => cmd![name, g.word(&["FREQ"]), key],
        6 => cmd![name, g.word(&["HELP"])],
        _ => cmd![name, "FOO", key],
    }
}

fn flush(g: &mut Gen, name: &str) -> Command {
    match g.choice(4) {
        0 => cmd![name, g.word(&["ASYNC"])],
        1 => cmd![name, g.word(&["SYNC"])],
        2 => cmd![name, "FOO"],
        _ => cmd![name],
    }
}

/// Options with which SCAN succeeds.
fn scan_options(g: &mut Gen) -> Vec<Vec<u8>> {
    let mut options: Vec<Vec<u8>> = Vec::new();
    if g.percent(40) {
        options.extend([b"MATCH".to_vec(), g.pattern()]);
    }
    if g.percent(40) {
        let count = *g.rng.pick(&["1", "2", "10", "1000", "9223372036854775807"]);
        options.extend([b"count".to_vec(), count.as_bytes().to_vec()]);
    }
    if g.percent(30) {
        let kinds =
            ["string", "list", "STRING", "set", "hash", "zset", "stream", "none", "nothing"];
        let kind = *g.rng.pick(&kinds);
        options.extend([b"TYPE".to_vec(), kind.as_bytes().to_vec()]);
    }
    options
}

/// SCAN as it must not be called: where it succeeds, cursors and order are the server's own.
fn scan(g: &mut Gen) -> Command {
    let wrong: [&[&str]; 10] = [
        &["SCAN"],
        &["SCAN", "abc"],
        &["SCAN", "0", "FOO"],
        &["SCAN", "0", "MATCH"],
        &["SCAN", "0", "COUNT"],
        &["SCAN", "0", "COUNT", "0"],
        &["SCAN", "0", "COUNT", "-5"],
        &["SCAN", "0", "COUNT", "abc"],
        &["SCAN", "0", "TYPE"],
        &["SCAN", "99999999999999999999999"],
    ];
    g.form(&wrong)
}
