//! Moving a tree's blocks out of spans that are to be emptied ([`crate::relocate`]).

use super::change::refresh;
use super::cursor::{Cursor, select};
use super::node::{self, Branch, Node, Pair};
use super::{Tree, len};
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::relocate::Mover;
use crate::tx::Tx;

/// Moves nodes and items, from the leaf on that has the pair of that rank. `each` is given the sort key and the item
/// of every pair; it gives the item's new block if it moved it. Gives the rank to go on with; `None` at the end
/// of the tree.
///
/// # Errors
///
/// If there is no memory; the transaction is to be rolled back then.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    mut rank: u64,
    mover: &mut Mover,
    mut each: impl FnMut(&mut Tx<'_>, &mut Mover, u64, Off<u8>) -> Result<Option<Off<u8>>, OutOfMemory>,
) -> Result<Option<u64>, OutOfMemory> {
    while rank < len(tx, tree) {
        let mut at = select(tx, tree, rank);
        relocate_path(tx, tree, &mut at, mover)?;
        for pair in &node::entries::<Pair>(tx, at.leaf)[at.index..] {
            tx.prefetch_to_relocate(pair.item);
        }
        while at.index < node::len(tx, at.leaf) {
            let pair = node::entry::<Pair>(tx, at.leaf, at.index);
            if let Some(item) = each(tx, mover, pair.sort.to_native(), pair.item)? {
                lead_to(tx, &at, Pair { item, ..pair })?;
            }
            at.index += 1;
            rank += 1;
            if mover.is_spent() {
                return Ok((rank < len(tx, tree)).then_some(rank));
            }
        }
    }
    Ok(None)
}

/// Moves the nodes that lead to a place, from the root down, and has the cursor know their new places.
fn relocate_path(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    at: &mut Cursor,
    mover: &mut Mover,
) -> Result<(), OutOfMemory> {
    for level in 0..=at.height {
        let node = if level == at.height { at.leaf } else { at.path[level].node };
        let Some(moved) = mover.relocate(tx, node)? else { continue };
        match level.checked_sub(1) {
            None => tx.set(field!(tree, Tree.root), moved)?,
            Some(above) => lead_branch_to(tx, at.path[above].node, at.path[above].index, moved)?,
        }
        if level == at.height {
            at.leaf = moved;
        } else {
            at.path[level].node = moved;
        }
    }
    Ok(())
}

fn lead_branch_to(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    index: usize,
    child: Off<Node>,
) -> Result<(), OutOfMemory> {
    let branch = node::entry::<Branch>(tx, node, index);
    node::set(tx, node, index, Branch { child, ..branch })
}

/// Changes the pair at a place, and the branches that repeat it.
fn lead_to(tx: &mut Tx<'_>, at: &Cursor, pair: Pair) -> Result<(), OutOfMemory> {
    node::set(tx, at.leaf, at.index, pair)?;
    let mut is_first = at.index == 0;
    for step in at.path().iter().rev() {
        if !is_first {
            break;
        }
        refresh(tx, step.node, step.index, 0)?;
        is_first = step.index == 0;
    }
    Ok(())
}
