//! Lifetimes: set, read, changed, removed; keys that expire.

use super::{Gen, data_command, usual_steps, vary};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

/// Seconds may pass between the two servers' answers when the machine is busy.
const SECONDS: i64 = 5;
/// The same in milliseconds.
const MILLISECONDS: i64 = SECONDS * 1000;

/// Any command on lifetimes.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(16) {
        0..=1 => expire(g, "EXPIRE"),
        2..=3 => expire(g, "PEXPIRE"),
        4 => expire(g, "EXPIREAT"),
        5 => expire(g, "PEXPIREAT"),
        6..=7 => cmd!["TTL", g.typed_key()].mask(Mask::Near(SECONDS)),
        8..=9 => cmd!["PTTL", g.typed_key()].mask(Mask::Near(MILLISECONDS)),
        10 => cmd!["EXPIRETIME", g.key()].mask(Mask::NearTime(SECONDS)),
        11 => cmd!["PEXPIRETIME", g.key()].mask(Mask::NearTime(MILLISECONDS)),
        12..=13 => cmd!["PERSIST", g.typed_key()],
        _ => {
            let (option, time) = g.lifetime();
            cmd!["SET", g.key(), g.value(), option, time].vary(Vary::Shape)
        }
    }
}

/// Steps with keys that really expire now and then.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    match g.choice(25) {
        0 => expiring(g, out),
        1 => past(g, out),
        2..=8 => {
            let (client, command) = (g.client(), data_command(g));
            out.push(Step::Send { client, commands: vec![vary(g, command)] });
        }
        _ => usual_steps(g, out, command),
    }
}

fn expire(g: &mut Gen, name: &str) -> Command {
    let time = match name {
        "EXPIRE" => g.seconds(),
        "PEXPIRE" => g.milliseconds(),
        "EXPIREAT" => g.unix_seconds(),
        _ => g.unix_milliseconds(),
    };
    let mut command = cmd![name, g.typed_key(), time];
    for _ in 0..g.choice(4) {
        command.push(g.word(&["NX", "XX", "GT", "LT", "NX", "XX", "GT", "LT", "FOO"]));
    }
    command.vary(Vary::Shape)
}

/// A key that lives for some milliseconds, and what others see when it is gone.
fn expiring(g: &mut Gen, out: &mut Vec<Step>) {
    let (client, watcher, key) = (g.client(), g.client(), g.key());
    let life = (1 + g.choice(15)).to_string();
    let select = |client| Step::Send { client, commands: vec![cmd!["SELECT", "0"]] };
    out.push(Step::Send { client, commands: vec![cmd!["DISCARD"]] });
    out.push(Step::Send { client: watcher, commands: vec![cmd!["DISCARD"]] });
    out.push(select(client));
    out.push(select(watcher));
    let set = match g.choice(4) {
        0 => vec![cmd!["SET", key.clone(), "x", "PX", life]],
        1 => vec![cmd!["PSETEX", key.clone(), life, "x"]],
        2 => vec![cmd!["SET", key.clone(), "x"], cmd!["PEXPIRE", key.clone(), life]],
        _ => vec![cmd!["SET", key.clone(), "x"], cmd!["GETEX", key.clone(), "PX", life]],
    };
    // Watched before it has a lifetime: a key that expires by itself leaves the watch clean.
    if g.percent(40) {
        out.push(Step::Send { client: watcher, commands: vec![cmd!["WATCH", key.clone()]] });
    }
    out.push(Step::Send { client, commands: set });
    out.push(Step::AwaitGone { db: 0, key: key.clone() });
    out.push(Step::Send { client: watcher, commands: vec![cmd!["MULTI"]] });
    out.push(Step::Send { client: watcher, commands: vec![cmd!["GET", key.clone()]] });
    out.push(Step::Send { client: watcher, commands: vec![cmd!["EXEC"]] });
    out.push(Step::Send { client, commands: vec![cmd!["TTL", key]] });
    out.push(Step::Send { client, commands: vec![cmd!["DBSIZE"]] });
}

/// A key whose time is past when it is set: it is there until somebody looks.
fn past(g: &mut Gen, out: &mut Vec<Step>) {
    let (client, key) = (g.client(), g.key());
    let set = match g.choice(3) {
        0 => cmd!["SET", key.clone(), "x", "PXAT", "1"],
        1 => cmd!["SET", key.clone(), "x", "EXAT", "1"],
        _ => cmd!["GETEX", key.clone(), "PXAT", "1"],
    };
    out.push(Step::Send { client, commands: vec![set] });
    out.push(Step::Send { client, commands: vec![cmd!["DBSIZE"]] });
    let look = match g.choice(10) {
        0 => cmd!["GET", key],
        1 => cmd!["KEYS", "*"].mask(Mask::Unordered),
        2 => cmd!["RENAME", key, g.key()],
        3 => cmd!["COPY", key, g.key()],
        4 => cmd!["DEL", key],
        5 => cmd!["INCR", key],
        6 => cmd!["SET", key, "y", "NX"],
        7 => cmd!["SET", key, "y", "KEEPTTL"],
        8 => cmd!["OBJECT", "ENCODING", key],
        _ => cmd!["PERSIST", key],
    };
    out.push(Step::Send { client, commands: vec![look] });
    out.push(Step::Send { client, commands: vec![cmd!["DBSIZE"]] });
}
