//! Clients that wait stay blocked while binaries are replaced: with their deadline, their order and their
//! turn; and who is served gets one reply.

use std::time::{Duration, Instant};

use hotredis_tests::blocked::{assert_silent, await_blocked, blocked, upgrade};
use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

fn pair(key: &str, value: &str) -> Value {
    Value::Array(vec![Value::bulk(key), Value::bulk(value)])
}

#[test]
fn they_are_served_in_order_across_upgrades() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let mut clients = blocked(&server, &mut control, 30, &["BLPOP", "other", "queue", "0"]);
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 10 == 0 {
            upgrade(&server, number);
        }
        control.call(&["RPUSH", "queue", &number.to_string()]);
        assert_eq!(client.receive(), pair("queue", &number.to_string()));
    }
    assert_silent(&mut control, &mut clients);
    assert_eq!(control.call(&["EXISTS", "queue"]), Value::Integer(0));
    server.finish();
}

#[test]
fn a_transaction_feeds_several_at_its_end() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let mut poppers = blocked(&server, &mut control, 3, &["BLPOP", "a", "b", "0"]);
    let mut movers = blocked(&server, &mut control, 1, &["BLMOVE", "c", "a", "LEFT", "RIGHT", "0"]);
    let mut scorers = blocked(&server, &mut control, 1, &["BZPOPMIN", "z", "0"]);
    upgrade(&server, 0);
    for words in [
        &["MULTI"][..],
        &["RPUSH", "b", "1"],
        &["RPUSH", "c", "moved"],
        &["ZADD", "z", "2", "two", "1", "one"],
        &["RPUSH", "a", "2"],
        &["EXEC"],
    ] {
        control.call(words);
    }
    assert_eq!(poppers[0].receive(), pair("b", "1"));
    assert_eq!(movers[0].receive(), Value::bulk("moved"));
    assert_eq!(poppers[1].receive(), pair("a", "2"));
    assert_eq!(poppers[2].receive(), pair("a", "moved"));
    let lowest = Value::Array(["z", "one", "1"].map(Value::bulk).to_vec());
    assert_eq!(scorers[0].receive(), lowest);
    await_blocked(&mut control, 0);
    server.finish();
}

#[test]
fn deadlines_hold_across_upgrades() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let start = Instant::now();
    let mut late = blocked(&server, &mut control, 5, &["BLPOP", "queue", "2.5"]);
    let mut soon = blocked(&server, &mut control, 5, &["WAIT", "1", "1500"]);
    let mut never = blocked(&server, &mut control, 1, &["BLPOP", "queue", "0"]);
    upgrade(&server, 0);
    for client in &mut soon {
        assert_eq!(client.receive(), Value::Integer(0));
    }
    assert!(start.elapsed() >= Duration::from_millis(1500), "too early: {:?}", start.elapsed());
    upgrade(&server, 1);
    for client in &mut late {
        assert!(client.receive().is_null());
    }
    assert!(start.elapsed() >= Duration::from_millis(2500), "too early: {:?}", start.elapsed());
    assert_silent(&mut control, &mut never);
    await_blocked(&mut control, 1);
    server.finish();
}

#[test]
fn a_deadline_is_kept_within_milliseconds() {
    let server = Setup::hotredis().start();
    let mut client = server.connect();
    let mut lateness: Vec<Duration> = (0..20)
        .map(|_| {
            let start = Instant::now();
            assert!(client.call(&["BLPOP", "queue", "0.05"]).is_null());
            let elapsed = start.elapsed();
            assert!(elapsed >= Duration::from_millis(50), "too early: {elapsed:?}");
            elapsed - Duration::from_millis(50)
        })
        .collect();
    lateness.sort();
    // The machine may be busy, but not each time.
    assert!(lateness[5] < Duration::from_millis(20), "too late: {lateness:?}");
    server.finish();
}

#[test]
fn what_is_sent_behind_a_blocked_command_runs_after_it() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let mut clients = blocked(&server, &mut control, 8, &["BLPOP", "queue", "0"]);
    let behind: Vec<u8> = (0..50).flat_map(|_| encode(&["INCR", "n"])).collect();
    let large = encode(&[b"ECHO".to_vec(), vec![b'e'; 200_000]]);
    for client in &mut clients {
        client.send_raw(&behind);
        client.send_raw(&large);
        // The begin of a request whose end comes later.
        client.send_raw(b"*1\r\n$4\r\nPI");
    }
    upgrade(&server, 0);
    assert_eq!(control.call(&["EXISTS", "n"]), Value::Integer(0));
    for count in 0..clients.len() {
        control.call(&["RPUSH", "queue", "x"]);
        upgrade(&server, count + 1);
    }
    let mut counted = Vec::new();
    for client in &mut clients {
        assert_eq!(client.receive(), pair("queue", "x"));
        for _ in 0..50 {
            let Value::Integer(count) = client.receive() else { panic!("no count") };
            counted.push(count);
        }
        assert_eq!(client.receive().as_bytes().map(<[u8]>::len), Some(200_000));
        client.send_raw(b"NG\r\n");
        assert_eq!(client.receive(), Value::Simple(b"PONG".to_vec()));
    }
    counted.sort_unstable();
    assert_eq!(counted, (1..=400).collect::<Vec<i64>>());
    server.finish();
}

#[test]
fn who_goes_takes_nothing_along() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let mut clients = blocked(&server, &mut control, 6, &["BLPOP", "queue", "0"]);
    upgrade(&server, 0);
    let list = control.call(&["CLIENT", "LIST"]);
    let id_of = |client: &Client| {
        let address = format!("addr={} ", client.local_addr().expect("an address"));
        let line = list.text().lines().find(|line| line.contains(&address)).expect("a line");
        assert!(line.contains("flags=b"), "{line}");
        line.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id").to_owned()
    };
    let ids: Vec<String> = clients.iter().map(id_of).collect();
    assert_eq!(control.call(&["CLIENT", "KILL", "ID", &ids[0]]), Value::Integer(1));
    assert_eq!(control.call(&["CLIENT", "UNBLOCK", &ids[1]]), Value::Integer(1));
    assert_eq!(control.call(&["CLIENT", "UNBLOCK", &ids[2], "ERROR"]), Value::Integer(1));
    drop(clients.remove(3));
    clients[3].shutdown_write().expect("a socket");
    await_blocked(&mut control, 1);
    upgrade(&server, 1);
    control.call(&["RPUSH", "queue", "1", "2"]);
    assert_eq!(clients[0].receive_until_closed(), []);
    assert!(clients[1].receive().is_null());
    assert!(clients[2].receive().is_error());
    assert_eq!(clients[4].receive(), pair("queue", "1"));
    assert_eq!(control.call(&["LRANGE", "queue", "0", "-1"]), Value::Array(vec![Value::bulk("2")]));
    server.finish();
}

#[test]
fn a_blocked_client_cannot_send_without_bounds() {
    let server = Setup::candidate().directive("client-query-buffer-limit", "1mb").start();
    let mut control = server.connect();
    let mut clients = blocked(&server, &mut control, 1, &["BLPOP", "queue", "0"]);
    let ping = encode(&["PING"]);
    let much: Vec<u8> = ping.iter().copied().cycle().take(ping.len() * 200_000).collect();
    // The server closes while this is being sent.
    let _ = clients[0].try_send_raw(&much);
    await_blocked(&mut control, 0);
    server.finish();
}

#[test]
fn a_thousand_wait_and_each_gets_one() {
    const CLIENTS: usize = 1000;
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let own = format!("own:{number}");
        client.send(&["BLPOP", &own, "queue", "1000"]);
    }
    await_blocked(&mut control, CLIENTS);
    // Fed without a pause, while the binary is replaced.
    let mut feeder = server.connect();
    let feeding = std::thread::spawn(move || {
        for number in 0..CLIENTS {
            let key = if number % 3 == 0 { format!("own:{number}") } else { "queue".to_owned() };
            feeder.call(&["LPUSH", &key, &number.to_string()]);
        }
    });
    let mut upgrades = 0;
    while !feeding.is_finished() && upgrades < 20 {
        upgrade(&server, upgrades);
        upgrades += 1;
    }
    feeding.join().expect("the feeder");
    upgrade(&server, upgrades);
    // Those who were served by a key of their own freed the queue's elements for later ones.
    let left = control.call(&["LLEN", "queue"]);
    let mut values = Vec::new();
    for client in &mut clients {
        for reply in client.try_drain().expect("a connection") {
            let [_, value] = reply.elements() else { panic!("{reply:?}") };
            values.push(value.text().parse::<usize>().expect("a number"));
        }
    }
    let Value::Integer(left) = left else { panic!("{left:?}") };
    let own_left = control.call(&["KEYS", "own:*"]).elements().len();
    assert_eq!(values.len() + left as usize + own_left, CLIENTS);
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len() + left as usize + own_left, CLIENTS, "an element was given twice");
    await_blocked(&mut control, CLIENTS - values.len());
    server.finish();
}
