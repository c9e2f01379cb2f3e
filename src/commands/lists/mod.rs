//! Lists.

mod ends;
mod moving;
mod within;

pub use ends::pop_one;
pub use moving::{End, end_arg, move_one, pop_with_key};

use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Key, Outcome, error};
use crate::proto::reply::{Reply, Sink};
use crate::values::list::{self, Limits, List, Moved};
use shm::deque;
use shm::pack::{self, Item};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("lindex", 3, within::lindex)
        .flags(flag::READONLY)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("linsert", 5, within::linsert)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("llen", 2, within::llen)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RO)]),
    cmd("lmove", 5, moving::lmove).flags(flag::WRITE | flag::DENYOOM).acl(acl::LIST).keys(&[
        at(1).flags(key::RW | key::ACCESS | key::DELETE),
        at(2).flags(key::RW | key::INSERT),
    ]),
    cmd("lmpop", -4, moving::lmpop)
        .flags(flag::WRITE)
        .acl(acl::LIST)
        .keys(&[at(1).counted(0, 1, 1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("lpop", -2, ends::lpop)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("lpos", -3, within::lpos)
        .flags(flag::READONLY)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("lpush", -3, ends::lpush)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("lpushx", -3, ends::lpushx)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("lrange", 4, within::lrange)
        .flags(flag::READONLY)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("lrem", 4, within::lrem)
        .flags(flag::WRITE)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("lset", 4, within::lset)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("ltrim", 4, within::ltrim)
        .flags(flag::WRITE)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("rpop", -2, ends::rpop)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("rpoplpush", 3, moving::rpoplpush).flags(flag::WRITE | flag::DENYOOM).acl(acl::LIST).keys(
        &[at(1).flags(key::RW | key::ACCESS | key::DELETE), at(2).flags(key::RW | key::INSERT)],
    ),
    cmd("rpush", -3, ends::rpush)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("rpushx", -3, ends::rpushx)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
];

/// The list of a key, `None` if the key is not there; an error if it holds something else.
#[inline]
fn list_of<'c>(cx: &'c Cx<'_>, key: &Key<'_>) -> Result<Option<List<'c>>, Fail> {
    match &key.found {
        None => Ok(None),
        Some(found) => List::of(&cx.entry(found)).map(Some).ok_or(error::WRONG_TYPE),
    }
}

/// Number of items of a key's list, 0 if the key is not there; an error if it holds something else.
#[inline]
fn len_of(cx: &Cx<'_>, key: &Key<'_>) -> Result<u64, Fail> {
    Ok(list_of(cx, key)?.map_or(0, |list| list.len()))
}

/// What `list-max-listpack-size` says.
#[inline]
fn limits(cx: &Cx<'_>) -> Limits {
    Limits::of(cx.state.config.list_max_listpack_size())
}

/// Takes over what a change of a key's list has made anew.
#[inline(always)]
fn settle(cx: &mut Cx<'_>, key: &mut Key<'_>, moved: Moved) -> Outcome {
    match moved? {
        Some(entry) => cx.exchange(key, entry),
        None => Ok(()),
    }
}

/// Appends a value to a run of items.
#[inline]
fn encode(run: &mut Vec<u8>, value: &[u8]) -> Outcome {
    if value.len() > pack::BYTES_MAX {
        return Err(Fail::Oom);
    }
    pack::encode(run, value);
    Ok(())
}

/// One value as an item.
fn encoded(value: &[u8]) -> Result<Vec<u8>, Fail> {
    let mut run = Vec::with_capacity(value.len() + 11);
    encode(&mut run, value)?;
    Ok(run)
}

/// Writes an item.
#[inline(always)]
fn reply_item<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, item: Item<'_>) {
    match item {
        Item::Int(number) => reply.bulk_integer(number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// The number of the item that an index means, which counts from the end if it is negative; `None` if it
/// lies before the first item. It may lie behind the last one.
fn number_of(index: i64, len: u64) -> Option<u64> {
    if index < 0 { len.checked_sub(index.unsigned_abs()) } else { Some(index as u64) }
}

/// The numbers of the items from one index to another, both included.
fn range_of(start: i64, stop: i64, len: u64) -> std::ops::Range<u64> {
    let start = number_of(start, len).unwrap_or(0);
    let end = number_of(stop, len).map_or(0, |stop| (stop.saturating_add(1)).min(len));
    if start < end { start..end } else { 0..0 }
}

/// After items of a key's list were removed: removes the key if all were. Says whether it did.
fn removed_all(cx: &mut Cx<'_>, key: &Key<'_>, count: u64, len: u64) -> Result<bool, Fail> {
    let (true, Some(found)) = (count == len, &key.found) else { return Ok(false) };
    cx.delete(found)?;
    Ok(true)
}

/// [`Cx::changed`], where Redis counts so many changes to the data set.
fn changed_by(cx: &mut Cx<'_>, name: &[u8], count: u64) -> Outcome {
    let before = cx.dirty;
    cx.changed(name)?;
    cx.dirty = before + count;
    Ok(())
}

/// Encodes values for one end of a list, in the order in which the list will have them.
fn encode_all<'v>(
    values: impl DoubleEndedIterator<Item = &'v [u8]>,
    end: deque::End,
) -> Result<Vec<u8>, Fail> {
    let mut run = Vec::with_capacity(64);
    match end {
        deque::End::Back => values.into_iter().try_for_each(|value| encode(&mut run, value))?,
        deque::End::Front => values.rev().try_for_each(|value| encode(&mut run, value))?,
    }
    Ok(run)
}

/// Adds values, of which there is at least one, at one end of a key's list, which is made if it is not
/// there. The key must not hold something else. Gives the new number of items. Tells nobody.
fn push<'v>(
    cx: &mut Cx<'_>,
    key: &mut Key<'_>,
    end: deque::End,
    values: impl ExactSizeIterator<Item = &'v [u8]> + DoubleEndedIterator,
) -> Result<u64, Fail> {
    let (count, limits) = (values.len(), limits(cx));
    let run = encode_all(values, end)?;
    let Some(found) = &key.found else {
        let fresh = list::create(&mut cx.tx, key.name, None, &run, count, &limits)?;
        cx.put(key, fresh)?;
        return Ok(count as u64);
    };
    let old = list::len(&cx.tx, found.entry);
    let moved = list::extend(&mut cx.tx, found.entry, end, &run, count, &limits);
    settle(cx, key, moved)?;
    Ok(old + count as u64)
}

#[cfg(test)]
mod tests;
