//! Waiting for elements of lists.

use super::{first_there, seconds_arg};
use crate::commands::arguments::PopFirst;
use crate::commands::lists::{End, end_arg, move_one, pop_one, pop_with_key};
use crate::executor::{Cx, Fail, Key, Outcome};
use crate::keyspace::Type;
use crate::session::waits::Kind;

/// `BLPOP key [key ...] timeout`: remove and get the first element in a list, or block until one is
/// available.
pub(super) fn blpop(cx: &mut Cx<'_>) -> Outcome {
    pop_first(cx, End::Front)
}

/// `BRPOP key [key ...] timeout`: remove and get the last element in a list, or block until one is
/// available.
pub(super) fn brpop(cx: &mut Cx<'_>) -> Outcome {
    pop_first(cx, End::Back)
}

fn pop_first(cx: &mut Cx<'_>, end: End) -> Outcome {
    let timeout = cx.args.len() - 1;
    let deadline = seconds_arg(cx, timeout)?;
    let keys = 1..timeout;
    match first_there(cx, keys.clone(), Type::List)? {
        Some(key) => pop_named(cx, key, end),
        None => wait(cx, keys, deadline),
    }
}

/// `BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]`: pop elements from a list,
/// or block until one is available.
pub(super) fn blmpop(cx: &mut Cx<'_>) -> Outcome {
    let PopFirst { keys, end, count } = PopFirst::parse(cx, 2, end_arg)?;
    let deadline = seconds_arg(cx, 1)?;
    match first_there(cx, keys.clone(), Type::List)? {
        Some(mut key) => pop_with_key(cx, &mut key, end, count),
        None => wait(cx, keys, deadline),
    }
}

/// `BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout`: pop an element from a list,
/// push it to another list and return it; or block until one is available.
pub(super) fn blmove(cx: &mut Cx<'_>) -> Outcome {
    let (from, to) = (end_arg(cx, 3)?, end_arg(cx, 4)?);
    move_or_wait(cx, from, to, 5)
}

/// `BRPOPLPUSH source destination timeout`: pop an element from a list, push it to another list and
/// return it; or block until one is available.
pub(super) fn brpoplpush(cx: &mut Cx<'_>) -> Outcome {
    move_or_wait(cx, End::Back, End::Front, 3)
}

fn move_or_wait(cx: &mut Cx<'_>, from: End, to: End, timeout: usize) -> Outcome {
    let deadline = seconds_arg(cx, timeout)?;
    let (source, destination) = (cx.arg(1), cx.arg(2));
    if move_one(cx, source, destination, from, to)? {
        return Ok(());
    }
    if cx.in_exec {
        cx.reply.null();
        return Ok(());
    }
    wait(cx, 1..2, deadline)
}

fn wait(cx: &mut Cx<'_>, keys: std::ops::Range<usize>, deadline_ms: Option<i64>) -> Outcome {
    super::wait_for(cx, Kind::List, keys.map(|index| (index, (0, 0))), deadline_ms)
}

/// Replies with a key's name and the element at one end of its list.
fn pop_named(cx: &mut Cx<'_>, mut key: Key<'_>, end: End) -> Outcome {
    cx.reply.array(2);
    cx.reply.bulk(key.name);
    pop_one(cx, &mut key, end)
}

/// Does what a blocked command wants with a list that is there.
pub(super) fn serve<'a>(cx: &mut Cx<'a>, name: &'a [u8]) -> Result<bool, Fail> {
    match cx.command.full_name {
        "blpop" => {
            let key = cx.open(name)?;
            pop_named(cx, key, End::Front)?;
        }
        "brpop" => {
            let key = cx.open(name)?;
            pop_named(cx, key, End::Back)?;
        }
        "blmpop" => {
            let PopFirst { end, count, .. } = PopFirst::parse(cx, 2, end_arg)?;
            let mut key = cx.open(name)?;
            pop_with_key(cx, &mut key, end, count)?;
        }
        "blmove" => {
            let (from, to) = (end_arg(cx, 3)?, end_arg(cx, 4)?);
            return move_one(cx, name, cx.arg(2), from, to);
        }
        "brpoplpush" => return move_one(cx, name, cx.arg(2), End::Back, End::Front),
        // Of another build.
        _ => return Ok(false),
    }
    Ok(true)
}
