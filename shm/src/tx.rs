//! Transactions: all of a command's writes to the arena, or none.

mod moving;

use std::ops::Deref;
use std::sync::atomic::Ordering;

use crate::CRASH_SAFE;
use crate::arena::{Arena, View};
use crate::error::OutOfMemory;
#[cfg(debug_assertions)]
use crate::fault::Fault;
use crate::header::Header;
use crate::layout;
use crate::logged::Logged;
use crate::off::Off;
use crate::record::{Record, Slot};
use crate::undo::{self, FREEING, MAX_ENTRY, Payload, State, WHICH, order};

/// An open transaction. Dropped without [`commit`](Tx::commit), it is rolled back.
///
/// Reading is through the [`View`] it dereferences to; what is read borrows the transaction, so
/// nothing read can be held across a write.
pub struct Tx<'a> {
    arena: &'a mut Arena,
    /// The log's state word, but for the length of the log.
    word: u64,
    /// Words of the log.
    undo: u64,
    /// Bytes in use at the commit.
    used: u64,
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

/// Whether the compiler knows the length of a range: then it copies that without a call.
#[derive(Clone, Copy)]
struct Fixed(bool);

/// Where the last word of a page begins in it.
const LAST_WORD: u64 = layout::PAGE - size_of::<u64>() as u64;

/// A point of a transaction to which it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    undo: u64,
    frees: u64,
    used: u64,
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
        assert!(word & !WHICH == 0, "the arena holds an unfinished transaction: recover it first");
        arena.serial += 1;
        arena.rollbacks.clear();
        arena.logged.forget();
        // Read from the arena each time: who owned it last may be another process.
        let used = arena.used_noted(State::decode(word).which);
        Tx { arena, word, undo: 0, used }
    }

    #[inline(always)]
    fn which(&self) -> bool {
        State::decode(self.word).which
    }

    /// Entries of the list of frees.
    #[inline(always)]
    fn frees(&self) -> u64 {
        State::decode(self.word).frees
    }

    fn set_frees(&mut self, frees: u64) {
        self.word = State { freeing: false, which: self.which(), frees, undo: 0 }.encode();
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
        self.arena.log_state().store(self.word | self.undo, Ordering::Relaxed);
        order();
    }

    /// Words of the log up to which a transaction is short: so much is always backed, and to look whether
    /// something stands there already would cost more than it saves.
    const SHORT: u64 = 512;

    /// Logs the old content of a range, before it is changed, and gives its place.
    #[inline(always)]
    fn log(&mut self, start: u64, bytes: usize, fixed: Fixed) -> Result<*mut u8, OutOfMemory> {
        #[cfg(debug_assertions)]
        self.arena.faults.meet(Fault::Step)?;
        let place = self.arena.place(start, bytes as u64);
        debug_assert!(
            start + bytes as u64 <= layout::EXECUTOR || start >= layout::HEAP,
            "a transaction wrote to the executor's area"
        );
        if CRASH_SAFE {
            let words = 1 + (bytes as u64).div_ceil(8);
            if self.undo + words > Self::SHORT {
                self.log_more(start, bytes, place)?;
            } else {
                self.append(start, bytes, fixed, place);
            }
        }
        Ok(place)
    }

    /// [`log`](Tx::log) in a long transaction: nothing if the place was logged already since the last point
    /// to which the transaction may be taken back.
    #[cold]
    #[inline(never)]
    fn log_more(&mut self, start: u64, bytes: usize, place: *mut u8) -> Result<(), OutOfMemory> {
        if bytes <= Logged::MOST && !self.arena.logged.is_first(start, bytes) {
            return Ok(());
        }
        let end = self.undo + 1 + (bytes as u64).div_ceil(8);
        if end * 8 > self.arena.backed.undo {
            let want = (end * 8).next_multiple_of(1 << 20);
            if want > layout::UNDO_SIZE || self.arena.back_area(layout::UNDO, want).is_err() {
                // The place may be noted as logged, which it is not.
                self.arena.logged.forget();
                return Err(OutOfMemory);
            }
            self.arena.backed.undo = want;
        }
        self.append(start, bytes, Fixed(false), place);
        Ok(())
    }

    /// Appends an entry to the log, which is backed so far. Most whose length is not [`Fixed`] are of some
    /// bytes, for which a call of `memcpy` is long: they are logged as the word that begins there, of which a rollback takes what is
    /// needed. What lies beyond a page may not be backed, so the word has to be in one.
    #[inline(always)]
    fn append(&mut self, start: u64, bytes: usize, fixed: Fixed, place: *mut u8) {
        // All that is read stands before what is written: the compiler has to suppose that a write to the
        // arena changes anything.
        let (base, state) = (self.arena.base(), self.arena.log_state());
        let at = self.undo;
        let end = at + 1 + (bytes as u64).div_ceil(8);
        let word = self.word | end;
        let as_word = bytes == 8 || bytes < 8 && !fixed.0 && start % layout::PAGE <= LAST_WORD;
        // SAFETY: the log is backed up to these words, nothing else lies there, and it does not
        // overlap `place` (which is below or beyond the executor's area). A word is read if the
        // range is one, or lies in a page of the mapping with the bytes behind it.
        unsafe {
            let head = base.add((layout::UNDO + at * 8) as usize).cast::<u64>();
            head.write(undo::entry(start, bytes));
            if as_word {
                head.add(1).write(place.cast::<u64>().read_unaligned());
            } else {
                std::ptr::copy_nonoverlapping(place, head.add(1).cast(), bytes);
            }
        }
        order();
        state.store(word, Ordering::Relaxed);
        order();
        self.undo = end;
    }

    /// Changes a slot, logging its old content.
    #[inline(always)]
    pub fn set<T: Record>(&mut self, off: Off<Slot<T>>, value: T) -> Result<(), OutOfMemory> {
        let place = self.log(off.raw(), size_of::<T>(), Fixed(true))?;
        // SAFETY: within the mapping (checked by `log`), alignment 1, no reference into the arena
        // is alive because `self` is borrowed mutably.
        unsafe { place.cast::<T>().write_unaligned(value) };
        order();
        Ok(())
    }

    /// Changes bytes in place, logging their old content.
    #[inline(always)]
    pub fn write(&mut self, off: Off<u8>, bytes: &[u8]) -> Result<(), OutOfMemory> {
        if bytes.len().wrapping_sub(1) >= MAX_ENTRY {
            return self.write_long(off, bytes);
        }
        let place = self.log(off.raw(), bytes.len(), Fixed(false))?;
        // SAFETY: as in `set`; `bytes` cannot overlap the place because a slice of the arena would
        // borrow `self`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        order();
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn write_long(&mut self, off: Off<u8>, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.log_all(off.raw(), bytes.len())?;
        self.write_unreachable(off, bytes);
        Ok(())
    }

    /// Fills bytes in place with one value, logging their old content.
    pub fn fill(&mut self, off: Off<u8>, value: u8, length: usize) -> Result<(), OutOfMemory> {
        self.log_all(off.raw(), length)?;
        let place = self.arena.place(off.raw(), length as u64);
        // SAFETY: as in `set`.
        unsafe { std::ptr::write_bytes(place, value, length) };
        order();
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

    /// Whether bytes of a large block are known to need no log: the block was allocated by this
    /// transaction, after the last point to which it may be taken back.
    pub fn needs_no_log(&self, off: Off<u8>, length: usize) -> bool {
        self.arena.logged.is_own(off.raw(), length as u64)
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
        self.used += crate::alloc::taken_with(size);
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
        let bytes = crate::alloc::taken_by(self, block.raw());
        #[cfg(debug_assertions)]
        self.arena.faults.meet(Fault::Step)?;
        let frees = self.frees();
        if (frees + 1) * 8 > self.arena.backed.frees {
            self.grow_frees()?;
        }
        // SAFETY: the list is backed up to this entry and nothing else lies there.
        unsafe {
            let list = self.arena.base().add(layout::FREES as usize).cast::<u64>();
            list.add(frees as usize).write(block.raw());
        }
        order();
        self.set_frees(frees + 1);
        self.used = self.used.wrapping_sub(bytes);
        self.publish();
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn grow_frees(&mut self) -> Result<(), OutOfMemory> {
        let want = ((self.frees() + 1) * 8).next_multiple_of(1 << 16);
        if want > layout::FREES_SIZE {
            return Err(OutOfMemory);
        }
        self.arena.back_area(layout::FREES, want)?;
        self.arena.backed.frees = want;
        Ok(())
    }

    /// Moves a block's content to another block of the same size, and frees it at the commit. The caller lets
    /// its one referrer lead there.
    pub fn relocate<T>(&mut self, block: Off<T>) -> Result<Off<T>, OutOfMemory> {
        let size = crate::alloc::block_size(self, block.cast());
        let fresh = self.alloc(size)?;
        self.init_copy(&fresh, 0, block.cast(), size);
        self.free(block)?;
        Ok(fresh.off().cast())
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
        if self.undo > 0 {
            self.arena.logged.forget();
        }
        let (serial, rollbacks) = (self.arena.serial, self.arena.rollbacks.len());
        Savepoint { undo: self.undo, frees: self.frees(), used: self.used, serial, rollbacks }
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
        self.used = point.used;
    }

    fn take_back(&mut self, undo: u64, frees: u64) {
        self.arena.logged.forget();
        let mut restored = Vec::new();
        if self.undo > undo {
            restored = self.arena.undo_back_to(undo, self.undo);
            order();
        }
        self.undo = undo;
        self.set_frees(frees);
        self.publish();
        self.arena.punch_again(&restored);
    }

    /// Whether anything was changed or freed yet.
    #[inline]
    pub fn is_clean(&self) -> bool {
        self.undo == 0 && self.frees() == 0
    }

    /// Bytes of the undo log that this transaction takes so far.
    pub fn logged_bytes(&self) -> u64 {
        self.undo * 8
    }

    /// Takes back everything; the transaction stays open.
    pub fn rollback_all(&mut self) {
        self.arena.rollbacks.push((0, 0));
        self.take_back(0, 0);
        self.used = self.arena.used_noted(self.which());
    }

    /// Makes the transaction's writes final, and `payload` the current one, with one store; then
    /// frees what it freed.
    #[inline]
    pub fn commit(self, payload: &Payload) {
        let which = !self.which();
        if CRASH_SAFE {
            self.arena.write_payload(which, payload);
        }
        let arena = self.finish();
        if CRASH_SAFE {
            arena.even_payloads(which);
            order();
        }
    }

    /// [`commit`](Tx::commit) with a payload of which only the first word is new.
    #[inline(always)]
    pub fn commit_first(self, first: u64) {
        if CRASH_SAFE {
            self.arena.write_first(!self.which(), first);
        }
        self.finish();
    }

    /// Makes the payload that is not current the current one, and all writes final; then frees.
    #[inline(always)]
    fn finish(self) -> &'a mut Arena {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used for its arena or dropped again, so the borrow is moved out once.
        let arena: &mut Arena = unsafe { std::ptr::read(&this.arena) };
        let word = this.word ^ WHICH;
        let freeing = word & !WHICH != 0;
        if CRASH_SAFE {
            arena.write_used(!this.which(), this.used);
            order();
            let phase = if freeing { FREEING } else { 0 };
            arena.log_state().store(word | phase, Ordering::Relaxed);
            order();
        } else {
            arena.write_used(false, this.used);
        }
        if freeing {
            arena.finish_frees(State::decode(word), false);
        }
        arena
    }
}

const _: () = assert!(Tx::SHORT * 8 <= Arena::LOG_FLOOR);

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.take_back(0, 0);
    }
}
