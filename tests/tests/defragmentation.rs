//! After most keys are gone, at random, the arena gives most of its memory back without being asked to, and what is left
//! is what it was: also if the program is replaced, or dies, while it is moved.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::rng::{Rng, seed_or};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

const STRINGS: usize = 200_000;
const OTHERS: usize = 250;
const BATCH: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(90);

/// Bytes of memory that the system has given the arena.
fn arena_bytes(server: &Server) -> u64 {
    let (_, pid) = server.serving();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
    let arena = descriptors.flatten().map(|entry| entry.path()).find(|path| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains("memfd:"))
    });
    let file = std::fs::metadata(arena.expect("an arena")).expect("the arena's figures");
    file.blocks() * 512
}

fn number(server: &Server, field: &str) -> u64 {
    let value = server.info(field).unwrap_or_else(|| panic!("INFO has no {field}"));
    value.parse().unwrap_or_else(|_| panic!("{field} is {value}"))
}

fn ratio(server: &Server, field: &str) -> f64 {
    server.info(field).and_then(|value| value.parse().ok()).expect("a ratio")
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn string(number: usize) -> (String, String) {
    let length = 8 + number * 7 % 60;
    (format!("string:{number}"), format!("{:0>length$}", number * 31))
}

/// Commands that make a value of each type whose blocks are many.
fn others(number: usize) -> Vec<Vec<String>> {
    let text = |i: usize| format!("{:0>1$}", number * 7919 + i, 12 + i * 13 % 70);
    let many = |each: &dyn Fn(usize) -> String| -> String {
        (0..150 + number % 100).map(|i| format!(" {}", each(i))).collect()
    };
    let mut lines = vec![
        format!("SETRANGE blob:{number} {} {}", 17_000 + number * 97, text(50)),
        format!("RPUSH list:{number}{}", many(&|i| text(i).repeat(3))),
        format!("SADD set:{number}{}", many(&text)),
        format!("HSET hash:{number}{}", many(&|i| format!("{} {}", text(i), i))),
        format!("ZADD zset:{number}{}", many(&|i| format!("{} {}", i * 37 % 101, text(i)))),
        format!("XGROUP CREATE stream:{number} readers $ MKSTREAM"),
    ];
    lines.extend((1..80).map(|i| format!("XADD stream:{number} {i}-{i} field {}", text(i))));
    for reader in 0..2 {
        lines.push(format!(
            "XREADGROUP GROUP readers reader:{reader} COUNT 30 STREAMS stream:{number} >"
        ));
    }
    lines.iter().map(|line| words(line)).collect()
}

fn send_all(client: &mut Client, commands: Vec<Vec<String>>) -> Vec<Value> {
    let mut replies = Vec::with_capacity(commands.len());
    for batch in commands.chunks(BATCH) {
        replies.extend(client.pipeline(batch));
    }
    let refused = replies.iter().find(|reply| reply.is_error());
    assert!(refused.is_none(), "{refused:?}");
    replies
}

/// What is left, by key: of a string its value, of anything else what `DUMP` gives.
struct Model(HashMap<String, Value>);

impl Model {
    fn ask(keys: &[&String]) -> Vec<Vec<String>> {
        let command = |key: &String| if key.starts_with("string:") { "GET" } else { "DUMP" };
        keys.iter().map(|key| vec![command(key).into(), (*key).clone()]).collect()
    }

    fn verify(&self, client: &mut Client) {
        let keys: Vec<&String> = self.0.keys().collect();
        for (key, found) in keys.iter().zip(send_all(client, Model::ask(&keys))) {
            assert!(found == self.0[*key], "{key} has changed");
        }
        assert_eq!(client.call(&["DBSIZE"]).integer(), self.0.len() as i64);
    }
}

/// Fills a server; gives what there is.
fn fill(client: &mut Client) -> Model {
    let mut model = HashMap::new();
    let mut commands = Vec::new();
    for number in 0..STRINGS {
        let (key, value) = string(number);
        commands.push(vec!["SET".into(), key.clone(), value.clone()]);
        model.insert(key, Value::bulk(value));
        if number % (STRINGS / OTHERS) == 0 {
            commands.extend(others(number / (STRINGS / OTHERS)));
        }
    }
    send_all(client, commands);
    let kinds = ["blob", "list", "set", "hash", "zset", "stream"];
    let keys: Vec<String> =
        (0..OTHERS).flat_map(|number| kinds.map(|kind| format!("{kind}:{number}"))).collect();
    let dumps = send_all(client, Model::ask(&keys.iter().collect::<Vec<_>>()));
    model.extend(keys.into_iter().zip(dumps));
    Model(model)
}

/// Deletes four of five keys, chosen at random.
fn delete_most(client: &mut Client, model: &mut Model, rng: &mut Rng) {
    let mut keys: Vec<String> = model.0.keys().cloned().collect();
    // The map's order is another one each time, and only the seed is to decide.
    keys.sort();
    keys.retain(|_| rng.percent(80));
    let commands = keys.iter().map(|key| vec!["DEL".into(), key.clone()]).collect();
    send_all(client, commands);
    keys.iter().for_each(|key| drop(model.0.remove(key)));
}

#[track_caller]
fn await_that(server: &Server, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        let figures = ["active_defrag_running", "allocator_frag_ratio", "active_defrag_hits"]
            .map(|field| server.info(field));
        assert!(Instant::now() < deadline, "{what}: {figures:?}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn deleting_most_at_random_gives_half_of_the_arena_back() {
    let seed = seed_or(11);
    println!("seed {seed}");
    let server = Setup::first_build().start();
    let mut client = server.connect();
    let mut model = fill(&mut client);
    let before = arena_bytes(&server);
    delete_most(&mut client, &mut model, &mut Rng::new(seed));
    await_that(&server, "half is given back", || arena_bytes(&server) * 2 <= before);
    await_that(&server, "little is wasted", || ratio(&server, "allocator_frag_ratio") < 1.5);
    for field in ["active_defrag_hits", "active_defrag_key_hits", "total_active_defrag_time"] {
        assert!(number(&server, field) > 0, "{field}");
    }
    model.verify(&mut client);
    server.finish();
}

#[test]
fn an_upgrade_and_deaths_amid_the_moving_lose_nothing() {
    let seed = seed_or(12);
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let server = Setup::first_build()
        .arguments(&["--probation", "0"])
        .directive("active-defrag-cycle-min", "1")
        .directive("active-defrag-cycle-max", "2")
        .start();
    let mut client = server.connect();
    let mut model = fill(&mut client);
    let before = arena_bytes(&server);
    delete_most(&mut client, &mut model, &mut rng);
    for round in 0..6 {
        let moved = number(&server, "active_defrag_hits");
        await_that(&server, "blocks move", || {
            number(&server, "active_defrag_hits") > moved || arena_bytes(&server) * 2 <= before
        });
        std::thread::sleep(Duration::from_micros(rng.below(20_000) as u64));
        if round % 3 == 0 {
            let outcome = server.upgrade(&binaries::two_builds()[(round + 1) % 2]);
            assert!(outcome.success, "{}", outcome.output);
        } else {
            server.kill_serving();
        }
    }
    assert_eq!(client.call(&["CONFIG", "SET", "active-defrag-cycle-max", "50"]), Value::ok());
    await_that(&server, "half is given back", || arena_bytes(&server) * 2 <= before);
    model.verify(&mut client);
    server.finish();
}
