//! DUMP, RESTORE and what shows values from inside: DEBUG DIGEST-VALUE, DEBUG OBJECT, OBJECT FREQ.
//!
//! Keys have names by their type. Dumps are compared byte for byte where the order is not a hash
//! table's: hashes and sets get few and short members here, sorted sets and lists any.

use hotredis::rdb;

use super::{Gen, usual_steps};
use crate::cmd;
use crate::differential::{Arg, Command, Mask, Step, Vary};

/// Keys of this family, by what they hold.
const KEYS: [&str; 7] = [
    "dump:string",
    "dump:list",
    "dump:ints",
    "dump:hash",
    "dump:zset",
    "dump:stream",
    "dump:other",
];

/// Values in formats that are no longer written, and some that are.
const CONTENTS: &[&[u8]] = &[
    b"\x00\x03abc",
    b"\x00\xc1\x39\x30",
    b"\x00\xc3\x09\x40\x64\x01aa\xe0\x57\x00\x01aa",
    b"\x01\x03\x01a\xc0\xff\x00",
    b"\x02\x02\xc0\x01\xc0\x02",
    b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff",
    b"\x04\x01\x01f\x01v",
    b"\x05\x01\x01a\0\0\0\0\0\0\xf0\x3f",
    b"\x09\x0f\x02\x01a\x02\0bc\x01d\x01\x02exx\xff",
    b"\x0a\x17\x17\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf3\x02\xc0\0\x01\x04\xfe\xff\xff",
    b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x05\0",
    b"\x0c\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff",
    b"\x0d\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff",
    b"\x0e\x01\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff",
    b"\x10\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff",
    b"\x11\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff",
];

/// Adds the next step or few. Damaged payloads are read with the validation that hotredis always does.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    if g.percent(3) {
        let sanitize = cmd!["CONFIG", "SET", "sanitize-dump-payload", "yes"].vary(Vary::Not);
        out.push(Step::Send { client: 0, commands: vec![sanitize] });
        let compress = if g.percent(70) { "yes" } else { "no" };
        let compress = cmd!["CONFIG", "SET", "rdbcompression", compress].vary(Vary::Not);
        out.push(Step::Send { client: 0, commands: vec![compress] });
        for _ in 0..6 {
            let command = restore(g, true);
            out.push(Step::Send { client: g.client(), commands: vec![command] });
        }
        return;
    }
    if g.percent(3) {
        return out.push(Step::Send { client: g.client(), commands: uses(g) });
    }
    usual_steps(g, out, command);
}

/// How a key was used, as a payload brings it along, under either policy; all in one step, so that no
/// other key is used under the policy by frequency.
fn uses(g: &mut Gen) -> Vec<Command> {
    let mut payload = g.rng.pick(CONTENTS).to_vec();
    rdb::seal(&mut payload);
    let (policy, option, number, what) = match g.percent(50) {
        true => ("allkeys-lfu", "FREQ", g.rng.within(0..=255), "FREQ"),
        false => ("noeviction", "IDLETIME", g.rng.within(0..=10_000_000), "IDLETIME"),
    };
    let object = |what: &str| cmd!["OBJECT", what, "dump:used"];
    // Frequencies fall with every minute.
    let commands = vec![
        cmd!["CONFIG", "SET", "maxmemory-policy", policy],
        cmd!["RESTORE", "dump:used", "0", payload, "REPLACE", option, number],
        object(what).mask(Mask::Near(2)),
        object(if what == "FREQ" { "IDLETIME" } else { "FREQ" }),
        object("REFCOUNT"),
        cmd!["CONFIG", "SET", "maxmemory-policy", "noeviction"],
        cmd!["DEL", "dump:used"],
    ];
    commands.into_iter().map(|command| command.vary(Vary::Not)).collect()
}

/// `MIGRATE` that has nothing to move, nowhere to move it to, or is told wrong: nobody listens there.
fn migrate(g: &mut Gen) -> Command {
    let (listed, key) = (g.percent(40), if g.percent(80) { "missing" } else { "dump:string" });
    let first = if listed { "" } else { key };
    let mut command = cmd!["MIGRATE", "127.0.0.1", "1", first, "0", "1000"];
    for _ in 0..g.choice(4) {
        match g.choice(5) {
            0 => command.push(g.word(&["COPY"])),
            1 => command.push(g.word(&["REPLACE"])),
            2 => command.push(g.word(&["AUTH"])).push("secret"),
            3 => command.push(g.word(&["AUTH2"])).push("somebody").push("secret"),
            _ => command.push(g.word(&["NONSENSE", "COPY"])),
        };
    }
    if listed {
        command.push(g.word(&["KEYS"])).push(key).push("missing:too");
    }
    command.vary(Vary::Not)
}

/// Any command of the family.
pub fn command(g: &mut Gen) -> Command {
    match g.choice(20) {
        0..=8 => fill(g),
        9..=12 => dump(g),
        13..=14 => restore(g, false),
        15 => cmd!["DEBUG", "DIGEST-VALUE", key(g), key(g)].vary(Vary::Not),
        16 => cmd!["DEBUG", "OBJECT", key(g)].mask(Mask::DebugObject).vary(Vary::Not),
        17 => cmd!["COPY", key(g), "dump:other", "REPLACE"].vary(Vary::Not),
        18 => cmd!["OBJECT", "ENCODING", key(g)],
        19 if g.percent(30) => migrate(g),
        _ => cmd!["DEL", key(g)],
    }
}

/// `DUMP`. What damage has made of a set may come in the order of a hash table.
fn dump(g: &mut Gen) -> Command {
    match key(g) {
        "dump:other" => cmd!["DUMP", "dump:other"].mask(Mask::Kind),
        key => cmd!["DUMP", key],
    }
}

fn key(g: &mut Gen) -> &'static str {
    KEYS[g.choice(KEYS.len())]
}

/// A command that adds to a key what its type takes.
fn fill(g: &mut Gen) -> Command {
    let number = g.rng.within(-70_000..=70_000);
    let count = 1 + g.choice(6);
    let mut command = match g.choice(6) {
        0 => return cmd!["SET", "dump:string", g.value()],
        1 => cmd!["RPUSH", "dump:list"],
        2 => return cmd!["SADD", "dump:ints", number].vary(Vary::Not),
        3 => {
            let field = format!("f{}", g.choice(30));
            return cmd!["HSET", "dump:hash", field, number].vary(Vary::Not);
        }
        4 => {
            let score = g.float();
            return cmd!["ZADD", "dump:zset", score, g.value()].vary(Vary::Not);
        }
        _ => {
            let field = g.word(&["name", "text"]).to_lowercase();
            return cmd!["XADD", "dump:stream", "MAXLEN", "20", "7-*", field, g.value()]
                .vary(Vary::Not);
        }
    };
    for _ in 0..count {
        command.push(g.value());
    }
    command.vary(Vary::Not)
}

/// RESTORE of a payload that is whole, or has damage under a checksum that is right.
fn restore(g: &mut Gen, damaged: bool) -> Command {
    let mut content = g.rng.pick(CONTENTS).to_vec();
    if damaged {
        let at = 1 + g.choice(content.len() - 1);
        match g.choice(3) {
            0 => content[at] = g.choice(256) as u8,
            1 => content[at] ^= 1 << g.choice(8),
            _ => content.truncate(at.max(2)),
        }
    }
    rdb::seal(&mut content);
    if g.percent(5) {
        let at = g.choice(content.len());
        content[at] ^= 1;
    }
    let absolute = g.percent(15);
    let ttl = match g.percent(90) {
        true => "0".into(),
        false if absolute => g.unix_milliseconds(),
        false => g.milliseconds(),
    };
    let name = if g.percent(70) { "RESTORE" } else { "RESTORE-ASKING" };
    let mut command = cmd![name, "dump:other", Arg::from(ttl), content];
    if absolute {
        command.push(g.word(&["ABSTTL"]));
    }
    if g.percent(90) {
        command.push(g.word(&["REPLACE"]));
    }
    match g.choice(12) {
        0 => {
            command.push("IDLETIME");
            command.push(g.integer());
        }
        1 => {
            command.push("FREQ");
            command.push(g.integer());
        }
        _ => {}
    }
    command.vary(Vary::Not)
}
