//! `hotredis-bars`: measures upgrades under load against the bars that the project has set itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hotredis_tests::binaries;
use hotredis_tests::load::Options;
use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::{Outcome, Trial, quantile};
use serde_json::{Value, json};

/// The longest silence may be this much longer with upgrades than without, in microseconds.
const GAP_BAR: i64 = 10_000;
/// `handoff_last_freeze_us` in the median, and at p90.
const FREEZE_BARS: (u64, u64) = (500, 2_000);
/// The freeze counts as growing with connections or data if its median more than doubles, and by
/// more than this many microseconds: below that it is noise.
const FREEZE_NOISE: u64 = 200;

/// Runs a load with and without upgrades, in turn, and compares. Exits 0 only if every bar holds.
#[derive(Debug, Parser)]
#[command(name = "hotredis-bars", version)]
struct Arguments {
    /// Runs with upgrades, and as many without, in turn.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Milliseconds from one upgrade to the next.
    #[arg(long, default_value_t = 300)]
    interval: u64,
    /// Idle connections.
    #[arg(long, default_value_t = 9_000)]
    idle: usize,
    /// Connections that are blocked on keys, and fed now and then.
    #[arg(long, default_value_t = 200)]
    waiting: usize,
    /// Busy connections.
    #[arg(long, default_value_t = 50)]
    busy: usize,
    /// Requests that a busy connection sends at once.
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// Requests per second, of all connections together, instead of as many as the server answers.
    #[arg(long)]
    rate: Option<f64>,
    /// Keys in the large cases.
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Seconds of each run of the four cases of connections and keys; 0 leaves them out.
    #[arg(long, default_value_t = 10.0)]
    case_seconds: f64,
    /// A few seconds of each, to see that everything works: the figures say little.
    #[arg(long)]
    quick: bool,
    /// Idle connections hold nothing but a database and a name.
    #[arg(long)]
    plain_idle: bool,
    /// Where all results go as JSON.
    #[arg(long, default_value = "target/bars/upgrade.json")]
    json: PathBuf,
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
        arguments.runs = 1;
        arguments.seconds = arguments.seconds.min(4.0);
        arguments.case_seconds = arguments.case_seconds.min(2.0);
        arguments.keys = arguments.keys.min(200_000);
    }
    let mut verdicts = Verdicts::default();
    let gap = compare_gaps(&arguments, &mut verdicts)?;
    let cases = compare_cases(&arguments, &mut verdicts)?;
    println!();
    for (holds, text) in &verdicts.0 {
        println!("{}  {text}", if *holds { "holds " } else { "FAILS " });
    }
    let all = json!({ "gap": gap, "cases": cases, "bars": verdicts.0 });
    if let Some(dir) = arguments.json.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(&arguments.json, serde_json::to_string_pretty(&all)?)
        .with_context(|| format!("writing {}", arguments.json.display()))?;
    let holds = verdicts.0.iter().all(|(holds, _)| *holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

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

    fn freezes(&mut self, name: &str, outcomes: &[&Outcome]) -> Option<(u64, u64)> {
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
        Some((median, p90))
    }
}

fn trial(arguments: &Arguments, seconds: f64, upgrades: bool) -> anyhow::Result<Trial> {
    let anywhere = ([127, 0, 0, 1], 0).into();
    Ok(Trial {
        builds: binaries::two_builds(),
        load: Options {
            idle: arguments.idle,
            waiting: if arguments.plain_idle { 0 } else { arguments.waiting },
            busy: arguments.busy,
            pipeline: arguments.pipeline,
            rate: arguments.rate,
            plain_idle: arguments.plain_idle,
            duration: Duration::try_from_secs_f64(seconds).context("a run's seconds")?,
            ..Options::new(anywhere)
        },
        keys: 1,
        interval: upgrades.then(|| Duration::from_millis(arguments.interval)),
    })
}

/// The same load with and without upgrades, in turn.
fn compare_gaps(arguments: &Arguments, verdicts: &mut Verdicts) -> anyhow::Result<Value> {
    println!(
        "{} idle, {} waiting and {} busy connections, {} s a run; with upgrades every {} ms, and \
         without",
        arguments.idle, arguments.waiting, arguments.busy, arguments.seconds, arguments.interval
    );
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 1..=arguments.runs {
        let plain = trial(arguments, arguments.seconds, false)?.carry_out()?;
        println!("run {number}, without: {}", summary(&plain));
        let upgraded = trial(arguments, arguments.seconds, true)?.carry_out()?;
        println!("run {number}, with:    {}", summary(&upgraded));
        without.push(plain);
        with.push(upgraded);
    }
    let with_refs: Vec<&Outcome> = with.iter().collect();
    verdicts.faultless("without upgrades", &without.iter().collect::<Vec<_>>());
    verdicts.faultless("with upgrades", &with_refs);
    let (before, after) = (median_gap(&without), median_gap(&with));
    verdicts.add(
        after - before <= GAP_BAR,
        format!(
            "longest time without any reply: {} with upgrades, {} without; {:+.1} ms (bar +{} ms)",
            micros(after as u64),
            micros(before as u64),
            (after - before) as f64 / 1e3,
            GAP_BAR / 1_000
        ),
    );
    verdicts.freezes("all runs with upgrades", &with_refs);
    Ok(json!({ "without": without, "with": with }))
}

/// 10 connections against many, one key against millions: the freeze must not notice.
fn compare_cases(arguments: &Arguments, verdicts: &mut Verdicts) -> anyhow::Result<Value> {
    let mut results = Vec::new();
    if arguments.case_seconds <= 0.0 {
        return Ok(json!(results));
    }
    let few = 10;
    let cases = [
        (0, 0, few, 1),
        (arguments.idle, arguments.waiting, arguments.busy, 1),
        (0, 0, few, arguments.keys),
        (arguments.idle, arguments.waiting, arguments.busy, arguments.keys),
    ];
    let mut medians = Vec::new();
    for (idle, waiting, busy, keys) in cases {
        let mut trial = trial(arguments, arguments.case_seconds, true)?;
        trial.load.idle = idle;
        trial.load.waiting = waiting;
        trial.load.busy = busy;
        trial.keys = keys;
        let outcome = trial.carry_out()?;
        let connections = idle + waiting + busy;
        let name =
            format!("{connections} connections, {keys} key{}", if keys == 1 { "" } else { "s" });
        println!("{name}: {}", summary(&outcome));
        verdicts.faultless(&name, &[&outcome]);
        let freeze = verdicts.freezes(&name, &[&outcome]);
        medians.extend(freeze.map(|(median, _)| median));
        results.push(json!({ "connections": connections, "keys": keys, "outcome": outcome }));
    }
    if let [small, .., large] = medians[..] {
        verdicts.add(
            large <= (2 * small).max(small + FREEZE_NOISE),
            format!(
                "freeze in the median from the smallest case to the largest: {} to {}",
                micros(small),
                micros(large)
            ),
        );
    }
    Ok(json!(results))
}

fn median_gap(outcomes: &[Outcome]) -> i64 {
    let mut gaps: Vec<u64> = outcomes.iter().map(|o| o.report.longest_gap_us).collect();
    gaps.sort_unstable();
    quantile(&gaps, 0.5).unwrap_or(0) as i64
}

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
