//! Clients of every kind at work while generations are killed at any time: what each is answered, and the
//! data at the end, are those of a plain model.
//!
//! | module | what |
//! | --- | --- |
//! | [`model`] | values as the standard library has them, and commands upon them |
//! | [`own`] | clients with keys of their own: pipelines, cut requests, ends of every kind |
//! | [`shared`] | clients that share keys: queues, streams, messages, transactions |
//! | [`killing`] | who dies, and when |
//!
//! `HOTREDIS_SEED` and `HOTREDIS_SECONDS` make other and longer runs of it.

mod killing;
mod model;
mod own;
mod shared;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::rng::{SeedOnFailure, seed_or};
use hotredis_tests::server::Setup;

use crate::killing::{Killed, Manner};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all clients of a run know.
pub struct World {
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// The run is over, or somebody has failed.
    pub over: AtomicBool,
}

impl World {
    /// Whether everybody is to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Connects, and gives the connection's id. One whose generation dies as it accepts may be dropped:
    /// nothing that it has sent was run, so it may try again.
    pub fn connect(&self) -> Result<(Client, i64), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut client = Client::try_connect(&self.endpoint)
                .map_err(|error| format!("connecting: {error}"))?;
            client.set_timeout(PATIENCE).map_err(|error| error.to_string())?;
            if let Ok(id) = client.try_call(&["CLIENT", "ID"]) {
                return Ok((client, id.integer()));
            }
        }
        Err("no connection is kept".into())
    }
}

/// The length of a run.
fn length() -> Duration {
    let seconds = std::env::var("HOTREDIS_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("HOTREDIS_SECONDS is a number"));
    Duration::from_secs_f64(seconds.unwrap_or(7.0))
}

/// Everybody at work, and somebody who kills.
fn run(manner: Manner, seed: u64) {
    let seed = seed_or(seed);
    let _shown = SeedOnFailure(seed);
    let server = Setup::of_binary(&binaries::two_builds()[0])
        .arguments(&["--probation", manner.probation()])
        .start();
    let world = World { endpoint: server.endpoint().clone(), over: AtomicBool::new(false) };
    let (killed, results) = std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for number in 0..5 {
            let world = &world;
            workers.push(scope.spawn(move || own::work(world, number, seed)));
        }
        let shared = shared::spawn(scope, &world, seed);
        let killed = killing::kill_until_over(&server, &world, manner, seed, length());
        world.over.store(true, Ordering::Relaxed);
        let mut results: Vec<Result<(), String>> = Vec::new();
        for worker in workers {
            results.push(worker.join().unwrap_or_else(|_| Err("a client has panicked".into())));
        }
        results.extend(shared.conclude(&world));
        (killed, results)
    });
    let mut wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let killed = killed.unwrap_or_else(|why| {
        wrong.push(why);
        Killed::default()
    });
    assert!(wrong.is_empty(), "seed {seed}, {killed:?}:\n{}", wrong.join("\n"));
    assert!(killed.deaths >= manner.least_deaths(), "only {killed:?}");
    println!("{killed:?}");
    server.finish();
}

#[test]
fn with_nobody_standing_by() {
    run(Manner::Alone, 501);
}

#[test]
fn with_a_predecessor_standing_by() {
    run(Manner::StandingBy, 502);
}
