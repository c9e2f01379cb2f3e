//! Who dies, and when.

use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::rng::Rng;
use hotredis_tests::server::{Server, descendants};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::World;

/// Whether the one before stands by when somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Alone,
    StandingBy,
}

impl Manner {
    /// The server's `--probation`.
    pub fn probation(self) -> &'static str {
        match self {
            Self::Alone => "0",
            Self::StandingBy => "600",
        }
    }

    /// Deaths that there must be in a run.
    pub fn least_deaths(self) -> usize {
        match self {
            Self::Alone => 10,
            Self::StandingBy => 4,
        }
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Killed {
    /// Times at which somebody was killed.
    pub deaths: usize,
    /// How often that was everybody at once, one who stood by as well.
    pub of_all: usize,
    /// How often the next one was killed before it served.
    pub amid_recovery: usize,
    pub upgrades: usize,
}

/// Kills at random times until the time is over, or somebody has failed.
///
/// # Errors
/// If nobody comes to serve, or can be upgraded.
pub fn kill_until_over(
    server: &Server,
    world: &World,
    manner: Manner,
    seed: u64,
    length: Duration,
) -> Result<Killed, String> {
    let mut rng = Rng::new(seed ^ 0x6b69_6c6c);
    let mut killed = Killed::default();
    let end = Instant::now() + length;
    while Instant::now() < end && !world.is_over() {
        if manner == Manner::StandingBy {
            upgrade(server, rng.below(2))?;
            killed.upgrades += 1;
        }
        std::thread::sleep(Duration::from_micros(rng.below(120_000) as u64));
        let (generation, pid) = server.serving();
        killed.deaths += 1;
        if rng.percent(25) {
            killed.of_all += 1;
            descendants(server.pid()).into_iter().for_each(end_process);
        } else {
            end_process(pid);
        }
        if rng.percent(25) {
            std::thread::sleep(Duration::from_micros(rng.below(12_000) as u64));
            let others = descendants(server.pid()).into_iter().filter(|other| *other != pid);
            // The newest: who stood by before is not meant, unless nobody was started since.
            if let Some(next) = others.max() {
                killed.amid_recovery += 1;
                end_process(next);
            }
        }
        let deadline = Instant::now() + crate::PATIENCE;
        while server.serving() == (generation, pid) {
            if Instant::now() >= deadline {
                return Err(format!("nobody serves:\n{}", server.log()));
            }
        }
    }
    Ok(killed)
}

/// Upgrades to one of the builds, as soon as that may be: not while nobody serves.
fn upgrade(server: &Server, build: usize) -> Result<(), String> {
    let deadline = Instant::now() + crate::PATIENCE;
    loop {
        let outcome = server.upgrade(&binaries::two_builds()[build]);
        if outcome.success {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("no upgrade comes about: {}\n{}", outcome.output, server.log()));
        }
    }
}

fn end_process(pid: u32) {
    // It may have gone by itself.
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
}
