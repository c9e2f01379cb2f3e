//! The longest silence: as short with upgrades as without.

use std::time::Duration;

use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::{Outcome, Trial, quantile};
use serde_json::{Value, json};

use super::{Arguments, Verdicts, summary};

/// The longest silence may be this much longer with upgrades than without, in microseconds.
const GAP_BAR: i64 = 10_000;

/// The same load with and without upgrades, in turn.
pub fn measure(arguments: &Arguments, verdicts: &mut Verdicts) -> anyhow::Result<Value> {
    println!(
        "{} idle, {} waiting and {} busy connections, {} s a run; with upgrades every {} ms, and \
         without",
        arguments.idle, arguments.waiting, arguments.busy, arguments.seconds, arguments.interval
    );
    let mut plain = arguments.trial();
    plain.load.duration = arguments.run_length()?;
    let interval = Some(Duration::from_millis(arguments.interval));
    let upgraded = Trial { interval, ..plain.clone() };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 1..=arguments.runs {
        let outcome = plain.carry_out()?;
        println!("run {number}, without: {}", summary(&outcome));
        without.push(outcome);
        let outcome = upgraded.carry_out()?;
        println!("run {number}, with:    {}", summary(&outcome));
        with.push(outcome);
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

fn median_gap(outcomes: &[Outcome]) -> i64 {
    let mut gaps: Vec<u64> = outcomes.iter().map(|o| o.report.longest_gap_us).collect();
    gaps.sort_unstable();
    quantile(&gaps, 0.5).unwrap_or(0) as i64
}
