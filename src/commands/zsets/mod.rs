//! Sorted sets.

pub mod add;
pub mod combine;
pub mod pop;
pub mod ranges;
pub mod read;
pub mod remove;

use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Key, Outcome, class, error};
use crate::keyspace::{Entry, Found};
use crate::proto::reply::{Protocol, Reply, Sink};
use crate::util::numbers::{string2d, string2ll};
use crate::values::zset::{self, Builder, Element, Limits, Reader};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("zadd", -4, add::zadd)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("zincrby", 4, add::zincrby)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("zrem", -3, remove::zrem)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("zcard", 2, read::zcard)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO)]),
    cmd("zcount", 4, read::zcount)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zlexcount", 4, read::zlexcount)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zscore", 3, read::zscore)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zmscore", -3, read::zmscore)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrank", 3, read::zrank)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrevrank", 3, read::zrevrank)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrange", -4, ranges::zrange)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrangestore", -5, ranges::zrangestore)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::OW | key::UPDATE), at(2).flags(key::RO | key::ACCESS)]),
    cmd("zrangebyscore", -4, ranges::zrangebyscore)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrevrangebyscore", -4, ranges::zrevrangebyscore)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrangebylex", -4, ranges::zrangebylex)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrevrangebylex", -4, ranges::zrevrangebylex)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zrevrange", -4, ranges::zrevrange)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("zremrangebyrank", 4, remove::zremrangebyrank)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("zremrangebyscore", 4, remove::zremrangebyscore)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("zremrangebylex", 4, remove::zremrangebylex)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("zpopmin", -2, pop::zpopmin)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("zpopmax", -2, pop::zpopmax)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("zmpop", -4, pop::zmpop)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).counted(0, 1, 1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("zunion", -3, combine::zunion)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).counted(0, 1, 1).flags(key::RO | key::ACCESS)]),
    cmd("zinter", -3, combine::zinter)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).counted(0, 1, 1).flags(key::RO | key::ACCESS)]),
    cmd("zdiff", -3, combine::zdiff)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).counted(0, 1, 1).flags(key::RO | key::ACCESS)]),
    cmd("zunionstore", -4, combine::zunionstore)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[
            at(1).flags(key::OW | key::UPDATE),
            at(2).counted(0, 1, 1).flags(key::RO | key::ACCESS),
        ]),
    cmd("zinterstore", -4, combine::zinterstore)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[
            at(1).flags(key::OW | key::UPDATE),
            at(2).counted(0, 1, 1).flags(key::RO | key::ACCESS),
        ]),
    cmd("zdiffstore", -4, combine::zdiffstore)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[
            at(1).flags(key::OW | key::UPDATE),
            at(2).counted(0, 1, 1).flags(key::RO | key::ACCESS),
        ]),
    cmd("zintercard", -3, combine::zintercard)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).counted(0, 1, 1).flags(key::RO | key::ACCESS)]),
    cmd("zrandmember", -2, read::zrandmember)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
    cmd("zscan", -3, read::zscan)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
];

/// The sorted set of a key that is there.
#[inline]
fn reader<'c>(cx: &'c Cx<'_>, found: &Found) -> Result<Reader<'c>, Fail> {
    Reader::of(&cx.entry(found)).ok_or(error::WRONG_TYPE)
}

/// The sorted set of a key, if the key is there.
#[inline]
fn reader_of<'c>(cx: &'c Cx<'_>, key: &Key<'_>) -> Result<Option<Reader<'c>>, Fail> {
    key.found.as_ref().map(|found| reader(cx, found)).transpose()
}

/// The limits of the encoding, as configured.
#[inline]
pub fn limits(cx: &Cx<'_>) -> Limits {
    let config = &cx.state.config;
    Limits { entries: config.zset_max_listpack_entries(), value: config.zset_max_listpack_value() }
}

/// Reads a score, as `ZADD` takes it.
#[inline]
fn score(text: &[u8], refusal: &'static str) -> Result<f64, Fail> {
    /// Integers of so many digits are doubles.
    const DIGITS: usize = 15;
    if text.len() <= DIGITS
        && let Some(number) = string2ll(text)
    {
        return Ok(number as f64);
    }
    string2d(text).ok_or(refusal.into())
}

/// A score that an argument should have been.
const NO_SCORE: &str = "ERR value is not a valid float";

/// Puts an entry, which a change made anew, in the place of the key's.
#[inline]
fn settle(cx: &mut Cx<'_>, key: &mut Key<'_>, moved: Option<shm::Off<Entry>>) -> Outcome {
    moved.map_or(Ok(()), |moved| cx.exchange(key, moved))
}

/// Stores elements as a key's value, whatever was there, and replies with their number; without any the
/// key is deleted. `event` is the event of a key that was stored.
pub(super) fn store<'a>(
    cx: &mut Cx<'a>,
    name: &'a [u8],
    builder: &mut Builder,
    event: &str,
) -> Outcome {
    if builder.is_empty() {
        cx.reply.integer(0);
        cx.delete_target(name)?;
        return Ok(());
    }
    let key = cx.peek(name)?;
    let limits = limits(cx);
    let fresh = builder.create(&mut cx.tx, name, None, &limits)?;
    cx.put(&key, fresh)?;
    cx.changed(name)?;
    cx.reply.integer(builder.len() as i64);
    cx.notify(class::ZSET, event, name)
}

/// After elements were removed: removes the key if all are `gone`, with its event. The key is invalid
/// afterwards.
fn drop_if(cx: &mut Cx<'_>, key: &Key<'_>, gone: bool) -> Outcome {
    let Some(found) = key.found.as_ref().filter(|_| gone) else { return Ok(()) };
    cx.delete(found)?;
    cx.notify(class::GENERIC, "del", key.name)
}

/// Begins an array of elements, with or without their scores.
#[inline]
fn reply_len<S: Sink>(reply: &mut Reply<'_, S>, elements: usize, scores: bool) {
    let flat = scores && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { elements * 2 } else { elements });
}

/// Replies with an element: its member, or in RESP3 an array of both, or in RESP2 one behind the
/// other.
#[inline]
fn reply_element<S: Sink>(reply: &mut Reply<'_, S>, element: &Element<'_>, scores: bool) {
    if scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(element.member.text(&mut shm::pack::Digits::new()));
    if scores {
        reply.double(element.score);
    }
}

#[cfg(test)]
mod tests;
