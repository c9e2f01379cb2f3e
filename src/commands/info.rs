//! `INFO`.

use super::not_implemented;
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The version of Redis whose behaviour this server has.
pub const REDIS_VERSION: &str = "7.0.15";

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("info", -1, info)
    .flags(flag::LOADING | flag::STALE)
    .acl(acl::DANGEROUS)
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])];

/// `INFO [section [section ...]]`: get information and statistics about the server.
fn info(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
