//! A thread that is stepped from one wait for events to the next.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How often each address was executed.
#[derive(Debug, Default)]
pub struct Counted {
    runs: HashMap<u64, u64>,
    /// Where the program's file begins in memory.
    base: u64,
}

impl Counted {
    /// All instructions.
    pub fn total(&self) -> u64 {
        self.runs.values().sum()
    }

    /// Writes a line for each address, those that ran most often first.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut runs: Vec<_> = self.runs.iter().collect();
        runs.sort_by_key(|&(address, count)| (std::cmp::Reverse(*count), *address));
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for (address, count) in runs {
            writeln!(file, "{count} {:#x}", address.wrapping_sub(self.base))?;
        }
        Ok(file.flush()?)
    }
}

/// The traced first thread of a process. It stands still, before a system call that waits for events.
#[derive(Debug)]
pub struct Stepper {
    pid: Pid,
    /// Whether a system call begins at an address: code does not change.
    calls: HashMap<u64, bool>,
}

impl Stepper {
    /// Takes hold of a process, and stops it where it is about to wait.
    ///
    /// # Errors
    /// If it may not be traced, or ends.
    pub fn seize(pid: u32) -> anyhow::Result<Self> {
        let pid = Pid::from_raw(pid as i32);
        ptrace::seize(pid, Options::empty())
            .with_context(|| format!("process {pid} cannot be traced"))?;
        ptrace::interrupt(pid)?;
        let mut stepper = Self { pid, calls: HashMap::new() };
        stepper.stopped()?;
        while !stepper.is_about_to_wait()? {
            stepper.step()?;
        }
        Ok(stepper)
    }

    /// Runs it, to the next wait for which `is_over`, and counts.
    ///
    /// # Errors
    /// If it ends.
    pub fn count(
        &mut self,
        counted: &mut Counted,
        mut is_over: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        counted.base = self.base()?;
        loop {
            *counted.runs.entry(self.address()?).or_default() += 1;
            self.step()?;
            if self.is_about_to_wait()? && is_over()? {
                return Ok(());
            }
        }
    }

    /// Lets it go on by itself.
    ///
    /// # Errors
    /// If it has ended.
    pub fn release(self) -> anyhow::Result<()> {
        ptrace::detach(self.pid, None).context("letting the traced process go")
    }

    fn step(&self) -> anyhow::Result<()> {
        ptrace::step(self.pid, None).context("a step of the traced process")?;
        self.stopped()
    }

    fn stopped(&self) -> anyhow::Result<()> {
        match waitpid(self.pid, Some(WaitPidFlag::__WALL))? {
            status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                bail!("the traced process has ended: {status:?}")
            }
            _ => Ok(()),
        }
    }

    fn address(&self) -> anyhow::Result<u64> {
        let offset = std::mem::offset_of!(libc::user_regs_struct, rip);
        Ok(ptrace::read_user(self.pid, offset as ptrace::AddressType)? as u64)
    }

    fn is_about_to_wait(&mut self) -> anyhow::Result<bool> {
        let address = self.address()?;
        let is_call = match self.calls.get(&address) {
            Some(is_call) => *is_call,
            None => {
                const SYSCALL: [u8; 2] = [0x0f, 0x05];
                let word = ptrace::read(self.pid, address as ptrace::AddressType)?;
                let is_call = word.to_le_bytes()[..2] == SYSCALL;
                self.calls.insert(address, is_call);
                is_call
            }
        };
        if !is_call {
            return Ok(false);
        }
        let number = ptrace::getregs(self.pid)?.rax as i64;
        Ok([libc::SYS_epoll_wait, libc::SYS_epoll_pwait].contains(&number))
    }

    /// Where its program's file is mapped.
    fn base(&self) -> anyhow::Result<u64> {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.pid))?;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let program = program.to_string_lossy();
        let first = maps.lines().find(|line| line.ends_with(program.as_ref()));
        let start = first.and_then(|line| line.split('-').next()).unwrap_or_default();
        u64::from_str_radix(start, 16).context("the traced process does not map its program")
    }
}
