//! `CONFIG`: reading and changing directives.

use super::not_implemented;
use super::spec::{CommandSpec, cmd, container, flag};
use crate::config::ConfigValues;
use crate::executor::{Cx, Outcome};
use crate::proto::reply::{Reply, Sink};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("config", -2).subcommands(&[
    cmd("config|get", -3, get).flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("config|help", 2, help).flags(flag::LOADING | flag::STALE),
    cmd("config|resetstat", 2, resetstat)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("config|rewrite", 2, rewrite)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("config|set", -4, set)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
])];

/// `CONFIG GET parameter [parameter ...]`: get the values of configuration parameters.
fn get(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CONFIG HELP`: show helpful text about the different subcommands.
fn help(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CONFIG RESETSTAT`: reset the stats returned by INFO.
fn resetstat(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CONFIG REWRITE`: rewrite the configuration file with the in memory configuration.
fn rewrite(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CONFIG SET parameter value [parameter value ...]`: set configuration parameters to the given
/// values.
fn set(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// Answers `CONFIG GET pattern ...`.
pub fn reply_matching<S: Sink + ?Sized>(
    reply: &mut Reply<'_, S>,
    values: &ConfigValues,
    patterns: &[&[u8]],
) {
    let found = values.matching(patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
}
