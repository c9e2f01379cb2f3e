use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::testing::{NOT_INTEGER, SYNTAX, Server, WRONG, dialogue};

/// One command on one list.
#[derive(Debug, Clone)]
enum Op {
    Push {
        front: bool,
        values: Vec<String>,
    },
    Pop {
        front: bool,
        count: usize,
    },
    Rotate,
    Set {
        index: i64,
        value: String,
    },
    Insert {
        after: bool,
        pivot: String,
        value: String,
    },
    Remove {
        count: i64,
        value: String,
    },
    Trim {
        start: i64,
        stop: i64,
    },
    Limit(&'static str),
    /// The list is copied to another key.
    Copied,
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0u8..5).prop_map(|number| number.to_string()),
        2 => (0usize..100).prop_map(|size| "x".repeat(size)),
        1 => (0usize..9000).prop_map(|size| "y".repeat(size)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    const LIMITS: [&str; 7] = ["-5", "-2", "-1", "0", "1", "3", "100"];
    prop_oneof![
        6 => (any::<bool>(), prop::collection::vec(value(), 1..12))
            .prop_map(|(front, values)| Op::Push { front, values }),
        4 => (any::<bool>(), 1usize..8).prop_map(|(front, count)| Op::Pop { front, count }),
        2 => Just(Op::Rotate),
        3 => (-30i64..30, value()).prop_map(|(index, value)| Op::Set { index, value }),
        3 => (any::<bool>(), value(), value())
            .prop_map(|(after, pivot, value)| Op::Insert { after, pivot, value }),
        2 => (-3i64..4, value()).prop_map(|(count, value)| Op::Remove { count, value }),
        1 => (-40i64..10, -10i64..40).prop_map(|(start, stop)| Op::Trim { start, stop }),
        2 => prop::sample::select(&LIMITS[..]).prop_map(Op::Limit),
        1 => Just(Op::Copied),
    ]
}

fn bulk(value: &str) -> String {
    format!("${}\r\n{value}\r\n", value.len())
}

fn array<'v>(values: impl ExactSizeIterator<Item = &'v String>) -> String {
    let len = values.len();
    format!("*{len}\r\n") + &values.map(|value| bulk(value)).collect::<String>()
}

/// What the command means for the model, and how it is sent: its words, and the reply.
fn run(model: &mut VecDeque<String>, op: &Op) -> (Vec<String>, String) {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let len = model.len() as i64;
    let number = |index: i64| if index < 0 { len + index } else { index };
    match op {
        Op::Push { front, values } => {
            let mut command = words(&[if *front { "LPUSH" } else { "RPUSH" }, "l"]);
            for value in values {
                command.push(value.clone());
                if *front {
                    model.push_front(value.clone());
                } else {
                    model.push_back(value.clone());
                }
            }
            (command, format!(":{}\r\n", model.len()))
        }
        Op::Pop { front, count } => {
            let command = words(&[if *front { "LPOP" } else { "RPOP" }, "l", &count.to_string()]);
            let pop = |_| if *front { model.pop_front() } else { model.pop_back() };
            let popped: Vec<String> = (0..*count).map_while(pop).collect();
            let reply = if len == 0 { "*-1\r\n".into() } else { array(popped.iter()) };
            (command, reply)
        }
        Op::Rotate => {
            let moved = model.pop_back();
            let reply = moved.as_ref().map_or("$-1\r\n".into(), |value| bulk(value));
            moved.into_iter().for_each(|value| model.push_front(value));
            (words(&["LMOVE", "l", "l", "RIGHT", "LEFT"]), reply)
        }
        Op::Set { index, value } => {
            let place = usize::try_from(number(*index)).ok().and_then(|at| model.get_mut(at));
            let reply = match place {
                Some(place) => {
                    place.clone_from(value);
                    "+OK\r\n"
                }
                None if len == 0 => "-ERR no such key\r\n",
                None => "-ERR index out of range\r\n",
            };
            (words(&["LSET", "l", &index.to_string(), value]), reply.into())
        }
        Op::Insert { after, pivot, value } => {
            let side = if *after { "AFTER" } else { "BEFORE" };
            let at = model.iter().position(|other| other == pivot);
            if let Some(at) = at {
                model.insert(at + usize::from(*after), value.clone());
            }
            let reply = if len == 0 { 0 } else { at.map_or(-1, |_| len + 1) };
            (words(&["LINSERT", "l", side, pivot, value]), format!(":{reply}\r\n"))
        }
        Op::Remove { count, value } => {
            let mut left = if *count == 0 { u64::MAX } else { count.unsigned_abs() };
            let mut keep = |other: &String| {
                let goes = other == value && left > 0;
                left -= u64::from(goes);
                !goes
            };
            let mut kept: Vec<String> = if *count < 0 {
                model.drain(..).rev().filter(&mut keep).collect()
            } else {
                model.drain(..).filter(&mut keep).collect()
            };
            if *count < 0 {
                kept.reverse();
            }
            *model = kept.into();
            let removed = len - model.len() as i64;
            (words(&["LREM", "l", &count.to_string(), value]), format!(":{removed}\r\n"))
        }
        Op::Trim { start, stop } => {
            let (first, last) = (number(*start).max(0), number(*stop).min(len - 1));
            let kept = |at: i64| (first..=last).contains(&at);
            *model =
                (0..).zip(model.drain(..)).filter(|(at, _)| kept(*at)).map(|(_, v)| v).collect();
            (words(&["LTRIM", "l", &start.to_string(), &stop.to_string()]), "+OK\r\n".into())
        }
        Op::Limit(limit) => {
            (words(&["CONFIG", "SET", "list-max-listpack-size", limit]), "+OK\r\n".into())
        }
        Op::Copied => {
            let reply = format!(":{}\r\n", i64::from(len > 0));
            (words(&["COPY", "l", "copy", "REPLACE"]), reply)
        }
    }
}

#[test]
fn lists_are_what_the_model_says() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(60);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ops = prop::collection::vec(op(), 1..60);
    TestRunner::new_with_rng(config, rng)
        .run(&ops, |ops| {
            let mut server = Server::new();
            let client = server.connect();
            let mut model = VecDeque::new();
            for op in &ops {
                let (words, expected) = run(&mut model, op);
                let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                let reply = server.ask(client, &words);
                prop_assert_eq!(String::from_utf8_lossy(&reply), expected);
                let all = server.line(client, "LRANGE l 0 -1");
                prop_assert_eq!(all, array(model.iter()));
            }
            server.check();
            Ok(())
        })
        .unwrap();
}

#[test]
fn commands_that_fail_change_nothing() {
    let mut server = Server::new();
    let client = server.connect();
    let long = "v".repeat(300);
    server.line(client, &format!("RPUSH l 1 {long} 2 {long} 3"));
    let before = server.line(client, "LRANGE l 0 -1");
    for command in ["LSET l 99 x", "LPUSH l", "LPOP l x", "LMOVE l l LEFT x", "LINSERT l x 1 2"] {
        assert!(server.line(client, command).starts_with('-'), "{command}");
    }
    assert_eq!(server.line(client, "LRANGE l 0 -1"), before);
    server.check();
}

#[test]
fn elements_come_and_go_at_the_ends() {
    dialogue(&[
        ("LPUSHX l a", ":0\r\n"),
        ("RPUSHX l a", ":0\r\n"),
        ("EXISTS l", ":0\r\n"),
        ("RPUSH l 1 two 3", ":3\r\n"),
        ("LPUSH l a b", ":5\r\n"),
        ("LRANGE l 0 -1", "*5\r\n$1\r\nb\r\n$1\r\na\r\n$1\r\n1\r\n$3\r\ntwo\r\n$1\r\n3\r\n"),
        ("LPOP l", "$1\r\nb\r\n"),
        ("RPOP l 2", "*2\r\n$1\r\n3\r\n$3\r\ntwo\r\n"),
        ("LPOP l 0", "*0\r\n"),
        ("LPOP l -1", "-ERR value is out of range, must be positive\r\n"),
        ("LPOP l x", "-ERR value is out of range, must be positive\r\n"),
        ("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command\r\n"),
        ("RPOP l 9", "*2\r\n$1\r\n1\r\n$1\r\na\r\n"),
        ("EXISTS l", ":0\r\n"),
        ("LPOP l", "$-1\r\n"),
        ("LPOP l 0", "*-1\r\n"),
        ("LPOP l 2", "*-1\r\n"),
    ]);
}

#[test]
fn indices_count_from_both_ends() {
    dialogue(&[
        ("RPUSH l a b c", ":3\r\n"),
        ("LINDEX l -3", "$1\r\na\r\n"),
        ("LINDEX l -4", "$-1\r\n"),
        ("LINDEX l 3", "$-1\r\n"),
        ("LRANGE l -100 1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("LRANGE l 2 1", "*0\r\n"),
        ("LRANGE l 5 9", "*0\r\n"),
        ("LSET l -1 z", "+OK\r\n"),
        ("LSET l 3 z", "-ERR index out of range\r\n"),
        ("LSET l x z", NOT_INTEGER),
        ("LSET none 0 z", "-ERR no such key\r\n"),
        ("LTRIM l 1 -1", "+OK\r\n"),
        ("LRANGE l 0 -1", "*2\r\n$1\r\nb\r\n$1\r\nz\r\n"),
        ("LTRIM l 5 9", "+OK\r\n"),
        ("EXISTS l", ":0\r\n"),
        ("LTRIM none 0 1", "+OK\r\n"),
    ]);
}

#[test]
fn elements_are_found_by_what_they_are() {
    dialogue(&[
        ("RPUSH l 1 a 1 01 1", ":5\r\n"),
        ("LPOS l 1", ":0\r\n"),
        ("LPOS l 1 RANK -1", ":4\r\n"),
        ("LPOS l 1 RANK 2 COUNT 0", "*2\r\n:2\r\n:4\r\n"),
        ("LPOS l 1 COUNT 0 MAXLEN 3", "*2\r\n:0\r\n:2\r\n"),
        ("LPOS l 1 RANK -1 COUNT 2", "*2\r\n:4\r\n:2\r\n"),
        ("LPOS l x", "$-1\r\n"),
        ("LPOS l x COUNT 0", "*0\r\n"),
        ("LPOS none x", "$-1\r\n"),
        ("LPOS none x COUNT 1", "*0\r\n"),
        (
            "LPOS l 1 RANK 0",
            "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list\r\n",
        ),
        ("LPOS l 1 COUNT -1", "-ERR COUNT can't be negative\r\n"),
        ("LPOS l 1 MAXLEN x", "-ERR MAXLEN can't be negative\r\n"),
        ("LPOS l 1 COUNT", SYNTAX),
        ("LPOS l 1 FIRST 1", SYNTAX),
        ("LREM l -1 1", ":1\r\n"),
        ("LREM l 0 01", ":1\r\n"),
        ("LREM l 1 x", ":0\r\n"),
        ("LINSERT l BEFORE a 0", ":4\r\n"),
        ("LINSERT l after a b", ":5\r\n"),
        ("LINSERT l AFTER x b", ":-1\r\n"),
        ("LINSERT none AFTER x b", ":0\r\n"),
        ("LINSERT l BESIDE a b", SYNTAX),
        ("LRANGE l 0 -1", "*5\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\n1\r\n"),
        ("LREM l 0 1", ":2\r\n"),
        ("LREM l 0 a", ":1\r\n"),
        ("LREM l 0 b", ":1\r\n"),
        ("LREM l 0 0", ":1\r\n"),
        ("EXISTS l", ":0\r\n"),
    ]);
}

#[test]
fn elements_move_between_lists() {
    dialogue(&[
        ("RPUSH from a b", ":2\r\n"),
        ("LMOVE from to LEFT RIGHT", "$1\r\na\r\n"),
        ("RPOPLPUSH from to", "$1\r\nb\r\n"),
        ("EXISTS from", ":0\r\n"),
        ("LRANGE to 0 -1", "*2\r\n$1\r\nb\r\n$1\r\na\r\n"),
        ("LMOVE to to LEFT RIGHT", "$1\r\nb\r\n"),
        ("LRANGE to 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("LMOVE none to LEFT LEFT", "$-1\r\n"),
        ("LMOVE to to LEFT UP", SYNTAX),
        ("RPOPLPUSH none to", "$-1\r\n"),
        ("SET s x", "+OK\r\n"),
        ("LMOVE to s LEFT LEFT", WRONG),
        ("LMOVE none s LEFT LEFT", "$-1\r\n"),
        ("RPOPLPUSH s to", WRONG),
        ("LRANGE to 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ]);
}

#[test]
fn several_keys_are_popped_from() {
    dialogue(&[
        ("RPUSH l 1 2 3", ":3\r\n"),
        ("LMPOP 2 none l LEFT", "*2\r\n$1\r\nl\r\n*1\r\n$1\r\n1\r\n"),
        ("LMPOP 2 none l RIGHT COUNT 5", "*2\r\n$1\r\nl\r\n*2\r\n$1\r\n3\r\n$1\r\n2\r\n"),
        ("LMPOP 1 l LEFT", "*-1\r\n"),
        ("RPUSH l 1", ":1\r\n"),
        ("LMPOP 0 l LEFT", "-ERR numkeys should be greater than 0\r\n"),
        ("LMPOP x l LEFT", "-ERR numkeys should be greater than 0\r\n"),
        ("LMPOP 2 l LEFT", SYNTAX),
        ("LMPOP 1 l UP", SYNTAX),
        ("LMPOP 1 l LEFT COUNT", SYNTAX),
        ("LMPOP 1 l LEFT COUNT 0", "-ERR count should be greater than 0\r\n"),
        ("LMPOP 1 l LEFT COUNT 1 COUNT 1", SYNTAX),
        ("LMPOP 1 l LEFT 1", SYNTAX),
        ("LMPOP 9223372036854775807 l LEFT", SYNTAX),
        ("BLMPOP 0 1 l LEFT COUNT 2", "*2\r\n$1\r\nl\r\n*1\r\n$1\r\n1\r\n"),
        ("RPUSH l 1", ":1\r\n"),
        ("BLPOP none l 0", "*2\r\n$1\r\nl\r\n$1\r\n1\r\n"),
        ("SET s x", "+OK\r\n"),
        ("BLPOP s l 0", WRONG),
        ("BLPOP l -1", "-ERR timeout is negative\r\n"),
        ("BLPOP l x", "-ERR timeout is not a float or out of range\r\n"),
        ("BLMPOP x 0 l LEFT", "-ERR numkeys should be greater than 0\r\n"),
    ]);
}

#[test]
fn what_is_no_list() {
    dialogue(&[
        ("SET s x", "+OK\r\n"),
        ("LPUSH s a", WRONG),
        ("LPUSHX s a", WRONG),
        ("RPOP s", WRONG),
        ("LPOP s x", "-ERR value is out of range, must be positive\r\n"),
        ("LLEN s", WRONG),
        ("LLEN none", ":0\r\n"),
        ("LRANGE s x 1", NOT_INTEGER),
        ("LRANGE s 0 1", WRONG),
        ("LINDEX s x", WRONG),
        ("LINDEX none x", "$-1\r\n"),
        ("LSET s x y", WRONG),
        ("LTRIM s 0 x", NOT_INTEGER),
        ("LREM s x a", NOT_INTEGER),
        ("LPOS s a", WRONG),
        ("LINSERT s BEFORE a b", WRONG),
    ]);
}
