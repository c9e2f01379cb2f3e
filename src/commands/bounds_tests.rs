//! What commands may cost: what they log, free and look at must not grow with what they do not touch.

use crate::testing::Server;

fn server() -> (Server, usize) {
    let mut server = Server::new();
    let client = server.connect();
    (server, client)
}

fn words<'w>(first: &[&'w [u8]], rest: &'w [Vec<u8>]) -> Vec<&'w [u8]> {
    first.iter().copied().chain(rest.iter().map(Vec::as_slice)).collect()
}

fn numbered(prefix: &str, numbers: impl Iterator<Item = u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| format!("{prefix}{number}").into_bytes()).collect()
}

/// The number in a reply that is an integer.
fn integer(reply: &[u8]) -> i64 {
    let text = std::str::from_utf8(reply).expect("text");
    let number = text.strip_prefix(':').and_then(|text| text.strip_suffix("\r\n"));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text:?}"))
}

/// Makes a sorted set of so many members.
fn zset(server: &mut Server, client: usize, name: &[u8], members: u64) {
    let pairs: Vec<Vec<u8>> = (0..members)
        .flat_map(|n| [format!("{}", n * 7 % members).into(), format!("member:{n}").into()])
        .collect();
    let added = server.ask(client, &words(&[b"ZADD", name], &pairs));
    assert_eq!(integer(&added), members as i64);
}

#[test]
fn whoever_removes_all_elements_removes_the_key_and_frees_it_in_steps() {
    const MEMBERS: u64 = 20_000;
    for command in [
        "ZREMRANGEBYRANK z 0 -1",
        "ZREMRANGEBYSCORE z -inf +inf",
        "ZREMRANGEBYLEX z - +",
        "ZPOPMIN z 30000",
        "ZMPOP 1 z MAX COUNT 20000",
        "XGROUP DESTROY x g",
    ] {
        let (mut server, client) = server();
        server.line(client, "CONFIG SET notify-keyspace-events KEA");
        zset(&mut server, client, b"z", MEMBERS);
        for id in 1..=MEMBERS / 10 {
            server.line(client, &format!("XADD x {id} f v"));
        }
        server.line(client, "XGROUP CREATE x g 0");
        server.line(client, "XREADGROUP GROUP g c STREAMS x >");
        let before = server.executor.arena.used_bytes();
        server.line(client, command);
        let after = server.executor.arena.used_bytes();
        assert!(before - after < 100_000, "{command} freed {} bytes", before - after);
        let key = command.split(' ').find(|word| ["z", "x"].contains(word)).expect("a key");
        let left = server.line(client, &format!("EXISTS {key}"));
        assert_eq!(left, if key == "x" { ":1\r\n" } else { ":0\r\n" }, "{command}");
        server.check();
        for _ in 0..1_000 {
            server.round();
        }
        let freed = before - server.executor.arena.used_bytes();
        assert!(freed > 80_000, "{command} and the background freed {freed} bytes");
        server.check();
    }
}

/// A command that changes a large packed value in very many places logs what stood there once, not each
/// time; what it does not need stays below what a log can hold.
#[test]
fn many_changes_of_a_large_packed_value_fit_into_the_log() {
    const INTS: u64 = 400_000;
    let (mut server, client) = server();
    server.line(client, "CONFIG SET set-max-intset-entries 1000000");
    let far = |n: u64| (n << 32) + n % 7;
    let even = numbered("", (0..INTS).map(|n| far(2 * n)));
    let made = server.ask(client, &words(&[b"SADD", b"s"], &even));
    assert_eq!(integer(&made), INTS as i64);
    // At the front, so each moves all: 3 MB a time, and more than the log may have.
    let odd = numbered("", (0..600).map(|n| far(2 * n + 1)));
    let added = server.ask(client, &words(&[b"SADD", b"s"], &odd));
    assert_eq!(integer(&added), 600);
    assert_eq!(server.line(client, "OBJECT ENCODING s"), "$6\r\nintset\r\n");
    let removed = server.ask(client, &words(&[b"SREM", b"s"], &odd[..500]));
    assert_eq!(integer(&removed), 500);
    assert_eq!(integer(&server.ask(client, &[b"SCARD", b"s"])), INTS as i64 + 100);
    for (number, there) in [(&odd[3], 0), (&odd[555], 1), (&even[3], 1)] {
        assert_eq!(integer(&server.ask(client, &[b"SISMEMBER", b"s", number])), there);
    }
    server.check();
}

/// `MEMORY USAGE` looks at some elements, not at all of them: what it says is near enough.
#[test]
fn memory_usage_is_judged_by_samples() {
    const ELEMENTS: u64 = 60_000;
    let (mut server, client) = server();
    let members = numbered("member:", 0..ELEMENTS);
    server.ask(client, &words(&[b"SADD", b"set"], &members));
    server.ask(client, &words(&[b"RPUSH", b"list"], &members));
    server.ask(client, &words(&[b"HSET", b"hash"], &members));
    zset(&mut server, client, b"zset", ELEMENTS);
    for id in 1..=3_000 {
        server.line(client, &format!("XADD stream {id} field value"));
    }
    server.line(client, "XGROUP CREATE stream group 0");
    server.line(client, "XREADGROUP GROUP group c STREAMS stream >");
    for key in ["set", "list", "hash", "zset", "stream"] {
        let mut usage = |samples: &str| {
            let line = format!("MEMORY USAGE {key}{samples}");
            integer(server.line(client, &line).as_bytes()) as f64
        };
        let exact = usage(" SAMPLES 0");
        for samples in ["", " SAMPLES 1", " SAMPLES 100", " SAMPLES 9223372036854775807"] {
            let judged = usage(samples);
            assert!((judged / exact - 1.0).abs() < 0.15, "{key}{samples}: {judged} for {exact}");
        }
    }
    let others = server.executor.arena.used_bytes();
    let all: f64 = ["set", "list", "hash", "zset", "stream"]
        .iter()
        .map(|key| {
            integer(server.line(client, &format!("MEMORY USAGE {key} SAMPLES 0")).as_bytes())
        })
        .sum::<i64>() as f64;
    // Beside the values there are only the session, the configuration and the table of keys.
    assert!(all < others as f64 && all > others as f64 * 0.9, "{all} of {others}");
}

#[test]
fn memory_stats_count_the_table_of_keys() {
    let (mut server, client) = server();
    let pairs: Vec<Vec<u8>> =
        (0..100_000).flat_map(|n| [format!("key:{n}").into(), b"value".to_vec()]).collect();
    server.ask(client, &words(&[b"MSET"], &pairs));
    let stats = server.line(client, "MEMORY STATS");
    let after = |name: &str| {
        let rest = &stats[stats.find(name).expect("a field") + name.len()..];
        let number = rest.trim_start().trim_start_matches(':').split("\r\n").next();
        number.and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    let table = after("overhead.hashtable.main\r\n");
    // A slot has 8 bytes, and a third of them or more is in use.
    assert!((800_000..2_500_000).contains(&table), "{table}");
    assert_eq!(after("keys.count\r\n"), 100_000);
    assert!(after("dataset.bytes\r\n") < after("total.allocated\r\n") - table + 1);
}

#[test]
fn clients_are_found_by_their_ids_whoever_came_and_went() {
    let mut server = Server::new();
    let control = server.connect();
    let mut waiting = Vec::new();
    let id = |server: &mut Server, client| integer(server.line(client, "CLIENT ID").as_bytes());
    for round in 0..6 {
        for _ in 0..50 {
            let client = server.connect();
            let id = id(&mut server, client);
            server.line(client, "BLPOP nothing 0");
            waiting.push((client, id));
        }
        // Some leave, and others get their slots.
        for _ in 0..20 {
            let (client, id) = waiting.swap_remove(7 * round);
            server.close(client);
            assert_eq!(server.line(control, &format!("CLIENT UNBLOCK {id}")), ":0\r\n");
        }
        for _ in 0..10 {
            let (client, id) = waiting.swap_remove(round);
            assert_eq!(server.line(control, &format!("CLIENT UNBLOCK {id}")), ":1\r\n");
            assert_eq!(server.text(client), "*-1\r\n");
        }
        assert_eq!(server.line(control, "CLIENT UNBLOCK 99999"), ":0\r\n");
        if round == 3 {
            // As in a generation that took over.
            server.executor.state.clients = Default::default();
        }
    }
    let own = id(&mut server, control);
    assert_eq!(server.line(control, &format!("CLIENT UNBLOCK {own}")), ":0\r\n");
    for (client, id) in waiting {
        assert_eq!(server.line(control, &format!("CLIENT UNBLOCK {id} ERROR")), ":1\r\n");
        assert!(server.text(client).starts_with("-UNBLOCKED"));
    }
    server.check();
}
