//! Adding and removing at the ends.

use shm::deque::{Direction, End};

use super::{changed_by, len_of, limits, list_of, removed_all, reply_item, settle};
use crate::commands::{arguments, errors};
use crate::executor::events::class;
use crate::executor::{Cx, Fail, Key, Outcome};
use crate::values::list;

/// `LPUSH key element [element ...]`: prepend one or multiple elements to a list.
pub(super) fn lpush(cx: &mut Cx<'_>) -> Outcome {
    push(cx, End::Front, false)
}

/// `RPUSH key element [element ...]`: append one or multiple elements to a list.
pub(super) fn rpush(cx: &mut Cx<'_>) -> Outcome {
    push(cx, End::Back, false)
}

/// `LPUSHX key element [element ...]`: prepend an element to a list, only if the list exists.
pub(super) fn lpushx(cx: &mut Cx<'_>) -> Outcome {
    push(cx, End::Front, true)
}

/// `RPUSHX key element [element ...]`: append an element to a list, only if the list exists.
pub(super) fn rpushx(cx: &mut Cx<'_>) -> Outcome {
    push(cx, End::Back, true)
}

/// The event of an addition at that end.
pub(super) fn push_event(end: End) -> &'static str {
    if end == End::Front { "lpush" } else { "rpush" }
}

/// The event of a removal at that end.
pub(super) fn pop_event(end: End) -> &'static str {
    if end == End::Front { "lpop" } else { "rpop" }
}

/// `LPUSH`, `RPUSH` and, if `only_existing`, `LPUSHX`, `RPUSHX`.
fn push(cx: &mut Cx<'_>, end: End, only_existing: bool) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    list_of(cx, &key)?;
    if only_existing && !key.exists() {
        cx.reply.integer(0);
        return Ok(());
    }
    let values = cx.args.from(2);
    let count = values.len() as u64;
    let len = super::push(cx, &mut key, end, values)?;
    cx.reply.integer(len as i64);
    changed_by(cx, key.name, count)?;
    cx.notify(class::LIST, push_event(end), key.name)
}

/// `LPOP key [count]`: remove and get the first elements in a list.
pub(super) fn lpop(cx: &mut Cx<'_>) -> Outcome {
    pop(cx, End::Front)
}

/// `RPOP key [count]`: remove and get the last elements in a list.
pub(super) fn rpop(cx: &mut Cx<'_>) -> Outcome {
    pop(cx, End::Back)
}

fn pop(cx: &mut Cx<'_>, end: End) -> Outcome {
    if cx.args.len() > 3 {
        return Err(errors::wrong_arity(cx.command).into());
    }
    let count = match cx.args.len() {
        3 => Some(arguments::count(cx, 2)?),
        _ => None,
    };
    let mut key = cx.open(cx.arg(1))?;
    let len = len_of(cx, &key)?;
    match count {
        None if len == 0 => cx.reply.null(),
        None => return pop_one(cx, &mut key, end),
        Some(_) if len == 0 => cx.reply.null_array(),
        Some(0) => cx.reply.array(0),
        Some(count) => return pop_some(cx, &mut key, end, count),
    }
    Ok(())
}

/// Removes the element at one end of a key's list, which has to be there, writes it as a bulk string,
/// and tells whoever wants to know.
pub fn pop_one(cx: &mut Cx<'_>, key: &mut Key<'_>, end: End) -> Outcome {
    write_end(cx, key, end, 1)?;
    removed(cx, key, end, 1)
}

/// Removes up to `count` elements (at least one) at one end of a key's list, which has to be there,
/// writes them as an array in the order of their removal, and tells whoever wants to know.
pub(super) fn pop_some(cx: &mut Cx<'_>, key: &mut Key<'_>, end: End, count: u64) -> Outcome {
    let count = count.min(len_of(cx, key)?);
    cx.reply.array(count as usize);
    write_end(cx, key, end, count)?;
    removed(cx, key, end, count)
}

/// Writes the elements at one end, from that end on.
fn write_end(cx: &mut Cx<'_>, key: &Key<'_>, end: End, count: u64) -> Outcome {
    // Not `list_of`, since the list is read while the reply is written.
    let Some(found) = &key.found else { return Ok(()) };
    let entry = crate::keyspace::EntryView::new(&cx.tx, found.entry);
    let Some(list) = list::List::of(&entry) else { return Ok(()) };
    let items = match end {
        End::Front => list.walk(0, Direction::Forward),
        End::Back => list.walk(list.len() - 1, Direction::Backward),
    };
    let reply = &mut cx.reply;
    items.take(count as usize).for_each(|item| reply_item(reply, item));
    Ok(())
}

/// Removes elements at one end of a key's list, and the key with the last one; tells whoever wants to
/// know.
fn removed(cx: &mut Cx<'_>, key: &mut Key<'_>, end: End, count: u64) -> Outcome {
    let gone = take(cx, key, end, count)?;
    tell_removed(cx, key.name, end, count, gone)
}

/// Removes elements at one end of a key's list, and the key with the last one; says whether it did.
pub(super) fn take(cx: &mut Cx<'_>, key: &mut Key<'_>, end: End, count: u64) -> Result<bool, Fail> {
    let len = len_of(cx, key)?;
    if removed_all(cx, key, count, len)? {
        return Ok(true);
    }
    let Some(found) = &key.found else { return Ok(false) };
    let moved = if count == 1 {
        list::pop(&mut cx.tx, found.entry, end)
    } else {
        let items = if end == End::Front { 0..count } else { len - count..len };
        let limits = limits(cx);
        list::remove(&mut cx.tx, found.entry, items, &limits)
    };
    settle(cx, key, moved)?;
    Ok(false)
}

/// Tells of elements that were removed at one end, and whether the key has gone with them.
pub(super) fn tell_removed(
    cx: &mut Cx<'_>,
    name: &[u8],
    end: End,
    count: u64,
    gone: bool,
) -> Outcome {
    cx.notify(class::LIST, pop_event(end), name)?;
    if gone {
        cx.notify(class::GENERIC, "del", name)?;
    }
    changed_by(cx, name, count)
}
