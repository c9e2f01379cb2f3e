//! Defragmentation: what is left of much gives memory back, and stays what it was.

use crate::testing::Server;

const KEYS: u64 = 40_000;

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

#[test]
fn what_is_left_of_much_gives_back_most() {
    let (mut server, client) = thinned_out();
    let before = server.executor.arena.stats();
    assert!(before.spans > 2 * before.used, "{before:?}");
    server.line(client, "CONFIG SET activedefrag yes");
    let mut rounds = 0;
    server.round();
    while server.executor.background.defrag.is_running() {
        server.round();
        rounds += 1;
        assert!(rounds < 100_000, "a cycle without end");
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
    assert!(server.executor.background.defrag.is_running());
    let mut n = 0;
    while server.executor.background.defrag.is_running() {
        for _ in 0..20 {
            n += 1;
            let name = key(n * 7 % KEYS);
            server.line(client, &format!("SET {name} {n}"));
            server.line(client, &format!("APPEND {} more", key(n * 11 % KEYS)));
            server.line(client, &format!("DEL {}", key(n * 13 % KEYS)));
            server.line(client, &format!("SETRANGE {} 70000 end", key(n * 17 % 50)));
        }
        server.round();
        assert!(n < 1_000_000, "a cycle without end");
    }
    server.check();
}

#[test]
fn a_new_owner_ends_what_another_has_begun() {
    let (mut server, client) = thinned_out();
    server.line(client, "CONFIG SET activedefrag yes");
    while server.executor.arena.evacuating() == 0 {
        server.round();
    }
    server.executor.background = Default::default();
    server.line(client, "CONFIG SET activedefrag no");
    server.round();
    while server.executor.background.defrag.is_running() {
        server.round();
    }
    assert_eq!(server.executor.arena.evacuating(), 0);
    check_values(&mut server, client);
    server.check();
}
