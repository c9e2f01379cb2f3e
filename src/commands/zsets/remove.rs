//! Removing members by name, rank, score and bytes.

use std::ops::Range;

use super::ranges::{lex_range, rank_range, score_range};
use super::*;

/// `ZREM key member [member ...]`: remove one or more members from a sorted set.
pub(super) fn zrem(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    if let Some(found) = &key.found {
        reader(cx, found)?;
    }
    let mut removed = 0;
    for member in cx.args.from(2) {
        let Some(found) = &key.found else { break };
        let entry = found.entry;
        let spot = zset::locate(&cx.tx, entry, member);
        if spot.score.is_none() {
            continue;
        }
        removed += 1;
        let moved = zset::remove(&mut cx.tx, entry, &spot, member)?;
        settle(cx, &mut key, moved)?;
        if reader_of(cx, &key)?.is_some_and(|zset| zset.is_empty()) {
            return finish(cx, &key, removed, true, "zrem");
        }
    }
    finish(cx, &key, removed, false, "zrem")
}

/// Replies with the number of elements that were removed, and tells of it; if all are `gone`, the key
/// goes.
fn finish(cx: &mut Cx<'_>, key: &Key<'_>, removed: u64, gone: bool, event: &str) -> Outcome {
    if removed > 0 {
        cx.notify(class::ZSET, event, key.name)?;
        drop_if(cx, key, gone)?;
        cx.changed(key.name)?;
        cx.dirty += removed - 1;
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`: remove all members in a sorted set within the given indexes.
pub(super) fn zremrangebyrank(cx: &mut Cx<'_>) -> Outcome {
    let (start, stop) = (cx.int_arg(2)?, cx.int_arg(3)?);
    remove_range(cx, "zremrangebyrank", |zset| rank_range(zset.len(), start, stop))
}

/// `ZREMRANGEBYSCORE key min max`: remove all members in a sorted set within the given scores.
pub(super) fn zremrangebyscore(cx: &mut Cx<'_>) -> Outcome {
    let range = score_range(cx.arg(2), cx.arg(3))?;
    remove_range(cx, "zremrangebyscore", |zset| zset.by_score(&range))
}

/// `ZREMRANGEBYLEX key min max`: remove all members in a sorted set between the given
/// lexicographical range.
pub(super) fn zremrangebylex(cx: &mut Cx<'_>) -> Outcome {
    let range = lex_range(cx.arg(2), cx.arg(3))?;
    remove_range(cx, "zremrangebylex", |zset| zset.by_member(&range))
}

fn remove_range(
    cx: &mut Cx<'_>,
    event: &str,
    ranks: impl FnOnce(&Reader<'_>) -> Range<u64>,
) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    let Some(zset) = reader_of(cx, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let ranks = ranks(&zset);
    let removed = ranks.end.saturating_sub(ranks.start);
    let gone = remove_ranks(cx, &mut key, ranks.start, removed)?;
    finish(cx, &key, removed, gone, event)
}

/// Removes elements that are there. True if that is all there are: then nothing was done, and the caller
/// deletes the key, which takes no longer for many.
pub(super) fn remove_ranks(
    cx: &mut Cx<'_>,
    key: &mut Key<'_>,
    rank: u64,
    count: u64,
) -> Result<bool, Fail> {
    let len = reader_of(cx, key)?.map_or(0, |zset| zset.len());
    if count == len {
        return Ok(len > 0);
    }
    if let Some(found) = key.found.as_ref().filter(|_| count > 0) {
        let moved = zset::remove_ranks(&mut cx.tx, found.entry, rank, count)?;
        settle(cx, key, moved)?;
    }
    Ok(false)
}
