//! Hash commands.

pub mod basic;
pub mod counters;
pub mod random;

use shm::pack::Item;

use crate::executor::{Cx, Fail, Key};
use crate::keyspace::{EntryView, Found};
use crate::proto::reply::{Reply, Sink};
use crate::values::hash::{self, Hash, Limits};

/// The hash of a key that is there.
#[inline]
fn hash_of<'c>(cx: &'c Cx<'_>, found: &Found) -> Hash<'c> {
    Hash::of(&EntryView::new(&cx.tx, found.entry))
}

/// Replies with an item as a bulk string.
#[inline]
fn reply_item<S: Sink>(reply: &mut Reply<'_, S>, item: Item<'_>) {
    match item {
        Item::Int(number) => reply.bulk_integer(number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Replies with the value of a field, or null.
#[inline]
fn reply_value(cx: &mut Cx<'_>, found: &Found, field: &[u8]) {
    match Hash::of(&EntryView::new(&cx.tx, found.entry)).get(field) {
        Some(value) => reply_item(&mut cx.reply, value),
        None => cx.reply.null(),
    }
}

fn limits(cx: &Cx<'_>) -> Limits {
    Limits {
        fields: cx.state.config.hash_max_listpack_entries(),
        bytes: cx.state.config.hash_max_listpack_value(),
    }
}

/// Sets fields, one at least, and notes the change; gives how many are new. The key is invalid
/// afterwards.
fn store<'p>(
    cx: &mut Cx<'_>,
    key: &mut Key<'_>,
    pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
) -> Result<usize, Fail> {
    let limits = limits(cx);
    let created = match key.found {
        Some(found) => {
            let changed = hash::set(&mut cx.tx, found.entry, pairs, &limits)?;
            if let Some(moved) = changed.moved {
                cx.exchange(key, moved)?;
            }
            changed.created
        }
        None => {
            let (fresh, created) = hash::create(&mut cx.tx, key.name, None, pairs, &limits)?;
            cx.put(key, fresh)?;
            created
        }
    };
    cx.changed(key.name)?;
    Ok(created)
}

#[cfg(test)]
mod tests;
