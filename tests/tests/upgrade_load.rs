//! Upgrades one after another under a load that checks every reply and every session.
//!
//! The bars themselves are measured by `make bars`, on release builds and a quiet machine; here the
//! bounds on time are generous, and only what no busy machine excuses has to be exact.

use std::time::Duration;

use hotredis_tests::binaries;
use hotredis_tests::load::Options;
use hotredis_tests::load::upgrades::{Outcome, Trial, quantile};

/// A freeze of a debug build on a busy machine. One that grew with connections or keys would take
/// longer than this with the largest load below.
const LONGEST_MEDIAN_FREEZE: Duration = Duration::from_millis(20);

fn upgraded_under(idle: usize, waiting: usize, busy: usize, keys: u64) -> Outcome {
    let trial = Trial {
        builds: binaries::two_builds(),
        load: Options {
            idle,
            waiting,
            busy,
            split_ratio: 0.2,
            duration: Duration::from_secs(4),
            ..Options::new(([127, 0, 0, 1], 0).into())
        },
        keys,
        interval: Some(Duration::from_millis(300)),
    };
    // The checker runs in here, and the server has to end in an orderly way.
    trial.carry_out().unwrap()
}

#[track_caller]
fn assert_unhurt(outcome: &Outcome) {
    let report = &outcome.report;
    assert!(outcome.failures.is_empty(), "{:#?}\n{report}", outcome.failures);
    assert_eq!(report.errors, 0, "{report}");
    assert_eq!((report.idle_kept, report.busy_kept), (report.idle, report.busy), "{report}");
    assert_eq!(report.requests, report.replies, "{report}");
    assert!(outcome.upgrades.len() >= 3, "only {} upgrades in 4 s", outcome.upgrades.len());
    for (upgrade, generation) in outcome.upgrades.iter().zip(2..) {
        assert_eq!(upgrade.generation, generation, "{upgrade:?}");
        assert!(upgrade.connections >= report.idle + report.busy, "{upgrade:?}");
    }
    let freeze = quantile(&outcome.freezes(), 0.5).map(Duration::from_micros);
    assert!(freeze.is_some_and(|f| f <= LONGEST_MEDIAN_FREEZE), "median freeze {freeze:?}");
}

#[test]
fn a_few_busy_clients_see_nothing_of_upgrades() {
    assert_unhurt(&upgraded_under(20, 8, 10, 1));
}

#[test]
fn thousands_of_sessions_and_many_keys_come_through_upgrades() {
    assert_unhurt(&upgraded_under(3_000, 200, 50, 200_000));
}
