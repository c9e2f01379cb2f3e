//! `hotredis-bars`: measures upgrades and crashes under load against the bars that the project has set
//! itself.

mod crash;
mod freezes;
mod gap;
mod latency;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use hotredis_tests::binaries;
use hotredis_tests::load::Options;
use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::{Outcome, Trial, quantile};
use serde_json::json;

/// `handoff_last_freeze_us` in the median, and at p90.
const FREEZE_BARS: (u64, u64) = (300, 1_000);

/// Runs a load with and without upgrades, and compares. Exits 0 only if every bar holds.
#[derive(Debug, Parser)]
#[command(name = "hotredis-bars", version)]
struct Arguments {
    /// Leave out the other parts. `freeze` and `latency` are the bars of scale.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Runs with upgrades, and as many without, in turn (gap, latency).
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run (gap, latency).
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Milliseconds from one upgrade to the next (gap).
    #[arg(long, default_value_t = 300)]
    interval: u64,
    /// Milliseconds from one upgrade to the next (freeze).
    #[arg(long, default_value_t = 500)]
    freeze_interval: u64,
    /// Milliseconds from one upgrade to the next (latency): enough for quiet in between.
    #[arg(long, default_value_t = 3_000)]
    latency_interval: u64,
    /// Idle connections (gap).
    #[arg(long, default_value_t = 9_000)]
    idle: usize,
    /// Connections of all kinds (freeze, latency).
    #[arg(long, default_value_t = 18_000)]
    connections: usize,
    /// Connections that are blocked on keys, and fed now and then.
    #[arg(long, default_value_t = 200)]
    waiting: usize,
    /// Busy connections.
    #[arg(long, default_value_t = 50)]
    busy: usize,
    /// Requests that a busy connection sends at once (gap, freeze).
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// Requests per second, of all connections together, instead of as many as the server answers
    /// (gap, freeze).
    #[arg(long)]
    rate: Option<f64>,
    /// Requests per second, of all connections together (latency): few enough that none has to queue.
    #[arg(long, default_value_t = 20_000.0)]
    latency_rate: f64,
    /// Requests that a busy connection sends at once (latency).
    #[arg(long, default_value_t = 4)]
    latency_pipeline: usize,
    /// Keys (freeze, latency).
    #[arg(long, default_value_t = 8_000_000)]
    keys: u64,
    /// Upgrades of each case of connections and keys (freeze).
    #[arg(long, default_value_t = 100)]
    upgrades: usize,
    /// Seconds of each pass (crash).
    #[arg(long, default_value_t = 30.0)]
    crash_seconds: f64,
    /// Milliseconds from one SIGKILL for the generation that serves to the next (crash).
    #[arg(long, default_value_t = 700)]
    kill_interval: u64,
    /// Milliseconds from one upgrade to the next in the pass in which there are some (crash).
    #[arg(long, default_value_t = 1_100)]
    crash_upgrade_interval: u64,
    /// Milliseconds from one SIGKILL for the keeper to the next in the pass in which there are some (crash).
    #[arg(long, default_value_t = 1_700)]
    kill_keeper_interval: u64,
    /// Data that the server has beforehand, in millions of bytes (crash).
    #[arg(long, default_value_t = 1_000)]
    data_mb: u64,
    /// Has the server keep a spare generation: the bar is lower (crash).
    #[arg(long)]
    spare: bool,
    /// A few seconds of each, to see that everything works: the figures say little.
    #[arg(long)]
    quick: bool,
    /// Idle connections hold nothing but a database and a name.
    #[arg(long)]
    plain_idle: bool,
    /// Where the results of each part go as JSON.
    #[arg(long, default_value = "target/bars")]
    json: PathBuf,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The longest silence, with and without upgrades.
    Gap,
    /// The freeze, from few connections and no key to many of both.
    Freeze,
    /// Latencies while an upgrade is under way, and just after it.
    Latency,
    /// The time for which nobody is answered when the generation that serves is killed.
    Crash,
    /// Freeze and latency.
    Scale,
}

impl Part {
    fn is_in(self, only: &[Part]) -> bool {
        let of_scale = matches!(self, Self::Freeze | Self::Latency);
        only.is_empty() || only.contains(&self) || (of_scale && only.contains(&Self::Scale))
    }
}

impl Arguments {
    /// The sizes with which every part is over soon.
    fn make_quick(&mut self) {
        self.runs = 1;
        self.seconds = self.seconds.min(4.0);
        self.upgrades = self.upgrades.min(5);
        self.keys = self.keys.min(200_000);
        self.idle = self.idle.min(3_000);
        self.connections = self.connections.min(3_000);
        self.crash_seconds = self.crash_seconds.min(6.0);
        self.data_mb = self.data_mb.min(50);
    }

    /// A load as fast as the server answers, under which nothing is upgraded.
    fn trial(&self) -> Trial {
        let load = Options {
            idle: self.idle,
            waiting: if self.plain_idle { 0 } else { self.waiting },
            busy: self.busy,
            pipeline: self.pipeline,
            rate: self.rate,
            plain_idle: self.plain_idle,
            ..Options::new(([127, 0, 0, 1], 0).into())
        };
        Trial::new(binaries::two_builds(), load)
    }

    /// The same with `--connections` in all.
    fn large_trial(&self) -> anyhow::Result<Trial> {
        let mut trial = self.trial();
        trial.load.idle = 0;
        let others = trial.load.connections();
        let idle = self.connections.checked_sub(others);
        trial.load.idle = idle.with_context(|| format!("--connections is less than {others}"))?;
        Ok(trial)
    }

    fn run_length(&self) -> anyhow::Result<Duration> {
        Duration::try_from_secs_f64(self.seconds).context("--seconds")
    }
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("hotredis-bars: {error:#}");
        ExitCode::from(2)
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        arguments.make_quick();
    }
    std::fs::create_dir_all(&arguments.json)
        .with_context(|| format!("making {}", arguments.json.display()))?;
    let parts = [
        (Part::Gap, "gap", gap::measure as Measure),
        (Part::Freeze, "freeze", freezes::measure),
        (Part::Latency, "latency", latency::measure),
        (Part::Crash, "crash", crash::measure),
    ];
    let mut verdicts = Verdicts::default();
    for (part, name, measure) in parts {
        if !part.is_in(&arguments.only) {
            continue;
        }
        let first = verdicts.0.len();
        let figures = measure(&arguments, &mut verdicts)?;
        let all = json!({ "figures": figures, "bars": verdicts.0[first..] });
        let path = arguments.json.join(name).with_extension("json");
        std::fs::write(&path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("writing {}", path.display()))?;
        println!();
    }
    for (holds, text) in &verdicts.0 {
        println!("{}  {text}", if *holds { "holds " } else { "FAILS " });
    }
    let holds = verdicts.0.iter().all(|(holds, _)| *holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures one part, and returns everything that it found.
type Measure = fn(&Arguments, &mut Verdicts) -> anyhow::Result<serde_json::Value>;

/// Which bars hold, each with its figures.
#[derive(Debug, Default)]
struct Verdicts(Vec<(bool, String)>);

impl Verdicts {
    fn add(&mut self, holds: bool, text: String) {
        self.0.push((holds, text));
    }

    /// No errors in `outcomes`, and no upgrade that failed.
    fn faultless(&mut self, name: &str, outcomes: &[&Outcome]) {
        let errors: u64 = outcomes.iter().map(|outcome| outcome.report.errors).sum();
        let failures: usize = outcomes.iter().map(|outcome| outcome.failures.len()).sum();
        let upgrades: usize = outcomes.iter().map(|outcome| outcome.upgrades.len()).sum();
        self.add(
            errors == 0 && failures == 0,
            format!(
                "{name}: {errors} errors, {failures} of {} upgrades failed",
                upgrades + failures
            ),
        );
        let problems = outcomes.iter().flat_map(|o| o.report.problems.iter().chain(&o.failures));
        for problem in problems.take(10) {
            println!("  {problem}");
        }
    }

    /// Judges the freezes of `outcomes`, and returns their median.
    fn freezes(&mut self, name: &str, outcomes: &[&Outcome]) -> Option<u64> {
        let mut all: Vec<u64> = outcomes.iter().flat_map(|outcome| outcome.freezes()).collect();
        all.sort_unstable();
        let (Some(median), Some(p90)) = (quantile(&all, 0.5), quantile(&all, 0.9)) else {
            self.add(false, format!("{name}: no freeze was measured"));
            return None;
        };
        self.add(
            median <= FREEZE_BARS.0 && p90 <= FREEZE_BARS.1,
            format!(
                "{name}: freeze {} in the median (bar {}), {} at p90 (bar {}), {} at most, of {}",
                micros(median),
                micros(FREEZE_BARS.0),
                micros(p90),
                micros(FREEZE_BARS.1),
                micros(*all.last().unwrap_or(&0)),
                all.len()
            ),
        );
        Some(median)
    }
}

/// A run in one line.
fn summary(outcome: &Outcome) -> String {
    let report = &outcome.report;
    let freezes = outcome.freezes();
    let freeze = match (quantile(&freezes, 0.5), quantile(&freezes, 0.9)) {
        (Some(median), Some(p90)) => format!(
            "; {} upgrades, freeze {} / {} (median / p90)",
            freezes.len(),
            micros(median),
            micros(p90)
        ),
        _ => String::new(),
    };
    format!(
        "{} errors, {:.0}k replies/s, longest gap {}, p99.9 {}{freeze}",
        report.errors,
        report.replies_per_s / 1e3,
        micros(report.longest_gap_us),
        micros(report.latency.p999_us)
    )
}
