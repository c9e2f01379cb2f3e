//! `COMMAND`: the table, as clients see it.

use super::not_implemented;
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("command", -1, command)
    .flags(flag::LOADING | flag::STALE)
    .acl(acl::CONNECTION)
    .tips(&["nondeterministic_output_order"])
    .subcommands(&[
        cmd("command|count", 2, count).flags(flag::LOADING | flag::STALE).acl(acl::CONNECTION),
        cmd("command|docs", -2, docs)
            .flags(flag::LOADING | flag::STALE)
            .acl(acl::CONNECTION)
            .tips(&["nondeterministic_output_order"]),
        cmd("command|getkeys", -4, getkeys).flags(flag::LOADING | flag::STALE).acl(acl::CONNECTION),
        cmd("command|getkeysandflags", -4, getkeysandflags)
            .flags(flag::LOADING | flag::STALE)
            .acl(acl::CONNECTION),
        cmd("command|help", 2, help).flags(flag::LOADING | flag::STALE).acl(acl::CONNECTION),
        cmd("command|info", -2, info)
            .flags(flag::LOADING | flag::STALE)
            .acl(acl::CONNECTION)
            .tips(&["nondeterministic_output_order"]),
        cmd("command|list", -2, list)
            .flags(flag::LOADING | flag::STALE)
            .acl(acl::CONNECTION)
            .tips(&["nondeterministic_output_order"]),
    ])];

/// `COMMAND COUNT`: get total number of Redis commands.
fn count(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND DOCS [command-name [command-name ...]]`: get array of specific Redis command
/// documentation.
fn docs(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND GETKEYS`: extract keys given a full Redis command.
fn getkeys(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND GETKEYSANDFLAGS`: extract keys and access flags given a full Redis command.
fn getkeysandflags(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND HELP`: show helpful text about the different subcommands.
fn help(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND INFO [command-name [command-name ...]]`: get array of specific Redis command details,
/// or all when no argument is given.
fn info(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]`: get an array
/// of Redis command names.
fn list(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `COMMAND`: return an array with details about all commands.
fn command(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
