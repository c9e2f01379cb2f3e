//! Adding members, and changing scores.

use std::collections::HashSet;

use super::*;

/// The options of `ZADD`.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl Options {
    /// Reads the options; gives the number of the first argument that is none.
    fn parse(cx: &Cx<'_>) -> (Options, usize) {
        let mut options = Options::default();
        for at in 2..cx.args.len() {
            let flag = match cx.arg(at) {
                word if word.eq_ignore_ascii_case(b"nx") => &mut options.nx,
                word if word.eq_ignore_ascii_case(b"xx") => &mut options.xx,
                word if word.eq_ignore_ascii_case(b"gt") => &mut options.gt,
                word if word.eq_ignore_ascii_case(b"lt") => &mut options.lt,
                word if word.eq_ignore_ascii_case(b"ch") => &mut options.ch,
                word if word.eq_ignore_ascii_case(b"incr") => &mut options.incr,
                _ => return (options, at),
            };
            *flag = true;
        }
        (options, cx.args.len())
    }

    fn check(&self, pairs: usize) -> Outcome {
        if self.nx && self.xx {
            return Err("ERR XX and NX options at the same time are not compatible".into());
        }
        if (self.gt || self.lt) && self.nx || self.gt && self.lt {
            let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
            return Err(text.into());
        }
        if self.incr && pairs > 1 {
            return Err("ERR INCR option supports a single increment-element pair".into());
        }
        Ok(())
    }
}

/// What came of one pair.
enum Done {
    /// The member is new.
    Added(f64),
    /// The member has another score.
    Updated(f64),
    /// The member had this score already.
    Same(f64),
    /// The options forbid it.
    Nothing,
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]`: add one or more
/// members to a sorted set, or update its score if it already exists.
pub(super) fn zadd(cx: &mut Cx<'_>) -> Outcome {
    let (options, first) = Options::parse(cx);
    add_all(cx, options, first)
}

/// `ZINCRBY key increment member`: increment the score of a member in a sorted set.
pub(super) fn zincrby(cx: &mut Cx<'_>) -> Outcome {
    // As in Redis, an option in place of the increment is read as one: then the rest is no pair.
    let (options, first) = Options::parse(cx);
    add_all(cx, Options { incr: true, ..options }, first)
}

fn add_all(cx: &mut Cx<'_>, options: Options, first: usize) -> Outcome {
    let count = cx.args.len() - first;
    if count == 0 || !count.is_multiple_of(2) {
        return Err(error::SYNTAX);
    }
    options.check(count / 2)?;
    // All scores are read before anything is done.
    let only =
        if cx.args.len() == first + 2 { Some(score(cx.arg(first), NO_SCORE)?) } else { None };
    let mut scores = Vec::new();
    if only.is_none() {
        for at in (first..cx.args.len()).step_by(2) {
            scores.push(score(cx.arg(at), NO_SCORE)?);
        }
    }
    let args = cx.args;
    let scores = only.iter().chain(&scores).copied().enumerate();
    add_each(cx, options, scores.map(|(i, score)| (score, args.at(first + 1 + 2 * i))))
}

/// Adds elements with their scores, as `ZADD` with these options does: for commands that compute the
/// scores.
pub fn add_elements(
    cx: &mut Cx<'_>,
    nx: bool,
    xx: bool,
    ch: bool,
    elements: &[(f64, &[u8])],
) -> Outcome {
    let options = Options { nx, xx, ch, ..Options::default() };
    add_each(cx, options, elements.iter().copied())
}

fn add_each<'b>(
    cx: &mut Cx<'_>,
    options: Options,
    elements: impl Iterator<Item = (f64, &'b [u8])> + Clone,
) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    if let Some(found) = &key.found {
        reader(cx, found)?;
    }
    let (mut added, mut updated, mut result) = (0, 0, None);
    let rest = if !key.exists() && !options.xx && come_as_one(elements.clone()) {
        added = add_whole(cx, &mut key, elements.clone())?;
        None
    } else {
        Some(elements)
    };
    for (i, (score, member)) in rest.into_iter().flatten().enumerate() {
        if i > 0 && !key.exists() {
            // The member before made it.
            key = cx.peek(key.name)?;
        }
        match add_one(cx, &mut key, options, score, member)? {
            Done::Added(score) => (added, result) = (added + 1, Some(score)),
            Done::Updated(score) => (updated, result) = (updated + 1, Some(score)),
            Done::Same(score) => result = Some(score),
            Done::Nothing => {}
        }
    }
    match (options.incr, result) {
        (true, Some(score)) => cx.reply.double(score),
        (true, None) => cx.reply.null(),
        _ => cx.reply.integer(added + if options.ch { updated } else { 0 }),
    }
    if added + updated > 0 {
        cx.changed(key.name)?;
        cx.dirty += (added + updated - 1) as u64;
        cx.notify(class::ZSET, if options.incr { "zincr" } else { "zadd" }, key.name)?;
    }
    Ok(())
}

/// Whether it makes no difference if these are added one after the other or at once: no member comes
/// twice, and no score is -0, of which a packed value keeps the sign or not by what came before.
fn come_as_one<'b>(mut elements: impl Iterator<Item = (f64, &'b [u8])>) -> bool {
    let mut members = HashSet::new();
    let is_minus_zero = |score: f64| score == 0.0 && score.is_sign_negative();
    elements.all(|(score, member)| !is_minus_zero(score) && members.insert(member))
        && members.len() > 1
}

/// Makes a key that is not there of all its elements: a block that is just large enough, and made once.
fn add_whole<'b>(
    cx: &mut Cx<'_>,
    key: &mut Key<'_>,
    elements: impl Iterator<Item = (f64, &'b [u8])>,
) -> Result<i64, Fail> {
    let mut builder = Builder::default();
    elements.for_each(|(score, member)| builder.push(member, score));
    let limits = limits(cx);
    let fresh = builder.create(&mut cx.tx, key.name, None, &limits)?;
    cx.put(key, fresh)?;
    Ok(builder.len() as i64)
}

fn add_one(
    cx: &mut Cx<'_>,
    key: &mut Key<'_>,
    options: Options,
    mut score: f64,
    member: &[u8],
) -> Result<Done, Fail> {
    let limits = limits(cx);
    let Some(found) = &key.found else {
        if options.xx {
            return Ok(Done::Nothing);
        }
        let fresh = zset::create(&mut cx.tx, key.name, member, score, &limits)?;
        cx.put(key, fresh)?;
        return Ok(Done::Added(score));
    };
    let entry = found.entry;
    let spot = zset::locate(&cx.tx, entry, member);
    let Some(old) = spot.score else {
        if options.xx {
            return Ok(Done::Nothing);
        }
        let moved = zset::add(&mut cx.tx, entry, &spot, member, score, &limits)?;
        settle(cx, key, moved)?;
        return Ok(Done::Added(score));
    };
    if options.nx {
        return Ok(Done::Nothing);
    }
    if options.incr {
        score += old;
        if score.is_nan() {
            return Err("ERR resulting score is not a number (NaN)".into());
        }
    }
    if options.lt && score >= old || options.gt && score <= old {
        return Ok(Done::Nothing);
    }
    if score == old {
        return Ok(Done::Same(score));
    }
    let moved = zset::rescore(&mut cx.tx, entry, &spot, member, score)?;
    settle(cx, key, moved)?;
    Ok(Done::Updated(score))
}
