//! Moving a stream's blocks out of spans that are to be emptied ([`shm::relocate`]).
//!
//! What leads to a block besides the tree that it stands in: the stream's `tail` to its last node, a consumer's tree
//! to its pending entries, and each of these to its consumer.

use shm::tree::{self, Tree};
use shm::{Mover, Off, OutOfMemory, Slot, Tx, field};

use super::group::{self, Consumer, Group};
use super::{Node, Stream};
use crate::values::relocate::Position;

/// The record, and the nodes.
const NODES: u8 = 0;
/// The groups, without what hangs on them.
const GROUPS: u8 = 1;
/// Pending entries of a group.
const PENDING: u8 = 2;
/// Consumers of a group, without what hangs on them.
const CONSUMERS: u8 = 3;
/// The trees of the group's consumers.
const OWN: u8 = 4;

/// See [`crate::values::relocate::relocate_step`].
pub fn relocate_step(
    tx: &mut Tx<'_>,
    at: Off<u8>,
    position: &mut Position,
    mover: &mut Mover,
) -> Result<bool, OutOfMemory> {
    if position.part == NODES && position.rank == 0 {
        mover.relocate_at(tx, at.cast::<Slot<Off<Stream>>>())?;
    }
    let stream: Off<Stream> = tx.read(at.cast());
    loop {
        let rank = position.rank;
        let next = match position.part {
            NODES => relocate_nodes(tx, stream, rank, mover)?,
            GROUPS => {
                let each = |tx: &mut Tx<'_>, mover: &mut Mover, _, group| mover.relocate(tx, group);
                tree::relocate_step(tx, field!(stream, Stream.groups), rank, mover, each)?
            }
            _ => match item(tx, field!(stream, Stream.groups), position.outer) {
                Some(group) => relocate_of_group(tx, group, position, mover)?,
                None => return Ok(true),
            },
        };
        *position = match next {
            Some(rank) => Position { rank, ..*position },
            None => after(tx, stream, position),
        };
        if mover.is_spent() {
            return Ok(false);
        }
    }
}

/// A part of a group's.
fn relocate_of_group(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    position: &Position,
    mover: &mut Mover,
) -> Result<Option<u64>, OutOfMemory> {
    mover.charge(1);
    match position.part {
        PENDING => group::relocate_pending(tx, group, position.rank, mover),
        CONSUMERS => group::relocate_consumers(tx, group, position.rank, mover),
        _ => match item::<Consumer>(tx, field!(group, Group.consumers), position.inner) {
            None => Ok(None),
            Some(consumer) => {
                let own = group::pending_of(consumer);
                tree::relocate_step(tx, own, position.rank, mover, |_, mover, _, _| {
                    mover.charge(1);
                    Ok(None)
                })
            }
        },
    }
}

/// What comes behind a part that is done.
fn after(tx: &Tx<'_>, stream: Off<Stream>, position: &Position) -> Position {
    let Position { part, outer, inner, .. } = *position;
    match part {
        OWN => {
            let groups = field!(stream, Stream.groups);
            let consumers = item::<Group>(tx, groups, outer)
                .map_or(0, |group| group::consumer_count(tx, group));
            if inner + 1 < consumers {
                Position { outer, inner: inner + 1, ..Position::at_part(OWN) }
            } else {
                Position { outer: outer + 1, ..Position::at_part(PENDING) }
            }
        }
        _ => Position { outer, ..Position::at_part(part + 1) },
    }
}

/// The block of that rank.
fn item<T>(tx: &Tx<'_>, tree: Off<Tree>, rank: u64) -> Option<Off<T>> {
    tree::select(tx, tree, rank).pair(tx).map(|(_, item)| item.cast())
}

fn relocate_nodes(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    rank: u64,
    mover: &mut Mover,
) -> Result<Option<u64>, OutOfMemory> {
    let tail = field!(stream, Stream.tail);
    tree::relocate_step(tx, field!(stream, Stream.nodes), rank, mover, |tx, mover, _, node| {
        let moved = mover.relocate(tx, node)?;
        if let Some(moved) = moved
            && tx.read(tail).get() == node.cast::<Node>()
        {
            tx.set(tail, moved.cast())?;
        }
        Ok(moved)
    })
}
