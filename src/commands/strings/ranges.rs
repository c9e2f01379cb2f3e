//! Parts of strings.

use super::{check_length, content_of};
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome, class, error};
use crate::keyspace::EntryView;
use crate::proto::reply::shared;
use crate::values::string;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("getrange", 4, getrange)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("setrange", 4, setrange)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("substr", 4, substr)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
];

/// `GETRANGE key start end`: get a substring of the string stored at a key.
fn getrange(cx: &mut Cx<'_>) -> Outcome {
    let (start, end) = (cx.int_arg(2)?, cx.int_arg(3)?);
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.raw(shared::EMPTY_BULK);
        return Ok(());
    };
    let entry = EntryView::new(&cx.tx, found.entry);
    let content = string::content(&entry).ok_or(error::WRONG_TYPE)?;
    match clamp(start, end, content.len()) {
        Some((start, end)) => {
            cx.reply.bulk_start((end - start) as usize);
            content.pieces(start, end, |piece| cx.reply.raw(piece));
            cx.reply.bulk_end();
        }
        None => cx.reply.raw(shared::EMPTY_BULK),
    }
    Ok(())
}

/// Turns positions that may count from the end into a range of bytes, its end excluded; `None` if
/// there is nothing in it.
fn clamp(start: i64, end: i64, length: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let length = length as i64;
    let from_end = |at: i64| if at < 0 { (length + at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    (start <= end).then(|| (start as u64, end as u64 + 1))
}

/// `SETRANGE key offset value`: overwrite part of a string at key starting at the specified offset.
fn setrange(cx: &mut Cx<'_>) -> Outcome {
    let offset = cx.int_arg(2)?;
    if offset < 0 {
        return Err("ERR offset is out of range".into());
    }
    let bytes = cx.arg(3);
    let key = cx.open(cx.arg(1))?;
    let length = content_of(cx, &key)?.map_or(0, |content| content.len());
    if bytes.is_empty() {
        cx.reply.integer(length as i64);
        return Ok(());
    }
    check_length(cx, offset, bytes.len() as i64)?;
    super::write_at(cx, &key, offset as u64, bytes)?;
    cx.notify(class::STRING, "setrange", key.name)?;
    cx.reply.integer(length.max(offset as u64 + bytes.len() as u64) as i64);
    Ok(())
}

/// `SUBSTR key start end`: get a substring of the string stored at a key.
fn substr(cx: &mut Cx<'_>) -> Outcome {
    getrange(cx)
}
