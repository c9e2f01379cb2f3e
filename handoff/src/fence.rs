//! The executor lock and the fence: how a process learns that another one will never again write
//! the arena.
//!
//! The lock is a robust futex: a word in shared memory that holds the thread id of a generation's
//! executor. When that thread ends, for whatever reason, the kernel itself sets
//! [`FUTEX_OWNER_DIED`](libc::FUTEX_OWNER_DIED) in the word and wakes a waiter. That happens when
//! the thread leaves user space for good, long before the memory of its process is torn down.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::death::{Cause, Inquest};
use crate::error::FenceError;
use crate::owner::Generation;

const TID: u32 = libc::FUTEX_TID_MASK;
const DIED: u32 = libc::FUTEX_OWNER_DIED;
const WAITERS: u32 = libc::FUTEX_WAITERS;

/// The longest single wait in the kernel. The wake-up goes to one waiter only, who passes it on;
/// should that one be killed in between, the others notice after this time.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// `struct robust_list` of linux/futex.h.
#[repr(C)]
struct RobustList {
    next: *mut RobustList,
}

/// `struct robust_list_head` of linux/futex.h, with the single entry of our list behind it.
#[repr(C)]
struct Registration {
    list: RobustList,
    futex_offset: libc::c_long,
    list_op_pending: *mut RobustList,
    entry: RobustList,
}

/// `sizeof(struct robust_list_head)`, which `set_robust_list(2)` insists on.
const HEAD_SIZE: usize = 3 * size_of::<usize>();

/// The lock of a generation's executor: held by the thread that acquired it, until it is dropped
/// or the thread ends.
///
/// Acquiring it replaces the robust list that the C library keeps for this thread, so robust
/// `pthread` mutexes must not be used on the executor; Rust's standard library has none. A child
/// made by a bare `fork` does not hold the lock.
///
/// An `exec` gives the lock up, with one exception: if the executor is not the main thread and
/// calls `exec` itself, the kernel gives it another thread id first and then does not recognise
/// its own word (tried on Linux 6.18). Such an executor drops the lock before. A fence does not
/// hang on it: it also accepts the end of the whole process.
///
/// Dropping the lock says that this thread will never again write the arena. It must therefore be
/// the last to go, before the mapping.
#[derive(Debug)]
pub struct ExecutorLock<'a> {
    word: &'a AtomicU32,
    generation: Generation,
    registration: *mut Registration,
    previous: *mut libc::c_void,
    /// A robust list belongs to a thread.
    not_send: PhantomData<*const ()>,
}

impl<'a> ExecutorLock<'a> {
    /// Makes the calling thread the executor of `generation`. `word` is the lock word of that
    /// generation's parity in the arena's header.
    ///
    /// # Errors
    /// [`FenceError::Held`] if a living thread has it; see [`wait_dead`].
    pub fn acquire(word: &'a AtomicU32, generation: Generation) -> Result<Self, FenceError> {
        let tid = nix::unistd::gettid().as_raw().cast_unsigned();
        let previous = current_robust_list()?;
        let registration = Box::into_raw(Box::new(Registration {
            list: RobustList { next: ptr::null_mut() },
            futex_offset: 0,
            list_op_pending: ptr::null_mut(),
            entry: RobustList { next: ptr::null_mut() },
        }));
        // SAFETY: the registration was just allocated and is reachable by nobody else; it is freed
        // only by drop, after the kernel has been given the previous list again.
        unsafe {
            let entry = &raw mut (*registration).entry;
            (*registration).list.next = entry;
            (*registration).entry.next = registration.cast();
            (*registration).futex_offset =
                ptr::from_ref(word).addr().wrapping_sub(entry.addr()).cast_signed() as libc::c_long;
        }
        // Registered before the word is ours: a death in between finds a word that does not hold
        // this thread's id, and the kernel leaves it alone. The other order would lose the death.
        let lock = Self { word, generation, registration, previous, not_send: PhantomData };
        set_robust_list(registration.cast())?;
        let mut seen = word.load(Ordering::Acquire);
        loop {
            if seen & TID != 0 && seen & DIED == 0 {
                return Err(FenceError::Held { tid: seen & TID });
            }
            match word.compare_exchange(seen, tid, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(lock),
                Err(now) => seen = now,
            }
        }
    }

    /// The generation whose executor this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The thread id that stands in the word.
    #[must_use]
    pub fn thread_id(&self) -> u32 {
        self.word.load(Ordering::Relaxed) & TID
    }
}

impl Drop for ExecutorLock<'_> {
    fn drop(&mut self) {
        let tid = nix::unistd::gettid().as_raw().cast_unsigned();
        let held = self.word.load(Ordering::Relaxed);
        if held & TID == tid && held & DIED == 0 {
            self.word.swap(DIED, Ordering::AcqRel);
            wake_all(self.word);
        }
        // If the kernel keeps our list, its memory has to stay: leak it.
        if set_robust_list(self.previous).is_ok() {
            // SAFETY: allocated by acquire, and the kernel no longer knows the address.
            drop(unsafe { Box::from_raw(self.registration) });
        }
    }
}

/// Whether the executor that `word` belongs to is gone, or never was.
#[must_use]
pub fn is_dead(word: &AtomicU32) -> bool {
    let seen = word.load(Ordering::Acquire);
    seen & DIED != 0 || seen & TID == 0
}

/// The thread that holds the lock, if one does.
#[must_use]
pub fn holder(word: &AtomicU32) -> Option<u32> {
    let seen = word.load(Ordering::Acquire);
    (seen & DIED == 0 && seen & TID != 0).then_some(seen & TID)
}

/// Waits until the kernel has said that the executor which holds `word` is gone. Returns whether
/// it is. `word` must be mapped writable: the kernel wakes nobody unless the word asks for it.
///
/// # Errors
/// [`FenceError::Os`] if the kernel refuses to wait.
pub fn wait_dead(word: &AtomicU32, timeout: Duration) -> Result<bool, FenceError> {
    wait_dead_in_slices(word, timeout, WAIT_SLICE)
}

/// As [`wait_dead`], for ever, and at ease: for one who has time, beside others who have not.
///
/// # Errors
/// [`FenceError::Os`] if the kernel refuses to wait.
pub fn await_death(word: &AtomicU32) -> Result<(), FenceError> {
    wait_dead_in_slices(word, Duration::MAX, Duration::from_secs(1)).map(drop)
}

fn wait_dead_in_slices(
    word: &AtomicU32,
    timeout: Duration,
    slice: Duration,
) -> Result<bool, FenceError> {
    let start = Instant::now();
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen & DIED != 0 || seen & TID == 0 {
            // The kernel woke one waiter; the next one is woken by this one.
            wake_all(word);
            return Ok(true);
        }
        let Some(left) = timeout.checked_sub(start.elapsed()) else { return Ok(false) };
        if seen & WAITERS == 0 {
            // Whatever the outcome, the next round looks at the word again.
            let _ =
                word.compare_exchange(seen, seen | WAITERS, Ordering::AcqRel, Ordering::Acquire);
            continue;
        }
        futex_wait(word, seen, left.min(slice))?;
    }
}

/// Proof that the executor of a generation is gone for good.
#[derive(Debug, PartialEq, Eq)]
pub struct Fenced(Generation);

impl Fenced {
    /// Returns the proof if `word`, the lock word that `generation` has held, says so.
    #[must_use]
    pub fn observe(word: &AtomicU32, generation: Generation) -> Option<Self> {
        is_dead(word).then_some(Self(generation))
    }

    /// The proof for the rare case in which the kernel leaves the word as it is (see
    /// [`ExecutorLock`]): the process of the executor has ended, with all its threads. Marks the
    /// word, so that the next generation of that parity can take the lock.
    pub fn by_exit(
        process: &dyn OtherProcess,
        word: &AtomicU32,
        generation: Generation,
    ) -> Option<Self> {
        if !process.has_exited() {
            return None;
        }
        word.swap(DIED, Ordering::AcqRel);
        wake_all(word);
        Some(Self(generation))
    }

    /// The generation that is gone.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0
    }
}

/// The process at the other end of a handoff, as far as this one needs it.
pub trait OtherProcess {
    /// Its process id, which HELLO has to name.
    fn pid(&self) -> u32;

    /// Sends `SIGKILL`. That it has ended already is no error.
    ///
    /// # Errors
    /// If it cannot be killed.
    fn kill(&self) -> Result<(), FenceError>;

    /// Whether it has ended, all its threads included.
    fn has_exited(&self) -> bool;

    /// Of what it has died, if its executor is gone.
    fn cause(&self) -> Cause {
        Cause::Unknown
    }
}

/// A process that can be killed without the risk of hitting another one that got its number.
#[derive(Debug)]
pub struct ProcessHandle {
    pid: u32,
    pidfd: OwnedFd,
    inquest: Inquest,
}

impl ProcessHandle {
    /// Opens the process `pid`, which must be neither this one nor `init`.
    ///
    /// # Errors
    /// [`FenceError::Forbidden`] for a pid that must not be killed, [`FenceError::Os`] if there is
    /// no such process.
    pub fn open(pid: u32) -> Result<Self, FenceError> {
        let raw = libc::pid_t::try_from(pid).map_err(|_| FenceError::Forbidden { pid })?;
        if raw <= 1 || pid == std::process::id() {
            return Err(FenceError::Forbidden { pid });
        }
        // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, raw, 0) };
        if fd < 0 {
            return Err(os("pidfd_open"));
        }
        // SAFETY: the kernel has just returned this descriptor and nobody else has it; pidfds are
        // close-on-exec from the start.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Self { pid, pidfd, inquest: Inquest::open(pid) })
    }

    /// Sends it a signal, if it is still there.
    ///
    /// # Errors
    /// [`FenceError::Os`] if it belongs to another user.
    pub fn signal(&self, signal: Signal) -> Result<(), FenceError> {
        // SAFETY: takes the descriptor, a signal number, a null siginfo and flags 0.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal as libc::c_int,
                ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
            return Ok(());
        }
        Err(os("pidfd_send_signal"))
    }
}

impl AsFd for ProcessHandle {
    /// Readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl OtherProcess for ProcessHandle {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn kill(&self) -> Result<(), FenceError> {
        self.signal(Signal::SIGKILL)
    }

    fn has_exited(&self) -> bool {
        // A pidfd becomes readable when the last thread of its process has ended.
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    fn cause(&self) -> Cause {
        self.inquest.cause(Some(self.pidfd.as_fd()))
    }
}

/// A process that is nobody's to kill, or gone: a child that has been reaped, and the keeper.
#[derive(Debug, Clone, Copy)]
pub enum Untouchable {
    /// It has been reaped.
    Reaped,
    /// It lives, and is not this side's to kill.
    Alive,
}

impl OtherProcess for Untouchable {
    fn pid(&self) -> u32 {
        0
    }

    fn kill(&self) -> Result<(), FenceError> {
        Ok(())
    }

    fn has_exited(&self) -> bool {
        matches!(self, Self::Reaped)
    }
}

/// Kills `process` and waits until its executor, which holds `word`, is gone.
///
/// # Errors
/// [`FenceError::StillAlive`] if the kernel has not confirmed it within `timeout`: ownership must
/// not change then. The call may be repeated.
pub fn fence(
    process: &dyn OtherProcess,
    word: &AtomicU32,
    generation: Generation,
    timeout: Duration,
) -> Result<Fenced, FenceError> {
    let start = Instant::now();
    process.kill()?;
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        if wait_dead(word, left.min(WAIT_SLICE))? {
            return Ok(Fenced(generation));
        }
        if let Some(fenced) = Fenced::by_exit(process, word, generation) {
            return Ok(fenced);
        }
        if left.is_zero() {
            let tid = word.load(Ordering::Relaxed) & TID;
            return Err(FenceError::StillAlive { tid, waited: timeout });
        }
    }
}

fn os(call: &'static str) -> FenceError {
    FenceError::Os { call, source: io::Error::last_os_error() }
}

fn current_robust_list() -> Result<*mut libc::c_void, FenceError> {
    let mut head: *mut libc::c_void = ptr::null_mut();
    let mut length = 0_usize;
    // SAFETY: pid 0 is the calling thread; both pointers are valid for writes during the call.
    let result =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    if result == 0 { Ok(head) } else { Err(os("get_robust_list")) }
}

fn set_robust_list(head: *mut libc::c_void) -> Result<(), FenceError> {
    // SAFETY: the kernel only stores the address; it reads what is behind it when the thread ends,
    // and the callers keep it valid until then (or give the C library's own list, which is).
    let result = unsafe { libc::syscall(libc::SYS_set_robust_list, head, HEAD_SIZE) };
    if result == 0 { Ok(()) } else { Err(os("set_robust_list")) }
}

/// `FUTEX_WAIT` without the private flag: the waker is another process.
fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) -> Result<(), FenceError> {
    let limit = libc::timespec {
        tv_sec: timeout.as_secs().cast_signed(),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    // SAFETY: the word is a valid, aligned u32 for the whole call, and the timeout is readable.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const limit)
    };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT) => Ok(()),
        _ => Err(os("futex")),
    }
}

fn wake_all(word: &AtomicU32) {
    // SAFETY: the word is a valid, aligned u32; waking touches no memory of ours.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}
