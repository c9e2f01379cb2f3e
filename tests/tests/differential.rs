//! The replies of hotredis are those of redis-server: both are driven with the same random
//! commands. The seeds are fixed; `HOTREDIS_SEED` sets another, `make fuzz` goes on for ever.
//!
//! `HOTREDIS_CANDIDATE=redis-server` drives two Redis servers instead, which must pass: it shows
//! that what a test reports is the server's doing.

use hotredis_tests::differential::compare_servers;
use hotredis_tests::generate::Family;

#[test]
fn strings() {
    compare_servers(Family::Strings, 1_000, 32, 400);
}

#[test]
fn bitmaps() {
    compare_servers(Family::Bitmaps, 2_000, 32, 400);
}

#[test]
fn sets() {
    compare_servers(Family::Sets, 15_000, 32, 400);
}

#[test]
fn geo() {
    compare_servers(Family::Geo, 17_000, 30, 400);
}

#[test]
fn hyperloglogs() {
    compare_servers(Family::HyperLogLogs, 16_000, 30, 300);
}

#[test]
fn hashes() {
    compare_servers(Family::Hashes, 17_000, 32, 400);
}

#[test]
fn lists() {
    compare_servers(Family::Lists, 20_000, 32, 400);
}

#[test]
fn sort() {
    compare_servers(Family::Sort, 22_000, 32, 400);
}

#[test]
fn streams() {
    compare_servers(Family::Streams, 18_000, 32, 400);
}

#[test]
fn keys() {
    compare_servers(Family::Keys, 3_000, 32, 400);
}

#[test]
fn expiry() {
    compare_servers(Family::Expiry, 4_000, 32, 400);
}

#[test]
fn transactions() {
    compare_servers(Family::Transactions, 5_000, 32, 400);
}

#[test]
fn pubsub() {
    compare_servers(Family::PubSub, 6_000, 32, 400);
}

#[test]
fn connection() {
    compare_servers(Family::Connection, 7_000, 32, 400);
}

#[test]
fn clients() {
    compare_servers(Family::Clients, 8_000, 32, 400);
}

#[test]
fn server() {
    compare_servers(Family::Server, 9_000, 20, 300);
}

#[test]
fn commands() {
    compare_servers(Family::Commands, 10_000, 20, 300);
}

#[test]
fn arity() {
    compare_servers(Family::Arity, 11_000, 30, 500);
}

#[test]
fn blocking() {
    compare_servers(Family::Blocking, 18_000, 32, 400);
}

#[test]
fn protocol() {
    compare_servers(Family::Protocol, 12_000, 20, 300);
}

#[test]
fn limits() {
    compare_servers(Family::Limits, 13_000, 10, 150);
}

#[test]
fn zsets() {
    compare_servers(Family::Zsets, 15_000, 32, 500);
}

#[test]
fn dump() {
    compare_servers(Family::Dump, 20_000, 32, 400);
}

#[test]
fn mixed() {
    compare_servers(Family::Mixed, 14_000, 50, 500);
}
