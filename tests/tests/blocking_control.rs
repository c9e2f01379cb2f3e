//! Blocked clients and whatever else holds clients back, lets them go, ends them or watches them.

use std::time::{Duration, Instant};

use hotredis_tests::blocked::{
    assert_silent, await_blocked, block, blocked, id_of, line, upgrade, words,
};
use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::{Kind, Server, Setup};
use hotredis_tests::value::Value;

const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

fn start() -> (Server, Client) {
    let server = Setup::candidate().start();
    let control = server.connect();
    (server, control)
}

/// The fields of a client's line in `CLIENT LIST`.
fn listed(control: &mut Client, id: &str) -> String {
    control.call(&["CLIENT", "LIST", "ID", id]).text().to_owned()
}

#[test]
fn a_pause_holds_back_who_feeds_but_no_deadline() {
    for mode in ["WRITE", "ALL"] {
        let (server, mut control) = start();
        let mut timed = blocked(&server, &mut control, 1, &["BLPOP", "q", "0.3"]);
        let mut waiting = blocked(&server, &mut control, 1, &["BLPOP", "q", "0"]);
        let mut feeder = server.connect();
        line(&mut feeder, "MULTI");
        line(&mut feeder, "RPUSH q 1");
        line(&mut control, &format!("CLIENT PAUSE 3000 {mode}"));
        let paused_at = Instant::now();
        feeder.send(&["EXEC"]);
        upgrade(&server, 0);
        assert!(timed[0].receive().is_null());
        assert!(paused_at.elapsed() < Duration::from_millis(2900), "it waited for the pause");
        assert_eq!(feeder.try_drain().expect("a connection"), []);
        upgrade(&server, 1);
        assert_eq!(waiting[0].receive(), words("q 1"));
        assert!(paused_at.elapsed() >= Duration::from_millis(2900), "it did not wait");
        assert_eq!(feeder.receive(), Value::Array(vec![Value::Integer(1)]));
        await_blocked(&mut control, 0);
        server.finish();
    }
}

#[test]
fn who_is_paused_goes_on_in_order_and_blocks_in_it() {
    let (server, mut control) = start();
    line(&mut control, "CLIENT PAUSE 100000 WRITE");
    // The youngest connection comes first: the order is not that of connections.
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    clients.reverse();
    for (number, client) in clients.iter_mut().enumerate() {
        block(&mut control, client, &["BLPOP", "q", "0"]);
        if number % 8 == 0 {
            upgrade(&server, number);
        }
    }
    line(&mut control, "CLIENT UNPAUSE");
    upgrade(&server, 1);
    for (number, client) in clients.iter_mut().enumerate() {
        line(&mut control, &format!("RPUSH q {number}"));
        assert_eq!(client.receive(), words(&format!("q {number}")));
    }
    await_blocked(&mut control, 0);
    server.finish();
}

#[test]
fn a_pause_holds_back_what_is_queued_too() {
    for (mode, queued) in [("ALL", "GET k"), ("WRITE", "SET k v")] {
        let (server, mut control) = start();
        let mut client = server.connect();
        line(&mut client, "MULTI");
        line(&mut control, &format!("CLIENT PAUSE 800 {mode}"));
        let paused_at = Instant::now();
        client.send(&queued.split(' ').collect::<Vec<_>>());
        upgrade(&server, 0);
        assert_eq!(client.receive(), Value::Simple(b"QUEUED".to_vec()));
        assert!(paused_at.elapsed() >= Duration::from_millis(700), "{mode} did not hold it back");
        server.finish();
    }
}

#[test]
fn clients_are_unblocked_from_within_a_transaction() {
    let (server, mut control) = start();
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    let ids: Vec<String> = clients.iter_mut().map(id_of).collect();
    for client in &mut clients {
        block(&mut control, client, &["BLPOP", "q", "0"]);
    }
    upgrade(&server, 0);
    for words in [
        vec!["MULTI"],
        vec!["RPUSH", "q", "1"],
        vec!["CLIENT", "UNBLOCK", &ids[0]],
        vec!["CLIENT", "UNBLOCK", &ids[1], "ERROR"],
        vec!["CLIENT", "UNBLOCK", &ids[1], "TIMEOUT"],
    ] {
        control.call(&words);
    }
    let one = Value::Integer(1);
    let done = Value::Array(vec![one.clone(), one.clone(), one, Value::Integer(0)]);
    assert_eq!(line(&mut control, "EXEC"), done);
    // Who was let go is not served by what was pushed before.
    assert!(clients[0].receive().is_null());
    assert_eq!(clients[1].receive(), Value::error(UNBLOCKED));
    assert_eq!(clients[2].receive(), words("q 1"));
    for client in &mut clients {
        assert_eq!(line(client, "PING"), Value::Simple(b"PONG".to_vec()));
    }
    server.finish();
}

/// Redis crashes, or replies twice.
#[test]
fn who_is_paused_cannot_be_unblocked() {
    let server = Setup::hotredis().start();
    let (mut control, mut client) = (server.connect(), server.connect());
    let id = id_of(&mut client);
    line(&mut control, "CLIENT PAUSE 100000 WRITE");
    block(&mut control, &mut client, &["SET", "k", "v"]);
    assert!(listed(&mut control, &id).contains(" flags=b "));
    for how in ["TIMEOUT", "ERROR"] {
        let reply = control.call(&["CLIENT", "UNBLOCK", &id, how]);
        assert_eq!(reply, Value::Integer(0), "{how}");
        upgrade(&server, 0);
    }
    line(&mut control, "CLIENT UNPAUSE");
    assert_eq!(client.receive(), Value::ok());
    assert_eq!(line(&mut control, "GET k"), Value::bulk("v"));
    assert_silent(&mut control, std::slice::from_mut(&mut client));
    server.finish();
}

#[test]
fn who_is_killed_within_the_transaction_that_feeds_takes_nothing() {
    let (server, mut control) = start();
    let mut clients = [server.connect(), server.connect()];
    let id = id_of(&mut clients[0]);
    for client in &mut clients {
        block(&mut control, client, &["BLPOP", "q", "0"]);
    }
    upgrade(&server, 0);
    for words in [vec!["MULTI"], vec!["CLIENT", "KILL", "ID", &id], vec!["RPUSH", "q", "1"]] {
        control.call(&words);
    }
    let ones = Value::Array(vec![Value::Integer(1), Value::Integer(1)]);
    assert_eq!(line(&mut control, "EXEC"), ones);
    assert_eq!(clients[0].receive_until_closed(), []);
    assert_eq!(clients[1].receive(), words("q 1"));
    server.finish();
}

#[test]
fn whose_peer_is_gone_takes_nothing() {
    let (server, mut control) = start();
    let mut clients = blocked(&server, &mut control, 3, &["BLPOP", "q", "0"]);
    upgrade(&server, 0);
    clients[0].shutdown_write().expect("a socket");
    await_blocked(&mut control, 2);
    // Bytes of a next request do not hide the end behind them.
    clients[1].send_raw(b"*1\r\n$4\r\nPI");
    clients[1].shutdown_write().expect("a socket");
    await_blocked(&mut control, 1);
    upgrade(&server, 1);
    line(&mut control, "RPUSH q 1");
    assert_eq!(clients[2].receive(), words("q 1"));
    assert_eq!(clients[0].receive_until_closed(), []);
    assert_eq!(clients[1].receive_until_closed(), []);
    server.finish();
}

#[test]
fn who_wants_no_reply_gets_none_and_takes_the_element() {
    let (server, mut control) = start();
    let mut off = server.connect();
    off.send(&["CLIENT", "REPLY", "OFF"]);
    block(&mut control, &mut off, &["BLPOP", "q", "0"]);
    let mut skips = server.connect();
    skips.send_raw(&[encode(&["CLIENT", "REPLY", "SKIP"]), encode(&["BLPOP", "q", "0"])].concat());
    skips.send(&["PING"]);
    await_blocked(&mut control, 2);
    upgrade(&server, 0);
    assert_eq!(line(&mut control, "RPUSH q 1 2 3"), Value::Integer(3));
    assert_eq!(line(&mut control, "LRANGE q 0 -1"), words("3"));
    assert_eq!(skips.receive(), Value::Simple(b"PONG".to_vec()));
    assert_silent(&mut control, std::slice::from_mut(&mut off));
    off.send(&["CLIENT", "REPLY", "ON"]);
    assert_eq!(off.receive(), Value::ok());
    // The same for those whose time is up.
    skips.send_raw(
        &[encode(&["CLIENT", "REPLY", "SKIP"]), encode(&["BLPOP", "r", "0.05"])].concat(),
    );
    skips.send(&["PING"]);
    upgrade(&server, 1);
    assert_eq!(skips.receive(), Value::Simple(b"PONG".to_vec()));
    server.finish();
}

#[test]
fn nothing_blocks_within_a_transaction() {
    let (server, mut control) = start();
    let (array, bulk) = (Value::NullArray, Value::NullBulk);
    let queued = [
        ("BLPOP n 0", array.clone()),
        ("BRPOP n m 0", array.clone()),
        ("BLMOVE n m LEFT LEFT 0", bulk.clone()),
        ("BRPOPLPUSH n m 0", bulk),
        ("BLMPOP 0 1 n LEFT", array.clone()),
        ("BZPOPMIN n 0", array.clone()),
        ("BZPOPMAX n 0", array.clone()),
        ("BZMPOP 0 1 n MIN", array.clone()),
        ("XREAD BLOCK 0 STREAMS n $", array),
        ("WAIT 1 0", Value::Integer(0)),
        ("RPUSH n 1", Value::Integer(1)),
        ("BLPOP n 0", words("n 1")),
    ];
    line(&mut control, "MULTI");
    for (number, (command, _)) in queued.iter().enumerate() {
        assert_eq!(line(&mut control, command), Value::Simple(b"QUEUED".to_vec()));
        if number == 5 {
            upgrade(&server, 0);
        }
    }
    let replies: Vec<Value> = queued.into_iter().map(|(_, reply)| reply).collect();
    assert_eq!(line(&mut control, "EXEC"), Value::Array(replies));
    await_blocked(&mut control, 0);
    server.finish();
}

#[test]
fn monitors_see_a_command_when_it_blocks_and_not_when_it_is_served() {
    let (server, mut control) = start();
    let mut monitor = server.connect();
    line(&mut monitor, "MONITOR");
    let mut client = server.connect();
    client.send(&["BLMOVE", "q", "r", "LEFT", "RIGHT", "0"]);
    let shown = |value: Value| value.text().split("] ").nth(1).map(str::to_owned);
    let blmove = r#""BLMOVE" "q" "r" "LEFT" "RIGHT" "0""#.to_owned();
    assert_eq!(shown(monitor.receive()), Some(blmove));
    upgrade(&server, 0);
    line(&mut control, "RPUSH q 1");
    assert_eq!(client.receive(), Value::bulk("1"));
    line(&mut control, "ECHO end");
    assert_eq!(shown(monitor.receive()), Some(r#""RPUSH" "q" "1""#.to_owned()));
    assert_eq!(shown(monitor.receive()), Some(r#""ECHO" "end""#.to_owned()));
    server.finish();
}

#[test]
fn who_waits_is_not_idle_nor_when_it_has_waited() {
    let server = Setup::candidate().directive("timeout", "2").start();
    let (mut waiting, mut paused) = (server.connect(), server.connect());
    let (waiting_id, mut idle) = (id_of(&mut waiting), server.connect());
    waiting.send(&["BLPOP", "q", "0"]);
    idle.call(&["PING"]);
    let mut control = server.connect();
    await_blocked(&mut control, 1);
    line(&mut control, "CLIENT PAUSE 100000 WRITE");
    paused.send(&["SET", "k", "v"]);
    upgrade(&server, 0);
    // The one that is idle is closed; rounds come ten times a second.
    assert_eq!(idle.receive_until_closed(), []);
    std::thread::sleep(Duration::from_secs(1));
    let mut control = server.connect();
    await_blocked(&mut control, 2);
    line(&mut control, "CLIENT UNPAUSE");
    assert_eq!(paused.receive(), Value::ok());
    line(&mut control, "RPUSH q 1");
    assert_eq!(waiting.receive(), words("q 1"));
    // Both count as active now: a few rounds leave them alone.
    std::thread::sleep(Duration::from_millis(400));
    assert!(!listed(&mut control, &waiting_id).is_empty());
    assert_eq!(line(&mut waiting, "PING"), Value::Simple(b"PONG".to_vec()));
    assert_eq!(line(&mut paused, "PING"), Value::Simple(b"PONG".to_vec()));
    server.finish();
}

#[test]
fn who_waits_counts_among_the_clients_and_is_shown() {
    let server = Setup::candidate().directive("maxclients", "5").start();
    let mut control = server.connect();
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    let ids: Vec<String> = clients.iter_mut().map(id_of).collect();
    let commands: [&[&str]; 4] = [
        &["BLPOP", "q", "0"],
        &["BZPOPMIN", "q", "1000"],
        &["XREAD", "BLOCK", "0", "STREAMS", "q", "$"],
        &["WAIT", "1", "0"],
    ];
    for (client, command) in clients.iter_mut().zip(commands) {
        block(&mut control, client, command);
    }
    upgrade(&server, 0);
    let mut refused = server.connect();
    assert!(refused.receive().text().contains("max number of clients reached"));
    for (id, command) in ids.iter().zip(commands) {
        let line = listed(&mut control, id);
        let shown = format!(" cmd={} ", command[0].to_lowercase());
        assert!(line.contains(" flags=b ") && line.contains(&shown), "{line}");
        line_of_unblocked(&mut control, id);
    }
    assert_eq!(server_counts(&mut control), (0, 0));
    assert!(clients[0].receive().is_null() && clients[1].receive().is_null());
    assert!(clients[2].receive().is_null());
    assert_eq!(clients[3].receive(), Value::Integer(0));
    server.finish();
}

/// Unblocks a client, which is then listed as a normal one.
fn line_of_unblocked(control: &mut Client, id: &str) {
    assert_eq!(control.call(&["CLIENT", "UNBLOCK", id]), Value::Integer(1));
    assert!(listed(control, id).contains(" flags=N "));
}

/// `blocked_clients` and `clients_in_timeout_table`.
fn server_counts(control: &mut Client) -> (usize, usize) {
    let info = line(control, "INFO clients");
    let field = |name: &str| {
        let value = hotredis_tests::server::info_field(info.text(), name);
        value.and_then(|value| value.parse().ok()).expect("INFO has it")
    };
    (field("blocked_clients"), field("clients_in_timeout_table"))
}

/// Deadlines every two milliseconds while one upgrade follows the other, so that some pass while
/// nobody serves: each client gives up once, and not before its time.
#[test]
fn deadlines_pass_while_nobody_serves() {
    const CLIENTS: u64 = 500;
    let (server, mut control) = start();
    let mut clients: Vec<(Client, Instant)> =
        (0..CLIENTS).map(|_| (server.connect(), Instant::now())).collect();
    for (number, (client, due)) in clients.iter_mut().enumerate() {
        let wait = Duration::from_millis(700 + 2 * number as u64);
        *due = Instant::now() + wait;
        client.send(&["BLPOP", "q", &format!("{:.3}", wait.as_secs_f64())]);
    }
    let end = clients.last().map(|(_, due)| *due).expect("clients");
    let mut upgrades = 0;
    while server.kind() == Kind::Hotredis && Instant::now() < end {
        upgrade(&server, upgrades);
        upgrades += 1;
        for (client, due) in &mut clients {
            for reply in client.try_drain().expect("a connection") {
                assert!(reply.is_null(), "{reply:?}");
                // The server counts in whole milliseconds.
                let early = due.saturating_duration_since(Instant::now());
                assert!(early <= Duration::from_millis(1), "{early:?} too early");
                // Marked as answered: a second reply is one too many.
                *due = end + Duration::from_secs(3600);
            }
        }
    }
    let unanswered = clients.iter_mut().filter(|(_, due)| *due <= end);
    unanswered.for_each(|(client, _)| assert!(client.receive().is_null()));
    await_blocked(&mut control, 0);
    line(&mut control, "RPUSH q 1");
    for (client, _) in &mut clients {
        assert_silent(&mut control, std::slice::from_mut(client));
    }
    assert_eq!(line(&mut control, "LLEN q"), Value::Integer(1));
    server.finish();
}
