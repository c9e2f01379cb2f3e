//! Moving a sorted set's blocks out of spans that are to be emptied ([`shm::relocate`]).

use shm::table;
use shm::tree;
use shm::{Mover, Off, OutOfMemory, Tx};

use super::{Zset, ZsetMember, member_of, members, order};
use crate::values::relocate::Position;
use crate::values::table::find;

/// The segments of the table.
const TABLE: u8 = 0;
/// The nodes of the tree, and the elements.
const TREE: u8 = 1;

/// See [`crate::values::relocate::relocate_step`].
pub fn relocate_step(
    tx: &mut Tx<'_>,
    at: Off<u8>,
    position: &mut Position,
    mover: &mut Mover,
) -> Result<bool, OutOfMemory> {
    let zset: Off<Zset> = at.cast();
    if position.part == TABLE {
        let next =
            table::relocate_step(tx, members(zset), position.table, mover, |_, mover, _| {
                mover.charge(1);
                Ok(None)
            })?;
        *position = match next {
            Some(table) => Position { table, ..*position },
            None => Position::at_part(TREE),
        };
        if mover.is_spent() {
            return Ok(false);
        }
    }
    // An element is found in the table by its member more cheaply than in the tree by its score.
    let element = |tx: &mut Tx<'_>, mover: &mut Mover, _, block: Off<u8>| {
        let Some(moved) = mover.relocate(tx, block)? else { return Ok(None) };
        let place = find::<ZsetMember>(tx, members(zset), member_of(tx, block));
        let place = place.expect("what is in the tree is in the table");
        table::replace(tx, &place, moved)?;
        Ok(Some(moved))
    };
    let next = tree::relocate_step(tx, order(zset), position.rank, mover, element)?;
    position.rank = next.unwrap_or(position.rank);
    Ok(next.is_none())
}
