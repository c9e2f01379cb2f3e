//! When blocked sessions give up: an ordered tree in the root, of the waits that have a deadline.
//!
//! Of two with the same deadline the client that is older comes first.

use std::cmp::Ordering;

use shm::tree::{self, Tree};
use shm::{Off, OutOfMemory, Tx, View, field};

use super::waits::Wait;
use crate::root::Root;

/// The tree.
pub fn tree(root: Off<Root>) -> Off<Tree> {
    field!(root, Root.deadlines)
}

/// The place of a wait in the order.
fn sort(view: &View, wait: Off<Wait>) -> u64 {
    view.get(wait).deadline_ms.to_native().max(0) as u64
}

/// The order of two waits with the same deadline.
pub fn compare(view: &View, one: Off<u8>, other: Off<u8>) -> Ordering {
    let client = |wait: Off<u8>| view.get(view.get(wait.cast::<Wait>()).session).id.to_native();
    client(one).cmp(&client(other))
}

/// Adds a wait, whose record is complete.
pub fn insert(tx: &mut Tx<'_>, root: Off<Root>, wait: Off<Wait>) -> Result<(), OutOfMemory> {
    let sort = sort(tx, wait);
    tree::insert(tx, tree(root), sort, wait.cast(), |view, item| compare(view, item, wait.cast()))
}

/// Takes a wait out.
pub fn remove(tx: &mut Tx<'_>, root: Off<Root>, wait: Off<Wait>) -> Result<(), OutOfMemory> {
    let sort = sort(tx, wait);
    let own = |view: &View, item: Off<u8>| compare(view, item, wait.cast());
    let removed = tree::remove(tx, tree(root), sort, own)?;
    debug_assert_eq!(removed, Some(wait.cast()), "a deadline is not in the tree");
    Ok(())
}

/// The wait that ends first, and when, in milliseconds since the epoch.
pub fn first(view: &View, root: Off<Root>) -> Option<(i64, Off<Wait>)> {
    if view.get(root).deadlines.root.get().is_null() {
        return None;
    }
    let (sort, wait) = tree::first(view, tree(root))?;
    Some((sort as i64, wait.cast()))
}

/// Number of waits that have a deadline.
pub fn len(view: &View, root: Off<Root>) -> u64 {
    tree::len(view, tree(root))
}
