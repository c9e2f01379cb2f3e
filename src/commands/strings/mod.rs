//! String commands.

pub mod basic;
pub mod counters;
pub mod expiry_options;
pub mod lcs;
pub mod ranges;

use crate::executor::{Cx, Fail, Key, Outcome, error};
use crate::keyspace::{EntryView, Found};
use crate::values::string::{self, Content, Encoded};

/// The content of a key that is there and has to be a string.
#[inline]
pub(super) fn content<'c>(cx: &'c Cx<'_>, found: &Found) -> Result<Content<'c>, Fail> {
    string::content(&EntryView::new(&cx.tx, found.entry)).ok_or(error::WRONG_TYPE)
}

/// The content of a key that has to be a string if it is there.
#[inline]
pub(super) fn content_of<'c>(cx: &'c Cx<'_>, key: &Key<'_>) -> Result<Option<Content<'c>>, Fail> {
    key.found.as_ref().map(|found| content(cx, found)).transpose()
}

/// Replies with the string of a key, straight from the arena.
#[inline]
pub(super) fn reply_value(cx: &mut Cx<'_>, found: &Found) -> Outcome {
    let entry = EntryView::new(&cx.tx, found.entry);
    match string::content(&entry).ok_or(error::WRONG_TYPE)? {
        Content::Int(number) => cx.reply.bulk_integer(number),
        Content::Bytes(bytes) => cx.reply.bulk(bytes),
        blob @ Content::Blob(..) => {
            cx.reply.bulk_start(blob.len() as usize);
            blob.pieces(0, u64::MAX, |piece| cx.reply.raw(piece));
            cx.reply.bulk_end();
        }
    }
    Ok(())
}

/// Replies with the string of a key, or null.
#[inline]
pub(super) fn reply_value_or_null(cx: &mut Cx<'_>, key: &Key<'_>) -> Outcome {
    match &key.found {
        Some(found) => reply_value(cx, found),
        None => {
            cx.reply.null();
            Ok(())
        }
    }
}

/// Makes a key a string with this value and expiry, whatever it was before. In place where that is
/// possible: setting a key that exists is what most writes do.
#[inline]
pub(super) fn store(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    value: Encoded<'_>,
    expiry: Option<i64>,
) -> Outcome {
    if let Some(found) = &key.found {
        let has_slot = EntryView::new(&cx.tx, found.entry).has_expiry_slot();
        if (has_slot || expiry.is_none()) && string::overwrite(&mut cx.tx, found.entry, value)? {
            if has_slot {
                cx.set_expiry(key, expiry)?;
            }
            return cx.changed(key.name);
        }
    }
    let fresh = string::create(&mut cx.tx, key.name, value, expiry)?;
    cx.put(key, fresh)?;
    cx.changed(key.name)
}

/// When a key expires, if it is there and does.
#[inline]
pub(super) fn expiry_of(cx: &Cx<'_>, key: &Key<'_>) -> Option<i64> {
    EntryView::new(&cx.tx, key.found.as_ref()?.entry).expiry()
}

/// Writes bytes from `at` on into the string of a key, which is made if need be and becomes `raw`.
pub(super) fn write_at(cx: &mut Cx<'_>, key: &Key<'_>, at: u64, bytes: &[u8]) -> Outcome {
    write_silently_at(cx, key, at, bytes)?;
    cx.changed(key.name)
}

/// [`write_at`], but whether that is a change is left to the caller.
pub(super) fn write_silently_at(cx: &mut Cx<'_>, key: &Key<'_>, at: u64, bytes: &[u8]) -> Outcome {
    let fresh = match &key.found {
        Some(found) => string::write_at(&mut cx.tx, found.entry, at, bytes)?,
        None => Some(string::create_raw(&mut cx.tx, key.name, None, &[], at, bytes)?),
    };
    if let Some(fresh) = fresh {
        cx.put(key, fresh)?;
    }
    Ok(())
}

/// Refuses a string that would grow by `more` bytes from `size` beyond what is allowed.
pub(super) fn check_length(cx: &Cx<'_>, size: i64, more: i64) -> Outcome {
    let allowed = i64::try_from(cx.state.config.proto_max_bulk_len()).unwrap_or(i64::MAX);
    match size.checked_add(more) {
        Some(total) if total <= allowed => Ok(()),
        _ => Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into()),
    }
}
