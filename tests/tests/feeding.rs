//! Whatever gives a key a list, a sorted set or a stream serves those who wait for it; whatever takes a
//! stream away ends the wait of its consumers. Always with an upgrade in between.

use hotredis_tests::blocked::{assert_silent, await_blocked, block, blocked, line, upgrade, words};
use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

const STREAM_GONE: &str = "UNBLOCKED the stream key no longer exists";
const NO_GROUP: &str = "NOGROUP the consumer group this client was blocked on no longer exists";

/// A server with the client that feeds and one that waits.
fn start() -> (Server, Client, Client) {
    let server = Setup::candidate().directive("enable-debug-command", "yes").start();
    let (control, waiting) = (server.connect(), server.connect());
    (server, control, waiting)
}

#[test]
fn every_command_that_makes_a_key_serves_it() {
    let cases: &[(&str, &[&str], &str, &str, &str)] = &[
        // Who waits, what is there, who feeds, what the client gets, what is left.
        ("BLPOP r 0", &[], "RPUSH r a b", "r a", "b"),
        ("BRPOP r 0", &[], "LPUSH r a b", "r a", "b"),
        ("BLPOP r 0", &["RPUSH o 1 2"], "RENAME o r", "r 1", "2"),
        ("BLPOP r 0", &["RPUSH o 1 2"], "RENAMENX o r", "r 1", "2"),
        ("BLPOP r 0", &["RPUSH o 1 2"], "COPY o r", "r 1", "2"),
        ("BLPOP r 0", &["RPUSH o 1 2"], "LMOVE o r LEFT LEFT", "r 1", ""),
        ("BLPOP r 0", &["RPUSH o 1 2"], "RPOPLPUSH o r", "r 2", ""),
        ("BLPOP r 0", &["SADD s 3 1 2"], "SORT s STORE r", "r 1", "2 3"),
        ("BZPOPMIN r 0", &[], "ZADD r 2 b 1 a", "r a 1", "b"),
        ("BZPOPMAX r 0", &[], "ZINCRBY r 2 b", "r b 2", ""),
        ("BZPOPMIN r 0", &["ZADD z 1 a 2 b"], "COPY z r", "r a 1", "b"),
        ("BZPOPMIN r 0", &["ZADD z 1 a 2 b"], "RENAME z r", "r a 1", "b"),
        ("BZPOPMIN r 0", &["ZADD z 1 a 2 b"], "ZUNIONSTORE r 1 z", "r a 1", "b"),
        ("BZPOPMIN r 0", &["ZADD z 1 a 2 b"], "ZINTERSTORE r 1 z", "r a 1", "b"),
        ("BZPOPMIN r 0", &["ZADD z 1 a 2 b"], "ZDIFFSTORE r 1 z", "r a 1", "b"),
        ("BZPOPMIN r 0", &["ZADD z 1 a 2 b"], "ZRANGESTORE r z 0 -1", "r a 1", "b"),
        ("BZPOPMIN r 0", &["SADD s k"], "ZUNIONSTORE r 1 s", "r k 1", ""),
        (
            "BZPOPMAX r 0",
            &["GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"],
            "GEOSEARCHSTORE r g FROMLONLAT 15 37 BYRADIUS 200 km ASC",
            "r Catania 3479447370796909",
            "Palermo",
        ),
        (
            "BZPOPMIN r 0",
            &["GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"],
            "GEORADIUS g 15 37 200 km STOREDIST r",
            "r Catania 56.441257870158204",
            "Palermo",
        ),
    ];
    let (server, mut control, mut waiting) = start();
    for (number, (wait, before, feed, served, left)) in cases.iter().enumerate() {
        for before in *before {
            line(&mut control, before);
        }
        block(&mut control, &mut waiting, &wait.split(' ').collect::<Vec<_>>());
        upgrade(&server, number);
        assert!(!line(&mut control, feed).is_error(), "{feed}");
        assert_eq!(waiting.receive(), words(served), "{wait}: {feed}");
        let read = if wait.starts_with("BZ") { "ZRANGE r 0 -1" } else { "LRANGE r 0 -1" };
        let left = if left.is_empty() { Value::Array(Vec::new()) } else { words(left) };
        assert_eq!(line(&mut control, read), left, "{wait}: {feed}");
        line(&mut control, "FLUSHALL");
    }
    server.finish();
}

#[test]
fn restored_and_moved_keys_serve_several() {
    let (server, mut control, _) = start();
    line(&mut control, "RPUSH l 1 2 3");
    let dump = control.call(&["DUMP", "l"]).as_bytes().expect("a dump").to_vec();
    let mut left = blocked(&server, &mut control, 1, &["BLPOP", "r", "0"]);
    let mut right = blocked(&server, &mut control, 1, &["BRPOP", "r", "0"]);
    upgrade(&server, 0);
    control.call(&[b"RESTORE".as_slice(), b"r", b"0", &dump]);
    assert_eq!(left[0].receive(), words("r 1"));
    assert_eq!(right[0].receive(), words("r 3"));
    assert_eq!(line(&mut control, "LRANGE r 0 -1"), words("2"));
    // To another database, where a key of that name is waited for; nobody of this one is served.
    let mut here = blocked(&server, &mut control, 1, &["BLPOP", "m", "0"]);
    let mut there = [server.connect()];
    line(&mut there[0], "SELECT 3");
    block(&mut control, &mut there[0], &["BLPOP", "m", "0"]);
    upgrade(&server, 1);
    line(&mut control, "RENAME l other");
    for feed in ["COPY other m DB 3", "RENAME other again"] {
        line(&mut control, feed);
    }
    assert_eq!(there[0].receive(), words("m 1"));
    assert_silent(&mut control, &mut here);
    block(&mut control, &mut there[0], &["BLPOP", "again", "0"]);
    upgrade(&server, 2);
    line(&mut control, "MOVE again 3");
    assert_eq!(there[0].receive(), words("again 1"));
    server.finish();
}

#[test]
fn swapped_databases_serve_all_their_keys() {
    let (server, mut control, _) = start();
    let keys = ["a", "b", "c", "d", "e"];
    let mut poppers: Vec<_> = keys
        .iter()
        .flat_map(|key| blocked(&server, &mut control, 2, &["BLPOP", key, "0"]))
        .collect();
    let mut scorers = blocked(&server, &mut control, 1, &["BZPOPMIN", "z", "0"]);
    let mut readers =
        blocked(&server, &mut control, 1, &["XREAD", "BLOCK", "0", "STREAMS", "s", "0"]);
    line(&mut control, "SELECT 1");
    for key in keys {
        control.call(&["RPUSH", key, "1", "2", "3"]);
    }
    line(&mut control, "ZADD z 1 m");
    line(&mut control, "XADD s 1-1 f v");
    upgrade(&server, 0);
    line(&mut control, "SWAPDB 0 1");
    // In which order the keys come is nobody's business; but each queue has its own.
    for (number, client) in poppers.iter_mut().enumerate() {
        let element = if number % 2 == 0 { "1" } else { "2" };
        assert_eq!(client.receive(), words(&format!("{} {element}", keys[number / 2])));
    }
    assert_eq!(scorers[0].receive(), words("z m 1"));
    assert!(!readers[0].receive().is_null());
    line(&mut control, "SELECT 0");
    for key in keys {
        assert_eq!(line(&mut control, &format!("LRANGE {key} 0 -1")), words("3"));
    }
    await_blocked(&mut control, 0);
    server.finish();
}

#[test]
fn what_is_of_another_type_serves_nobody() {
    let (server, mut control, _) = start();
    let mut poppers = blocked(&server, &mut control, 2, &["BLPOP", "r", "0"]);
    let mut scorers = blocked(&server, &mut control, 1, &["BZPOPMAX", "r", "0"]);
    upgrade(&server, 0);
    line(&mut control, "SADD s b a");
    for feed in ["SET r x", "SUNIONSTORE r s", "HSET r f v", "XADD r 1-1 f v"] {
        line(&mut control, "DEL r");
        assert!(!line(&mut control, feed).is_error(), "{feed}");
        assert_silent(&mut control, &mut poppers);
        assert_silent(&mut control, &mut scorers);
    }
    // What takes the place of another value is no new key.
    assert_eq!(line(&mut control, "SORT s ALPHA STORE r"), Value::Integer(2));
    assert_eq!(line(&mut control, "RPUSH r c"), Value::Integer(3));
    assert_silent(&mut control, &mut poppers);
    line(&mut control, "DEL r");
    line(&mut control, "ZADD r 1 m");
    assert_eq!(scorers[0].receive(), words("r m 1"));
    line(&mut control, "RPUSH r 1 2 3");
    assert_eq!(poppers[0].receive(), words("r 1"));
    assert_eq!(poppers[1].receive(), words("r 2"));
    server.finish();
}

#[test]
fn who_cannot_be_served_has_the_error_and_the_next_one_the_element() {
    let (server, mut control, _) = start();
    let mut movers =
        blocked(&server, &mut control, 2, &["BLMOVE", "src", "dst", "LEFT", "RIGHT", "0"]);
    let mut popper = blocked(&server, &mut control, 1, &["BLPOP", "src", "0"]);
    line(&mut control, "SET dst x");
    upgrade(&server, 0);
    assert_eq!(line(&mut control, "RPUSH src 1"), Value::Integer(1));
    for mover in &mut movers {
        assert!(mover.receive().text().starts_with("WRONGTYPE"));
    }
    assert_eq!(popper[0].receive(), words("src 1"));
    assert_eq!(line(&mut control, "EXISTS src"), Value::Integer(0));
    let errors = line(&mut control, "INFO errorstats");
    assert!(errors.text().contains("errorstat_WRONGTYPE:count=2"), "{}", errors.text());
    server.finish();
}

/// Has a client wait as a consumer of the stream `s`, which is made anew.
fn consume(control: &mut Client, client: &mut Client) {
    line(control, "DEL s");
    line(control, "XADD s 1-1 f v");
    line(control, "XGROUP CREATE s g $");
    let read = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"];
    block(control, client, &read);
}

#[test]
fn consumers_hear_that_their_stream_is_gone() {
    let (server, mut control, mut waiting) = start();
    line(&mut control, "RPUSH l 1");
    let dump = control.call(&["DUMP", "l"]).as_bytes().expect("a dump").to_vec();
    consume(&mut control, &mut waiting);
    upgrade(&server, 0);
    control.call(&[b"RESTORE".as_slice(), b"s", b"0", &dump, b"REPLACE"]);
    assert_eq!(waiting.receive(), Value::error(STREAM_GONE));
    let ends = [
        ("DEL s", STREAM_GONE),
        ("SET s x", STREAM_GONE),
        ("FLUSHDB", STREAM_GONE),
        ("RENAME s t", STREAM_GONE),
        ("MOVE s 2", STREAM_GONE),
        ("SWAPDB 0 4", STREAM_GONE),
        ("COPY l s REPLACE", STREAM_GONE),
        ("XGROUP DESTROY s g", NO_GROUP),
        ("COPY o s REPLACE", NO_GROUP),
        ("RENAME o s", NO_GROUP),
    ];
    for (number, (end, error)) in ends.into_iter().enumerate() {
        consume(&mut control, &mut waiting);
        line(&mut control, "XADD o * f v");
        line(&mut control, "LPUSH l 1");
        upgrade(&server, number + 1);
        assert!(!line(&mut control, end).is_error(), "{end}");
        assert_eq!(waiting.receive(), Value::error(error), "{end}");
    }
    server.finish();
}

/// Keys expire on access only, so that the access is what ends the wait.
#[test]
fn consumers_hear_of_a_stream_that_is_found_expired() {
    let (server, mut control, mut waiting) = start();
    line(&mut control, "DEBUG SET-ACTIVE-EXPIRE 0");
    line(&mut control, "SET other x");
    let finds = [
        "EXISTS s",
        "XLEN s",
        // Fails, and still finds it.
        "LCS s other IDX LEN",
        "SCAN 0 COUNT 1000",
        "RANDOMKEY",
        "DEBUG RELOAD",
        "DEBUG POPULATE 1 s",
    ];
    for (number, find) in finds.into_iter().enumerate() {
        if find.starts_with("DEBUG POPULATE") {
            // The key that it makes has a number behind its name.
            line(&mut control, "DEL s:0");
            line(&mut control, "XADD s:0 1-1 f v");
            line(&mut control, "XGROUP CREATE s:0 g $");
            let read = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s:0", ">"];
            block(&mut control, &mut waiting, &read);
            line(&mut control, "PEXPIRE s:0 1");
        } else {
            consume(&mut control, &mut waiting);
            line(&mut control, "PEXPIRE s 1");
        }
        upgrade(&server, number);
        std::thread::sleep(std::time::Duration::from_millis(5));
        if find == "RANDOMKEY" {
            // It may choose the other one.
            line(&mut control, "DEL other");
        }
        line(&mut control, find);
        assert_eq!(waiting.receive(), Value::error(STREAM_GONE), "{find}");
        line(&mut control, "SET other x");
    }
    server.finish();
}

#[test]
fn debug_reload_looks_like_a_flush() {
    let (server, mut control, mut waiting) = start();
    consume(&mut control, &mut waiting);
    let mut watcher = server.connect();
    line(&mut watcher, "WATCH s");
    upgrade(&server, 0);
    line(&mut control, "DEBUG RELOAD");
    // The stream is there again before anybody is served.
    assert_silent(&mut control, std::slice::from_mut(&mut waiting));
    line(&mut watcher, "MULTI");
    line(&mut watcher, "PING");
    assert!(line(&mut watcher, "EXEC").is_null());
    line(&mut control, "XADD s 2-1 f v");
    assert!(!waiting.receive().is_error());
    server.finish();
}
