//! Marking the nodes of an ordered tree, and proving its order.

use std::cmp::Ordering;

use super::Checker;
use crate::arena::View;
use crate::off::Off;
use crate::tree::{self, Branch, MAX_HEIGHT, Node, Pair, ROOM, Tree};

/// Marks the nodes of a tree and gives the sort key and item of every pair to `each`, in order;
/// `each` marks what is to be marked and says whether the item may be read. Readable neighbours with
/// equal sort keys are compared with `order`. A tree that is being drained passes as well.
pub fn mark_tree(
    checker: &mut Checker<'_>,
    tree: Off<Tree>,
    what: &str,
    order: impl FnMut(&View, Off<u8>, Off<u8>) -> Ordering,
    each: impl FnMut(&mut Checker<'_>, u64, Off<u8>) -> bool,
) {
    let record = checker.view().read(tree);
    let (root, height) = (record.root.get(), record.height.get().to_native());
    let mut walk = Walk { checker, what, order, each, last: None };
    if height > MAX_HEIGHT as u64 {
        walk.finding(format!("a tree of height {height}"));
    } else if !root.is_null() {
        walk.node(root, height, true, height > 0);
    }
}

/// A walk over a tree from left to right.
struct Walk<'c, 'a, O, E> {
    checker: &'c mut Checker<'a>,
    what: &'c str,
    order: O,
    each: E,
    /// The pair before, and whether its item may be read.
    last: Option<(Pair, bool)>,
}

impl<O, E> Walk<'_, '_, O, E>
where
    O: FnMut(&View, Off<u8>, Off<u8>) -> Ordering,
    E: FnMut(&mut Checker<'_>, u64, Off<u8>) -> bool,
{
    fn finding(&mut self, problem: String) {
        self.checker.finding(format!("{}: {problem}", self.what));
    }

    /// Walks over a node; gives its first pair, if it can be read and has one, and the pairs below.
    fn node(
        &mut self,
        node: Off<Node>,
        height: u64,
        is_root: bool,
        several: bool,
    ) -> (Option<Pair>, u64) {
        let view = self.checker.view();
        if !self.checker.mark(node, tree::bytes(true, 0), self.what) {
            return (None, 0);
        }
        let head = view.read(node);
        let (len, room) = (usize::from(head.len.get().to_native()), head.room.to_native().into());
        let full_size =
            tree::bytes(height == 0, room) <= crate::alloc::block_size(view, node.cast());
        if len > room || room > ROOM || several && room < ROOM || !full_size {
            self.finding(format!("{node:?} has {len} entries, and room for {room}"));
            return (None, 0);
        }
        if len == 0 || is_root && height > 0 && len == 1 {
            self.finding(format!("{node:?} has {len} entries"));
            return (None, 0);
        }
        if height > 0 {
            return (Some(tree::first_pair(view, node)), self.branches(node, height));
        }
        for pair in tree::entries::<Pair>(view, node) {
            self.pair(*pair);
        }
        (Some(tree::first_pair(view, node)), len as u64)
    }

    fn branches(&mut self, node: Off<Node>, height: u64) -> u64 {
        let branches = tree::entries::<Branch>(self.checker.view(), node);
        let mut count = 0;
        for branch in branches {
            let (first, below) = self.node(branch.child, height - 1, false, true);
            let noted = branch.first.get();
            if first.is_some_and(|it| it.sort != noted.sort || it.item != noted.item) {
                self.finding(format!(
                    "{node:?} does not repeat the first pair of {:?}",
                    branch.child
                ));
            }
            let what = format!("{}: pairs below {:?}", self.what, branch.child);
            self.checker.compare(&what, below, branch.count.get().to_native());
            count += below;
        }
        count
    }

    fn pair(&mut self, pair: Pair) {
        let sort = pair.sort.to_native();
        let readable = (self.each)(self.checker, sort, pair.item);
        if let Some((last, last_readable)) = self.last.replace((pair, readable)) {
            let view = self.checker.view();
            let order = match last.sort.to_native().cmp(&sort) {
                Ordering::Equal if readable && last_readable => {
                    (self.order)(view, last.item, pair.item)
                }
                Ordering::Equal => Ordering::Less,
                other => other,
            };
            if order.is_ge() {
                self.finding(format!("{:?} stands before {:?}", last.item, pair.item));
            }
        }
    }
}
