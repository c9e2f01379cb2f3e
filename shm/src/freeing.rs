//! What comes after a commit: the blocks that the transaction freed, and a log that it made large.

use std::sync::atomic::Ordering;

use crate::CRASH_SAFE;
use crate::arena::{Areas, Arena};
use crate::layout;
use crate::off::Off;
use crate::record::{Record, Slot};
use crate::undo::{self, State, order};

impl Arena {
    /// Works off the list of frees of a committed transaction, from its end, in small batches that
    /// are transactions of their own.
    ///
    /// The first batch is done `again` if its owner died while it was done.
    #[inline]
    pub(crate) fn finish_frees(&mut self, state: State, mut again: bool) {
        const BATCH: u64 = 8;
        let which = state.which;
        let mut left = state.frees;
        while left > 0 {
            let batch = left.min(BATCH);
            let mut step = FreeStep { arena: self, which, undo: 0, left, again };
            for i in (left - batch..left).rev() {
                // SAFETY: the list was written by the transaction up to `left` entries.
                let block = unsafe {
                    step.arena
                        .base()
                        .add(layout::FREES as usize)
                        .cast::<u64>()
                        .add(i as usize)
                        .read()
                };
                if block == step.arena.watched.raw() {
                    step.arena.watched = Off::NULL;
                }
                crate::alloc::release(&mut step, block);
            }
            left -= batch;
            again = false;
            let state = State { freeing: left > 0, which, frees: left, undo: 0 };
            if CRASH_SAFE {
                self.log_state().store(state.encode(), Ordering::Relaxed);
                order();
            }
        }
    }
}

/// The little transaction in which a batch of blocks is freed: it only changes slots, a bounded
/// number of them, in a log that is always backed far enough.
pub(crate) struct FreeStep<'a> {
    pub arena: &'a mut Arena,
    which: bool,
    undo: u64,
    left: u64,
    /// Part of it may have been done before.
    pub again: bool,
}

impl FreeStep<'_> {
    /// Changes a slot without logging its old content, as long as the batch has logged nothing: a batch that is
    /// done again may find the new one.
    ///
    /// Once something is logged, this is too. What is done again then begins with just what was there when
    /// the log began, and comes to the same decisions: a span of which one block was free already would
    /// not be seen to have been full.
    #[inline(always)]
    pub fn set_again<T: Record>(&mut self, off: Off<Slot<T>>, value: T) {
        if self.undo > 0 {
            return self.set(off, value);
        }
        let place = self.arena.place(off.raw(), size_of::<T>() as u64);
        // SAFETY: as in `Tx::set`.
        unsafe { place.cast::<T>().write_unaligned(value) };
        order();
    }

    /// Changes a slot, logging its old content.
    #[inline]
    pub fn set<T: Record>(&mut self, off: Off<Slot<T>>, value: T) {
        const { assert!(size_of::<T>() <= 8) };
        let place = self.arena.place(off.raw(), size_of::<T>() as u64);
        if !CRASH_SAFE {
            // SAFETY: as in `Tx::set`.
            unsafe { place.cast::<T>().write_unaligned(value) };
            return;
        }
        assert!((self.undo + 2) * 8 <= Arena::LOG_FLOOR, "a batch of frees outgrew the log");
        // SAFETY: as in `Tx::log` and `Tx::set`; the log's first `LOG_FLOOR` bytes are always
        // backed.
        unsafe {
            let at = (layout::UNDO + self.undo * 8) as usize;
            let head = self.arena.base().add(at).cast::<u64>();
            head.write(undo::entry(off.raw(), size_of::<T>()));
            std::ptr::copy_nonoverlapping(place, head.add(1).cast(), size_of::<T>());
            order();
            self.undo += 2;
            let state =
                State { freeing: true, which: self.which, frees: self.left, undo: self.undo };
            self.arena.log_state().store(state.encode(), Ordering::Relaxed);
            order();
            place.cast::<T>().write_unaligned(value);
            order();
        }
    }
}

impl Arena {
    /// Bytes of the log that are backed when the arena is created and never given back.
    pub(crate) const LOG_FLOOR: u64 = 64 << 10;
    /// Bytes of the log and of the list of frees that stay backed between transactions.
    const LOG_KEPT: u64 = 1 << 20;

    /// Gives back memory of a log that one transaction made large, at most `limit` bytes. False if there
    /// is nothing to give back.
    pub fn trim_log(&mut self, limit: u64) -> bool {
        for (area, start) in [layout::UNDO, layout::FREES].into_iter().enumerate() {
            let Areas { undo, frees, unknown } = &mut self.backed;
            let backed = if area == 0 { undo } else { frees };
            let end = unknown[area].max(*backed);
            if end <= Self::LOG_KEPT {
                continue;
            }
            let kept = end.saturating_sub(limit).max(Self::LOG_KEPT);
            (*backed, unknown[area]) = ((*backed).min(kept), kept);
            // Should the system refuse, the memory stays: harmless.
            let _ = self.mapping().punch(start + kept, end - kept);
            return true;
        }
        false
    }
}
