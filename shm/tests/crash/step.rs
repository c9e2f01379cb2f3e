//! Runs a child process one machine instruction at a time and looks at what reaches the arena.

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use shm::layout::{FREES, HEAP, SPAN, SPANS_PER_REGION, UNDO};
use shm::{Arena, Off, U64};

/// Bytes of the arena's header that are used.
const HEADER: u64 = 8192;
/// More than the longest entry of the log that the tests' transactions write.
const LOG_AHEAD: u64 = 20 << 10;

/// A child process that is stopped.
pub struct Child(Pid);

impl Child {
    /// Runs `work` in a copy of this process, which stops before it begins.
    pub fn start(work: impl FnOnce()) -> Child {
        // SAFETY: the child only runs `work`, which takes no lock that another thread may hold (the
        // allocator's are reset by the C library), and never returns.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => {
                waitpid(child, None).expect("waitpid");
                Child(child)
            }
            ForkResult::Child => {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    ptrace::traceme().expect("ptrace");
                    raise(Signal::SIGSTOP).expect("raise");
                    work();
                }));
                // SAFETY: ends the process at once, without the parent's exit handlers.
                unsafe { libc::_exit(if done.is_ok() { 0 } else { 3 }) }
            }
        }
    }

    /// Lets the child execute one instruction; false when it has come to its end.
    pub fn step(&self) -> Result<bool, String> {
        ptrace::step(self.0, None).map_err(|e| format!("ptrace: {e}"))?;
        match waitpid(self.0, None).map_err(|e| format!("waitpid: {e}"))? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(true),
            WaitStatus::Exited(_, 0) => Ok(false),
            other => Err(format!("the child ended: {other:?}")),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Already gone after a whole run; then both calls fail, which is right.
        if nix::sys::signal::kill(self.0, Signal::SIGKILL).is_ok() {
            let _ = waitpid(self.0, None);
        }
    }
}

/// A copy of the parts of an arena that are in use, as they were last seen.
#[derive(Default)]
pub struct Shadow {
    ranges: Vec<(u64, Vec<u8>)>,
}

fn live(arena: &Arena, start: u64, length: usize) -> &[u8] {
    arena.bytes(Off::new(start), length)
}

/// The ranges in use: what the books say is allocated, and what is about to be.
fn ranges(arena: &Arena) -> Vec<(u64, u64)> {
    let state = arena.read(Off::<U64>::new(shm::header::LOG.raw())).to_native();
    let (undo, frees) = (state & 0x7fff_ffff, state >> 31 & 0x7fff_ffff);
    let mut ranges = vec![
        (0, HEADER),
        (UNDO, undo * 8 + LOG_AHEAD),
        (FREES, frees * 8 + 64),
        // The region's header: kind, counts, two bitmaps.
        (HEAP, 64),
        (HEAP + 8, 32),
        (HEAP + 8 + SPANS_PER_REGION / 8, 32),
    ];
    let frontier = arena.get(shm::header::HEAP).frontier.get().to_native();
    for span in 1..256 {
        let byte = arena.bytes(Off::new(HEAP + 8 + span / 8), 1)[0];
        let at = HEAP + span * SPAN;
        if byte >> (span % 8) & 1 == 0 {
            // One that was given back may be taken back: its header and bitmap matter still.
            if span < frontier {
                ranges.push((at, 1024));
            }
            continue;
        }
        let head = arena.bytes(Off::new(at), 2);
        let length = match head {
            [1, class] => used_part(arena, at, *class as usize),
            _ => 512,
        };
        ranges.push((at, length));
    }
    ranges
}

/// The bytes of a span of small blocks up to the end of the last one in use.
fn used_part(arena: &Arena, span: u64, class: usize) -> u64 {
    let size = shm::alloc::class_size(class.min(shm::alloc::CLASS_COUNT - 1));
    let bitmap = (SPAN / size).div_ceil(64) * 8;
    let start = (64 + bitmap).next_multiple_of(64);
    let objects = (SPAN - start) / size;
    let words = arena.array(Off::<U64>::new(span + 64), (bitmap / 8) as usize);
    let last = (0..objects)
        .rev()
        .find(|n| words[(n / 64) as usize].to_native() >> (n % 64) & 1 != 0)
        .map_or(0, |n| n + 1);
    // A block is taken before it is written, so what lies behind the last one does not change.
    (start + last * size).max(512)
}

impl Shadow {
    /// What the arena looks like now.
    pub fn of(arena: &Arena) -> Shadow {
        let copy =
            |(start, length): (u64, u64)| (start, live(arena, start, length as usize).to_vec());
        Shadow { ranges: ranges(arena).into_iter().map(copy).collect() }
    }

    /// Whether the frees of a committed transaction were being worked off.
    pub fn is_freeing(&self) -> bool {
        let (header, at) = (&self.ranges[0].1, shm::header::LOG.raw() as usize);
        header[at + 7] >> 7 != 0
    }

    /// The first place where the arena is not as it was last seen.
    pub fn difference(&self, arena: &Arena) -> Option<u64> {
        let (start, seen) = self
            .ranges
            .iter()
            .find(|(start, seen)| live(arena, *start, seen.len()) != &seen[..])?;
        let now = live(arena, *start, seen.len());
        let at = now.iter().zip(seen).position(|(a, b)| a != b)?;
        Some(start + at as u64)
    }

    /// Writes what was seen into another arena.
    pub fn write_to(&self, arena: &mut Arena) {
        for (start, seen) in &self.ranges {
            // SAFETY: within the mapping (the same layout); `arena` is borrowed exclusively and
            // nobody else has mapped this file.
            unsafe {
                let place = arena.mapping().base().add(*start as usize);
                std::ptr::copy_nonoverlapping(seen.as_ptr(), place, seen.len());
            }
        }
    }
}
