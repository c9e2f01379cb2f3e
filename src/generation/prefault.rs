//! Pages that are entered into the page table before they are needed: a new process has touched none of
//! the arena, and of the program only what its start needed, and would fault its way through its
//! first commands.
//!
//! Best effort: what cannot be entered costs a fault when it is touched.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use nix::sys::mman::{MmapAdvise, madvise};

use shm::mapping::Mapping;

/// Bytes of the arena whose pages are entered in one call, which takes about 0.1 ms.
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

/// What a spare has entered of an arena that is used, and grows, meanwhile.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    at: u64,
    /// Everything has been entered once.
    pub(super) warm: bool,
}

impl Rounds {
    /// Enters a little more, within some 2 ms. Returns when to go on.
    ///
    /// There is a round after the other, because pages are given back and others are used for the first
    /// time. To go over what is entered already costs a fiftieth.
    pub(super) fn go_on(&mut self, mapping: &Mapping) -> Duration {
        let Some((start, end)) = mapping.next_backed(self.at) else {
            (self.at, self.warm) = (0, true);
            return Duration::from_secs(1);
        };
        let from = self.at.max(start);
        let length = (8 * STEP).min(end - from);
        // Whatever is on a disk is not to be written for this.
        mapping.populate_unchanged(from, length);
        self.at = from + length;
        // Those who are served get the processor back in between.
        Duration::from_millis(if self.warm { 100 } else { 1 })
    }
}

/// Enters the pages of code and constants, those of libraries too.
pub(super) fn enter_program() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(of_program) {
        // SAFETY: no memory is written or unmapped by this advice. A range that is not mapped any
        // more gets an error.
        let _ = unsafe { madvise(start, length.get(), MmapAdvise::MADV_POPULATE_READ) };
    }
}

/// Where a line of `/proc/PID/maps` says that a mapping is, if it is a private one of a file.
fn of_program(line: &str) -> Option<(NonNull<c_void>, NonZeroUsize)> {
    // 55d0c0a00000-55d0c0b2f000 r-xp 00120000 fe:00 1234   /usr/bin/hotredis
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let path = fields.nth(3)?;
    if !(permissions.starts_with('r') && permissions.ends_with('p') && path.starts_with('/')) {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((NonNull::new(start as *mut c_void)?, NonZeroUsize::new(end.checked_sub(start)?)?))
}

#[cfg(test)]
mod tests {
    use super::of_program;

    #[test]
    fn only_private_mappings_of_files_belong_to_the_program() {
        let range =
            |line| of_program(line).map(|(start, length)| (start.as_ptr() as usize, length.get()));
        let code = "1000-3000 r-xp 00120000 fe:00 1234   /usr/bin/hotredis";
        assert_eq!(range(code), Some((0x1000, 0x2000)));
        assert_eq!(range("1000-3000 rw-s 00000000 00:01 1024   /memfd:arena (deleted)"), None);
        assert_eq!(range("1000-3000 ---p 00000000 fe:00 1234   /usr/bin/hotredis"), None);
        assert_eq!(range("1000-3000 rw-p 00000000 00:00 0      [heap]"), None);
        assert_eq!(range("1000-3000 rw-p 00000000 00:00 0"), None);
        assert_eq!(range("rubbish"), None);
    }

    #[test]
    fn the_running_program_has_pages_to_enter() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.lines().filter_map(of_program).count() > 3);
        super::enter_program();
    }
}
