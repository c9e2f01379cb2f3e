//! Who may connect, from where, how many, and for how long.

use std::io::ErrorKind;

use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::{Setup, TempDir};
use hotredis_tests::value::Value;

#[test]
fn one_client_too_many_is_told_so() {
    let server = Setup::candidate().directive("maxclients", "20").start();
    // The server's own first answer came over a connection that may not be gone yet.
    let mut control = server.connect();
    while control.call(&["CLIENT", "LIST"]).text().lines().count() > 1 {}
    let mut all: Vec<Client> = (0..19).map(|_| server.connect()).collect();
    for client in &mut all {
        assert_eq!(client.call(&["PING"]).text(), "PONG");
    }
    let refused = server.connect().receive_until_closed();
    assert_eq!(refused, [Value::error("ERR max number of clients reached")]);
    assert_eq!(control.call(&["PING"]).text(), "PONG");
    all.pop();
    while control.call(&["CLIENT", "LIST"]).text().lines().count() > 19 {}
    assert_eq!(server.connect().call(&["PING"]).text(), "PONG");
    assert_eq!(control.call(&["CONFIG", "SET", "maxclients", "40"]), Value::ok());
    all.extend((0..15).map(|_| server.connect()));
    for client in &mut all {
        assert_eq!(client.call(&["PING"]).text(), "PONG");
    }
    drop((all, control));
    server.finish();
}

#[test]
fn few_descriptors_cost_some_clients_but_not_the_server() {
    let server = Setup::candidate().descriptors(160).start();
    let mut first = server.connect();
    assert_eq!(first.call(&["SET", "k", "v"]), Value::ok());
    let mut admitted = 0;
    let crowd: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = server.connect();
            // Who is refused sees the end or the error; nobody is left hanging.
            match client.try_call(&["PING"]) {
                Ok(Value::Simple(_)) => admitted += 1,
                Ok(other) => assert!(other.is_error(), "{other:?}"),
                Err(e) => assert!(
                    matches!(
                        e.kind(),
                        ErrorKind::UnexpectedEof
                            | ErrorKind::ConnectionReset
                            | ErrorKind::BrokenPipe
                    ),
                    "{e}"
                ),
            }
            client
        })
        .collect();
    assert!((20..300).contains(&admitted), "{admitted} of 300 were admitted");
    assert_eq!(first.call(&["GET", "k"]), Value::bulk("v"));
    drop(crowd);
    while first.call(&["CLIENT", "LIST"]).text().lines().count() > 1 {}
    assert_eq!(server.connect().call(&["GET", "k"]), Value::bulk("v"));
    server.finish();
}

#[test]
fn idle_clients_are_closed_but_subscribers_stay() {
    let server = Setup::candidate().directive("timeout", "1").start();
    let (mut idle, mut subscriber, mut busy) =
        (server.connect(), server.connect(), server.connect());
    assert_eq!(idle.call(&["PING"]).text(), "PONG");
    subscriber.call(&["SUBSCRIBE", "channel"]);
    idle.set_timeout(std::time::Duration::from_millis(50)).unwrap();
    // Busy the whole time that it takes.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while !idle.is_closed() && std::time::Instant::now() < deadline {
        assert_eq!(busy.call(&["PING"]).text(), "PONG");
        let _ = idle.try_receive();
    }
    assert!(idle.is_closed(), "an idle client was not closed within 15 s");
    assert_eq!(busy.call(&["PUBLISH", "channel", "x"]), Value::Integer(1));
    assert_eq!(subscriber.receive().elements()[2], Value::bulk("x"));
    server.finish();
}

#[test]
fn a_password_is_asked_for() {
    let server = Setup::candidate().directive("requirepass", "secret").start();
    let noauth = Value::error("NOAUTH Authentication required.");
    let mut client = server.connect();
    for command in
        [&["PING"][..], &["GET", "a"], &["MULTI"], &["SUBSCRIBE", "c"], &["CLIENT", "ID"]]
    {
        assert_eq!(client.call(command), noauth, "{command:?}");
    }
    let hello = "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO AUTH <user> <pass> option can be used to authenticate the client \
                 and select the RESP protocol version at the same time";
    assert_eq!(client.call(&["HELLO", "3"]), Value::error(hello));
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.call(&["AUTH", "wrong"]), Value::error(wrong));
    assert_eq!(client.call(&["AUTH", "nobody", "secret"]), Value::error(wrong));
    assert_eq!(client.call(&["AUTH", "secret"]), Value::ok());
    assert_eq!(client.call(&["PING"]).text(), "PONG");
    assert_eq!(client.call(&["RESET"]).text(), "RESET");
    assert_eq!(client.call(&["PING"]), noauth);
    let mut other = server.connect();
    let hello = other.call(&["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"]);
    assert!(matches!(hello, Value::Map(_)), "{hello:?}");
    assert_eq!(other.call(&["CLIENT", "GETNAME"]), Value::bulk("me"));
    let mut quits = server.connect();
    quits.send(&["QUIT"]);
    assert_eq!(quits.receive_until_closed(), [Value::ok()]);
    server.finish();
}

#[test]
fn a_new_password_holds_for_new_clients_only() {
    let server = Setup::candidate().start();
    let mut before = server.connect();
    assert_eq!(before.call(&["CONFIG", "SET", "requirepass", "secret"]), Value::ok());
    assert_eq!(before.call(&["PING"]).text(), "PONG");
    let mut after = server.connect();
    assert_eq!(after.call(&["PING"]), Value::error("NOAUTH Authentication required."));
    assert_eq!(before.call(&["CONFIG", "SET", "requirepass", ""]), Value::ok());
    assert_eq!(after.call(&["PING"]).text(), "PONG");
    server.finish();
}

#[test]
fn both_families_and_a_unix_socket_lead_to_the_same_server() {
    let dir = TempDir::new();
    let path = dir.path().join("socket");
    let server = Setup::candidate()
        .directive("bind", "127.0.0.1 ::1")
        .directive("unixsocket", &path.to_string_lossy())
        .directive("unixsocketperm", "700")
        .start();
    let mut four = server.connect();
    let mut six =
        Client::connect(&Endpoint::Tcp(format!("[::1]:{}", server.port()).parse().unwrap()));
    let mut unix = Client::connect(&Endpoint::Unix(path.clone()));
    assert_eq!(four.call(&["SET", "k", "v"]), Value::ok());
    assert_eq!(six.call(&["APPEND", "k", "w"]), Value::Integer(2));
    assert_eq!(unix.call(&["GET", "k"]), Value::bulk("vw"));
    let info = six.call(&["CLIENT", "INFO"]);
    assert!(info.text().contains(" addr=[::1]:"), "{info:?}");
    let info = unix.call(&["CLIENT", "INFO"]);
    assert!(info.text().contains(&format!(" addr={}:0 ", path.display())), "{info:?}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    server.finish();
    assert!(!path.exists(), "the Unix socket stays behind");
}

#[test]
fn protected_mode_lets_this_machine_in() {
    let server = Setup::candidate().directive("protected-mode", "yes").start();
    let mut client = server.connect();
    let expected = [Value::bulk("protected-mode"), Value::bulk("yes")];
    assert_eq!(client.call(&["CONFIG", "GET", "protected-mode"]), Value::Array(expected.to_vec()));
    assert_eq!(client.call(&["CONFIG", "SET", "protected-mode", "no"]), Value::ok());
    server.finish();
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let open = |pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let pid: u32 = server.info("process_id").unwrap().parse().unwrap();
    while control.call(&["CLIENT", "LIST"]).text().lines().count() > 1 {}
    let before = open(pid);
    for round in 0..1500 {
        let mut client = server.connect();
        match round % 4 {
            0 => {}
            1 => assert_eq!(client.call(&["WATCH", "k"]), Value::ok()),
            2 => client.send(&["SUBSCRIBE", "channel"]),
            _ => client.send_raw(b"*3\r\n$3\r\nSET\r\n$1"),
        }
    }
    while control.call(&["CLIENT", "LIST"]).text().lines().count() > 1 {}
    assert_eq!(open(pid), before);
    assert_eq!(control.call(&["PUBSUB", "CHANNELS"]), Value::Array(vec![]));
    server.finish();
}

#[test]
fn large_values_stop_at_the_limit() {
    let server = Setup::candidate().directive("proto-max-bulk-len", "2mb").start();
    let mut client = server.connect();
    let limit = 2usize << 20;
    assert_eq!(client.call(&[b"SET".to_vec(), b"k".to_vec(), vec![b'x'; limit]]), Value::ok());
    let too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(client.call(&["APPEND", "k", "x"]), Value::error(too_long));
    assert_eq!(client.call(&["SETRANGE", "k", &limit.to_string(), "x"]), Value::error(too_long));
    let offset = "ERR bit offset is not an integer or out of range";
    let bit = (limit * 8).to_string();
    assert_eq!(client.call(&["SETBIT", "k", &bit, "1"]), Value::error(offset));
    assert_eq!(client.call(&["STRLEN", "k"]), Value::Integer(limit as i64));
    client.send_raw(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", limit + 1).as_bytes());
    let expected = Value::error("ERR Protocol error: invalid bulk length");
    assert_eq!(client.receive_until_closed(), [expected]);
    server.finish();
}

#[test]
fn more_clients_than_the_system_can_have_are_refused() {
    let server = Setup::candidate().descriptors(2000).start();
    let mut client = server.connect();
    assert_eq!(client.call(&["CONFIG", "SET", "maxclients", "500"]), Value::ok());
    let refused = client.call(&["CONFIG", "SET", "maxclients", "100000"]);
    let text = "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating \
                system is not able to handle the specified number of clients, try with ";
    assert!(refused.text().starts_with(text), "{refused:?}");
    let expected = [Value::bulk("maxclients"), Value::bulk("500")];
    assert_eq!(client.call(&["CONFIG", "GET", "maxclients"]), Value::Array(expected.to_vec()));
    server.finish();
}

#[test]
fn listeners_stay_as_they_are() {
    let server = Setup::hotredis().start();
    let mut client = server.connect();
    for (directive, value) in [("port", "1"), ("bind", "127.0.0.2")] {
        let before = client.call(&["CONFIG", "GET", directive]);
        let refused = client.call(&["CONFIG", "SET", directive, value]);
        assert!(
            refused.is_error() && refused.text().contains("listen")
                || refused.text().contains("bind"),
            "{refused:?}"
        );
        assert_eq!(client.call(&["CONFIG", "GET", directive]), before);
    }
    server.finish();
}
