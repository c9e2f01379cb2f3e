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
use handoff::message::{PROTOCOL_MAX, PROTOCOL_MIN};
use shm::field;
use tracing::{error, info};

use super::serving::Generation;
use crate::inherited::keep_over_exec;
use crate::keeper::alone;
use crate::keeper_state::{GenerationState, KeeperState, Profile};
use crate::root::Root;
use crate::util::time::monotonic_us;
use crate::version;

/// How long to wait before it is tried again, at first and at most, microseconds.
const RETRY_US: (u64, u64) = (250_000, 60_000_000);

/// A keeper that lives for so long was none that dies of what it is told, microseconds.
const WELL_AFTER_US: u64 = 10_000_000;

/// The keeper as this generation sees it.
#[derive(Debug)]
pub(super) enum KeeperIs {
    /// It is there.
    There {
        /// Since when, if this generation has started it.
        since_us: Option<u64>,
        /// How long to wait if it should die at once.
        pause_us: u64,
    },
    /// It is gone.
    Gone {
        /// When to start another one.
        next_us: u64,
        /// How long to wait if that fails.
        pause_us: u64,
    },
}

impl Default for KeeperIs {
    fn default() -> Self {
        Self::There { since_us: None, pause_us: RETRY_US.0 }
    }
}

impl KeeperIs {
    fn longer(pause_us: u64) -> u64 {
        (2 * pause_us).min(RETRY_US.1)
    }
}

impl Generation {
    /// The keeper's end of the channel is closed.
    pub(super) fn note_keeper_gone(&mut self) {
        let now = monotonic_us();
        self.keeper = match self.keeper {
            KeeperIs::There { since_us: Some(since), pause_us } if now - since < WELL_AFTER_US => {
                let pause_us = KeeperIs::longer(pause_us);
                KeeperIs::Gone { next_us: now + pause_us, pause_us }
            }
            _ => KeeperIs::Gone { next_us: now, pause_us: RETRY_US.0 },
        };
    }

    /// How long the loop may wait for the time to start a keeper, microseconds.
    pub(super) fn keeperless_wait_us(&self) -> Option<u64> {
        match self.keeper {
            KeeperIs::Gone { next_us, .. } if self.giving.is_none() || self.is_watched() => {
                Some(next_us.saturating_sub(monotonic_us()))
            }
            _ => None,
        }
    }

    /// Starts a keeper if there is none and it is time to.
    pub(super) fn replace_keeper(&mut self, channel: &mut GenerationEnd) {
        let KeeperIs::Gone { pause_us, .. } = self.keeper else { return };
        if self.keeperless_wait_us() != Some(0) || self.exit.is_some() {
            return;
        }
        if self.end_giving().is_some() {
            info!("the predecessor is let go: a new keeper would not know of it");
        }
        match self.start_keeper(channel) {
            Ok(pid) => {
                info!("keeper {pid} is started in place of the one that has died");
                self.keeper = KeeperIs::There { since_us: Some(monotonic_us()), pause_us };
            }
            Err(error) => {
                error!(
                    "no keeper can be started: {error}; it is tried again in {:?}",
                    Duration::from_micros(pause_us)
                );
                let next_us = monotonic_us() + pause_us;
                self.keeper = KeeperIs::Gone { next_us, pause_us: KeeperIs::longer(pause_us) };
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
            profile: self.profile(),
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

    fn profile(&self) -> Profile {
        Profile {
            version: version::VERSION.into(),
            build: version::build().into(),
            fingerprint: super::fingerprint_text(),
            handoff_versions: (PROTOCOL_MIN, PROTOCOL_MAX),
            addresses: self.executor.state.addresses.iter().take(64).cloned().collect(),
        }
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
