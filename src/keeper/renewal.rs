//! After an upgrade that stands the keeper becomes the new program too: tried as a child first, then executed
//! in place, with its pid, its children and every descriptor that it holds.
//!
//! If any of that fails the keeper stays what it is, until the next upgrade. Should the new program end just
//! after it was executed, that is the death of a keeper: the server starts another one.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use handoff::message::Ticket;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{info, warn};

use super::Keeper;
use super::process::{self, Binary, Ending, signal_child};
use crate::inherited::{close_on_exec, keep_over_exec};
use crate::keeper_state::{GenerationState, KeeperState, Kept};

/// How long the trial may take.
const TRIAL: Duration = Duration::from_secs(5);

/// How long control clients are waited for: what is said to them cannot be taken along.
const CLIENTS: Duration = Duration::from_secs(2);

/// How far it is.
#[derive(Debug, Default)]
pub enum Renewal {
    /// There is no need.
    #[default]
    None,
    /// The binary of the generation that serves looks whether it could.
    Trial { pid: Pid, binary: Rc<Binary>, deadline: Instant },
    /// It could.
    Tried { binary: Rc<Binary>, deadline: Instant },
    /// It could not: it is not asked again.
    Refused(Rc<Binary>),
}

impl Renewal {
    /// When the keeper must look at it, whatever else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Trial { deadline, .. } | Self::Tried { deadline, .. } => Some(*deadline),
            Self::None | Self::Refused(_) => None,
        }
    }
}

impl Keeper {
    /// Whether nothing is under way that would have to be taken along.
    fn is_settled(&self) -> bool {
        let under_way =
            self.upgrade.is_some() || self.probation.is_some() || self.recovery.is_some();
        let ending = self.lost.is_some() || self.stopping.is_some() || self.serving.stopping;
        let waiting =
            !self.leaving.is_empty() || !self.pending.is_empty() || self.spares.is_there();
        // One that has left its channel has died, or is about to: that comes first.
        let listens = self.serving.channel().is_some();
        self.ready && listens && !(under_way || ending || waiting)
    }

    /// Whether this process is still to become the program that serves.
    pub(super) fn is_renewal_due(&self) -> bool {
        match &self.renewal {
            Renewal::Trial { .. } | Renewal::Tried { .. } => true,
            Renewal::Refused(binary) if binary.is(&self.serving.binary) => false,
            Renewal::None | Renewal::Refused(_) => !self.serving.binary.is(&self.running),
        }
    }

    /// Becomes the program that serves, a step at a time.
    pub(super) fn drive_renewal(&mut self, now: Instant) {
        match &self.renewal {
            // What runs beside it in this process is the program that serves.
            _ if self.settings.no_keeper => {}
            Renewal::None | Renewal::Refused(_) => {
                if self.serving.binary.is(&self.running) {
                    // One descriptor of it will do.
                    self.serving.binary = self.running.clone();
                } else if self.is_settled() && self.is_renewal_due() {
                    self.begin_trial(now);
                }
            }
            Renewal::Trial { pid, deadline, .. } => {
                if now >= *deadline {
                    // Its end will be reported.
                    signal_child(*pid, Signal::SIGKILL);
                }
            }
            Renewal::Tried { binary, deadline } => {
                let binary = binary.clone();
                if !self.is_settled() || !binary.is(&self.serving.binary) {
                    self.renewal = Renewal::None;
                } else if self.control.is_alone() || now >= *deadline {
                    let error = self.become_program(&binary);
                    self.refuse_renewal(binary, &error.to_string());
                }
            }
        }
    }

    fn refuse_renewal(&mut self, binary: Rc<Binary>, reason: &str) {
        warn!("the keeper stays the program that it is: {reason}");
        self.renewal = Renewal::Refused(binary);
    }

    fn begin_trial(&mut self, now: Instant) {
        let binary = self.serving.binary.clone();
        let begun = self
            .state()
            .to_descriptor()
            .and_then(|state| process::spawn_trial(&binary, state.as_fd()));
        match begun {
            Ok(pid) => self.renewal = Renewal::Trial { pid, binary, deadline: now + TRIAL },
            Err(error) => self.refuse_renewal(binary, &error.to_string()),
        }
    }

    pub(super) fn is_trial(&self, child: Pid) -> bool {
        matches!(&self.renewal, Renewal::Trial { pid, .. } if *pid == child)
    }

    /// The trial has ended.
    pub(super) fn on_exit_of_trial(&mut self, ending: Ending) {
        let Renewal::Trial { binary, .. } = std::mem::take(&mut self.renewal) else { return };
        if ending == Ending::Exit(0) {
            self.renewal = Renewal::Tried { binary, deadline: Instant::now() + CLIENTS };
        } else {
            let reason = format!("asked whether it can carry on, the new one {ending}");
            self.refuse_renewal(binary, &reason);
        }
    }

    /// Comes back only if it fails.
    fn become_program(&mut self, binary: &Binary) -> io::Error {
        let state = match self.state().to_descriptor() {
            Ok(state) => state,
            Err(error) => return error,
        };
        info!("the keeper becomes the program of generation {}", self.serving.number);
        let number = state.as_raw_fd().to_string();
        let words = ["hotredis", "keeper", "--state-fd", &number];
        let words = words.map(|word| CString::new(word).expect("no NUL in it"));
        let all = self.passed_on(state.as_fd());
        if let Err(error) = all.iter().try_for_each(keep_over_exec) {
            return error;
        }
        let errno = binary.become_it(&words);
        for fd in all {
            // Children close them by themselves, as all that they do not know.
            let _ = close_on_exec(fd);
        }
        errno.into()
    }

    /// The descriptors that the state names, and the one that it is in.
    fn passed_on<'a>(&'a self, state: BorrowedFd<'a>) -> Vec<BorrowedFd<'a>> {
        let held = self.holding.custody().parts();
        let links = self.holding.links().map(|(_, fd)| fd);
        let single = [state, self.control.socket()].into_iter().chain(self.serving.channel());
        let listeners = held.listeners.into_iter().map(|(_, fd)| fd);
        let sockets = held.sockets.into_iter().map(|(_, _, fd)| fd);
        single.chain(links).chain(held.arena).chain(listeners).chain(sockets).collect()
    }

    /// Everything that this keeper knows.
    fn state(&self) -> KeeperState {
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd();
        let serving = GenerationState {
            pid: process::pid_number(self.serving.pid),
            number: self.serving.number,
            profile: self.serving.profile.clone(),
            channel: self.serving.channel().map_or(-1, number),
        };
        let held = self.holding.custody().parts();
        let sockets = held.sockets.into_iter();
        let sockets = sockets
            .map(|(Ticket { slot, cookie }, round, fd)| (slot, cookie, round, number(fd)))
            .collect();
        let kept = Kept {
            control: number(self.control.socket()),
            control_path: self.control.path().into(),
            arena: held.arena.into_iter().map(number).collect(),
            listeners: held.listeners.into_iter().map(|(text, fd)| (text, number(fd))).collect(),
            sockets,
            closed_untold: held.closed_untold,
            round: held.round,
            is_parent: self.serving.is_own(),
            rollbacks: self.history.rollbacks,
            history: self.history.records(),
            next_number: self.next_number,
            uptime_ms: self.started.elapsed().as_millis() as u64,
        };
        KeeperState {
            settings: self.settings.clone(),
            serving,
            links: self.holding.links().map(|(generation, fd)| (generation, number(fd))).collect(),
            upgrades: (self.history.upgrades, self.history.failures),
            kept: Some(kept),
        }
    }
}
