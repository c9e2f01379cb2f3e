//! The freeze: short, and no longer with many connections and keys than with few.

use std::time::Duration;

use anyhow::Context;
use hotredis_tests::load::report::{Latency, micros};
use hotredis_tests::load::upgrades::{Outcome, Trial, quantile};
use serde_json::{Value, json};

use super::{Arguments, Verdicts, summary};

/// Connections in the small cases, all of them busy.
const FEW: usize = 10;

/// The median may be this much longer in the largest case than in the smallest, in microseconds:
/// what lies below is noise.
const SLOPE_BAR: u64 = 100;

/// The time that a case may take, in what its upgrades take if each begins on time.
const SLACK: u32 = 4;

/// One case.
struct Case {
    connections: usize,
    keys: u64,
    outcome: Outcome,
}

/// 10 connections against many, no key against millions, and a ping-pong beside each.
pub fn measure(arguments: &Arguments, verdicts: &mut Verdicts) -> anyhow::Result<Value> {
    println!(
        "{} upgrades of each case, one every {} ms, and two processes that play ping-pong meanwhile",
        arguments.upgrades, arguments.freeze_interval
    );
    let large = arguments.large_trial()?;
    let mut small = large.clone();
    (small.load.idle, small.load.waiting, small.load.busy) = (0, 0, FEW);
    let mut cases = Vec::new();
    for keys in [0, arguments.keys] {
        for trial in [&small, &large] {
            let case = carry_out(arguments, trial, keys)?;
            println!("{}: {}", case.name(), summary(&case.outcome));
            cases.push(case);
        }
    }
    table(&cases);
    let mut medians = Vec::new();
    for case in &cases {
        let name = case.name();
        verdicts.faultless(&name, &[&case.outcome]);
        let upgrades = case.outcome.upgrades.len() + case.outcome.failures.len();
        if upgrades < arguments.upgrades {
            verdicts.add(false, format!("{name}: only {upgrades} upgrades in the time there was"));
        }
        medians.extend(verdicts.freezes(&name, &[&case.outcome]));
    }
    if let [smallest, .., largest] = medians[..] {
        verdicts.add(
            largest <= smallest + SLOPE_BAR,
            format!(
                "freeze in the median from the smallest case to the largest: {} to {} (bar +{})",
                micros(smallest),
                micros(largest),
                micros(SLOPE_BAR)
            ),
        );
    }
    let figures = cases.iter().map(|case| {
        json!({ "connections": case.connections, "keys": case.keys, "outcome": case.outcome })
    });
    Ok(figures.collect())
}

fn carry_out(arguments: &Arguments, trial: &Trial, keys: u64) -> anyhow::Result<Case> {
    let interval = Duration::from_millis(arguments.freeze_interval);
    let mut trial = Trial {
        keys,
        interval: Some(interval),
        most: Some(arguments.upgrades),
        pings: true,
        ..trial.clone()
    };
    let upgrades = u32::try_from(arguments.upgrades).context("--upgrades")?;
    trial.load.duration = interval * (upgrades + 1) * SLACK;
    let outcome = trial.carry_out()?;
    Ok(Case { connections: trial.load.connections(), keys, outcome })
}

impl Case {
    fn name(&self) -> String {
        format!("{} connections, {} keys", self.connections, self.keys)
    }
}

/// Median, p90 and maximum of the freezes, and of the ping-pong at any time and during upgrades.
fn table(cases: &[Case]) {
    println!(
        "\n{:>11} {:>9}   {:^26}   {:^26}   {:^26}",
        "", "", "freeze", "ping-pong", "ping-pong amid upgrades"
    );
    let three = format!("{:>8} {:>8} {:>8}", "median", "p90", "max");
    println!("{:>11} {:>9}   {three}   {three}   {three}", "connections", "keys");
    for Case { connections, keys, outcome } in cases {
        let freezes = outcome.freezes();
        let freeze = |at| micros(quantile(&freezes, at).unwrap_or(0));
        let of = |pings: Option<Latency>| match pings {
            Some(Latency { p50_us, p90_us, max_us, .. }) => {
                format!("{:>8} {:>8} {:>8}", micros(p50_us), micros(p90_us), micros(max_us))
            }
            None => String::new(),
        };
        println!(
            "{connections:>11} {keys:>9}   {:>8} {:>8} {:>8}   {}   {}",
            freeze(0.5),
            freeze(0.9),
            freeze(1.0),
            of(outcome.pings.map(|pings| pings.all)),
            of(outcome.pings.map(|pings| pings.in_upgrades))
        );
    }
}
