//! The replies of hotredis are those of redis-server: both are driven with the same random
//! commands. The seeds are fixed; `HOTREDIS_SEED` sets another, `make fuzz` goes on for ever.
//!
//! `HOTREDIS_CANDIDATE=redis-server` drives two Redis servers instead, which must pass: it shows
//! that what a test reports is the server's doing.

use hotredis_tests::coverage::Coverage;
use hotredis_tests::differential::compare_servers;
use hotredis_tests::generate::Family;

/// What need not succeed, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("pfselftest", "takes redis-server seconds"),
    ("xread BLOCK", "what waits is a family of its own, in which its reply comes late"),
    ("xreadgroup BLOCK", "as above"),
];

/// All there are.
const ENCODINGS: [&str; 9] =
    ["int", "embstr", "raw", "quicklist", "intset", "hashtable", "listpack", "skiplist", "stream"];

/// Asks for a proof that the servers were compared on all of these: each command of a group, by its name,
/// has succeeded with each of its options; each encoding was seen.
fn has_tried(coverage: &Coverage, wanted: fn(&str, &str) -> bool, encodings: &[&str]) {
    let missing = coverage.missing(wanted, EXCEPTIONS);
    assert!(missing.is_empty(), "never succeeded: {}", missing.join(", "));
    let seen = coverage.encodings();
    let missing: Vec<_> = encodings.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(missing.is_empty(), "encodings never seen: {missing:?}");
}

/// Commands that wait are a family of their own.
fn blocks(name: &str) -> bool {
    let names =
        ["blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin"];
    names.contains(&name)
}

#[test]
fn strings() {
    let tried = compare_servers(Family::Strings, 1_000, 32, 400);
    has_tried(&tried, |_, group| group == "string", &["int", "embstr", "raw"]);
}

#[test]
fn bitmaps() {
    let tried = compare_servers(Family::Bitmaps, 2_000, 32, 400);
    has_tried(&tried, |_, group| group == "bitmap", &["raw"]);
}

#[test]
fn sets() {
    let tried = compare_servers(Family::Sets, 15_000, 32, 400);
    has_tried(&tried, |_, group| group == "set", &["intset", "hashtable"]);
}

#[test]
fn geo() {
    let tried = compare_servers(Family::Geo, 17_000, 30, 400);
    has_tried(&tried, |_, group| group == "geo", &["listpack", "skiplist"]);
}

#[test]
fn hyperloglogs() {
    let tried = compare_servers(Family::HyperLogLogs, 16_000, 30, 300);
    has_tried(&tried, |_, group| group == "hyperloglog", &["raw"]);
}

#[test]
fn hashes() {
    let tried = compare_servers(Family::Hashes, 17_000, 32, 400);
    has_tried(&tried, |_, group| group == "hash", &["listpack", "hashtable"]);
}

#[test]
fn lists() {
    let tried = compare_servers(Family::Lists, 20_000, 32, 400);
    has_tried(&tried, |name, group| group == "list" && !blocks(name), &["quicklist"]);
}

#[test]
fn sort() {
    let tried = compare_servers(Family::Sort, 22_000, 32, 400);
    has_tried(
        &tried,
        |name, _| name.starts_with("sort"),
        &["quicklist", "intset", "hashtable", "listpack"],
    );
}

#[test]
fn streams() {
    let tried = compare_servers(Family::Streams, 18_000, 32, 400);
    has_tried(&tried, |_, group| group == "stream", &["stream"]);
}

#[test]
fn keys() {
    let tried = compare_servers(Family::Keys, 3_000, 32, 400);
    const NAMES: [&str; 19] = [
        "copy",
        "del",
        "exists",
        "keys",
        "move",
        "object",
        "object|encoding",
        "object|help",
        "object|idletime",
        "object|refcount",
        "persist",
        "randomkey",
        "rename",
        "renamenx",
        "scan",
        "touch",
        "type",
        "unlink",
        "swapdb",
    ];
    has_tried(&tried, |name, _| NAMES.contains(&name), &["int", "embstr", "raw"]);
}

#[test]
fn expiry() {
    let tried = compare_servers(Family::Expiry, 4_000, 32, 400);
    has_tried(
        &tried,
        |name, _| name.contains("expire") || name.ends_with("ttl") || name == "persist",
        &[],
    );
}

#[test]
fn transactions() {
    let tried = compare_servers(Family::Transactions, 5_000, 32, 400);
    has_tried(&tried, |_, group| group == "transactions", &[]);
}

#[test]
fn pubsub() {
    let tried = compare_servers(Family::PubSub, 6_000, 32, 400);
    has_tried(&tried, |_, group| group == "pubsub", &[]);
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
    let tried = compare_servers(Family::Blocking, 18_000, 32, 400);
    has_tried(
        &tried,
        |name, _| blocks(name) || name == "wait",
        &["quicklist", "listpack", "stream"],
    );
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
    let tried = compare_servers(Family::Zsets, 15_000, 32, 500);
    has_tried(
        &tried,
        |name, group| group == "sorted-set" && !blocks(name),
        &["listpack", "skiplist"],
    );
}

#[test]
fn dump() {
    let tried = compare_servers(Family::Dump, 20_000, 32, 400);
    has_tried(
        &tried,
        |name, _| ["dump", "restore", "restore-asking", "migrate"].contains(&name),
        &ENCODINGS,
    );
}

#[test]
fn mixed() {
    let tried = compare_servers(Family::Mixed, 14_000, 50, 500);
    has_tried(&tried, |_, _| false, &ENCODINGS);
}
