//! Entries: adding, deleting, and reading those of a range.

use shm::Off;

use super::{arguments, reply, stream_of};
use crate::commands::errors::wrong_arity;
use crate::executor::{Cx, Fail, Key, Outcome, class, error};
use crate::values::stream::id::Given;
use crate::values::stream::{self, Counts, Id, Stream, change, entries};

/// `XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value
/// [field value ...]`: appends a new entry to a stream.
pub fn xadd(cx: &mut Cx<'_>) -> Outcome {
    let options = arguments::Options::parse(cx, true)?;
    let fields = cx.args.from(options.end + 1);
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity(cx.command).into());
    }
    if options.given == Some(Given::Full(Id::MIN)) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let key = cx.open(cx.arg(1))?;
    let stream = match stream_of(cx, &key)? {
        Some(stream) => stream,
        None if options.no_stream => {
            cx.reply.null();
            return Ok(());
        }
        None => create(cx, &key)?,
    };
    let last = stream::counts(&cx.tx, stream).last;
    if last == Id::MAX {
        return Err(
            "ERR The stream has exhausted the last possible ID, unable to add more items".into()
        );
    }
    if options.given == Some(Given::Milliseconds(last.ms)) && last.seq == u64::MAX {
        // Redis's own words for it.
        return Err(arguments::TOO_LARGE.into());
    }
    let now = u64::try_from(cx.now_ms()).unwrap_or(0);
    let id = change::next_id(last, options.given, now).ok_or(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    )?;
    arguments::check_size(fields.clone().map(|text| text.len() as u64).sum())?;
    let limits = arguments::limits(cx);
    change::append(&mut cx.tx, stream, limits, id, fields)?;
    reply::id(&mut cx.reply, id);
    cx.changed(key.name)?;
    cx.notify(class::STREAM, "xadd", key.name)?;
    if let Some(trim) = options.trim(limits)
        && change::trim(&mut cx.tx, stream, trim)? > 0
    {
        cx.notify(class::STREAM, "xtrim", key.name)?;
    }
    cx.key_ready(key.name)
}

/// Makes an empty stream of a key that is not there.
pub(super) fn create(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<Off<Stream>, Fail> {
    let (fresh, stream) = stream::create(&mut cx.tx, key.name, None)?;
    cx.put(key, fresh)?;
    Ok(stream)
}

/// `XDEL key id [id ...]`: removes the specified entries from the stream. Returns the number of
/// items actually deleted, that may be different from the number of IDs passed in case certain IDs
/// do not exist.
pub fn xdel(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.open(cx.arg(1))?;
    let Some(stream) = stream_of(cx, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let ids = arguments::ids(cx, 2)?;
    let deleted = change::delete(&mut cx.tx, stream, &ids)?;
    if deleted > 0 {
        cx.changed(key.name)?;
        cx.notify(class::STREAM, "xdel", key.name)?;
        cx.dirty += deleted - 1;
    }
    cx.reply.integer(deleted as i64);
    Ok(())
}

/// `XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]`: trims the stream to (approximately
/// if '~' is passed) a certain size.
pub fn xtrim(cx: &mut Cx<'_>) -> Outcome {
    let options = arguments::Options::parse(cx, false)?;
    let key = cx.open(cx.arg(1))?;
    let Some(stream) = stream_of(cx, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let removed = match options.trim(arguments::limits(cx)) {
        Some(trim) => change::trim(&mut cx.tx, stream, trim)?,
        None => 0,
    };
    if removed > 0 {
        cx.notify(class::STREAM, "xtrim", key.name)?;
        cx.changed(key.name)?;
        cx.dirty += removed - 1;
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

/// `XSETID key last-id [ENTRIESADDED entries_added] [MAXDELETEDID max_deleted_entry_id]`: an
/// internal command for replicating stream values.
pub fn xsetid(cx: &mut Cx<'_>) -> Outcome {
    let last = arguments::id(cx.arg(2))?;
    let (mut added, mut deleted) = (None, Id::MIN);
    let mut at = 3;
    while at < cx.args.len() {
        let more = at + 1 < cx.args.len();
        if cx.args.is(at, "ENTRIESADDED") && more {
            let given = cx.int_arg(at + 1)?;
            added = Some(u64::try_from(given).map_err(|_| "ERR entries_added must be positive")?);
        } else if cx.args.is(at, "MAXDELETEDID") && more {
            deleted = arguments::id(cx.arg(at + 1))?;
            if last < deleted {
                return Err("ERR The ID specified in XSETID is smaller than the provided \
                            max_deleted_entry_id"
                    .into());
            }
        } else {
            return Err(error::SYNTAX);
        }
        at += 2;
    }
    let key = cx.open(cx.arg(1))?;
    let stream = stream_of(cx, &key)?.ok_or(error::NO_KEY)?;
    let old = stream::counts(&cx.tx, stream);
    if entries::last(&cx.tx, stream).is_some_and(|entry| last < entry.id) {
        return Err(
            "ERR The ID specified in XSETID is smaller than the target stream top item".into()
        );
    }
    if added.is_some_and(|added| added < old.len) {
        return Err("ERR The entries_added specified in XSETID is smaller than the target \
                    stream length"
            .into());
    }
    let counts = Counts { last, added: added.unwrap_or(old.added), len: old.len };
    change::set_counts(&mut cx.tx, stream, counts)?;
    if deleted != Id::MIN {
        change::set_max_deleted(&mut cx.tx, stream, deleted)?;
    }
    cx.dirty += 1;
    cx.reply.ok();
    cx.notify(class::STREAM, "xsetid", key.name)
}

/// `XLEN key`: return the number of entries in a stream.
pub fn xlen(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let len = stream_of(cx, &key)?.map_or(0, |stream| stream::len(&cx.tx, stream));
    cx.reply.integer(len as i64);
    Ok(())
}

/// `XRANGE key start end [COUNT count]`: return a range of elements in a stream, with IDs matching
/// the specified IDs interval.
pub fn xrange(cx: &mut Cx<'_>) -> Outcome {
    let start = arguments::start(cx.arg(2))?;
    let end = arguments::end(cx.arg(3))?;
    range(cx, start, end, false)
}

/// `XREVRANGE key end start [COUNT count]`: return a range of elements in a stream, with IDs
/// matching the specified IDs interval, in reverse order (from greater to smaller IDs) compared to
/// XRANGE.
pub fn xrevrange(cx: &mut Cx<'_>) -> Outcome {
    let start = arguments::start(cx.arg(3))?;
    let end = arguments::end(cx.arg(2))?;
    range(cx, start, end, true)
}

fn range(cx: &mut Cx<'_>, start: Id, end: Id, backward: bool) -> Outcome {
    let (mut at, mut limit) = (4, u64::MAX);
    while at < cx.args.len() {
        if !cx.args.is(at, "COUNT") || at + 1 == cx.args.len() {
            return Err(error::SYNTAX);
        }
        limit = u64::try_from(cx.int_arg(at + 1)?).unwrap_or(0);
        at += 2;
    }
    let key = cx.read(cx.arg(1))?;
    let Some(stream) = stream_of(cx, &key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    if limit == 0 {
        cx.reply.null_array();
        return Ok(());
    }
    let count = entries::count(&cx.tx, stream, start, end, limit) as usize;
    cx.reply.array(count);
    let found = match backward {
        false => entries::forward(&cx.tx, stream, start, end),
        true => entries::backward(&cx.tx, stream, start, end),
    };
    found.take(count).for_each(|entry| reply::entry(&mut cx.reply, &entry));
    Ok(())
}
