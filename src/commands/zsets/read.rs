//! Questions about members and numbers of members; random members; iteration.

use shm::pack::{self, Digits};

use super::ranges::{lex_range, score_range};
use super::*;
use crate::commands::arguments::Sample;
use crate::commands::scan::{ElementScan, reply_cursor};
use crate::keyspace::{EntryView, Kind, Type};

/// `ZCARD key`: get the number of members in a sorted set.
pub(super) fn zcard(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let len = reader_of(cx, &key)?.map_or(0, |zset| zset.len());
    cx.reply.integer(len as i64);
    Ok(())
}

/// `ZCOUNT key min max`: count the members in a sorted set with scores within the given values.
pub(super) fn zcount(cx: &mut Cx<'_>) -> Outcome {
    let range = score_range(cx.arg(2), cx.arg(3))?;
    let key = cx.read(cx.arg(1))?;
    let ranks = reader_of(cx, &key)?.map_or(0..0, |zset| zset.by_score(&range));
    cx.reply.integer((ranks.end - ranks.start) as i64);
    Ok(())
}

/// `ZLEXCOUNT key min max`: count the number of members in a sorted set between a given
/// lexicographical range.
pub(super) fn zlexcount(cx: &mut Cx<'_>) -> Outcome {
    let range = lex_range(cx.arg(2), cx.arg(3))?;
    let key = cx.read(cx.arg(1))?;
    let ranks = reader_of(cx, &key)?.map_or(0..0, |zset| zset.by_member(&range));
    cx.reply.integer((ranks.end - ranks.start) as i64);
    Ok(())
}

/// `ZSCORE key member`: get the score associated with the given member in a sorted set.
pub(super) fn zscore(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let score = reader_of(cx, &key)?.and_then(|zset| zset.score(cx.arg(2)));
    match score {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `ZMSCORE key member [member ...]`: get the score associated with the given members in a sorted
/// set.
pub(super) fn zmscore(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    reader_of(cx, &key)?;
    cx.reply.array(cx.args.len() - 2);
    for member in cx.args.from(2) {
        match reader_of(cx, &key)?.and_then(|zset| zset.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// `ZRANK key member`: determine the index of a member in a sorted set.
pub(super) fn zrank(cx: &mut Cx<'_>) -> Outcome {
    rank(cx, false)
}

/// `ZREVRANK key member`: determine the index of a member in a sorted set, with scores ordered from
/// high to low.
pub(super) fn zrevrank(cx: &mut Cx<'_>) -> Outcome {
    rank(cx, true)
}

fn rank(cx: &mut Cx<'_>, reverse: bool) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let zset = reader_of(cx, &key)?;
    let rank = zset.and_then(|zset| {
        let rank = zset.rank(cx.arg(2))?;
        Some(if reverse { zset.len() - 1 - rank } else { rank })
    });
    match rank {
        Some(rank) => cx.reply.integer(rank as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`: get one or multiple random elements from a sorted set.
pub(super) fn zrandmember(cx: &mut Cx<'_>) -> Outcome {
    if cx.args.len() > 2 {
        return random_members(cx);
    }
    let key = cx.read(cx.arg(1))?;
    reader_of(cx, &key)?;
    let Some(found) = &key.found else {
        cx.reply.null();
        return Ok(());
    };
    let random = cx.state.random();
    let entry = EntryView::new(&cx.tx, found.entry);
    match Reader::of(&entry).and_then(|zset| zset.random(random)) {
        Some(element) => reply_element(&mut cx.reply, &element, false),
        None => cx.reply.null(),
    }
    Ok(())
}

fn random_members(cx: &mut Cx<'_>) -> Outcome {
    let Sample { count, repeats, with_more: scores } = Sample::parse(cx, Some("WITHSCORES"))?;
    let key = cx.read(cx.arg(1))?;
    reader_of(cx, &key)?;
    let Some(found) = key.found.filter(|_| count != 0) else {
        cx.reply.array(0);
        return Ok(());
    };
    let Cx { tx, reply, state, .. } = cx;
    let entry = EntryView::new(tx, found.entry);
    let Some(zset) = Reader::of(&entry) else { return Err(error::WRONG_TYPE) };
    if repeats {
        reply_len(reply, count as usize, scores);
        for _ in 0..count {
            if let Some(element) = zset.random(state.random()) {
                reply_element(reply, &element, scores);
            }
            if reply.sink().is_muted() || reply.sink().check().is_err() {
                break;
            }
        }
        return Ok(());
    }
    let len = zset.len();
    reply_len(reply, count.min(len) as usize, scores);
    if count >= len {
        // All of them come in the order in which Redis goes through a sorted set.
        zset.elements_back(len).for_each(|element| reply_element(reply, &element, scores));
        return Ok(());
    }
    for element in zset.sample(count as usize, || state.random()) {
        reply_element(reply, &element, scores);
    }
    Ok(())
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`: incrementally iterate sorted sets elements and
/// associated scores.
pub(super) fn zscan(cx: &mut Cx<'_>) -> Outcome {
    let Some(scan) = ElementScan::parse(cx, Type::Zset)? else { return Ok(()) };
    let entry = cx.entry(&scan.found);
    let zset = Reader::of(&entry).ok_or(error::WRONG_TYPE)?;
    // A listpack's scores are shown as it holds them.
    let stored = entry.kind() == Kind::ZsetPacked;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let cursor = zset.scan(scan.cursor, scan.options.count, |element| {
        let mut digits = Digits::new();
        let member = element.member.text(&mut digits);
        if scan.options.pattern.matches(member) {
            found.push(member.to_vec());
            found.push(score_text(element.score, stored));
        }
    });
    reply_cursor(cx, cursor);
    cx.reply.array(found.len());
    found.iter().for_each(|text| cx.reply.bulk(text));
    Ok(())
}

/// A score as `ZSCAN` shows it.
fn score_text(score: f64, stored: bool) -> Vec<u8> {
    let mut text = Vec::new();
    if stored {
        zset::score::encode(&mut text, score, false);
        return pack::items(&text).next().map(|item| item.to_vec()).unwrap_or_default();
    }
    crate::util::numbers::write_g17(&mut text, score);
    text
}
