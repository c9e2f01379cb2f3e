//! Adding, removing and finding members of one set.

use shm::pack::{Digits, Item};

use super::{delete_emptied, most_ints, reply_member, set_of};
use crate::commands::scan::ElementScan;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::events::class;
use crate::executor::{Cx, Fail, Key, Outcome, error};
use crate::keyspace::{EntryView, Type};
use crate::proto::reply::shared;
use crate::values::set::{self, Added, Content, Removed, Set};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("sadd", -3, sadd)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("scard", 2, scard)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RO)]),
    cmd("sismember", 3, sismember)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RO)]),
    cmd("smismember", -3, smismember)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("smove", 4, smove).flags(flag::WRITE | flag::FAST).acl(acl::SET).keys(&[
        at(1).flags(key::RW | key::ACCESS | key::DELETE),
        at(2).flags(key::RW | key::INSERT),
    ]),
    cmd("srem", -3, srem)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("sscan", -3, sscan)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
];

/// `SADD key member [member ...]`: add one or more members to a set.
fn sadd(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    set_of(cx, &key)?;
    let mut added = 0;
    if key.exists() {
        for member in cx.args.from(2) {
            added += i64::from(add(cx, &mut key, member)?);
        }
    } else {
        added = create(cx, &key)?;
    }
    if added > 0 {
        cx.changed(key.name)?;
        cx.dirty += added as u64 - 1;
        cx.notify(class::SET, "sadd", key.name)?;
    }
    cx.reply.integer(added);
    Ok(())
}

/// Adds a member to the set of a key that is there. Says whether it was not in it.
#[inline]
fn add(cx: &mut Cx<'_>, key: &mut Key<'_>, member: &[u8]) -> Result<bool, Fail> {
    let Some(found) = &key.found else { return Ok(false) };
    let most_ints = most_ints(cx);
    match set::add(&mut cx.tx, found.entry, member, most_ints)? {
        Added::Present => return Ok(false),
        Added::InPlace => {}
        Added::Moved(entry) => cx.exchange(key, entry)?,
    }
    Ok(true)
}

/// Makes a new key a set of the members that the command names; gives their number.
fn create(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<i64, Fail> {
    let members = cx.args.from(2);
    let content: Content = match members.len() {
        1 => members.map(Item::of).collect(),
        _ => {
            let mut seen = std::collections::HashSet::with_capacity(members.len());
            members.filter(|member| seen.insert(*member)).map(Item::of).collect()
        }
    };
    let most_ints = most_ints(cx);
    let fresh = set::create(&mut cx.tx, key.name, None, &content, most_ints)?;
    cx.put(key, fresh)?;
    Ok(content.len() as i64)
}

/// `SCARD key`: get the number of members in a set.
fn scard(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let members = set_of(cx, &key)?.map_or(0, |set| set.len());
    cx.reply.integer(members as i64);
    Ok(())
}

/// `SISMEMBER key member`: determine if a given value is a member of a set.
fn sismember(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let is_member = set_of(cx, &key)?.is_some_and(|set| set.contains(Item::of(cx.arg(2))));
    cx.reply.raw(if is_member { shared::ONE } else { shared::ZERO });
    Ok(())
}

/// `SMISMEMBER key member [member ...]`: returns the membership associated with the given elements
/// for a set.
fn smismember(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    set_of(cx, &key)?;
    let members = cx.args.from(2);
    cx.reply.array(members.len());
    let set = key.found.as_ref().and_then(|found| Set::of(&EntryView::new(&cx.tx, found.entry)));
    for member in members {
        let is_member = set.is_some_and(|set| set.contains(Item::of(member)));
        cx.reply.raw(if is_member { shared::ONE } else { shared::ZERO });
    }
    Ok(())
}

/// Removes a member from the set of a key that is there. Says whether it was in it; the key is not
/// there any more if it was the only one.
fn remove(cx: &mut Cx<'_>, key: &mut Key<'_>, member: &[u8]) -> Result<bool, Fail> {
    let Some(found) = &key.found else { return Ok(false) };
    match set::remove(&mut cx.tx, found.entry, member)? {
        Removed::Absent => return Ok(false),
        Removed::Last => {
            delete_emptied(cx, key)?;
            key.found = None;
        }
        Removed::InPlace => {}
        Removed::Moved(entry) => cx.exchange(key, entry)?,
    }
    Ok(true)
}

/// `SREM key member [member ...]`: remove one or more members from a set.
fn srem(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open(cx.arg(1))?;
    set_of(cx, &key)?;
    let mut removed = 0;
    for member in cx.args.from(2) {
        removed += i64::from(remove(cx, &mut key, member)?);
    }
    if removed > 0 {
        cx.changed(key.name)?;
        cx.dirty += removed as u64 - 1;
        cx.notify(class::SET, "srem", key.name)?;
        if !key.exists() {
            cx.notify(class::GENERIC, "del", key.name)?;
        }
    }
    cx.reply.integer(removed);
    Ok(())
}

/// `SMOVE source destination member`: move a member from one set to another.
fn smove(cx: &mut Cx<'_>) -> Outcome {
    let (from, to, member) = (cx.arg(1), cx.arg(2), cx.arg(3));
    // Both are looked up first: what has expired goes before anything else happens.
    cx.open(from)?;
    let target = cx.open(to)?;
    let mut source = cx.open(from)?;
    if !source.exists() {
        cx.reply.integer(0);
        return Ok(());
    }
    let is_member = set_of(cx, &source)?.is_some_and(|set| set.contains(Item::of(member)));
    set_of(cx, &target)?;
    if !is_member || from == to {
        cx.reply.integer(is_member.into());
        return Ok(());
    }
    remove(cx, &mut source, member)?;
    cx.notify(class::SET, "srem", from)?;
    if !source.exists() {
        cx.notify(class::GENERIC, "del", from)?;
    }
    // The source's entry may have moved, or gone.
    let mut target = cx.peek(to)?;
    let added = if target.exists() {
        add(cx, &mut target, member)?
    } else {
        let content: Content = [Item::of(member)].into_iter().collect();
        let most_ints = most_ints(cx);
        let fresh = set::create(&mut cx.tx, to, None, &content, most_ints)?;
        cx.put(&target, fresh)?;
        true
    };
    cx.changed(from)?;
    if added {
        cx.changed(to)?;
        cx.notify(class::SET, "sadd", to)?;
    }
    cx.reply.integer(1);
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`: incrementally iterate Set elements.
fn sscan(cx: &mut Cx<'_>) -> Outcome {
    let Some(scan) = ElementScan::parse(cx, Type::Set)? else { return Ok(()) };
    let set = Set::of(&EntryView::new(&cx.tx, scan.found.entry)).ok_or(error::WRONG_TYPE)?;
    let (cursor, mut members) = set.scan(scan.cursor, scan.options.count);
    members.retain(|member| scan.options.pattern.matches(member.text(&mut Digits::new())));
    cx.reply.array(2);
    cx.reply.bulk_integer(cursor as i64);
    cx.reply.array(members.len());
    members.into_iter().for_each(|member| reply_member(&mut cx.reply, member));
    Ok(())
}
