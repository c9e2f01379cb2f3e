//! Streams: entries, groups, consumers and pending entries, with small nodes so that trimming and
//! deleting meet their bounds.
//!
//! Ids are explicit, so that both servers agree; times are compared roughly, and what depends on
//! them (idle times) is either over at once or never.

use super::{Gen, usual_steps};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

/// The steps of the family.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    if g.percent(2) {
        // Redis 7.0.15 sometimes dies of an assertion if nodes that were full no longer are.
        let commands = vec![cmd!["DEL", "stream", "stream:2", "stream:3"], configure(g)];
        let client = g.client();
        out.extend(commands.into_iter().map(|it| Step::Send { client, commands: vec![it] }));
        return;
    }
    if g.percent(2) {
        let commands = by_the_clock(g);
        return out.push(Step::Send { client: g.client(), commands });
    }
    usual_steps(g, out, command);
}

/// Entries whose ids the server chooses, in a stream that is gone before anybody looks into it.
fn by_the_clock(g: &mut Gen) -> Vec<Command> {
    let mut commands = Vec::new();
    for _ in 0..1 + g.choice(4) {
        let mut command = cmd!["XADD", "stream:clock"];
        if g.percent(20) {
            command.push(g.word(&["NOMKSTREAM"]));
        }
        if g.percent(30) {
            command.push(g.word(&["MAXLEN"]));
            command.push("1");
        }
        command.push("*");
        fields(g, &mut command);
        commands.push(command.mask(Mask::Kind));
    }
    commands.extend([cmd!["XLEN", "stream:clock"], cmd!["DEL", "stream:clock"]]);
    commands.into_iter().map(|command| command.vary(Vary::Not)).collect()
}

fn key(g: &mut Gen) -> Vec<u8> {
    match g.choice(24) {
        0 => g.typed_key(),
        1 => b"missing".to_vec(),
        2..=14 => b"stream".to_vec(),
        15..=20 => b"stream:2".to_vec(),
        _ => b"stream:3".to_vec(),
    }
}

fn group(g: &mut Gen) -> Vec<u8> {
    g.bytes_from(&[b"g", b"g", b"g", b"g", b"h", b"group with a long name", b"", b"n\0ul", b"none"])
}

fn consumer(g: &mut Gen) -> Vec<u8> {
    g.bytes_from(&[b"alice", b"alice", b"bob", b"bob", b"carol the consumer", b"", b"alic"])
}

/// An id that an entry may have.
fn id(g: &mut Gen) -> Vec<u8> {
    let text = match g.choice(20) {
        0 => return odd_id(g),
        1 => format!("{}", g.choice(12)),
        2..=9 => format!("{}-{}", g.choice(12), g.choice(4)),
        // Not where the sequence may be left to the server: see `docs/differences.md`.
        10 => "13-18446744073709551615".to_owned(),
        _ => format!("300-{}", g.choice(60)),
    };
    text.into_bytes()
}

fn odd_id(g: &mut Gen) -> Vec<u8> {
    let from: [&[u8]; 24] = [
        b"0-0",
        b"-",
        b"+",
        b"*",
        b"$",
        b">",
        b"5-*",
        b"-5-1",
        b"5--1",
        b"5-1-1",
        b"5-",
        b"-1",
        b"(5-1",
        b"(",
        b"18446744073709551615-18446744073709551615",
        b"18446744073709551615",
        b"18446744073709551616-0",
        b"0-18446744073709551615",
        b"007-008",
        b" 5-1",
        b"5-1\0x",
        b"abc",
        b"",
        b"99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999\
          9999999999999999999999999999999999999999999",
    ];
    if g.percent(30) { g.odd_number() } else { g.bytes_from(&from) }
}

/// One end of an interval.
fn bound(g: &mut Gen) -> Vec<u8> {
    match g.choice(8) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => [b"(".to_vec(), id(g)].concat(),
        3 => odd_id(g),
        _ => id(g),
    }
}

fn interval(g: &mut Gen) -> (Vec<u8>, Vec<u8>) {
    if g.percent(50) { (b"-".to_vec(), b"+".to_vec()) } else { (bound(g), bound(g)) }
}

fn count(g: &mut Gen) -> Vec<u8> {
    if g.percent(10) { g.integer() } else { (1 + g.choice(8)).to_string().into_bytes() }
}

/// A least idle time: none, or one that only what was delivered at the dawn of time has.
fn idle(g: &mut Gen) -> &'static str {
    const WORDS: &[&str] = &["0", "0", "0", "-1", "1000000000", "9223372036854775807", "abc"];
    let &word = g.rng.pick(WORDS);
    word
}

fn fields(g: &mut Gen, command: &mut Command) {
    let names: [&[u8]; 6] = [b"f", b"field", b"7", b"-12345", b"", b"a field of some length"];
    let first = g.choice(3);
    for number in 0..1 + g.choice(3) {
        let name = if g.percent(80) { names[(first + number) % 3] } else { *g.rng.pick(&names) };
        command.push(name.to_vec());
        let value = g.value();
        command.push(value);
    }
    if g.percent(4) {
        command.push("odd");
    }
}

fn trim(g: &mut Gen, command: &mut Command) {
    let by_length = g.percent(60);
    command.push(g.word(&[if by_length { "MAXLEN" } else { "MINID" }]));
    let approximate = g.percent(50);
    if approximate {
        command.push("~");
    } else if g.percent(40) {
        command.push("=");
    }
    match by_length {
        true if g.percent(90) => command.push(g.choice(20).to_string()),
        true => command.push(g.integer()),
        false => command.push(id(g)),
    };
    if approximate && g.percent(40) || g.percent(3) {
        command.push(g.word(&["LIMIT"]));
        let limit = if g.percent(90) { g.choice(12).to_string().into() } else { g.integer() };
        command.push(limit);
    }
}

fn xadd(g: &mut Gen) -> Command {
    let mut command = cmd!["XADD", key(g)];
    if g.percent(6) {
        command.push(g.word(&["NOMKSTREAM"]));
    }
    if g.percent(20) {
        trim(g, &mut command);
    }
    let given = match g.choice(20) {
        0..=9 => b"300-*".to_vec(),
        10..=11 => format!("{}-*", g.choice(12)).into_bytes(),
        _ => id(g),
    };
    // What the clock says is another id on each side.
    command.push(if given.first() == Some(&b'*') { b"300-*".to_vec() } else { given });
    fields(g, &mut command);
    command.vary(Vary::Shape)
}

fn xtrim(g: &mut Gen) -> Command {
    let mut command = cmd!["XTRIM", key(g)];
    trim(g, &mut command);
    command
}

fn xrange(g: &mut Gen) -> Command {
    let (start, end) = interval(g);
    let mut command = match g.percent(50) {
        true => cmd!["XRANGE", key(g), start, end],
        false => cmd!["XREVRANGE", key(g), end, start],
    };
    if g.percent(50) {
        command.push(g.word(&["COUNT"]));
        command.push(count(g));
    }
    command
}

fn ids(g: &mut Gen, mut command: Command) -> Command {
    for _ in 0..1 + g.choice(5) {
        command.push(id(g));
    }
    command
}

fn xread(g: &mut Gen) -> Command {
    let of_group = g.percent(70);
    let mut command = if of_group {
        cmd!["XREADGROUP", g.word(&["GROUP"]), group(g), consumer(g)]
    } else {
        cmd!["XREAD"]
    };
    if g.percent(60) {
        command.push(g.word(&["COUNT"]));
        command.push(count(g));
    }
    let blocks = g.percent(5);
    if blocks {
        command.push(g.word(&["BLOCK"]));
        command.push(*g.rng.pick(&["-1", "abc", "9223372036854775808", "1.5"]));
    }
    if g.percent(if of_group { 15 } else { 2 }) {
        command.push(g.word(&["NOACK"]));
    }
    command.push(g.word(&["STREAMS"]));
    let streams = 1 + g.choice(2);
    for _ in 0..streams {
        command.push(key(g));
    }
    for _ in 0..streams {
        match g.choice(10) {
            0 => command.push("$"),
            1 => command.push(odd_id(g)),
            2..=6 if of_group => command.push(">"),
            2..=4 => command.push("0"),
            _ => command.push(id(g)),
        };
    }
    if blocks { command.vary(Vary::Not) } else { command.vary(Vary::Shape) }
}

fn xgroup(g: &mut Gen) -> Command {
    match g.choice(20) {
        0..=7 => {
            let start = if g.percent(60) { b"0".to_vec() } else { group_start(g) };
            let mut command = cmd!["XGROUP", g.word(&["CREATE"]), key(g), group(g), start];
            if g.percent(50) {
                command.push(g.word(&["MKSTREAM"]));
            }
            entries_read(g, &mut command);
            command
        }
        8..=10 => {
            let mut command = cmd!["XGROUP", g.word(&["SETID"]), key(g), group(g), group_start(g)];
            entries_read(g, &mut command);
            command
        }
        11..=13 => cmd!["XGROUP", g.word(&["CREATECONSUMER"]), key(g), group(g), consumer(g)],
        14..=16 => cmd!["XGROUP", g.word(&["DELCONSUMER"]), key(g), group(g), consumer(g)],
        17 => cmd!["XGROUP", g.word(&["HELP"])],
        _ => cmd!["XGROUP", g.word(&["DESTROY"]), key(g), group(g)],
    }
}

fn group_start(g: &mut Gen) -> Vec<u8> {
    if g.percent(25) { b"$".to_vec() } else { bound(g) }
}

fn entries_read(g: &mut Gen, command: &mut Command) {
    if g.percent(15) {
        command.push(g.word(&["ENTRIESREAD"]));
        let number = if g.percent(80) { g.choice(20).to_string().into() } else { g.integer() };
        command.push(number);
    }
}

fn xpending(g: &mut Gen) -> Command {
    let mut command = cmd!["XPENDING", key(g), group(g)];
    if g.percent(40) {
        return command;
    }
    if g.percent(30) {
        command.push(g.word(&["IDLE"]));
        command.push(idle(g));
    }
    let (start, end) = interval(g);
    command.push(start);
    command.push(end);
    command.push(count(g));
    if g.percent(40) {
        command.push(consumer(g));
    }
    command.mask(Mask::StreamTimes).vary(Vary::Shape)
}

fn xclaim(g: &mut Gen) -> Command {
    let command = cmd!["XCLAIM", key(g), group(g), consumer(g), idle(g)];
    let mut command = ids(g, command);
    for _ in 0..g.choice(4) {
        match g.choice(7) {
            0 => {
                command.push(g.word(&["IDLE"]));
                command.push(*g.rng.pick(&["0", "1000000000000", "-5", "x"]))
            }
            1 => {
                command.push(g.word(&["TIME"]));
                command.push(*g.rng.pick(&["1", "5", "-1", "9223372036854775807", "x"]))
            }
            2 => {
                command.push(g.word(&["RETRYCOUNT"]));
                command.push(g.integer())
            }
            3..=4 => command.push(g.word(&["FORCE"])),
            5 => command.push(g.word(&["JUSTID"])),
            _ => {
                command.push(g.word(&["LASTID"]));
                command.push(id(g))
            }
        };
    }
    command.vary(Vary::Shape)
}

fn xautoclaim(g: &mut Gen) -> Command {
    let mut command = cmd!["XAUTOCLAIM", key(g), group(g), consumer(g), idle(g), bound(g)];
    if g.percent(60) {
        command.push(g.word(&["COUNT"]));
        command.push(count(g));
    }
    if g.percent(30) {
        command.push(g.word(&["JUSTID"]));
    }
    command.vary(Vary::Shape)
}

fn xinfo(g: &mut Gen) -> Command {
    let command = match g.choice(12) {
        0..=2 => cmd!["XINFO", g.word(&["STREAM"]), key(g)],
        3..=6 => {
            let mut command = cmd!["XINFO", g.word(&["STREAM"]), key(g), g.word(&["FULL"])];
            if g.percent(50) {
                command.push(g.word(&["COUNT"]));
                command.push(if g.percent(50) { b"0".to_vec() } else { count(g) });
            }
            command
        }
        7..=8 => cmd!["XINFO", g.word(&["GROUPS"]), key(g)],
        9..=10 => cmd!["XINFO", g.word(&["CONSUMERS"]), key(g), group(g)],
        _ => cmd!["XINFO", g.word(&["HELP", "NOSUCH"])],
    };
    command.mask(Mask::StreamTimes)
}

fn xsetid(g: &mut Gen) -> Command {
    let mut command = cmd!["XSETID", key(g), id(g)];
    if g.percent(40) {
        command.push(g.word(&["ENTRIESADDED"]));
        let number = if g.percent(80) { g.choice(60).to_string().into() } else { g.integer() };
        command.push(number);
    }
    if g.percent(40) {
        command.push(g.word(&["MAXDELETEDID"]));
        command.push(id(g));
    }
    command
}

fn configure(g: &mut Gen) -> Command {
    let (name, values): (_, &[&str]) = match g.percent(60) {
        true => ("stream-node-max-entries", &["1", "2", "3", "5", "100", "0"]),
        false => ("stream-node-max-bytes", &["0", "1", "100", "300", "4096"]),
    };
    cmd!["CONFIG", "SET", name, *g.rng.pick(values)].vary(Vary::Not)
}

/// Any stream command.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(64) {
        0..=15 => xadd(g),
        16..=17 => xtrim(g),
        18..=21 => {
            let command = cmd!["XDEL", key(g)];
            ids(g, command)
        }
        22..=25 => xrange(g),
        26 => cmd!["XLEN", key(g)],
        27..=36 => xread(g),
        37..=39 => {
            let command = cmd!["XACK", key(g), group(g)];
            ids(g, command)
        }
        40..=45 => xgroup(g),
        46..=48 => xpending(g),
        49..=51 => xclaim(g),
        52..=53 => xautoclaim(g),
        54..=57 => xinfo(g),
        58 => xsetid(g),
        59 => xadd(g),
        60 => match g.choice(4) {
            0 => cmd!["DEL", key(g)],
            1 => cmd!["COPY", key(g), "stream:3", "REPLACE"],
            2 => cmd!["RENAME", key(g), "stream:2"],
            _ => cmd!["OBJECT", "ENCODING", key(g)],
        },
        61 if g.percent(50) => g.make_typed_key(),
        61 => cmd!["SET", g.key(), "text"],
        // Whole streams, so that what other commands left behind is seen.
        62 => cmd!["XINFO", "STREAM", "stream", "FULL", "COUNT", "0"].mask(Mask::StreamTimes),
        _ => cmd!["XRANGE", "stream", "-", "+"],
    }
}
