//! Intersections, unions and differences of sets.

use std::collections::HashSet;

use shm::Off;
use shm::pack::Item;

use super::{reply_member, set_of, store};
use crate::commands::arguments::at_least;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace::{Entry, EntryView};
use crate::values::set::{Content, Set};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] =
    &[
        cmd("sdiff", -2, sdiff)
            .flags(flag::READONLY)
            .acl(acl::SET)
            .keys(&[at(1).to(-1, 1, 0).flags(key::RO | key::ACCESS)])
            .tips(&["nondeterministic_output_order"]),
        cmd("sdiffstore", -3, sdiffstore).flags(flag::WRITE | flag::DENYOOM).acl(acl::SET).keys(&[
            at(1).flags(key::OW | key::UPDATE),
            at(2).to(-1, 1, 0).flags(key::RO | key::ACCESS),
        ]),
        cmd("sinter", -2, sinter)
            .flags(flag::READONLY)
            .acl(acl::SET)
            .keys(&[at(1).to(-1, 1, 0).flags(key::RO | key::ACCESS)])
            .tips(&["nondeterministic_output_order"]),
        cmd("sintercard", -3, sintercard)
            .flags(flag::READONLY)
            .acl(acl::SET)
            .keys(&[at(1).counted(0, 1, 1).flags(key::RO | key::ACCESS)]),
        cmd("sinterstore", -3, sinterstore).flags(flag::WRITE | flag::DENYOOM).acl(acl::SET).keys(
            &[at(1).flags(key::RW | key::UPDATE), at(2).to(-1, 1, 0).flags(key::RO | key::ACCESS)],
        ),
        cmd("smembers", 2, smembers)
            .flags(flag::READONLY)
            .acl(acl::SET)
            .keys(&[at(1).flags(key::RO | key::ACCESS)])
            .tips(&["nondeterministic_output_order"]),
        cmd("sunion", -2, sunion)
            .flags(flag::READONLY)
            .acl(acl::SET)
            .keys(&[at(1).to(-1, 1, 0).flags(key::RO | key::ACCESS)])
            .tips(&["nondeterministic_output_order"]),
        cmd("sunionstore", -3, sunionstore).flags(flag::WRITE | flag::DENYOOM).acl(acl::SET).keys(
            &[at(1).flags(key::OW | key::UPDATE), at(2).to(-1, 1, 0).flags(key::RO | key::ACCESS)],
        ),
    ];

/// What is made of several sets.
#[derive(Debug, Clone, Copy)]
enum Operation {
    /// What all of them have, so many members at most.
    Inter(u64),
    /// What any of them has.
    Union,
    /// What the first one has and no other.
    Diff,
}

/// Looks up the sets that the arguments from `first` to `end` name; `None` where there is no key.
fn look_up(cx: &mut Cx<'_>, first: usize, end: usize) -> Result<Vec<Option<Off<Entry>>>, Fail> {
    let mut entries = Vec::with_capacity(end - first);
    for index in first..end {
        let key = cx.read(cx.arg(index))?;
        set_of(cx, &key)?;
        entries.push(key.found.map(|found| found.entry));
    }
    Ok(entries)
}

/// A look at sets that were looked up.
fn sets<'a>(view: &'a shm::View, entries: &[Option<Off<Entry>>]) -> Vec<Option<Set<'a>>> {
    let set = |entry: &Option<Off<Entry>>| Set::of(&EntryView::new(view, (*entry)?));
    entries.iter().map(set).collect()
}

/// What came of an operation.
#[derive(Default)]
struct Made<'a> {
    /// The members; they differ.
    members: Vec<Item<'a>>,
    /// Of what they are left, if they were not gathered one by one.
    left_of: Option<Set<'a>>,
}

impl<'a> From<Vec<Item<'a>>> for Made<'a> {
    fn from(members: Vec<Item<'a>>) -> Made<'a> {
        Made { members, left_of: None }
    }
}

impl Made<'_> {
    fn content(self) -> Content {
        let mut content: Content = self.members.into_iter().collect();
        if let Some(set) = self.left_of {
            let texts = set.members().any(|member| matches!(member, Item::Bytes(_)));
            content.is_left_of(set.len() as usize, texts);
        }
        content
    }
}

impl Operation {
    fn run<'a>(self, entries: &[Option<Off<Entry>>], sets: Vec<Option<Set<'a>>>) -> Made<'a> {
        match self {
            Operation::Inter(most) => match sets.into_iter().collect() {
                Some(sets) => inter(sets, most).into(),
                None => Made::default(),
            },
            Operation::Union => union(sets.into_iter().flatten().collect()).into(),
            Operation::Diff => match sets.split_first() {
                // A set less itself is empty.
                Some((Some(_), _)) if entries[1..].contains(&entries[0]) => Made::default(),
                Some((Some(first), others)) => diff(first, others.iter().flatten().collect()),
                _ => Made::default(),
            },
        }
    }
}

/// Goes through the smallest set and looks its members up in the others.
fn inter(mut sets: Vec<Set<'_>>, most: u64) -> Vec<Item<'_>> {
    sets.sort_by_key(Set::len);
    let Some((smallest, others)) = sets.split_first() else { return Vec::new() };
    let in_all = |member: &Item<'_>| others.iter().all(|set| set.contains(*member));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    smallest.members().filter(in_all).take(most).collect()
}

fn union(sets: Vec<Set<'_>>) -> Vec<Item<'_>> {
    if let [only] = sets.as_slice() {
        return only.members().collect();
    }
    let mut seen =
        HashSet::with_capacity(sets.iter().map(|set| set.len() as usize).max().unwrap_or(0));
    let members = sets.iter().flat_map(|set| set.members());
    members.filter(|member| seen.insert(*member)).collect()
}

/// Either looks the first set's members up in the others, which takes as many look-ups as it has
/// members for each of the others; or takes the others' members out of the first set's, which takes
/// one for each member of any. The first way has the better constant.
fn diff<'a>(first: &Set<'a>, mut others: Vec<&Set<'a>>) -> Made<'a> {
    let by_look_up = first.len().saturating_mul(others.len() as u64 + 1) / 2;
    let by_removal = others.iter().map(|set| set.len()).sum::<u64>() + first.len();
    if by_look_up <= by_removal {
        // The larger a set, the sooner a member is found in it.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        let in_none = |member: &Item<'_>| !others.iter().any(|set| set.contains(*member));
        return first.members().filter(in_none).collect::<Vec<_>>().into();
    }
    let mut left: HashSet<Item<'_>> = first.members().collect();
    for member in others.iter().flat_map(|set| set.members()) {
        if left.remove(&member) && left.is_empty() {
            break;
        }
    }
    Made { members: left.into_iter().collect(), left_of: Some(*first) }
}

/// Replies with the result for the sets that the arguments from the first on name.
fn reply(cx: &mut Cx<'_>, operation: Operation) -> Outcome {
    let entries = look_up(cx, 1, cx.args.len())?;
    let members = operation.run(&entries, sets(&cx.tx, &entries)).members;
    cx.reply.set(members.len());
    for member in members {
        reply_member(&mut cx.reply, member);
    }
    Ok(())
}

/// Stores the result for the sets that the arguments from the second on name.
fn reply_stored(cx: &mut Cx<'_>, operation: Operation, event: &str) -> Outcome {
    let entries = look_up(cx, 2, cx.args.len())?;
    let content = operation.run(&entries, sets(&cx.tx, &entries)).content();
    store(cx, cx.arg(1), &content, event)
}

/// `SDIFF key [key ...]`: subtract multiple sets.
fn sdiff(cx: &mut Cx<'_>) -> Outcome {
    reply(cx, Operation::Diff)
}

/// `SDIFFSTORE destination key [key ...]`: subtract multiple sets and store the resulting set in a
/// key.
fn sdiffstore(cx: &mut Cx<'_>) -> Outcome {
    reply_stored(cx, Operation::Diff, "sdiffstore")
}

/// `SINTER key [key ...]`: intersect multiple sets.
fn sinter(cx: &mut Cx<'_>) -> Outcome {
    reply(cx, Operation::Inter(u64::MAX))
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`: intersect multiple sets and return the
/// cardinality of the result.
fn sintercard(cx: &mut Cx<'_>) -> Outcome {
    let count = at_least(cx, 1, 1, "ERR numkeys should be greater than 0")? as usize;
    if count > cx.args.len() - 2 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let mut limit = 0;
    for at in (2 + count..cx.args.len()).step_by(2) {
        if !cx.args.is(at, "LIMIT") || at + 1 == cx.args.len() {
            return Err(error::SYNTAX);
        }
        limit = at_least(cx, at + 1, 0, "ERR LIMIT can't be negative")?;
    }
    let most = if limit == 0 { u64::MAX } else { limit };
    let entries = look_up(cx, 2, 2 + count)?;
    let members = Operation::Inter(most).run(&entries, sets(&cx.tx, &entries)).members.len();
    cx.reply.integer(members as i64);
    Ok(())
}

/// `SINTERSTORE destination key [key ...]`: intersect multiple sets and store the resulting set in
/// a key.
fn sinterstore(cx: &mut Cx<'_>) -> Outcome {
    reply_stored(cx, Operation::Inter(u64::MAX), "sinterstore")
}

/// `SMEMBERS key`: get all the members in a set.
fn smembers(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let members = set_of(cx, &key)?.map_or(0, |set| set.len());
    cx.reply.set(members as usize);
    super::reply_all(cx, &key)
}

/// `SUNION key [key ...]`: add multiple sets.
fn sunion(cx: &mut Cx<'_>) -> Outcome {
    reply(cx, Operation::Union)
}

/// `SUNIONSTORE destination key [key ...]`: add multiple sets and store the resulting set in a key.
fn sunionstore(cx: &mut Cx<'_>) -> Outcome {
    reply_stored(cx, Operation::Union, "sunionstore")
}
