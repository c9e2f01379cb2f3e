//! Ranges by rank, score and bytes: reading them, storing them.

use std::ops::Range;

use super::*;
use crate::keyspace::EntryView;
use crate::util::numbers::strtod;
use crate::values::zset::{LexBound, LexRange, ScoreRange};

/// By what a range is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What a command's name says already.
#[derive(Debug, Clone, Copy)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`: return a
/// range of members in a sorted set.
pub(super) fn zrange(cx: &mut Cx<'_>) -> Outcome {
    range(cx, Fixed { by: None, reverse: None })
}

/// `ZREVRANGE key start stop [WITHSCORES]`: return a range of members in a sorted set, by index,
/// with scores ordered from high to low.
pub(super) fn zrevrange(cx: &mut Cx<'_>) -> Outcome {
    range(cx, Fixed { by: Some(By::Rank), reverse: Some(true) })
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`: return a range of members in a
/// sorted set, by score.
pub(super) fn zrangebyscore(cx: &mut Cx<'_>) -> Outcome {
    range(cx, Fixed { by: Some(By::Score), reverse: Some(false) })
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`: return a range of members in a
/// sorted set, by score, with scores ordered from high to low.
pub(super) fn zrevrangebyscore(cx: &mut Cx<'_>) -> Outcome {
    range(cx, Fixed { by: Some(By::Score), reverse: Some(true) })
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`: return a range of members in a sorted set, by
/// lexicographical range.
pub(super) fn zrangebylex(cx: &mut Cx<'_>) -> Outcome {
    range(cx, Fixed { by: Some(By::Lex), reverse: Some(false) })
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`: return a range of members in a sorted set, by
/// lexicographical range, ordered from higher to lower strings.
pub(super) fn zrevrangebylex(cx: &mut Cx<'_>) -> Outcome {
    range(cx, Fixed { by: Some(By::Lex), reverse: Some(true) })
}

fn range(cx: &mut Cx<'_>, fixed: Fixed) -> Outcome {
    let request = Request::parse(cx, 1, fixed, false)?;
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.array(0);
        return Ok(());
    };
    let entry = EntryView::new(&cx.tx, found.entry);
    let zset = Reader::of(&entry).ok_or(error::WRONG_TYPE)?;
    let ranks = request.ranks(&zset);
    let reply = &mut cx.reply;
    reply_len(reply, ranks.end.saturating_sub(ranks.start) as usize, request.scores);
    for element in zset.slice(ranks, request.reverse) {
        reply_element(reply, &element, request.scores);
    }
    Ok(())
}

/// `ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]`: store a range of
/// members from sorted set into another key.
pub(super) fn zrangestore(cx: &mut Cx<'_>) -> Outcome {
    let request = Request::parse(cx, 2, Fixed { by: None, reverse: None }, true)?;
    let source = cx.read(cx.arg(2))?;
    let mut builder = Builder::default();
    let limits = limits(cx);
    if let Some(zset) = reader_of(cx, &source)? {
        let ranks = request.ranks(&zset);
        let by_rank = matches!(request.which, Which::Ranks(..));
        // Redis adds one element after the other, to a listpack at first, which takes the sign from a
        // zero.
        let mut packed = !by_rank || ranks.end.saturating_sub(ranks.start) <= limits.entries;
        for element in zset.slice(ranks, request.reverse) {
            let mut digits = shm::pack::Digits::new();
            let member = element.member.text(&mut digits);
            packed &=
                builder.len() < limits.entries as usize && member.len() as u64 <= limits.value;
            builder.push(member, if packed { element.score + 0.0 } else { element.score });
        }
    }
    store(cx, cx.arg(1), &mut builder, "zrangestore")
}

/// Which elements.
enum Which<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// The arguments behind the key.
struct Request<'a> {
    which: Which<'a>,
    reverse: bool,
    scores: bool,
    offset: i64,
    limit: i64,
}

impl<'a> Request<'a> {
    /// Reads the arguments behind the one of number `source`, the key of the sorted set.
    fn parse(cx: &Cx<'a>, source: usize, fixed: Fixed, store: bool) -> Result<Request<'a>, Fail> {
        let Fixed { mut by, mut reverse } = fixed;
        let (mut offset, mut limit, mut scores) = (0, -1, false);
        let mut at = source + 3;
        while at < cx.args.len() {
            if !store && cx.args.is(at, "withscores") {
                scores = true;
            } else if cx.args.is(at, "limit") && at + 2 < cx.args.len() {
                (offset, limit) = (cx.int_arg(at + 1)?, cx.int_arg(at + 2)?);
                at += 2;
            } else if reverse.is_none() && cx.args.is(at, "rev") {
                reverse = Some(true);
            } else if by.is_none() && cx.args.is(at, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && cx.args.is(at, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            let text = "ERR syntax error, LIMIT is only supported in combination with either \
                        BYSCORE or BYLEX";
            return Err(text.into());
        }
        if scores && by == By::Lex {
            let text = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
            return Err(text.into());
        }
        // Backwards, the upper end comes first.
        let (min, max) = match reverse {
            true => (cx.arg(source + 2), cx.arg(source + 1)),
            false => (cx.arg(source + 1), cx.arg(source + 2)),
        };
        let which = match by {
            By::Rank => Which::Ranks(cx.int_arg(source + 1)?, cx.int_arg(source + 2)?),
            By::Score => Which::Scores(score_range(min, max)?),
            By::Lex => Which::Members(lex_range(min, max)?),
        };
        Ok(Request { which, reverse, scores, offset, limit })
    }

    /// The ranks of the elements that are asked for, counted from the lowest.
    fn ranks(&self, zset: &Reader<'_>) -> Range<u64> {
        let all = match &self.which {
            Which::Ranks(start, stop) => {
                let len = zset.len();
                let ranks = rank_range(len, *start, *stop);
                return if self.reverse { len - ranks.end..len - ranks.start } else { ranks };
            }
            Which::Scores(range) => zset.by_score(range),
            Which::Members(range) => zset.by_member(range),
        };
        // A negative offset leads behind the end, a negative limit is none.
        let count = all.end - all.start;
        let skip = u64::try_from(self.offset).unwrap_or(u64::MAX).min(count);
        let take = u64::try_from(self.limit).unwrap_or(u64::MAX).min(count - skip);
        match self.reverse {
            true => all.end - skip - take..all.end - skip,
            false => all.start + skip..all.start + skip + take,
        }
    }
}

/// The ranks from `start` to `stop`, both included, and counted from the end if negative.
pub(super) fn rank_range(len: u64, start: i64, stop: i64) -> Range<u64> {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(len - 1);
    if start > stop { 0..0 } else { start as u64..stop as u64 + 1 }
}

/// Reads a range of scores.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, Fail> {
    let bound = |text: &[u8]| {
        let (beside, number) = match text {
            [b'(', number @ ..] => (true, number),
            number => (false, number),
        };
        let number = strtod(number).filter(|number| !number.is_nan());
        number.map(|number| (number, beside)).ok_or(Fail::from("ERR min or max is not a float"))
    };
    let ((min, above_min), (max, below_max)) = (bound(min)?, bound(max)?);
    Ok(ScoreRange { min, max, above_min, below_max })
}

/// Reads a range of members.
pub(super) fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Fail> {
    fn bound(text: &[u8]) -> Result<LexBound<'_>, Fail> {
        match text {
            // As for Redis, a NUL ends the text.
            [b'-'] | [b'-', 0, ..] => Ok(LexBound::First),
            [b'+'] | [b'+', 0, ..] => Ok(LexBound::Last),
            [b'[', member @ ..] => Ok(LexBound::At(member)),
            [b'(', member @ ..] => Ok(LexBound::Beside(member)),
            _ => Err("ERR min or max not valid string range item".into()),
        }
    }
    Ok(LexRange { min: bound(min)?, max: bound(max)? })
}
