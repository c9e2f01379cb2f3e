//! Clients that share keys, where what each is answered is determined all the same: each element goes to
//! one of them, each number comes once, each message to all.

use std::collections::BTreeSet;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use hotredis_tests::blocked::line;
use hotredis_tests::client::{Client, encode};
use hotredis_tests::rng::Rng;
use hotredis_tests::value::Value;

use crate::World;

/// Clients that take elements out of one list.
const CONSUMERS: usize = 3;

/// Who puts elements into it.
const PRODUCERS: usize = 2;

/// Clients that listen to one channel, and that read one stream.
const LISTENERS: usize = 2;

/// Clients that count together, and that change the same keys in transactions.
const COUNTERS: usize = 3;

/// What ends somebody who waits for ever.
const LAST: &str = "last";

type Handle<'scope, T> = ScopedJoinHandle<'scope, Result<T, String>>;

/// Everybody, by what they do.
pub struct Shared<'scope> {
    producers: Vec<Handle<'scope, u64>>,
    consumers: Vec<Handle<'scope, Vec<String>>>,
    feeder: Handle<'scope, u64>,
    mover: Handle<'scope, u64>,
    publisher: Handle<'scope, u64>,
    listeners: Vec<Handle<'scope, u64>>,
    adder: Handle<'scope, u64>,
    readers: Vec<Handle<'scope, u64>>,
    group: Vec<Handle<'scope, Vec<u64>>>,
    counters: Vec<Handle<'scope, Vec<i64>>>,
    watchers: Vec<Handle<'scope, Vec<i64>>>,
    banks: Vec<Handle<'scope, u64>>,
}

/// Has them begin.
pub fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    world: &'scope World,
    seed: u64,
) -> Shared<'scope> {
    let mut control = world.connect().expect("the server has just begun").0;
    let set_up = ["XGROUP CREATE shared:events group 0 MKSTREAM", "SET shared:watched 0"];
    set_up.iter().for_each(|words| assert_eq!(line(&mut control, words), Value::ok()));
    // Whoever listens has to do so before anything is said.
    let listening: Vec<Client> = (0..LISTENERS)
        .map(|_| {
            let mut client = world.connect().expect("the server has just begun").0;
            client.call(&["SUBSCRIBE", "shared:news"]);
            client
        })
        .collect();
    let rng = move |number: u64| Rng::new(seed ^ (number << 32));
    Shared {
        producers: (0..PRODUCERS)
            .map(|number| scope.spawn(move || produce(world, number, rng(number as u64))))
            .collect(),
        consumers: (0..CONSUMERS)
            .map(|number| scope.spawn(move || consume(world, number == 0)))
            .collect(),
        feeder: scope.spawn(move || feed(world, rng(10))),
        mover: scope.spawn(move || move_elements(world)),
        publisher: scope.spawn(move || publish(world, rng(11))),
        listeners: listening.into_iter().map(|it| scope.spawn(move || listen(it))).collect(),
        adder: scope.spawn(move || add(world, rng(12))),
        readers: (0..LISTENERS).map(|_| scope.spawn(move || read(world))).collect(),
        group: (0..LISTENERS).map(|it| scope.spawn(move || read_as_group(world, it))).collect(),
        counters: (0..COUNTERS)
            .map(|number| scope.spawn(move || count(world, rng(20 + number as u64))))
            .collect(),
        watchers: (0..COUNTERS).map(|_| scope.spawn(move || watch(world))).collect(),
        banks: (0..COUNTERS).map(|number| scope.spawn(move || bank(world, number))).collect(),
    }
}

fn join<T>(handle: Handle<'_, T>) -> Result<T, String> {
    handle.join().unwrap_or_else(|_| Err("a client that shares keys has panicked".into()))
}

fn join_all<T>(handles: Vec<Handle<'_, T>>) -> Result<Vec<T>, String> {
    let results: Vec<Result<T, String>> = handles.into_iter().map(join).collect();
    results.into_iter().collect()
}

impl Shared<'_> {
    /// The run is over: ends those who wait, and compares what all of them have.
    pub fn conclude(self, world: &World) -> Vec<Result<(), String>> {
        let produced = join_all(self.producers);
        let (fed, published, added) = (join(self.feeder), join(self.publisher), join(self.adder));
        let poisoned = world.connect().map(|(mut client, _)| {
            (0..CONSUMERS).for_each(|_| drop(client.call(&["RPUSH", "shared:queue", LAST])));
            client.call(&["LPUSH", "shared:from", LAST]);
            client.call(&["PUBLISH", "shared:news", LAST]);
            (0..=LISTENERS)
                .for_each(|_| drop(client.call(&["XADD", "shared:events", "*", "n", LAST])));
            client
        });
        let consumed = join_all(self.consumers);
        let mut results = vec![
            produced.and_then(|produced| is_exactly_once(&produced, &consumed?)),
            agree("moved", fed, vec![join(self.mover)]),
            agree("heard", published, self.listeners.into_iter().map(join).collect()),
        ];
        let grouped = join_all(self.group).map(|all| all.concat());
        results.push(match (&added, grouped) {
            (Ok(added), Ok(grouped)) => is_each_once("delivered in the group", grouped, *added),
            (_, Err(why)) => Err(why),
            (Err(_), _) => Ok(()),
        });
        results.push(agree("read", added, self.readers.into_iter().map(join).collect()));
        let banks = join_all(self.banks).map(drop);
        let (counted, watched) = (join_all(self.counters), join_all(self.watchers));
        results.extend([banks, counted.and_then(|all| are_numbers("INCR", all))]);
        results.push(poisoned.and_then(|mut client| {
            let watched = watched?.concat();
            let most = client.call(&["GET", "shared:watched"]);
            if most.text() != watched.len().to_string() {
                return Err(format!(
                    "{} transactions came about, and it is {most:?}",
                    watched.len()
                ));
            }
            are_numbers("WATCH", vec![watched])
        }));
        results
    }
}

/// Everything was taken out once, and what one producer has put in stays in order for each consumer.
fn is_exactly_once(produced: &[u64], consumed: &[Vec<String>]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (consumer, elements) in consumed.iter().enumerate() {
        let mut last = [0; PRODUCERS];
        for element in elements {
            let (producer, number) = element.split_once(':').ok_or("no element")?;
            let producer: usize = producer.parse().map_err(|_| "no producer")?;
            let number: u64 = number.parse().map_err(|_| "no number")?;
            if !seen.insert((producer, number)) {
                return Err(format!("{element} was popped twice"));
            }
            if std::mem::replace(&mut last[producer], number) >= number {
                return Err(format!("consumer {consumer} got {element} too late"));
            }
        }
    }
    let due = produced.iter().enumerate();
    let lost: Vec<String> = due
        .flat_map(|(producer, count)| (1..=*count).map(move |number| (producer, number)))
        .filter(|element| !seen.contains(element))
        .map(|(producer, number)| format!("{producer}:{number}"))
        .collect();
    let total = produced.iter().sum::<u64>() as usize;
    match lost.is_empty() && seen.len() == total && total > 100 {
        true => Ok(()),
        false => Err(format!("{} of {total} were popped; {lost:?} were not", seen.len())),
    }
}

/// All have counted as far as the one who said it.
fn agree(
    what: &str,
    said: Result<u64, String>,
    heard: Vec<Result<u64, String>>,
) -> Result<(), String> {
    let said = said?;
    for heard in heard {
        let heard = heard?;
        if heard != said || said == 0 {
            return Err(format!("{heard} of {said} were {what}"));
        }
    }
    Ok(())
}

fn is_each_once(what: &str, mut numbers: Vec<u64>, most: u64) -> Result<(), String> {
    numbers.sort_unstable();
    match numbers == (1..=most).collect::<Vec<_>>() {
        true => Ok(()),
        false => Err(format!("{what}, of 1 to {most}: {numbers:?}")),
    }
}

fn are_numbers(what: &str, all: Vec<Vec<i64>>) -> Result<(), String> {
    let all: Vec<u64> = all.concat().into_iter().map(|number| number as u64).collect();
    let most = all.len() as u64;
    is_each_once(what, all, most)
}

fn pause(rng: &mut Rng, most_us: usize) {
    std::thread::sleep(Duration::from_micros(rng.below(most_us) as u64));
}

/// Sends a request in two parts, and compares its reply.
fn ask(client: &mut Client, words: &[&str], rng: &mut Rng) -> Result<Value, String> {
    let bytes = encode(words);
    let (first, second) = bytes.split_at(rng.below(bytes.len()));
    let sent = client.try_send_raw(first).and_then(|()| {
        if rng.percent(30) {
            pause(rng, 2_000);
        }
        client.try_send_raw(second)
    });
    let reply = sent.and_then(|()| client.try_receive());
    reply.map_err(|error| format!("{words:?}: {error}"))
}

fn call(client: &mut Client, words: &[&str]) -> Result<Value, String> {
    client.try_call(words).map_err(|error| format!("{words:?}: {error}"))
}

fn must_be(what: &str, came: &Value, due: &Value) -> Result<(), String> {
    if came == due { Ok(()) } else { Err(format!("{what}: {came:?} came instead of {due:?}")) }
}

/// Pushes in pipelines; gives how much.
fn produce(world: &World, number: usize, mut rng: Rng) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let mut count = 0;
    while !world.is_over() {
        let batch = 1 + rng.below(5) as u64;
        let elements: Vec<String> =
            (1..=batch).map(|more| format!("{number}:{}", count + more)).collect();
        let requests: Vec<u8> =
            elements.iter().flat_map(|it| encode(&["RPUSH", "shared:queue", it])).collect();
        client.try_send_raw(&requests).map_err(|error| format!("RPUSH: {error}"))?;
        for _ in 0..batch {
            let reply = client.try_receive().map_err(|error| format!("RPUSH: {error}"))?;
            if !matches!(reply, Value::Integer(1..)) {
                return Err(format!("RPUSH: {reply:?}"));
            }
        }
        count += batch;
        pause(&mut rng, 3_000);
    }
    Ok(count)
}

/// Pops for ever, or with a time-out, until it is told to end.
fn consume(world: &World, impatient: bool) -> Result<Vec<String>, String> {
    let mut client = world.connect()?.0;
    let timeout = if impatient { "0.02" } else { "0" };
    let mut all = Vec::new();
    loop {
        match call(&mut client, &["BLPOP", "shared:queue", timeout])? {
            Value::NullArray if impatient => {}
            Value::Array(pair) if pair.len() == 2 => match pair[1].text() {
                LAST => return Ok(all),
                element => all.push(element.to_owned()),
            },
            other => return Err(format!("BLPOP: {other:?}")),
        }
    }
}

fn feed(world: &World, mut rng: Rng) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let mut count = 0;
    while !world.is_over() {
        count += 1;
        let reply = ask(&mut client, &["LPUSH", "shared:from", &count.to_string()], &mut rng)?;
        if !matches!(reply, Value::Integer(1..)) {
            return Err(format!("LPUSH: {reply:?}"));
        }
        pause(&mut rng, 4_000);
    }
    Ok(count)
}

/// Moves elements from one list to another, for which it waits, and compares the other at the end.
fn move_elements(world: &World) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let mut count = 0;
    loop {
        let moved = call(&mut client, &["BRPOPLPUSH", "shared:from", "shared:to", "0"])?;
        if moved == Value::bulk(LAST) {
            break;
        }
        count += 1;
        must_be("BRPOPLPUSH", &moved, &Value::bulk(count.to_string()))?;
    }
    let all = call(&mut client, &["LRANGE", "shared:to", "1", "-1"])?;
    let due = (1..=count).rev().map(|number: u64| Value::bulk(number.to_string()));
    must_be("LRANGE", &all, &Value::Array(due.collect()))?;
    Ok(count)
}

fn publish(world: &World, mut rng: Rng) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let mut count = 0;
    while !world.is_over() {
        count += 1;
        let reply = ask(&mut client, &["PUBLISH", "shared:news", &count.to_string()], &mut rng)?;
        must_be("PUBLISH", &reply, &Value::Integer(LISTENERS as i64))?;
        pause(&mut rng, 3_000);
    }
    Ok(count)
}

fn listen(mut client: Client) -> Result<u64, String> {
    client.set_timeout(crate::PATIENCE).map_err(|error| error.to_string())?;
    let mut count = 0;
    loop {
        let message = client.try_receive().map_err(|error| format!("listening: {error}"))?;
        let text = |words: &str| Value::Array(words.split(' ').map(Value::bulk).collect());
        if message == text(&format!("message shared:news {LAST}")) {
            return Ok(count);
        }
        count += 1;
        must_be("a message", &message, &text(&format!("message shared:news {count}")))?;
    }
}

fn add(world: &World, mut rng: Rng) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let mut count = 0;
    while !world.is_over() {
        count += 1;
        let words = ["XADD", "shared:events", "*", "n", &count.to_string()];
        let reply = ask(&mut client, &words, &mut rng)?;
        if !matches!(reply, Value::Bulk(_)) {
            return Err(format!("XADD: {reply:?}"));
        }
        pause(&mut rng, 4_000);
    }
    Ok(count)
}

/// The ids and values of entries, by the reply to `XREAD`.
fn entries(reply: &Value) -> Vec<(String, String)> {
    let Value::Array(streams) = reply else { return Vec::new() };
    let of_stream = |stream: &Value| stream.elements()[1].elements().to_vec();
    let entry = |entry: Value| {
        let [id, fields] = entry.elements() else { panic!("{entry:?} is no entry") };
        (id.text().to_owned(), fields.elements()[1].text().to_owned())
    };
    streams.iter().flat_map(of_stream).map(entry).collect()
}

fn read(world: &World) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let (mut last, mut count) = ("0".to_owned(), 0);
    loop {
        let words = ["XREAD", "COUNT", "3", "BLOCK", "0", "STREAMS", "shared:events", &last];
        for (id, number) in entries(&call(&mut client, &words)?) {
            if number == LAST {
                return Ok(count);
            }
            count += 1;
            must_be("XREAD", &Value::bulk(number), &Value::bulk(count.to_string()))?;
            last = id;
        }
    }
}

/// Reads as one of a group, and acknowledges; each entry goes to one of them.
fn read_as_group(world: &World, number: usize) -> Result<Vec<u64>, String> {
    let mut client = world.connect()?.0;
    let name = format!("consumer-{number}");
    let mut all = Vec::new();
    loop {
        let words = ["XREADGROUP", "GROUP", "group", &name, "COUNT", "1", "BLOCK", "0", "STREAMS"];
        let words = [&words[..], &["shared:events", ">"]].concat();
        for (id, number) in entries(&call(&mut client, &words)?) {
            if number == LAST {
                return Ok(all);
            }
            all.push(number.parse().map_err(|_| format!("{number} is no number"))?);
            let reply = call(&mut client, &["XACK", "shared:events", "group", &id])?;
            must_be("XACK", &reply, &Value::Integer(1))?;
        }
    }
}

/// Counts on one key with others; gives the numbers.
fn count(world: &World, mut rng: Rng) -> Result<Vec<i64>, String> {
    let mut client = world.connect()?.0;
    let mut all = Vec::new();
    while !world.is_over() {
        match ask(&mut client, &["INCR", "shared:counter"], &mut rng)? {
            Value::Integer(number) if all.last().is_none_or(|last| *last < number) => {
                all.push(number)
            }
            other => return Err(format!("INCR: {other:?} after {:?}", all.last())),
        }
        pause(&mut rng, 1_000);
    }
    Ok(all)
}

/// Adds one in a transaction that comes about only if nobody else did; gives what it has set.
fn watch(world: &World) -> Result<Vec<i64>, String> {
    let mut client = world.connect()?.0;
    let mut all = Vec::new();
    while !world.is_over() {
        must_be("WATCH", &call(&mut client, &["WATCH", "shared:watched"])?, &Value::ok())?;
        let now = call(&mut client, &["GET", "shared:watched"])?;
        let next: i64 = now.text().parse::<i64>().map_err(|_| format!("GET: {now:?}"))? + 1;
        let text = next.to_string();
        let set: [&[&str]; 3] = [&["MULTI"], &["SET", "shared:watched", &text], &["EXEC"]];
        let requests: Vec<u8> = set.into_iter().flat_map(encode).collect();
        client.try_send_raw(&requests).map_err(|error| format!("EXEC: {error}"))?;
        let mut reply = || client.try_receive().map_err(|error| format!("EXEC: {error}"));
        must_be("MULTI", &reply()?, &Value::ok())?;
        must_be("SET", &reply()?, &Value::Simple(b"QUEUED".to_vec()))?;
        match reply()? {
            Value::NullArray => {}
            Value::Array(done) if done == [Value::ok()] => all.push(next),
            other => return Err(format!("EXEC: {other:?}")),
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(all)
}

/// Moves money between accounts; there is never more or less of it.
fn bank(world: &World, number: usize) -> Result<u64, String> {
    let mut client = world.connect()?.0;
    let mine = format!("account-{number}");
    let mut count = 0;
    while !world.is_over() {
        let words: [&[&str]; 5] = [
            &["MULTI"],
            &["HINCRBY", "shared:bank", &mine, "7"],
            &["HINCRBY", "shared:bank", "all", "-7"],
            &["HVALS", "shared:bank"],
            &["EXEC"],
        ];
        let requests: Vec<u8> = words.into_iter().flat_map(encode).collect();
        client.try_send_raw(&requests).map_err(|error| format!("the bank: {error}"))?;
        let replies: std::io::Result<Vec<Value>> = (0..5).map(|_| client.try_receive()).collect();
        let replies = replies.map_err(|error| format!("the bank: {error}"))?;
        count += 7;
        let Value::Array(done) = &replies[4] else { return Err(format!("EXEC: {replies:?}")) };
        must_be("an account", &done[0], &Value::Integer(count))?;
        let sum: i64 =
            done[2].elements().iter().filter_map(|it| it.text().parse::<i64>().ok()).sum();
        must_be("the sum of all accounts", &Value::Integer(sum), &Value::Integer(0))?;
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(count as u64)
}
