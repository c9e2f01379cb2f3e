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

const NORMAL: u32 = libc::SCHED_OTHER as u32;

/// The policy of threads that preempt nobody when they wake.
const BATCH: u32 = libc::SCHED_BATCH as u32;

/// The calling thread, for system calls.
const OWN: Pid = Pid::from_raw(0);

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
        let before = attributes(OWN).ok().filter(has_slices);
        Self { before: before.filter(|now| set(OWN, &short(now)).is_ok()) }
    }

    /// Waits for the other side to ask in its place, and does not go before anybody until then.
    fn at_ease() -> Self {
        let before = attributes(OWN).ok().filter(has_slices);
        let batch = |now: &libc::sched_attr| libc::sched_attr { sched_policy: BATCH, ..*now };
        Self { before: before.filter(|now| set(OWN, &batch(now)).is_ok()) }
    }
}

/// Other policies have none.
fn has_slices(now: &libc::sched_attr) -> bool {
    [NORMAL, BATCH].contains(&now.sched_policy)
}

fn short(now: &libc::sched_attr) -> libc::sched_attr {
    libc::sched_attr { sched_policy: NORMAL, sched_runtime: SHORT_SLICE_NS, ..*now }
}

impl Drop for ShortSlices {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = set(OWN, before);
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
        let processors = sched_getaffinity(OWN).ok();
        Self { processors, _slices: ShortSlices::ask() }
    }

    /// For a side that may wait for long, and has work to do meanwhile that is less urgent than everybody
    /// else's: it goes before nobody, until the other side has it [brought](bring_here), which asks for
    /// short slices in its place.
    #[must_use]
    pub fn at_ease() -> Self {
        let processors = sched_getaffinity(OWN).ok();
        Self { processors, _slices: ShortSlices::at_ease() }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(processors) = &self.processors {
            let _ = sched_setaffinity(OWN, processors);
        }
    }
}

/// Has a thread that sleeps wake on the processor of the caller, which is about to sleep. That thread
/// holds a [`Prompt`], and has short slices from then on if it had none.
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
    // Those that it may not be given by others, as another user's, it does without.
    if let Ok(now) = attributes(thread)
        && now.sched_policy == BATCH
    {
        let _ = set(thread, &short(&now));
    }
}

/// Those of a thread (`sched_getattr(2)`).
fn attributes(thread: Pid) -> Result<libc::sched_attr, Errno> {
    // SAFETY: it consists of integers.
    let mut found: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to where they are.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_getattr, thread.as_raw(), &raw mut found, size, 0u32)
    };
    Errno::result(done)?;
    // Some kernels know more fields, some fewer; what is set is what `libc` knows.
    found.size = size;
    Ok(found)
}

fn set(thread: Pid, wanted: &libc::sched_attr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_setattr, thread.as_raw(), &raw const *wanted, 0u32)
    };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use nix::sched::sched_getaffinity;
    use nix::unistd::{Pid, gettid};

    use super::{BATCH, NORMAL, OWN, Prompt, attributes, bring_here};

    #[test]
    fn a_thread_is_brought_here_and_has_its_own_back() {
        let ((to_us, from_it), (to_it, from_us)) = (channel(), channel());
        let thread = std::thread::spawn(move || {
            let (slice, processors) = (
                attributes(OWN).unwrap().sched_runtime,
                sched_getaffinity(Pid::from_raw(0)).unwrap(),
            );
            let prompt = Prompt::ask();
            to_us.send(gettid().as_raw() as u32).unwrap();
            from_us.recv().unwrap();
            let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let count =
                (0..super::CpuSet::count()).filter(|at| allowed.is_set(*at).unwrap()).count();
            assert_eq!(count, 1, "one processor is left to it");
            drop(prompt);
            assert_eq!(attributes(OWN).unwrap().sched_runtime, slice);
            assert_eq!(sched_getaffinity(Pid::from_raw(0)).unwrap(), processors);
        });
        bring_here(from_it.recv().unwrap());
        to_it.send(()).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_at_ease_is_hurried_by_who_brings_it() {
        let ((to_us, from_it), (to_it, from_us)) = (channel(), channel());
        let thread = std::thread::spawn(move || {
            let before = attributes(OWN).unwrap();
            let prompt = Prompt::at_ease();
            assert_eq!(attributes(OWN).unwrap().sched_policy, BATCH);
            to_us.send(gettid().as_raw() as u32).unwrap();
            from_us.recv().unwrap();
            assert_eq!(attributes(OWN).unwrap().sched_policy, NORMAL);
            drop(prompt);
            let after = attributes(OWN).unwrap();
            assert_eq!(after.sched_policy, before.sched_policy);
            assert_eq!(after.sched_runtime, before.sched_runtime);
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
