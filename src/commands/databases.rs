//! Commands on whole databases.

use super::arguments::{self, NO_DATABASE};
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace;
use crate::root;
use crate::session::{tracking, watch};
use crate::util::numbers::string2ll;

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
fn dbsize(cx: &mut Cx<'_>) -> Outcome {
    let keys = keyspace::len(&cx.tx, cx.database);
    cx.reply.integer(keys as i64);
    Ok(())
}

/// `FLUSHALL [ASYNC | SYNC]`: remove all keys from all databases.
fn flushall(cx: &mut Cx<'_>) -> Outcome {
    check_flush_options(cx)?;
    for index in 0..cx.tx.get(cx.root).database_count.to_native() {
        flush(cx, index)?;
    }
    tracking::flushed(&mut cx.tx, cx.state, cx.root)?;
    cx.reply.ok();
    Ok(())
}

/// `FLUSHDB [ASYNC | SYNC]`: remove all keys from the current database.
fn flushdb(cx: &mut Cx<'_>) -> Outcome {
    check_flush_options(cx)?;
    flush(cx, cx.database_index)?;
    tracking::flushed(&mut cx.tx, cx.state, cx.root)?;
    cx.reply.ok();
    Ok(())
}

/// `ASYNC` and `SYNC` are the same: what is removed is taken apart in small steps later.
fn check_flush_options(cx: &Cx<'_>) -> Outcome {
    match cx.args.len() {
        1 => Ok(()),
        2 if cx.args.is(1, "SYNC") || cx.args.is(1, "ASYNC") => Ok(()),
        _ => Err(error::SYNTAX),
    }
}

fn flush(cx: &mut Cx<'_>, index: u32) -> Outcome {
    let database = root::database(&cx.tx, cx.root, index);
    cx.dirty += keyspace::len(&cx.tx, database);
    cx.note_replaced(index, None)?;
    watch::database_flushed(&mut cx.tx, cx.root, index)?;
    keyspace::clear(&mut cx.tx, database)?;
    Ok(())
}

/// `SWAPDB index1 index2`: swaps two Redis databases.
fn swapdb(cx: &mut Cx<'_>) -> Outcome {
    let first = database_number(cx, 1, "ERR invalid first DB index")?;
    let second = database_number(cx, 2, "ERR invalid second DB index")?;
    let (one, first) = arguments::database_of(cx, first).ok_or(NO_DATABASE)?;
    let (other, second) = arguments::database_of(cx, second).ok_or(NO_DATABASE)?;
    if first != second {
        cx.note_replaced(one, Some(other))?;
        cx.note_replaced(other, Some(one))?;
        watch::databases_swapped(&mut cx.tx, cx.root, one, other)?;
        keyspace::swap(&mut cx.tx, first, second)?;
        cx.note_filled(one)?;
        cx.note_filled(other)?;
    }
    cx.dirty += 1;
    cx.reply.ok();
    Ok(())
}

fn database_number(cx: &Cx<'_>, index: usize, wrong: &'static str) -> Result<i32, Fail> {
    let number = string2ll(cx.arg(index)).and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| wrong.into())
}
