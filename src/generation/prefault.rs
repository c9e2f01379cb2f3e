//! Pages that are entered into the page table before they are needed: a new process has touched none of
//! the arena, and would fault its way through its first commands.
//!
//! Best effort: what cannot be entered costs a fault when it is touched.

use std::time::{Duration, Instant};

use shm::mapping::Mapping;

/// Bytes of the arena whose pages are entered in one call: 50 to 100 us of work.
const STEP: u64 = 1 << 20;

/// How long those who are served get the processor back after each step, which they share with this
/// process while it gets ready.
const PAUSE: Duration = Duration::from_micros(100);

/// From then on there are no pauses any more.
const UNHURRIED: Duration = Duration::from_secs(4);

/// What has not been entered by then is left to faults: the predecessor does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(12);

/// Enters the pages of the arena that are backed.
pub(super) fn enter_arena(mapping: &Mapping) {
    let begun = Instant::now();
    let mut at = 0;
    while let Some((start, end)) = mapping.next_backed(at) {
        for from in (start..end).step_by(STEP as usize) {
            mapping.populate(from, STEP.min(end - from));
            match begun.elapsed() {
                spent if spent < UNHURRIED => std::thread::sleep(PAUSE),
                spent if spent < PATIENCE => {}
                _ => return,
            }
        }
        at = end;
    }
}
