//! `hotredis-demo`: many clients at work, several upgrades under them, and what came of it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hotredis_tests::binaries;
use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::{Outcome, Trial};
use hotredis_tests::load::{self, Options};

/// Starts a server, puts a load on it, replaces its binary several times meanwhile and shows what
/// the clients saw.
#[derive(Debug, Parser)]
#[command(name = "hotredis-demo", version)]
struct Arguments {
    /// Connections that hold session state.
    #[arg(long, default_value_t = 5_000)]
    idle: usize,
    /// Connections that send pipelined INCRs.
    #[arg(long, default_value_t = 50)]
    busy: usize,
    /// Requests per second, of all connections together.
    #[arg(long, default_value_t = 100_000.0)]
    rate: f64,
    /// Keys in the server.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Seconds of load.
    #[arg(long, default_value_t = 16.0)]
    seconds: f64,
    /// Seconds from one upgrade to the next.
    #[arg(long, default_value_t = 1.5)]
    interval: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    println!(
        "{} connections with a session of their own, and {} that send {:.0} INCRs per second,\n\
         to a server with {} keys, whose binary is replaced every {} s by another build in turn.\n",
        arguments.idle, arguments.busy, arguments.rate, arguments.keys, arguments.interval
    );
    let trial = Trial {
        builds: binaries::two_builds(),
        load: Options {
            idle: arguments.idle,
            busy: arguments.busy,
            rate: Some(arguments.rate),
            duration: Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?,
            ..Options::new(([127, 0, 0, 1], 0).into())
        },
        keys: arguments.keys,
        interval: Some(Duration::try_from_secs_f64(arguments.interval).context("--interval")?),
    };
    let outcome = trial.carry_out(|result| match result {
        Ok(upgrade) => println!(
            "{:5.1} s  build {} serves as generation {}: paused for {}, {} connections moved",
            upgrade.at_s,
            upgrade.build,
            upgrade.generation,
            micros(upgrade.freeze_us),
            upgrade.connections
        ),
        Err(failure) => println!("         FAILED: {failure}"),
    })?;
    conclude(&outcome);
    let holds = outcome.report.errors == 0 && outcome.failures.is_empty();
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn conclude(outcome: &Outcome) {
    let report = &outcome.report;
    println!("\n{}\n{report}", load::chart::draw(report));
    let longest = outcome.freezes().last().copied().unwrap_or(0);
    println!(
        "\n{} upgrades under {} connections: {} connections dropped; {} commands lost, {} repeated,\n\
         {} out of order; the server paused for {} at most, and no client waited longer than {}.",
        outcome.upgrades.len(),
        report.idle + report.busy,
        report.idle + report.busy - report.idle_kept - report.busy_kept,
        report.faults.lost(),
        report.faults.duplicated(),
        report.faults.reordered,
        micros(longest),
        micros(report.latency.max_us)
    );
}
