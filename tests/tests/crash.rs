//! The generation that serves is killed, under load and with nobody standing by: the keeper starts another
//! on the same arena, and no client notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> Server {
    Setup::of_binary(&binaries::two_builds()[0]).arguments(&["--probation", "0"]).start()
}

/// Kills the generation that serves, and waits until another does.
#[track_caller]
fn crash(server: &Server, signal: Signal) {
    let (generation, pid) = server.serving();
    kill(Pid::from_raw(pid as i32), signal).unwrap();
    let end = Instant::now() + PATIENCE;
    while server.serving().0 == generation {
        assert!(Instant::now() < end, "nobody serves:\n{}", server.log());
    }
    assert_eq!(server.serving().0, generation + 1);
}

/// Counts in requests of so many commands, of which it sends the last but half at first.
fn count(mut client: Client, key: &str, pipeline: usize, done: &AtomicBool) -> i64 {
    let request = format!("*2\r\n$4\r\nINCR\r\n${}\r\n{key}\r\n", key.len()).repeat(pipeline);
    let half = request.len() - 7;
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        client.send_raw(&request.as_bytes()[..half]);
        thread::sleep(Duration::from_micros(300));
        client.send_raw(&request.as_bytes()[half..]);
        for _ in 0..pipeline {
            number += 1;
            assert_eq!(client.receive(), Value::Integer(number), "{key}");
        }
    }
    number
}

#[test]
fn clients_that_count_notice_nothing() {
    let server = server();
    let idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let counting: Vec<_> = [1, 1, 3, 16, 100]
            .into_iter()
            .enumerate()
            .map(|(number, pipeline)| {
                let (client, done) = (server.connect(), &done);
                scope.spawn(move || count(client, &format!("counter:{number}"), pipeline, done))
            })
            .collect();
        for round in 0..20 {
            if round % 4 == 3 {
                let outcome = server.upgrade(&binaries::two_builds()[round % 2]);
                assert!(outcome.success, "{}", outcome.output);
            }
            crash(&server, Signal::SIGKILL);
            thread::sleep(Duration::from_millis(50));
        }
        done.store(true, Ordering::Relaxed);
        for thread in counting {
            assert!(thread.join().unwrap() > 100);
        }
    });
    for mut client in idle {
        assert_eq!(client.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    server.finish();
}
