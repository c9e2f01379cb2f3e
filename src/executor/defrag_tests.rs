//! Defragmentation: what is left of much gives memory back, and stays what it was.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shm::alloc::{Evacuation, Survey};

use crate::testing::Server;

const KEYS: u64 = 150_000;

/// One of five is kept, at random.
fn is_kept(key: u64) -> bool {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).is_multiple_of(5)
}

fn key(key: u64) -> String {
    format!("key:{key:012}")
}

/// Keys with values of several sizes, of which four of five are deleted again.
fn thinned_out() -> (Server, usize) {
    let mut server = Server::new();
    let client = server.connect();
    server.line(client, "CONFIG SET active-defrag-ignore-bytes 1 activedefrag no");
    for n in 0..KEYS {
        let value = "x".repeat(20 + (n % 3) as usize * 30);
        server.line(client, &format!("SET {} {value}{n}", key(n)));
    }
    for n in (0..KEYS).filter(|n| !is_kept(*n)) {
        server.line(client, &format!("DEL {}", key(n)));
    }
    (0..50).for_each(|_| server.round());
    (server, client)
}

fn check_values(server: &mut Server, client: usize) {
    for n in (0..KEYS).filter(|n| is_kept(*n)) {
        let text = format!("{}{n}", "x".repeat(20 + (n % 3) as usize * 30));
        let expected = format!("${}\r\n{text}\r\n", text.len());
        assert_eq!(server.line(client, &format!("GET {}", key(n))), expected);
    }
}

/// A round, and a slice of a cycle whether it is due or not.
fn go_on(server: &mut Server) {
    server.round();
    if is_running(server) {
        server.executor.defragment_slice(crate::util::time::monotonic_us());
    }
}

fn is_running(server: &Server) -> bool {
    server.executor.background.defrag.is_running()
}

/// Goes on until the cycle under way has come to its end.
fn end(server: &mut Server) {
    let mut slices = 0;
    while is_running(server) {
        go_on(server);
        slices += 1;
        assert!(slices < 100_000, "a cycle without end");
    }
}

/// The number of that name in `INFO`.
fn info(server: &mut Server, client: usize, name: &str) -> u64 {
    let text = server.line(client, "INFO");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {text}"))
}

#[test]
fn what_is_left_of_much_gives_back_most() {
    let (mut server, client) = thinned_out();
    let before = server.executor.arena.stats();
    assert!(before.spans > 2 * before.used, "{before:?}");
    server.line(client, "CONFIG SET activedefrag yes");
    go_on(&mut server);
    assert!(info(&mut server, client, "active_defrag_running") > 0);
    end(&mut server);
    assert_eq!(info(&mut server, client, "active_defrag_running"), 0);
    for name in ["hits", "key_hits"] {
        assert!(info(&mut server, client, &format!("active_defrag_{name}")) > KEYS / 8);
    }
    (0..50).for_each(|_| server.round());
    let after = server.executor.arena.stats();
    assert!(after.spans * 2 < before.spans, "{before:?}, then {after:?}");
    assert!(after.heap * 2 < before.heap, "{before:?}, then {after:?}");
    assert_eq!(server.executor.arena.evacuating(), 0);
    check_values(&mut server, client);
    server.check();
}

/// Commands between the steps of a cycle change what it is at.
#[test]
fn keys_change_while_they_are_moved() {
    let (mut server, client) = thinned_out();
    server.line(client, "CONFIG SET activedefrag yes");
    server.round();
    assert!(is_running(&server));
    let mut n = 0;
    while is_running(&server) {
        for _ in 0..20 {
            n += 1;
            let name = key(n * 7 % KEYS);
            server.line(client, &format!("SET {name} {n}"));
            server.line(client, &format!("APPEND {} more", key(n * 11 % KEYS)));
            server.line(client, &format!("DEL {}", key(n * 13 % KEYS)));
            server.line(client, &format!("SETRANGE {} 70000 end", key(n * 17 % 50)));
        }
        go_on(&mut server);
        assert!(n < 1_000_000, "a cycle without end");
    }
    server.check();
}

#[test]
fn a_new_owner_ends_what_another_has_begun() {
    let (mut server, client) = thinned_out();
    server.line(client, "CONFIG SET activedefrag yes");
    while server.executor.arena.evacuating() == 0 {
        go_on(&mut server);
    }
    server.executor.background = Default::default();
    server.line(client, "CONFIG SET activedefrag no");
    server.round();
    end(&mut server);
    assert_eq!(server.executor.arena.evacuating(), 0);
    check_values(&mut server, client);
    server.check();
}

/// Without the directive, `MEMORY PURGE` has the memory given back once.
#[test]
fn memory_is_given_back_when_it_is_asked_for() {
    let (mut server, client) = thinned_out();
    let before = server.executor.arena.stats();
    server.round();
    assert!(!is_running(&server));
    assert_eq!(server.line(client, "MEMORY PURGE"), "+OK\r\n");
    server.round();
    assert!(is_running(&server));
    end(&mut server);
    (0..50).for_each(|_| server.round());
    let after = server.executor.arena.stats();
    assert!(after.heap * 2 < before.heap, "{before:?}, then {after:?}");
    assert!(!is_running(&server));
    check_values(&mut server, client);
    server.check();
}

/// Commands that make a value of each type whose blocks hang on its entry; it grows with `n`.
fn makers(n: u64) -> Vec<String> {
    let many = |each: &dyn Fn(u64) -> String| -> String {
        (0..120 + n % 80).map(|i| format!(" {}", each(i))).collect()
    };
    let text = |i: u64| format!("{:0>1$}", n * 7919 + i, 20 + (i % 90) as usize);
    let mut lines = vec![
        format!("SETRANGE blob:{n} {} {}", n * 997 % 60_000, text(60)),
        format!("RPUSH list:{n}{}", many(&|i| text(i).repeat(2))),
        format!("SADD set:{n}{}", many(&text)),
        format!("HSET hash:{n}{}", many(&|i| format!("{} {}", text(i), text(i + 1)))),
        format!("ZADD zset:{n}{}", many(&|i| format!("{} {}", i * i % 977, text(i)))),
        format!("XGROUP CREATE stream:{n} readers $ MKSTREAM"),
        format!("XGROUP CREATE stream:{n} others $"),
    ];
    for i in 0..60 + n % 60 {
        lines.push(format!("XADD stream:{n} {i}-1 field {} other {}", text(i), text(i + 5)));
    }
    for reader in 0..3 {
        lines.push(format!(
            "XREADGROUP GROUP readers reader:{reader} COUNT 15 STREAMS stream:{n} >"
        ));
    }
    lines
}

const TYPES: [&str; 6] = ["blob", "list", "set", "hash", "zset", "stream"];

/// Every key with what `DUMP` says of it.
fn dumps(server: &mut Server, client: usize) -> Vec<(String, Vec<u8>)> {
    let keys = server.line(client, "KEYS *");
    let mut keys: Vec<String> =
        keys.lines().filter(|line| line.contains(':')).map(str::to_owned).collect();
    keys.sort();
    let dump = |key: String| {
        let dump = server.ask(client, &[b"DUMP", key.as_bytes()]);
        (key, dump)
    };
    keys.into_iter().map(dump).collect()
}

#[test]
fn what_hangs_on_values_of_every_type_is_moved() {
    const VALUES: u64 = 150;
    let mut server = Server::new();
    let client = server.connect();
    server.line(client, "CONFIG SET active-defrag-ignore-bytes 1 activedefrag no");
    for line in (0..VALUES).flat_map(makers) {
        let reply = server.line(client, &line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    for n in (0..VALUES).filter(|n| !is_kept(*n)) {
        let keys = TYPES.map(|kind| format!("{kind}:{n}"));
        assert_eq!(server.line(client, &format!("DEL {}", keys.join(" "))), ":6\r\n");
    }
    (0..500).for_each(|_| server.round());
    let (before, kept) = (server.executor.arena.stats(), dumps(&mut server, client));
    assert!(kept.len() > 100, "{}", kept.len());
    server.executor.defragment_all();
    end(&mut server);
    server.check();
    let after = server.executor.arena.stats();
    assert!(after.spans * 2 < before.spans, "{before:?}, then {after:?}");
    assert_eq!(dumps(&mut server, client), kept);
    // No block of any type was left behind in a span of which little is in use.
    let mut survey = Survey::default();
    while survey.look(&server.executor.arena, 1000) == Evacuation::More {}
    assert_eq!(survey.won(), 0, "{after:?}");
}

/// A command that changes something of some type.
fn change(random: &mut StdRng) -> String {
    let n = random.random_range(0..4u32);
    let i = random.random_range(0..130u32);
    let text = "y".repeat(random.random_range(1..300));
    match random.random_range(0..30u32) {
        0 => format!("DEL {}:{n}", TYPES[random.random_range(0..6)]),
        1 => format!("RENAME {0}:{n} {0}:{1}", TYPES[random.random_range(0..6)], i % 4),
        2 => format!("COPY {0}:{n} {0}:{1} REPLACE", TYPES[random.random_range(0..6)], i % 4),
        3 => "SWAPDB 0 1".into(),
        4 => format!("EXPIRE {}:{n} 1000", TYPES[random.random_range(0..6)]),
        5 => format!("LTRIM list:{n} {} -{}", i / 9, i / 7 + 1),
        6 => format!("LREM list:{n} -2 {text}"),
        7 | 8 => format!("RPUSH list:{n} {text} {text} {text}"),
        9 => format!("LPUSH list:{n} {text}"),
        10 => format!("LPOP list:{n} {}", i / 3),
        11 => format!("SETRANGE blob:{n} {} {text}", i * 700),
        12 => format!("SET blob:{n} {text}"),
        13 | 14 => format!("SADD set:{n} {text} {i}"),
        15 => format!("SPOP set:{n} {}", i / 4),
        16 | 17 => format!("HSET hash:{n} {i} {text}"),
        18 => format!("HDEL hash:{n} {i} {}", i + 1),
        19 | 20 => format!("ZADD zset:{n} {i} {text} {} {i}", i / 2),
        21 => format!("ZREMRANGEBYRANK zset:{n} {} {}", i / 2, i),
        22 => format!("XADD stream:{n} * f {text}"),
        23 => format!("XREADGROUP GROUP readers reader:{} COUNT 5 STREAMS stream:{n} >", i % 5),
        24 => format!("XAUTOCLAIM stream:{n} readers reader:{} 0 0 COUNT 9", i % 5),
        25 => format!("XACK stream:{n} readers {i}-1 {}-1", i + 1),
        26 => format!("XTRIM stream:{n} MAXLEN {i}"),
        27 => format!("XGROUP DELCONSUMER stream:{n} readers reader:{}", i % 5),
        _ => makers(n.into()).swap_remove(random.random_range(0..8)),
    }
}

/// A cycle of the smallest steps, over values of each type that change between any two of them.
#[test]
fn values_of_every_type_change_while_they_are_moved() {
    for seed in 1..=6 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = Server::new();
        let client = server.connect();
        server.line(client, "CONFIG SET activedefrag no list-max-listpack-size 5");
        (0..4).flat_map(makers).for_each(|line| drop(server.line(client, &line)));
        let (mut steps, mut moved) = (0, 0);
        for _ in 0..5 {
            for _ in 0..60 {
                server.line(client, &change(&mut random));
            }
            (0..30).for_each(|_| server.round());
            server.executor.defragment_all();
            while is_running(&server) {
                server.executor.defragment_little(random.random_range(1..120));
                steps += 1;
                if steps % 7 == 0 {
                    server.line(client, &change(&mut random));
                }
                if steps % 101 == 0 {
                    server.check();
                }
            }
            server.check();
            moved = info(&mut server, client, "active_defrag_hits");
        }
        assert!(steps > 300 && moved > 1_000, "{steps} steps, {moved} moved");
    }
}

/// However much hangs on one key, a step of its walk moves little.
#[test]
fn a_large_value_is_moved_in_small_steps() {
    const ELEMENTS: u64 = 60_000;
    let many = |each: &dyn Fn(u64) -> String, from: u64| -> String {
        (from..from + 500).map(|n| format!(" {}", each(n))).collect()
    };
    let text = |n: u64| format!("element:{n:012}");
    let adders: [(&str, &dyn Fn(u64) -> String); 4] = [
        ("RPUSH", &|n| text(n).repeat(4)),
        ("SADD", &text),
        ("HSET", &|n| format!("{} {n}", text(n))),
        ("ZADD", &|n| format!("{n} {}", text(n))),
    ];
    for (command, each) in adders {
        let mut server = Server::new();
        let client = server.connect();
        server.line(client, "CONFIG SET activedefrag no");
        // Of two values that grow together one goes: every other block is free then.
        for from in (0..ELEMENTS).step_by(500) {
            for key in ["key", "copy"] {
                server.line(client, &format!("{command} {key}{}", many(each, from)));
            }
        }
        server.line(client, "DEL key");
        (0..1_000).for_each(|_| server.round());
        let dump = server.line(client, "DUMP copy");
        server.executor.defragment_all();
        let (mut before, mut most, mut steps) = (0, 0, 0);
        while is_running(&server) {
            server.executor.defragment_little(512);
            let counters = &server.executor.arena.get(server.executor.root()).counters;
            let moved = counters.defrag_hits.get().to_native();
            (most, before, steps) = (most.max(moved - before), moved, steps + 1);
        }
        // A mover is spent by so many moves, and ends behind the element or the leaf that it is at.
        assert!(most <= 512 / 9 + 8, "{command}: {most} moves in a step");
        assert!(before > 300 && steps > 20, "{command}: {before} moves in {steps} steps");
        assert_eq!(server.line(client, "DUMP copy"), dump, "{command}");
        server.check();
    }
}

/// A segment that is joined with one in which nothing expires does not forget what expires in it.
#[test]
fn keys_expire_whose_segments_were_joined() {
    let mut server = Server::new();
    let client = server.connect();
    (0..4_000).for_each(|n| drop(server.line(client, &format!("SET {} x", key(n)))));
    (0..4_000)
        .filter(|n| n % 10 != 0)
        .for_each(|n| drop(server.line(client, &format!("DEL {}", key(n)))));
    for n in (0..4_000).step_by(800) {
        assert_eq!(server.line(client, &format!("PEXPIRE {} 100", key(n))), ":1\r\n");
    }
    server.line(client, "MEMORY PURGE");
    go_on(&mut server);
    end(&mut server);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while server.line(client, "DBSIZE") != ":395\r\n" {
        server.round();
        assert!(std::time::Instant::now() < deadline, "{}", server.line(client, "DBSIZE"));
    }
    server.check();
}
