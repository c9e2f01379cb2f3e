//! Changes that move what stands behind them: in byte strings and in arrays of records, which have room
//! behind their length that is nobody's.
//!
//! What is lost is logged, from the place of the change to the end; what is gained behind the length is not,
//! like [`Tx::write_unreachable`]. So what becomes shorter logs all of its end, over which something may
//! grow again in the same transaction.

use super::{Fixed, Tx};
use crate::CRASH_SAFE;
use crate::error::OutOfMemory;
use crate::off::Off;
use crate::record::{Record, Slot};
use crate::undo::{MAX_ENTRY, order};

impl Tx<'_> {
    /// Puts records into an array of `length` ones before the one at `at`. The caller has seen to it that
    /// there is room, and notes the new length.
    ///
    /// # Panics
    ///
    /// If `at` lies behind the end.
    #[inline(always)]
    pub fn insert<T: Record>(
        &mut self,
        array: Off<T>,
        length: usize,
        at: usize,
        records: &[T],
    ) -> Result<(), OutOfMemory> {
        assert!(at <= length, "an insertion outside of its array");
        let from = array.nth(at as u64);
        self.log_all(from.raw(), (length - at) * size_of::<T>())?;
        self.insert_logged(array, length, at, records);
        Ok(())
    }

    /// [`insert`](Tx::insert) into an array that stands a little behind the slot in which its new length is
    /// noted: one entry of the log for both.
    ///
    /// # Panics
    ///
    /// If `at` lies behind the end, or the slot not before the array.
    #[inline(always)]
    pub fn insert_counted<T: Record, C: Record>(
        &mut self,
        array: Off<T>,
        (slot, count): (Off<Slot<C>>, C),
        length: usize,
        at: usize,
        records: &[T],
    ) -> Result<(), OutOfMemory> {
        let start = slot.raw();
        assert!(at <= length && start + size_of::<C>() as u64 <= array.raw());
        let head = (array.raw() - start) as usize;
        self.log_all(start, head + length * size_of::<T>())?;
        self.insert_logged(array, length, at, records);
        let place = self.arena.place(slot.raw(), size_of::<C>() as u64);
        // SAFETY: as in `Tx::set`; it was logged.
        unsafe { place.cast::<C>().write_unaligned(count) };
        order();
        Ok(())
    }

    #[inline(always)]
    fn insert_logged<T: Record>(&mut self, array: Off<T>, length: usize, at: usize, records: &[T]) {
        let from = array.nth(at as u64);
        if at < length {
            let to = array.nth((at + records.len()) as u64);
            self.move_logged(from.cast(), to.cast(), (length - at) * size_of::<T>());
        }
        let place = self.arena.place(from.raw(), size_of_val(records) as u64);
        // SAFETY: within the mapping; `records` cannot overlap, since a slice of the arena would borrow
        // `self`; records have alignment 1.
        unsafe { std::ptr::copy_nonoverlapping(records.as_ptr(), place.cast(), records.len()) };
        order();
    }

    /// Takes the records from `from` to `to` out of an array of `length` ones. The caller notes the new
    /// length.
    ///
    /// # Panics
    ///
    /// If they do not lie within it.
    #[inline]
    pub fn remove<T: Record>(
        &mut self,
        array: Off<T>,
        length: usize,
        from: usize,
        to: usize,
    ) -> Result<(), OutOfMemory> {
        assert!(from <= to && to <= length, "a removal outside of its array");
        let place = array.nth(from as u64);
        self.log_all(place.raw(), (length - from) * size_of::<T>())?;
        let rest = (length - to) * size_of::<T>();
        self.move_logged(array.nth(to as u64).cast(), place.cast(), rest);
        Ok(())
    }

    /// Logs bytes that are nobody's from now on: whatever comes to stand there in this transaction is written
    /// without a log.
    #[inline]
    pub fn abandon(&mut self, off: Off<u8>, length: usize) -> Result<(), OutOfMemory> {
        self.log_all(off.raw(), length)
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

    /// Logs the old content of a range of any length.
    #[inline(always)]
    pub(super) fn log_all(&mut self, start: u64, length: usize) -> Result<(), OutOfMemory> {
        const SHORT: usize = 1024;
        if !CRASH_SAFE || length == 0 {
            return Ok(());
        }
        if length <= SHORT {
            return self.log(start, length, Fixed(false)).map(|_| ());
        }
        self.log_long(start, length)
    }

    #[inline(never)]
    fn log_long(&mut self, start: u64, length: usize) -> Result<(), OutOfMemory> {
        if self.arena.logged.is_own(start, length as u64) {
            return Ok(());
        }
        for at in (0..length).step_by(MAX_ENTRY) {
            self.log(start + at as u64, MAX_ENTRY.min(length - at), Fixed(false))?;
        }
        Ok(())
    }

    /// Moves bytes over others that are logged, or nobody's.
    #[inline]
    fn move_logged(&mut self, from: Off<u8>, to: Off<u8>, length: usize) {
        let source = self.arena.place(from.raw(), length as u64);
        let target = self.arena.place(to.raw(), length as u64);
        // SAFETY: both within the mapping; `copy` allows them to overlap, and no reference into the
        // arena is alive because `self` is borrowed mutably.
        unsafe { std::ptr::copy(source, target, length) };
        order();
    }
}
