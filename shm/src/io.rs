//! The executor's input and output buffers.
//!
//! They are ranges of the arena with address space of their own, where no block ever lies, so no
//! transaction writes them: a request can be read in place while the command that it names changes
//! the arena. How much of them counts is for the user to publish with each commit.

use std::sync::Arc;

use crate::arena::Arena;
use crate::error::OutOfMemory;
use crate::layout;
use crate::mapping::Mapping;

/// Which of the executor's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// What was read from a socket.
    Input,
    /// What is to be written to a socket.
    Output,
}

/// One of the executor's buffers: as long as it lives, its owner alone writes it.
///
/// Growing never moves it.
pub struct IoBuffer {
    mapping: Arc<Mapping>,
    start: u64,
    backed: usize,
    limit: usize,
}

impl Arena {
    /// One of the executor's buffers, usable for at least `initial` bytes.
    ///
    /// # Panics
    ///
    /// If it was taken from this arena before: there is one of each.
    pub fn io_buffer(&mut self, area: Area, initial: usize) -> Result<IoBuffer, OutOfMemory> {
        let (start, limit) = match area {
            Area::Input => (layout::INPUT, layout::INPUT_SIZE),
            Area::Output => (layout::OUTPUT, layout::OUTPUT_SIZE),
        };
        let taken = &mut self.buffers_taken[area as usize];
        assert!(!std::mem::replace(taken, true), "the {area:?} buffer was taken before");
        let mapping = self.mapping().clone();
        let mut buffer = IoBuffer { mapping, start, backed: 0, limit: limit as usize };
        buffer.ensure(initial)?;
        Ok(buffer)
    }
}

impl IoBuffer {
    /// Usable bytes.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.backed
    }

    /// Makes at least `bytes` usable.
    pub fn ensure(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes <= self.backed {
            return Ok(());
        }
        if bytes > self.limit {
            return Err(OutOfMemory);
        }
        let want = bytes.next_power_of_two().max(64 << 10).min(self.limit);
        self.mapping.back(self.start, want as u64).map_err(|_| OutOfMemory)?;
        self.mapping.populate(self.start, want as u64);
        self.backed = want;
        Ok(())
    }

    /// Backs the usable range again, of which another owner may have given back a part since this
    /// one was idle.
    pub fn restore(&mut self) -> Result<(), OutOfMemory> {
        self.mapping.back(self.start, self.backed as u64).map_err(|_| OutOfMemory)
    }

    /// Gives memory beyond `bytes` back to the system.
    pub fn shrink(&mut self, bytes: usize) {
        let keep = bytes.max(64 << 10).next_multiple_of(layout::PAGE as usize);
        if keep >= self.backed {
            return;
        }
        let length = (self.backed - keep) as u64;
        if self.mapping.punch(self.start + keep as u64, length).is_ok() {
            self.backed = keep;
        }
    }

    fn base(&self) -> *mut u8 {
        // SAFETY: the areas lie within every mapping.
        unsafe { self.mapping.base().add(self.start as usize) }
    }

    /// The whole usable range.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: backed; only `&mut self` writes it.
        unsafe { std::slice::from_raw_parts(self.base(), self.backed) }
    }

    /// The whole usable range, to be written.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: backed; `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.backed) }
    }
}
