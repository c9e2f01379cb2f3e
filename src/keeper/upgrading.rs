//! An upgrade as the keeper sees it: preflight, start of the successor, and what comes of it.
//!
//! The handover itself is between the two generations. The keeper hears of its phases, and ends it
//! at the deadline: the successor is killed *first*, then the predecessor told that it is off,
//! because only the owner word and the fence say who owns the arena, and both sides of them are
//! certain only when the successor cannot run any more.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use handoff::keeper_channel::{
    self as channel, GenerationToKeeper, Phase, Progress, UpgradeFailed,
};
use handoff::link::Link;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{info, warn};

use super::child::Child;
use super::control::ClientId;
use super::history::bounded;
use super::preflight::{Preflight, Required};
use super::process::{self, Binary, Ending, pid_number};
use super::protocol::{Reply, UpgradeResult};
use super::timeline::Timeline;
use super::{Keeper, MAX_LEAVING};
use crate::identity::Identity;

/// Shortest and longest time that an upgrade can be given.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3600));

/// Longest time that a predecessor can be made to stand by.
const MAX_PROBATION: Duration = Duration::from_secs(3600);

/// An upgrade that somebody asks for.
#[derive(Debug)]
pub struct Wish {
    /// The new binary.
    pub binary: PathBuf,
    /// How long it may take; the instance's own limit if not given.
    pub timeout: Option<Duration>,
    /// Stop after the preflight.
    pub dry_run: bool,
    /// How long the predecessor stands by; as the instance was told if not given.
    pub probation: Option<Duration>,
    /// Answer when the predecessor does not stand by any more.
    pub wait_probation: bool,
    /// The control client that waits for the result.
    pub client: Option<ClientId>,
}

/// A wish that is being fulfilled: its number, its bounds, and how far it has come.
#[derive(Debug)]
pub struct Attempt {
    /// Every message about it names this number.
    pub id: u64,
    /// The control client that waits for the result.
    pub client: Option<ClientId>,
    /// Stop after the preflight.
    pub dry_run: bool,
    /// How long the predecessor stands by.
    pub probation: Duration,
    /// Answer when the predecessor does not stand by any more.
    pub wait_probation: bool,
    /// The file of the new binary.
    pub path: PathBuf,
    /// When it was asked for.
    pub started: Instant,
    /// When it has failed unless the successor serves.
    pub deadline: Instant,
    /// Its phases until now.
    pub timeline: Timeline,
}

/// An upgrade that is running.
#[derive(Debug)]
pub struct Upgrade {
    attempt: Attempt,
    binary: Rc<Binary>,
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
    /// The predecessor that stands by since the upgrade before to leave, or somebody to serve after a
    /// death.
    Parting,
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

impl Upgrade {
    /// Whether it stops after the preflight.
    pub fn is_dry_run(&self) -> bool {
        self.attempt.dry_run
    }

    /// When the keeper must look at it, whatever else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.step {
            Step::Preflight(running) => Some(running.deadline()),
            Step::Parting | Step::Handover(_) => Some(self.attempt.deadline),
            Step::Ending { .. } => None,
        }
    }
}

impl Keeper {
    pub(super) fn upgrade_by_signal(&mut self) {
        self.begin_upgrade(Wish {
            binary: self.settings.binary.clone(),
            timeout: None,
            dry_run: false,
            probation: None,
            wait_probation: false,
            client: None,
        });
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
        let attempt = self.attempt(wish);
        let opened =
            Binary::open(&attempt.path).map_err(|error| error.to_string()).and_then(|binary| {
                let running = Preflight::start(&binary, attempt.deadline);
                running
                    .map(|running| (binary, running))
                    .map_err(|error| format!("is no hotredis: it cannot be run ({error})"))
            });
        match opened {
            Ok((binary, running)) => {
                self.tell_phase(attempt.client, Phase::Preflight, 0, 0);
                if !attempt.dry_run {
                    // It takes its time to leave: the preflight goes on meanwhile.
                    self.release_predecessor();
                }
                let (phase, step) = (Phase::Preflight, Step::Preflight(running));
                let binary = Rc::new(binary);
                self.upgrade = Some(Upgrade { attempt, binary, identity: None, phase, step });
            }
            Err(reason) => {
                let reason = Some(name_file(&attempt.path, &reason));
                let result = self.result_of(&attempt, Phase::Preflight);
                self.report(UpgradeResult { reason, ..result }, attempt.client);
            }
        }
    }

    fn attempt(&mut self, wish: Wish) -> Attempt {
        let started = Instant::now();
        let timeout =
            wish.timeout.unwrap_or(self.settings.upgrade_timeout()).clamp(TIMEOUTS.0, TIMEOUTS.1);
        Attempt {
            id: self.number(),
            client: wish.client,
            dry_run: wish.dry_run,
            probation: wish.probation.unwrap_or(self.settings.probation()).min(MAX_PROBATION),
            wait_probation: wish.wait_probation,
            path: wish.binary,
            started,
            deadline: started + timeout,
            timeline: Timeline::new(started),
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
        } else if self.lost.is_some() || self.is_rolling_back() {
            let reason = "the generation before is about to serve again: try again when it does";
            Some(reason.into())
        } else {
            None
        }
    }

    /// Looks after what the running upgrade waits for: a preflight's answer, the deadline.
    pub(super) fn drive_upgrade(&mut self, now: Instant) {
        let Some(upgrade) = &mut self.upgrade else { return };
        let late = now >= upgrade.attempt.deadline;
        let limit = upgrade.attempt.deadline - upgrade.attempt.started;
        match &mut upgrade.step {
            Step::Preflight(running) => match running.judge(now) {
                Some(Ok(identity)) => self.on_preflight(identity),
                Some(Err(reason)) => {
                    let reason = name_file(upgrade.binary.path(), &reason);
                    self.fail_upgrade(reason);
                }
                None => {}
            },
            Step::Parting if late && self.probation.is_none() => {
                self.fail_upgrade(format!("nobody has come to serve after a death within {limit:?}"));
            }
            Step::Parting if late => self.fail_upgrade(format!(
                "the generation that stands by since the upgrade before has not left within {limit:?}: try again"
            )),
            Step::Handover(_) if late => self.fail_upgrade(format!("not done within {limit:?}")),
            Step::Parting | Step::Handover(_) | Step::Ending { .. } => {}
        }
    }

    fn on_preflight(&mut self, identity: Identity) {
        let objection = Required::of_successor(&self.serving.profile).objection(&identity);
        let Some(upgrade) = &mut self.upgrade else { return };
        upgrade.identity = Some(identity);
        if let Some(reason) = objection {
            return self.fail_upgrade(reason);
        }
        if upgrade.attempt.dry_run {
            return self.finish_dry_run();
        }
        upgrade.step = Step::Parting;
        self.on_parting();
    }

    /// What waits for a generation that serves alone goes on, if there is one.
    pub(super) fn on_parting(&mut self) {
        let is_alone = self.probation.is_none() && self.recovery.is_none() && self.lost.is_none();
        let Some(upgrade) = self.upgrade.as_mut().filter(|_| is_alone) else { return };
        if !matches!(upgrade.step, Step::Parting) {
            return;
        }
        if !upgrade.binary.is_unchanged() {
            let reason =
                name_file(upgrade.binary.path(), "was changed while it was examined: try again");
            return self.fail_upgrade(reason);
        }
        upgrade.phase = Phase::Start;
        upgrade.attempt.timeline.enter(Phase::Start, Instant::now());
        let client = upgrade.attempt.client;
        self.tell_phase(client, Phase::Start, 0, 0);
        if let Err(reason) = self.start_successor() {
            self.fail_upgrade(reason);
        }
    }

    fn finish_dry_run(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let result = UpgradeResult {
            succeeded: true,
            new: upgrade.identity,
            ..self.result_of(&upgrade.attempt, Phase::Preflight)
        };
        self.report(result, upgrade.attempt.client);
    }

    /// Starts the successor and introduces the two to each other.
    fn start_successor(&mut self) -> Result<(), String> {
        let Some(upgrade) = &mut self.upgrade else { return Ok(()) };
        let generation = self.serving.number + 1;
        let holding = match self.settings.no_keeper {
            true => None,
            false => Some(self.holding.open(generation)?),
        };
        let (link, other) = Link::pair().map_err(|error| error.to_string())?;
        let (pid, end) =
            process::spawn_generation(&upgrade.binary).map_err(|error| error.to_string())?;
        // From here on a failure finds the successor where it will be killed and reaped.
        upgrade.step = Step::Handover(Child::new(pid, generation, end, upgrade.binary.clone()));
        let Step::Handover(successor) = &upgrade.step else { return Ok(()) };
        let attempt = &upgrade.attempt;
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let deadline_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let succeed = channel::Succeed {
            upgrade: attempt.id,
            generation,
            keeper_pid: std::process::id(),
            predecessor_pid: pid_number(self.serving.pid),
            deadline_ms,
            settings: self.settings_json.clone(),
        };
        successor
            .begin(succeed, Some(other.as_fd()), holding.as_ref().map(AsFd::as_fd))
            .map_err(|error| format!("cannot talk to the successor: {error}"))?;
        let successor_pid = pid_number(pid);
        let hand_over =
            channel::Upgrade { upgrade: attempt.id, generation, successor_pid, deadline_ms };
        self.serving
            .send(hand_over, Some(link.as_fd()))
            .map_err(|error| format!("cannot talk to the serving generation: {error}"))
    }

    pub(super) fn on_progress(&mut self, said: &Progress) {
        let Some(upgrade) = &mut self.upgrade else { return };
        let current =
            upgrade.attempt.id == said.upgrade && matches!(upgrade.step, Step::Handover(_));
        // What comes after the successor serves is no part of the upgrade, and the keeper knows.
        if !current || said.phase > Phase::Serve {
            return;
        }
        upgrade.phase = upgrade.phase.max(said.phase);
        upgrade.attempt.timeline.enter(said.phase, Instant::now());
        let client = upgrade.attempt.client;
        self.tell_phase(client, said.phase, said.done, said.total);
    }

    pub(super) fn tell_phase(
        &mut self,
        client: Option<ClientId>,
        phase: Phase,
        done: u64,
        total: u64,
    ) {
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

    /// The successor serves. Its predecessor leaves, or stands by for a while.
    fn on_serving(&mut self, said: channel::Serving) {
        let current = self.upgrade.as_ref().is_some_and(|it| {
            it.attempt.id == said.upgrade && matches!(it.step, Step::Handover(_))
        });
        if !current {
            return warn!(
                "the successor reports on upgrade {}, which is not running",
                said.upgrade
            );
        }
        let Some(mut upgrade) = self.upgrade.take() else { return };
        let Step::Handover(mut successor) = upgrade.step else { return };
        let freeze = Duration::from_micros(said.freeze_us);
        upgrade.attempt.timeline.freeze_lasted(freeze, Instant::now());
        let predecessor_lives = self.lost.take().is_none();
        // A server that is about to stop needs nobody who stands by.
        let stands_by = predecessor_lives && self.stopping.is_none();
        let probation = if stands_by { upgrade.attempt.probation } else { Duration::ZERO };
        let result = UpgradeResult {
            succeeded: true,
            generation: successor.number,
            new: upgrade.identity,
            connections: said.connections,
            freeze_us: said.freeze_us,
            probation_ms: u64::try_from(probation.as_millis()).unwrap_or(u64::MAX),
            ..self.result_of(&upgrade.attempt, Phase::Serve)
        };
        successor.profile = said.into();
        let predecessor = std::mem::replace(&mut self.serving, successor);
        self.deaths.begun(Instant::now());
        self.abandon_pending();
        let waits = upgrade.attempt.wait_probation && !probation.is_zero();
        let (at_once, at_the_end) = match waits {
            true => (None, upgrade.attempt.client),
            false => (upgrade.attempt.client, None),
        };
        let result = self.report(result, at_once);
        if predecessor_lives {
            self.begin_probation(predecessor, result, at_the_end);
        }
        self.send_shutdown();
    }

    pub(super) fn on_upgrade_failed(&mut self, said: UpgradeFailed) {
        let Some(upgrade) = &mut self.upgrade else { return };
        // A reason that comes after the deadline's is of no more interest.
        if upgrade.attempt.id == said.upgrade && matches!(upgrade.step, Step::Handover(_)) {
            upgrade.phase = said.phase;
            self.fail_upgrade(bounded(said.reason));
        }
    }

    /// Ends the running upgrade: the successor is killed, the predecessor told to serve on. It is
    /// reported once the successor is gone.
    pub(super) fn fail_upgrade(&mut self, reason: String) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match &upgrade.step {
            Step::Preflight(running) if running.has_ended() => self.upgrade_failed(reason),
            Step::Parting => self.upgrade_failed(reason),
            Step::Preflight(running) => {
                // Dropping it kills it.
                upgrade.step = Step::Ending { pid: running.pid(), reason };
            }
            Step::Handover(successor) => {
                let pid = successor.pid;
                successor.signal(Signal::SIGKILL);
                upgrade.step = Step::Ending { pid, reason: reason.clone() };
                let abort = channel::Abort { upgrade: upgrade.attempt.id, reason };
                // If it cannot be told it is gone, or finds out by the end of the link.
                let _ = self.serving.send(abort, None);
            }
            Step::Ending { .. } => {}
        }
    }

    pub(super) fn is_part_of_upgrade(&self, pid: Pid) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| match &upgrade.step {
            Step::Preflight(running) => running.pid() == pid,
            Step::Parting => false,
            Step::Handover(successor) => successor.pid == pid,
            Step::Ending { pid: killed, .. } => *killed == pid,
        })
    }

    pub(super) fn on_exit_in_upgrade(&mut self, ending: Ending) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match &mut upgrade.step {
            // `drive_upgrade` judges it in this same turn of the loop.
            Step::Preflight(running) => running.ended(ending),
            Step::Parting => {}
            Step::Handover(_) => {
                let reason = format!("the successor {ending}");
                let abort = channel::Abort { upgrade: upgrade.attempt.id, reason: reason.clone() };
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
            new: upgrade.identity.clone(),
            reason: Some(reason),
            ..self.result_of(&upgrade.attempt, upgrade.phase)
        };
        self.report(result, upgrade.attempt.client);
        match self.lost {
            // Who stands by may yet serve.
            Some(_) if self.probation.is_some() => {}
            Some(ending) => self.on_loss(ending),
            None => self.send_shutdown_if_late(&upgrade),
        }
    }

    /// A shutdown that was asked for in the midst of a freeze has waited for its end.
    fn send_shutdown_if_late(&mut self, ended: &Upgrade) {
        if ended.phase >= Phase::Freeze {
            self.send_shutdown();
        }
    }
}

/// Puts the file in front of a reason that does not name it yet.
fn name_file(path: &std::path::Path, reason: &str) -> String {
    let path = path.display().to_string();
    if reason.contains(&path) { reason.into() } else { format!("{path} {reason}") }
}
