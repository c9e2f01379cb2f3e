//! Unions, intersections and differences of sorted sets and sets.

use std::collections::HashMap;

use shm::pack::{Digits, Item};

use super::*;
use crate::commands::arguments::at_least;
use crate::keyspace::EntryView;
use crate::values::set::Set;

/// `ZUNION numkeys key [key ...] [WEIGHTS weight [WEIGHTS weight ...]] [AGGREGATE <SUM | MIN |
/// MAX>] [WITHSCORES]`: add multiple sorted sets.
pub(super) fn zunion(cx: &mut Cx<'_>) -> Outcome {
    combine(cx, Operation::Union)
}

/// `ZINTER numkeys key [key ...] [WEIGHTS weight [WEIGHTS weight ...]] [AGGREGATE <SUM | MIN |
/// MAX>] [WITHSCORES]`: intersect multiple sorted sets.
pub(super) fn zinter(cx: &mut Cx<'_>) -> Outcome {
    combine(cx, Operation::Inter)
}

/// `ZDIFF numkeys key [key ...] [WITHSCORES]`: subtract multiple sorted sets.
pub(super) fn zdiff(cx: &mut Cx<'_>) -> Outcome {
    combine(cx, Operation::Diff)
}

/// `ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [WEIGHTS weight ...]] [AGGREGATE
/// <SUM | MIN | MAX>]`: add multiple sorted sets and store the resulting sorted set in a new key.
pub(super) fn zunionstore(cx: &mut Cx<'_>) -> Outcome {
    combine_and_store(cx, Operation::Union, "zunionstore")
}

/// `ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [WEIGHTS weight ...]] [AGGREGATE
/// <SUM | MIN | MAX>]`: intersect multiple sorted sets and store the resulting sorted set in a new
/// key.
pub(super) fn zinterstore(cx: &mut Cx<'_>) -> Outcome {
    combine_and_store(cx, Operation::Inter, "zinterstore")
}

/// `ZDIFFSTORE destination numkeys key [key ...]`: subtract multiple sorted sets and store the
/// resulting sorted set in a new key.
pub(super) fn zdiffstore(cx: &mut Cx<'_>) -> Outcome {
    combine_and_store(cx, Operation::Diff, "zdiffstore")
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`: intersect multiple sorted sets and return the
/// cardinality of the result.
pub(super) fn zintercard(cx: &mut Cx<'_>) -> Outcome {
    let request = Request::parse(cx, 1, Operation::Inter, Purpose::Count)?;
    let limit = if request.limit == 0 { u64::MAX } else { request.limit };
    let sources = request.sources(cx);
    let mut count = 0;
    intersect(&sources, request.aggregate, |_, _| {
        count += 1;
        count < limit
    });
    cx.reply.integer(count as i64);
    Ok(())
}

fn combine(cx: &mut Cx<'_>, operation: Operation) -> Outcome {
    let request = Request::parse(cx, 1, operation, Purpose::Reply)?;
    let mut result = request.result(cx, operation);
    reply_len(&mut cx.reply, result.len(), request.scores);
    for (member, score) in result.sorted() {
        let member = Item::Bytes(member);
        reply_element(&mut cx.reply, &Element { member, score: *score }, request.scores);
    }
    Ok(())
}

fn combine_and_store(cx: &mut Cx<'_>, operation: Operation, event: &str) -> Outcome {
    let request = Request::parse(cx, 2, operation, Purpose::Store)?;
    let mut result = request.result(cx, operation);
    store(cx, cx.arg(1), &mut result, event)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result; it decides which options there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

/// What becomes of several scores of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(word: &[u8]) -> Option<Aggregate> {
        let named = [(Aggregate::Sum, "sum"), (Aggregate::Min, "min"), (Aggregate::Max, "max")];
        let named = named.into_iter().find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(aggregate, _)| aggregate)
    }

    fn join(self, old: f64, new: f64) -> f64 {
        match self {
            // Infinities of both signs make 0, as Redis has it.
            Aggregate::Sum => not_nan(old + new),
            Aggregate::Min => {
                if new < old {
                    new
                } else {
                    old
                }
            }
            Aggregate::Max => {
                if new > old {
                    new
                } else {
                    old
                }
            }
        }
    }
}

fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// The arguments from the number of keys on.
struct Request {
    /// Entries with their weights; null if the key is not there.
    inputs: Vec<(shm::Off<Entry>, f64)>,
    aggregate: Aggregate,
    scores: bool,
    /// 0 for none.
    limit: u64,
}

impl Request {
    /// Reads the arguments from the one of number `numkeys` on, and looks the keys up.
    fn parse(
        cx: &mut Cx<'_>,
        numkeys: usize,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Request, Fail> {
        let count = cx.int_arg(numkeys)?;
        if count < 1 {
            let name = cx.command.full_name;
            return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
        }
        let first = numkeys + 1;
        let end = usize::try_from(count).ok().and_then(|count| count.checked_add(first));
        let end = end.filter(|end| *end <= cx.args.len()).ok_or(error::SYNTAX)?;
        let mut inputs = Vec::new();
        for at in first..end {
            let key = cx.read(cx.arg(at))?;
            let entry = key.found.map_or(shm::Off::NULL, |found| found.entry);
            if !entry.is_null() && Source::of(&EntryView::new(&cx.tx, entry)).is_none() {
                return Err(error::WRONG_TYPE);
            }
            inputs.push((entry, 1.0));
        }
        let mut request = Request { inputs, aggregate: Aggregate::Sum, scores: false, limit: 0 };
        request.options(cx, end, operation, purpose)?;
        Ok(request)
    }

    fn options(
        &mut self,
        cx: &Cx<'_>,
        mut at: usize,
        operation: Operation,
        purpose: Purpose,
    ) -> Outcome {
        let weighed = operation != Operation::Diff && purpose != Purpose::Count;
        while at < cx.args.len() {
            let behind = cx.args.len() - at - 1;
            if weighed && behind >= self.inputs.len() && cx.args.is(at, "weights") {
                for (input, text) in self.inputs.iter_mut().zip(cx.args.from(at + 1)) {
                    input.1 = score(text, "ERR weight value is not a float")?;
                }
                at += self.inputs.len();
            } else if weighed && behind >= 1 && cx.args.is(at, "aggregate") {
                self.aggregate = Aggregate::of(cx.arg(at + 1)).ok_or(error::SYNTAX)?;
                at += 1;
            } else if purpose == Purpose::Reply && cx.args.is(at, "withscores") {
                self.scores = true;
            } else if purpose == Purpose::Count && behind >= 1 && cx.args.is(at, "limit") {
                self.limit = at_least(cx, at + 1, 0, "ERR LIMIT can't be negative")?;
                at += 1;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        Ok(())
    }

    /// What is to be combined, in the order of the arguments.
    fn sources<'c>(&self, cx: &'c Cx<'_>) -> Vec<(Source<'c>, f64)> {
        let source = |entry: shm::Off<Entry>| match entry.is_null() {
            true => Source::Nothing,
            false => Source::of(&EntryView::new(&cx.tx, entry)).unwrap_or(Source::Nothing),
        };
        self.inputs.iter().map(|(entry, weight)| (source(*entry), *weight)).collect()
    }

    fn result(&self, cx: &Cx<'_>, operation: Operation) -> Builder {
        let sources = self.sources(cx);
        let mut result = Builder::default();
        match operation {
            Operation::Union => unite(&sources, self.aggregate, &mut result),
            Operation::Inter => intersect(&sources, self.aggregate, |member, score| {
                result.push(member, score);
                true
            }),
            Operation::Diff => subtract(&sources, &mut result),
        }
        result
    }
}

/// One of the inputs.
enum Source<'a> {
    /// A key that is not there.
    Nothing,
    /// A sorted set.
    Zset(Reader<'a>),
    /// A set, whose members all have the score 1.
    Set(Set<'a>),
}

impl<'a> Source<'a> {
    /// The input that an entry is, if it can be one.
    fn of(entry: &EntryView<'a>) -> Option<Source<'a>> {
        Reader::of(entry).map(Source::Zset).or_else(|| Set::of(entry).map(Source::Set))
    }

    fn len(&self) -> u64 {
        match self {
            Source::Nothing => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Nothing => None,
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(Item::of(member)).then_some(1.0),
        }
    }

    /// Calls `each` with members and scores until it says no.
    fn try_each(&self, mut each: impl FnMut(&[u8], f64) -> bool) {
        match self {
            Source::Nothing => {}
            Source::Zset(zset) => {
                let mut digits = Digits::new();
                zset.elements(0).all(|it| each(it.member.text(&mut digits), it.score));
            }
            Source::Set(set) => {
                let mut digits = Digits::new();
                set.members().all(|member| each(member.text(&mut digits), 1.0));
            }
        }
    }
}

/// The smallest come first, as the order in which scores are added up matters.
fn by_size<'s, 'a>(sources: &'s [(Source<'a>, f64)]) -> Vec<&'s (Source<'a>, f64)> {
    let mut sources: Vec<_> = sources.iter().collect();
    sources.sort_by_key(|(source, _)| source.len());
    sources
}

fn unite(sources: &[(Source<'_>, f64)], aggregate: Aggregate, result: &mut Builder) {
    let mut scores: HashMap<Box<[u8]>, f64> = HashMap::new();
    for (source, weight) in by_size(sources) {
        source.try_each(|member, score| {
            let score = not_nan(score * weight);
            match scores.get_mut(member) {
                Some(old) => *old = aggregate.join(*old, score),
                None => drop(scores.insert(member.into(), score)),
            }
            true
        });
    }
    scores.into_iter().for_each(|(member, score)| result.push(&member, score));
}

/// Calls `each` with what is in all sources, until it says no.
fn intersect(
    sources: &[(Source<'_>, f64)],
    aggregate: Aggregate,
    mut each: impl FnMut(&[u8], f64) -> bool,
) {
    let sources = by_size(sources);
    let Some(((first, weight), others)) = sources.split_first() else { return };
    first.try_each(|member, score| {
        let mut score = not_nan(score * weight);
        for (other, weight) in others {
            let Some(more) = other.score(member) else { return true };
            score = aggregate.join(score, more * weight);
        }
        each(member, score)
    });
}

fn subtract(sources: &[(Source<'_>, f64)], result: &mut Builder) {
    let Some(((first, _), others)) = sources.split_first() else { return };
    first.try_each(|member, score| {
        if others.iter().all(|(other, _)| other.score(member).is_none()) {
            result.push(member, score);
        }
        true
    });
}
