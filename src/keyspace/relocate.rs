//! Moving a database's blocks out of spans that are to be emptied, in steps ([`shm::relocate`]).

use shm::table;
use shm::{Mover, Off, OutOfMemory, Tx};

use super::{Database, EntryView, find, keys};
use crate::values;

/// How far the walk through a database has got.
#[derive(Debug, Clone, Default)]
pub struct Position {
    table: table::Position,
    inside: Option<Inside>,
}

/// A value that a step did not come to the end of. Its entry is looked up again: it may be another one then, or gone.
#[derive(Debug, Clone)]
struct Inside {
    key: Vec<u8>,
    at: values::Position,
}

/// What a step has done, in keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// Keys of which something was moved.
    pub moved: u64,
    /// Keys that stayed where they are.
    pub kept: u64,
}

/// Goes on with the walk through a database, until the mover is spent or all is done; gives whether it is.
///
/// # Errors
///
/// If there is no memory; the transaction is to be rolled back then.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    position: &mut Position,
    mover: &mut Mover,
    seen: &mut Keys,
) -> Result<bool, OutOfMemory> {
    if let Some(mut inside) = position.inside.take() {
        if !relocate_inside(tx, database, &mut inside, mover)? {
            position.inside = Some(inside);
        }
        if mover.is_spent() {
            return Ok(false);
        }
    }
    let inside = &mut position.inside;
    let each = |tx: &mut Tx<'_>, mover: &mut Mover, block: Off<u8>| {
        let before = mover.moved;
        let moved = mover.relocate(tx, block)?;
        let (kind, value) = {
            let entry = EntryView::new(tx, moved.unwrap_or(block).cast());
            (entry.kind(), entry.value_off())
        };
        if !values::is_flat(kind) {
            let mut at = values::Position::default();
            if !values::relocate_step(tx, kind, value, &mut at, mover)? {
                let key = EntryView::new(tx, moved.unwrap_or(block).cast()).key().to_vec();
                *inside = Some(Inside { key, at });
            }
        }
        let is_moved = mover.moved > before;
        seen.moved += u64::from(is_moved);
        seen.kept += u64::from(!is_moved);
        Ok(moved)
    };
    let next = table::relocate_step(tx, keys(database), position.table, mover, each)?;
    position.table = next.unwrap_or(position.table);
    Ok(next.is_none() && position.inside.is_none())
}

fn relocate_inside(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    inside: &mut Inside,
    mover: &mut Mover,
) -> Result<bool, OutOfMemory> {
    let hash = tx.hash(&inside.key);
    let Some(found) = find(tx, database, hash, &inside.key) else { return Ok(true) };
    let (kind, value) = {
        let entry = EntryView::new(tx, found.entry);
        (entry.kind(), entry.value_off())
    };
    values::relocate_step(tx, kind, value, &mut inside.at, mover)
}
