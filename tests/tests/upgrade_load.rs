//! Upgrades one after another, and deaths, under a load that checks every reply and every session.
//!
//! The bars themselves are measured by `make bars`, on release builds and a quiet machine; here the
//! bounds on time are generous, and only what no busy machine excuses has to be exact.

use std::time::Duration;

use hotredis_tests::binaries;
use hotredis_tests::load::Options;
use hotredis_tests::load::crashes::{self, Plan};
use hotredis_tests::load::upgrades::{Outcome, Then, Trial, quantile};

/// A freeze of a debug build on a busy machine. One that grew with connections or keys would take
/// longer than this with the largest load below.
const LONGEST_MEDIAN_FREEZE: Duration = Duration::from_millis(20);

/// From the order to go back, or the death of the generation that served, to the first reply of the
/// one before: on a busy machine as well.
const LONGEST_RETURN: Duration = Duration::from_secs(5);

/// 4 s of load, and an upgrade every 300 ms.
fn trial(idle: usize, waiting: usize, busy: usize) -> Trial {
    let load = Options {
        idle,
        waiting,
        busy,
        split_ratio: 0.2,
        duration: Duration::from_secs(4),
        ..Options::new(([127, 0, 0, 1], 0).into())
    };
    let interval = Some(Duration::from_millis(300));
    Trial { interval, ..Trial::new(binaries::two_builds(), load) }
}

fn upgraded_under(idle: usize, waiting: usize, busy: usize, keys: u64) -> Outcome {
    // The checker runs in here, and the server has to end in an orderly way.
    Trial { keys, ..trial(idle, waiting, busy) }.carry_out().unwrap()
}

/// Every reply came, once and in order, every session is what it was, and no upgrade failed.
#[track_caller]
fn assert_faultless(outcome: &Outcome) {
    let report = &outcome.report;
    assert!(outcome.failures.is_empty(), "{:#?}\n{report}", outcome.failures);
    assert_eq!(report.errors, 0, "{report}");
    assert_eq!((report.idle_kept, report.busy_kept), (report.idle, report.busy), "{report}");
    assert_eq!(report.requests, report.replies, "{report}");
}

#[track_caller]
fn assert_unhurt(outcome: &Outcome) {
    assert_faultless(outcome);
    let report = &outcome.report;
    assert!(outcome.upgrades.len() >= 3, "only {} upgrades in 4 s", outcome.upgrades.len());
    for (upgrade, generation) in outcome.upgrades.iter().zip(2..) {
        assert_eq!(upgrade.generation, generation, "{upgrade:?}");
        assert!(upgrade.connections >= report.idle + report.busy, "{upgrade:?}");
    }
    let freeze = quantile(&outcome.freezes(), 0.5).map(Duration::from_micros);
    assert!(freeze.is_some_and(|f| f <= LONGEST_MEDIAN_FREEZE), "median freeze {freeze:?}");
}

/// Upgrades of which some are undone within their probation: nobody may notice that either.
#[track_caller]
fn assert_undone_unhurt(then: Then, undone: impl Fn(usize) -> bool) {
    let trial = Trial { then, probation: Some(60), ..trial(400, 100, 30) };
    let outcome = trial.carry_out().unwrap();
    assert_faultless(&outcome);
    assert!(outcome.upgrades.len() >= 3, "only {} upgrades in 4 s", outcome.upgrades.len());
    let mut serves = 1;
    for (upgrade, turn) in outcome.upgrades.iter().zip(1..) {
        assert_eq!(upgrade.generation, serves + 1, "upgrade {turn}: {upgrade:?}");
        let back = upgrade.undone_ms.map(|ms| Duration::from_secs_f64(ms / 1e3));
        assert_eq!(back.is_some(), undone(turn), "upgrade {turn}: {upgrade:?}");
        assert!(back.is_none_or(|back| back <= LONGEST_RETURN), "upgrade {turn}: {upgrade:?}");
        serves += u64::from(back.is_none());
    }
}

#[test]
fn a_few_busy_clients_see_nothing_of_upgrades() {
    assert_unhurt(&upgraded_under(20, 8, 10, 1));
}

#[test]
fn thousands_of_sessions_and_many_keys_come_through_upgrades() {
    assert_unhurt(&upgraded_under(3_000, 200, 50, 200_000));
}

#[test]
fn sessions_come_through_rollbacks() {
    assert_undone_unhurt(Then::RollBackEverySecond, |turn| turn.is_multiple_of(2));
}

#[test]
fn sessions_come_through_the_death_of_a_generation_on_probation() {
    assert_undone_unhurt(Then::Kill, |_| true);
}

#[test]
fn sessions_come_through_deaths_amid_upgrades() {
    let outcome = assert_unhurt_by_deaths(None);
    assert!(outcome.upgrades >= 1, "{outcome:#?}");
}

#[test]
fn sessions_come_through_deaths_of_keepers_too() {
    let outcome = assert_unhurt_by_deaths(Some(Duration::from_millis(900)));
    assert!(outcome.keeper_crashes.len() >= 2, "{outcome:#?}");
}

#[track_caller]
fn assert_unhurt_by_deaths(keeper_interval: Option<Duration>) -> crashes::Outcome {
    let interval = Duration::from_millis(400);
    let plan = Plan {
        builds: binaries::two_builds(),
        load: trial(400, 100, 30).load,
        data: 0,
        interval,
        upgrade_interval: Some(Duration::from_millis(650)),
        keeper_interval,
        arguments: ["--probation", "0.3"].map(str::to_owned).to_vec(),
    };
    let server = plan.start().unwrap();
    let outcome = plan.put_on(&server).unwrap();
    server.finish();
    let report = &outcome.report;
    assert!(outcome.failures.is_empty(), "{:#?}\n{report}", outcome.failures);
    assert_eq!(report.errors, 0, "{report}");
    assert_eq!(report.requests, report.replies, "{report}");
    assert!(outcome.crashes.len() >= 3, "only {} deaths in 4 s", outcome.crashes.len());
    outcome
}
