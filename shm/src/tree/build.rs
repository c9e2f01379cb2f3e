//! Making trees as a whole.

use super::change::branch;
use super::node::{self, Branch, Pair, ROOM};
use super::{Tree, change};
use crate::error::OutOfMemory;
use crate::off::Off;
use crate::record::{Slot, U64};
use crate::tx::Tx;

/// Makes a tree of pairs that are in order. Gives the record, which the caller puts where it belongs.
///
/// It is as if one were [inserted](super::insert) after the other, so nodes are full but for the last
/// ones; they are made as a whole, so the log holds what the allocator needs, not the tree.
pub fn build(tx: &mut Tx<'_>, pairs: &[(u64, Off<u8>)]) -> Result<Tree, OutOfMemory> {
    debug_assert!(pairs.is_sorted_by_key(|(sort, _)| *sort));
    if pairs.is_empty() {
        return Ok(Tree::EMPTY);
    }
    let room = change::room_of_leaf(pairs.len());
    let mut level: Vec<Branch> = Vec::with_capacity(pairs.len().div_ceil(ROOM));
    for some in pairs.chunks(ROOM) {
        let pair = |&(sort, item): &(u64, Off<u8>)| Pair { sort: U64::from_native(sort), item };
        let entries: Vec<Pair> = some.iter().map(pair).collect();
        let leaf = node::new_with(tx, room, &entries)?;
        level.push(branch(entries[0], some.len() as u64, leaf));
    }
    let mut height = 0;
    while level.len() > 1 {
        let mut above = Vec::with_capacity(level.len().div_ceil(ROOM));
        for children in level.chunks(ROOM) {
            let count = children.iter().map(|it| it.count.get().to_native()).sum();
            let node = node::new_with(tx, ROOM, children)?;
            above.push(branch(children[0].first.get(), count, node));
        }
        (level, height) = (above, height + 1);
    }
    Ok(Tree { root: Slot::new(level[0].child), height: Slot::new(U64::from_native(height)) })
}
