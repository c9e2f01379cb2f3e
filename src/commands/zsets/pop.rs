//! Taking elements from the ends.

use super::remove::remove_ranks;
use super::*;
use crate::commands::arguments::{self, PopFirst};
use crate::keyspace::EntryView;
use crate::proto::reply::{Reply, Sink};

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The lowest scores.
    Min,
    /// The highest.
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

/// Reads `MIN` or `MAX`.
pub fn end_arg(cx: &Cx<'_>, index: usize) -> Result<End, Fail> {
    if cx.args.is(index, "min") {
        Ok(End::Min)
    } else if cx.args.is(index, "max") {
        Ok(End::Max)
    } else {
        Err(error::SYNTAX)
    }
}

/// How elements that are taken are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// member, score, member, score, ... (`ZPOPMIN`).
    Flat,
    /// Arrays of member and score (`ZPOPMIN` with a count in RESP3).
    Pairs,
    /// Key, member, score, in one array (`BZPOPMIN`).
    KeyFlat,
    /// Key, and an array of arrays of member and score (`ZMPOP`, `BZMPOP`).
    KeyPairs,
}

/// `ZPOPMIN key [count]`: remove and return members with the lowest scores in a sorted set.
pub(super) fn zpopmin(cx: &mut Cx<'_>) -> Outcome {
    zpop(cx, End::Min)
}

/// `ZPOPMAX key [count]`: remove and return members with the highest scores in a sorted set.
pub(super) fn zpopmax(cx: &mut Cx<'_>) -> Outcome {
    zpop(cx, End::Max)
}

fn zpop(cx: &mut Cx<'_>, end: End) -> Outcome {
    if cx.args.len() > 3 {
        return Err(error::SYNTAX);
    }
    let count = match cx.args.len() {
        3 => Some(arguments::count(cx, 2)?),
        _ => None,
    };
    let nested = count.is_some() && cx.protocol() == Protocol::Resp3;
    let mut key = cx.open(cx.arg(1))?;
    let exists = reader_of(cx, &key)?.is_some();
    if !exists || count == Some(0) {
        cx.reply.array(0);
        return Ok(());
    }
    let shape = if nested { Shape::Pairs } else { Shape::Flat };
    pop(cx, &mut key, end, count.unwrap_or(1), shape)
}

/// `ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]`: remove and return members with scores
/// in a sorted set.
pub(super) fn zmpop(cx: &mut Cx<'_>) -> Outcome {
    let PopFirst { keys, end, count } = PopFirst::parse(cx, 1, end_arg)?;
    for at in keys {
        let mut key = cx.open(cx.arg(at))?;
        if reader_of(cx, &key)?.is_some() {
            return pop(cx, &mut key, end, count, Shape::KeyPairs);
        }
    }
    cx.reply.null_array();
    Ok(())
}

/// Takes up to `count` elements from one end of a key that is a sorted set, replies with them in that
/// shape, and tells of it; the key goes with its last element. The key is invalid afterwards.
///
/// This is all that `ZPOPMIN` and its like do once they have found a key, so the blocking commands
/// call it as well, whether the key was there at once or became ready later.
pub fn pop(cx: &mut Cx<'_>, key: &mut Key<'_>, end: End, count: u64, shape: Shape) -> Outcome {
    let Some(found) = key.found else { return Ok(()) };
    let len = reader_of(cx, key)?.map_or(0, |zset| zset.len());
    let count = count.min(len);
    start(&mut cx.reply, key.name, count as usize, shape);
    // A client that hears of its own keys gets the event within the reply: Redis tells of it when
    // it has taken the first element.
    cx.notify(class::ZSET, end.event(), key.name)?;
    let entry = EntryView::new(&cx.tx, found.entry);
    let zset = Reader::of(&entry).ok_or(error::WRONG_TYPE)?;
    let reply = &mut cx.reply;
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let first = ranks.start;
    for element in zset.slice(ranks, end == End::Max) {
        if matches!(shape, Shape::Pairs | Shape::KeyPairs) {
            reply.array(2);
        }
        reply.bulk(element.member.text(&mut shm::pack::Digits::new()));
        reply.double(element.score);
    }
    let gone = remove_ranks(cx, key, first, count)?;
    drop_if(cx, key, gone)?;
    cx.changed(key.name)?;
    cx.dirty += count - 1;
    Ok(())
}

/// Begins the reply of a pop that takes so many elements: all that stands before the first one.
fn start<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, key: &[u8], count: usize, shape: Shape) {
    match shape {
        Shape::Flat => reply.array(count * 2),
        Shape::Pairs => reply.array(count),
        Shape::KeyFlat => {
            reply.array(count * 2 + 1);
            reply.bulk(key);
        }
        Shape::KeyPairs => {
            reply.array(2);
            reply.bulk(key);
            reply.array(count);
        }
    }
}
