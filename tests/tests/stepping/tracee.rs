//! A process that is traced: its executor, that is its first thread.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

use hotredis_tests::server::Server;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use socket2::Socket;

use crate::cast::await_that;

/// A traced process, which stands still between two calls. All calls have to come from one thread.
pub struct Tracee {
    pid: Pid,
    gone: bool,
}

/// Why a traced process stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before the call of this number.
    Entry(i64),
    /// After it.
    Exit(i64),
    /// For another reason.
    Other,
}

impl Tracee {
    /// Takes hold of a process, and stops it.
    pub fn seize(pid: u32) -> nix::Result<Self> {
        let pid = Pid::from_raw(pid as i32);
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD)?;
        ptrace::interrupt(pid)?;
        waitpid(pid, Some(WaitPidFlag::__WALL))?;
        Ok(Self { pid, gone: false })
    }

    /// Takes hold of the generation that serves, which is another than the one that was killed.
    #[track_caller]
    pub fn of(server: &Server, killed: &mut Option<u32>) -> Self {
        let mut found = None;
        await_that("a generation serves that can be traced", || {
            let (_, pid) = server.serving();
            found = (Some(pid) != *killed).then(|| Self::seize(pid).ok()).flatten();
            found.is_some()
        });
        found.expect("it was awaited")
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Lets the process go on by itself.
    pub fn release(mut self) {
        self.gone = true;
        ptrace::detach(self.pid, None).expect("it stands still");
    }

    /// Kills the process where it stands, and waits for its end.
    pub fn kill(mut self) {
        self.gone = true;
        kill(self.pid, Signal::SIGKILL).expect("it is there");
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(Errno::ECHILD) => {
                    return;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => panic!("waiting for the end of {}: {errno}", self.pid),
            }
        }
    }

    fn wait(&mut self) -> Result<WaitStatus, String> {
        match waitpid(self.pid, Some(WaitPidFlag::__WALL)) {
            Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => {
                self.gone = true;
                Err(format!("the traced process has ended: {status:?}"))
            }
            Ok(status) => Ok(status),
            Err(errno) => Err(format!("waiting for {}: {errno}", self.pid)),
        }
    }

    /// Goes on to the next entry or exit of a system call.
    pub fn go_to_call(&mut self) -> Result<Stop, String> {
        ptrace::syscall(self.pid, None).map_err(|errno| format!("going on: {errno}"))?;
        let WaitStatus::PtraceSyscall(_) = self.wait()? else { return Ok(Stop::Other) };
        let number = self.registers()?.orig_rax as i64;
        let info = ptrace::syscall_info(self.pid).map_err(|errno| errno.to_string())?;
        Ok(match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => Stop::Entry(number),
            libc::PTRACE_SYSCALL_INFO_EXIT => Stop::Exit(number),
            _ => Stop::Other,
        })
    }

    /// Runs one instruction.
    pub fn step(&mut self) -> Result<(), String> {
        ptrace::step(self.pid, None).map_err(|errno| format!("a step: {errno}"))?;
        self.wait().map(drop)
    }

    pub fn registers(&self) -> Result<libc::user_regs_struct, String> {
        ptrace::getregs(self.pid).map_err(|errno| format!("its registers: {errno}"))
    }

    /// Whether a system call begins at an address.
    pub fn is_call(&self, address: u64) -> Result<bool, String> {
        const SYSCALL: [u8; 2] = [0x0f, 0x05];
        let word = ptrace::read(self.pid, address as ptrace::AddressType);
        let word = word.map_err(|errno| format!("its code: {errno}"))?;
        Ok(word.to_le_bytes()[..2] == SYSCALL)
    }

    /// Opens the file that the process has mapped as its arena.
    pub fn arena(&self) -> File {
        let found = self.descriptors().find(|(_, target)| target.contains("hotredis-arena"));
        let (number, _) = found.expect("it has an arena");
        File::open(format!("/proc/{}/fd/{number}", self.pid)).expect("it may be opened")
    }

    /// Duplicates of the process's connections to these clients, in the same order.
    pub fn sockets(&self, clients: &[SocketAddr]) -> Vec<OwnedFd> {
        let sockets = self.descriptors().filter(|(_, target)| target.starts_with("socket:"));
        let all: Vec<(Option<SocketAddr>, OwnedFd)> = sockets
            .map(|(number, _)| {
                let socket = Socket::from(self.duplicate(number).expect("it may be duplicated"));
                (socket.peer_addr().ok().and_then(|peer| peer.as_socket()), socket.into())
            })
            .collect();
        let mut all = all;
        let mut of = |client: &SocketAddr| {
            let at = all.iter().position(|(peer, _)| *peer == Some(*client));
            all.swap_remove(at.expect("the server has accepted the client")).1
        };
        clients.iter().map(&mut of).collect()
    }

    fn descriptors(&self) -> impl Iterator<Item = (i32, String)> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it is there");
        entries.flatten().filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
    }

    fn duplicate(&self, number: i32) -> io::Result<OwnedFd> {
        // SAFETY: the call takes a pid and flags, and touches no memory of this process.
        let process = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid.as_raw(), 0) };
        let process = descriptor(process)?;
        let raw = std::os::fd::AsRawFd::as_raw_fd(&process);
        // SAFETY: the call takes two descriptors and flags, and touches no memory of this process.
        descriptor(unsafe { libc::syscall(libc::SYS_pidfd_getfd, raw, number, 0) })
    }
}

/// The descriptor that a system call has made.
fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.gone {
            // A test has failed: whoever ends the server must not find it standing still.
            let _ = ptrace::detach(self.pid, None);
        }
    }
}
