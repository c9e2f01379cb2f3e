//! Commands of every family while memory runs out at each of their steps in turn: whoever is told so
//! finds everything as it was, and whatever comes of it, the arena is sound.

use std::collections::BTreeMap;

use shm::Off;
use shm::fault::Fault;

use crate::keyspace::{self, EntryView};
use crate::root;
use crate::testing::Server;
use crate::values::serial;

/// What keys hold, by database and name: kind, expiry, and the value as it is dumped.
type Content = BTreeMap<(u32, Vec<u8>), (u8, Option<i64>, Vec<u8>)>;

/// Values of every form, and clients that watch, wait and listen.
struct World {
    server: Server,
    client: usize,
    others: Vec<usize>,
}

/// Keys of every form: `s`trings, `l`ists, `h`ashes, sets (`m`), sorted sets (`z`), streams (`x`), small and
/// large.
const SETUP: &[&str] = &[
    "SET si 17",
    "SET se text",
    "APPEND sr some-text-that-is-raw",
    "SETRANGE sb 70000 x",
    "PFADD pf a b c",
    "RPUSH l 1 2 three 4 5",
    "SADD mi 1 2 3 70000",
    "SADD ms a b c 1",
    "HSET h f 1 g two",
    "ZADD z 1 a 2 b 3 c",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "XADD x 1-1 f v",
    "XADD x 2-1 f v g w",
    "XGROUP CREATE x g 0",
    "XREADGROUP GROUP g me COUNT 1 STREAMS x >",
    "XGROUP CREATE xw g $ MKSTREAM",
    "SET expires v EX 10000",
];

impl World {
    fn new() -> World {
        let mut server = Server::new();
        let client = server.connect();
        server.line(client, "CONFIG SET notify-keyspace-events KEAn");
        for line in SETUP {
            let reply = server.line(client, line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        for i in 0..260 {
            server
                .line(client, &format!("RPUSH L item-{i}-of-a-list-that-has-some-chunks-or-more"));
            server.line(client, &format!("SADD M member-{i}"));
            server.line(client, &format!("HSET H field-{i} value-{i}"));
            server.line(client, &format!("ZADD Z {i} member-{i}"));
            server.line(client, &format!("XADD X {i}-1 field value-{i}"));
        }
        server.line(client, "XGROUP CREATE X g 0");
        server.line(client, "XREADGROUP GROUP g me COUNT 100 STREAMS X >");
        let mut world = World { server, client, others: Vec::new() };
        for line in [
            "PSUBSCRIBE __key*",
            "WATCH s si l L mi M h H z Z x X new to",
            "BLPOP wl 0",
            "BLMOVE wm l LEFT RIGHT 0",
            "BZPOPMIN wz 0",
            "XREAD BLOCK 0 STREAMS xw $",
            "XREADGROUP GROUP g me BLOCK 0 STREAMS xw >",
        ] {
            world.join(&[line]);
        }
        world.join(&["HELLO 3", "CLIENT TRACKING ON BCAST"]);
        world.others.iter().for_each(|other| drop(world.server.received(*other)));
        world
    }

    fn join(&mut self, lines: &[&str]) {
        let other = self.server.connect();
        lines.iter().for_each(|line| drop(self.server.line(other, line)));
        self.others.push(other);
    }

    /// Sends a line; `@KEY` in it stands for that key's dump.
    fn ask(&mut self, line: &str) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> =
            line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        for word in &mut words {
            if let Some(key) = word.strip_prefix(b"@") {
                let content = self.content();
                let (_, _, dump) = &content[&(0, key.to_vec())];
                *word = dump.clone();
                crate::rdb::seal(word);
            }
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.server.ask(self.client, &words)
    }

    fn content(&self) -> Content {
        let (arena, state) = (&self.server.executor.arena, &self.server.executor.state);
        let root = self.server.executor.root();
        let mut content = Content::new();
        for index in 0..arena.get(root).database_count.to_native() {
            let keys = keyspace::keys(root::database(arena, root, index));
            shm::table::for_each(arena, keys, |view, block: Off<u8>| {
                let entry = EntryView::new(view, block.cast());
                let dump = serial::dump(&entry, &state.config);
                let what = (entry.kind() as u8, entry.expiry(), dump);
                content.insert((index, entry.key().to_vec()), what);
            });
        }
        content
    }

    /// What the others have received since.
    fn heard(&mut self) -> usize {
        self.others.iter().map(|other| self.server.received(*other).len()).sum()
    }

    /// Runs lines, the last of them with a fault after so many steps.
    fn run_with(&mut self, lines: &str, fault: Fault, after: u64) -> Ended {
        let (before, last) = lines.rsplit_once("; ").unwrap_or(("", lines));
        before.split("; ").filter(|line| !line.is_empty()).for_each(|line| drop(self.ask(line)));
        let (content, used) = (self.content(), self.server.executor.arena.used_bytes());
        self.heard();
        self.server.executor.arena.plan_fault(fault, after);
        let reply = self.ask(last);
        let was_met = self.server.executor.arena.end_faults();
        let what = format!("{lines}: {fault:?} after {after}");
        self.server.check();
        if self.server.is_closed(self.client) {
            assert!(was_met, "{what}: the connection is closed");
            return Ended::Somehow;
        }
        let text = reply.escape_ascii().to_string();
        assert!(is_whole(&reply), "{what}: {text} is no reply");
        if !was_met {
            assert!(!text.contains("-OOM"), "{what}: {text}");
            return Ended::Whole;
        }
        if !reply.starts_with(b"-OOM") {
            return Ended::Somehow;
        }
        assert!(self.content() == content, "{what}: {text}, but something has happened");
        assert_eq!(self.heard(), 0, "{what}: {text}, but somebody was told of something");
        let left = self.server.executor.arena.used_bytes();
        // The transaction that `EXEC` was to end is over, and its queue is gone.
        let ended = last == "EXEC" && left < used;
        assert!(ended || left == used, "{what}: memory is lost, {left} bytes after {used}");
        if before.is_empty() { Ended::AsBefore } else { Ended::Somehow }
    }
}

/// How a command with a fault has ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// It was refused, and nothing has happened.
    AsBefore,
    /// The fault was met elsewhere, or handled: something may have happened.
    Somehow,
    /// The fault was not met.
    Whole,
}

/// Whether there are one or more replies, and no part of another.
fn is_whole(reply: &[u8]) -> bool {
    let mut at = 0;
    while at < reply.len() {
        match length(&reply[at..]) {
            Some(bytes) => at += bytes,
            None => return false,
        }
    }
    at == reply.len() && at > 0
}

/// Bytes of the reply that begins here, if it is a whole one.
fn length(reply: &[u8]) -> Option<usize> {
    let line = reply.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&reply[1..line - 2]).ok()?.parse::<i64>().ok();
    match reply[0] {
        b'+' | b'-' | b':' => Some(line),
        b'$' => Some(usize::try_from(number()?).map_or(line, |bytes| line + bytes + 2)),
        b'*' => (0..number()?.max(0)).try_fold(line, |at, _| Some(at + length(&reply[at..])?)),
        _ => None,
    }
}

/// Runs each command with a fault after none, one, two... of its steps, until it meets none.
fn fail_everywhere(commands: &[&str]) {
    let mut world = World::new();
    let mut refused = 0;
    for command in commands {
        for fault in [Fault::Allocations, Fault::Step] {
            let mut after = 0;
            loop {
                let ended = world.run_with(command, fault, after);
                refused += usize::from(ended == Ended::AsBefore);
                if ended != Ended::AsBefore {
                    world = World::new();
                }
                if ended == Ended::Whole {
                    break;
                }
                // All of the first steps, and some of many.
                after += 1 + after / 8;
            }
        }
    }
    assert!(refused > commands.len(), "{refused} of {} were refused", commands.len());
}

#[test]
fn strings_and_keys() {
    fail_everywhere(&[
        "SET new v",
        "SET sb v EX 100",
        "GETSET se other",
        "APPEND sr more-of-it-so-that-it-does-not-fit-any-more-into-its-block",
        "APPEND sb more",
        "SETRANGE sr 70000 x",
        "SETBIT si 100000 1",
        "INCR si",
        "MSET a 1 b 2 si 3",
        "PFADD pf x y z",
        "PFMERGE to pf pf",
        "COPY sb to",
        "RENAME L to",
        "RENAME Z si",
        "MOVE H 3",
        "EXPIRE L 100",
        "PERSIST expires",
        "DEL L M H Z X sb",
        "UNLINK Z",
        "FLUSHALL",
        "SWAPDB 0 3",
    ]);
}

#[test]
fn lists_and_sorts() {
    fail_everywhere(&[
        "RPUSH new a b c",
        "LPUSH l a b c",
        "RPUSH l a-long-one-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "LPUSH L a b c",
        "LPOP l 3",
        "RPOP L 100",
        "LINSERT L AFTER item-100-of-a-list-that-has-some-chunks-or-more other",
        "LSET L 100 other",
        "LSET l 2 x",
        "LREM L 0 item-130-of-a-list-that-has-some-chunks-or-more",
        "LTRIM L 100 120",
        "LMOVE L l LEFT RIGHT",
        "LMOVE L L LEFT RIGHT",
        "LMPOP 2 new L LEFT COUNT 20",
        "COPY L to",
        "RESTORE new 0 @L",
        "RESTORE L 0 @l REPLACE",
        "SORT L ALPHA STORE to",
        "SORT z BY nosort GET # STORE to",
        "LPUSH wl a b",
        "RPUSH wm a b",
        "MULTI; RPUSH wl a; RPUSH wm b; LPOP l; EXEC",
    ]);
}

#[test]
fn sets() {
    fail_everywhere(&[
        "SADD new a b c",
        "SADD mi 5 6 7",
        "SADD mi 5000000000",
        "SADD mi text",
        "SADD ms x y z",
        "SADD M x y z",
        "SREM M member-1 member-2 member-3",
        "SREM ms a b",
        "SMOVE M ms member-7",
        "SMOVE ms new a",
        "SPOP M 5",
        "SPOP M 250",
        "SPOP mi",
        "SUNIONSTORE to M ms mi",
        "SDIFFSTORE M M ms",
        "SINTERSTORE ms M M",
        "COPY M to",
        "RESTORE new 0 @M",
        "RESTORE new 0 @mi",
    ]);
}

#[test]
fn hashes() {
    fail_everywhere(&[
        "HSET new f v",
        "HSET h a 1 b 2 c 3",
        "HSET h a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "HSET H new v field-1 a-value-that-is-longer-than-the-old-one-was-by-some-bytes",
        "HDEL H field-1 field-2",
        "HDEL h f",
        "HDEL h f g",
        "HINCRBY h f 1000",
        "HINCRBYFLOAT H new 1.5",
        "HSETNX H new v",
        "COPY H to",
        "RESTORE new 0 @H",
    ]);
}

#[test]
fn sorted_sets() {
    fail_everywhere(&[
        "ZADD new 1 a 2 b",
        "ZADD z 1.5 d 2.5 a",
        "ZADD z 1 a-member-that-is-longer-than-what-a-listpack-takes-of-one-xxxxxxxxxxxxxxxxxxxx",
        "ZADD Z 55.5 x 77.5 member-3 99.5 y",
        "ZINCRBY Z 100 member-17",
        "ZREM Z member-1 member-100 member-200",
        "ZREM z a b c",
        "ZPOPMIN Z 40",
        "ZPOPMAX z",
        "ZMPOP 2 new Z MAX COUNT 10",
        "ZREMRANGEBYSCORE Z 10 60",
        "ZREMRANGEBYRANK z 0 1",
        "ZUNIONSTORE to 2 Z z WEIGHTS 2 3",
        "ZINTERSTORE Z 2 Z Z",
        "ZDIFFSTORE z 2 Z z",
        "ZRANGESTORE to Z 0 -1",
        "GEOADD geo 2 3 other",
        "GEOSEARCHSTORE to geo FROMLONLAT 15 37 BYRADIUS 500 km",
        "COPY Z to",
        "RESTORE new 0 @Z",
        "ZADD wz 1 a 2 b",
    ]);
}

#[test]
fn streams() {
    fail_everywhere(&[
        "XADD new * f v",
        "XADD x * f v g w",
        "XADD X * f v",
        "XADD X MAXLEN 5 * f v",
        "XADD xw * f v",
        "XDEL X 1-1 2-1 250-1",
        "XDEL x 1-1 2-1",
        "XTRIM X MINID 120",
        "XSETID x 9-9",
        "XGROUP CREATE X other 0",
        "XGROUP CREATECONSUMER X g you",
        "XGROUP DELCONSUMER X g me",
        "XGROUP DESTROY X g",
        "XGROUP DESTROY xw g",
        "XREADGROUP GROUP g you COUNT 20 STREAMS X >",
        "XREADGROUP GROUP g me STREAMS X 0",
        "XACK X g 1-1 2-1 3-1",
        "XCLAIM X g you 0 1-1 2-1 3-1",
        "XAUTOCLAIM X g you 0 0 COUNT 20",
        "DEL xw",
        "COPY X to",
        "RESTORE new 0 @X",
    ]);
}

#[test]
fn transactions_and_clients() {
    fail_everywhere(&[
        "MULTI; SET si 5; HSET h f 2; ZADD Z 5.5 new; XADD X * f v; LPOP L 5; EXEC",
        "MULTI; SADD M x; SPOP M 3; RESTORE new 0 @H; DEL H; EXEC",
        "MULTI; RPUSH wl a; ZADD wz 1 a; XADD xw * f v; EXEC",
        "MULTI; SET a b",
        "WATCH a b c",
        "SUBSCRIBE a b c",
        "CLIENT TRACKING ON BCAST PREFIX s PREFIX l",
        "CLIENT SETNAME somebody",
        "CONFIG SET maxmemory 1000000000",
        "SELECT 3",
    ]);
}
