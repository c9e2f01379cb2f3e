//! Sets: every command and option, in every encoding. What Redis chooses at random or gives in no
//! order is compared as far as it is determined.

use super::{Gen, usual_steps};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

/// A few keys that are sets as a rule, so that operations on several of them meet.
fn key(g: &mut Gen) -> Vec<u8> {
    match g.choice(16) {
        0 => g.typed_key(),
        1 => b"missing".to_vec(),
        n => format!("set:{}", n % 5).into_bytes(),
    }
}

/// Members that several sets share: integers of every width, texts, texts like integers.
fn member(g: &mut Gen) -> Vec<u8> {
    match g.choice(16) {
        0..=8 => g.rng.within(-8..=8).to_string().into_bytes(),
        9 => g.rng.within(-40_000..=40_000).to_string().into_bytes(),
        10 => g.integer(),
        11..=13 => format!("m{}", g.choice(12)).into_bytes(),
        14 => g.odd_number(),
        _ => g.value(),
    }
}

fn with_members(g: &mut Gen, mut command: Command) -> Command {
    for _ in 0..1 + g.choice(4) {
        command.push(member(g));
    }
    command
}

/// `SADD` of many members, so that a set goes through all forms.
fn many(g: &mut Gen) -> Command {
    let mut command = cmd!["SADD", key(g)];
    let (first, count) = (g.choice(300), 1 + g.choice(200));
    let prefix = if g.percent(50) { "" } else { "m" };
    for number in first..first + count {
        command.push(format!("{prefix}{number}"));
    }
    command
}

fn with_keys(g: &mut Gen, mut command: Command, most: usize) -> Command {
    for _ in 0..1 + g.choice(most) {
        command.push(key(g));
    }
    command
}

/// Any set command but those that choose at random.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(40) {
        0..=7 => {
            let command = cmd!["SADD", key(g)];
            with_members(g, command)
        }
        8..=9 => many(g),
        10..=13 => {
            let command = cmd!["SREM", key(g)];
            with_members(g, command)
        }
        14..=15 => cmd!["SISMEMBER", key(g), member(g)],
        16 => {
            let command = cmd!["SMISMEMBER", key(g)];
            with_members(g, command)
        }
        17 => cmd!["SCARD", key(g)],
        18..=19 => cmd!["SMEMBERS", key(g)].mask(Mask::Unordered),
        20..=22 => cmd!["SMOVE", key(g), key(g), member(g)],
        23..=27 => {
            let name = *g.rng.pick(&["SINTER", "SUNION", "SDIFF"]);
            with_keys(g, cmd![name], 4).mask(Mask::Unordered)
        }
        28..=31 => {
            let name = *g.rng.pick(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
            let command = cmd![name, key(g)];
            with_keys(g, command, 4)
        }
        32 => sintercard(g),
        33..=34 => sscan(g),
        35 => random(g),
        36 => cmd!["OBJECT", "ENCODING", key(g)],
        37 => limit(g),
        38 => cmd!["COPY", key(g), key(g), "REPLACE"],
        _ => cmd![g.word(&["DEL", "UNLINK", "PERSIST"]), key(g)],
    }
}

/// Steps with a set now and then from which members are taken at random.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    if g.percent(8) {
        let commands = popping(g);
        out.push(Step::Send { client: g.client(), commands });
    } else {
        usual_steps(g, out, command);
    }
}

fn limit(g: &mut Gen) -> Command {
    let most = *g.rng.pick(&["0", "1", "4", "16", "128", "512"]);
    cmd!["CONFIG", "SET", "set-max-intset-entries", most].vary(Vary::Not)
}

fn sintercard(g: &mut Gen) -> Command {
    let keys = 1 + g.choice(4);
    let count = if g.percent(85) { keys.to_string().into_bytes() } else { g.odd_number() };
    let mut command = cmd!["SINTERCARD", count];
    for _ in 0..keys {
        command.push(key(g));
    }
    for _ in 0..g.choice(3) {
        command.push(g.word(&["LIMIT"]));
        if g.percent(95) {
            command.push(g.integer());
        }
    }
    command
}

/// A whole scan in one step: cursors are the server's own, unless the set is gone through at once.
fn sscan(g: &mut Gen) -> Command {
    let wrong: [&[&str]; 8] = [
        &["SSCAN", "set:1"],
        &["SSCAN", "set:1", "abc"],
        &["SSCAN", "set:1", "0", "FOO"],
        &["SSCAN", "set:1", "0", "MATCH"],
        &["SSCAN", "set:1", "0", "COUNT", "0"],
        &["SSCAN", "set:1", "0", "COUNT", "abc"],
        &["SSCAN", "set:1", "0", "TYPE", "set"],
        &["SSCAN", "missing", "0", "COUNT", "0"],
    ];
    if g.percent(20) {
        return g.form(&wrong);
    }
    let mut command = cmd!["SSCAN", key(g), "0", g.word(&["COUNT"]), "100000"];
    if g.percent(50) {
        command.push(g.word(&["MATCH"]));
        command.push(*g.rng.pick(&["*", "m*", "?", "-*", "[0-9]", "1*", "nothing", "\\m1"]));
    }
    command.mask(Mask::Scan(1)).vary(Vary::Not)
}

/// `SRANDMEMBER`, and `SPOP` where it is bound to fail or to take everything.
fn random(g: &mut Gen) -> Command {
    let key = key(g);
    match g.choice(8) {
        0..=1 => cmd!["SRANDMEMBER", key].mask(Mask::Kind).vary(Vary::Not),
        2..=3 => {
            let count =
                *g.rng.pick(&["0", "1", "3", "-1", "-4", "abc", "", "-9223372036854775808"]);
            cmd!["SRANDMEMBER", key, count].mask(Mask::Kind).vary(Vary::Not)
        }
        4 => cmd!["SRANDMEMBER", key, "100000"].mask(Mask::Unordered).vary(Vary::Not),
        5 => cmd!["SPOP", key, "100000"].mask(Mask::Unordered).vary(Vary::Not),
        6 => {
            let count = *g.rng.pick(&["0", "-1", "abc", "", "-9223372036854775808"]);
            cmd!["SPOP", key, count].vary(Vary::Not)
        }
        _ => cmd![g.word(&["SPOP", "SRANDMEMBER"]), key, "1", "2"].vary(Vary::Not),
    }
}

/// A set of its own that is made, loses members at random, and goes; all in one step, so that
/// nobody sees what is left of it.
fn popping(g: &mut Gen) -> Vec<Command> {
    let key = "popped";
    let mut add = cmd!["SADD", key];
    let count = 1 + g.choice(100);
    // Either all are integers or none is, so that the encoding does not depend on what is left.
    let prefix = if g.percent(50) { "" } else { "m" };
    for number in 0..count {
        add.push(format!("{prefix}{number}"));
    }
    let mut commands = vec![cmd!["DEL", key], add];
    if g.percent(30) {
        commands.push(cmd!["EXPIRE", key, "100"]);
    }
    let mut left = count;
    while left > 0 && commands.len() < 8 {
        let taken = match g.choice(3) {
            0 => 1 + g.choice(count),
            1 => left - left / 6,
            _ => 1,
        };
        if taken == 1 {
            commands.push(cmd!["SPOP", key].mask(Mask::Kind));
        } else {
            commands.push(cmd!["SPOP", key, taken.to_string()].mask(Mask::Kind));
        }
        left -= taken.min(left);
        commands.push(cmd!["SCARD", key]);
        commands.push(cmd!["OBJECT", "ENCODING", key]);
    }
    commands.push(cmd!["SRANDMEMBER", key, "2"].mask(Mask::Kind));
    commands.push(cmd!["TTL", key].mask(Mask::Near(5)));
    commands.push(cmd!["DEL", key]);
    commands.into_iter().map(|command| command.vary(Vary::Not)).collect()
}
