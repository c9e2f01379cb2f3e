//! Moving what hangs on values out of spans that are to be emptied, in steps ([`shm::relocate`]).

use shm::blob;
use shm::deque;
use shm::table;
use shm::{Mover, Off, OutOfMemory, Tx};

use super::{stream, zset};
use crate::keyspace::entry::Kind;

/// How far the walk through a value has got. What it says is never relied upon: the value may have changed
/// since, or be another one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Position {
    /// Which part of the value it is in; each type numbers its own.
    pub(super) part: u8,
    /// Of a tree whose items have trees: the rank of the item.
    pub(super) outer: u64,
    /// The same one level below.
    pub(super) inner: u64,
    /// The rank, or the number of a blob's part.
    pub(super) rank: u64,
    /// Where in the table.
    pub(super) table: table::Position,
}

impl Position {
    /// The start of a part.
    pub(super) fn at_part(part: u8) -> Position {
        Position { part, ..Position::default() }
    }
}

/// Goes on with the walk through what hangs on a root record, until the mover is spent or all is done; gives
/// whether it is. If not, the mover is spent.
///
/// # Errors
///
/// If there is no memory; the transaction is to be rolled back then.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    kind: Kind,
    at: Off<u8>,
    position: &mut Position,
    mover: &mut Mover,
) -> Result<bool, OutOfMemory> {
    match kind {
        Kind::Blob => {
            let next = blob::relocate_step(tx, at.cast(), position.rank, mover)?;
            position.rank = next.unwrap_or(position.rank);
            Ok(next.is_none())
        }
        Kind::ListDeque => {
            let more = deque::relocate_step(tx, at.cast(), position.part == 0, mover)?;
            position.part = 1;
            Ok(!more)
        }
        Kind::SetTable | Kind::HashTable => {
            let next = table::relocate_step(
                tx,
                at.cast(),
                position.table,
                mover,
                |tx, mover, element| mover.relocate(tx, element),
            )?;
            position.table = next.unwrap_or(position.table);
            Ok(next.is_none())
        }
        Kind::ZsetTree => zset::relocate_step(tx, at, position, mover),
        Kind::Stream => stream::relocate_step(tx, at, position, mover),
        _ => Ok(true),
    }
}
