//! `DUMP`, `RESTORE` and `MIGRATE` between hotredis and redis-server: whatever one of them writes the
//! other reads, and what neither may read both refuse.

use hotredis::rdb;
use hotredis_tests::client::Client;
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

/// A server on which values can be looked into.
fn start(setup: Setup) -> Server {
    setup.directive("enable-debug-command", "yes").directive("sanitize-dump-payload", "yes").start()
}

struct Pair {
    reference: Server,
    candidate: Server,
    redis: Client,
    hot: Client,
}

impl Pair {
    fn start() -> Pair {
        let (reference, candidate) = (start(Setup::redis()), start(Setup::candidate()));
        let (redis, hot) = (reference.connect(), candidate.connect());
        Pair { reference, candidate, redis, hot }
    }

    /// Sends a line of words to both; the replies must be equal.
    fn both(&mut self, line: &str) -> Value {
        let words: Vec<&str> = line.split(' ').collect();
        let (expected, found) = (self.redis.call(&words), self.hot.call(&words));
        assert_eq!(found, expected, "{line}");
        found
    }

    fn finish(self) {
        self.candidate.check();
        self.candidate.finish();
        self.reference.finish();
    }
}

/// What is the same of a value wherever it is: type, encoding and digest.
fn seen(client: &mut Client, key: &str) -> [Value; 3] {
    let digest = match client.call(&["DEBUG", "DIGEST-VALUE", key]) {
        Value::Array(mut digests) => digests.remove(0),
        other => other,
    };
    [client.call(&["TYPE", key]), client.call(&["OBJECT", "ENCODING", key]), digest]
}

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    let reply = client.call(&["DUMP", key]);
    reply.as_bytes().unwrap_or_else(|| panic!("DUMP {key}: {reply:?}")).to_vec()
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) -> Value {
    client.call(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
}

/// Commands that make a value of each type in each encoding, under the key `k`; whether its dump must
/// be the same to the byte, which it is not where the order is a hash table's.
fn values() -> Vec<(&'static str, Vec<String>, bool)> {
    let numbered = |head: &str, count: usize, each: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (0..count).map(each).collect();
        vec![format!("{head} {}", items.join(" "))]
    };
    vec![
        ("a number", vec!["SET k 12345".into()], true),
        ("a large number", vec!["SET k 9223372036854775807".into()], true),
        ("a short string", vec!["SET k hello".into()], true),
        ("a long string", vec![format!("SET k {}", "abc".repeat(5000))], true),
        ("a string that grew", vec!["SET k 1".into(), "APPEND k 2".into()], true),
        ("integers", numbered("SADD k", 100, &|i| (i * 1000).to_string()), true),
        ("wide integers", vec!["SADD k 1 -70000 9000000000 -9000000000000000000".into()], true),
        ("a small set", vec!["SADD k a b c 1".into()], false),
        ("a large set", numbered("SADD k", 2000, &|i| format!("member:{i}")), false),
        (
            "a small hash",
            ["HSET k f v g 1 h".into()]
                .iter()
                .map(|s: &String| format!("{s} {}", "x".repeat(60)))
                .collect(),
            true,
        ),
        ("a hash with a long value", vec![format!("HSET k f {} g 1", "y".repeat(100))], false),
        ("a large hash", numbered("HSET k", 600, &|i| format!("field:{i} {i}")), false),
        (
            "a stream with groups",
            vec![
                "XADD k 1-1 f v g w".into(),
                "XADD k 1-2 f v2 g w2".into(),
                "XADD k 5-0 other field".into(),
                "XADD k 6-0 f 1".into(),
                "XGROUP CREATE k group 0".into(),
                "XGROUP CREATE k later $ ENTRIESREAD 3".into(),
                "XGROUP CREATECONSUMER k group idle".into(),
                "XDEL k 1-2".into(),
            ],
            // When a consumer was seen differs.
            false,
        ),
        (
            "a long stream",
            (0..300).map(|i| format!("XADD k {i}-1 name {i} text abc")).collect(),
            true,
        ),
        ("an empty stream", vec!["XADD k 3-3 a b".into(), "XDEL k 3-3".into()], true),
        ("many integers", numbered("SADD k", 1000, &|i| i.to_string()), false),
    ]
}

#[test]
fn values_go_there_and_back() {
    let mut pair = Pair::start();
    for (what, commands, same) in values() {
        pair.both("DEL k");
        for line in &commands {
            pair.both(line);
        }
        let expected = seen(&mut pair.redis, "k");
        assert_eq!(seen(&mut pair.hot, "k"), expected, "{what}");
        let (from_redis, from_hot) = (dump(&mut pair.redis, "k"), dump(&mut pair.hot, "k"));
        if same {
            assert_eq!(from_hot, from_redis, "the dump of {what}");
        }
        let ok = Value::Simple(b"OK".to_vec());
        // Restoring may find a smaller encoding.
        assert_eq!(restore(&mut pair.redis, "copy", &from_redis), ok, "{what}");
        let expected = seen(&mut pair.redis, "copy");
        assert_eq!(restore(&mut pair.hot, "copy", &from_redis), ok, "{what} from Redis");
        assert_eq!(seen(&mut pair.hot, "copy"), expected, "{what} from Redis");
        assert_eq!(restore(&mut pair.redis, "copy", &from_hot), ok, "{what} to Redis");
        assert_eq!(seen(&mut pair.redis, "copy"), expected, "{what} to Redis");
        if same {
            assert_eq!(dump(&mut pair.hot, "copy"), from_redis, "the dump of the copy of {what}");
        }
        pair.both("COPY k copy REPLACE");
        let expected = seen(&mut pair.redis, "copy");
        assert_eq!(seen(&mut pair.hot, "copy"), expected, "COPY of {what}");
    }
    pair.both("DEL k copy");
    pair.finish();
}

#[test]
fn values_move_to_redis_and_back() {
    let mut pair = Pair::start();
    let ports = [pair.reference.port().to_string(), pair.candidate.port().to_string()];
    for (at, (what, commands, _)) in values().into_iter().enumerate() {
        for line in &commands {
            let line = line.replacen(" k ", &format!(" k{at} "), 1);
            let words: Vec<&str> = line.split(' ').collect();
            assert!(!pair.hot.call(&words).is_error(), "{what}");
        }
    }
    pair.hot.call(&["PEXPIRE", "k0", "100000000"]);
    let before = pair.hot.call(&["DEBUG", "DIGEST"]);
    let keys: Vec<String> = (0..values().len()).map(|at| format!("k{at}")).collect();
    let migrate = |from: &mut Client, port: &str, database: &str| {
        let mut words = vec!["MIGRATE", "127.0.0.1", port, "", database, "10000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        words.push("missing");
        assert_eq!(from.call(&words), Value::Simple(b"OK".to_vec()));
        assert_eq!(from.call(&["DBSIZE"]), Value::Integer(0));
        assert_eq!(from.call(&words), Value::Simple(b"NOKEY".to_vec()));
    };
    migrate(&mut pair.hot, &ports[0], "0");
    assert_eq!(pair.redis.call(&["DEBUG", "DIGEST"]), before);
    let Value::Integer(left) = pair.redis.call(&["PTTL", "k0"]) else { panic!("no time to live") };
    assert!((99_000_000..=100_000_000).contains(&left), "{left}");
    migrate(&mut pair.redis, &ports[1], "0");
    assert_eq!(pair.hot.call(&["DEBUG", "DIGEST"]), before);
    // To another database, so that the connection that was kept has to select it.
    migrate(&mut pair.hot, &ports[0], "3");
    assert_eq!(pair.redis.call(&["SELECT", "3"]), Value::Simple(b"OK".to_vec()));
    assert_eq!(pair.redis.call(&["DBSIZE"]), Value::Integer(keys.len() as i64));
    pair.finish();
}

#[test]
fn migrating_fails_as_in_redis() {
    let mut pair = Pair::start();
    let ports = [pair.reference.port().to_string(), pair.candidate.port().to_string()];
    let lines = [
        "MIGRATE 127.0.0.1 PORT a 0 1000 COPY",
        "MIGRATE 127.0.0.1 PORT a 0 1000",
        "MIGRATE 127.0.0.1 PORT a 0 0 REPLACE COPY",
        "MIGRATE 127.0.0.1 PORT a 77 1000",
        "MIGRATE 127.0.0.1 PORT a 0 1000 AUTH secret",
        "MIGRATE 127.0.0.1 PORT a 0 1000 AUTH2 somebody secret",
        "MIGRATE 127.0.0.1 PORT a 0 1000 AUTH",
        "MIGRATE 127.0.0.1 PORT a 0 1000 AUTH2 somebody",
        "MIGRATE 127.0.0.1 PORT a 0 1000 NONSENSE",
        "MIGRATE 127.0.0.1 PORT a 0 1000 KEYS a",
        "MIGRATE 127.0.0.1 PORT a zero 1000",
        "MIGRATE 127.0.0.1 PORT a 0 soon",
        "MIGRATE 127.0.0.1 PORT missing 0 1000",
        "MIGRATE 127.0.0.1 1 a 0 1000",
        "MIGRATE 127.0.0.1 PORT a 0 1000 REPLACE",
        "MIGRATE 127.0.0.1 PORT a 0 1000",
    ];
    for line in lines {
        pair.both("SET a 1");
        let mut replies = Vec::new();
        for (from, port) in [(&mut pair.redis, &ports[1]), (&mut pair.hot, &ports[0])] {
            let line = line.replace("PORT", port);
            let words: Vec<&str> = line.split(' ').collect();
            replies.push(from.call(&words));
            from.call(&["SET", "a", "1"]);
        }
        assert_eq!(replies[1], replies[0], "{line}");
    }
    pair.finish();
}

/// Payloads that Redis 7 reads and no longer writes.
const OLD: &[(&str, &[u8])] = &[
    ("list", b"\x01\x03\x01a\xc0\xff\x00"),
    ("set", b"\x02\x02\x01a\x01b"),
    ("set of integers", b"\x02\x02\xc0\x01\xc0\x02"),
    ("sorted set with white space", b"\x03\x01\x01a\x04\x0b\x0c.5"),
    ("sorted set with text", b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff"),
    ("hash", b"\x04\x01\x01f\x01v"),
    ("zipmap", b"\x09\x0f\x02\x01a\x02\0bc\x01d\x01\x02exx\xff"),
    (
        "list as a ziplist",
        b"\x0a\x17\x17\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf3\x02\xc0\0\x01\x04\xfe\xff\xff",
    ),
    ("sorted set as a ziplist", b"\x0c\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff"),
    ("hash as a ziplist", b"\x0d\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff"),
    ("list of ziplists", b"\x0e\x01\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff"),
    ("set of integers, packed", b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x05\0"),
    ("hash as a listpack", b"\x10\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff"),
    ("sorted set as a listpack", b"\x11\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff"),
    ("list of listpacks", b"\x12\x02\x02\x0a\x0a\0\0\0\x01\0\x81a\x02\xff\x01\x03xyz"),
    ("string", b"\x00\xc3\x09\x40\x64\x01aa\xe0\x57\x00\x01aa"),
];

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut dump = content.to_vec();
    rdb::seal(&mut dump);
    dump
}

/// Restores a payload at both servers; says whether they took it.
fn restore_at_both(pair: &mut Pair, payload: &[u8], what: &str) -> bool {
    let expected = restore(&mut pair.redis, "k", payload);
    let found = restore(&mut pair.hot, "k", payload);
    assert_eq!(found, expected, "{what}: {}", payload.escape_ascii());
    if found.is_error() {
        return false;
    }
    let expected = seen(&mut pair.redis, "k");
    assert_eq!(seen(&mut pair.hot, "k"), expected, "{what}: {}", payload.escape_ascii());
    true
}

#[test]
fn old_formats_are_read() {
    let mut pair = Pair::start();
    for (what, content) in OLD {
        assert!(restore_at_both(&mut pair, &sealed(content), what), "{what} is refused");
    }
    pair.finish();
}

#[test]
fn damaged_payloads_are_refused() {
    let seed = seed_or(21);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let mut pair = Pair::start();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..3_000 {
        let (what, content) = OLD[round % OLD.len()];
        let mut content = content.to_vec();
        for _ in 0..1 + rng.below(2) {
            // The first byte would make it another type.
            let at = 1 + rng.below(content.len() - 1);
            match rng.below(4) {
                0 => content[at] = rng.below(256) as u8,
                1 => content[at] ^= 1 << rng.below(8),
                2 => content[at] = content[at].wrapping_add(1),
                _ => content.truncate(at.max(2)),
            }
        }
        if restore_at_both(&mut pair, &sealed(&content), what) {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
    pair.finish();
}
