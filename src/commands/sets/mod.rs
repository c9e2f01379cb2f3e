//! Set commands.

pub mod members;
pub mod operations;
pub mod random;

use shm::pack::{Digits, Item};

use crate::executor::events::class;
use crate::executor::{Cx, Fail, Key, Outcome, error};
use crate::keyspace::EntryView;
use crate::proto::reply::{Reply, Sink};
use crate::values::set::{self, Content, Set};

/// The set of a key; `None` if the key is not there.
#[inline]
fn set_of<'c>(cx: &'c Cx<'_>, key: &Key<'_>) -> Result<Option<Set<'c>>, Fail> {
    match &key.found {
        Some(found) => Set::of(&cx.entry(found)).map(Some).ok_or(error::WRONG_TYPE),
        None => Ok(None),
    }
}

/// Most members of a set that is kept as sorted integers.
#[inline]
fn most_ints(cx: &Cx<'_>) -> u64 {
    cx.state.config.set_max_intset_entries().min(set::INTS_MAX)
}

/// Replies with a member.
#[inline]
fn reply_member<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, member: Item<'_>) {
    reply.bulk(member.text(&mut Digits::new()));
}

/// Replies with all members of a key that is a set.
fn reply_all(cx: &mut Cx<'_>, key: &Key<'_>) -> Outcome {
    if let Some(found) = &key.found {
        let set = Set::of(&EntryView::new(&cx.tx, found.entry)).ok_or(error::WRONG_TYPE)?;
        set.members().for_each(|member| reply_member(&mut cx.reply, member));
    }
    Ok(())
}

/// Removes a key that has lost its last member.
fn delete_emptied(cx: &mut Cx<'_>, key: &Key<'_>) -> Outcome {
    if let Some(found) = &key.found {
        cx.delete(found)?;
    }
    Ok(())
}

/// Makes a key a set of these members, whatever it was before; without members, removes it. Replies
/// with their number.
fn store(cx: &mut Cx<'_>, name: &[u8], content: &Content, event: &str) -> Outcome {
    if content.is_empty() {
        cx.reply.integer(0);
        cx.delete_target(name)?;
        return Ok(());
    }
    let key = cx.peek(name)?;
    let most_ints = most_ints(cx);
    let fresh = set::create(&mut cx.tx, name, None, content, most_ints)?;
    cx.put(&key, fresh)?;
    cx.changed(name)?;
    cx.reply.integer(content.len() as i64);
    cx.notify(class::SET, event, name)
}

#[cfg(test)]
mod target_tests;
#[cfg(test)]
mod tests;
