//! Moving elements between lists, and taking them from the first of several.

pub use shm::deque::End;

use super::ends::{pop_some, push_event, take, tell_removed};
use super::{changed_by, len_of, list_of};
use crate::commands::arguments::PopFirst;
use crate::executor::events::class;
use crate::executor::{Cx, Fail, Key, Outcome, error};

/// `RPOPLPUSH source destination`: remove the last element in a list, prepend it to another list
/// and return it.
pub(super) fn rpoplpush(cx: &mut Cx<'_>) -> Outcome {
    move_or_null(cx, End::Back, End::Front)
}

/// `LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>`: pop an element from a list, push it to
/// another list and return it.
pub(super) fn lmove(cx: &mut Cx<'_>) -> Outcome {
    let (from, to) = (end_arg(cx, 3)?, end_arg(cx, 4)?);
    move_or_null(cx, from, to)
}

/// Reads `LEFT` or `RIGHT`.
pub fn end_arg(cx: &Cx<'_>, index: usize) -> Result<End, Fail> {
    if cx.args.is(index, "left") {
        Ok(End::Front)
    } else if cx.args.is(index, "right") {
        Ok(End::Back)
    } else {
        Err(error::SYNTAX)
    }
}

fn move_or_null(cx: &mut Cx<'_>, from: End, to: End) -> Outcome {
    let (source, destination) = (cx.arg(1), cx.arg(2));
    if !move_one(cx, source, destination, from, to)? {
        cx.reply.null();
    }
    Ok(())
}

/// Moves the element at one end of a list to an end of another (or the same) one, which is made if it is
/// not there, writes it as a bulk string, and tells whoever wants to know. False, and nothing is
/// written, if the source is not there; an error if either holds something else.
pub fn move_one<'a>(
    cx: &mut Cx<'a>,
    source: &'a [u8],
    destination: &'a [u8],
    from: End,
    to: End,
) -> Result<bool, Fail> {
    let key = cx.open(source)?;
    if list_of(cx, &key)?.is_none() {
        return Ok(false);
    }
    let target = cx.open(destination)?;
    list_of(cx, &target)?;
    // The second look-up may have removed a key that had expired.
    let mut key = cx.peek(source)?;
    let value = {
        let list = list_of(cx, &key)?;
        let index = |len: u64| if from == End::Front { 0 } else { len - 1 };
        list.and_then(|list| list.get(index(list.len()))).map(|item| item.to_vec())
    };
    let Some(value) = value else { return Ok(false) };
    let is_alone = len_of(cx, &key)? == 1;
    let mut gone = false;
    if source != destination {
        gone = take(cx, &mut key, from, 1)?;
        let mut target = cx.peek(destination)?;
        super::push(cx, &mut target, to, std::iter::once(value.as_slice()))?;
    } else if !is_alone {
        take(cx, &mut key, from, 1)?;
        super::push(cx, &mut key, to, std::iter::once(value.as_slice()))?;
    }
    changed_by(cx, destination, 0)?;
    cx.notify(class::LIST, push_event(to), destination)?;
    cx.reply.bulk(&value);
    tell_removed(cx, source, from, 1, gone)?;
    Ok(true)
}

/// `LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]`: pop elements from a list.
pub(super) fn lmpop(cx: &mut Cx<'_>) -> Outcome {
    let PopFirst { keys, end, count } = PopFirst::parse(cx, 1, end_arg)?;
    for index in keys {
        let mut key = cx.open(cx.arg(index))?;
        if len_of(cx, &key)? > 0 {
            return pop_with_key(cx, &mut key, end, count);
        }
    }
    cx.reply.null_array();
    Ok(())
}

/// Removes up to `count` elements at one end of a key's list, which has to be there, and writes an array
/// of the key's name and the array of the elements; tells whoever wants to know.
pub fn pop_with_key(cx: &mut Cx<'_>, key: &mut Key<'_>, end: End, count: u64) -> Outcome {
    cx.reply.array(2);
    cx.reply.bulk(key.name);
    pop_some(cx, key, end, count)
}
