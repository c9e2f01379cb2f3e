//! The keeper's signals, as a descriptor to be polled.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that the keeper acts upon. SIGHUP and SIGPIPE it ignores, as Redis does.
const HANDLED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR2, Signal::SIGCHLD];

/// The signals that the keeper acts upon.
pub fn handled() -> SigSet {
    HANDLED.into_iter().collect()
}

/// Blocked signals, read from a `signalfd`.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Takes over the signals of this process. Children get theirs back by [`reset_in_child`].
    pub fn take_over() -> nix::Result<Self> {
        let set = handled();
        for signal in HANDLED {
            // Whoever started us may have left a signal ignored; an ignored SIGCHLD would even reap
            // our children for us.
            set_handler(signal, SigHandler::SigDfl)?;
        }
        for ignored in [Signal::SIGHUP, Signal::SIGPIPE] {
            set_handler(ignored, SigHandler::SigIgn)?;
        }
        set.thread_set_mask()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd })
    }

    /// The next signal that has come, if any.
    pub fn next(&self) -> Option<Signal> {
        loop {
            match self.fd.read_signal() {
                Ok(Some(info)) => {
                    if let Some(signal) =
                        i32::try_from(info.ssi_signo).ok().and_then(|it| it.try_into().ok())
                    {
                        return Some(signal);
                    }
                }
                Err(Errno::EINTR) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Between fork and exec: no signal blocked, and the same dispositions for every generation,
/// however long the chain.
///
/// A generation starts with SIGINT and SIGUSR2 ignored: a terminal sends SIGINT to the whole
/// process group, where it is the keeper's to act upon; and SIGUSR2 sent to the wrong pid must not
/// kill the server. SIGHUP stays ignored. So is SIGCHLD: a generation that has to start a keeper has
/// nobody who would reap it.
///
/// Async-signal-safe: only `sigaction` and `sigprocmask`.
pub fn reset_in_child() -> nix::Result<()> {
    set_handler(Signal::SIGTERM, SigHandler::SigDfl)?;
    for signal in [Signal::SIGINT, Signal::SIGUSR2, Signal::SIGHUP, Signal::SIGCHLD] {
        set_handler(signal, SigHandler::SigIgn)?;
    }
    SigSet::empty().thread_set_mask()
}

fn set_handler(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: only SigDfl and SigIgn are ever passed, so no code of ours runs in signal context.
    unsafe { sigaction(signal, &action) }.map(|_| ())
}
