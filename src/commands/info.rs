//! `INFO`.
//!
//! Fields that describe what hotredis does not have (replicas, snapshots, scripts) are there with
//! the values of a server that does not use them, because tools read them.

mod footprint;
mod sections;

pub use footprint::Footprint;

use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Outcome};
use crate::proto::reply::Format;

/// The version of Redis whose behaviour this server has.
pub const REDIS_VERSION: &str = "7.0.15";

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("info", -1, info)
    .flags(flag::LOADING | flag::STALE)
    .acl(acl::DANGEROUS)
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])];

/// Writes one section's lines.
type Section = fn(&Cx<'_>, &mut String);

/// Every section by the name that asks for it, in the order of the reply; whether it belongs to
/// `INFO` without arguments, and to `INFO all`.
const SECTIONS: &[(&str, &str, Section, bool, bool)] = &[
    ("server", "Server", sections::server, true, true),
    ("clients", "Clients", sections::clients, true, true),
    ("memory", "Memory", sections::memory, true, true),
    ("persistence", "Persistence", sections::persistence, true, true),
    ("stats", "Stats", sections::stats, true, true),
    ("replication", "Replication", sections::replication, true, true),
    ("cpu", "CPU", sections::cpu, true, true),
    ("modules", "Modules", sections::nothing, true, true),
    ("commandstats", "Commandstats", sections::commandstats, false, true),
    ("errorstats", "Errorstats", sections::errorstats, true, true),
    ("latencystats", "Latencystats", sections::nothing, false, true),
    ("cluster", "Cluster", sections::cluster, true, true),
    ("keyspace", "Keyspace", sections::keyspace, true, true),
    ("handoff", "Handoff", sections::handoff, true, true),
];

/// `INFO [section [section ...]]`: get information and statistics about the server.
fn info(cx: &mut Cx<'_>) -> Outcome {
    let mut text = String::new();
    for (name, title, write, by_default, in_all) in SECTIONS {
        let wanted = |word: &[u8]| match word.to_ascii_lowercase().as_slice() {
            b"default" => *by_default,
            b"all" => *in_all,
            b"everything" => true,
            word => word == name.as_bytes(),
        };
        if (cx.args.len() == 1 && *by_default) || cx.args.from(1).any(wanted) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str(&format!("# {title}\r\n"));
            write(cx, &mut text);
        }
    }
    cx.reply.verbatim(Format::Text, text.as_bytes());
    Ok(())
}
