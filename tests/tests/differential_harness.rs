//! The differential test tested: two Redis servers do not differ, and a Redis that lacks a
//! command is found out, with a reproduction of one line.

use hotredis_tests::differential::{Pair, compare_pair, run_episode};
use hotredis_tests::generate::{FAMILIES, Family, episode};
use hotredis_tests::server::Setup;

#[test]
fn redis_does_not_differ_from_redis() {
    for (family, _) in FAMILIES {
        let pair = Pair::between(Setup::redis(), Setup::redis());
        compare_pair(pair, family, 77_000, 1, 200);
    }
}

#[test]
fn a_difference_is_found_and_cut_down() {
    let crippled = Setup::redis().directive("rename-command", "STRLEN ");
    let mut pair = Pair::between(Setup::redis(), crippled);
    let report = run_episode(&mut pair, Family::Strings, 5, 400).unwrap_err();
    pair.abandon();
    assert!(report.contains("minimal reproduction (1 steps"), "{report}");
    assert!(report.to_lowercase().contains("> strlen"), "{report}");
    assert!(report.contains("unknown command"), "{report}");
}

#[test]
fn an_episode_follows_from_its_seed() {
    let shown = |seed| -> Vec<String> {
        episode(Family::Mixed, seed, 300).iter().map(|step| step.to_string()).collect()
    };
    assert_eq!(shown(1), shown(1));
    assert_ne!(shown(1), shown(2));
}
