//! Commands on whole databases.

use super::not_implemented;
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("dbsize", 1, dbsize)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    cmd("flushall", -1, flushall)
        .flags(flag::WRITE)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    cmd("flushdb", -1, flushdb)
        .flags(flag::WRITE)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    cmd("swapdb", 3, swapdb).flags(flag::WRITE | flag::FAST).acl(acl::KEYSPACE | acl::DANGEROUS),
];

/// `DBSIZE`: return the number of keys in the selected database.
fn dbsize(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `FLUSHALL [ASYNC | SYNC]`: remove all keys from all databases.
fn flushall(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `FLUSHDB [ASYNC | SYNC]`: remove all keys from the current database.
fn flushdb(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SWAPDB index1 index2`: swaps two Redis databases.
fn swapdb(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
