//! `hotredis-demo`: many clients at work, several upgrades under them, and what came of it.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hotredis_tests::binaries;
use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::{Outcome, Trial};
use hotredis_tests::load::{self, Options};
use hotredis_tests::server::Server;

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

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("hotredis-demo: {error:#}");
        ExitCode::from(2)
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    println!(
        "{} connections with a session of their own, and {} that send {:.0} INCRs per second,\n\
         beside redis-benchmark and redis-cli, to a server with {} keys. Its binary is replaced\n\
         every {} s by another build in turn.\n",
        arguments.idle, arguments.busy, arguments.rate, arguments.keys, arguments.interval
    );
    let load = Options {
        idle: arguments.idle,
        busy: arguments.busy,
        rate: Some(arguments.rate),
        duration: Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?,
        ..Options::new(([127, 0, 0, 1], 0).into())
    };
    let trial = Trial {
        keys: arguments.keys,
        interval: Some(Duration::try_from_secs_f64(arguments.interval).context("--interval")?),
        ..Trial::new(binaries::two_builds(), load)
    };
    let server = trial.start()?;
    let others = Others::start(&server)?;
    let outcome = trial.put_on(&server, |result| match result {
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
    let content = others.finish();
    server.finish();
    conclude(&outcome);
    for line in &content {
        println!("{line}");
    }
    let holds = outcome.report.errors == 0
        && outcome.failures.is_empty()
        && !outcome.upgrades.is_empty()
        && content.iter().all(|other| other.unhurt);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Redis's own tools at work on the same server.
struct Others {
    benchmark: Child,
    cli: Child,
    /// Where `redis-cli` writes the numbers that it gets.
    numbers: PathBuf,
}

/// What one of them saw.
struct Seen {
    unhurt: bool,
    text: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Others {
    fn start(server: &Server) -> anyhow::Result<Self> {
        let port = server.port().to_string();
        let numbers = server.dir().join("redis-cli");
        // It sends as fast as it can: at the lowest priority, so that it does not starve the rest.
        let benchmark = Command::new("nice")
            .args(["-n", "19", "redis-benchmark", "-p", &port, "-c", "2", "-t", "set,get,mset"])
            .args(["-r", "100000", "-l", "-q"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting redis-benchmark")?;
        let cli = Command::new("redis-cli")
            .args(["-p", &port, "-r", "-1", "-i", "0.002", "INCR", "demo:redis-cli"])
            .stdin(Stdio::null())
            .stdout(File::create(&numbers)?)
            .stderr(Stdio::null())
            .spawn()
            .context("starting redis-cli")?;
        Ok(Self { benchmark, cli, numbers })
    }

    fn end(&mut self) {
        for child in [&mut self.benchmark, &mut self.cli] {
            // Fails only for one that has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends them. One that has ended by itself, or got a wrong number, has seen something.
    fn finish(mut self) -> [Seen; 2] {
        let working = matches!(self.benchmark.try_wait(), Ok(None));
        let cli_working = matches!(self.cli.try_wait(), Ok(None));
        self.end();
        let text = std::fs::read_to_string(&self.numbers).unwrap_or_default();
        // Killed, it may have left the last line unfinished.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let wrong = whole.lines().zip(1..).find(|(line, number)| *line != number.to_string());
        let benchmark = match working {
            true => {
                "redis-benchmark  at work all the time, on the connections it began with".to_owned()
            }
            false => "redis-benchmark  ended: it lost a connection or got a wrong reply".to_owned(),
        };
        let cli = match (&wrong, cli_working) {
            (None, true) => {
                format!("redis-cli        got every number from 1 to {}", whole.lines().count())
            }
            (None, false) => "redis-cli        ended".to_owned(),
            (Some((line, number)), _) => {
                format!("redis-cli        got {line:?} instead of {number}")
            }
        };
        [
            Seen { unhurt: working, text: benchmark },
            Seen { unhurt: wrong.is_none() && cli_working, text: cli },
        ]
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.end();
    }
}

fn conclude(outcome: &Outcome) {
    let report = &outcome.report;
    println!("\n{}\n{report}", load::chart::draw(report));
    let longest = outcome.freezes().last().copied().unwrap_or(0);
    let connections = report.idle + report.waiting + report.busy;
    let kept = report.idle_kept + report.waiting - report.waiting_lost + report.busy_kept;
    println!(
        "\n{} upgrades under {} connections: {} connections dropped; {} commands lost, {} repeated,\n\
         {} out of order; the server paused for {} at most, and no client waited longer than {}.",
        outcome.upgrades.len(),
        connections,
        connections.saturating_sub(kept),
        report.faults.lost(),
        report.faults.duplicated(),
        report.faults.reordered,
        micros(longest),
        micros(report.latency.max_us)
    );
}
