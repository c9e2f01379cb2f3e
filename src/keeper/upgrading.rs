//! An upgrade as the keeper sees it: preflight, start of the successor, and what comes of it.
//!
//! The handover itself is between the two generations. The keeper hears of its phases, and ends it
//! at the deadline: the successor is killed *first*, then the predecessor told that it is off,
//! because only the owner word and the fence say who owns the arena, and both sides of them are
//! certain only when the successor cannot run any more.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use handoff::keeper_channel::{
    self as channel, GenerationToKeeper, Phase, Progress, UpgradeFailed,
};
use handoff::link::Link;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::child::Child;
use super::control::ClientId;
use super::preflight::Preflight;
use super::process::{self, Binary, Ending, pid_number};
use super::protocol::{LastUpgrade, Reply, UpgradeResult};
use super::{Keeper, LEAVING_PATIENCE, MAX_LEAVING};
use crate::identity::Identity;
use crate::version;

/// Shortest and longest time that an upgrade can be given.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3600));

/// An upgrade that somebody asks for.
#[derive(Debug)]
pub struct Wish {
    /// The new binary.
    pub binary: PathBuf,
    /// How long it may take; the instance's own limit if not given.
    pub timeout: Option<Duration>,
    /// Stop after the preflight.
    pub dry_run: bool,
    /// The control client that waits for the result.
    pub client: Option<ClientId>,
}

/// An upgrade that is running.
#[derive(Debug)]
pub struct Upgrade {
    id: u64,
    client: Option<ClientId>,
    dry_run: bool,
    started: Instant,
    deadline: Instant,
    binary: Binary,
    /// What the new binary said of itself.
    identity: Option<Identity>,
    /// How far it is, as far as the keeper has been told.
    pub phase: Phase,
    /// What the keeper is waiting for.
    pub step: Step,
}

/// What the keeper waits for in an upgrade.
#[derive(Debug)]
pub enum Step {
    /// The new binary to say what it is.
    Preflight(Preflight),
    /// The two generations to agree.
    Handover(Child),
    /// The killed preflight or successor to be gone, so that nothing is left when the failure is
    /// reported.
    Ending {
        /// The process.
        pid: Pid,
        /// Why it was killed.
        reason: String,
    },
}

/// The numbers of a handover that came off.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    connections: u64,
    freeze_us: u64,
}

impl Upgrade {
    /// When the keeper must look at it, whatever else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.step {
            Step::Preflight(running) => Some(running.deadline()),
            Step::Handover(_) => Some(self.deadline),
            Step::Ending { .. } => None,
        }
    }
}

impl Keeper {
    pub(super) fn upgrade_by_signal(&mut self) {
        let binary = self.binary.clone();
        self.begin_upgrade(Wish { binary, timeout: None, dry_run: false, client: None });
    }

    /// Starts an upgrade, or says why not.
    pub(super) fn begin_upgrade(&mut self, wish: Wish) {
        if let Some(reason) = self.hindrance() {
            // Not counted as a failure: nothing was tried.
            warn!("refused to upgrade to {}: {reason}", wish.binary.display());
            if let Some(client) = wish.client {
                self.refuse(client, &reason);
            }
            return;
        }
        info!("upgrading generation {} to {}", self.serving.number, wish.binary.display());
        let started = Instant::now();
        let timeout =
            wish.timeout.unwrap_or(self.settings.upgrade_timeout()).clamp(TIMEOUTS.0, TIMEOUTS.1);
        let deadline = started + timeout;
        let opened =
            Binary::open(&wish.binary).map_err(|error| error.to_string()).and_then(|binary| {
                let running = Preflight::start(&binary, deadline);
                running
                    .map(|running| (binary, running))
                    .map_err(|error| format!("is no hotredis: it cannot be run ({error})"))
            });
        let (id, client, dry_run) = (self.number(), wish.client, wish.dry_run);
        match opened {
            Ok((binary, running)) => {
                self.tell_phase(client, Phase::Preflight, 0, 0);
                let (phase, step) = (Phase::Preflight, Step::Preflight(running));
                let upgrade = Upgrade {
                    id,
                    client,
                    dry_run,
                    started,
                    deadline,
                    binary,
                    identity: None,
                    phase,
                    step,
                };
                self.upgrade = Some(upgrade);
            }
            Err(reason) => {
                let reason = name_file(&wish.binary, &reason);
                let result = UpgradeResult { dry_run, ..self.result_of(Phase::Preflight, started) };
                self.report(id, client, UpgradeResult { reason: Some(reason), ..result });
            }
        }
    }

    fn hindrance(&self) -> Option<String> {
        if self.stopping.is_some() || self.serving.stopping {
            Some("the server is shutting down".into())
        } else if !self.ready {
            Some("the server is still starting".into())
        } else if let Some(upgrade) = &self.upgrade {
            Some(format!("an upgrade is running already, in phase {}", upgrade.phase.name()))
        } else if self.leaving.len() >= MAX_LEAVING {
            Some(format!("{} earlier generations have not exited yet", self.leaving.len()))
        } else {
            None
        }
    }

    /// Looks after what the running upgrade waits for: a preflight's answer, the deadline.
    pub(super) fn drive_upgrade(&mut self, now: Instant) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match &mut upgrade.step {
            Step::Preflight(running) => match running.judge(now) {
                Some(Ok(identity)) => self.on_preflight(identity),
                Some(Err(reason)) => {
                    let reason = name_file(upgrade.binary.path(), &reason);
                    self.fail_upgrade(reason);
                }
                None => {}
            },
            Step::Handover(_) if now >= upgrade.deadline => {
                let limit = upgrade.deadline - upgrade.started;
                self.fail_upgrade(format!("not done within {limit:?}"));
            }
            Step::Handover(_) | Step::Ending { .. } => {}
        }
    }

    fn on_preflight(&mut self, identity: Identity) {
        let objection = self.serving.profile.required().objection(&identity);
        let Some(upgrade) = &mut self.upgrade else { return };
        upgrade.identity = Some(identity);
        if let Some(reason) = objection {
            return self.fail_upgrade(reason);
        }
        if upgrade.dry_run {
            return self.finish_dry_run();
        }
        if !upgrade.binary.is_unchanged() {
            let reason =
                name_file(upgrade.binary.path(), "was changed while it was examined: try again");
            return self.fail_upgrade(reason);
        }
        upgrade.phase = Phase::Start;
        let client = upgrade.client;
        self.tell_phase(client, Phase::Start, 0, 0);
        if let Err(reason) = self.start_successor() {
            self.fail_upgrade(reason);
        }
    }

    fn finish_dry_run(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let result = UpgradeResult {
            succeeded: true,
            dry_run: true,
            new: upgrade.identity,
            ..self.result_of(Phase::Preflight, upgrade.started)
        };
        self.report(upgrade.id, upgrade.client, result);
    }

    /// Starts the successor and introduces the two to each other.
    fn start_successor(&mut self) -> Result<(), String> {
        let Some(upgrade) = &mut self.upgrade else { return Ok(()) };
        let (link, other) = Link::pair().map_err(|error| error.to_string())?;
        let (pid, end) =
            process::spawn_generation(&upgrade.binary).map_err(|error| error.to_string())?;
        let generation = self.serving.number + 1;
        // From here on a failure finds the successor where it will be killed and reaped.
        upgrade.step = Step::Handover(Child::new(pid, generation, end));
        let Step::Handover(successor) = &upgrade.step else { return Ok(()) };
        let left = upgrade.deadline.saturating_duration_since(Instant::now());
        let deadline_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let succeed = channel::Succeed {
            upgrade: upgrade.id,
            generation,
            keeper_pid: std::process::id(),
            predecessor_pid: pid_number(self.serving.pid),
            deadline_ms,
            settings: self.settings_json.clone(),
        };
        successor
            .send(succeed, Some(other.as_fd()))
            .map_err(|error| format!("cannot talk to the successor: {error}"))?;
        let successor_pid = pid_number(pid);
        let hand_over =
            channel::Upgrade { upgrade: upgrade.id, generation, successor_pid, deadline_ms };
        self.serving
            .send(hand_over, Some(link.as_fd()))
            .map_err(|error| format!("cannot talk to the serving generation: {error}"))
    }

    pub(super) fn on_progress(&mut self, said: &Progress) {
        let Some(upgrade) = &mut self.upgrade else { return };
        if upgrade.id != said.upgrade || !matches!(upgrade.step, Step::Handover(_)) {
            return;
        }
        upgrade.phase = upgrade.phase.max(said.phase);
        let client = upgrade.client;
        self.tell_phase(client, said.phase, said.done, said.total);
    }

    fn tell_phase(&mut self, client: Option<ClientId>, phase: Phase, done: u64, total: u64) {
        if let Some(client) = client {
            let reply = Reply::Progress { phase: phase.name().into(), done, total };
            self.control.progress(client, &reply);
        }
    }

    pub(super) fn on_message_of_successor(&mut self, message: GenerationToKeeper) {
        match message {
            GenerationToKeeper::Serving(said) => self.on_serving(said),
            GenerationToKeeper::UpgradeFailed(said) => self.on_upgrade_failed(said),
            GenerationToKeeper::Progress(said) => self.on_progress(&said),
            GenerationToKeeper::Stopping(said) => info!("the successor stops: {}", said.cause),
            unexpected => warn!("the successor sent an unexpected message: {unexpected:?}"),
        }
    }

    /// The successor serves: from now on it is the server, whatever happens to it.
    fn on_serving(&mut self, said: channel::Serving) {
        let current = self.upgrade.as_ref().is_some_and(|upgrade| upgrade.id == said.upgrade);
        if !current {
            return warn!(
                "the successor reports on upgrade {}, which is not running",
                said.upgrade
            );
        }
        let Some(upgrade) = self.upgrade.take() else { return };
        let Step::Handover(mut successor) = upgrade.step else { return };
        let measured = Measured { connections: said.connections, freeze_us: said.freeze_us };
        let old = self.serving.profile.clone();
        successor.profile = said.into();
        let predecessor = std::mem::replace(&mut self.serving, successor);
        if self.lost.take().is_none() {
            let release = channel::Release { upgrade: upgrade.id };
            if let Err(error) = predecessor.send(release, None) {
                warn!("generation {} cannot be told to go: {error}", predecessor.number);
            }
            self.leaving.push((predecessor, Instant::now() + LEAVING_PATIENCE));
        }
        self.abandon_pending();
        let result = UpgradeResult {
            succeeded: true,
            old_version: old.version,
            old_build: old.build,
            new: upgrade.identity,
            connections: measured.connections,
            freeze_us: measured.freeze_us,
            ..self.result_of(Phase::Serve, upgrade.started)
        };
        self.report(upgrade.id, upgrade.client, result);
        self.send_shutdown();
    }

    pub(super) fn on_upgrade_failed(&mut self, said: UpgradeFailed) {
        let Some(upgrade) = &mut self.upgrade else { return };
        // A reason that comes after the deadline's is of no more interest.
        if upgrade.id == said.upgrade && matches!(upgrade.step, Step::Handover(_)) {
            upgrade.phase = said.phase;
            self.fail_upgrade(said.reason);
        }
    }

    /// Ends the running upgrade: the successor is killed, the predecessor told to serve on. It is
    /// reported once the successor is gone.
    pub(super) fn fail_upgrade(&mut self, reason: String) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match &upgrade.step {
            Step::Preflight(running) if running.has_ended() => self.upgrade_failed(reason),
            Step::Preflight(running) => {
                // Dropping it kills it.
                upgrade.step = Step::Ending { pid: running.pid(), reason };
            }
            Step::Handover(successor) => {
                let pid = successor.pid;
                process::signal_child(pid, Signal::SIGKILL);
                upgrade.step = Step::Ending { pid, reason: reason.clone() };
                let abort = channel::Abort { upgrade: upgrade.id, reason };
                // If it cannot be told it is gone, or finds out by the end of the link.
                let _ = self.serving.send(abort, None);
            }
            Step::Ending { .. } => {}
        }
    }

    pub(super) fn is_part_of_upgrade(&self, pid: Pid) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| match &upgrade.step {
            Step::Preflight(running) => running.pid() == pid,
            Step::Handover(successor) => successor.pid == pid,
            Step::Ending { pid: killed, .. } => *killed == pid,
        })
    }

    pub(super) fn on_exit_in_upgrade(&mut self, ending: Ending) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match &mut upgrade.step {
            // `drive_upgrade` judges it in this same turn of the loop.
            Step::Preflight(running) => running.ended(ending),
            Step::Handover(_) => {
                let reason = format!("the successor {ending}");
                let abort = channel::Abort { upgrade: upgrade.id, reason: reason.clone() };
                let _ = self.serving.send(abort, None);
                self.upgrade_failed(reason);
            }
            Step::Ending { reason, .. } => {
                let reason = std::mem::take(reason);
                self.upgrade_failed(reason);
            }
        }
    }

    /// Nothing of the upgrade is left: reports that it failed.
    fn upgrade_failed(&mut self, reason: String) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let result = UpgradeResult {
            dry_run: upgrade.dry_run,
            new: upgrade.identity.clone(),
            reason: Some(reason),
            ..self.result_of(upgrade.phase, upgrade.started)
        };
        self.report(upgrade.id, upgrade.client, result);
        match self.lost {
            Some(ending) => self.on_loss(ending),
            None => self.send_shutdown_if_late(&upgrade),
        }
    }

    /// A shutdown that was asked for in the midst of a freeze has waited for its end.
    fn send_shutdown_if_late(&self, ended: &Upgrade) {
        if ended.phase >= Phase::Freeze {
            self.send_shutdown();
        }
    }

    fn result_of(&self, phase: Phase, started: Instant) -> UpgradeResult {
        UpgradeResult {
            phase: phase.name().into(),
            generation: self.serving.number,
            old_version: self.serving.profile.version.clone(),
            old_build: self.serving.profile.build.clone(),
            total_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..UpgradeResult::default()
        }
    }

    /// Tells everybody what came of an upgrade: the log, the client, the generation that serves. A
    /// dry run counts for nothing but is answered.
    fn report(&mut self, id: u64, client: Option<ClientId>, result: UpgradeResult) {
        let new = result
            .new
            .as_ref()
            .map(|new| version::describe(&new.version, &new.build))
            .unwrap_or_default();
        match &result.reason {
            None if result.dry_run => info!("dry run: {new} could take over"),
            None => info!(
                "generation {} serves: {new}, {} connections, frozen for {} us, {} ms in all",
                result.generation, result.connections, result.freeze_us, result.total_ms
            ),
            Some(reason) => error!(
                "upgrade failed in phase {}: {reason}; generation {} serves on",
                result.phase, self.serving.number
            ),
        }
        if !result.dry_run {
            self.count(id, &result);
        }
        if let Some(client) = client {
            self.control.finish(client, &Reply::Result(Box::new(result)));
        }
    }

    fn count(&mut self, id: u64, result: &UpgradeResult) {
        if result.succeeded {
            self.upgrades += 1;
        } else {
            self.failures += 1;
        }
        let text = match &result.reason {
            None => "ok".to_string(),
            Some(reason) => format!("{}: {reason}", result.phase),
        };
        let outcome = channel::Outcome {
            upgrade: id,
            succeeded: result.succeeded,
            result: text.clone(),
            upgrades: self.upgrades,
            failures: self.failures,
            freeze_us: result.freeze_us,
            total_ms: result.total_ms,
            connections: result.connections,
        };
        if let Err(error) = self.serving.send(outcome, None) {
            warn!("generation {} cannot be told the outcome: {error}", self.serving.number);
        }
        self.last_upgrade = Some(LastUpgrade {
            at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            succeeded: result.succeeded,
            result: text,
            connections: result.connections,
            freeze_us: result.freeze_us,
            total_ms: result.total_ms,
        });
    }
}

/// Puts the file in front of a reason that does not name it yet.
fn name_file(path: &std::path::Path, reason: &str) -> String {
    let path = path.display().to_string();
    if reason.contains(&path) { reason.into() } else { format!("{path} {reason}") }
}
