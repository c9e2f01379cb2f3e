//! Members chosen at random.

use std::collections::HashSet;

use shm::Off;
use shm::pack::Item;

use super::{delete_emptied, most_ints, reply_all, reply_member, set_of};
use crate::commands::arguments::{self, Sample};
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::events::class;
use crate::executor::{Cx, Key, Outcome, error};
use crate::keyspace::{Entry, EntryView};
use crate::values::set::{self, Content, Removed, Set};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("spop", -2, spop)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::DELETE)])
        .tips(&["nondeterministic_output"]),
    cmd("srandmember", -2, srandmember)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
];

/// `SPOP key [count]`: remove and return one or multiple random members from a set.
fn spop(cx: &mut Cx<'_>) -> Outcome {
    match cx.args.len() {
        2 => pop_one(cx),
        3 => pop_many(cx),
        _ => Err(error::SYNTAX),
    }
}

fn pop_one(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    if set_of(cx, &key)?.is_none() {
        cx.reply.null();
        return Ok(());
    }
    // As in Redis, the event is told of before the reply to a client that has subscribed to it.
    cx.notify(class::SET, "spop", key.name)?;
    pop(cx, &mut key)?;
    if !key.exists() {
        cx.notify(class::GENERIC, "del", key.name)?;
    }
    cx.changed(key.name)
}

/// Removes a member of a key that is there and replies with it. The key is not there any more if it
/// was the only one.
fn pop(cx: &mut Cx<'_>, key: &mut Key<'_>) -> Outcome {
    let Some(found) = &key.found else { return Ok(()) };
    let (state, reply) = (&mut cx.state, &mut cx.reply);
    let tell = |member: Item<'_>| reply_member(reply, member);
    match set::pop(&mut cx.tx, found.entry, || state.random(), tell)? {
        Removed::Absent | Removed::InPlace => Ok(()),
        Removed::Last => {
            delete_emptied(cx, key)?;
            key.found = None;
            Ok(())
        }
        Removed::Moved(entry) => cx.exchange(key, entry),
    }
}

/// Popping so many times as many members as remain is done the other way round: by keeping those
/// that remain.
const KEEP_RATHER: u64 = 5;

fn pop_many(cx: &mut Cx<'_>) -> Outcome {
    let count = arguments::count(cx, 2)?;
    let mut key = cx.open(cx.arg(1))?;
    let size = set_of(cx, &key)?.map_or(0, |set| set.len());
    let count = count.min(size);
    if count == 0 {
        cx.reply.set(0);
        return Ok(());
    }
    cx.notify(class::SET, "spop", key.name)?;
    cx.reply.set(count as usize);
    let remaining = size - count;
    if remaining == 0 {
        reply_all(cx, &key)?;
        delete_emptied(cx, &key)?;
        cx.notify(class::GENERIC, "del", key.name)?;
    } else if remaining.saturating_mul(KEEP_RATHER) > count {
        for _ in 0..count {
            pop(cx, &mut key)?;
        }
    } else {
        keep(cx, &key, remaining as usize)?;
    }
    cx.dirty += count - 1;
    cx.changed(key.name)
}

/// Keeps so many members of a set, and replies with all others. The set is made anew, so its
/// encoding follows from what remains.
fn keep(cx: &mut Cx<'_>, key: &Key<'_>, remaining: usize) -> Outcome {
    let Some(found) = &key.found else { return Ok(()) };
    let content = {
        let entry = EntryView::new(&cx.tx, found.entry);
        let set = Set::of(&entry).ok_or(error::WRONG_TYPE)?;
        let chosen = positions(set.len(), remaining, || cx.state.random());
        let mut content = Content::default();
        for (position, member) in set.members().enumerate() {
            if chosen.contains(&(position as u64)) {
                content.push(member);
            } else {
                reply_member(&mut cx.reply, member);
            }
        }
        content
    };
    let (expiry, most_ints) = (cx.entry(found).expiry(), most_ints(cx));
    let fresh = set::create(&mut cx.tx, key.name, expiry, &content, most_ints)?;
    cx.put(key, fresh)?;
    Ok(())
}

/// `count` numbers below `bound` that differ, every choice of them being as likely (Floyd's
/// algorithm).
fn positions(bound: u64, count: usize, mut random: impl FnMut() -> u64) -> HashSet<u64> {
    let mut chosen = HashSet::with_capacity(count);
    for top in bound.saturating_sub(count as u64)..bound {
        let position = set::below(random(), top + 1);
        if !chosen.insert(position) {
            chosen.insert(top);
        }
    }
    chosen
}

/// `SRANDMEMBER key [count]`: get one or multiple random members from a set.
fn srandmember(cx: &mut Cx<'_>) -> Outcome {
    match cx.args.len() {
        2 => show_one(cx),
        3 => show_many(cx),
        _ => Err(error::SYNTAX),
    }
}

fn show_one(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    set_of(cx, &key)?;
    match &key.found {
        Some(found) => reply_random(cx, found.entry),
        None => {
            cx.reply.null();
            Ok(())
        }
    }
}

fn reply_random(cx: &mut Cx<'_>, entry: Off<Entry>) -> Outcome {
    let set = Set::of(&EntryView::new(&cx.tx, entry)).ok_or(error::WRONG_TYPE)?;
    if let Some(member) = set.random(|| cx.state.random()) {
        reply_member(&mut cx.reply, member);
    }
    Ok(())
}

fn show_many(cx: &mut Cx<'_>) -> Outcome {
    let Sample { count, repeats, .. } = Sample::parse(cx, None)?;
    let key = cx.read(cx.arg(1))?;
    let size = set_of(cx, &key)?.map_or(0, |set| set.len());
    let Some(found) = key.found.filter(|_| count != 0) else {
        cx.reply.array(0);
        return Ok(());
    };
    if repeats {
        cx.reply.array(count as usize);
        for _ in 0..count {
            // There may be more of them than any memory holds.
            if cx.reply_is_lost() {
                break;
            }
            reply_random(cx, found.entry)?;
        }
        return Ok(());
    }
    let count = count.min(size);
    cx.reply.array(count as usize);
    if count == size {
        return reply_all(cx, &key);
    }
    let set = Set::of(&EntryView::new(&cx.tx, found.entry)).ok_or(error::WRONG_TYPE)?;
    // A few of many are drawn until they differ, else the table is gone through as a whole.
    if matches!(set, Set::Table(..)) && count.saturating_mul(3) <= size {
        let mut drawn = HashSet::with_capacity(count as usize);
        while (drawn.len() as u64) < count {
            let Some(member) = set.random(|| cx.state.random()) else { break };
            if drawn.insert(member) {
                reply_member(&mut cx.reply, member);
            }
        }
        return Ok(());
    }
    let chosen = positions(size, count as usize, || cx.state.random());
    let members = set.members().enumerate();
    for (_, member) in members.filter(|(position, _)| chosen.contains(&(*position as u64))) {
        reply_member(&mut cx.reply, member);
    }
    Ok(())
}
