//! Transactions.

use super::not_implemented;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("discard", 1, discard)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION),
    cmd("exec", 1, exec)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_SLOWLOG)
        .acl(acl::TRANSACTION),
    cmd("multi", 1, multi)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION),
    cmd("unwatch", 1, unwatch)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION),
    cmd("watch", -2, watch)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .acl(acl::TRANSACTION)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RO)]),
];

/// `DISCARD`: discard all commands issued after MULTI.
fn discard(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `EXEC`: execute all commands issued after MULTI.
fn exec(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MULTI`: mark the start of a transaction block.
fn multi(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `UNWATCH`: forget about all watched keys.
fn unwatch(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `WATCH key [key ...]`: watch the given keys to determine execution of the MULTI/EXEC block.
fn watch(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// Whether a command runs at once in `MULTI` instead of being queued.
pub fn runs_at_once(command: &crate::commands::table::Command) -> bool {
    matches!(command.full_name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

/// Queues the command in `cx.args`.
pub fn queue(cx: &mut Cx<'_>) -> Outcome {
    let _ = cx;
    not_implemented()
}

/// Whether a queued command needs memory (`denyoom`).
pub fn queue_needs_memory(cx: &Cx<'_>) -> bool {
    let _ = cx;
    false
}

/// Whether a queued command writes.
pub fn queue_writes(cx: &Cx<'_>) -> bool {
    let _ = cx;
    false
}
