//! Reading lists, and changing them elsewhere than at their ends.

use shm::deque::Direction;
use shm::pack::Item;

use super::{
    changed_by, encoded, len_of, limits, list_of, number_of, range_of, removed_all, reply_item,
    settle,
};
use crate::commands::arguments::at_least;
use crate::executor::events::class;
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace::EntryView;
use crate::values::list::{self, List};

/// An index lies beyond the list.
const OUT_OF_RANGE: &str = "ERR index out of range";

/// `LLEN key`: get the length of a list.
pub(super) fn llen(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let len = len_of(cx, &key)?;
    cx.reply.integer(len as i64);
    Ok(())
}

/// `LINDEX key index`: get an element from a list by its index.
pub(super) fn lindex(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.null();
        return Ok(());
    };
    let entry = EntryView::new(&cx.tx, found.entry);
    let list = List::of(&entry).ok_or(error::WRONG_TYPE)?;
    let index = cx.int_arg(2)?;
    match number_of(index, list.len()).and_then(|number| list.get(number)) {
        Some(item) => reply_item(&mut cx.reply, item),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `LRANGE key start stop`: get a range of elements from a list.
pub(super) fn lrange(cx: &mut Cx<'_>) -> Outcome {
    let (start, stop) = (cx.int_arg(2)?, cx.int_arg(3)?);
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.array(0);
        return Ok(());
    };
    let entry = EntryView::new(&cx.tx, found.entry);
    let list = List::of(&entry).ok_or(error::WRONG_TYPE)?;
    let range = range_of(start, stop, list.len());
    let count = (range.end - range.start) as usize;
    let reply = &mut cx.reply;
    reply.array(count);
    if count > 0 {
        let items = list.walk(range.start, Direction::Forward);
        items.take(count).for_each(|item| reply_item(reply, item));
    }
    Ok(())
}

/// `LTRIM key start stop`: trim a list to the specified range.
pub(super) fn ltrim(cx: &mut Cx<'_>) -> Outcome {
    let (start, stop) = (cx.int_arg(2)?, cx.int_arg(3)?);
    let mut key = cx.open(cx.arg(1))?;
    let len = len_of(cx, &key)?;
    if len == 0 {
        cx.reply.ok();
        return Ok(());
    }
    let kept = range_of(start, stop, len);
    let count = len - (kept.end - kept.start);
    let gone = removed_all(cx, &key, count, len)?;
    if !gone {
        let limits = limits(cx);
        for items in [kept.end..len, 0..kept.start] {
            if let Some(found) = &key.found {
                let moved = list::remove(&mut cx.tx, found.entry, items, &limits);
                settle(cx, &mut key, moved)?;
            }
        }
    }
    cx.notify(class::LIST, "ltrim", key.name)?;
    if gone {
        cx.notify(class::GENERIC, "del", key.name)?;
    }
    changed_by(cx, key.name, count)?;
    cx.reply.ok();
    Ok(())
}

/// `LSET key index element`: set the value of an element in a list by its index.
pub(super) fn lset(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    let list = list_of(cx, &key)?.ok_or(error::NO_KEY)?;
    let index = cx.int_arg(2)?;
    let place = number_of(index, list.len()).and_then(|number| list.locate(number));
    let (Some(place), Some(found)) = (place, &key.found) else { return Err(OUT_OF_RANGE.into()) };
    let (item, limits) = (encoded(cx.arg(3))?, limits(cx));
    let moved = list::replace(&mut cx.tx, found.entry, place, &item, &limits);
    settle(cx, &mut key, moved)?;
    cx.reply.ok();
    cx.changed(key.name)?;
    cx.notify(class::LIST, "lset", key.name)
}

/// `LINSERT key <BEFORE | AFTER> pivot element`: insert an element before or after another element
/// in a list.
pub(super) fn linsert(cx: &mut Cx<'_>) -> Outcome {
    let after = cx.args.is(2, "after");
    if !after && !cx.args.is(2, "before") {
        return Err(error::SYNTAX);
    }
    let mut key = cx.open(cx.arg(1))?;
    let Some(list) = list_of(cx, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let (len, pivot) = (list.len(), Item::of(cx.arg(3)));
    let mut items = list.items();
    let place = std::iter::from_fn(|| items.next_place()).find(|(item, _)| *item == pivot);
    let place = place.map(|(_, place)| if after { list.after(place) } else { place });
    let (Some(place), Some(found)) = (place, &key.found) else {
        cx.reply.integer(-1);
        return Ok(());
    };
    let (item, limits) = (encoded(cx.arg(4))?, limits(cx));
    let moved = list::insert(&mut cx.tx, found.entry, place, &item, &limits);
    settle(cx, &mut key, moved)?;
    cx.changed(key.name)?;
    cx.notify(class::LIST, "linsert", key.name)?;
    cx.reply.integer(len as i64 + 1);
    Ok(())
}

/// `LREM key count element`: remove elements from a list.
pub(super) fn lrem(cx: &mut Cx<'_>) -> Outcome {
    let count = cx.int_arg(2)?;
    let mut key = cx.open(cx.arg(1))?;
    let len = len_of(cx, &key)?;
    let Some(found) = &key.found else {
        cx.reply.integer(0);
        return Ok(());
    };
    let direction = if count < 0 { Direction::Backward } else { Direction::Forward };
    let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let (value, limits) = (cx.arg(3), limits(cx));
    let (removed, moved) =
        list::remove_equal(&mut cx.tx, found.entry, value, direction, most, &limits)?;
    settle(cx, &mut key, Ok(moved))?;
    let gone = removed_all(cx, &key, removed, len)?;
    if removed > 0 {
        changed_by(cx, key.name, removed)?;
        cx.notify(class::LIST, "lrem", key.name)?;
    }
    if gone {
        cx.notify(class::GENERIC, "del", key.name)?;
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

/// The options of `LPOS`.
struct Search {
    /// Which match is the first to be given; the last ones come first if it is negative.
    rank: i64,
    /// Most matches, 0 for all; `None` for one, as a reply of its own.
    count: Option<u64>,
    /// Most elements that are looked at, 0 for all.
    most: u64,
}

impl Search {
    fn parse(cx: &Cx<'_>) -> Result<Search, Fail> {
        let mut search = Search { rank: 1, count: None, most: 0 };
        for at in (3..cx.args.len()).step_by(2) {
            if at + 1 >= cx.args.len() {
                return Err(error::SYNTAX);
            }
            if cx.args.is(at, "rank") {
                search.rank = cx.int_arg(at + 1)?;
                if search.rank == 0 {
                    return Err("ERR RANK can't be zero: use 1 to start from the first match, 2 \
                        from the second ... or use negative to start from the end of the list"
                        .into());
                }
            } else if cx.args.is(at, "count") {
                search.count = Some(at_least(cx, at + 1, 0, "ERR COUNT can't be negative")?);
            } else if cx.args.is(at, "maxlen") {
                search.most = at_least(cx, at + 1, 0, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(error::SYNTAX);
            }
        }
        Ok(search)
    }

    /// The numbers of the items that are equal to a value.
    fn run(&self, list: &List<'_>, value: &[u8]) -> Vec<u64> {
        let (value, len) = (Item::of(value), list.len());
        let look_at = if self.most == 0 { usize::MAX } else { self.most as usize };
        // The smallest rank has no opposite: Redis takes it for -1, and loses count of the matches.
        let is_smallest = self.rank == i64::MIN;
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(_) if is_smallest => usize::MAX,
            Some(count) => count as usize,
        };
        let backward = self.rank < 0;
        let items = match backward {
            false => list.walk(0, Direction::Forward),
            true => list.walk(len - 1, Direction::Backward),
        };
        let matches = items.take(look_at).zip(0..).filter(|(item, _)| *item == value);
        let rank = if is_smallest { 1 } else { self.rank.unsigned_abs() };
        let skipped = (rank - 1) as usize;
        let number = |index: u64| if backward { len - 1 - index } else { index };
        matches.skip(skipped).take(wanted).map(|(_, index)| number(index)).collect()
    }
}

/// `LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]`: return the index of matching
/// elements on a list.
pub(super) fn lpos(cx: &mut Cx<'_>) -> Outcome {
    let search = Search::parse(cx)?;
    let key = cx.read(cx.arg(1))?;
    let found = match list_of(cx, &key)? {
        Some(list) => search.run(&list, cx.arg(2)),
        None => Vec::new(),
    };
    match search.count {
        Some(_) => {
            cx.reply.array(found.len());
            found.iter().for_each(|number| cx.reply.integer(*number as i64));
        }
        None => match found.first() {
            Some(number) => cx.reply.integer(*number as i64),
            None => cx.reply.null(),
        },
    }
    Ok(())
}
