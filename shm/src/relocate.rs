//! Moving blocks out of spans that are to be emptied: what the walks through the containers share.
//!
//! Each container knows the one referrer of each of its blocks and has a `relocate_step`, which goes on with
//! a walk through them, moves those that lie in such spans ([`View::is_evacuating`]), and stops when its
//! [`Mover`] is spent. Between two steps anything may happen: what a step is given to go on with is a hash, a
//! rank or a number, of which any value is allowed. At worst a block is passed over, which stays where it is
//! until the next walk.

use crate::arena::{Arena, View};
use crate::error::OutOfMemory;
use crate::layout::SPAN;
use crate::off::Off;
use crate::record::Slot;
use crate::tx::Tx;

/// What a step may still do, and what was done.
#[derive(Debug, Clone)]
pub struct Mover {
    left: u64,
    /// Blocks that were moved.
    pub moved: u64,
    /// Blocks that were looked at and stay where they are.
    pub kept: u64,
}

/// What it costs to move a block, in looks at one.
const MOVE: u64 = 8;
/// Bytes whose copy costs as much as a look.
const BYTES: u64 = 256;

impl Mover {
    /// One that is spent after so many looks at blocks, or as much work of other kinds. At least, a step does
    /// one thing.
    pub fn new(looks: u64) -> Mover {
        Mover { left: looks, moved: 0, kept: 0 }
    }

    /// Whether the step is to end.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Takes note of work.
    #[inline]
    pub fn charge(&mut self, looks: u64) {
        self.left = self.left.saturating_sub(looks);
    }

    /// Moves a block if it lies in a span that is to be emptied; gives its new place, to which the caller lets
    /// its referrer lead.
    ///
    /// # Errors
    ///
    /// If there is no memory for the new block or the log.
    #[inline]
    pub fn relocate<T>(
        &mut self,
        tx: &mut Tx<'_>,
        block: Off<T>,
    ) -> Result<Option<Off<T>>, OutOfMemory> {
        self.charge(1);
        if !tx.is_evacuating(block) {
            self.kept += 1;
            return Ok(None);
        }
        let bytes = crate::alloc::block_size(tx, block.cast());
        let moved = tx.relocate(block)?;
        self.moved += 1;
        self.charge(MOVE + bytes / BYTES);
        Ok(Some(moved))
    }

    /// The same with a block that a slot leads to; gives where the block is then.
    ///
    /// # Errors
    ///
    /// As [`relocate`](Mover::relocate).
    pub fn relocate_at<T>(
        &mut self,
        tx: &mut Tx<'_>,
        slot: Off<Slot<Off<T>>>,
    ) -> Result<Off<T>, OutOfMemory>
    where
        Off<T>: crate::record::Record,
    {
        let block = tx.read(slot).get();
        match self.relocate(tx, block)? {
            None => Ok(block),
            Some(moved) => {
                tx.set(slot, moved)?;
                Ok(moved)
            }
        }
    }
}

impl View {
    /// Has the processor fetch what is read to decide whether a block is moved, and the block's start.
    #[inline]
    pub fn prefetch_to_relocate<T>(&self, block: Off<T>) {
        self.prefetch(Off::<u8>::new(block.raw() & !(SPAN - 1)));
        self.prefetch(block);
    }
}

impl Arena {
    /// Notes a block to be gone on with, for as long as it is not freed: private to this process.
    pub(crate) fn watch_block(&mut self, block: Off<u8>) {
        self.watched = block;
    }

    /// The block that was noted; null if it was freed since then.
    pub(crate) fn watched_block(&self) -> Off<u8> {
        self.watched
    }
}
