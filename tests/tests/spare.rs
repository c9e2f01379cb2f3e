//! `--spare`: a generation stands ready beside the one that serves. Whoever dies, whenever, no client
//! notices, and there is another spare after a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::counting::Counting;
use hotredis_tests::server::{Server, Setup, text_of};
use hotredis_tests::spare::Spare;
use hotredis_tests::value::Value;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);

fn server(arguments: &[&str]) -> Server {
    let arguments = [&["--spare"], arguments].concat();
    Setup::first_build().arguments(&arguments).start()
}

#[track_caller]
fn await_ready(server: &Server) -> Spare {
    let end = Instant::now() + PATIENCE;
    loop {
        match Spare::of(server) {
            Some(found) if found.ready => return found,
            found => assert!(Instant::now() < end, "{found:?}\n{}", server.log()),
        }
    }
}

fn end_process(pid: u32) {
    // It may have been replaced just now.
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
}

fn still_answered(idle: Vec<Client>) {
    for mut client in idle {
        assert_eq!(client.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
}

/// Connects, is served, and leaves, all the time: the spare hears of each. Whoever has just been accepted when
/// the server dies may find its connection ended before its first command ran; returns how many.
fn come_and_go(server: &Server, done: &AtomicBool) -> usize {
    let mut staying = Vec::new();
    let (mut came, mut turned_away) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let mut client = server.connect();
        match client.try_call(&["ECHO", "here"]) {
            Ok(answer) => assert_eq!(answer, Value::bulk("here")),
            Err(_) => {
                turned_away += 1;
                continue;
            }
        }
        came += 1;
        staying.push(client);
        if staying.len() > 20 {
            staying.swap_remove(came % 20);
        }
    }
    still_answered(staying);
    assert!(came > 100, "{came}");
    turned_away
}

/// Runs while clients count, idle, come and go.
fn under_load(server: &Server, deaths: usize, work: impl FnOnce()) {
    let idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    let counting = Counting::start(server, &[1, 1, 3, 16, 100]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let coming = [(); 2].map(|()| scope.spawn(|| come_and_go(server, &done)));
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                // However the work ends, they are not waited for forever.
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let over = Over(&done);
        work();
        drop(over);
        for thread in coming {
            let turned_away = thread.join().expect("whoever comes is served");
            assert!(turned_away <= deaths, "{turned_away} connections in {deaths} deaths");
        }
    });
    counting.end();
    still_answered(idle);
}

#[test]
fn the_spare_takes_over() {
    let server = server(&["--probation", "0"]);
    under_load(&server, 16, || {
        for round in 0..16 {
            // Now and then there is none, or one that is not ready yet.
            let expected = (round % 4 != 3).then(|| await_ready(&server));
            let generation = server.serving().0;
            server.kill_serving();
            if let Some(spare) = expected {
                assert_eq!(spare.generation, generation + 1);
                assert_eq!(server.serving(), (spare.generation, spare.pid), "{}", server.log());
            }
        }
    });
    server.finish();
}

#[test]
fn amid_upgrades_and_deaths_of_everybody() {
    let server = server(&["--probation", "0"]);
    under_load(&server, 15, || {
        for round in 0..15 {
            match round % 5 {
                0 => server.upgrade_to(round / 5 + 1),
                1 => server.kill_keeper(),
                // The spare and, at once or when there is another, the one that serves.
                2 | 3 => end_process(await_ready(&server).pid),
                _ => {}
            }
            if round % 2 == 0 {
                await_ready(&server);
            }
            server.kill_serving();
        }
    });
    server.finish();
}

/// While a predecessor stands by nobody else has to; afterwards the spare is of the binary that serves.
#[test]
fn there_is_one_of_whatever_serves() {
    let server = server(&["--probation", "0.7"]);
    let mut client = server.connect();
    let first = await_ready(&server);
    assert_eq!(first.generation, 2);
    server.upgrade_to(1);
    assert_eq!(Spare::of(&server), None, "its predecessor stands by");
    let next = await_ready(&server);
    assert_eq!(next.generation, 3);
    server.kill_serving();
    assert_eq!(server.serving(), (3, next.pid), "{}", server.log());
    assert_eq!(server.info("hotredis_build").as_deref(), Some("b"));
    // Undone: the number of the spare is that of the generation that was undone.
    await_ready(&server);
    server.upgrade_to(0);
    let output = server.cli(&["rollback"]);
    assert!(output.status.success(), "{}", text_of(&output));
    let again = await_ready(&server);
    assert_eq!(again.generation, 4);
    server.kill_serving();
    assert_eq!(server.serving(), (4, again.pid), "{}", server.log());
    assert_eq!(client.call(&["INCR", "counter"]), Value::Integer(1));
    server.finish();
}

/// A predecessor takes the arena back itself; the spare comes after it.
#[test]
fn a_predecessor_that_stands_by_comes_first() {
    let server = server(&["--probation", "60"]);
    await_ready(&server);
    let (first, pid) = server.serving();
    server.upgrade_to(1);
    server.kill_serving();
    assert_eq!(server.serving(), (first, pid));
    assert_eq!(await_ready(&server).generation, first + 1);
    server.finish();
}

/// One that does not answer is not waited for.
#[test]
fn a_spare_that_stands_still_is_replaced_when_it_is_needed() {
    let server = server(&[]);
    let mut client = server.connect();
    let stopped = await_ready(&server);
    kill(Pid::from_raw(stopped.pid as i32), Signal::SIGSTOP).unwrap();
    server.kill_serving();
    assert_ne!(server.serving().1, stopped.pid);
    assert_eq!(client.call(&["INCR", "counter"]), Value::Integer(1));
    await_ready(&server);
    server.finish();
}

/// An upgrade that is refused, or only tried, leaves it alone; a shutdown does not wait for it.
#[test]
fn what_comes_to_nothing_leaves_it_alone() {
    let server = server(&[]);
    let first = await_ready(&server);
    let outcome = server.upgrade("/bin/true".as_ref());
    assert!(!outcome.success);
    let [_, new] = binaries::two_builds();
    let dry_run = ["upgrade", "--dry-run", "--binary", new.to_str().unwrap()];
    assert!(server.cli(&dry_run).status.success());
    assert_eq!(await_ready(&server), first);
    let table = text_of(&server.cli(&["status"]));
    assert!(table.contains("SPARE") && table.contains("ready"), "{table}");
    server.finish();
}

/// What it holds does not keep a connection open that the server has closed.
#[test]
fn a_connection_that_is_closed_is_closed() {
    let server = server(&[]);
    await_ready(&server);
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(&["QUIT"]);
        assert_eq!(client.receive_until_closed(), [Value::Simple(b"OK".to_vec())]);
    }
    server.kill_serving();
    assert_eq!(server.info("connected_clients").as_deref(), Some("1"));
    server.finish();
}
