//! The silence when the generation that serves is killed, and that nobody notices more than that.

use std::time::Duration;

use anyhow::Context;
use hotredis_tests::binaries;
use hotredis_tests::load::crashes::{Crash, Outcome, Plan};
use hotredis_tests::load::report::micros;
use hotredis_tests::load::upgrades::quantile;
use serde_json::{Value, json};

use super::{Arguments, Verdicts};

/// The longest time without any reply after a death, in the median, in microseconds.
const SILENCE_BAR: u64 = 100_000;

/// The same with a spare generation.
const SPARE_SILENCE_BAR: u64 = 25_000;

/// Seconds for which a predecessor stands by after an upgrade: some deaths find one, others none.
const PROBATION: &str = "0.5";

/// The load under deaths alone, then under deaths and upgrades, then with deaths of the keeper too, each
/// on a server of its own.
pub fn measure(arguments: &Arguments, verdicts: &mut Verdicts) -> anyhow::Result<Value> {
    println!(
        "{} idle, {} waiting and {} busy connections, {} MB of data; SIGKILL for the generation that \
         serves every {} ms, for {} s",
        arguments.idle,
        arguments.waiting,
        arguments.busy,
        arguments.data_mb,
        arguments.kill_interval,
        arguments.crash_seconds
    );
    let alone = plan(arguments)?;
    let interval = Duration::from_millis(arguments.crash_upgrade_interval);
    let mixed = Plan { upgrade_interval: Some(interval), ..alone.clone() };
    let mut passes = Vec::new();
    let interval = Duration::from_millis(arguments.kill_keeper_interval);
    let orphaned = Plan { keeper_interval: Some(interval), ..mixed.clone() };
    let plans =
        [("kills", &alone), ("kills and upgrades", &mixed), ("with the keeper too", &orphaned)];
    for (name, plan) in plans {
        let server = plan.start()?;
        let outcome = plan.put_on(&server)?;
        println!("{name}:\n{}\n", outcome.report);
        let check = server.cli(&["check"]);
        let clean = check.status.success();
        verdicts.add(
            clean,
            format!("{name}: the checker is {}", if clean { "clean" } else { "not clean" }),
        );
        judge(name, arguments, plan, &outcome, verdicts);
        passes.push((name, outcome));
        match clean {
            true => server.finish(),
            false => server.abandon(),
        }
    }
    table(&passes);
    let figures = passes.iter().map(|(name, outcome)| json!({ "name": name, "outcome": outcome }));
    Ok(figures.collect())
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let mut load = arguments.trial().load;
    load.duration =
        Duration::try_from_secs_f64(arguments.crash_seconds).context("--crash-seconds")?;
    let mut words = vec!["--probation", PROBATION];
    if arguments.spare {
        words.push("--spare");
    }
    Ok(Plan {
        builds: binaries::two_builds(),
        load,
        data: arguments.data_mb * 1_000_000,
        interval: Duration::from_millis(arguments.kill_interval),
        upgrade_interval: None,
        keeper_interval: None,
        arguments: words.into_iter().map(str::to_owned).collect(),
    })
}

fn judge(
    name: &str,
    arguments: &Arguments,
    plan: &Plan,
    outcome: &Outcome,
    verdicts: &mut Verdicts,
) {
    let errors = outcome.report.errors;
    outcome
        .failures
        .iter()
        .chain(&outcome.report.problems)
        .take(10)
        .for_each(|it| println!("  {it}"));
    verdicts.add(
        errors == 0 && outcome.failures.is_empty(),
        format!("{name}: {errors} errors, {} failures", outcome.failures.len()),
    );
    // All but one interval have a death in them, unless it took too long until somebody served.
    let expected = (plan.load.duration.as_secs_f64() / plan.interval.as_secs_f64()) as usize;
    let deaths = outcome.crashes.len();
    verdicts.add(
        deaths + 1 + expected / 10 >= expected && deaths > 0,
        format!("{name}: {deaths} deaths, {expected} were planned"),
    );
    if let Some(interval) = plan.upgrade_interval {
        let wanted = plan.load.duration.as_secs_f64() / interval.as_secs_f64() / 4.0;
        verdicts.add(
            outcome.upgrades as f64 >= wanted,
            format!(
                "{name}: {} upgrades came about, {} were cut by a death",
                outcome.upgrades, outcome.upgrades_cut
            ),
        );
    }
    if let Some(interval) = plan.keeper_interval {
        let wanted = (plan.load.duration.as_secs_f64() / interval.as_secs_f64() / 2.0) as usize;
        let deaths = outcome.keeper_crashes.len();
        verdicts.add(
            deaths >= wanted.max(1),
            format!("{name}: {deaths} keepers died, and another held everything"),
        );
    }
    let bar = if arguments.spare { SPARE_SILENCE_BAR } else { SILENCE_BAR };
    judge_silences(name, &outcome.silences(), bar, verdicts);
    let of_keepers = sorted(outcome.keeper_crashes.iter().map(|crash| crash.silence_us));
    judge_silences(&format!("{name}: deaths of the keeper"), &of_keepers, bar, verdicts);
}

fn judge_silences(name: &str, silences: &[u64], bar: u64, verdicts: &mut Verdicts) {
    let Some(median) = quantile(silences, 0.5) else { return };
    verdicts.add(
        median <= bar,
        format!(
            "{name}: nobody is answered for {} in the median (bar {}), {} at p90, {} at most",
            micros(median),
            micros(bar),
            micros(quantile(silences, 0.9).unwrap_or(0)),
            micros(quantile(silences, 1.0).unwrap_or(0))
        ),
    );
}

fn sorted(times: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut all: Vec<u64> = times.collect();
    all.sort_unstable();
    all
}

/// Which deaths belong to a row.
type Kind = fn(&Crash) -> bool;

/// Median, p90 and maximum of the silences: of all deaths, of those with nobody standing by, of those amid
/// an upgrade or its probation, and of those with a spare that was ready; and those of keepers, with how long
/// it took until another one held everything.
fn table(passes: &[(&str, Outcome)]) {
    println!("{:<20} {:<16} {:>6} {:>9} {:>9} {:>9}", "", "", "deaths", "median", "p90", "max");
    for (name, outcome) in passes {
        let kinds: [(&str, Kind); 4] = [
            ("all", |_| true),
            ("alone", |crash| !crash.amid_upgrade),
            ("amid upgrades", |crash| crash.amid_upgrade),
            ("spare ready", |crash| crash.spare),
        ];
        for (which, wanted) in kinds {
            let crashes = outcome.crashes.iter().filter(|crash| wanted(crash));
            row(name, which, &sorted(crashes.map(|crash| crash.silence_us)));
        }
        let keepers = &outcome.keeper_crashes;
        row(name, "keeper", &sorted(keepers.iter().map(|crash| crash.silence_us)));
        row(name, "keeper replaced", &sorted(keepers.iter().map(|crash| crash.replaced_us)));
    }
}

fn row(name: &str, which: &str, times: &[u64]) {
    let at = |at| quantile(times, at).map_or("-".to_owned(), micros);
    println!(
        "{name:<20} {which:<16} {:>6} {:>9} {:>9} {:>9}",
        times.len(),
        at(0.5),
        at(0.9),
        at(1.0)
    );
}
