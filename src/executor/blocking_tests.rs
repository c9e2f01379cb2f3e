//! Blocked clients, with several sessions.

use crate::testing::Server;

/// A server with that many clients.
fn server(clients: usize) -> Server {
    let mut server = Server::new();
    (0..clients).for_each(|_| {
        server.connect();
    });
    server
}

#[test]
fn wait_ends_with_its_deadline_and_not_before() {
    let mut server = server(2);
    assert_eq!(server.line(0, "WAIT 1 1000"), "");
    assert_eq!(server.line(0, "PING"), "", "what follows waits");
    assert!(server.line(1, "INFO clients").contains("blocked_clients:1\r\n"));
    assert!(server.line(1, "INFO clients").contains("clients_in_timeout_table:1\r\n"));
    server.check();
    server.time_out(900);
    assert_eq!(server.text(0), "");
    server.time_out(1_100);
    assert_eq!(server.text(0), ":0\r\n+PONG\r\n");
    assert!(server.line(1, "INFO clients").contains("blocked_clients:0\r\n"));
    assert_eq!(server.line(0, "PING"), "+PONG\r\n");
    server.check();
}

#[test]
fn what_was_sent_behind_a_blocked_command_runs_once_it_is_over() {
    let mut server = server(2);
    server.feed(0, b"PING\r\nWAIT 1 0\r\nSET a 1\r\nWAIT 1 50\r\nGET a\r\nGE");
    assert_eq!(server.text(0), "+PONG\r\n");
    assert_eq!(server.line(1, "EXISTS a"), ":0\r\n");
    server.check();
    assert_eq!(server.line(1, "CLIENT UNBLOCK 1"), ":1\r\n");
    assert_eq!(server.text(0), ":0\r\n+OK\r\n", "blocked again");
    server.feed(0, b"T a\r\n");
    server.time_out(100);
    assert_eq!(server.text(0), ":0\r\n$1\r\n1\r\n$1\r\n1\r\n");
    server.check();
}

#[test]
fn a_blocked_client_can_be_unblocked_killed_and_closed() {
    let mut server = server(4);
    for client in 0..3 {
        assert_eq!(server.line(client, "WAIT 1 0"), "");
    }
    assert!(server.line(3, "CLIENT LIST").contains("flags=b"));
    assert_eq!(server.line(3, "CLIENT UNBLOCK 1 ERROR"), ":1\r\n");
    assert_eq!(server.text(0), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert_eq!(server.line(3, "CLIENT UNBLOCK 1"), ":0\r\n");
    assert_eq!(server.line(3, "CLIENT KILL ID 2"), ":1\r\n");
    assert!(server.is_closed(1));
    server.close(2);
    assert!(server.line(3, "INFO clients").contains("blocked_clients:0\r\n"));
    server.check();
}

#[test]
fn a_skipped_reply_is_that_of_the_blocked_command() {
    let mut server = server(2);
    server.feed(0, b"CLIENT REPLY SKIP\r\nWAIT 1 0\r\nPING\r\n");
    assert_eq!(server.line(1, "CLIENT UNBLOCK 1"), ":1\r\n");
    assert_eq!(server.text(0), "+PONG\r\n");
}

#[test]
fn a_transaction_does_not_block() {
    let mut server = server(1);
    for line in ["MULTI", "WAIT 1 0", "EXEC"] {
        server.line(0, line);
    }
    assert_eq!(server.line(0, "PING"), "+PONG\r\n");
    server.check();
}

#[test]
fn deadlines_that_are_the_same_end_in_the_order_of_clients() {
    let mut server = server(300);
    for client in 0..300 {
        server.line(client, &format!("WAIT 1 {}", 1_000 + client % 7));
    }
    server.check();
    for _ in 0..2 {
        server.time_out(10_000);
    }
    for client in 0..300 {
        assert_eq!(server.text(client), ":0\r\n");
    }
    server.check();
}

#[test]
fn readers_of_a_stream_get_what_is_added() {
    let mut server = server(4);
    server.line(0, "XADD s 1-1 a b");
    assert_eq!(server.line(1, "XREAD BLOCK 0 STREAMS s $"), "");
    assert_eq!(server.line(2, "XREAD COUNT 1 BLOCK 0 STREAMS other s 0 1-1"), "");
    server.check();
    assert_eq!(server.line(0, "XADD s 2-1 c d"), "$3\r\n2-1\r\n");
    let entry = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n2-1\r\n*2\r\n$1\r\nc\r\n$1\r\nd\r\n";
    assert_eq!(server.text(1), entry);
    assert_eq!(server.text(2), entry);
    assert!(server.line(0, "INFO clients").contains("blocked_clients:0\r\n"));
    server.check();
}

#[test]
fn consumers_get_each_entry_once_and_fail_when_the_stream_goes() {
    let mut server = server(4);
    server.line(0, "XGROUP CREATE s g $ MKSTREAM");
    for client in 1..4 {
        let read = format!("XREADGROUP GROUP g c{client} BLOCK 0 STREAMS s >");
        assert_eq!(server.line(client, &read), "");
    }
    server.line(0, "XADD s 1-1 a b");
    assert!(server.text(1).contains("1-1"));
    assert_eq!(server.text(2), "");
    server.line(0, "XADD s 2-1 a b");
    assert!(server.text(2).contains("2-1"));
    server.check();
    server.line(0, "DEL s");
    assert_eq!(server.text(3), "-UNBLOCKED the stream key no longer exists\r\n");
    server.line(0, "XGROUP CREATE s g $ MKSTREAM");
    server.line(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    server.line(0, "XGROUP DESTROY s g");
    let gone = "-NOGROUP the consumer group this client was blocked on no longer exists\r\n";
    assert_eq!(server.text(1), gone);
    for end in ["SET s 1", "FLUSHALL", "RENAME s t", "PEXPIRE s 0", "SWAPDB 0 1", "MOVE s 1"] {
        server.line(0, "DEL s");
        server.line(0, "XGROUP CREATE s g $ MKSTREAM");
        server.line(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        server.line(0, end);
        assert_eq!(server.text(1), "-UNBLOCKED the stream key no longer exists\r\n", "{end}");
        server.line(0, "FLUSHALL");
        server.check();
    }
}

#[test]
fn a_transaction_serves_when_it_is_over() {
    let mut server = server(3);
    server.line(1, "XREAD BLOCK 0 STREAMS s $");
    server.line(0, "MULTI");
    for line in ["XADD s 1-1 a b", "DEL s", "XADD s 5-1 a b", "XADD s 6-1 a b"] {
        server.line(0, line);
    }
    assert_eq!(server.text(1), "");
    server.line(0, "EXEC");
    let got = server.text(1);
    assert!(got.contains("5-1") && got.contains("6-1") && !got.contains("1-1"), "{got}");
    server.check();
}

/// Who feeds a key pays for the replies of those it serves: if there is no memory for them, nothing
/// has happened, and what waits is served when there is.
#[test]
fn a_feed_that_cannot_serve_has_not_happened() {
    const CAP: u64 = 64 << 20;
    let mut server = Server::with_cap(CAP);
    (0..3).for_each(|_| {
        server.connect();
    });
    // A list that is moved to the key that is waited for takes no memory; its elements as a reply do.
    let element = vec![b'e'; 1 << 20];
    for _ in 0..20 {
        server.ask(0, &[b"RPUSH", b"list", &element]);
    }
    assert_eq!(server.line(1, "BLMPOP 0 1 key LEFT COUNT 100"), "");
    assert_eq!(server.line(2, "BLMPOP 0 1 key LEFT COUNT 1"), "");
    server.stick(1, true);
    let (mut filled, filler) = (0, &element[..16 << 10]);
    while server.ask(0, &[b"SET", format!("fill:{filled}").as_bytes(), filler]) == b"+OK\r\n" {
        filled += 1;
    }
    // A command that cannot be queued fails the transaction.
    assert_eq!(server.line(0, "MULTI"), "+OK\r\n");
    assert!(server.ask(0, &[b"ECHO", filler]).starts_with(b"-OOM"));
    assert!(server.line(0, "EXEC").starts_with("-EXECABORT"));
    // Room for a little, but not for the reply.
    server.line(0, "DEL fill:0 fill:1 fill:2 fill:3");
    for lines in [&["RENAME list key"][..], &["MULTI", "SET other 1", "RENAME list key", "EXEC"]] {
        let replies: Vec<String> = lines.iter().map(|line| server.line(0, line)).collect();
        let last = replies.last().expect("replies");
        assert!(last.starts_with("-OOM"), "{last}");
        assert_eq!(server.line(0, "LLEN list"), ":20\r\n");
        assert_eq!(server.line(0, "EXISTS key other"), ":0\r\n");
        assert!(server.line(0, "INFO clients").contains("blocked_clients:2\r\n"));
        server.check();
    }
    assert_eq!((server.text(1), server.text(2)), (String::new(), String::new()));
    for number in 0..filled {
        server.line(0, &format!("DEL fill:{number}"));
    }
    while server.executor.round() {}
    assert_eq!(server.line(0, "RENAME list key"), "+OK\r\n");
    server.stick(1, false);
    let reply = server.line(1, "PING");
    assert!(reply.starts_with("*2\r\n$3\r\nkey\r\n*20\r\n"), "{}", &reply[..40.min(reply.len())]);
    assert!(server.line(0, "INFO clients").contains("blocked_clients:1\r\n"));
    server.check();
}

#[test]
fn a_stream_that_a_failing_command_finds_expired_ends_the_wait() {
    let mut server = server(2);
    server.line(0, "SET text x");
    server.line(0, "XADD s 1-1 a b");
    server.line(0, "XGROUP CREATE s g $");
    server.line(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    server.line(0, "PEXPIRE s 1");
    let set_at = crate::util::time::unix_time_ms();
    while crate::util::time::unix_time_ms() <= set_at + 2 {}
    let reply = server.line(0, "LCS s text IDX LEN");
    assert!(reply.starts_with("-ERR"), "{reply}");
    assert_eq!(server.text(1), "-UNBLOCKED the stream key no longer exists\r\n");
    server.check();
}

#[test]
fn who_waits_for_many_keys_can_be_served_by_any_and_leaves_all() {
    const KEYS: usize = 20_000;
    let mut server = server(3);
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|number| format!("key:{number}").into_bytes()).collect();
    let mut words: Vec<&[u8]> = vec![b"BLPOP"];
    words.extend(keys.iter().map(Vec::as_slice));
    words.push(b"0");
    for key in ["key:0", "key:19999", "key:777"] {
        assert_eq!(server.ask(1, &words), b"");
        assert_eq!(server.ask(2, &words), b"");
        server.line(0, &format!("RPUSH {key} x"));
        assert_eq!(server.text(1), format!("*2\r\n${}\r\n{key}\r\n$1\r\nx\r\n", key.len()));
        assert_eq!(server.text(2), "");
        assert_eq!(server.line(0, "CLIENT UNBLOCK 3"), ":1\r\n");
        assert_eq!(server.text(2), "*-1\r\n");
        server.check();
    }
}

/// As Redis has it: what makes a key ready is that somebody waits for a value of the type that becomes
/// its, wherever; what is looked at is what the key holds in the end.
#[test]
fn a_key_is_ready_only_if_somebody_waits_for_the_type_that_it_gets() {
    let mut server = server(3);
    assert_eq!(server.line(0, "BLPOP key 0"), "");
    let replaced = ["MULTI", "ZADD key 7 a 3 b", "SORT key ALPHA STORE key", "EXEC"];
    let replies: String = replaced.iter().map(|line| server.line(1, line)).collect();
    assert_eq!(replies, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n:2\r\n");
    assert_eq!(server.text(0), "", "the list has come in the place of something else");
    server.check();
    assert_eq!(server.line(1, "DEL key"), ":1\r\n");
    assert_eq!(server.line(2, "BZPOPMIN other 0"), "");
    for line in replaced {
        server.line(1, line);
    }
    assert_eq!(server.text(0), "*2\r\n$3\r\nkey\r\n$1\r\na\r\n", "somebody waits for sorted sets");
    server.check();
}
