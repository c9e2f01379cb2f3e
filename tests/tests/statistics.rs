//! Counters by command and by error code, against redis-server, and through upgrades.

use std::collections::BTreeMap;

use hotredis_tests::client::Client;
use hotredis_tests::server::Setup;

/// Field and value of every line of some sections, without what is time.
fn counters(client: &mut Client) -> BTreeMap<String, String> {
    let info = client.call(&["INFO", "commandstats", "errorstats", "stats"]);
    let mut found = BTreeMap::new();
    for (field, value) in info.text().lines().filter_map(|line| line.split_once(':')) {
        if field.starts_with("cmdstat_") || field.starts_with("errorstat_") {
            let counts = value.split(',').filter(|part| !part.starts_with("usec"));
            found.insert(field.to_owned(), counts.collect::<Vec<_>>().join(","));
        } else if matches!(field, "total_error_replies" | "total_commands_processed") {
            found.insert(field.to_owned(), value.to_owned());
        }
    }
    found
}

const SCRIPT: &[&[&str]] = &[
    &["CONFIG", "RESETSTAT"],
    &["SET", "s", "a"],
    &["GET", "s"],
    &["get", "s"],
    &["GET"],
    &["INCR", "s"],
    &["NOSUCH", "x"],
    &["CONFIG", "NOSUCH"],
    &["CONFIG"],
    &["CLIENT", "ID"],
    &["AUTH", "x", "y"],
    &["MULTI"],
    &["INCR", "s"],
    &["SET", "t", "1"],
    &["MULTI"],
    &["EXEC"],
    &["MULTI"],
    &["INCR", "s"],
    &["SET", "t", "1"],
    &["EXEC"],
    &["MULTI"],
    &["GET"],
    &["EXEC"],
    &["MULTI"],
    &["EXEC", "x"],
    &["EXEC"],
    &["DISCARD"],
    &["MULTI"],
    &["SET", "t", "2"],
    &["DISCARD"],
    &["SETRANGE", "s", "-1", "x"],
    &["DEBUG", "ERROR", "MINE is an error"],
    &["DEBUG", "ERROR", "ONEWORD"],
    &["DEBUG", "ERROR", "ACODETHATISLONGERTHANANYCODEMAYBE is an error"],
    &["DEBUG", "ERROR", "A#B:C is an error"],
    &["CONFIG", "SET", "maxmemory", "1"],
    &["SET", "t", "3"],
    &["CONFIG", "SET", "maxmemory", "0"],
    &["SUBSCRIBE", "channel"],
    &["GET", "s"],
];

#[test]
fn commands_and_errors_are_counted_as_redis_counts_them() {
    let [ours, theirs] = [Setup::candidate(), Setup::redis()].map(|setup| {
        let server = setup.directive("enable-debug-command", "yes").start();
        let mut client = server.connect();
        for request in SCRIPT {
            client.call(request);
        }
        let mut malformed = server.connect();
        malformed.send_raw(b"*x\r\n");
        assert!(malformed.receive().is_error());
        let counted = counters(&mut server.connect());
        server.finish();
        counted
    });
    assert_eq!(ours, theirs);
    assert!(theirs.len() >= 20, "{theirs:?}");
}

#[test]
fn counters_go_on_through_upgrades_until_they_are_reset() {
    let server = Setup::candidate().start();
    let mut client = server.connect();
    client.call(&["CONFIG", "RESETSTAT"]);
    client.call(&["SET", "s", "a"]);
    for _ in 0..3 {
        client.pipeline(&[owned(&["GET", "s"]), owned(&["INCR", "s"])]);
        server.upgrade(&hotredis_tests::binaries::hotredis());
    }
    let counted = counters(&mut client);
    assert_eq!(counted["cmdstat_get"], "calls=3,rejected_calls=0,failed_calls=0");
    assert_eq!(counted["cmdstat_incr"], "calls=3,rejected_calls=0,failed_calls=3");
    assert_eq!(counted["errorstat_ERR"], "count=3");
    server.check();
    client.call(&["CONFIG", "RESETSTAT"]);
    let counted = counters(&mut client);
    let left: Vec<_> = counted.keys().filter(|name| name.contains("stat_")).collect();
    assert_eq!(left, ["cmdstat_config|resetstat"]);
    server.finish();
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn time_is_charged_to_what_takes_it() {
    let server = Setup::candidate().directive("enable-debug-command", "yes").start();
    let mut client = server.connect();
    client.call(&["GET", "s"]);
    client.call(&["DEBUG", "SLEEP", "0.05"]);
    let info = client.call(&["INFO", "commandstats"]);
    let usec = |command: &str| -> u64 {
        let line = info.text().lines().find(|line| line.starts_with(command)).expect(command);
        let (_, rest) = line.split_once("usec=").expect("a time");
        rest.split(',').next().and_then(|text| text.parse().ok()).expect("a number")
    };
    assert!(usec("cmdstat_debug:") >= 50_000, "{info:?}");
    assert!(usec("cmdstat_get:") < 50_000, "{info:?}");
    server.finish();
}

#[test]
fn an_argument_beyond_the_query_buffer_limit_closes_the_client_as_in_redis() {
    const LIMIT: usize = 1 << 20;
    // What counts is an argument and its line end.
    for (length, allowed) in [(LIMIT - 2, true), (LIMIT - 1, false), (2 * LIMIT, false)] {
        for setup in [Setup::candidate(), Setup::redis()] {
            let server = setup.directive("client-query-buffer-limit", "1mb").start();
            let mut client = server.connect();
            let value = vec![b'x'; length];
            let request = [b"SET".as_slice(), b"k", &value];
            // The server may close before everything is sent.
            let reply = client.try_call(&request);
            assert_eq!(reply.is_ok(), allowed, "{length}: {reply:?}");
            let mut other = server.connect();
            let kept = other.call(&["STRLEN", "k"]);
            let expected = if allowed { length as i64 } else { 0 };
            assert_eq!(kept, hotredis_tests::value::Value::Integer(expected));
            // Many arguments that are each within the limit are together without one.
            let value = vec![b'x'; LIMIT / 2];
            let many = [b"MSET".as_slice(), b"a", &value, b"b", &value, b"c", &value, b"d", &value];
            assert_eq!(other.call(&many), hotredis_tests::value::Value::ok());
            server.finish();
        }
    }
}

#[test]
fn a_changed_loglevel_counts_at_once_and_for_successors() {
    let server = Setup::candidate().directive("loglevel", "notice").start();
    let mut client = server.connect();
    let accepted = || {
        // A connection that has had a reply was accepted before.
        server.connect().call(&["PING"]);
        server.log().matches("accepted a connection").count()
    };
    assert_eq!(accepted(), 0);
    client.call(&["CONFIG", "SET", "loglevel", "verbose"]);
    assert_eq!(accepted(), 1);
    server.upgrade(&hotredis_tests::binaries::hotredis());
    let before = server.log().matches("accepted a connection").count();
    assert!(accepted() > before);
    client.call(&["CONFIG", "SET", "loglevel", "warning"]);
    let before = server.log().matches("accepted a connection").count();
    assert_eq!(accepted(), before);
    server.finish();
}
