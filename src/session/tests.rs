//! Sessions as clients see them, with the checker's eye on the arena after each step.

use crate::testing::Server;

fn server(clients: usize) -> (Server, Vec<usize>) {
    let mut server = Server::new();
    let clients = (0..clients).map(|_| server.connect()).collect();
    (server, clients)
}

#[test]
fn a_transaction_runs_its_queue_as_one() {
    let (mut server, clients) = server(1);
    let a = clients[0];
    assert_eq!(server.line(a, "multi"), "+OK\r\n");
    assert_eq!(server.line(a, "select 3"), "+QUEUED\r\n");
    assert_eq!(server.line(a, "echo there"), "+QUEUED\r\n");
    assert_eq!(server.line(a, "select 99"), "+QUEUED\r\n");
    server.check();
    assert_eq!(
        server.line(a, "exec"),
        "*3\r\n+OK\r\n$5\r\nthere\r\n-ERR DB index is out of range\r\n"
    );
    server.check();
    assert!(server.line(a, "client info").contains(" db=3 "));
    assert_eq!(server.line(a, "exec"), "-ERR EXEC without MULTI\r\n");
    assert_eq!(server.line(a, "discard"), "-ERR DISCARD without MULTI\r\n");
}

#[test]
fn a_transaction_is_refused_as_redis_refuses_it() {
    let (mut server, clients) = server(1);
    let a = clients[0];
    server.line(a, "multi");
    assert_eq!(server.line(a, "multi"), "-ERR MULTI calls can not be nested\r\n");
    assert_eq!(server.line(a, "watch k"), "-ERR WATCH inside MULTI is not allowed\r\n");
    assert_eq!(server.line(a, "exec"), "*0\r\n");
    server.line(a, "multi");
    server.line(a, "ping");
    assert!(server.line(a, "nosuch").starts_with("-ERR unknown command 'nosuch'"));
    assert_eq!(
        server.line(a, "exec"),
        "-EXECABORT Transaction discarded because of previous errors.\r\n"
    );
    server.line(a, "multi");
    assert_eq!(
        server.line(a, "exec now"),
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
         command\r\n"
    );
    assert_eq!(server.line(a, "exec"), "-ERR EXEC without MULTI\r\n");
    server.check();
}

#[test]
fn messages_reach_subscribers_in_their_protocol() {
    let (mut server, clients) = server(3);
    let (a, b, c) = (clients[0], clients[1], clients[2]);
    server.line(b, "hello 3");
    assert_eq!(server.line(a, "subscribe news"), "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    assert_eq!(server.line(a, "psubscribe n*"), "*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:2\r\n");
    assert_eq!(server.line(b, "subscribe news"), ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    assert_eq!(server.line(c, "publish news hi"), ":3\r\n");
    assert_eq!(
        server.text(a),
        "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n\
         *4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n"
    );
    assert_eq!(server.text(b), ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    // RESP3 clients may publish while they are subscribed; their own message comes first.
    assert_eq!(
        server.line(b, "publish news x"),
        ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n:3\r\n"
    );
    assert!(server.line(a, "publish news x").ends_with("are allowed in this context\r\n"));
    assert_eq!(
        server.line(c, "pubsub numsub news x"),
        "*4\r\n$4\r\nnews\r\n:2\r\n$1\r\nx\r\n:0\r\n"
    );
    server.check();
    server.text(a);
    assert_eq!(server.line(a, "reset"), "+RESET\r\n");
    assert_eq!(server.line(c, "pubsub numsub news"), "*2\r\n$4\r\nnews\r\n:1\r\n");
    assert_eq!(server.line(c, "pubsub numpat"), ":0\r\n");
    assert_eq!(server.line(a, "unsubscribe"), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    server.check();
    server.close(b);
    assert_eq!(server.line(c, "pubsub channels"), "*0\r\n");
    server.check();
}

#[test]
fn replies_can_be_switched_off_but_messages_cannot() {
    let (mut server, clients) = server(2);
    let (a, b) = (clients[0], clients[1]);
    assert_eq!(server.line(a, "client reply off"), "");
    assert_eq!(server.line(a, "ping"), "");
    assert_eq!(server.line(a, "subscribe c"), "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    server.line(b, "publish c m");
    assert_eq!(server.text(a), "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
    server.line(a, "unsubscribe");
    assert_eq!(server.line(a, "client reply on"), "+OK\r\n");
    assert_eq!(server.line(a, "client reply skip"), "");
    assert_eq!(server.line(a, "ping"), "");
    assert_eq!(server.line(a, "ping"), "+PONG\r\n");
}

#[test]
fn monitors_see_commands_but_no_secrets() {
    let (mut server, clients) = server(2);
    let (a, b) = (clients[0], clients[1]);
    assert_eq!(server.line(a, "monitor"), "+OK\r\n");
    assert_eq!(server.line(a, "monitor"), "");
    server.check();
    server.ask(b, &[b"echo", b"a\"b\x00"]);
    let line = server.text(a);
    assert!(
        line.starts_with('+') && line.ends_with(" [0 127.0.0.1:1001] \"echo\" \"a\\\"b\\x00\"\r\n")
    );
    server.line(b, "hello 2 auth default secret setname me");
    assert!(server.text(a).ends_with(
        "\"hello\" \"2\" \"auth\" \"(redacted)\" \"(redacted)\" \"setname\" \"me\"\r\n"
    ));
    server.line(b, "auth secret");
    assert!(server.text(a).ends_with(" \"auth\" \"(redacted)\"\r\n"));
    server.line(b, "client list");
    assert_eq!(server.text(a), "");
    server.line(b, "multi");
    server.line(b, "ping");
    server.text(a);
    server.line(b, "exec");
    let both = server.text(a);
    assert!(
        both.find("\"ping\"").is_some_and(|ping| both.find("\"exec\"").is_some_and(|e| e > ping))
    );
    assert!(server.line(a, "ping").starts_with("+PONG\r\n+"));
    server.close(a);
    server.check();
}

#[test]
fn killed_clients_are_gone_at_once() {
    let (mut server, clients) = server(3);
    let (a, b, c) = (clients[0], clients[1], clients[2]);
    server.line(b, "subscribe x");
    assert_eq!(server.line(a, "client kill type pubsub"), ":1\r\n");
    assert!(server.is_closed(b));
    assert_eq!(server.line(a, "publish x y"), ":0\r\n");
    assert_eq!(server.line(a, "client kill 127.0.0.1:1002"), "+OK\r\n");
    assert!(server.is_closed(c));
    assert_eq!(server.line(a, "client kill 127.0.0.1:1002"), "-ERR No such client\r\n");
    server.feed(a, b"CLIENT KILL ID 1 SKIPME no\r\nPING\r\n");
    assert!(server.is_closed(a));
    server.check();
}

#[test]
fn a_changed_key_fails_its_watchers() {
    let (mut server, clients) = server(2);
    let (a, b) = (clients[0], clients[1]);
    let aborted = |server: &mut Server, change: &[&str]| {
        server.line(a, "watch k l k");
        server.check();
        change.iter().for_each(|line| drop(server.line(b, line)));
        server.line(a, "multi");
        server.line(a, "ping");
        server.check();
        let aborted = server.line(a, "exec") == "*-1\r\n";
        server.check();
        aborted
    };
    assert!(!aborted(&mut server, &["get k"]));
    assert!(aborted(&mut server, &["set l 1"]));
    assert!(!aborted(&mut server, &["set other 1"]));
    assert!(!aborted(&mut server, &["select 1", "set k 1", "select 0"]));
    assert!(aborted(&mut server, &["flushdb"]), "l was there");
    assert!(!aborted(&mut server, &["flushall"]), "neither was there");
    assert!(aborted(&mut server, &["select 1", "set k 1", "select 0", "swapdb 0 1"]));
    assert!(aborted(&mut server, &["pexpire k 1", "pexpire k -1"]));
    server.line(a, "watch k");
    server.line(b, "set k 1");
    server.line(a, "unwatch");
    server.line(a, "multi");
    assert_eq!(server.line(a, "exec"), "*0\r\n");
}

#[test]
fn a_key_that_expires_fails_those_who_watched_it_alive() {
    let (mut server, clients) = server(2);
    let (a, b) = (clients[0], clients[1]);
    server.line(b, "set k v px 20");
    server.line(a, "watch k");
    std::thread::sleep(std::time::Duration::from_millis(30));
    server.line(a, "multi");
    assert_eq!(server.line(a, "exec"), "*-1\r\n");
    // Watched when it is dead already, it is missing then and missing later.
    server.line(a, "watch k");
    server.line(b, "get k");
    server.line(a, "multi");
    assert_eq!(server.line(a, "exec"), "*0\r\n");
    server.line(b, "set k v px 20");
    server.line(a, "watch k");
    std::thread::sleep(std::time::Duration::from_millis(30));
    server.round();
    server.line(a, "multi");
    assert_eq!(server.line(a, "exec"), "*-1\r\n");
    server.check();
}

#[test]
fn readers_hear_once_of_a_change() {
    let (mut server, clients) = server(3);
    let (a, b, c) = (clients[0], clients[1], clients[2]);
    let gone = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    server.line(a, "hello 3");
    assert_eq!(server.line(a, "client tracking on"), "+OK\r\n");
    server.line(a, "get k");
    server.check();
    server.line(b, "set k 1");
    assert_eq!(server.text(a), gone);
    server.line(b, "set k 2");
    assert_eq!(server.text(a), "");
    server.line(a, "get k");
    assert_eq!(server.line(a, "set k 3"), format!("+OK\r\n{gone}"));
    server.line(a, "get k");
    server.line(b, "flushdb");
    assert_eq!(server.text(a), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
    server.line(a, "client tracking off");
    server.line(a, "client tracking on noloop");
    server.line(a, "get k");
    assert_eq!(server.line(a, "set k 3"), "+OK\r\n");
    // A RESP2 subscriber can stand in for another client.
    server.line(c, "subscribe __redis__:invalidate");
    server.line(a, "client tracking off");
    server.line(a, "client tracking on redirect 3");
    server.line(a, "get k");
    server.line(b, "del k");
    assert_eq!(
        server.text(c),
        "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n"
    );
    server.close(c);
    server.line(a, "get k");
    server.line(b, "set k 1");
    assert_eq!(server.text(a), ">2\r\n$21\r\ntracking-redir-broken\r\n:3\r\n");
    assert!(server.line(a, "client trackinginfo").contains("broken_redirect"));
    server.check();
}

#[test]
fn prefixes_hear_of_every_change() {
    let (mut server, clients) = server(2);
    let (a, b) = (clients[0], clients[1]);
    server.line(a, "hello 3");
    server.line(a, "client tracking on bcast prefix x prefix y");
    server.check();
    assert!(
        server.line(a, "client tracking on bcast prefix xy").starts_with("-ERR Prefix 'xy' ov")
    );
    server.line(b, "mset x2 1 x1 1 z 1");
    assert_eq!(server.text(a), ">2\r\n$10\r\ninvalidate\r\n*2\r\n$2\r\nx1\r\n$2\r\nx2\r\n");
    assert_eq!(server.line(a, "set y 1"), "+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\ny\r\n");
    server.line(a, "client tracking off");
    server.line(b, "set x 1");
    assert_eq!(server.text(a), "");
    server.check();
}

#[test]
fn what_a_subscriber_does_not_take_waits_for_it() {
    let (mut server, clients) = server(3);
    let (a, b, c) = (clients[0], clients[1], clients[2]);
    server.line(a, "subscribe x");
    server.line(b, "subscribe x");
    server.stick(a, true);
    for _ in 0..3 {
        server.line(c, "publish x y");
        server.check();
    }
    assert_eq!(server.text(a), "");
    assert_eq!(server.text(b).len(), 3 * 31);
    server.stick(a, false);
    // Its own reply comes behind what was waiting.
    assert_eq!(server.line(a, "unsubscribe x").len(), 3 * 31 + 33);
    server.stick(b, true);
    server.line(c, "publish x y");
    server.close(b);
    server.check();
}
