//! What the `SCAN` family promises: whatever is there from the first call to the last is returned, however
//! much else comes and goes, and whichever build answers.

use std::collections::BTreeSet;

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::{Kind, Server, Setup};

/// A way to put elements somewhere and to scan them.
struct Family {
    /// The command and its key, if it has one.
    scan: &'static [&'static str],
    /// Adds an element.
    add: fn(&str) -> Vec<String>,
    /// Removes an element.
    remove: fn(&str) -> Vec<String>,
    /// Bulk strings in a reply for each element.
    words: usize,
}

fn words(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

const FAMILIES: [Family; 4] = [
    Family {
        scan: &["SCAN"],
        add: |name| words(&["SET", name, "x"]),
        remove: |name| words(&["DEL", name]),
        words: 1,
    },
    Family {
        scan: &["HSCAN", "collection"],
        add: |name| words(&["HSET", "collection", name, "x"]),
        remove: |name| words(&["HDEL", "collection", name]),
        words: 2,
    },
    Family {
        scan: &["SSCAN", "collection"],
        add: |name| words(&["SADD", "collection", name]),
        remove: |name| words(&["SREM", "collection", name]),
        words: 1,
    },
    Family {
        scan: &["ZSCAN", "collection"],
        add: |name| words(&["ZADD", "collection", "1", name]),
        remove: |name| words(&["ZREM", "collection", name]),
        words: 2,
    },
];

const STABLE: usize = 3000;
const PASSING: usize = 20_000;

struct Scanning<'a> {
    server: &'a Server,
    client: Client,
    family: &'a Family,
    rng: Rng,
    passing: BTreeSet<usize>,
    steps: usize,
}

impl Scanning<'_> {
    /// Adds or removes a good deal of what only passes, so that tables grow and shrink meanwhile.
    fn churn(&mut self) {
        let grow = self.rng.percent(50);
        let mut commands = Vec::new();
        for _ in 0..self.rng.below(600) {
            let number = self.rng.below(PASSING);
            let name = format!("passing:{number}");
            if grow && self.passing.insert(number) {
                commands.push((self.family.add)(&name));
            } else if !grow && self.passing.remove(&number) {
                commands.push((self.family.remove)(&name));
            }
        }
        self.client.pipeline(&commands);
    }

    fn upgrade(&self) {
        if self.server.kind() == Kind::Hotredis {
            let builds = binaries::two_builds();
            let outcome = self.server.upgrade(&builds[(self.steps + 1) % 2]);
            assert!(outcome.success, "{}", outcome.output);
        }
    }

    /// One whole scan; the stable elements that it did not return.
    fn scan(&mut self) -> BTreeSet<String> {
        let mut missing: BTreeSet<String> = (0..STABLE).map(|n| format!("stable:{n}")).collect();
        let mut cursor = "0".to_owned();
        loop {
            let mut command = words(self.family.scan);
            command.push(cursor);
            command.extend(words(&["COUNT", &(1 + self.rng.below(200)).to_string()]));
            let reply = self.client.call(&command);
            let [next, elements] = reply.elements() else { panic!("{reply:?}") };
            for element in elements.elements().iter().step_by(self.family.words) {
                missing.remove(element.text());
            }
            cursor = next.text().to_owned();
            if cursor == "0" {
                return missing;
            }
            self.steps += 1;
            if self.rng.percent(30) {
                self.churn();
            }
            if self.steps % 40 == 7 {
                self.upgrade();
            }
        }
    }
}

fn keeps_its_promise(family: &Family) {
    let seed = seed_or(0x5ca4);
    let _shown = SeedOnFailure(seed);
    let server = match binaries::candidate_is_redis() {
        true => Setup::redis().start(),
        false => Setup::of_binary(&binaries::two_builds()[0]).start(),
    };
    let mut client = server.connect();
    let stable: Vec<Vec<String>> =
        (0..STABLE).map(|n| (family.add)(&format!("stable:{n}"))).collect();
    client.pipeline(&stable);
    let (rng, passing) = (Rng::new(seed), BTreeSet::new());
    let mut scanning = Scanning { server: &server, client, family, rng, passing, steps: 0 };
    for round in 0..5 {
        scanning.churn();
        let missing = scanning.scan();
        assert!(missing.is_empty(), "{:?}, round {round}: not returned: {missing:?}", family.scan);
    }
    assert!(scanning.steps > 100, "only {} steps", scanning.steps);
    server.finish();
}

#[test]
fn scan_returns_what_is_there_throughout() {
    keeps_its_promise(&FAMILIES[0]);
}

#[test]
fn hscan_returns_what_is_there_throughout() {
    keeps_its_promise(&FAMILIES[1]);
}

#[test]
fn sscan_returns_what_is_there_throughout() {
    keeps_its_promise(&FAMILIES[2]);
}

#[test]
fn zscan_returns_what_is_there_throughout() {
    keeps_its_promise(&FAMILIES[3]);
}
