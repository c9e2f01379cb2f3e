//! The open-ended differential test: drives hotredis and redis-server with random commands until
//! they differ or the time is up. `make fuzz` runs it.
//!
//! Given two builds of hotredis, it upgrades from one to the other again and again in the midst
//! of the episodes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use hotredis_tests::differential::{Pair, insert_upgrades, run_episode_of};
use hotredis_tests::generate::{FAMILIES, Family, episode};

/// Drives hotredis and redis-server with the same random commands and compares the replies.
#[derive(Debug, Parser)]
#[command(name = "hotredis-fuzz")]
struct Arguments {
    /// Stop after this many seconds (0: never)
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Steps per episode
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Seed of the first episode; the following count up. Default: the clock
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after this many episodes (0: never)
    #[arg(long, default_value_t = 0)]
    episodes: u64,
    /// Only this family (by default all of them in turn)
    #[arg(long)]
    family: Option<Family>,
    /// Builds of hotredis to upgrade between; the first is started
    #[arg(long, num_args = 1)]
    build: Vec<PathBuf>,
    /// Steps between two upgrades
    #[arg(long, default_value_t = 250)]
    upgrade_every: usize,
    /// Stop at the first mismatch (otherwise report it and go on)
    #[arg(long)]
    stop: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let first = arguments.seed.unwrap_or(clock * 1000);
    let start = Instant::now();
    let limit = Duration::from_secs(arguments.seconds);
    let upgrading = arguments.build.len() > 1;
    let mut pair = Pair::start_with(arguments.build.clone());
    let mut failures = 0;
    let mut number = 0;
    while (arguments.seconds == 0 || start.elapsed() < limit)
        && (arguments.episodes == 0 || number < arguments.episodes)
    {
        let seed = first.wrapping_add(number);
        let in_turn = FAMILIES[(number % FAMILIES.len() as u64) as usize].0;
        let family = arguments.family.unwrap_or(in_turn);
        let mut steps = episode(family, seed, arguments.steps);
        if upgrading {
            insert_upgrades(&mut steps, seed, arguments.upgrade_every);
        }
        let _shown = EpisodeOnPanic(family, seed);
        if let Err(report) = run_episode_of(&mut pair, family, seed, steps) {
            println!("{report}");
            failures += 1;
            if arguments.stop {
                break;
            }
        }
        pair.check();
        number += 1;
        if number % 100 == 0 {
            let (seconds, tally) = (start.elapsed().as_secs(), pair.tally());
            println!("{number} episodes: {tally}, {failures} mismatches, {seconds} s");
        }
    }
    let last = first.wrapping_add(number.saturating_sub(1));
    println!("seeds {first} to {last}: {}, {failures} mismatches", pair.tally());
    let coverage = pair.finish();
    println!("encodings: {}", Vec::from_iter(coverage.encodings().iter().cloned()).join(", "));
    println!("never succeeded: {}", coverage.missing(|_, _| true, &[]).join(", "));
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says which episode it was when the checker finds something.
struct EpisodeOnPanic(Family, u64);

impl Drop for EpisodeOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in or after the episode of family {}, seed {}", self.0, self.1);
        }
    }
}
