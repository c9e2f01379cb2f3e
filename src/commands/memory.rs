//! `MEMORY`.

use shm::table;

use super::help;
use super::info::Footprint;
use super::spec::{CommandSpec, at, cmd, container, flag, key};
use crate::executor::{Cx, Outcome, error};
use crate::keyspace::{self, EntryView};
use crate::proto::reply::Format;
use crate::root;
use crate::values;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("memory", -2).subcommands(&[
    cmd("memory|doctor", 2, doctor).tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
    cmd("memory|help", 2, help_text).flags(flag::LOADING | flag::STALE),
    cmd("memory|malloc-stats", 2, malloc_stats).tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
    cmd("memory|purge", 2, purge)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    cmd("memory|stats", 2, stats).tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
    cmd("memory|usage", -3, usage).flags(flag::READONLY).keys(&[at(2).flags(key::RO)]),
])];

/// `MEMORY DOCTOR`: outputs memory problems report.
fn doctor(cx: &mut Cx<'_>) -> Outcome {
    const LITTLE: u64 = 5 << 20;
    let stats = cx.tx.stats();
    let peak = cx.tx.get(cx.root).counters.peak_memory.get().to_native();
    let mut report = String::new();
    if stats.used < LITTLE {
        report.push_str(
            "Hi Sam, this instance is empty or is using very little memory, my issues detector \
             can't be used in these conditions. Please, leave for your mission on Earth and fill \
             it with some data. The new Sam and I will be back to our programming as soon as I \
             finished rebooting.\n",
        );
    } else {
        if peak > stats.used + stats.used / 2 {
            report.push_str(
                " * Peak memory: In the past this instance used more than 150% of the memory that \
                 it uses now. What is free has been given back to the system, or will be.\n",
            );
        }
        if Footprint::measure(&cx.tx).fragmentation().ratio > 1.5 {
            report.push_str(match (cx.state.defrag.percent, cx.state.config.activedefrag()) {
                (0, false) => {
                    " * Fragmentation: Less than two thirds of the memory in use holds data. It is \
                     used again for values of similar sizes. MEMORY PURGE gives most of it back, \
                     and so does 'CONFIG SET activedefrag yes' from now on.\n"
                }
                (0, true) => {
                    " * Fragmentation: Less than two thirds of the memory in use holds data. It is \
                     used again for values of similar sizes; most of it will be given back as \
                     soon as that is worth it.\n"
                }
                _ => {
                    " * Fragmentation: Less than two thirds of the memory in use holds data. Values \
                     are being moved, so that the rest can be given back.\n"
                }
            });
        }
        let opening = if report.is_empty() {
            "Hi Sam, I can't find any memory issue in your instance. I can only account for what \
             occurs on this base.\n"
        } else {
            "Sam, I detected a few issues in this instance's memory:\n\n"
        };
        report.insert_str(0, opening);
    }
    cx.reply.verbatim(Format::Text, report.as_bytes());
    Ok(())
}

/// `MEMORY HELP`: show helpful text about the different subcommands.
fn help_text(cx: &mut Cx<'_>) -> Outcome {
    help::reply(&mut cx.reply, "memory");
    Ok(())
}

/// `MEMORY MALLOC-STATS`: show allocator internal stats.
fn malloc_stats(cx: &mut Cx<'_>) -> Outcome {
    let stats = cx.tx.stats();
    let mut text = format!(
        "Arena: {} bytes in use, {} in spans in use, {} spare, {} backed\n\n{:>10} {:>12}\n",
        stats.used, stats.spans, stats.spare, stats.heap, "block size", "blocks"
    );
    for usage in cx.tx.class_usage().iter().filter(|usage| usage.live > 0) {
        text.push_str(&format!("{:>10} {:>12}\n", usage.size, usage.live));
    }
    cx.reply.verbatim(Format::Text, text.as_bytes());
    Ok(())
}

/// `MEMORY PURGE`: ask the allocator to release memory.
fn purge(cx: &mut Cx<'_>) -> Outcome {
    // The next background rounds do it, in steps.
    cx.state.defrag.is_asked_for = true;
    cx.reply.ok();
    Ok(())
}

/// What the server's memory goes into.
struct Usage {
    /// Number, bytes of the table, bytes of expiries: of each database that holds keys.
    databases: Vec<(u32, u64, u64)>,
    keys: u64,
    overhead: u64,
}

impl Usage {
    fn measure(cx: &Cx<'_>) -> Usage {
        // Of so many segments all are looked at, of more only some.
        const SEGMENTS: u64 = 256;
        let mut usage = Usage { databases: Vec::new(), keys: 0, overhead: 0 };
        for index in 0..cx.tx.get(cx.root).database_count.to_native() {
            let database = root::database(&cx.tx, cx.root, index);
            let keys = keyspace::len(&cx.tx, database);
            if keys == 0 {
                continue;
            }
            let table = table::memory(&cx.tx, keyspace::keys(database), SEGMENTS);
            let expiries = keyspace::volatile(&cx.tx, database) * 8;
            usage.databases.push((index, table, expiries));
            usage.keys += keys;
            usage.overhead += table + expiries;
        }
        usage
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// `MEMORY STATS`: show memory usage details.
fn stats(cx: &mut Cx<'_>) -> Outcome {
    let usage = Usage::measure(cx);
    let (stats, footprint) = (cx.tx.stats(), Footprint::measure(&cx.tx));
    let peak = cx.tx.get(cx.root).counters.peak_memory.get().to_native().max(stats.used);
    let data = stats.used.saturating_sub(usage.overhead);
    cx.reply.map(27 + usage.databases.len());
    number(cx, "peak.allocated", peak);
    number(cx, "total.allocated", stats.used);
    // What belongs to sessions is within the data: it is all one arena.
    for name in [
        "startup.allocated",
        "replication.backlog",
        "clients.slaves",
        "clients.normal",
        "cluster.links",
        "aof.buffer",
        "lua.caches",
        "functions.caches",
    ] {
        number(cx, name, 0);
    }
    for (index, table, expiries) in &usage.databases {
        cx.reply.bulk(format!("db.{index}").as_bytes());
        cx.reply.map(3);
        number(cx, "overhead.hashtable.main", *table);
        number(cx, "overhead.hashtable.expires", *expiries);
        number(cx, "overhead.hashtable.slot-to-keys", 0);
    }
    number(cx, "overhead.total", usage.overhead);
    number(cx, "keys.count", usage.keys);
    number(cx, "keys.bytes-per-key", stats.used / usage.keys.max(1));
    number(cx, "dataset.bytes", data);
    double(cx, "dataset.percentage", ratio(data * 100, stats.used));
    double(cx, "peak.percentage", ratio(stats.used * 100, peak));
    number(cx, "allocator.allocated", footprint.allocated);
    number(cx, "allocator.active", footprint.active);
    number(cx, "allocator.resident", footprint.resident);
    for (ratio, bytes, overhead) in [
        (
            "allocator-fragmentation.ratio",
            "allocator-fragmentation.bytes",
            footprint.fragmentation(),
        ),
        ("allocator-rss.ratio", "allocator-rss.bytes", footprint.spare()),
        ("rss-overhead.ratio", "rss-overhead.bytes", footprint.besides()),
        ("fragmentation", "fragmentation.bytes", footprint.whole()),
    ] {
        double(cx, ratio, overhead.ratio);
        cx.reply.bulk(bytes.as_bytes());
        cx.reply.integer(overhead.bytes);
    }
    Ok(())
}

fn number(cx: &mut Cx<'_>, name: &str, value: u64) {
    cx.reply.bulk(name.as_bytes());
    cx.reply.integer(value as i64);
}

fn double(cx: &mut Cx<'_>, name: &str, value: f64) {
    cx.reply.bulk(name.as_bytes());
    cx.reply.double(value);
}

/// `MEMORY USAGE key [SAMPLES count]`: estimate the memory usage of a key.
fn usage(cx: &mut Cx<'_>) -> Outcome {
    /// Of the bucket that leads to the entry.
    const SLOT: u64 = 8;
    const SAMPLES: u64 = 5;
    let (mut at, mut samples) = (3, SAMPLES);
    while at < cx.args.len() {
        if !cx.args.is(at, "SAMPLES") || at + 1 >= cx.args.len() {
            return Err(error::SYNTAX);
        }
        samples = u64::try_from(cx.int_arg(at + 1)?).map_err(|_| error::SYNTAX)?;
        at += 2;
    }
    let key = cx.peek(cx.arg(2))?;
    match &key.found {
        Some(found) => {
            let bytes = SLOT + values::memory(&EntryView::new(&cx.tx, found.entry), samples);
            cx.reply.integer(bytes as i64);
        }
        None => cx.reply.null(),
    }
    Ok(())
}
