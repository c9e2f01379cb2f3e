//! Publish/subscribe, by channel, pattern and shard channel.

use super::{Gen, connection, data_command, usual_steps};
use crate::cmd;
use crate::differential::{Command, Mask, Step, Vary};

fn channel(g: &mut Gen) -> Vec<u8> {
    let from: [&[u8]; 7] =
        [b"news.art", b"news.it", b"a", b"", b"\x00\xff\r\n", b"news.*", b"channel"];
    g.bytes_from(&from)
}

fn pattern(g: &mut Gen) -> Vec<u8> {
    if g.percent(70) {
        let from: [&[u8]; 5] = [b"news.*", b"*", b"n?ws.[ai]*", b"a", b""];
        return g.bytes_from(&from);
    }
    g.pattern()
}

/// Any command of publish/subscribe, and some that a subscriber may not send.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(24) {
        0..=2 => subscribe(g, "SUBSCRIBE"),
        3..=4 => subscribe(g, "PSUBSCRIBE"),
        5 => subscribe(g, "SSUBSCRIBE"),
        6..=7 => unsubscribe(g, "UNSUBSCRIBE"),
        8 => unsubscribe(g, "PUNSUBSCRIBE"),
        9 => unsubscribe(g, "SUNSUBSCRIBE"),
        10..=14 => cmd!["PUBLISH", channel(g), g.value()],
        15 => cmd!["SPUBLISH", channel(g), g.value()],
        16..=19 => pubsub(g),
        20 => cmd!["PING"],
        21 => cmd!["PING", g.value()],
        22 => connection::command(g),
        _ => data_command(g),
    }
}

fn subscribe(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name];
    for _ in 0..1 + g.choice(3) {
        let what = if name == "PSUBSCRIBE" { pattern(g) } else { channel(g) };
        command.push(what);
    }
    // Several replies: it is not to share a pipeline with commands that have one each.
    command.vary(Vary::Shape)
}

fn unsubscribe(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name];
    for _ in 0..g.choice(3) {
        let what = if name == "PUNSUBSCRIBE" { pattern(g) } else { channel(g) };
        command.push(what);
    }
    if command.args.len() == 1 {
        command = command.mask(Mask::Unsubscribed);
    }
    // Without its arguments it would confirm in any order.
    command.vary(Vary::Not)
}

fn pubsub(g: &mut Gen) -> Command {
    let name = g.word(&["PUBSUB"]);
    let command = match g.choice(10) {
        0 => cmd![name, g.word(&["CHANNELS"])].mask(Mask::Unordered),
        1 => cmd![name, "CHANNELS", pattern(g)].mask(Mask::Unordered),
        2 => cmd![name, g.word(&["NUMPAT"])],
        3 => cmd![name, "NUMSUB"],
        4 => cmd![name, "NUMSUB", channel(g), channel(g)],
        5 => cmd![name, "SHARDCHANNELS"].mask(Mask::Unordered),
        6 => cmd![name, "SHARDCHANNELS", pattern(g)].mask(Mask::Unordered),
        7 => cmd![name, "SHARDNUMSUB", channel(g)],
        8 => cmd![name, "HELP"],
        _ => cmd![name, "FOO", "x"],
    };
    if command.mask == Mask::Exact { command } else { command.vary(Vary::Shape) }
}

/// Steps, with connections that go away while they are subscribed.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    if g.percent(3) {
        return out.push(Step::Reconnect { client: g.client() });
    }
    usual_steps(g, out, command);
}
