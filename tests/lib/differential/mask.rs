//! What may differ between the servers' replies, and why.
//!
//! Everything else is compared byte for byte. Three things have no order in Redis itself (its
//! hash tables are seeded at random) and are put in order for every command: the messages that one
//! PUBLISH sends through several patterns, the keys of adjacent tracking invalidations, and the
//! elements of RESP3 sets.

use std::collections::{BTreeMap, BTreeSet};

use super::side::{Event, Names, field};
use crate::generate::supported;
use crate::value::Value;

/// How the replies to a command are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Byte for byte.
    Exact,
    /// Integers may differ by this much: what is left of a lifetime, an idle time. Negative
    /// numbers (no key, no expiry) must be equal.
    Near(i64),
    /// Points in time that follow from a lifetime may differ by this much. Those beyond [`FAR`]
    /// were given as such and must be equal.
    NearTime(i64),
    /// An array in any order: KEYS, PUBSUB CHANNELS.
    Unordered,
    /// A flat array of pairs, or a map, in any order: CONFIG GET with several matches.
    UnorderedPairs,
    /// Pairs in any order, each an array of its own or not: HRANDFIELD WITHVALUES.
    Shuffled,
    /// HSCAN, SSCAN, ZSCAN: the cursor, then elements in groups of so many values, in any order.
    Scan(usize),
    /// Confirmations of an UNSUBSCRIBE without channels: the channels in any order, the counts
    /// in theirs.
    Unsubscribed,
    /// A client id: the same connection.
    ClientId,
    /// Client ids anywhere in the reply, by the connection they name; the rest byte for byte.
    Ids,
    /// Lines of CLIENT LIST or INFO: the same connections and fields; ids and addresses by
    /// connection; sizes, ages and descriptors not at all.
    ClientList,
    /// HELLO's map without the id.
    Hello,
    /// INFO: the same sections with the same fields, without [`INFO_EXTRA`].
    Info,
    /// The same types, any content: TIME, MEMORY USAGE, LOLWUT.
    Kind,
    /// Both null, or any key that exists (which the runner checks).
    RandomKey,
    /// Names of commands: those of this project that Redis gives, in any order, and none else.
    CommandNames,
    /// COMMAND INFO and DOCS: the subcommands of a container in any order.
    Subcommands,
    /// DEBUG OBJECT: the encoding and the names of the fields.
    DebugObject,
    /// XPENDING and XINFO: times and idle times may differ a little, nodes of the radix tree do.
    StreamTimes,
}

/// Masks of which any may apply where it is unknown which command a reply belongs to.
pub const LENIENT: [Mask; 16] = [
    Mask::Near(5000),
    Mask::NearTime(5000),
    Mask::Unordered,
    Mask::UnorderedPairs,
    Mask::Shuffled,
    Mask::Scan(1),
    Mask::Scan(2),
    Mask::ClientId,
    Mask::Ids,
    Mask::ClientList,
    Mask::Hello,
    Mask::Info,
    Mask::Kind,
    Mask::CommandNames,
    Mask::Subcommands,
    Mask::StreamTimes,
];

/// Times (in seconds or milliseconds) above this were given as such and must be equal.
pub const FAR: i64 = 20_000_000_000_000;

/// Fields of CLIENT LIST whose values say something of the process, not of the session.
const CLIENT_PROCESS_FIELDS: [&str; 15] = [
    "fd",
    "age",
    "idle",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
    "events",
    "laddr",
];

/// Prefixes of lines of INFO that only one side has, with good reason: hotredis's own, and what
/// Redis prints only for its own platform or after certain events.
pub const INFO_EXTRA: [&str; 3] = ["hotredis_", "handoff_", "# Handoff"];

/// Prefixes of fields that exist for what happened so far, the control connection's doings too.
pub const INFO_COUNTED: [&str; 3] = ["cmdstat_", "errorstat_", "latency_percentiles_usec_"];

/// Whether `b` is an acceptable answer where Redis said `a`.
pub fn same(mask: Mask, a: &Value, b: &Value, names: (&Names, &Names)) -> bool {
    if a == b {
        return true;
    }
    match (a, b) {
        (Value::Set(x), Value::Set(y)) if mask == Mask::Exact => same_multiset(x, y),
        (Value::Array(x), Value::Array(y)) if mask == Mask::Exact => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(mask, x, y, names))
        }
        (Value::Map(x), Value::Map(y)) if mask == Mask::Exact => {
            let pairs = x.iter().zip(y);
            let same = |x: &(Value, Value), y: &(Value, Value)| {
                same(mask, &x.0, &y.0, names) && same(mask, &x.1, &y.1, names)
            };
            x.len() == y.len() && pairs.fold(true, |all, (x, y)| all && same(x, y))
        }
        _ => same_masked(mask, a, b, names),
    }
}

fn same_masked(mask: Mask, a: &Value, b: &Value, names: (&Names, &Names)) -> bool {
    match mask {
        // Inside EXEC a reply may have lost its mask: a client's id is known by its connection.
        Mask::Exact => same_ids(a, b, names),
        Mask::Near(tolerance) => near(a, b, tolerance, i64::MAX),
        Mask::NearTime(tolerance) => near(a, b, tolerance, FAR),
        Mask::Unordered | Mask::UnorderedPairs | Mask::Shuffled | Mask::Scan(_) => {
            same_unordered(mask, a, b)
        }
        // Judged over all confirmations at once, in `same_events`.
        Mask::Unsubscribed => false,
        Mask::ClientId => match (a, b) {
            (Value::Integer(x), Value::Integer(y)) => {
                names.0.of_id(*x).is_some() && names.0.of_id(*x) == names.1.of_id(*y)
            }
            _ => false,
        },
        Mask::Ids => same_ids(a, b, names),
        Mask::ClientList => match (text_of(a), text_of(b)) {
            (Some(x), Some(y)) => {
                kind_name(a) == kind_name(b) && client_lines(x, names.0) == client_lines(y, names.1)
            }
            _ => false,
        },
        Mask::Hello => match (pairs_of(a), pairs_of(b)) {
            (Some(x), Some(y)) => {
                let known = |pairs: Vec<(Value, Value)>| -> Vec<(Value, Value)> {
                    pairs.into_iter().filter(|(k, _)| k.as_bytes() != Some(b"id")).collect()
                };
                kind_name(a) == kind_name(b) && known(x) == known(y)
            }
            _ => false,
        },
        Mask::Info => match (text_of(a), text_of(b)) {
            (Some(x), Some(y)) => kind_name(a) == kind_name(b) && info_names(x) == info_names(y),
            _ => false,
        },
        Mask::Kind | Mask::RandomKey => same_kind(a, b),
        Mask::CommandNames => match (a, b) {
            (Value::Array(x), Value::Array(y)) | (Value::Set(x), Value::Set(y)) => {
                let ours = |v: &[Value]| -> BTreeSet<Value> {
                    v.iter().filter(|n| supported(n.as_bytes().unwrap_or(b""))).cloned().collect()
                };
                let theirs: BTreeSet<&Value> = x.iter().collect();
                ours(x) == ours(y) && y.iter().all(|n| theirs.contains(n))
            }
            _ => false,
        },
        Mask::Subcommands => subcommands_sorted(a) == subcommands_sorted(b),
        Mask::StreamTimes => same_times(a, b),
        Mask::DebugObject => match (text_of(a), text_of(b)) {
            (Some(x), Some(y)) => {
                kind_name(a) == kind_name(b) && debug_object(x) == debug_object(y)
            }
            _ => false,
        },
    }
}

/// Replies whose elements may come in another order.
fn same_unordered(mask: Mask, a: &Value, b: &Value) -> bool {
    match (mask, a, b) {
        (Mask::Unordered, Value::Array(x), Value::Array(y))
        | (Mask::Unordered, Value::Set(x), Value::Set(y)) => same_multiset(x, y),
        (Mask::UnorderedPairs, ..) => match (pairs_of(a), pairs_of(b)) {
            (Some(x), Some(y)) => kind_name(a) == kind_name(b) && x == y,
            _ => false,
        },
        (Mask::Shuffled, Value::Array(all), _)
            if all.iter().all(|one| matches!(one, Value::Array(_))) =>
        {
            same_unordered(Mask::Unordered, a, b)
        }
        (Mask::Shuffled, ..) => same_unordered(Mask::UnorderedPairs, a, b),
        (Mask::Scan(size), Value::Array(x), Value::Array(y)) => {
            let ([x, Value::Array(all_x)], [y, Value::Array(all_y)]) = (&x[..], &y[..]) else {
                return false;
            };
            let groups = |all: &[Value]| -> Vec<Value> {
                all.chunks(size).map(|group| Value::Array(group.to_vec())).collect()
            };
            x == y && same_multiset(&groups(all_x), &groups(all_y))
        }
        _ => false,
    }
}

/// `tracking-redir-broken`, without the id of the client that is gone: no name is left for it.
fn broken_redirection(value: &Value) -> Option<usize> {
    match value {
        Value::Push(parts) | Value::Array(parts) => match parts.as_slice() {
            [Value::Bulk(name), Value::Integer(_)] if name == b"tracking-redir-broken" => Some(2),
            _ => None,
        },
        _ => None,
    }
}

/// Equal but for client ids, which are compared by the connection they name.
fn same_ids(a: &Value, b: &Value, names: (&Names, &Names)) -> bool {
    let each = |x: &[Value], y: &[Value]| {
        x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_ids(x, y, names))
    };
    match (a, b) {
        (Value::Integer(x), Value::Integer(y)) if x != y => {
            names.0.of_id(*x).is_some() && names.0.of_id(*x) == names.1.of_id(*y)
        }
        (Value::Array(x), Value::Array(y)) => each(x, y),
        (Value::Map(x), Value::Map(y)) => {
            x.len() == y.len()
                && x.iter()
                    .zip(y)
                    .all(|(x, y)| same_ids(&x.0, &y.0, names) && same_ids(&x.1, &y.1, names))
        }
        _ => a == b,
    }
}

/// What tells two values of different types apart.
fn kind_name(value: &Value) -> u8 {
    match value {
        Value::Simple(_) => b'+',
        Value::Error(_) => b'-',
        Value::BlobError(_) => b'!',
        Value::Integer(_) => b':',
        Value::Bulk(_) => b'$',
        Value::NullBulk => b'n',
        Value::NullArray => b'N',
        Value::Null => b'_',
        Value::Boolean(_) => b'#',
        Value::Double(_) => b',',
        Value::BigNumber(_) => b'(',
        Value::Verbatim(..) => b'=',
        Value::Array(_) => b'*',
        Value::Map(_) => b'%',
        Value::Set(_) => b'~',
        Value::Push(_) => b'>',
        Value::Attributed(..) => b'|',
    }
}

fn same_kind(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Error(_), Value::Error(_)) => false,
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_kind(x, y))
        }
        _ => kind_name(a) == kind_name(b),
    }
}

fn near(a: &Value, b: &Value, tolerance: i64, limit: i64) -> bool {
    match (a, b) {
        (Value::Integer(x), Value::Integer(y)) => {
            let both = 0..limit;
            both.contains(x) && both.contains(y) && (x - y).abs() <= tolerance
        }
        _ => false,
    }
}

fn same_multiset(a: &[Value], b: &[Value]) -> bool {
    let sorted = |v: &[Value]| {
        let mut v = v.to_vec();
        v.sort();
        v
    };
    sorted(a) == sorted(b)
}

/// Sorted pairs of a map or of an array of even length.
pub fn pairs_of(value: &Value) -> Option<Vec<(Value, Value)>> {
    let mut pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs.clone(),
        Value::Array(flat) if flat.len() % 2 == 0 => {
            flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
        }
        _ => return None,
    };
    pairs.sort();
    Some(pairs)
}

/// The text of a string-like value that is no error.
fn text_of(value: &Value) -> Option<&str> {
    if value.is_error() {
        return None;
    }
    std::str::from_utf8(value.as_bytes()?).ok()
}

fn client_lines(text: &str, names: &Names) -> BTreeSet<String> {
    text.lines()
        .map(|line| {
            let words = line.split(' ').map(|word| {
                let Some((name, value)) = word.split_once('=') else { return word.to_owned() };
                let value = match name {
                    "id" => value.parse().ok().and_then(|id| names.of_id(id)),
                    "addr" => names.of_addr(value),
                    "redir" if value != "-1" && value != "0" => {
                        value.parse().ok().and_then(|id| names.of_id(id))
                    }
                    _ if CLIENT_PROCESS_FIELDS.contains(&name) => Some("*"),
                    _ => Some(value),
                };
                format!("{name}={}", value.unwrap_or("unknown"))
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// The connection a line of CLIENT LIST speaks about.
pub fn line_name<'a>(line: &str, names: &'a Names) -> Option<&'a str> {
    names.of_id(field(line, "id")?.parse().ok()?)
}

/// Sections and their fields, without the values.
fn info_names(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sections = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if INFO_EXTRA.iter().any(|prefix| line.starts_with(prefix)) {
            continue;
        }
        if line.starts_with('#') {
            current = line.to_owned();
            sections.entry(current.clone()).or_insert_with(BTreeSet::new);
            continue;
        }
        let name = line.split(':').next().unwrap_or(line);
        if INFO_COUNTED.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        sections.entry(current.clone()).or_default().insert(name.to_owned());
    }
    sections
}

/// A value with its lists of subcommands (by the `|` in their names) in order: entries of
/// COMMAND INFO, and names alternating with entries in COMMAND DOCS.
fn subcommands_sorted(value: &Value) -> Value {
    let named = |v: &Value| v.as_bytes().is_some_and(|name| name.contains(&b'|'));
    let pair = |(k, v): &(Value, Value)| (k.clone(), subcommands_sorted(v));
    match value {
        Value::Map(pairs) => {
            let mut pairs: Vec<_> = pairs.iter().map(pair).collect();
            if pairs.first().is_some_and(|(k, _)| named(k)) {
                pairs.sort();
            }
            Value::Map(pairs)
        }
        Value::Array(v) => {
            let mut v: Vec<Value> = v.iter().map(subcommands_sorted).collect();
            let is_entry = |v: &Value| matches!(v, Value::Array(e) if e.first().is_some_and(named));
            if v.first().is_some_and(is_entry) {
                v.sort();
            } else if v.len().is_multiple_of(2) && v.chunks(2).all(|pair| named(&pair[0])) {
                let mut pairs: Vec<_> = v.chunks(2).map(<[Value]>::to_vec).collect();
                pairs.sort();
                v = pairs.concat();
            }
            Value::Array(v)
        }
        other => other.clone(),
    }
}

/// Equal but for what [`Mask::StreamTimes`] allows.
fn same_times(a: &Value, b: &Value) -> bool {
    const TOLERANCE: i64 = 5000;
    let (a, b) = match (a, b) {
        (Value::Map(x), Value::Map(y)) => (&flat(x), &flat(y)),
        (Value::Array(x), Value::Array(y)) => (x, y),
        _ => return a == b,
    };
    let is_text = |at: usize| matches!(a.get(at), Some(Value::Bulk(_)));
    let same = |at: usize| {
        let named = |names: &[&[u8]]| {
            let name = at.checked_sub(1).and_then(|at| a[at].as_bytes());
            name.is_some_and(|name| names.contains(&name))
        };
        // Pending entries are id, consumer, time, count, or the same without the consumer.
        let pending = a.len() == 4 && at == 2 && is_text(0) && is_text(1)
            || a.len() == 3 && at == 1 && is_text(0);
        let time = pending || named(&[b"idle", b"seen-time"]);
        same_times(&a[at], &b[at])
            || named(&[b"radix-tree-nodes"]) && same_kind(&a[at], &b[at])
            || time && near(&a[at], &b[at], TOLERANCE, i64::MAX)
    };
    a.len() == b.len() && (0..a.len()).all(same)
}

fn flat(pairs: &[(Value, Value)]) -> Vec<Value> {
    pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect()
}

fn debug_object(text: &str) -> Vec<String> {
    text.split(' ')
        .map(|word| match word.split_once(':') {
            Some(("encoding", value)) => format!("encoding:{value}"),
            Some((name, _)) => name.to_owned(),
            None => word.to_owned(),
        })
        .collect()
}

/// Whether all that a connection showed is acceptable. `masks` has one mask for each reply to the
/// commands just sent on it, or is empty.
pub fn same_events(masks: &[Mask], a: &[Event], b: &[Event], names: (&Names, &Names)) -> bool {
    let (a, b) = (in_order(a), in_order(b));
    // With broadcast tracking, Redis tells of changes at the end of its tick, and hotredis at the
    // end of the request: among the replies of a pipeline they stand elsewhere. So they are
    // compared by themselves.
    let of_tracking = |event: &Event| {
        matches!(message(event), Some((b"invalidate" | b"tracking-redir-broken", [_])))
    };
    let (mut told_a, a): (Vec<_>, Vec<_>) = a.into_iter().partition(of_tracking);
    let (mut told_b, b): (Vec<_>, Vec<_>) = b.into_iter().partition(of_tracking);
    for told in [&mut told_a, &mut told_b] {
        // A key that several requests have changed is told of once by one of them.
        told.sort_by_cached_key(|event| format!("{event:?}"));
        told.dedup();
    }
    let same_told = |(x, y): (&Event, &Event)| match (x, y) {
        (Event::Value(x), Event::Value(y)) => {
            match (broken_redirection(x), broken_redirection(y)) {
                (Some(x), Some(y)) => x == y,
                _ => x == y,
            }
        }
        _ => x == y,
    };
    let told = told_a.len() == told_b.len() && told_a.iter().zip(&told_b).all(same_told);
    if !told || a.len() != b.len() {
        return false;
    }
    if masks == [Mask::Unsubscribed] {
        return without_unsubscribed(&a) == without_unsubscribed(&b);
    }
    let associated = masks.len() == a.len();
    a.iter().zip(&b).enumerate().all(|(i, (x, y))| {
        let mask = match masks {
            [only] => *only,
            _ if associated => masks[i],
            _ => Mask::Exact,
        };
        match (x, y) {
            (Event::Value(x), Event::Value(y)) => same(mask, x, y, names),
            _ => x == y,
        }
    })
}

/// The kind and parts of a message that Redis pushes, in RESP2 or RESP3 form.
fn message(event: &Event) -> Option<(&[u8], &[Value])> {
    match event {
        Event::Value(Value::Push(v) | Value::Array(v)) => match v.as_slice() {
            // To a connection that was redirected to.
            [_, Value::Bulk(channel), keys] if channel == b"__redis__:invalidate" => {
                Some((b"invalidate", std::slice::from_ref(keys)))
            }
            [kind, rest @ ..] => Some((kind.as_bytes()?, rest)),
            [] => None,
        },
        _ => None,
    }
}

/// Events with those runs sorted that have no order in Redis.
pub(super) fn in_order(events: &[Event]) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::with_capacity(events.len());
    let mut run: Vec<Event> = Vec::new();
    let mut run_key: Option<Vec<Value>> = None;
    let flush = |run: &mut Vec<Event>, out: &mut Vec<Event>| {
        run.sort_by_key(|event| format!("{event:?}"));
        out.append(run);
    };
    for event in events {
        let key = match message(event) {
            Some((b"pmessage", [_, channel, payload])) => {
                Some(vec![Value::bulk("pmessage"), channel.clone(), payload.clone()])
            }
            Some((b"invalidate", [_])) => Some(vec![Value::bulk("invalidate")]),
            _ => None,
        };
        if key.is_none() || key != run_key {
            flush(&mut run, &mut out);
        }
        match (&key, message(event)) {
            (None, _) => out.push(event.clone()),
            // One push may carry several keys, or several pushes one each.
            (_, Some((b"invalidate", [Value::Array(keys)]))) => {
                run.extend(keys.iter().map(|k| {
                    let parts = vec![Value::bulk("invalidate"), k.clone()];
                    Event::Value(Value::Push(parts))
                }));
            }
            _ => run.push(event.clone()),
        }
        run_key = key;
    }
    flush(&mut run, &mut out);
    out
}

/// The channels that confirmations of an UNSUBSCRIBE name, in order, and the events without
/// those names: Redis goes through a connection's channels in any order.
pub(super) fn without_unsubscribed(events: &[Event]) -> (Vec<Value>, Vec<Event>) {
    let mut channels = Vec::new();
    let mut rest = Vec::new();
    for event in events {
        match message(event) {
            Some((kind, [channel, count])) if kind.ends_with(b"unsubscribe") => {
                channels.push(channel.clone());
                let parts = vec![Value::bulk(kind), count.clone()];
                rest.push(Event::Value(match event {
                    Event::Value(Value::Push(_)) => Value::Push(parts),
                    _ => Value::Array(parts),
                }));
            }
            _ => rest.push(event.clone()),
        }
    }
    channels.sort();
    (channels, rest)
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
