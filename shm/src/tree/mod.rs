//! An ordered tree with ranks: a B+ tree of pairs (64-bit sort key, block).
//!
//! The tree knows nothing of what the blocks hold. Pairs ascend by sort key; those with equal keys
//! are put in order by a closure of the caller's that looks into the blocks.
//!
//! ```text
//! Tree ──▶ node of branches: (first pair, count, child) × 31 at most
//!            └─▶ ... all leaves at one depth ...
//!                  └─▶ leaf: pairs (sort key, block) × 31 at most
//! ```
//!
//! - A branch repeats the first pair of its child and counts the pairs below, so a look-up by rank
//!   costs as much as one by key.
//! - A lone leaf has room for 3, 7, 15 or 31 pairs, and grows and shrinks among these. With two
//!   leaves or more, every node has room for 31 entries.
//! - A full node is split in the middle; at either end of the tree it is split so that it stays
//!   full, so pairs that come in order leave full leaves behind. A node with less than
//!   [`LEAST`](change::LEAST) entries is joined with its neighbour, or takes entries from it.
//! - Leaves are not linked: a [`Cursor`] knows the way that leads to its place, and so to the next.
//!
//! What stands behind a node's length is nobody's, and is written without a log; what becomes shorter logs
//! its end ([`Tx::insert`](crate::Tx::insert), [`Tx::remove`](crate::Tx::remove)).

mod build;
mod change;
mod cursor;
mod memory;
mod node;
mod relocate;

pub use build::build;
pub use change::{
    drain_step, free, insert, remove, remove_at, remove_in_leaf, remove_ranks, replace, resort,
};
pub use cursor::{Cursor, find, first, last, lower_bound, partition_point, select, upper_bound};
pub use memory::memory;
pub use node::{Branch, MAX_HEIGHT, Node, Pair, ROOM};
pub(crate) use node::{bytes, entries, first_pair};
pub use relocate::relocate_step;

use crate::arena::View;
use crate::off::Off;
use crate::record;
use crate::record::{Slot, U64};

record! {
    /// An ordered tree; stands inside its owner's record.
    pub struct Tree {
        /// The root: a leaf if `height` is 0; null while the tree is empty.
        pub root: Slot<Off<Node>>,
        /// Levels of branches above the leaves.
        pub height: Slot<U64>,
    }
}

impl Tree {
    /// A tree without pairs; takes no memory beside its record.
    pub const EMPTY: Tree =
        Tree { root: Slot::new(Off::NULL), height: Slot::new(U64::from_native(0)) };
}

/// Number of pairs: the root's branches know it.
#[inline]
pub fn len(view: &View, tree: Off<Tree>) -> u64 {
    let record = view.get(tree);
    let root = record.root.get();
    match record.height.get().to_native() {
        _ if root.is_null() => 0,
        0 => node::len(view, root) as u64,
        _ => entries::<Branch>(view, root).iter().map(node::Entry::count).sum(),
    }
}

/// Calls `each` with the sort key and block of every pair, in order.
pub fn for_each(view: &View, tree: Off<Tree>, mut each: impl FnMut(&View, u64, Off<u8>)) {
    let mut at = select(view, tree, 0);
    while let Some((sort, item)) = at.pair(view) {
        if at.begins_leaf() {
            at.prefetch(view, ROOM, true);
        }
        each(view, sort, item);
        at.advance(view);
    }
}
