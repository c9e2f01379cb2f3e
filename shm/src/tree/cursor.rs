//! Finding places in a tree, and going on from them.

use std::cmp::Ordering;

use super::node::{self, Branch, MAX_HEIGHT, Node, Pair};
use super::{Tree, len};
use crate::arena::View;
use crate::off::Off;

/// One step of the way from the root to a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub node: Off<Node>,
    pub index: usize,
}

/// A place in a tree: at a pair, or behind the last one. Valid until the tree changes.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    pub(super) path: [Step; MAX_HEIGHT],
    pub(super) height: usize,
    /// Null in an empty tree.
    pub(super) leaf: Off<Node>,
    pub(super) index: usize,
}

impl Cursor {
    fn new(height: u64) -> Cursor {
        let height = height as usize;
        assert!(height <= MAX_HEIGHT, "a tree of height {height}: the arena is damaged");
        let nowhere = Step { node: Off::NULL, index: 0 };
        Cursor { path: [nowhere; MAX_HEIGHT], height, leaf: Off::NULL, index: 0 }
    }

    /// The steps from the root down to the node above the leaf.
    pub(super) fn path(&self) -> &[Step] {
        &self.path[..self.height]
    }

    /// The pair at this place; `None` behind the last one.
    #[inline]
    pub fn pair(&self, view: &View) -> Option<(u64, Off<u8>)> {
        if self.leaf.is_null() {
            return None;
        }
        let pair = node::entries::<Pair>(view, self.leaf).get(self.index)?;
        Some((pair.sort.to_native(), pair.item))
    }

    /// Number of pairs before this place. O(log n).
    pub fn rank(&self, view: &View) -> u64 {
        let before = |step: &Step| {
            let branches = &node::entries::<Branch>(view, step.node)[..step.index];
            branches.iter().map(|it| it.count.get().to_native()).sum::<u64>()
        };
        self.path().iter().map(before).sum::<u64>() + self.index as u64
    }

    /// Has the processor fetch the blocks of up to `count` pairs of the leaf, from this place on or before
    /// it, so that they need not be waited for one by one.
    #[inline]
    pub fn prefetch(&self, view: &View, count: usize, forward: bool) {
        if self.leaf.is_null() {
            return;
        }
        let pairs = node::entries::<Pair>(view, self.leaf);
        let range = match forward {
            true => self.index..self.index.saturating_add(count).min(pairs.len()),
            false => self.index.saturating_sub(count)..self.index,
        };
        pairs[range].iter().for_each(|pair| view.prefetch(pair.item));
    }

    /// Whether the place is at the first pair of a leaf.
    #[inline]
    pub fn begins_leaf(&self) -> bool {
        self.index == 0
    }

    /// Goes to the next pair, or behind the last one.
    #[inline]
    pub fn advance(&mut self, view: &View) {
        if self.leaf.is_null() {
            return;
        }
        let len = node::len(view, self.leaf);
        self.index = (self.index + 1).min(len);
        if self.index == len {
            self.next_leaf(view);
        }
    }

    /// Goes to the previous pair; stays and says no if there is none.
    #[inline]
    pub fn retreat(&mut self, view: &View) -> bool {
        if self.index == 0 {
            return self.previous_leaf(view);
        }
        self.index -= 1;
        true
    }

    /// Goes from behind a leaf to the next one, if there is a next one.
    fn next_leaf(&mut self, view: &View) {
        let up = self.path().iter().rposition(|it| it.index + 1 < node::len(view, it.node));
        if let Some(level) = up {
            self.path[level].index += 1;
            self.descend(view, level, |_, _| 0);
            self.index = 0;
        }
    }

    fn previous_leaf(&mut self, view: &View) -> bool {
        let Some(level) = self.path().iter().rposition(|it| it.index > 0) else {
            return false;
        };
        self.path[level].index -= 1;
        self.descend(view, level, |view, node| node::len(view, node) - 1);
        self.index = node::len(view, self.leaf) - 1;
        true
    }

    /// Follows the branch chosen at a level, and below it those that `choose` says.
    fn descend(&mut self, view: &View, level: usize, choose: impl Fn(&View, Off<Node>) -> usize) {
        let step = self.path[level];
        let mut node = node::entry::<Branch>(view, step.node, step.index).child;
        for level in level + 1..self.height {
            let index = choose(view, node);
            self.path[level] = Step { node, index };
            node = node::entry::<Branch>(view, node, index).child;
        }
        self.leaf = node;
    }

    /// Whether the place is at the end of its leaf, and no leaf comes after.
    fn is_end(&self, view: &View) -> bool {
        self.path().iter().all(|it| it.index + 1 == node::len(view, it.node))
            && (self.leaf.is_null() || self.index == node::len(view, self.leaf))
    }
}

/// The place behind all pairs for which `before` says yes, in the leaf that ends with them: where a
/// pair would be put in.
#[inline]
pub(super) fn insertion_point(
    view: &View,
    tree: Off<Tree>,
    mut before: impl FnMut(&View, u64, Off<u8>) -> bool,
) -> Cursor {
    let record = view.get(tree);
    let mut at = Cursor::new(record.height.get().to_native());
    let mut node = record.root.get();
    if node.is_null() {
        return at;
    }
    let mut is_before = |pair: Pair| before(view, pair.sort.to_native(), pair.item);
    for level in 0..at.height {
        let branches = node::entries::<Branch>(view, node);
        let index = branches.partition_point(|it| is_before(it.first.get())).saturating_sub(1);
        at.path[level] = Step { node, index };
        node = branches[index].child;
    }
    at.leaf = node;
    at.index = node::entries::<Pair>(view, node).partition_point(|it| is_before(*it));
    at
}

/// The first pair for which `before` says no; it says yes up to some pair and no from there on.
#[inline]
pub fn partition_point(
    view: &View,
    tree: Off<Tree>,
    before: impl FnMut(&View, u64, Off<u8>) -> bool,
) -> Cursor {
    let mut at = insertion_point(view, tree, before);
    if !at.leaf.is_null() && at.index == node::len(view, at.leaf) {
        at.next_leaf(view);
    }
    at
}

/// The first pair that is not before what is looked for: its sort key, and among equal ones
/// `compare`, which says how an item compares with it ([`Ordering::Less`] for those before).
#[inline]
pub fn lower_bound(
    view: &View,
    tree: Off<Tree>,
    sort: u64,
    mut compare: impl FnMut(&View, Off<u8>) -> Ordering,
) -> Cursor {
    partition_point(view, tree, |view, other, item| {
        other < sort || other == sort && compare(view, item).is_lt()
    })
}

/// The first pair that is behind what is looked for; see [`lower_bound`].
#[inline]
pub fn upper_bound(
    view: &View,
    tree: Off<Tree>,
    sort: u64,
    mut compare: impl FnMut(&View, Off<u8>) -> Ordering,
) -> Cursor {
    partition_point(view, tree, |view, other, item| {
        other < sort || other == sort && compare(view, item).is_le()
    })
}

/// The pair with this sort key for whose item `compare` says [`Ordering::Equal`].
#[inline]
pub fn find(
    view: &View,
    tree: Off<Tree>,
    sort: u64,
    mut compare: impl FnMut(&View, Off<u8>) -> Ordering,
) -> Option<Cursor> {
    let at = lower_bound(view, tree, sort, &mut compare);
    let (found, item) = at.pair(view)?;
    (found == sort && compare(view, item).is_eq()).then_some(at)
}

/// The pair with `rank` pairs before it, or behind the last one.
pub fn select(view: &View, tree: Off<Tree>, rank: u64) -> Cursor {
    let record = view.get(tree);
    let mut at = Cursor::new(record.height.get().to_native());
    let mut left = rank.min(len(view, tree));
    let mut node = record.root.get();
    for level in 0..at.height {
        let branches = node::entries::<Branch>(view, node);
        let mut index = 0;
        // Behind the last pair is in the last leaf.
        while left >= branches[index].count.get().to_native() && index + 1 < branches.len() {
            left -= branches[index].count.get().to_native();
            index += 1;
        }
        at.path[level] = Step { node, index };
        node = branches[index].child;
    }
    at.leaf = node;
    at.index = left as usize;
    debug_assert!(rank < len(view, tree) || at.is_end(view));
    at
}

/// The first pair.
pub fn first(view: &View, tree: Off<Tree>) -> Option<(u64, Off<u8>)> {
    select(view, tree, 0).pair(view)
}

/// The last pair.
pub fn last(view: &View, tree: Off<Tree>) -> Option<(u64, Off<u8>)> {
    select(view, tree, len(view, tree).checked_sub(1)?).pair(view)
}
