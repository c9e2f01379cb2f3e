//! Of what a generation has died: known before its process can be reaped, and by whoever takes up what
//! it left, parent or not.
//!
//! The kernel notes a process's exit code before it releases its robust futex, by which its death is
//! noticed, and takes its memory apart only after that. Until the process has been reaped,
//! `/proc/PID/stat` shows the code to the same user; from then on its pidfd does, since Linux 6.15.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::ptr;

use nix::sys::signal::Signal;
use rkyv::{Archive, Deserialize, Serialize};

/// Of what a generation has died.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody can say.
    Unknown,
    /// It exited with this code.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// It did nothing for so long that it was killed.
    Hang,
    /// The kernel killed it because its cgroup, or the system, had no memory left.
    OutOfMemory,
}

impl Cause {
    /// The cause that a wait status tells of (`waitpid(2)`); `None` if it tells of none.
    fn of_status(status: i32) -> Option<Self> {
        match status & 0x7f {
            0 if status == 0 => None,
            0 => Some(Self::Exit(status >> 8 & 0xff)),
            signal => Some(Self::Signal(signal)),
        }
    }

    /// Whether it is of its own doing: what it did then is likely to have the same end if it is done
    /// again.
    #[must_use]
    pub fn is_own(self) -> bool {
        const OWN: [Signal; 5] =
            [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT];
        match self {
            Self::Unknown | Self::Exit(_) => false,
            Self::Signal(number) => OWN.iter().any(|signal| *signal as i32 == number),
            Self::Hang | Self::OutOfMemory => true,
        }
    }

    /// Whether somebody killed it from outside.
    #[must_use]
    pub fn is_from_outside(self) -> bool {
        self == Self::Signal(libc::SIGKILL)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => out.write_str("unknown"),
            Self::Exit(code) => write!(out, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => out.write_str(signal.as_str()),
                Err(_) => write!(out, "signal {number}"),
            },
            Self::Hang => out.write_str("hang"),
            Self::OutOfMemory => out.write_str("out of memory"),
        }
    }
}

/// Will say of what a process has died.
#[derive(Debug)]
pub struct Inquest {
    pid: u32,
    /// Kills for want of memory when it began.
    oom_kills: u64,
}

impl Inquest {
    /// For a process that lives, of the same cgroup as this one.
    #[must_use]
    pub fn open(pid: u32) -> Self {
        Self { pid, oom_kills: oom_kills().unwrap_or(0) }
    }

    /// Of what it has died, as far as the system says so: its executor is known to be gone, and nobody
    /// else can have its pid, since this process has not reaped it yet, or holds `pidfd`.
    #[must_use]
    pub fn cause(&self, pidfd: Option<BorrowedFd<'_>>) -> Cause {
        let shown = exit_code(self.pid).filter(|_| pidfd.is_none_or(is_unreaped));
        let status = shown.or_else(|| pidfd.and_then(exit_code_by_pidfd));
        self.judge(status.and_then(Cause::of_status).unwrap_or(Cause::Unknown))
    }

    /// Tells a kill for want of memory from one from outside.
    #[must_use]
    pub fn judge(&self, cause: Cause) -> Cause {
        let starved = || oom_kills().is_some_and(|kills| kills > self.oom_kills);
        if cause.is_from_outside() && starved() { Cause::OutOfMemory } else { cause }
    }
}

/// The wait status of a process that is ending or has ended, and has not been reaped; 0 if it lives.
fn exit_code(pid: u32) -> Option<i32> {
    /// Place of `exit_code` in `proc_pid_stat(5)`, counted from the state, the first field behind the
    /// name, which may hold anything.
    const EXIT_CODE: usize = 52 - 3;
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(EXIT_CODE)?.parse().ok()
}

/// Whether the process has not been reaped: then nobody else has had its pid.
fn is_unreaped(pidfd: BorrowedFd<'_>) -> bool {
    // SAFETY: takes the descriptor, signal 0, which is none, a null siginfo and flags 0.
    let sent = unsafe {
        let info = ptr::null::<libc::siginfo_t>();
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, info, 0)
    };
    sent == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// The wait status of a process that has been reaped.
fn exit_code_by_pidfd(pidfd: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: a struct of integers, for which zeros are valid.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    let wanted = u64::from(libc::PIDFD_INFO_EXIT);
    info.mask = wanted;
    // SAFETY: the request writes as many bytes as it names in its number: those of this struct.
    let got = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    (got == 0 && info.mask & wanted != 0).then_some(info.exit_code)
}

/// How often the kernel has killed something in this process's cgroup for want of memory; `None` without
/// cgroups of version 2.
fn oom_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let file: PathBuf = ["/sys/fs/cgroup", group, "memory.events"].iter().collect();
    count_in(&fs::read_to_string(file).ok()?)
}

fn count_in(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::fence::{OtherProcess, ProcessHandle};

    fn ended(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().expect("a shell")
    }

    /// Waits until it has ended, without reaping it.
    fn await_end(handle: &ProcessHandle) {
        while !handle.has_exited() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_process_is_asked_of_what_it_died_before_and_after_it_is_reaped() {
        for (script, cause, own) in [
            ("kill -SEGV $$", Cause::Signal(libc::SIGSEGV), true),
            ("ulimit -c 0; kill -ABRT $$", Cause::Signal(libc::SIGABRT), true),
            ("kill -KILL $$", Cause::Signal(libc::SIGKILL), false),
            ("kill -TERM $$", Cause::Signal(libc::SIGTERM), false),
            ("exit 101", Cause::Exit(101), false),
        ] {
            let mut child = ended(script);
            let handle = ProcessHandle::open(child.id()).expect("pidfd");
            await_end(&handle);
            assert_eq!(Inquest::open(child.id()).cause(None), cause, "{script}");
            assert_eq!(handle.cause(), cause, "{script}");
            assert_eq!(cause.is_own(), own, "{script}");
            child.wait().expect("reaped");
            // Only newer kernels know it still.
            assert!([cause, Cause::Unknown].contains(&handle.cause()), "{script}");
        }
    }

    #[test]
    fn a_process_that_lives_has_no_cause() {
        let mut child = ended("exec sleep 60");
        let handle = ProcessHandle::open(child.id()).expect("pidfd");
        assert_eq!(handle.cause(), Cause::Unknown);
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert_eq!(Cause::of_status(0), None);
        assert_eq!(Cause::of_status(0x8b), Some(Cause::Signal(libc::SIGSEGV)), "with a core dump");
    }

    #[test]
    fn kills_for_want_of_memory_are_counted() {
        assert_eq!(count_in("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(count_in("low 0\n"), None);
        let before = Inquest { pid: 0, oom_kills: u64::MAX };
        let killed = Cause::Signal(libc::SIGKILL);
        assert_eq!(before.judge(killed), killed);
    }
}
