//! Latencies of busy clients while sockets are passed, and in the first second after an upgrade: what
//! they are without one.

use std::time::Duration;

use hotredis_tests::load::phases::{ByPhase, Part};
use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::{Outcome, Trial, quantile};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Arguments, Verdicts};

/// p99.9 may be this much longer than without upgrades, in microseconds.
const LATENCY_BAR: i64 = 2_000;

/// A phase in words, and its part of the latencies.
type Phase = (&'static str, fn(&ByPhase) -> Part);

/// The same load with and without upgrades in turn, on one server; latencies by phase.
pub fn measure(arguments: &Arguments, verdicts: &mut Verdicts) -> anyhow::Result<Value> {
    let length = arguments.run_length()?;
    // However short the run, its first upgrade has to leave the second after it within.
    let interval = Duration::from_millis(arguments.latency_interval).min(length / 2);
    println!(
        "{} connections, {} of them busy, {:.0} requests per second; {} keys; {} s a run, with an \
         upgrade every {interval:?}, and without",
        arguments.connections,
        arguments.busy,
        arguments.latency_rate,
        arguments.keys,
        arguments.seconds
    );
    let mut plain = Trial { keys: arguments.keys, ..arguments.large_trial()? };
    plain.load.duration = length;
    plain.load.pipeline = arguments.latency_pipeline;
    plain.load.rate = Some(arguments.latency_rate);
    // A request that is held back for its second half holds up those behind it.
    plain.load.split_ratio = 0.0;
    plain.load.samples = true;
    let upgraded = Trial { interval: Some(interval), ..plain.clone() };
    let server = plain.start()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    println!("\n{}", heading());
    for number in 1..=arguments.runs {
        for (trial, name, runs) in
            [(&plain, "without", &mut without), (&upgraded, "with", &mut with)]
        {
            let outcome = trial.put_on(&server, |_| ())?;
            let run = Run { by_phase: ByPhase::of(&outcome), outcome };
            println!("{number} {name:<8}{}", row(&run));
            runs.push(run);
        }
    }
    server.finish();
    judge(&without, &with, verdicts);
    Ok(json!({ "without": without, "with": with }))
}

/// A run.
#[derive(Debug, Serialize)]
struct Run {
    by_phase: ByPhase,
    outcome: Outcome,
}

fn judge(without: &[Run], with: &[Run], verdicts: &mut Verdicts) {
    for (name, runs) in [("without upgrades", without), ("with upgrades", with)] {
        let outcomes: Vec<&Outcome> = runs.iter().map(|run| &run.outcome).collect();
        verdicts.faultless(&format!("latency {name}"), &outcomes);
    }
    let before = median(without, |run| run.quiet);
    let phases: [Phase; 2] = [
        ("while sockets are passed", |run| run.pre_copy),
        ("in the first second after", |run| run.aftermath),
    ];
    for (when, part) in phases {
        let unmeasured = with.iter().filter(|run| part(&run.by_phase).replies == 0).count();
        let after = median(with, part);
        verdicts.add(
            after - before <= LATENCY_BAR && unmeasured == 0,
            format!(
                "p99.9 of busy clients {when}: {}, without upgrades {}; {:+.1} ms (bar +{} ms){}",
                micros(after as u64),
                micros(before as u64),
                (after - before) as f64 / 1e3,
                LATENCY_BAR / 1_000,
                if unmeasured > 0 { "; a run has no reply in it" } else { "" }
            ),
        );
    }
}

/// The median of the runs' p99.9 in one part, in microseconds.
fn median(runs: &[Run], part: impl Fn(&ByPhase) -> Part) -> i64 {
    let mut all: Vec<u64> = runs.iter().map(|run| part(&run.by_phase).latency.p999_us).collect();
    all.sort_unstable();
    quantile(&all, 0.5).unwrap_or(0) as i64
}

fn heading() -> String {
    let each = ["quiet", "start", "pre-copy", "freeze", "second after"];
    let each: Vec<String> = each.iter().map(|name| format!("{name:>20}")).collect();
    format!(
        "p99.9 / max of busy clients by what was going on; upgrades; length of the pre-copy in the \
         median; time for which the load waited for a CPU\n{:10}{}",
        "run",
        each.concat()
    )
}

fn row(run: &Run) -> String {
    let by_phase = &run.by_phase;
    let parts =
        [by_phase.quiet, by_phase.start, by_phase.pre_copy, by_phase.freeze, by_phase.aftermath];
    let cells = parts.map(|Part { replies, latency }| match replies {
        0 => format!("{:>20}", "-"),
        _ => format!("{:>20}", format!("{} / {}", micros(latency.p999_us), micros(latency.max_us))),
    });
    let upgrades = &run.outcome.upgrades;
    let mut lengths: Vec<u64> = upgrades
        .iter()
        .flat_map(|upgrade| &upgrade.phases)
        .filter(|phase| phase.phase == "pre-copy")
        .map(|phase| phase.us)
        .collect();
    lengths.sort_unstable();
    let length = quantile(&lengths, 0.5).map_or("-".to_owned(), micros);
    let waited = run.outcome.report.own.waited_s;
    format!("{}   {:>2} {length:>8} {waited:>6.2} s", cells.concat(), upgrades.len())
}
