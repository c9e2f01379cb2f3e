//! What a successor's poll has nothing to say of is served all the same.

use hotredis_tests::binaries;
use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

fn upgrade(server: &Server) {
    let outcome = server.upgrade(&binaries::hotredis());
    assert!(outcome.success, "{}", outcome.output);
}

#[test]
fn sessions_at_every_stage_go_on_without_a_new_byte() {
    let server = Setup::hotredis().start();
    let mut control = server.connect();
    control.call(&[b"SET".to_vec(), b"big".to_vec(), vec![b'v'; 1 << 20]]);
    // Unsent output, more than the sockets hold, and one that is to be closed behind it.
    let gets: Vec<u8> = (0..20).flat_map(|_| encode(&["GET", "big"])).collect();
    let mut slow = server.connect();
    slow.send_raw(&gets);
    let mut leaving = server.connect();
    leaving.send_raw(&gets);
    leaving.send(&["QUIT"]);
    // Half a request, small and large.
    let small = encode(&["ECHO", "small"]);
    let large = encode(&[b"ECHO".to_vec(), vec![b'l'; 300_000]]);
    let mut halves: Vec<(Client, &[u8])> =
        vec![(server.connect(), &small), (server.connect(), &large)];
    for (client, request) in &mut halves {
        let half = request.len() / 2;
        client.send_raw(&request[..half]);
    }
    // One that closed its half, after which nothing comes.
    let mut gone = server.connect();
    gone.send(&["INCR", "gone"]);
    gone.shutdown_write().unwrap();
    assert_eq!(gone.receive_until_closed(), [Value::Integer(1)]);
    // Commands that a pause holds back, and which nobody sends again.
    let mut held = server.connect();
    control.call(&["CLIENT", "PAUSE", "1500", "WRITE"]);
    held.send_raw(&[encode(&["INCR", "n"]), encode(&["INCR", "n"])].concat());
    let silent = server.connect();
    for _ in 0..3 {
        upgrade(&server);
    }
    for _ in 0..20 {
        assert_eq!(slow.receive().as_bytes().map(<[u8]>::len), Some(1 << 20));
    }
    let mut last = leaving.receive_until_closed();
    assert_eq!(last.pop(), Some(Value::ok()));
    assert_eq!(last.len(), 20);
    for (client, request) in &mut halves {
        let half = request.len() / 2;
        client.send_raw(&request[half..]);
        assert!(matches!(client.receive(), Value::Bulk(_)));
    }
    assert_eq!((held.receive(), held.receive()), (Value::Integer(1), Value::Integer(2)));
    drop(silent);
    while control.call(&["CLIENT", "LIST"]).text().lines().count() > 5 {}
    server.finish();
}

#[test]
fn a_closing_client_whose_peer_waits_does_not_spin() {
    let server = Setup::hotredis().start();
    let mut control = server.connect();
    control.call(&[b"SET".to_vec(), b"big".to_vec(), vec![b'v'; 1 << 20]]);
    let mut client = server.connect();
    client.send_raw(&(0..30).flat_map(|_| encode(&["GET", "big"])).collect::<Vec<_>>());
    client.send(&["QUIT"]);
    control.call(&["PING"]);
    client.shutdown_write().unwrap();
    // As in Redis, who says that nothing more comes has no claim to what waits.
    while control.call(&["CLIENT", "LIST"]).text().lines().count() > 1 {}
    server.finish();
}
