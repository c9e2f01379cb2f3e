//! `COMMAND`: the table, as clients see it.

use super::command_replies as replies;
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Fail, Outcome};

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
fn count(cx: &mut Cx<'_>) -> Outcome {
    replies::count(&mut cx.reply);
    Ok(())
}

/// `COMMAND DOCS [command-name [command-name ...]]`: get array of specific Redis command
/// documentation.
fn docs(cx: &mut Cx<'_>) -> Outcome {
    let names: Vec<&[u8]> = cx.args.from(2).collect();
    replies::docs(&mut cx.reply, &names);
    Ok(())
}

/// `COMMAND GETKEYS`: extract keys given a full Redis command.
fn getkeys(cx: &mut Cx<'_>) -> Outcome {
    let argv: Vec<&[u8]> = cx.args.from(2).collect();
    replies::get_keys(&mut cx.reply, &argv, false).map_err(refused)?;
    Ok(())
}

/// `COMMAND GETKEYSANDFLAGS`: extract keys and access flags given a full Redis command.
fn getkeysandflags(cx: &mut Cx<'_>) -> Outcome {
    let argv: Vec<&[u8]> = cx.args.from(2).collect();
    replies::get_keys(&mut cx.reply, &argv, true).map_err(refused)?;
    Ok(())
}

/// `COMMAND HELP`: show helpful text about the different subcommands.
fn help(cx: &mut Cx<'_>) -> Outcome {
    super::help::reply(&mut cx.reply, "command");
    Ok(())
}

/// `COMMAND INFO [command-name [command-name ...]]`: get array of specific Redis command details,
/// or all when no argument is given.
fn info(cx: &mut Cx<'_>) -> Outcome {
    let names: Vec<&[u8]> = cx.args.from(2).collect();
    replies::info(&mut cx.reply, &names);
    Ok(())
}

/// `COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]`: get an array
/// of Redis command names.
fn list(cx: &mut Cx<'_>) -> Outcome {
    let filter: Vec<&[u8]> = cx.args.from(2).collect();
    replies::list(&mut cx.reply, &filter).map_err(refused)?;
    Ok(())
}

/// `COMMAND`: return an array with details about all commands.
fn command(cx: &mut Cx<'_>) -> Outcome {
    replies::all(&mut cx.reply);
    Ok(())
}

fn refused(reason: replies::Refused) -> Fail {
    format!("ERR {reason}").into()
}
