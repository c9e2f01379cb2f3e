//! Which places the log of the open transaction holds already.
//!
//! A transaction that does much changes a few words again and again: lengths, counters, words of the
//! allocator's bitmaps. Taking it back needs the oldest content of each only, so the log of a command
//! that adds a million elements need not hold a million times how many there were.

use std::cell::Cell;

/// Places that were logged lately: a small cache in private memory. What it has forgotten is logged
/// once more, which is harmless.
#[derive(Debug)]
pub(crate) struct Logged {
    /// A place with the epoch in which it was logged.
    places: [(u64, u64); PLACES],
    /// Changes whenever what was logged does not suffice any more: with each transaction, and with each
    /// point to which it may be taken back, or was.
    epoch: Cell<u64>,
    /// The large block that was allocated last, from where to where, with the epoch: a rollback takes it
    /// back as a whole, so its content needs no log.
    own: Cell<(u64, u64, u64)>,
}

const PLACES: usize = 128;

impl Logged {
    /// Larger places are not noted: they are bytes of values, which change once.
    pub const MOST: usize = 15;

    pub fn new() -> Logged {
        Logged { places: [(0, 0); PLACES], epoch: Cell::new(1), own: Cell::new((0, 0, 0)) }
    }

    /// Makes all that was logged so far count as not logged.
    #[inline(always)]
    pub fn forget(&self) {
        if !crate::CRASH_SAFE {
            return;
        }
        self.epoch.set(self.epoch.get() + 1);
    }

    /// Notes that a large block was allocated.
    pub fn own(&self, start: u64, bytes: u64) {
        self.own.set((start, start + bytes, self.epoch.get()));
    }

    /// Whether bytes lie in a block that was allocated in this epoch, as far as is known.
    #[inline(always)]
    pub fn is_own(&self, start: u64, bytes: u64) -> bool {
        let (from, to, epoch) = self.own.get();
        from <= start && start + bytes <= to && epoch == self.epoch.get()
    }

    /// Notes that a place of at most [`MOST`](Logged::MOST) bytes is being logged; false if it was
    /// before.
    #[inline(always)]
    pub fn is_first(&mut self, start: u64, bytes: usize) -> bool {
        let noted = (start << 4 | bytes as u64, self.epoch.get());
        // Neighbouring words, and blocks of sizes that are powers of two, are to have places of their own.
        let at = (start >> 3 ^ start >> 12 ^ start >> 20) as usize % PLACES;
        std::mem::replace(&mut self.places[at], noted) != noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_first_once_in_an_epoch() {
        let mut logged = Logged::new();
        assert!(logged.is_first(4096, 8));
        assert!(!logged.is_first(4096, 8));
        assert!(logged.is_first(4096, 4), "other bytes are another place");
        assert!(logged.is_first(4104, 8));
        logged.forget();
        assert!(logged.is_first(4104, 8));
        assert!(!logged.is_first(4104, 8));
    }

    #[test]
    fn a_block_is_own_until_the_epoch_ends() {
        let logged = Logged::new();
        assert!(!logged.is_own(1 << 20, 1));
        logged.own(1 << 20, 100);
        assert!(logged.is_own(1 << 20, 100) && logged.is_own((1 << 20) + 99, 1));
        assert!(!logged.is_own(1 << 20, 101) && !logged.is_own((1 << 20) - 1, 1));
        logged.forget();
        assert!(!logged.is_own(1 << 20, 1));
    }
}
