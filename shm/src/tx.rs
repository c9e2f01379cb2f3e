//! Transactions: all of a command's writes to the arena, or none.

use std::ops::Deref;
use std::sync::atomic::Ordering;

use crate::CRASH_SAFE;
use crate::arena::{Areas, Arena, View};
use crate::error::OutOfMemory;
#[cfg(debug_assertions)]
use crate::fault::Fault;
use crate::header::Header;
use crate::layout;
use crate::logged::Logged;
use crate::off::Off;
use crate::record::{Record, Slot};
use crate::undo::{self, MAX_ENTRY, Payload, State, order};

/// An open transaction. Dropped without [`commit`](Tx::commit), it is rolled back.
///
/// Reading is through the [`View`] it dereferences to; what is read borrows the transaction, so
/// nothing read can be held across a write.
pub struct Tx<'a> {
    arena: &'a mut Arena,
    which: bool,
    undo: u64,
    frees: u64,
}

/// A block that this transaction allocated: until the commit nothing leads to it, so its content is
/// written without a log.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a fresh block that is not linked anywhere is lost"]
pub struct Fresh<T = u8> {
    off: Off<T>,
    size: u64,
    serial: u64,
}

impl<T> Fresh<T> {
    /// Where the block is.
    pub fn off(&self) -> Off<T> {
        self.off
    }

    /// Usable bytes, at least those asked for.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// A point of a transaction to which it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    undo: u64,
    frees: u64,
    serial: u64,
    /// How often the transaction had been taken back before.
    rollbacks: usize,
}

impl Deref for Tx<'_> {
    type Target = View;
    #[inline(always)]
    fn deref(&self) -> &View {
        self.arena
    }
}

impl<'a> Tx<'a> {
    #[inline]
    pub(crate) fn begin(arena: &'a mut Arena) -> Tx<'a> {
        let word = if CRASH_SAFE { arena.log_state().load(Ordering::Relaxed) } else { 0 };
        let state = State::decode(word);
        assert!(
            !state.freeing && state.undo == 0 && state.frees == 0,
            "the arena holds an unfinished transaction: recover it first"
        );
        arena.serial += 1;
        arena.rollbacks.clear();
        arena.logged.forget();
        Tx { arena, which: state.which, undo: 0, frees: 0 }
    }

    /// The arena, for its allocator.
    #[inline(always)]
    pub(crate) fn arena(&mut self) -> &mut Arena {
        self.arena
    }

    #[inline(always)]
    fn publish(&self) {
        if !CRASH_SAFE {
            return;
        }
        let state = State { freeing: false, which: self.which, frees: self.frees, undo: self.undo };
        self.arena.log_state().store(state.encode(), Ordering::Relaxed);
        order();
    }

    /// [`log`](Tx::log), unless the place was logged already since the last point to which the
    /// transaction may be taken back.
    #[inline(always)]
    fn log_once(&mut self, start: u64, bytes: usize) -> Result<*mut u8, OutOfMemory> {
        // Words of the log; a transaction with fewer has nothing to gain.
        const LONG: u64 = 512;
        if !CRASH_SAFE {
            return self.log(start, bytes);
        }
        if self.undo < LONG || bytes > Logged::MOST || self.arena.logged.is_first(start, bytes) {
            let place = self.log(start, bytes);
            if place.is_err() {
                // It may be noted as logged, which it is not.
                self.arena.logged.forget();
            }
            return place;
        }
        Ok(self.arena.place(start, bytes as u64))
    }

    /// Logs the old content of a range, before it is changed.
    #[inline(always)]
    fn log(&mut self, start: u64, bytes: usize) -> Result<*mut u8, OutOfMemory> {
        #[cfg(debug_assertions)]
        self.arena.faults.meet(Fault::Step)?;
        let place = self.arena.place(start, bytes as u64);
        debug_assert!(
            start + bytes as u64 <= layout::EXECUTOR || start >= layout::HEAP,
            "a transaction wrote to the executor's area"
        );
        if !CRASH_SAFE {
            return Ok(place);
        }
        let words = 1 + (bytes as u64).div_ceil(8);
        if (self.undo + words) * 8 > self.arena.backed.undo {
            self.grow_log(words)?;
        }
        // SAFETY: the log is backed up to the words just checked, nothing else lies there, and it
        // does not overlap `place` (which is below or beyond the executor's area).
        unsafe {
            let head = self.arena.base().add((layout::UNDO + self.undo * 8) as usize).cast::<u64>();
            head.write(undo::entry(start, bytes));
            if bytes == 8 {
                head.add(1).write(place.cast::<u64>().read_unaligned());
            } else {
                std::ptr::copy_nonoverlapping(place, head.add(1).cast(), bytes);
            }
        }
        order();
        self.undo += words;
        self.publish();
        Ok(place)
    }

    #[cold]
    #[inline(never)]
    fn grow_log(&mut self, words: u64) -> Result<(), OutOfMemory> {
        let want = ((self.undo + words) * 8).next_multiple_of(1 << 20);
        if want > layout::UNDO_SIZE {
            return Err(OutOfMemory);
        }
        self.arena.back_area(layout::UNDO, want)?;
        self.arena.backed.undo = want;
        Ok(())
    }

    /// Changes a slot, logging its old content.
    #[inline(always)]
    pub fn set<T: Record>(&mut self, off: Off<Slot<T>>, value: T) -> Result<(), OutOfMemory> {
        let place = self.log_once(off.raw(), size_of::<T>())?;
        // SAFETY: within the mapping (checked by `log`), alignment 1, no reference into the arena
        // is alive because `self` is borrowed mutably.
        unsafe { place.cast::<T>().write_unaligned(value) };
        order();
        Ok(())
    }

    /// Changes bytes in place, logging their old content.
    pub fn write(&mut self, off: Off<u8>, bytes: &[u8]) -> Result<(), OutOfMemory> {
        let mut at = off.raw();
        for part in bytes.chunks(MAX_ENTRY) {
            let place = self.log(at, part.len())?;
            // SAFETY: as in `set`; `bytes` cannot overlap the place because a slice of the arena
            // would borrow `self`.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), place, part.len()) };
            order();
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Fills bytes in place with one value, logging their old content.
    pub fn fill(&mut self, off: Off<u8>, value: u8, length: usize) -> Result<(), OutOfMemory> {
        let mut at = off.raw();
        let mut left = length;
        while left > 0 {
            let part = left.min(MAX_ENTRY);
            let place = self.log(at, part)?;
            // SAFETY: as in `set`.
            unsafe { std::ptr::write_bytes(place, value, part) };
            order();
            at += part as u64;
            left -= part;
        }
        Ok(())
    }

    /// Writes bytes to which nothing leads, although they lie in a block in use (room behind the
    /// length of a byte string, say). They are not logged, so should anything lead to them, a
    /// rollback would miss it.
    pub fn write_unreachable(&mut self, off: Off<u8>, bytes: &[u8]) {
        let place = self.arena.place(off.raw(), bytes.len() as u64);
        // SAFETY: within the mapping; `bytes` cannot overlap, since a slice of the arena would
        // borrow `self`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        order();
    }

    /// Zeros bytes to which nothing leads; see [`write_unreachable`](Tx::write_unreachable).
    pub fn zero_unreachable(&mut self, off: Off<u8>, length: u64) {
        let place = self.arena.place(off.raw(), length);
        // SAFETY: as above.
        unsafe { std::ptr::write_bytes(place, 0, length as usize) };
        order();
    }

    /// Moves `length` bytes, logging what is overwritten. The ranges may overlap.
    pub fn shift(&mut self, from: Off<u8>, to: Off<u8>, length: usize) -> Result<(), OutOfMemory> {
        self.log_all(to.raw(), length)?;
        self.move_logged(from, to, length);
        Ok(())
    }

    /// Replaces `removed` bytes at `at` of a byte string in place, which begins at `string` and is
    /// `length` bytes long, by others; what stands behind them moves. The caller has seen to it that
    /// there is room, and notes the new length.
    ///
    /// What the string loses is logged, what it gains is not, like [`write_unreachable`]: bytes behind
    /// its length must be nobody's.
    ///
    /// [`write_unreachable`]: Tx::write_unreachable
    ///
    /// # Panics
    ///
    /// If the bytes to be replaced do not lie within the string.
    pub fn splice(
        &mut self,
        string: Off<u8>,
        length: usize,
        at: usize,
        removed: usize,
        bytes: &[u8],
    ) -> Result<(), OutOfMemory> {
        assert!(at <= length && removed <= length - at, "a splice outside of its string");
        let place = string.byte_add::<u8>(at as u64);
        let behind = length - at - removed;
        if bytes.len() == removed {
            self.log_all(place.raw(), removed)?;
        } else {
            self.log_all(place.raw(), length - at)?;
            let from = place.byte_add(removed as u64);
            self.move_logged(from, place.byte_add(bytes.len() as u64), behind);
        }
        self.write_unreachable(place, bytes);
        Ok(())
    }

    /// Whether bytes of a large block are known to need no log: the block was allocated by this
    /// transaction, after the last point to which it may be taken back.
    pub fn needs_no_log(&self, off: Off<u8>, length: usize) -> bool {
        self.arena.logged.is_own(off.raw(), length as u64)
    }

    /// Logs the old content of a range of any length.
    fn log_all(&mut self, start: u64, length: usize) -> Result<(), OutOfMemory> {
        if !CRASH_SAFE || self.arena.logged.is_own(start, length as u64) {
            return Ok(());
        }
        for at in (0..length).step_by(MAX_ENTRY) {
            self.log(start + at as u64, MAX_ENTRY.min(length - at))?;
        }
        Ok(())
    }

    /// Moves bytes over others that are logged, or nobody's.
    fn move_logged(&mut self, from: Off<u8>, to: Off<u8>, length: usize) {
        let source = self.arena.place(from.raw(), length as u64);
        let target = self.arena.place(to.raw(), length as u64);
        // SAFETY: both within the mapping; `copy` allows them to overlap, and no reference into the
        // arena is alive because `self` is borrowed mutably.
        unsafe { std::ptr::copy(source, target, length) };
        order();
    }

    /// Changes a hint, without a log.
    #[inline(always)]
    pub fn hint<T: Record>(&mut self, off: Off<crate::record::Hint<T>>, value: T) {
        self.arena.hint(off, value)
    }

    /// Sets the user's root record.
    pub fn set_root(&mut self, root: Off<u8>) -> Result<(), OutOfMemory> {
        let header = Off::<Header>::new(0);
        self.set(crate::field!(header, Header.root), root)
    }

    /// Allocates a block of at least `size` bytes; its content is undefined.
    #[inline]
    pub fn alloc(&mut self, size: u64) -> Result<Fresh, OutOfMemory> {
        #[cfg(debug_assertions)]
        self.arena.faults.meet(Fault::Allocations)?;
        let (off, size) = crate::alloc::allocate(self, size)?;
        if size >= layout::SPAN / 2 {
            self.arena.logged.own(off.raw(), size);
        }
        Ok(Fresh { off, size, serial: self.arena.serial })
    }

    /// Allocates a block for one record and fills it.
    pub fn alloc_record<T: Record>(&mut self, value: T) -> Result<Off<T>, OutOfMemory> {
        let fresh = self.alloc(size_of::<T>() as u64)?;
        self.init(&fresh, 0, value);
        Ok(fresh.off.cast())
    }

    /// Frees a block at the commit. Until then it stays as it is.
    ///
    /// # Panics
    ///
    /// If no block in use is there.
    #[inline]
    pub fn free<T>(&mut self, block: Off<T>) -> Result<(), OutOfMemory> {
        // After the commit nobody could take the command back any more.
        crate::alloc::assert_in_use(self, block.raw());
        #[cfg(debug_assertions)]
        self.arena.faults.meet(Fault::Step)?;
        if (self.frees + 1) * 8 > self.arena.backed.frees {
            self.grow_frees()?;
        }
        // SAFETY: the list is backed up to this entry and nothing else lies there.
        unsafe {
            let list = self.arena.base().add(layout::FREES as usize).cast::<u64>();
            list.add(self.frees as usize).write(block.raw());
        }
        order();
        self.frees += 1;
        self.publish();
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn grow_frees(&mut self) -> Result<(), OutOfMemory> {
        let want = ((self.frees + 1) * 8).next_multiple_of(1 << 16);
        if want > layout::FREES_SIZE {
            return Err(OutOfMemory);
        }
        self.arena.back_area(layout::FREES, want)?;
        self.arena.backed.frees = want;
        Ok(())
    }

    #[inline(always)]
    fn fresh_place<T>(&self, fresh: &Fresh<T>, at: u64, bytes: u64) -> *mut u8 {
        assert!(
            fresh.serial == self.arena.serial && at <= fresh.size && bytes <= fresh.size - at,
            "write outside a fresh block"
        );
        self.arena.place(fresh.off.raw() + at, bytes)
    }

    /// Writes a record into a fresh block, `at` bytes from its start.
    #[inline(always)]
    pub fn init<T: Record, B>(&mut self, fresh: &Fresh<B>, at: u64, value: T) {
        let place = self.fresh_place(fresh, at, size_of::<T>() as u64);
        // SAFETY: within a block that nothing leads to yet; alignment 1.
        unsafe { place.cast::<T>().write_unaligned(value) }
    }

    /// Writes bytes into a fresh block, `at` bytes from its start.
    #[inline(always)]
    pub fn init_bytes<B>(&mut self, fresh: &Fresh<B>, at: u64, bytes: &[u8]) {
        let place = self.fresh_place(fresh, at, bytes.len() as u64);
        // SAFETY: as in `init`; `bytes` cannot lie in the fresh block, since a slice of the arena
        // would borrow `self`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) }
    }

    /// Fills part of a fresh block with one value.
    pub fn init_fill<B>(&mut self, fresh: &Fresh<B>, at: u64, value: u8, length: u64) {
        let place = self.fresh_place(fresh, at, length);
        // SAFETY: as in `init`.
        unsafe { std::ptr::write_bytes(place, value, length as usize) }
    }

    /// Copies bytes of the arena into a fresh block, `at` bytes from its start.
    ///
    /// # Panics
    ///
    /// If the source overlaps the fresh block.
    pub fn init_copy<B>(&mut self, fresh: &Fresh<B>, at: u64, from: Off<u8>, length: u64) {
        let place = self.fresh_place(fresh, at, length);
        let source = self.arena.place(from.raw(), length);
        let to = fresh.off.raw() + at;
        assert!(from.raw() + length <= to || to + length <= from.raw(), "the ranges overlap");
        // SAFETY: both within the mapping, disjoint (just checked).
        unsafe { std::ptr::copy_nonoverlapping(source, place, length as usize) }
    }

    /// The present point of the transaction.
    #[inline]
    pub fn savepoint(&self) -> Savepoint {
        self.arena.logged.forget();
        let (serial, rollbacks) = (self.arena.serial, self.arena.rollbacks.len());
        Savepoint { undo: self.undo, frees: self.frees, serial, rollbacks }
    }

    /// Takes back everything since the savepoint.
    ///
    /// # Panics
    ///
    /// If the savepoint is of another transaction, or this one was taken back beyond it since.
    pub fn rollback_to(&mut self, point: Savepoint) {
        assert!(
            point.serial == self.arena.serial
                && self.arena.rollbacks[point.rollbacks..]
                    .iter()
                    .all(|&(undo, frees)| point.undo <= undo && point.frees <= frees),
            "a savepoint that is gone"
        );
        self.arena.rollbacks.push((point.undo, point.frees));
        self.take_back(point.undo, point.frees);
    }

    fn take_back(&mut self, undo: u64, frees: u64) {
        self.arena.logged.forget();
        let mut restored = Vec::new();
        if self.undo > undo {
            restored = self.arena.undo_back_to(undo, self.undo);
            order();
        }
        self.undo = undo;
        self.frees = frees;
        self.publish();
        self.arena.punch_again(&restored);
    }

    /// Whether anything was changed or freed yet.
    #[inline]
    pub fn is_clean(&self) -> bool {
        self.undo == 0 && self.frees == 0
    }

    /// Bytes of the undo log that this transaction takes so far.
    pub fn logged_bytes(&self) -> u64 {
        self.undo * 8
    }

    /// Takes back everything; the transaction stays open.
    pub fn rollback_all(&mut self) {
        self.arena.rollbacks.push((0, 0));
        self.take_back(0, 0);
    }

    /// Makes the transaction's writes final, and `payload` the current one, with one store; then
    /// frees what it freed.
    #[inline]
    pub fn commit(self, payload: &Payload) {
        let this = std::mem::ManuallyDrop::new(self);
        let which = !this.which;
        let frees = this.frees;
        if CRASH_SAFE {
            this.arena.write_payload(which, payload);
            order();
        }
        // Without crash safety the word is no more than how `finish_frees` is told.
        if CRASH_SAFE || frees > 0 {
            let state = State { freeing: frees > 0, which, frees, undo: 0 };
            this.arena.log_state().store(state.encode(), Ordering::Relaxed);
            order();
        }
        if frees > 0 {
            // SAFETY: `this` is never used or dropped again, so the borrow is moved out once.
            let arena: &mut Arena = unsafe { std::ptr::read(&this.arena) };
            arena.finish_frees();
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.take_back(0, 0);
    }
}

impl Arena {
    /// Works off the list of frees of a committed transaction, from its end, in small batches that
    /// are transactions of their own.
    pub(crate) fn finish_frees(&mut self) {
        const BATCH: u64 = 8;
        let state = State::decode(self.log_state().load(Ordering::Relaxed));
        let which = state.which;
        let mut left = state.frees;
        while left > 0 {
            let batch = left.min(BATCH);
            let mut step = FreeStep { arena: self, which, undo: 0, left };
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
                crate::alloc::release(&mut step, block);
            }
            left -= batch;
            let state = State { freeing: left > 0, which, frees: left, undo: 0 };
            self.log_state().store(state.encode(), Ordering::Relaxed);
            order();
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
}

impl FreeStep<'_> {
    /// Changes a slot, logging its old content.
    #[inline(always)]
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
