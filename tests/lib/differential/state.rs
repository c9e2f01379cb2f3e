//! The whole visible state of a server, for comparison: every key of every database, and what
//! the server says of subscriptions.

use std::collections::BTreeMap;
use std::io;

use super::mask::{FAR, pairs_of};
use super::side::Side;
use crate::value::{Value, quoted};

/// Databases of a server with default settings.
pub const DATABASES: usize = 16;
/// How far apart (in milliseconds) two expiry times may be that came from relative lifetimes.
const EXPIRY_TOLERANCE: i64 = 5_000;

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Value,
    encoding: Value,
    /// PEXPIRETIME.
    expiry: Value,
    content: Value,
}

/// The state of a server.
#[derive(Debug)]
pub struct State {
    keys: BTreeMap<(usize, Vec<u8>), Entry>,
    sizes: Vec<Value>,
    subscriptions: BTreeMap<&'static str, Value>,
    /// Changes to the data, as the server counts them, and of these those since the last reset.
    changes: (i64, i64),
}

impl State {
    /// The encodings of all values.
    pub fn encodings(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.values().filter_map(|entry| entry.encoding.as_bytes())
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

/// Reads the state of a server through its control connection.
pub fn state(side: &mut Side) -> io::Result<State> {
    let mut state = State {
        keys: BTreeMap::new(),
        sizes: Vec::new(),
        subscriptions: BTreeMap::new(),
        changes: side.changes()?,
    };
    let mut commands = Vec::new();
    for db in 0..DATABASES {
        commands.push(words(&["SELECT", &db.to_string()]));
        commands.push(words(&["DBSIZE"]));
        commands.push(words(&["KEYS", "*"]));
    }
    let replies = side.control_pipeline(&commands)?;
    for (db, replies) in replies.chunks(3).enumerate() {
        state.sizes.push(replies[1].clone());
        let Value::Array(names) = &replies[2] else { continue };
        let names: Vec<Vec<u8>> =
            names.iter().filter_map(|n| n.as_bytes().map(<[u8]>::to_vec)).collect();
        if names.is_empty() {
            continue;
        }
        for (name, entry) in entries(side, db, &names)? {
            state.keys.insert((db, name), entry);
        }
    }
    for command in ["CHANNELS", "NUMPAT", "SHARDCHANNELS"] {
        let mut reply = side.control_call(&["PUBSUB", command])?;
        if let Value::Array(channels) = &mut reply {
            channels.sort();
        }
        state.subscriptions.insert(command, reply);
    }
    Ok(state)
}

fn entries(side: &mut Side, db: usize, names: &[Vec<u8>]) -> io::Result<Vec<(Vec<u8>, Entry)>> {
    let mut commands = vec![words(&["SELECT", &db.to_string()])];
    for name in names {
        for command in [&["TYPE"][..], &["OBJECT", "ENCODING"], &["PEXPIRETIME"]] {
            let mut command = words(command);
            command.push(name.clone());
            commands.push(command);
        }
    }
    let replies = side.control_pipeline(&commands)?;
    let mut read = vec![words(&["SELECT", &db.to_string()])];
    for (name, replies) in names.iter().zip(replies[1..].chunks(3)) {
        read.push(read_command(&replies[0], name));
    }
    let contents = side.control_pipeline(&read)?;
    let entries = names.iter().zip(replies[1..].chunks(3)).zip(&contents[1..]);
    Ok(entries
        .map(|((name, replies), content)| {
            let mut content = content.clone();
            if matches!(&replies[0], Value::Simple(kind) if kind == b"set")
                && let Value::Array(members) | Value::Set(members) = &mut content
            {
                members.sort();
            }
            if matches!(&replies[0], Value::Simple(kind) if kind == b"hash") {
                content = Value::Map(pairs_of(&content).unwrap_or_default());
            }
            let entry = Entry {
                kind: replies[0].clone(),
                encoding: replies[1].clone(),
                expiry: replies[2].clone(),
                content,
            };
            (name.clone(), entry)
        })
        .collect())
}

/// The command that reads all of a key of this type.
fn read_command(kind: &Value, name: &[u8]) -> Vec<Vec<u8>> {
    let (before, after): (&str, &[&str]) = match kind.as_bytes() {
        Some(b"list") => ("LRANGE", &["0", "-1"]),
        Some(b"set") => ("SMEMBERS", &[]),
        Some(b"hash") => ("HGETALL", &[]),
        Some(b"zset") => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
        Some(b"stream") => ("XRANGE", &["-", "+"]),
        _ => ("GET", &[]),
    };
    let mut command = words(&[before]);
    command.push(name.to_vec());
    command.extend(words(after));
    command
}

fn same_expiry(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Integer(x), Value::Integer(y)) if x != y => {
            *x > 0 && *y > 0 && *x < FAR && *y < FAR && (x - y).abs() <= EXPIRY_TOLERANCE
        }
        _ => a == b,
    }
}

/// What differs between two states, in words; `None` if nothing does.
pub fn differences(theirs: &State, ours: &State, killed: bool) -> Option<String> {
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<_> = theirs.keys.keys().chain(ours.keys.keys()).collect();
    for name in names {
        let (a, b) = (theirs.keys.get(name), ours.keys.get(name));
        let same = match (a, b) {
            (Some(a), Some(b)) => {
                same_expiry(&a.expiry, &b.expiry)
                    && (&a.kind, &a.encoding, &a.content) == (&b.kind, &b.encoding, &b.content)
            }
            _ => false,
        };
        if !same {
            let key = quoted(&name.1);
            found.push(format!(
                "key {key} of db {}:\n  Redis:     {a:?}\n  candidate: {b:?}",
                name.0
            ));
        }
    }
    for (db, (a, b)) in theirs.sizes.iter().zip(&ours.sizes).enumerate() {
        if a != b {
            found.push(format!("DBSIZE of db {db}: Redis {a:?}, candidate {b:?}"));
        }
    }
    for (name, a) in &theirs.subscriptions {
        let b = ours.subscriptions.get(name);
        if Some(a) != b {
            found.push(format!("PUBSUB {name}: Redis {a:?}, candidate {b:?}"));
        }
    }
    // What a DEBUG RELOAD has saved is not counted any more.
    let same = theirs.changes.0 == ours.changes.0 || theirs.changes.1 == ours.changes.1;
    // A statistic, which no transaction covers: a command in the midst of which the server was killed runs
    // once, but may have been counted twice.
    let counted_twice = killed && ours.changes.1 > theirs.changes.1;
    if !same && !counted_twice {
        let (a, b) = (theirs.changes.1, ours.changes.1);
        found.push(format!("changes counted: Redis {a}, candidate {b}"));
    }
    (!found.is_empty()).then(|| found.join("\n"))
}
