//! `RESTORE` of payloads made by hand: streams in both formats, whatever is wrong around a value and
//! within it, and dumps of every type damaged at random.

use hotredis::rdb;
use hotredis_tests::client::Client;
use hotredis_tests::differential::Mask;
use hotredis_tests::differential::mask::same;
use hotredis_tests::differential::side::Names;
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

const STREAM_1: u8 = 15;
const STREAM_2: u8 = 19;

fn start(setup: Setup) -> Server {
    setup.directive("enable-debug-command", "yes").directive("sanitize-dump-payload", "yes").start()
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) -> Value {
    client.call(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut payload = content.to_vec();
    rdb::seal(&mut payload);
    payload
}

/// A listpack of numbers below 128 and short texts.
fn listpack(items: &[&str]) -> Vec<u8> {
    let mut run = Vec::new();
    for item in items {
        match item.parse::<u8>() {
            Ok(number) if number < 128 => run.extend([number, 1]),
            _ => {
                run.push(0x80 | item.len() as u8);
                run.extend_from_slice(item.as_bytes());
                run.push(item.len() as u8 + 1);
            }
        }
    }
    let mut out = (run.len() as u32 + 7).to_le_bytes().to_vec();
    out.extend_from_slice(&(items.len() as u16).to_le_bytes());
    out.extend_from_slice(&run);
    out.push(0xff);
    out
}

/// What of a stream's payload is to be written, so that it can be spoiled in one place.
#[derive(Clone)]
struct Stream {
    kind: u8,
    /// Ids and items.
    nodes: Vec<((u64, u64), Vec<&'static str>)>,
    length: u8,
    last: [u8; 2],
    /// First id, greatest deleted id, entries added: of the second format.
    rest: [u8; 5],
    groups: Vec<Group>,
}

#[derive(Clone)]
struct Group {
    name: &'static str,
    last: [u8; 2],
    read: u8,
    pending: Vec<u64>,
    consumers: Vec<(&'static str, Vec<u64>)>,
}

/// Entries 5-0 and 5-1 with the fields of the node, 6-0 with its own, and 5-2, which was deleted.
const NODE: &str = "3 1 1 f 0 2 0 0 v 4 2 0 1 w 4 3 0 2 x 4 0 1 0 1 g y 6";

fn sound(kind: u8) -> Stream {
    let group = Group {
        name: "group",
        last: [5, 1],
        read: 2,
        pending: vec![0, 1],
        consumers: vec![("alice", vec![1]), ("bob", vec![0]), ("idle", vec![])],
    };
    let nodes = vec![((5, 0), NODE.split(' ').collect())];
    Stream { kind, nodes, length: 3, last: [6, 0], rest: [5, 0, 5, 2, 4], groups: vec![group] }
}

impl Stream {
    fn payload(&self) -> Vec<u8> {
        let full = self.kind == STREAM_2;
        let mut out = vec![self.kind, self.nodes.len() as u8];
        let id = |seq: u64| [5u64.to_be_bytes(), seq.to_be_bytes()].concat();
        for ((ms, seq), items) in &self.nodes {
            out.push(16);
            out.extend([ms.to_be_bytes(), seq.to_be_bytes()].concat());
            let packed = listpack(items);
            out.extend([0x40, packed.len() as u8]);
            out.extend(packed);
        }
        out.push(self.length);
        out.extend(self.last);
        if full {
            out.extend(self.rest);
        }
        out.push(self.groups.len() as u8);
        for group in &self.groups {
            out.push(group.name.len() as u8);
            out.extend(group.name.as_bytes());
            out.extend(group.last);
            if full {
                out.push(group.read);
            }
            out.push(group.pending.len() as u8);
            for seq in &group.pending {
                out.extend(id(*seq));
                out.extend(1_700_000_000_000u64.to_le_bytes());
                out.push(3);
            }
            out.push(group.consumers.len() as u8);
            for (name, pending) in &group.consumers {
                out.push(name.len() as u8);
                out.extend(name.as_bytes());
                out.extend(1_700_000_000_000u64.to_le_bytes());
                out.push(pending.len() as u8);
                pending.iter().for_each(|seq| out.extend(id(*seq)));
            }
        }
        sealed(&out)
    }

    /// This stream, changed.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    fn with_node(&self, items: &'static str) -> Self {
        self.with(|stream| stream.nodes[0].1 = items.split(' ').collect())
    }
}

/// Who takes a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Both,
    Neither,
    /// A difference that is documented: nothing unsound may get into the arena.
    Redis,
}

fn streams(kind: u8) -> Vec<(&'static str, Takes, Stream)> {
    use Takes::{Both, Neither, Redis};
    let base = sound(kind);
    let group = |change: fn(&mut Group)| base.with(|stream| change(&mut stream.groups[0]));
    vec![
        ("a sound one", Both, base.clone()),
        ("no group", Both, base.with(|stream| stream.groups.clear())),
        (
            "two nodes",
            Both,
            base.with(|stream| {
                stream.nodes.push(((7, 0), "1 0 1 f 0 2 0 0 v 4".split(' ').collect()));
                (stream.length, stream.last) = (4, [7, 0]);
            }),
        ),
        (
            "nothing in it",
            Both,
            base.with(|stream| {
                stream.nodes.clear();
                stream.length = 0;
                stream.rest[0] = 0;
                // How Redis notes the first id of an empty stream in the older format: as the greatest.
                stream.kind = STREAM_2;
            }),
        ),
        ("a group that has read all", Both, group(|group| group.last = [6, 0])),
        ("a group before the first", Both, group(|group| group.last = [1, 0])),
        ("a group beyond the last", Both, group(|group| group.last = [9, 0])),
        (
            "pending entries that are gone",
            Both,
            group(|group| {
                group.pending = vec![2, 9];
                group.consumers = vec![("alice", vec![2, 9])];
            }),
        ),
        ("a length without entries", Neither, base.with(|stream| stream.nodes.clear())),
        ("a node without items", Neither, base.with(|stream| stream.nodes[0].1.clear())),
        ("a wrong count", Neither, base.with_node("2 1 1 f 0 2 0 0 v 4 2 0 1 w 4")),
        ("a wrong count of deleted", Redis, base.with_node("1 1 1 f 0 2 0 0 v 4 2 0 1 w 4")),
        ("text where a count belongs", Neither, base.with_node("x 0 1 f 0 2 0 0 v 4")),
        ("text where an id belongs", Neither, base.with_node("1 0 1 f 0 2 x 0 v 4")),
        ("a wrong length of an entry", Neither, base.with_node("1 0 1 f 0 2 0 0 v 5")),
        ("no end of the fields", Neither, base.with_node("1 0 1 f 7 2 0 0 v 4")),
        ("more fields than there are", Neither, base.with_node("1 0 100 f 0 2 0 0 v 4")),
        ("an entry that ends too early", Neither, base.with_node("1 0 2 f g 0 2 0 0 v 5")),
        (
            "a node twice",
            Neither,
            base.with(|stream| {
                stream.nodes.push(stream.nodes[0].clone());
                stream.length = 6;
            }),
        ),
        (
            "a consumer has what is not pending",
            Neither,
            group(|group| {
                group.consumers[0].1 = vec![8];
            }),
        ),
        ("a pending entry that nobody has", Neither, group(|group| group.consumers.truncate(1))),
        ("a pending entry twice", Neither, group(|group| group.pending = vec![0, 1, 1])),
        ("a consumer twice", Neither, group(|group| group.consumers[1].0 = "alice")),
        (
            "a group twice",
            Neither,
            base.with(|stream| {
                stream.groups.push(stream.groups[0].clone());
            }),
        ),
        ("another length", Redis, base.with(|stream| stream.length = 9)),
        ("an entry behind the last id", Redis, base.with(|stream| stream.last = [5, 0])),
        (
            "ids in disorder",
            Redis,
            base.with_node("2 0 1 f 0 2 1 0 v 4 2 0 0 w 4").with(|stream| {
                stream.length = 2;
            }),
        ),
        ("one entry of two consumers", Neither, group(|group| group.consumers[2].1 = vec![1])),
    ]
}

/// All that can be seen of a stream.
fn full(client: &mut Client) -> [Value; 2] {
    [client.call(&["XINFO", "STREAM", "k", "FULL"]), client.call(&["XRANGE", "k", "-", "+"])]
}

#[test]
fn streams_of_both_formats_are_read_as_redis_reads_them() {
    let servers = [Setup::redis(), Setup::candidate()].map(start);
    let [mut redis, mut hot] = [servers[0].connect(), servers[1].connect()];
    let names = (&Names::default(), &Names::default());
    let cases = [STREAM_1, STREAM_2].into_iter().flat_map(streams);
    for (what, takes, stream) in cases {
        let payload = stream.payload();
        let expected = restore(&mut redis, "k", &payload);
        let found = restore(&mut hot, "k", &payload);
        let taken = (!expected.is_error(), !found.is_error());
        let told = format!("{what}, kind {}: {expected:?} and {found:?}", stream.kind);
        match takes {
            Takes::Both => assert_eq!(taken, (true, true), "{told}"),
            Takes::Neither => assert_eq!(found, expected, "{told}"),
            Takes::Redis => assert_eq!(taken, (true, false), "{told}"),
        }
        assert!(takes != Takes::Neither || !taken.0, "{told}");
        if takes == Takes::Both {
            for (theirs, ours) in full(&mut redis).iter().zip(&full(&mut hot)) {
                assert!(
                    same(Mask::StreamTimes, theirs, ours, names),
                    "{what}: {theirs:?}\n{ours:?}"
                );
            }
        }
    }
    // The checker is run at the end.
    servers.into_iter().for_each(Server::finish);
}

#[test]
fn what_is_around_a_value_has_to_be_right() {
    let servers = [Setup::redis(), Setup::candidate()].map(start);
    let [mut redis, mut hot] = [servers[0].connect(), servers[1].connect()];
    let whole = sealed(b"\x00\x05hello");
    let mut payloads: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        payloads.push(damaged);
    }
    // Bytes behind the value, under a checksum that is right; no value at all; kinds that are none.
    payloads.push(sealed(b"\x00\x05hello, world"));
    payloads.extend((0..=255).map(|kind| sealed(&[kind])));
    payloads.push(sealed(b""));
    // No checksum: zeros stand for one that was not computed in files, not here.
    let mut unsigned = whole.clone();
    let end = unsigned.len();
    unsigned[end - 8..].fill(0);
    payloads.push(unsigned);
    for payload in &payloads {
        let shown = payload.escape_ascii();
        assert_eq!(restore(&mut hot, "k", payload), restore(&mut redis, "k", payload), "{shown}");
        assert_eq!(hot.call(&["GET", "k"]), redis.call(&["GET", "k"]), "{shown}");
    }
    servers.into_iter().for_each(Server::finish);
}

/// Commands that make values of every type in every form under keys of their own.
const VALUES: &[&str] = &[
    "SET string text",
    "SET number 12345",
    "RPUSH list 1 a -70000 bcd 5000000000",
    "SADD ints 1 2 3 70000 -5000000000",
    "SADD set a b c 1 2",
    "HSET hash f v g 1 h text",
    "ZADD zset 1 a 2.5 b -inf c 1e300 d",
    "XADD stream 1-1 f v g w",
    "XADD stream 1-2 f x g y",
    "XADD stream 7-0 other field",
    "XDEL stream 1-2",
    "XGROUP CREATE stream group 0 ENTRIESREAD 1",
    "XREADGROUP GROUP group alice COUNT 1 STREAMS stream >",
    "XGROUP CREATECONSUMER stream group idle",
];

/// What changes values of the types in every way that their insides are looked into.
const CHANGES: &[&str] = &[
    "APPEND k text",
    "SETBIT k 70 1",
    "INCR k",
    "LPUSH k x",
    "LINSERT k BEFORE a y",
    "LREM k 0 a",
    "LSET k -1 z",
    "LRANGE k 0 -1",
    "RPOP k 3",
    "SADD k 99 m",
    "SREM k 1 a",
    "SMEMBERS k",
    "SPOP k 2",
    "HSET k f 2 new 1",
    "HDEL k g",
    "HGETALL k",
    "ZADD k 3 a 4 new",
    "ZREM k b",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZPOPMIN k 2",
    "XADD k MAXLEN 2 * f v",
    "XINFO STREAM k FULL",
    "XREADGROUP GROUP group bob STREAMS k >",
    "XACK k group 1-1",
    "XDEL k 7-0",
    "XTRIM k MAXLEN 0",
    "SORT k ALPHA",
    "DEBUG DIGEST-VALUE k",
];

fn call_line(client: &mut Client, line: &str) -> Value {
    client.call(&line.split(' ').collect::<Vec<_>>())
}

/// Changes bytes behind the first, which says what the value is, and mends the checksum.
fn damage(rng: &mut Rng, payload: &[u8]) -> Vec<u8> {
    const TRAILER: usize = 10;
    let mut content = payload[..payload.len() - TRAILER].to_vec();
    for _ in 0..1 + rng.below(3) {
        let at = 1 + rng.below(content.len() - 1);
        match rng.below(6) {
            0 => content[at] = rng.below(256) as u8,
            1 => content[at] ^= 1 << rng.below(8),
            2 => content[at] = content[at].wrapping_add(1),
            3 => content[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
            4 => content.insert(at, rng.below(256) as u8),
            _ if content.len() > 2 => drop(content.remove(at)),
            _ => {}
        }
    }
    sealed(&content)
}

#[test]
fn no_damaged_dump_harms_the_server() {
    let seed = seed_or(4_711);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = start(Setup::hotredis());
    let mut client = server.connect();
    assert_eq!(client.call(&["CONFIG", "SET", "rdbcompression", "no"]).text(), "OK");
    for line in VALUES {
        assert!(!call_line(&mut client, line).is_error(), "{line}");
    }
    let keys = ["string", "number", "list", "ints", "set", "hash", "zset", "stream"];
    let mut payloads: Vec<Vec<u8>> = keys
        .iter()
        .map(|key| client.call(&["DUMP", key]).as_bytes().expect("it is there").to_vec())
        .collect();
    payloads.extend([STREAM_1, STREAM_2].map(|kind| sound(kind).payload()));
    let (mut taken, mut refused) = (0, 0);
    for round in 0..12_000 {
        let payload = damage(&mut rng, &payloads[round % payloads.len()]);
        if restore(&mut client, "k", &payload).is_error() {
            refused += 1;
            continue;
        }
        taken += 1;
        // What was taken can be written, and that can be read.
        let dump = client.call(&["DUMP", "k"]);
        let dump = dump.as_bytes().unwrap_or_else(|| panic!("{}", payload.escape_ascii()));
        let again = restore(&mut client, "copy", dump);
        assert!(!again.is_error(), "{again:?}: {}", payload.escape_ascii());
        let change = *rng.pick(CHANGES);
        call_line(&mut client, change);
        if taken % 500 == 0 {
            server.check();
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
    server.finish();
}
