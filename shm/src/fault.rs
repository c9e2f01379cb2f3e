//! Failures on purpose, for tests of what comes of them; in builds with debug assertions only.

use crate::arena::Arena;
use crate::error::OutOfMemory;

/// What is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An allocation, as if the arena were full from then on.
    Allocations,
    /// A single one of whatever may fail: an allocation, a logged write, a block to be freed.
    Step,
}

/// When something is to fail.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// What, and how often it works before.
    planned: Option<(Fault, u64)>,
    struck: bool,
}

impl Faults {
    /// Something is about to happen that may fail.
    #[inline(always)]
    pub fn meet(&mut self, what: Fault) -> Result<(), OutOfMemory> {
        match &mut self.planned {
            Some((fault, left)) if *fault == what || *fault == Fault::Step => {
                if let Some(less) = left.checked_sub(1) {
                    *left = less;
                    return Ok(());
                }
                self.struck = true;
                if *fault == Fault::Step {
                    self.planned = None;
                }
                Err(OutOfMemory)
            }
            _ => Ok(()),
        }
    }
}

impl Arena {
    /// Has something fail in this process's transactions, after it has worked `after` times.
    pub fn plan_fault(&mut self, fault: Fault, after: u64) {
        self.faults = Faults { planned: Some((fault, after)), struck: false };
    }

    /// Has nothing fail on purpose any more; says whether anything did.
    pub fn end_faults(&mut self) -> bool {
        std::mem::take(&mut self.faults).struck
    }
}
