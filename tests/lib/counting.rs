//! Clients that count: a command that is lost, repeated or reordered shows in a reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::Client;
use crate::server::Server;
use crate::value::Value;

/// How far each one counts at least.
const ENOUGH: i64 = 100;

/// Clients that count until they are [ended](Counting::end), each in a thread of its own.
#[derive(Debug)]
pub struct Counting {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<i64>>,
}

impl Counting {
    /// Starts a client for each of these numbers of commands in a request.
    pub fn start(server: &Server, pipelines: &[usize]) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let threads = pipelines.iter().enumerate().map(|(number, pipeline)| {
            let (client, done, pipeline) = (server.connect(), done.clone(), *pipeline);
            thread::spawn(move || count(client, &format!("counter:{number}"), pipeline, &done))
        });
        let threads = threads.collect();
        Self { done, threads }
    }

    /// Ends them.
    ///
    /// # Panics
    /// If a reply was not the next number.
    #[track_caller]
    pub fn end(mut self) {
        self.done.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            let counted = thread.join().expect("every reply is the next number");
            assert!(counted >= ENOUGH, "{counted}");
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // A test that fails is not to wait for them.
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Counts in requests of so many commands, each sent in two parts, of which the first ends in the midst of
/// a command. Returns how far it came.
fn count(mut client: Client, key: &str, pipeline: usize, done: &AtomicBool) -> i64 {
    let request = format!("*2\r\n$4\r\nINCR\r\n${}\r\n{key}\r\n", key.len()).repeat(pipeline);
    let half = request.len() - 7;
    let mut number = 0;
    // A test that is over soon is to have something to tell, too.
    while number < ENOUGH || !done.load(Ordering::Relaxed) {
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
