//! The owner word: the one atomic word in the arena's header that says who owns the arena.
//!
//! ```text
//!  bit 63..62   61..31 (31 bits)   30..0 (31 bits)
//!      01       0                  generation          Serving(generation)
//!      10       to                 from                Offered(from to to)
//!      00       all zero: no generation has served yet; anything else is damage
//! ```
//!
//! Every change is a compare-and-swap from one whole state to another, so exactly one side of a
//! race succeeds. The value of the word alone does not stop a process that was descheduled in the
//! middle of a store: what takes ownership from a generation that has not given it up needs a
//! [`Fenced`] proof.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::OwnerError;
use crate::fence::{ExecutorLock, Fenced};

const BITS: u32 = 31;
const MASK: u64 = (1 << BITS) - 1;
const SERVING: u64 = 0b01;
const OFFERED: u64 = 0b10;

/// The number of a generation: 1 is the first to serve an arena, a successor is one more than its
/// predecessor. A number is used again only for a new attempt after a failed one, and then not
/// before the [`ExecutorLock`] of that number is free, which proves the earlier holder dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

impl Generation {
    /// The first generation of an arena.
    pub const FIRST: Self = Self(1);

    /// Returns the generation of that number, `None` for 0 and beyond 31 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 || number as u64 > MASK { None } else { Some(Self(number)) }
    }

    /// The number, from 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The generation that follows, `None` after the last (two thousand million upgrades).
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// Which of the two executor lock words in the arena's header this generation holds: its
    /// parity, so that a predecessor and its successor never share one.
    #[must_use]
    pub const fn lock_index(self) -> usize {
        (self.0 % 2) as usize
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A state of the owner word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// No generation has served the arena yet.
    Nobody,
    /// That generation owns the arena and may write it.
    Serving(Generation),
    /// `from` has stopped and offers the arena to `to`; neither may write it.
    Offered {
        /// The generation that gives.
        from: Generation,
        /// The generation that may take.
        to: Generation,
    },
}

impl Owner {
    /// The word that stands for this state.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Nobody => 0,
            Self::Serving(generation) => SERVING << (2 * BITS) | generation.0 as u64,
            Self::Offered { from, to } => {
                OFFERED << (2 * BITS) | (to.0 as u64) << BITS | from.0 as u64
            }
        }
    }

    /// The state that a word stands for.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`] for a word that [`encode`](Self::encode) never returns.
    pub fn decode(word: u64) -> Result<Self, OwnerError> {
        let low = Generation::new((word & MASK) as u32);
        let high = Generation::new((word >> BITS & MASK) as u32);
        match (word >> (2 * BITS), high, low) {
            (0, None, None) => Ok(Self::Nobody),
            (SERVING, None, Some(generation)) => Ok(Self::Serving(generation)),
            (OFFERED, Some(to), Some(from)) => Ok(Self::Offered { from, to }),
            _ => Err(OwnerError::Invalid { word }),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Serving(generation) => write!(f, "Serving({generation})"),
            Self::Offered { from, to } => write!(f, "Offered({from} to {to})"),
        }
    }
}

/// The owner word of an arena, wherever that is mapped.
#[derive(Debug, Clone, Copy)]
pub struct OwnerWord<'a>(&'a AtomicU64);

impl<'a> OwnerWord<'a> {
    /// Looks at `word` as an owner word.
    #[must_use]
    pub const fn new(word: &'a AtomicU64) -> Self {
        Self(word)
    }

    /// The state now. What the previous owner wrote before it gave the word up is visible after.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`] if the word is damaged.
    pub fn read(self) -> Result<Owner, OwnerError> {
        Owner::decode(self.0.load(Ordering::Acquire))
    }

    /// The first generation of a new arena begins to serve it.
    ///
    /// # Errors
    /// [`OwnerError::Changed`] if the arena has, or had, an owner.
    pub fn found(self, lock: &ExecutorLock<'_>) -> Result<(), OwnerError> {
        self.swap(Owner::Nobody, Owner::Serving(lock.generation()))
    }

    /// The predecessor, having stopped, offers the arena.
    ///
    /// # Errors
    /// [`OwnerError::Changed`] if `from` does not own the arena.
    pub fn offer(self, from: Generation, to: Generation) -> Result<(), OwnerError> {
        self.swap(Owner::Serving(from), Owner::Offered { from, to })
    }

    /// The predecessor takes its offer back, and owns the arena again.
    ///
    /// # Errors
    /// [`OwnerError::Changed`] if the successor was faster: it owns the arena then.
    pub fn withdraw(self, from: Generation, to: Generation) -> Result<(), OwnerError> {
        self.swap(Owner::Offered { from, to }, Owner::Serving(from))
    }

    /// The successor, whose executor lock is `lock`, takes what was offered to it, and owns it.
    ///
    /// # Errors
    /// [`OwnerError::Changed`] if the offer was withdrawn, [`OwnerError::WrongLock`] if the lock
    /// is not that of generation `to`.
    pub fn take(
        self,
        from: Generation,
        to: Generation,
        lock: &ExecutorLock<'_>,
    ) -> Result<(), OwnerError> {
        if lock.generation() != to {
            return Err(OwnerError::WrongLock { taker: to, holder: lock.generation() });
        }
        self.swap(Owner::Offered { from, to }, Owner::Serving(to))
    }

    /// Gives the arena to `to` without the consent of who has it, all of whom are proved dead.
    /// Returns the state that was replaced. The arena may hold an unfinished transaction: `to`
    /// must recover it before anything else.
    ///
    /// # Errors
    /// [`OwnerError::NotFenced`] if a generation named by the word is not among `dead`,
    /// [`OwnerError::Changed`] if somebody else changed the word meanwhile.
    pub fn retake_after_fence(self, dead: &[&Fenced], to: Generation) -> Result<Owner, OwnerError> {
        let found = self.read()?;
        let (first, second) = match found {
            Owner::Nobody => (None, None),
            Owner::Serving(generation) => (Some(generation), None),
            Owner::Offered { from, to } => (Some(from), Some(to)),
        };
        for generation in first.into_iter().chain(second) {
            if !dead.iter().any(|fenced| fenced.generation() == generation) {
                return Err(OwnerError::NotFenced { generation });
            }
        }
        self.swap(found, Owner::Serving(to))?;
        Ok(found)
    }

    fn swap(self, expected: Owner, new: Owner) -> Result<(), OwnerError> {
        // AcqRel: what this side wrote is visible to who acquires the new state, and the other
        // way round for what it takes over.
        self.0
            .compare_exchange(expected.encode(), new.encode(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .or_else(|found| Err(OwnerError::Changed { expected, found: Owner::decode(found)? }))
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
