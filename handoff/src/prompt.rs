//! Waking the other side at once: how soon, and where, the scheduler runs a thread that takes over.
//!
//! Left alone it wakes on a processor of its own. If that is busy, whoever runs there may finish a slice of
//! 3 ms first; if it is idle, waking it up takes 50 us, and on a virtual machine now and then as
//! many milliseconds as its host takes to run it again. The processor of the side that gives is awake,
//! and free in a moment.

use std::mem::size_of;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// What a slice is asked to be, nanoseconds: the least that Linux grants.
const SHORT_SLICE_NS: u64 = 100_000;

/// For as long as this lives, the calling thread asks for short slices: Linux (from 6.12) lets one that
/// wakes with a short slice to run go before those with a longer one. Its share of the processor
/// stays what it was.
///
/// When it is dropped, by the same thread, that has its slices back. Best effort: where they are not
/// to be had, the thread runs as any other.
#[derive(Debug)]
pub(crate) struct ShortSlices {
    before: Option<libc::sched_attr>,
}

impl ShortSlices {
    pub(crate) fn ask() -> Self {
        // Other policies have none.
        let with_slices = [libc::SCHED_OTHER, libc::SCHED_BATCH].map(|policy| policy as u32);
        let before = attributes().ok().filter(|now| with_slices.contains(&now.sched_policy));
        let short =
            |now: &libc::sched_attr| libc::sched_attr { sched_runtime: SHORT_SLICE_NS, ..*now };
        Self { before: before.filter(|now| set(&short(now)).is_ok()) }
    }
}

impl Drop for ShortSlices {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = set(before);
        }
    }
}

/// For as long as this lives, the calling thread may be [brought](bring_here) to another processor, and
/// asks for [short slices](ShortSlices).
///
/// When it is dropped, by the same thread, that has its processors and slices back.
#[derive(Debug)]
pub struct Prompt {
    processors: Option<CpuSet>,
    _slices: ShortSlices,
}

impl Prompt {
    /// Asks for it. To be called before the other side knows of this thread.
    #[must_use]
    pub fn ask() -> Self {
        let processors = sched_getaffinity(Pid::from_raw(0)).ok();
        Self { processors, _slices: ShortSlices::ask() }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(processors) = &self.processors {
            let _ = sched_setaffinity(Pid::from_raw(0), processors);
        }
    }
}

/// Has a thread that sleeps wake on the processor of the caller, which is about to sleep. That thread
/// holds a [`Prompt`].
///
/// Best effort, as that is.
pub(crate) fn bring_here(thread: u32) {
    let Ok(thread) = i32::try_from(thread).map(Pid::from_raw) else { return };
    let mut here = CpuSet::new();
    let found = sched_getcpu().and_then(|processor| here.set(processor));
    // Its own reading of these could fail as well, and then nobody would set it free.
    if found.is_ok() && sched_getaffinity(thread).is_ok() {
        let _ = sched_setaffinity(thread, &here);
    }
}

/// Those of the calling thread (`sched_getattr(2)`).
fn attributes() -> Result<libc::sched_attr, Errno> {
    // SAFETY: it consists of integers.
    let mut found: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to where they are.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, size, 0u32) };
    Errno::result(done)?;
    // Some kernels know more fields, some fewer; what is set is what `libc` knows.
    found.size = size;
    Ok(found)
}

fn set(wanted: &libc::sched_attr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *wanted, 0u32) };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use nix::sched::sched_getaffinity;
    use nix::unistd::{Pid, gettid};

    use super::{Prompt, attributes, bring_here};

    #[test]
    fn a_thread_is_brought_here_and_has_its_own_back() {
        let ((to_us, from_it), (to_it, from_us)) = (channel(), channel());
        let thread = std::thread::spawn(move || {
            let (slice, processors) =
                (attributes().unwrap().sched_runtime, sched_getaffinity(Pid::from_raw(0)).unwrap());
            let prompt = Prompt::ask();
            to_us.send(gettid().as_raw() as u32).unwrap();
            from_us.recv().unwrap();
            let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let count =
                (0..super::CpuSet::count()).filter(|at| allowed.is_set(*at).unwrap()).count();
            assert_eq!(count, 1, "one processor is left to it");
            drop(prompt);
            assert_eq!(attributes().unwrap().sched_runtime, slice);
            assert_eq!(sched_getaffinity(Pid::from_raw(0)).unwrap(), processors);
        });
        bring_here(from_it.recv().unwrap());
        to_it.send(()).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_that_is_not_there_is_not_missed() {
        bring_here(u32::MAX);
        bring_here(i32::MAX as u32);
    }
}
