//! The keeper has died: this generation serves on, starts another one, and hands it everything.
//!
//! Only the generation that serves does so, and not while it hands over: then its successor will. A
//! predecessor that stands by is let go, since the new keeper would not know of it.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use handoff::keeper_channel::{self, GenerationEnd};
use handoff::link::Link;
use shm::field;
use tracing::{error, info};

use super::serving::Generation;
use crate::inherited::keep_over_exec;
use crate::keeper::alone;
use crate::keeper_state::{GenerationState, KeeperState};
use crate::root::Root;
use crate::util::time::{doubled, monotonic_us};

/// How long to wait after a failure, before it is tried again; each further failure doubles it.
const PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A keeper that lives for so long was none that dies of what it is told, microseconds.
const WELL_AFTER_US: u64 = 10_000_000;

/// The keeper as this generation sees it.
#[derive(Debug, Default)]
pub(super) struct KeeperCare {
    /// When to start another one; `None` while it is there.
    due_us: Option<u64>,
    /// When this generation has started it, if it has.
    started_us: Option<u64>,
    /// Those in a row that could not be started, or died soon.
    failures: u32,
}

impl KeeperCare {
    /// Another one is to be started after a pause, which is returned.
    fn fail(&mut self, now: u64) -> Duration {
        let pause = doubled(PAUSE, self.failures, LONGEST_PAUSE);
        self.failures += 1;
        self.due_us = Some(now + pause.as_micros() as u64);
        pause
    }
}

impl Generation {
    /// The keeper's end of the channel is closed.
    pub(super) fn note_keeper_gone(&mut self) {
        let (now, care) = (monotonic_us(), &mut self.keeper);
        if care.started_us.is_some_and(|started| now - started < WELL_AFTER_US) {
            care.fail(now);
        } else {
            (care.due_us, care.failures) = (Some(now), 0);
        }
    }

    /// How long the loop may wait for the time to start a keeper, microseconds.
    pub(super) fn keeperless_wait_us(&self) -> Option<u64> {
        let due_us = self.keeper.due_us.filter(|_| self.giving.is_none() || self.is_watched())?;
        Some(due_us.saturating_sub(monotonic_us()))
    }

    /// Starts a keeper if there is none and it is time to.
    pub(super) fn replace_keeper(&mut self, channel: &mut GenerationEnd) {
        if self.keeperless_wait_us() != Some(0) || self.exit.is_some() {
            return;
        }
        if self.end_giving().is_some() {
            info!("the predecessor is let go: a new keeper would not know of it");
        }
        match self.start_keeper(channel) {
            Ok(pid) => {
                info!("keeper {pid} is started in place of the one that has died");
                (self.keeper.due_us, self.keeper.started_us) = (None, Some(monotonic_us()));
            }
            Err(error) => {
                let pause = self.keeper.fail(monotonic_us());
                error!("no keeper can be started: {error}; it is tried again in {pause:?}");
            }
        }
    }

    fn start_keeper(&mut self, channel: &mut GenerationEnd) -> io::Result<u32> {
        let failed = |error: &dyn std::error::Error| io::Error::other(error.to_string());
        let (ours, theirs): (GenerationEnd, _) =
            keeper_channel::pair().map_err(|error| failed(&error))?;
        let (telling, holding) = Link::pair()?;
        let serving = GenerationState {
            pid: std::process::id(),
            number: u64::from(self.number.get()),
            profile: super::profile(&self.executor.state.addresses),
            channel: theirs.as_raw_fd(),
        };
        if self.settings.no_keeper {
            // A thread of this process, whose crash nothing outlives.
            self.poller.watch_keeper(&ours)?;
            let state = self.keeper_state(serving, Vec::new());
            alone::carry_on(state).inspect_err(|_| self.poller.forget_keeper(&ours))?;
            // The keeper adopts it by its number.
            let _ = theirs.into_raw_fd();
            *channel = ours;
            self.executor.state.keeper_pid = std::process::id();
            return Ok(std::process::id());
        }
        let links = vec![(serving.number, holding.as_raw_fd())];
        let state = self.keeper_state(serving, links).to_descriptor()?;
        self.poller.watch_keeper(&ours)?;
        let pid =
            spawn(&state, [&theirs, &holding]).inspect_err(|_| self.poller.forget_keeper(&ours))?;
        *channel = ours;
        self.executor.state.keeper_pid = pid;
        self.keeper_lag = Default::default();
        self.tell_keeper(Some(telling), None);
        Ok(pid)
    }

    fn keeper_state(&self, serving: GenerationState, links: Vec<(u64, RawFd)>) -> KeeperState {
        let arena = &self.executor.arena;
        let counted = &arena.get(field!(self.executor.root(), Root.handoff));
        let upgrades = (counted.upgrades.get().to_native(), counted.failures.get().to_native());
        KeeperState { settings: self.settings.clone(), serving, links, upgrades, kept: None }
    }
}

/// Runs this process's own binary as a keeper, which inherits the state and what that names.
fn spawn(state: &OwnedFd, named: [&OwnedFd; 2]) -> io::Result<u32> {
    // No other process is started by this one, so nothing else can inherit them; they are closed here
    // as soon as the keeper has them.
    for fd in named.into_iter().chain([state]) {
        keep_over_exec(fd)?;
    }
    let keeper = Command::new("/proc/self/exe")
        .arg0("hotredis")
        .args(["keeper", "--state-fd", &state.as_raw_fd().to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    // It outlives this process. Its exit is nothing to wait for: SIGCHLD is ignored.
    Ok(keeper.id())
}
