//! The header's words as the handoff uses them.

use std::fs::File;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use handoff::host::SharedWords;
use handoff::owner::Generation;
use shm::OpenError;
use shm::header::{EXECUTOR_LOCKS, IN_FLIGHT, OWNER_WORD, USER_WORDS, Words};

use crate::executor::InFlight;

/// Word: when the generation that serves ended its last tick, `CLOCK_MONOTONIC` in nanoseconds.
const TICKED: usize = USER_WORDS;

/// The owner word and the executors' locks of an arena.
#[derive(Clone, Copy)]
pub struct HandoffWords(pub &'static Words);

impl HandoffWords {
    /// Those of the arena in that file, without the rest of it.
    ///
    /// # Errors
    /// If it is no arena.
    pub fn map(arena: &File) -> Result<HandoffWords, OpenError> {
        Words::map(arena).map(HandoffWords)
    }

    /// The owner word.
    pub fn owner(self) -> &'static AtomicU64 {
        self.0.word(OWNER_WORD)
    }

    /// Forgets who served the arena, and what was in flight.
    ///
    /// Only for a named file that this process has locked and mapped anew: its lock belongs to the
    /// open file that all generations of a server share, so none of those that served it lives.
    pub fn forget_owners(self) {
        for word in [OWNER_WORD, EXECUTOR_LOCKS, EXECUTOR_LOCKS + 1, IN_FLIGHT] {
            self.0.word(word).store(0, Ordering::Release);
        }
    }

    /// Whether the generation that serves, or has died, was running a command.
    pub fn runs_command(self) -> bool {
        let word = self.0.word(IN_FLIGHT).load(Ordering::Relaxed);
        word & InFlight::MASK == InFlight::Execute as u64
    }

    /// When the generation that serves ended its last tick, nanoseconds.
    pub fn ticked_ns(self) -> u64 {
        self.0.word(TICKED).load(Ordering::Relaxed)
    }

    /// Says that this generation, which serves, has ended a tick; or, with a time to come, that it
    /// will not tick before that and is well all the same.
    pub fn tick(self, now_ns: u64) {
        self.0.word(TICKED).store(now_ns, Ordering::Relaxed);
    }

    /// The word of a generation's executor lock.
    pub fn executor(self, generation: Generation) -> &'static AtomicU32 {
        self.0.half_word(EXECUTOR_LOCKS + generation.lock_index())
    }
}

impl SharedWords for HandoffWords {
    fn owner_word(&self) -> &AtomicU64 {
        self.owner()
    }

    fn executor_word(&self, generation: Generation) -> &AtomicU32 {
        self.executor(generation)
    }
}
