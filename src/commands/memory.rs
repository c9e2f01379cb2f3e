//! `MEMORY`.

use super::not_implemented;
use super::spec::{CommandSpec, at, cmd, container, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("memory", -2).subcommands(&[
    cmd("memory|doctor", 2, doctor).tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
    cmd("memory|help", 2, help).flags(flag::LOADING | flag::STALE),
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
fn doctor(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MEMORY HELP`: show helpful text about the different subcommands.
fn help(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MEMORY MALLOC-STATS`: show allocator internal stats.
fn malloc_stats(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MEMORY PURGE`: ask the allocator to release memory.
fn purge(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MEMORY STATS`: show memory usage details.
fn stats(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MEMORY USAGE key [SAMPLES count]`: estimate the memory usage of a key.
fn usage(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
