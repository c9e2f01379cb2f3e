//! Commands that wait: several clients on the same keys, and one that feeds them.
//!
//! No time-out runs out while an episode lasts: the servers look at them at different times. Who is to
//! be let go is fed, unblocked, or connects anew.

use super::{CLIENTS, Gen, usual_steps, vary};
use crate::cmd;
use crate::differential::{Arg, Command, Mask, Step, Vary};

/// The connection that feeds the others; it blocks by mistake only, in a `MULTI`.
const FEEDER: usize = CLIENTS - 1;

fn list(g: &mut Gen) -> Vec<u8> {
    g.bytes_from(&[b"list:1", b"list:2", b"list:3", b"any"])
}

fn zset(g: &mut Gen) -> Vec<u8> {
    g.bytes_from(&[b"zset:1", b"zset:2", b"any"])
}

fn stream(g: &mut Gen) -> Vec<u8> {
    g.bytes_from(&[b"stream:1", b"stream:2", b"any"])
}

fn key(g: &mut Gen) -> Vec<u8> {
    match g.choice(3) {
        0 => list(g),
        1 => zset(g),
        _ => stream(g),
    }
}

/// For ever, for long, or not at all.
fn seconds(g: &mut Gen) -> &'static str {
    const WORDS: &[&str] = &["0", "0", "0.0", "1000", "1e3", "-1", "x", "", "inf", "1e300", "nan"];
    let &word = g.rng.pick(WORDS);
    word
}

fn milliseconds(g: &mut Gen) -> &'static str {
    const WORDS: &[&str] = &["0", "0", "0", "1000000", "9223372036854775807", "-1", "x", "0.5"];
    let &word = g.rng.pick(WORDS);
    word
}

fn side(g: &mut Gen) -> String {
    g.word(&["LEFT", "RIGHT"])
}

fn end(g: &mut Gen) -> String {
    g.word(&["MIN", "MAX"])
}

fn several(
    g: &mut Gen,
    name: &str,
    from: fn(&mut Gen) -> Vec<u8>,
    which: fn(&mut Gen) -> String,
) -> Command {
    let mut command = cmd![name, seconds(g)];
    let keys = 1 + g.choice(3);
    command.push(keys as i64);
    (0..keys).for_each(|_| {
        let key = from(g);
        command.push(key);
    });
    let which = which(g);
    command.push(which);
    if g.percent(50) {
        command.push(g.word(&["COUNT"])).push(1 + g.choice(3) as i64);
    }
    command
}

fn of_keys(g: &mut Gen, name: &str, from: fn(&mut Gen) -> Vec<u8>) -> Command {
    let mut command = cmd![name];
    for _ in 0..1 + g.choice(3) {
        let key = from(g);
        command.push(key);
    }
    command.push(seconds(g));
    command
}

fn read(g: &mut Gen) -> Command {
    let group = g.percent(50);
    let mut command = if group {
        cmd!["XREADGROUP", "GROUP", *g.rng.pick(&["g", "g", "h"]), *g.rng.pick(&["a", "b"])]
    } else {
        cmd!["XREAD"]
    };
    if g.percent(40) {
        command.push("COUNT").push(g.choice(3) as i64);
    }
    command.push("BLOCK").push(milliseconds(g));
    if group && g.percent(20) {
        command.push("NOACK");
    }
    command.push("STREAMS");
    let count = 1 + g.choice(2);
    for _ in 0..count {
        let stream = stream(g);
        command.push(stream);
    }
    for _ in 0..count {
        let ids: &[&str] = if group { &[">", ">", "0", "$"] } else { &["$", "$", "0", "5-0", ">"] };
        command.push(*g.rng.pick(ids));
    }
    command
}

/// A command that may wait.
pub fn command(g: &mut Gen) -> Command {
    let command = match g.choice(16) {
        0..=2 => of_keys(g, "BLPOP", list),
        3 => of_keys(g, "BRPOP", list),
        4..=5 => cmd!["BLMOVE", list(g), list(g), side(g), side(g), seconds(g)],
        6 => cmd!["BRPOPLPUSH", list(g), list(g), seconds(g)],
        7..=8 => several(g, "BLMPOP", list, side),
        9..=10 => {
            let name = *g.rng.pick(&["BZPOPMIN", "BZPOPMAX"]);
            of_keys(g, name, zset)
        }
        11 => several(g, "BZMPOP", zset, end),
        12 => cmd!["WAIT", *g.rng.pick(&["0", "1", "-1", "x"]), milliseconds(g)],
        _ => read(g),
    };
    // A number put in the place of a time-out could be one that runs out.
    command.vary(Vary::Not)
}

/// A command that may give others what they wait for, or take it from them.
fn feed(g: &mut Gen) -> Command {
    match g.choice(24) {
        0..=3 => {
            let mut command = cmd![g.word(&["LPUSH", "RPUSH"]), list(g)];
            (0..1 + g.choice(4)).for_each(|_| {
                let value = g.value();
                command.push(value);
            });
            command
        }
        4..=6 => {
            let mut command = cmd!["ZADD", zset(g)];
            for member in ["a", "b", "c"].iter().take(1 + g.choice(3)) {
                command.push(g.choice(9) as i64).push(*member);
            }
            command
        }
        7..=9 => {
            let id = *g.rng.pick(&["1-1", "5-1", "9-*", "1000-*", "2000-*"]);
            cmd!["XADD", stream(g), id, "field", "value"]
        }
        10 => cmd!["XGROUP", "CREATE", stream(g), *g.rng.pick(&["g", "h"]), "$", "MKSTREAM"],
        11 => cmd!["XGROUP", "DESTROY", stream(g), *g.rng.pick(&["g", "h"])],
        12 => cmd!["DEL", key(g)],
        13 => cmd!["SET", key(g), "string"],
        14 => cmd!["RENAME", key(g), key(g)],
        15 => cmd!["COPY", key(g), key(g), "REPLACE"],
        16 => cmd!["MOVE", key(g), "1"],
        // Not SWAPDB: where it fills several keys, Redis serves them in the order of a hash table.
        17 => cmd!["UNLINK", key(g)],
        18 => cmd!["SORT", list(g), "ALPHA", "STORE", list(g)],
        19 => cmd!["ZUNIONSTORE", zset(g), "1", zset(g)],
        20 => cmd!["FLUSHALL"],
        21 => cmd!["LMOVE", list(g), list(g), side(g), side(g)],
        _ => unblock(g),
    }
}

fn unblock(g: &mut Gen) -> Command {
    let mut command = cmd!["CLIENT", "UNBLOCK"];
    command.args.push(Arg::Id(g.client()));
    if g.percent(60) {
        command.push(g.word(&["TIMEOUT", "ERROR"]));
    }
    command.vary(Vary::Not)
}

/// Steps: two clients that wait, and one that feeds them, alone or in a transaction.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    let waiting = g.choice(FEEDER);
    let send = |client: usize, commands: Vec<Command>| Step::Send { client, commands };
    match g.choice(20) {
        0..=7 => {
            let mut commands = vec![command(g)];
            // What stands behind it waits with it.
            if g.percent(20) {
                commands.push(cmd!["PING"]);
            }
            out.push(send(waiting, commands));
        }
        8 => out.push(Step::Reconnect { client: waiting }),
        9 => {
            out.push(send(FEEDER, vec![cmd!["MULTI"]]));
            for _ in 0..1 + g.choice(5) {
                let command = if g.percent(25) { command(g) } else { feed(g) };
                out.push(send(FEEDER, vec![command]));
            }
            out.push(send(FEEDER, vec![cmd!["EXEC"]]));
        }
        10 => {
            let mut steps = Vec::new();
            usual_steps(g, &mut steps, |g| feed(g).vary(Vary::Not));
            // What a client that waits is sent is answered in another step, and compared to the byte.
            let exact = |command: &Command| command.mask == Mask::Exact;
            steps.retain(|step| match step {
                Step::Send { commands, .. } => commands.iter().all(exact),
                _ => true,
            });
            out.append(&mut steps);
        }
        _ => {
            let command = feed(g);
            let command = vary(g, command);
            out.push(send(FEEDER, vec![command]));
        }
    }
}
