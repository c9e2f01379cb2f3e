//! Iterating over the keys of a database.

use super::not_implemented;
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("keys", 2, keys)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    cmd("scan", -2, scan)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special"]),
];

/// `KEYS pattern`: find all keys matching the given pattern.
fn keys(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`: incrementally iterate the keys space.
fn scan(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
