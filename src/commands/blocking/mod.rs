//! Commands that wait: for elements of lists and sorted sets, for replicas.
//!
//! A command that finds nothing blocks its session ([`Cx::block`]), unless it is queued in a `MULTI`,
//! where it behaves as if its time were up at once. Once a key is ready, [`serve`] does for the blocked
//! client what the command would have done: the command's arguments are those it was given.

mod lists;
mod streams;
mod zsets;

use std::ops::Range;

use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Key, Outcome};
use crate::keyspace::Type;
use crate::session::waits::{Kind, Wanted};
use crate::util::extended::Extended;
use crate::util::numbers::string2ll;
use crate::values::stream::Id;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("blmove", 6, lists::blmove)
        .flags(flag::WRITE | flag::DENYOOM | flag::NOSCRIPT | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[
            at(1).flags(key::RW | key::ACCESS | key::DELETE),
            at(2).flags(key::RW | key::INSERT),
        ]),
    cmd("blmpop", -5, lists::blmpop)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[at(2).counted(0, 1, 1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("blpop", -3, lists::blpop)
        .flags(flag::WRITE | flag::NOSCRIPT | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[at(1).to(-2, 1, 0).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("brpop", -3, lists::brpop)
        .flags(flag::WRITE | flag::NOSCRIPT | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[at(1).to(-2, 1, 0).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("brpoplpush", 4, lists::brpoplpush)
        .flags(flag::WRITE | flag::DENYOOM | flag::NOSCRIPT | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[
            at(1).flags(key::RW | key::ACCESS | key::DELETE),
            at(2).flags(key::RW | key::INSERT),
        ]),
    cmd("bzmpop", -5, zsets::bzmpop)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::SORTEDSET)
        .keys(&[at(2).counted(0, 1, 1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("bzpopmax", -3, zsets::bzpopmax)
        .flags(flag::WRITE | flag::NOSCRIPT | flag::BLOCKING | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).to(-2, 1, 0).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("bzpopmin", -3, zsets::bzpopmin)
        .flags(flag::WRITE | flag::NOSCRIPT | flag::BLOCKING | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).to(-2, 1, 0).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("wait", 3, wait)
        .flags(flag::NOSCRIPT)
        .acl(acl::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];

/// Serves a blocked client, whose command `cx` has, with what there is at a key: it holds a value of
/// the type that the client waits for. `after` is what the place in the key's queue says of streams.
/// False, and nothing has happened, if there is nothing for it.
pub fn serve<'a>(
    cx: &mut Cx<'a>,
    kind: Kind,
    key: &'a [u8],
    after: (u64, u64),
) -> Result<bool, Fail> {
    match kind {
        Kind::Stream | Kind::Group => {
            let after = Id { ms: after.0, seq: after.1 };
            streams::serve(cx, key, after)
        }
        Kind::List => lists::serve(cx, key),
        Kind::Zset => zsets::serve(cx, key),
        Kind::Replicas => Ok(false),
    }
}

/// The first of some keys, which are arguments of these numbers, that is there; an error if it holds
/// another type than wanted.
fn first_there<'a>(
    cx: &mut Cx<'a>,
    keys: Range<usize>,
    wanted: Type,
) -> Result<Option<Key<'a>>, Fail> {
    for index in keys {
        let key = cx.open_as(cx.arg(index), wanted)?;
        if key.exists() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Has the client wait for keys, which are arguments of these numbers (with the ids behind which
/// entries are wanted, of streams): to be called when none of them has anything. In a `MULTI` its time
/// is up at once.
pub fn wait_for(
    cx: &mut Cx<'_>,
    kind: Kind,
    keys: impl Iterator<Item = (usize, (u64, u64))>,
    deadline_ms: Option<i64>,
) -> Outcome {
    if cx.in_exec {
        cx.reply.null_array();
        return Ok(());
    }
    let keys: Vec<Wanted<'_>> =
        keys.map(|(index, after)| Wanted { key: cx.arg(index), after }).collect();
    cx.block(kind, &keys, deadline_ms)
}

/// Reads a time-out in seconds: when it is over, in milliseconds since the epoch; `None` for never.
pub fn seconds_arg(cx: &Cx<'_>, index: usize) -> Result<Option<i64>, Fail> {
    let seconds = Extended::parse(cx.arg(index));
    let seconds = seconds.ok_or("ERR timeout is not a float or out of range")?;
    deadline(cx, seconds.thousandfold())
}

/// Reads a time-out in milliseconds, as [`seconds_arg`] does.
pub fn milliseconds_arg(cx: &Cx<'_>, index: usize) -> Result<Option<i64>, Fail> {
    let given = string2ll(cx.arg(index)).ok_or("ERR timeout is not an integer or out of range")?;
    deadline(cx, given)
}

/// When a time-out that is given now is over, in milliseconds since the epoch; `None` for never.
pub fn deadline(cx: &Cx<'_>, milliseconds: i64) -> Result<Option<i64>, Fail> {
    match milliseconds {
        ..0 => Err("ERR timeout is negative".into()),
        0 => Ok(None),
        // Redis waits forever if the sum overflows.
        _ => Ok(Some(cx.now_ms().saturating_add(milliseconds))),
    }
}

/// `WAIT numreplicas timeout`: wait for the synchronous replication of all the write commands sent
/// in the context of the current connection.
///
/// There are no replicas: who wants any waits for nothing else than the time-out.
fn wait(cx: &mut Cx<'_>) -> Outcome {
    let replicas = cx.int_arg(1)?;
    let deadline = milliseconds_arg(cx, 2)?;
    if replicas > 0 && !cx.in_exec {
        return cx.block(Kind::Replicas, &[], deadline);
    }
    cx.reply.integer(0);
    Ok(())
}
