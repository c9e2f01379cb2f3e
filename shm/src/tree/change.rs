//! Putting pairs in and taking them out; splitting nodes and joining them.

use std::cmp::Ordering;

use super::cursor::{Cursor, insertion_point, select};
use super::node::{self, Branch, Entry, MAX_HEIGHT, Node, Pair, ROOM};
use super::{Tree, len};
use crate::arena::View;
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::record::{Slot, U64};
use crate::table::Drained;
use crate::tx::Tx;

/// A node with fewer entries is joined with its neighbour, or takes some from it. Nodes at the two
/// ends of the tree may have fewer, until something is taken out of them.
pub(super) const LEAST: usize = 13;
/// Entries that two nodes may have together and still be joined: so few that the joined node is not
/// soon split again.
const JOIN_UP_TO: usize = 26;
/// What a lone leaf may have room for.
const ROOMS: [usize; 4] = [3, 7, 15, ROOM];

/// Adds a pair. The caller knows that no equal one is there.
///
/// `compare` says how an item with the same sort key compares with the new one.
pub fn insert(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    sort: u64,
    item: Off<u8>,
    mut compare: impl FnMut(&View, Off<u8>) -> Ordering,
) -> Result<(), OutOfMemory> {
    let at = insertion_point(tx, tree, |view, other, item| {
        other < sort || other == sort && compare(view, item).is_lt()
    });
    insert_at(tx, tree, &at, Pair { sort: U64::from_native(sort), item })
}

fn insert_at(tx: &mut Tx<'_>, tree: Off<Tree>, at: &Cursor, pair: Pair) -> Result<(), OutOfMemory> {
    let (mut leaf, ends) = (at.leaf, Ends::of(tx, at));
    if leaf.is_null() {
        leaf = node::new::<Pair>(tx, ROOMS[0])?.off().cast();
        tx.set(field!(tree, Tree.root), leaf)?;
    } else if at.height == 0 && node::len(tx, leaf) == node::room(tx, leaf) {
        leaf = resize_leaf(tx, tree, leaf, node::len(tx, leaf) + 1)?;
    }
    let mut split = put(tx, leaf, at.index, pair, ends.at(at.height))?;
    for (level, step) in at.path().iter().enumerate().rev() {
        let moved = split.map_or(0, |it| it.count() as i64);
        refresh(tx, step.node, step.index, 1 - moved)?;
        if let Some(branch) = split {
            split = put(tx, step.node, step.index + 1, branch, ends.at(level))?;
        }
    }
    if let Some(right) = split {
        let left = tx.get(tree).root.get();
        assert!(at.height < MAX_HEIGHT, "a tree of height {}: the arena is damaged", at.height);
        let count = match at.height {
            0 => count_of(node::entries::<Pair>(tx, left)),
            _ => count_of(node::entries::<Branch>(tx, left)),
        };
        let left = branch(node::first_pair(tx, left), count as u64, left);
        let root = node::new_with(tx, ROOM, &[left, right])?;
        set_root(tx, tree, root, at.height as u64 + 1)?;
    }
    Ok(())
}

/// From which level on a way leads along an end of the tree: levels below are at that end too as far
/// as their own place is.
struct Ends {
    /// Levels, from the root, that lie at the tree's front.
    front: usize,
    /// Levels that lie at its back.
    back: usize,
}

/// Which end of the tree a node lies at.
#[derive(Debug, Clone, Copy)]
struct End {
    front: bool,
    back: bool,
}

impl Ends {
    fn of(tx: &Tx<'_>, at: &Cursor) -> Ends {
        let path = at.path();
        let inside = |it: Option<usize>| it.unwrap_or(path.len());
        Ends {
            front: inside(path.iter().position(|it| it.index > 0)),
            back: inside(path.iter().position(|it| it.index + 1 < node::len(tx, it.node))),
        }
    }

    fn at(&self, level: usize) -> End {
        End { front: level <= self.front, back: level <= self.back }
    }
}

/// Puts an entry into a node. If there is no room the node is split; gives the branch to its new
/// right half.
#[inline]
fn put<E: Entry>(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    index: usize,
    entry: E,
    end: End,
) -> Result<Option<Branch>, OutOfMemory> {
    if node::len(tx, node) < node::room(tx, node) {
        node::put(tx, node, index, entry)?;
        return Ok(None);
    }
    split(tx, node, index, entry, end).map(Some)
}

fn split<E: Entry>(
    tx: &mut Tx<'_>,
    left: Off<Node>,
    index: usize,
    entry: E,
    end: End,
) -> Result<Branch, OutOfMemory> {
    let len = node::len(tx, left);
    let middle = match end {
        // What comes in order leaves full nodes behind.
        End { back: true, .. } if index == len => len,
        End { front: true, .. } if index == E::FRONT => index,
        _ => len / 2,
    };
    let right = node::new_copy::<E>(tx, ROOM, left, middle)?;
    node::cut::<E>(tx, left, middle, len)?;
    match index.checked_sub(middle) {
        Some(index) if middle > 0 => node::put(tx, right, index, entry)?,
        _ => node::put(tx, left, index, entry)?,
    }
    let count = node::entries::<E>(tx, right).iter().map(E::count).sum();
    Ok(branch(node::first_pair(tx, right), count, right))
}

pub(super) fn branch(first: Pair, count: u64, child: Off<Node>) -> Branch {
    Branch { first: Slot::new(first), count: Slot::new(U64::from_native(count)), child }
}

/// Brings a branch into agreement with its child, below which there are `by` pairs more.
#[inline]
pub(super) fn refresh(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    index: usize,
    by: i64,
) -> Result<(), OutOfMemory> {
    let old = node::entry::<Branch>(tx, node, index);
    let first = node::first_pair(tx, old.child);
    let noted = old.first.get();
    let count = U64::from_native(old.count().wrapping_add_signed(by));
    if first.item != noted.item || first.sort != noted.sort {
        let count = Slot::new(count);
        return node::set(tx, node, index, Branch { first: Slot::new(first), count, ..old });
    }
    match by {
        0 => Ok(()),
        _ => tx.set(field!(node::branch_at(node, index), Branch.count), count),
    }
}

fn set_root(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    root: Off<Node>,
    height: u64,
) -> Result<(), OutOfMemory> {
    tx.set(field!(tree, Tree.root), root)?;
    tx.set(field!(tree, Tree.height), U64::from_native(height))
}

/// The smallest room for so many pairs that a lone leaf may have.
pub(super) fn room_of_leaf(pairs: usize) -> usize {
    ROOMS.into_iter().find(|room| *room >= pairs).unwrap_or(ROOM)
}

/// Gives a lone leaf the smallest room for so many pairs.
fn resize_leaf(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    leaf: Off<Node>,
    pairs: usize,
) -> Result<Off<Node>, OutOfMemory> {
    let room = room_of_leaf(pairs);
    if room == node::room(tx, leaf) {
        return Ok(leaf);
    }
    let made = node::new_copy::<Pair>(tx, room, leaf, 0)?;
    tx.set(field!(tree, Tree.root), made)?;
    tx.free(leaf)?;
    Ok(made)
}

/// Takes out the pair with this sort key for whose item `compare` says equal; gives the item, which
/// is the caller's to free.
pub fn remove(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    sort: u64,
    compare: impl FnMut(&View, Off<u8>) -> Ordering,
) -> Result<Option<Off<u8>>, OutOfMemory> {
    match super::find(tx, tree, sort, compare) {
        Some(at) => remove_at(tx, tree, &at).map(Some),
        None => Ok(None),
    }
}

/// Takes out the pair at a place; gives the item, which is the caller's to free.
///
/// # Panics
///
/// If the place is behind the last pair.
pub fn remove_at(tx: &mut Tx<'_>, tree: Off<Tree>, at: &Cursor) -> Result<Off<u8>, OutOfMemory> {
    let (_, item) = at.pair(tx).expect("there is a pair");
    remove_run(tx, tree, at, 1)?;
    Ok(item)
}

/// Takes out up to `count` pairs from number `rank` on, and gives each sort key and item to `each`,
/// in order, once it is out of the tree; gives their number.
pub fn remove_ranks(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    rank: u64,
    count: u64,
    mut each: impl FnMut(&mut Tx<'_>, u64, Off<u8>) -> Result<(), OutOfMemory>,
) -> Result<u64, OutOfMemory> {
    let mut left = count;
    while left > 0 {
        let at = select(tx, tree, rank);
        if at.pair(tx).is_none() {
            break;
        }
        let pairs = &node::entries::<Pair>(tx, at.leaf)[at.index..];
        let run = pairs.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let pairs = pairs[..run].to_vec();
        pairs.iter().for_each(|pair| tx.prefetch(pair.item));
        remove_run(tx, tree, &at, run)?;
        for pair in pairs {
            each(tx, pair.sort.to_native(), pair.item)?;
        }
        left -= run as u64;
    }
    Ok(count - left)
}

/// Takes up to `limit` pairs out of the tree, from its end, and gives each to `each` (which frees
/// what hangs on it). When all are out, the tree has no memory of its own any more.
pub fn drain_step(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    limit: usize,
    each: impl FnMut(&mut Tx<'_>, u64, Off<u8>) -> Result<(), OutOfMemory>,
) -> Result<Drained, OutOfMemory> {
    let rank = len(tx, tree).saturating_sub(limit as u64);
    remove_ranks(tx, tree, rank, limit as u64, each)?;
    Ok(if rank == 0 { Drained::All } else { Drained::More })
}

/// Frees all nodes of a tree whose record nobody uses any more; the items are the caller's.
pub fn free(tx: &mut Tx<'_>, tree: Off<Tree>) -> Result<(), OutOfMemory> {
    let record = tx.read(tree);
    match record.root.get() {
        root if root.is_null() => Ok(()),
        root => free_below(tx, root, record.height.get().to_native()),
    }
}

fn free_below(tx: &mut Tx<'_>, node: Off<Node>, height: u64) -> Result<(), OutOfMemory> {
    let branches = if height == 0 { 0 } else { node::len(tx, node) };
    for index in 0..branches {
        let child = node::entry::<Branch>(tx, node, index).child;
        free_below(tx, child, height - 1)?;
    }
    tx.free(node)
}

/// Takes `count` pairs out of one leaf.
fn remove_run(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    at: &Cursor,
    count: usize,
) -> Result<(), OutOfMemory> {
    node::cut::<Pair>(tx, at.leaf, at.index, at.index + count)?;
    removed(tx, tree, at, count)
}

/// Takes out, from a place on to the end of its leaf, the pairs for whose items `goes` says yes; gives
/// their number. For removals of many pairs that stand near each other.
pub fn remove_in_leaf(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    at: &Cursor,
    goes: impl Fn(&View, Off<u8>) -> bool,
) -> Result<usize, OutOfMemory> {
    if at.leaf.is_null() {
        return Ok(0);
    }
    let pairs = &node::entries::<Pair>(tx, at.leaf)[at.index..];
    let kept: Vec<Pair> = pairs.iter().filter(|pair| !goes(tx, pair.item)).copied().collect();
    let gone = pairs.len() - kept.len();
    if gone > 0 {
        node::replace_end(tx, at.leaf, at.index, &kept)?;
        removed(tx, tree, at, gone)?;
    }
    Ok(gone)
}

/// Brings the tree into agreement with a leaf out of which `count` pairs were taken.
fn removed(tx: &mut Tx<'_>, tree: Off<Tree>, at: &Cursor, count: usize) -> Result<(), OutOfMemory> {
    for (level, step) in at.path().iter().enumerate().rev() {
        let (node, index) = (step.node, step.index);
        let child = node::entry::<Branch>(tx, node, index).child;
        let left = node::len(tx, child);
        if left == 0 {
            tx.free(child)?;
            node::cut::<Branch>(tx, node, index, index + 1)?;
            continue;
        }
        refresh(tx, node, index, -(count as i64))?;
        if left < LEAST && level + 1 == at.height {
            even_out::<Pair>(tx, node, index)?;
        } else if left < LEAST {
            even_out::<Branch>(tx, node, index)?;
        }
    }
    settle_root(tx, tree)
}

/// Joins the child at `index` with a neighbour, or spreads the entries of the two evenly.
fn even_out<E: Entry>(tx: &mut Tx<'_>, node: Off<Node>, index: usize) -> Result<(), OutOfMemory> {
    let children = node::len(tx, node);
    if children < 2 {
        return Ok(());
    }
    let at = index.min(children - 2);
    let left = node::entry::<Branch>(tx, node, at);
    let right = node::entry::<Branch>(tx, node, at + 1);
    let lens = [node::len(tx, left.child), node::len(tx, right.child)];
    let both = lens[0] + lens[1];
    let keep = if both <= JOIN_UP_TO { both } else { both / 2 };
    let moved = match keep.checked_sub(lens[0]) {
        Some(more) => {
            let count = count_of(&node::entries::<E>(tx, right.child)[..more]);
            node::move_back::<E>(tx, left.child, right.child, more)?;
            count
        }
        None => {
            let count = count_of(&node::entries::<E>(tx, left.child)[keep..]);
            node::move_on::<E>(tx, left.child, right.child, lens[0] - keep)?;
            -count
        }
    };
    refresh(tx, node, at, moved)?;
    if keep == both {
        tx.free(right.child)?;
        return node::cut::<Branch>(tx, node, at + 1, at + 2);
    }
    refresh(tx, node, at + 1, -moved)
}

fn count_of<E: Entry>(entries: &[E]) -> i64 {
    entries.iter().map(E::count).sum::<u64>() as i64
}

/// Drops roots with one child only, an empty root, and room that a lone leaf does not need.
fn settle_root(tx: &mut Tx<'_>, tree: Off<Tree>) -> Result<(), OutOfMemory> {
    loop {
        let record = tx.read(tree);
        let (root, height) = (record.root.get(), record.height.get().to_native());
        let entries = node::len(tx, root);
        if entries == 0 {
            tx.free(root)?;
            return set_root(tx, tree, Off::NULL, 0);
        }
        if height == 0 {
            if entries <= node::room(tx, root) / 4 {
                resize_leaf(tx, tree, root, entries * 2)?;
            }
            return Ok(());
        }
        if entries > 1 {
            return Ok(());
        }
        let child = node::entry::<Branch>(tx, root, 0).child;
        set_root(tx, tree, child, height - 1)?;
        tx.free(root)?;
    }
}

/// Changes the pair at a place into one that has the same place in the order.
///
/// # Panics
///
/// If the place is behind the last pair.
pub fn replace(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    at: &Cursor,
    sort: u64,
    item: Off<u8>,
) -> Result<(), OutOfMemory> {
    debug_assert!(at.rank(tx) < len(tx, tree));
    assert!(at.pair(tx).is_some(), "there is a pair");
    node::set(tx, at.leaf, at.index, Pair { sort: U64::from_native(sort), item })?;
    let mut first = at.index == 0;
    for step in at.path().iter().rev() {
        if first {
            refresh(tx, step.node, step.index, 0)?;
        }
        first &= step.index == 0;
    }
    Ok(())
}

/// Gives the pair at a place another sort key, and with it another place in the order.
///
/// `compare` says how another item with the new sort key compares with the pair's.
///
/// # Panics
///
/// If the place is behind the last pair.
pub fn resort(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    at: &Cursor,
    sort: u64,
    mut compare: impl FnMut(&View, Off<u8>) -> Ordering,
) -> Result<(), OutOfMemory> {
    let (_, item) = at.pair(tx).expect("there is a pair");
    let pairs = node::entries::<Pair>(tx, at.leaf);
    let mut order =
        |pair: &Pair| pair.sort.to_native().cmp(&sort).then_with(|| compare(tx, pair.item));
    // A neighbour in another leaf is not looked for: that is seldom worth it.
    let stays = at.index > 0
        && at.index + 1 < pairs.len()
        && order(&pairs[at.index - 1]).is_lt()
        && order(&pairs[at.index + 1]).is_gt();
    if stays {
        return replace(tx, tree, at, sort, item);
    }
    remove_run(tx, tree, at, 1)?;
    insert(tx, tree, sort, item, compare)
}
