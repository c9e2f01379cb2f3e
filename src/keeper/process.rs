//! Binaries and the processes made from them.
//!
//! A binary is opened once and every later step goes through that descriptor, so what was examined
//! is what runs, even if the file at the path is replaced meanwhile. One thread of the keeper
//! starts and reaps its children: a pid that it has not reaped cannot be anybody else's,
//! so signals by pid hit the right process.

use std::ffi::CString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handoff::keeper_channel::{self, ChannelError, KeeperEnd};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, execv, getegid, geteuid};

use super::signals;
use crate::inherited::keep_over_exec;

/// Set by service managers for the process that they start, which is the keeper: not for its
/// children.
const PRIVATE_ENVIRONMENT: [&str; 6] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Bytes of an ELF header.
const ELF_HEAD: usize = 64;

const CUT_SHORT: &str = "is no hotredis: the file is cut short (copy it again)";

/// Why a file is not run.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not a file that this user should run.
    #[error("{} {problem}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

/// An opened executable.
#[derive(Debug)]
pub struct Binary {
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

/// What changes when a file's content does.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        // Not the time of change of the inode: that moves when another file is renamed over this
        // one, which is harmless.
        Self { size: found.size(), modified: (found.mtime(), found.mtime_nsec()) }
    }
}

impl Binary {
    /// The executable of this process, even if its file has been replaced or removed.
    pub fn running() -> Result<Self, BinaryError> {
        Self::open_unchecked(Path::new("/proc/self/exe"))
    }

    /// Opens a file and refuses it unless it is a regular file, executable, of this machine's kind,
    /// owned by root or this user and writable by nobody else.
    pub fn open(path: &Path) -> Result<Self, BinaryError> {
        let binary = Self::open_unchecked(path)?;
        match binary.problem() {
            None => Ok(binary),
            Some(problem) => Err(BinaryError::Unfit { path: path.into(), problem }),
        }
    }

    fn open_unchecked(path: &Path) -> Result<Self, BinaryError> {
        let failed = |source| BinaryError::Open { path: path.into(), source };
        // O_PATH: neither waits at a FIFO nor asks for permission to read.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map_err(failed)?;
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        Ok(Self { file, path: path.into(), stamp })
    }

    fn problem(&self) -> Option<String> {
        let found = match self.file.metadata() {
            Ok(found) => found,
            Err(error) => return Some(format!("cannot be examined: {error}")),
        };
        let trusted_group = found.gid() == 0 || found.gid() == getegid().as_raw();
        if !found.is_file() {
            Some("is no regular file".into())
        } else if found.mode() & 0o111 == 0
            || access(&self.path_by_descriptor(), AccessFlags::X_OK).is_err()
        {
            Some("is not executable for this user (chmod +x?)".into())
        } else if found.uid() != 0 && found.uid() != geteuid().as_raw() {
            Some(format!(
                "belongs to user {}: it must belong to root or to the server's user",
                found.uid()
            ))
        } else if found.mode() & 0o002 != 0 || (found.mode() & 0o020 != 0 && !trusted_group) {
            Some("is writable by others (chmod go-w): anyone could have changed it".into())
        } else {
            self.problem_of_format()
        }
    }

    /// Compares the head of the file with that of the running executable: no table of machines to
    /// keep.
    fn problem_of_format(&self) -> Option<String> {
        let head = match read_head(&self.path_by_descriptor()) {
            Ok(head) => head,
            // It may be executable without being readable: then the kernel judges.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            Err(error) => {
                return Some(format!("is no hotredis: its head cannot be read ({error})"));
            }
        };
        if head.starts_with(b"#!") {
            return Some("is no hotredis: it is a script".into());
        }
        if !head.starts_with(b"\x7fELF") {
            return Some("is no hotredis: it is not an ELF executable".into());
        }
        let Some(head) = head.first_chunk() else { return Some(CUT_SHORT.into()) };
        let ours = read_head(Path::new("/proc/self/exe")).ok()?;
        // Byte 4: word size; 5: byte order; 18 and 19: machine.
        let alike = [4, 5, 18, 19].into_iter().all(|at| ours.get(at) == Some(&head[at]));
        if !alike {
            return Some("is built for another architecture than this machine's".into());
        }
        let size = self.file.metadata().map_or(0, |found| found.size());
        (size < expected_size(head)).then(|| CUT_SHORT.into())
    }

    /// Where the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are the same file.
    pub fn is(&self, other: &Self) -> bool {
        let identity = |it: &Self| it.file.metadata().map(|found| (found.dev(), found.ino())).ok();
        identity(self).is_some_and(|own| Some(own) == identity(other)) && self.stamp == other.stamp
    }

    /// Becomes this binary: the process stays, with its pid and the descriptors that are not
    /// close-on-exec, and so do its blocked signals. Comes back with the reason if that fails.
    pub fn become_it(&self, arguments: &[CString]) -> Errno {
        let path = self.path_by_descriptor().into_os_string().into_vec();
        match CString::new(path).map(|path| execv(&path, arguments)) {
            Ok(Err(errno)) => errno,
            Ok(Ok(never)) => match never {},
            Err(_) => Errno::EINVAL,
        }
    }

    /// Whether the file's content is still what it was when it was opened.
    pub fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|now| Stamp::of(&now) == self.stamp)
    }

    fn path_by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// A command that runs this binary with what every child of the keeper gets: the keeper's own
    /// environment, working directory and limits, which the keeper never changes, and nothing that
    /// adds up over a chain of upgrades.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.path_by_descriptor());
        command.arg0("hotredis").stdin(Stdio::null());
        for name in PRIVATE_ENVIRONMENT {
            command.env_remove(name);
        }
        // SAFETY: runs between fork and exec in the child; calls only
        // async-signal-safe functions and does not allocate.
        unsafe { command.pre_exec(|| Ok(signals::reset_in_child()?)) };
        command
    }
}

/// Where the table of sections ends, which linkers put last: a copy that was cut off is shorter. A
/// file without that table gets the benefit of the doubt.
fn expected_size(head: &[u8; ELF_HEAD]) -> u64 {
    const WORDS_OF_64_BITS: u8 = 2;
    if head[4] != WORDS_OF_64_BITS {
        return 0;
    }
    // The byte order is this machine's, as was checked before.
    let short = |at: usize| u64::from(u16::from_ne_bytes([head[at], head[at + 1]]));
    let offset: [u8; 8] = std::array::from_fn(|byte| head[0x28 + byte]);
    let (entry_size, entries) = (short(0x3a), short(0x3c));
    u64::from_ne_bytes(offset).saturating_add(entry_size * entries)
}

/// The first bytes of a file, as many of an ELF header's as there are.
fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(ELF_HEAD);
    File::open(path)?.take(ELF_HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Why a generation was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No channel to it could be made.
    #[error("cannot make its channel: {0}")]
    Channel(#[from] ChannelError),
    /// The kernel refused to run it.
    #[error("cannot run it: {0}")]
    Exec(#[from] io::Error),
}

/// Has a binary look whether it could carry on with that state: `hotredis keeper --try --state-fd N`.
///
/// # Errors
/// If the kernel refuses to run it.
pub fn spawn_trial(binary: &Binary, state: BorrowedFd<'_>) -> io::Result<Pid> {
    spawn(binary, &["keeper", "--try", "--state-fd"], state)
}

/// Starts a generation from a binary: `hotredis generation --channel-fd N`, N being its end of a
/// new keeper channel.
pub fn spawn_generation(binary: &Binary) -> Result<(Pid, KeeperEnd), SpawnError> {
    let (end, inherited) = keeper_channel::pair()?;
    let pid = spawn(binary, &["generation", "--channel-fd"], inherited.as_fd())?;
    Ok((pid, end))
}

/// Runs a binary with these words and the number of a descriptor, the only one beyond stdin, stdout and
/// stderr that it inherits.
fn spawn(binary: &Binary, words: &[&str], inherited: BorrowedFd<'_>) -> io::Result<Pid> {
    let number = inherited.as_raw_fd();
    let mut command = binary.command();
    command.args(words).arg(number.to_string());
    // SAFETY: as in `Binary::command`; `fcntl` is async-signal-safe, and the descriptor is open, because
    // `inherited` is borrowed until after the spawn.
    unsafe { command.pre_exec(move || keep_over_exec(BorrowedFd::borrow_raw(number))) };
    Ok(pid_of(command.spawn()?.id()))
}

/// Makes every descriptor beyond stderr that this process was born with close on exec, so that a
/// generation inherits none that was left open by whoever started the keeper.
pub fn close_inherited_on_exec() -> io::Result<()> {
    // SAFETY: sets a flag on descriptors and touches no memory; none is closed.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A child's id as nix knows it.
pub fn pid_of(id: u32) -> Pid {
    // Linux's pids are at most 2^22.
    Pid::from_raw(i32::try_from(id).expect("a pid fits an i32"))
}

/// A pid as the messages carry it.
pub fn pid_number(pid: Pid) -> u32 {
    pid.as_raw().unsigned_abs()
}

/// Sends a signal to a child that has not been reaped yet.
pub fn signal_child(pid: Pid, signal: Signal) {
    // ESRCH cannot be: the child is not reaped. Other errors would mean that it has changed user,
    // and cannot be helped.
    let _ = kill(pid, signal);
}

/// Kills a child that leads a process group of its own, and whatever it has started there.
pub fn kill_group(leader: Pid) {
    let _ = killpg(leader, Signal::SIGKILL);
}

/// Reaps one child that has ended, adopted ones included.
pub fn reap_one() -> Option<(Pid, Ending)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((pid, Ending::Exit(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Some((pid, Ending::Signal(signal))),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Reaps every child that ends within `limit`, so that none outlives this process.
pub fn reap_all(limit: Duration) {
    let end = Instant::now() + limit;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            // There are no more of them.
            Err(_) => return,
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exit(i32),
    /// A signal killed it.
    Signal(Signal),
    /// Its executor is gone; how it ended will be known when it is reaped.
    Executor,
    /// It is gone, and its exit was another's to hear of.
    Unknown,
}

impl Ending {
    /// The code that a parent passes on: a signal becomes 128 and its number, as in a shell. What is not
    /// known is no failure of its own.
    pub fn code(self) -> u8 {
        match self {
            Self::Exit(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            Self::Signal(signal) => u8::try_from(128 + signal as i32).unwrap_or(u8::MAX),
            Self::Executor => u8::MAX,
            Self::Unknown => 0,
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(out, "exited with code {code}"),
            Self::Signal(signal) => write!(out, "was killed by {signal}"),
            Self::Executor => out.write_str("has died"),
            Self::Unknown => out.write_str("has ended"),
        }
    }
}

/// Where the file is from which this process was started: what SIGUSR2 upgrades to.
///
/// The path as it was given, not what it stood for: a symbolic link that is moved to a new version
/// is followed.
pub fn path_started_from() -> io::Result<PathBuf> {
    let running = std::env::current_exe()?;
    let Some(given) = std::env::args_os().next().map(PathBuf::from) else { return Ok(running) };
    let candidates: Vec<PathBuf> = if given.components().count() > 1 {
        vec![std::path::absolute(&given)?]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|directory| directory.join(&given)).collect()
    };
    // argv[0] may say anything: only a file that is the running one counts.
    let Ok(own) = Binary::running() else { return Ok(running) };
    let is_own = |path: &PathBuf| Binary::open_unchecked(path).is_ok_and(|it| it.is(&own));
    Ok(candidates.into_iter().find(is_own).unwrap_or(running))
}
