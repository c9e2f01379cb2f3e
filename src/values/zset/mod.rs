//! Sorted sets: members with a score each, in the order of score and, among equal ones, of bytes.
//!
//! | kind | what the entry holds |
//! | --- | --- |
//! | [`Kind::ZsetPacked`], [`Kind::ZsetSmall`] | a packed list of member, score, member, score, ..., in order |
//! | [`Kind::ZsetTree`] | a [`Zset`]: a table that finds an element by its member, a tree that keeps them in order |
//!
//! A value is read through a [`Reader`], and changed by the functions of [`change`], which say when the
//! key's entry had to be made anew.

mod build;
mod change;
mod range;
mod reader;
mod relocate;
pub mod score;

pub use build::{Builder, create};
pub use change::{Spot, add, locate, remove, remove_ranks, rescore};
pub use range::{LexBound, LexRange, ScoreRange};
pub use reader::{Element, Elements, Reader};
pub use relocate::relocate_step;

use std::collections::HashSet;

use shm::check::{Checker, mark_tree};
use shm::table::{self, Drained, Table};
use shm::tree::{self, Tree};
use shm::{Fresh, Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use super::packed;
use crate::keyspace::entry::Kind;
use crate::values::table::{Element as _, find, free_step as free_table, mark as mark_elements};

record! {
    /// The root record of a sorted set in a tree.
    pub struct Zset {
        /// The elements by member; the one counting referrer of their blocks.
        pub members: Table,
        /// The same elements in order; the sort key is [`score::sort_key`].
        pub order: Tree,
    }
}

record! {
    /// The head of an element's block; the member's bytes follow.
    pub struct ZsetMember {
        /// The bits of the score, a double.
        pub score: Slot<U64>,
        /// Bytes of the member.
        pub len: U32,
    }
}

const HEAD: u64 = size_of::<ZsetMember>() as u64;

impl super::table::Element for ZsetMember {
    const HEADER: u64 = HEAD;

    #[inline(always)]
    fn len(view: &View, block: Off<u8>) -> u64 {
        HEAD + u64::from(view.get(block.cast::<ZsetMember>()).len.to_native())
    }

    #[inline(always)]
    fn key(view: &View, block: Off<u8>) -> &[u8] {
        let len = view.get(block.cast::<ZsetMember>()).len.to_native();
        view.bytes(block.byte_add(HEAD), len as usize)
    }
}

#[inline(always)]
fn members(zset: Off<Zset>) -> Off<Table> {
    field!(zset, Zset.members)
}

#[inline(always)]
fn order(zset: Off<Zset>) -> Off<Tree> {
    field!(zset, Zset.order)
}

/// The member of an element's block.
#[inline(always)]
fn member_of(view: &View, block: Off<u8>) -> &[u8] {
    ZsetMember::key(view, block)
}

/// The score of an element's block.
#[inline(always)]
fn score_of(view: &View, block: Off<u8>) -> f64 {
    f64::from_bits(view.get(block.cast::<ZsetMember>()).score.get().to_native())
}

/// How an element compares with a member of the same score.
#[inline(always)]
fn by_member(member: &[u8]) -> impl Fn(&View, Off<u8>) -> std::cmp::Ordering {
    move |view, block| member_of(view, block).cmp(member)
}

/// Makes an element's block.
fn new_element(tx: &mut Tx<'_>, member: &[u8], score: f64) -> Result<Off<u8>, OutOfMemory> {
    let len = u32::try_from(member.len()).map_err(|_| OutOfMemory)?;
    let fresh = tx.alloc(HEAD + u64::from(len))?;
    let score = Slot::new(U64::from_native(score.to_bits()));
    tx.init(&fresh, 0, ZsetMember { score, len: U32::from_native(len) });
    tx.init_bytes(&fresh, HEAD, member);
    Ok(fresh.off())
}

/// Frees up to about `limit` blocks of what hangs on a root record. True when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, at: Off<u8>, limit: usize) -> Result<bool, OutOfMemory> {
    /// Pairs for each block of the tree that goes, at the least.
    const PAIRS: usize = 8;
    let zset = at.cast();
    // The tree goes first, so that none of its pairs leads to a block that is gone.
    let pairs = limit.saturating_mul(PAIRS);
    match tree::drain_step(tx, order(zset), pairs, |_, _, _| Ok(()))? {
        Drained::More => Ok(false),
        Drained::All => free_table(tx, members(zset), limit),
    }
}

/// Marks the blocks of a value and proves what holds of it. A tree that was set aside to be freed
/// (`len` is 0) may hold less than its table.
pub fn mark(checker: &mut Checker<'_>, kind: Kind, at: Off<u8>, len: usize, what: &str) {
    if kind != Kind::ZsetTree {
        return mark_packed(checker, at, len, what);
    }
    let zset = at.cast();
    let mut sound = HashSet::new();
    mark_elements::<ZsetMember>(checker, members(zset), what, |_, block| {
        sound.insert(block);
    });
    let compare = |view: &View, a, b| member_of(view, a).cmp(member_of(view, b));
    mark_tree(checker, order(zset), what, compare, |checker, sort, block| {
        if !sound.contains(&block) {
            checker.finding(format!("{what}: {block:?} is in the tree, but not in the table"));
            return false;
        }
        let score = score_of(checker.view(), block);
        if score.is_nan() || score::sort_key(score) != sort {
            checker.finding(format!("{what}: {block:?} with score {score} is sorted as {sort:#x}"));
        }
        true
    });
    let view = checker.view();
    let lens = (table::len(view, members(zset)), tree::len(view, order(zset)));
    if len != 0 && (lens.0 != lens.1 || lens.0 == 0) {
        checker.finding(format!("{what}: {} members in the table, {} in the tree", lens.0, lens.1));
    }
}

fn mark_packed(checker: &mut Checker<'_>, at: Off<u8>, len: usize, what: &str) {
    let Some(packed) = packed::check(checker, at, len, what) else { return };
    if !packed.count.is_multiple_of(2) {
        return checker.finding(format!("{what}: a member without a score at {at:?}"));
    }
    let elements: Vec<(Vec<u8>, f64)> = Reader::Packed(packed)
        .elements(0)
        .map(|element| (element.member.to_vec(), element.score))
        .collect();
    if elements.iter().any(|element| element.1.is_nan()) {
        checker.finding(format!("{what}: a score at {at:?} is no number"));
    }
    if !elements.is_sorted_by(|a, b| (a.1, &a.0) < (b.1, &b.0)) {
        checker.finding(format!("{what}: the elements at {at:?} are not in order"));
    }
    let different: HashSet<&[u8]> = elements.iter().map(|element| &element.0[..]).collect();
    if different.len() != elements.len() {
        checker.finding(format!("{what}: a member stands twice at {at:?}"));
    }
}

/// Bytes of what hangs on a root record.
pub fn memory(view: &View, at: Off<u8>, samples: u64) -> u64 {
    let zset = at.cast();
    super::table::memory(view, members(zset), samples) + tree::memory(view, order(zset), samples)
}

/// Copies what hangs on a root record; the copy's record goes to `start` in the fresh entry.
pub fn copy(tx: &mut Tx<'_>, from: Off<u8>, fresh: &Fresh, start: u64) -> Result<(), OutOfMemory> {
    let from = order(from.cast());
    let mut blocks = Vec::with_capacity(tree::len(tx, from) as usize);
    tree::for_each(tx, from, |_, sort, block| blocks.push((sort, block)));
    let mut made = build::Made::with_capacity(blocks.len());
    for (sort, block) in blocks {
        let len = ZsetMember::len(tx, block);
        let copy = tx.alloc(len)?;
        tx.init_copy(&copy, 0, block, len);
        made.push(tx.hash(member_of(tx, block)), sort, copy.off());
    }
    let zset = made.finish(tx)?;
    tx.init(fresh, start, zset);
    Ok(())
}

/// The element with a member.
#[inline]
fn find_member(view: &View, zset: Off<Zset>, member: &[u8]) -> Option<Off<u8>> {
    find::<ZsetMember>(view, members(zset), member).map(|place| place.entry)
}

/// A packed value that the entry holds.
#[inline(always)]
fn is_packed(kind: Kind) -> bool {
    matches!(kind, Kind::ZsetPacked | Kind::ZsetSmall)
}

/// Bytes that a packed value may have beyond Redis's limits, before it becomes a tree.
const SMALL_BYTES: usize = 2048;
/// Elements that it may have.
const SMALL_ELEMENTS: usize = 64;

/// The limits within which a sorted set is a `listpack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `zset-max-listpack-entries`.
    pub entries: u64,
    /// `zset-max-listpack-value`, in bytes.
    pub value: u64,
}

impl Limits {
    /// The kind of a packed value with so many elements in so many bytes of run, whose longest member
    /// has so many; `None` if it has to be a tree.
    fn kind(&self, old: Kind, elements: usize, longest: usize, run: usize) -> Option<Kind> {
        let within = elements as u64 <= self.entries && longest as u64 <= self.value;
        // An encoding never goes back.
        if old == Kind::ZsetPacked && within && run <= i32::MAX as usize {
            return Some(Kind::ZsetPacked);
        }
        let small = elements <= SMALL_ELEMENTS && packed::value_len(run) <= SMALL_BYTES;
        small.then_some(Kind::ZsetSmall)
    }
}

#[cfg(test)]
mod tests;
