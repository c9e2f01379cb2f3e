//! The header's words as the handoff uses them.

use std::sync::atomic::{AtomicU32, AtomicU64};

use handoff::host::SharedWords;
use handoff::owner::Generation;
use shm::header::{EXECUTOR_LOCKS, OWNER_WORD, Words};

/// The owner word and the executors' locks of an arena.
#[derive(Clone, Copy)]
pub struct HandoffWords(pub &'static Words);

impl HandoffWords {
    /// The owner word.
    pub fn owner(self) -> &'static AtomicU64 {
        self.0.word(OWNER_WORD)
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
