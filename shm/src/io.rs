//! The executor's input and output buffers.
//!
//! They are ranges of the arena with address space of their own, where no block ever lies, so no
//! transaction writes them: a request can be read in place while the command that it names changes
//! the arena. How much of them counts is for the user to publish with each commit.

use std::marker::PhantomData;

use crate::arena::Arena;
use crate::error::OutOfMemory;
use crate::layout;

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
    base: *mut u8,
    start: u64,
    backed: usize,
    limit: usize,
    area: Area,
    _memory: PhantomData<u8>,
}

// SAFETY: an address range that only this value leads to.
unsafe impl Send for IoBuffer {}

impl Arena {
    /// The executor's buffer, backed for at least `initial` bytes. It must not outlive the arena's
    /// mapping.
    ///
    /// # Safety
    ///
    /// Each area is taken once by an owner, and the buffer is dropped before the arena is.
    pub unsafe fn io_buffer(
        &mut self,
        area: Area,
        initial: usize,
    ) -> Result<IoBuffer, OutOfMemory> {
        let (start, limit) = match area {
            Area::Input => (layout::INPUT, layout::INPUT_SIZE),
            Area::Output => (layout::OUTPUT, layout::OUTPUT_SIZE),
        };
        let base = self.place(start, limit);
        let mut buffer =
            IoBuffer { base, start, backed: 0, limit: limit as usize, area, _memory: PhantomData };
        buffer.ensure(self, initial)?;
        Ok(buffer)
    }
}

impl IoBuffer {
    /// Which buffer this is.
    pub fn area(&self) -> Area {
        self.area
    }

    /// Usable bytes.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.backed
    }

    /// Makes at least `bytes` usable.
    pub fn ensure(&mut self, arena: &Arena, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes <= self.backed {
            return Ok(());
        }
        if bytes > self.limit {
            return Err(OutOfMemory);
        }
        let want = bytes.next_power_of_two().max(64 << 10).min(self.limit);
        arena.back_area(self.start, want as u64)?;
        arena.mapping().populate(self.start, want as u64);
        self.backed = want;
        Ok(())
    }

    /// Gives memory beyond `bytes` back to the system.
    pub fn shrink(&mut self, arena: &Arena, bytes: usize) {
        let keep = bytes.max(64 << 10).next_multiple_of(layout::PAGE as usize);
        if keep < self.backed
            && arena.mapping().punch(self.start + keep as u64, (self.backed - keep) as u64).is_ok()
        {
            self.backed = keep;
        }
    }

    /// The whole usable range.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: backed; only `&mut self` writes it.
        unsafe { std::slice::from_raw_parts(self.base, self.backed) }
    }

    /// The whole usable range, to be written.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: backed; `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.base, self.backed) }
    }
}
