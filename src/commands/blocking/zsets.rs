//! Waiting for elements of sorted sets.

use super::seconds_arg;
use crate::commands::zsets::pop::{End, Mpop, Shape, pop};
use crate::executor::{Cx, Fail, Outcome, error};
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
    pop_or_wait(cx, Mpop { keys: 1..timeout, end, count: 1 }, Shape::KeyFlat, deadline)
}

/// `BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]`: remove and return members with
/// scores in a sorted set or block until one is available.
pub(super) fn bzmpop(cx: &mut Cx<'_>) -> Outcome {
    let wanted = Mpop::parse(cx, 2)?;
    let deadline = seconds_arg(cx, 1)?;
    pop_or_wait(cx, wanted, Shape::KeyPairs, deadline)
}

fn pop_or_wait(cx: &mut Cx<'_>, wanted: Mpop, shape: Shape, deadline_ms: Option<i64>) -> Outcome {
    let Mpop { keys, end, count } = wanted;
    for index in keys.clone() {
        let mut key = cx.open(cx.arg(index))?;
        match key.found.map(|found| cx.entry(&found).kind().value_type()) {
            None => {}
            Some(Type::Zset) => return pop(cx, &mut key, end, count, shape),
            Some(_) => return Err(error::WRONG_TYPE),
        }
    }
    super::wait_for(cx, Kind::Zset, keys.map(|index| (index, (0, 0))), deadline_ms)
}

/// Does what a blocked command wants with a sorted set that is there.
pub(super) fn serve<'a>(cx: &mut Cx<'a>, name: &'a [u8]) -> Result<bool, Fail> {
    let (end, count, shape) = match cx.command.full_name {
        "bzpopmin" => (End::Min, 1, Shape::KeyFlat),
        "bzpopmax" => (End::Max, 1, Shape::KeyFlat),
        "bzmpop" => {
            let Mpop { end, count, .. } = Mpop::parse(cx, 2)?;
            (end, count, Shape::KeyPairs)
        }
        // Of another build.
        _ => return Ok(false),
    };
    let mut key = cx.open(name)?;
    pop(cx, &mut key, end, count, shape)?;
    Ok(true)
}
