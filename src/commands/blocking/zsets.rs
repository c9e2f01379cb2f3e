//! Waiting for elements of sorted sets.

use super::{first_there, seconds_arg};
use crate::commands::arguments::PopFirst;
use crate::commands::zsets::pop::{End, Shape, end_arg, pop};
use crate::executor::{Cx, Fail, Outcome};
use crate::keyspace::Type;
use crate::session::waits::Kind;

/// `BZPOPMIN key [key ...] timeout`: remove and return the member with the lowest score from one or
/// more sorted sets, or block until one is available.
pub(super) fn bzpopmin(cx: &mut Cx<'_>) -> Outcome {
    pop_first(cx, End::Min)
}

/// `BZPOPMAX key [key ...] timeout`: remove and return the member with the highest score from one
/// or more sorted sets, or block until one is available.
pub(super) fn bzpopmax(cx: &mut Cx<'_>) -> Outcome {
    pop_first(cx, End::Max)
}

fn pop_first(cx: &mut Cx<'_>, end: End) -> Outcome {
    let timeout = cx.args.len() - 1;
    let deadline = seconds_arg(cx, timeout)?;
    pop_or_wait(cx, PopFirst { keys: 1..timeout, end, count: 1 }, Shape::KeyFlat, deadline)
}

/// `BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]`: remove and return members with
/// scores in a sorted set or block until one is available.
pub(super) fn bzmpop(cx: &mut Cx<'_>) -> Outcome {
    let wanted = PopFirst::parse(cx, 2, end_arg)?;
    let deadline = seconds_arg(cx, 1)?;
    pop_or_wait(cx, wanted, Shape::KeyPairs, deadline)
}

fn pop_or_wait(
    cx: &mut Cx<'_>,
    wanted: PopFirst<End>,
    shape: Shape,
    deadline_ms: Option<i64>,
) -> Outcome {
    let PopFirst { keys, end, count } = wanted;
    if let Some(mut key) = first_there(cx, keys.clone(), Type::Zset)? {
        return pop(cx, &mut key, end, count, shape);
    }
    super::wait_for(cx, Kind::Zset, keys.map(|index| (index, (0, 0))), deadline_ms)
}

/// Does what a blocked command wants with a sorted set that is there.
pub(super) fn serve<'a>(cx: &mut Cx<'a>, name: &'a [u8]) -> Result<bool, Fail> {
    let (end, count, shape) = match cx.command.full_name {
        "bzpopmin" => (End::Min, 1, Shape::KeyFlat),
        "bzpopmax" => (End::Max, 1, Shape::KeyFlat),
        "bzmpop" => {
            let PopFirst { end, count, .. } = PopFirst::parse(cx, 2, end_arg)?;
            (end, count, Shape::KeyPairs)
        }
        // Of another build.
        _ => return Ok(false),
    };
    let mut key = cx.open(name)?;
    pop(cx, &mut key, end, count, shape)?;
    Ok(true)
}
