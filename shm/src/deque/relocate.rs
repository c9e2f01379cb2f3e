//! Moving a deque's chunks out of spans that are to be emptied ([`crate::relocate`]).

use super::chunk::{self, Between};
use super::{Chunk, Deque};
use crate::error::OutOfMemory;
use crate::off::Off;
use crate::relocate::Mover;
use crate::tx::Tx;

/// Goes on with the walk through a deque's chunks, or begins one. Gives whether there is more to do.
///
/// There is no number by which a chunk in the midst of a long deque is found at once. So the chunk to go on
/// with is noted in this process, and forgotten when it is freed: then the walk is at its end. As long as it is not,
/// it is a chunk of some deque, linked with its neighbours, which is all that has to be known to move one that
/// has two. One that has not is moved only if it is the end of this deque.
///
/// # Errors
///
/// If there is no memory; the transaction is to be rolled back then.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    deque: Off<Deque>,
    begins: bool,
    mover: &mut Mover,
) -> Result<bool, OutOfMemory> {
    let mut at: Off<Chunk> = match begins {
        true => tx.get(deque).head.get(),
        false => tx.arena().watched_block().cast(),
    };
    while !at.is_null() {
        let between = chunk::around(tx, at);
        if !is_linked(tx, deque, at, between) {
            break;
        }
        if let Some(moved) = mover.relocate(tx, at)? {
            chunk::link(tx, deque, between, moved)?;
        }
        at = between.next;
        if mover.is_spent() {
            tx.arena().watch_block(at.cast());
            return Ok(!at.is_null());
        }
    }
    tx.arena().watch_block(Off::NULL);
    Ok(false)
}

/// Whether all that leads to a chunk is known.
fn is_linked(tx: &Tx<'_>, deque: Off<Deque>, chunk: Off<Chunk>, between: Between) -> bool {
    let record = tx.get(deque);
    (!between.previous.is_null() || record.head.get() == chunk)
        && (!between.next.is_null() || record.tail.get() == chunk)
}
