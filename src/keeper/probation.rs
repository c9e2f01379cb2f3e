//! The time after an upgrade in which the predecessor stands by, and how it ends.
//!
//! The predecessor watches the successor and keeps the time itself (docs/handoff.md, "Probation").
//! It ends the probation with GOODBYE or its exit, then the upgrade stands; or with RETURNED, then
//! the upgrade is undone and the predecessor serves. The keeper passes on what it is asked for
//! (another upgrade, a rollback, a shutdown), and bounds the time that each may take.

use std::time::{Duration, Instant};

use handoff::keeper_channel::{
    self as channel, GenerationToKeeper, GoBack, GoBackFailed, Phase, Release, Returned, TakeBack,
};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::child::Child;
use super::control::ClientId;
use super::history::bounded;
use super::process::{Ending, pid_number};
use super::protocol::{ProbationStatus, Reply, RollbackResult, UpgradeResult};
use super::timeline::phase_time;
use super::{Keeper, LEAVING_PATIENCE};

/// How much longer than it was told a predecessor may stand by before it is killed.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(10);

/// How long a predecessor may take to serve after the successor's end.
const RETURN_PATIENCE: Duration = Duration::from_secs(5);

/// How long a successor may take to give the server back, before the predecessor is told to take it.
const GO_BACK_PATIENCE: Duration = Duration::from_secs(1);

/// Why there is a rollback that was asked for.
const ASKED: &str = "hotredis rollback";

const NO_PROBATION: &str =
    "no probation is running: upgrade to the older build instead (hotredis upgrade --binary OLD)";

/// A predecessor that stands by.
#[derive(Debug)]
pub struct Probation {
    /// Who stands by.
    pub predecessor: Child,
    begun: Instant,
    length: Duration,
    /// How long the successor may do nothing.
    hang: Duration,
    /// When the predecessor is killed, should it still be there.
    deadline: Instant,
    /// It has been told to leave.
    released: bool,
    rollback: Option<Rollback>,
    /// What came of the upgrade, and the client that is told so at the end.
    result: UpgradeResult,
    waiting: Option<ClientId>,
}

/// A rollback that was asked for.
#[derive(Debug)]
struct Rollback {
    client: ClientId,
    asked: Instant,
    /// When the predecessor is told to take the server; `None` if it is about to anyway.
    until: Option<Instant>,
}

impl Probation {
    /// When the keeper must look at it, whatever else happens.
    pub fn next_deadline(&self) -> Instant {
        let until = self.rollback.as_ref().and_then(|rollback| rollback.until);
        until.map_or(self.deadline, |until| until.min(self.deadline))
    }

    /// What users are shown; nothing if there was to be no probation.
    pub fn status(&self) -> Option<ProbationStatus> {
        if self.length.is_zero() {
            return None;
        }
        let left = self.length.saturating_sub(self.begun.elapsed());
        Some(ProbationStatus {
            generation: self.predecessor.number,
            generation_pid: pid_number(self.predecessor.pid),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            released: self.released,
        })
    }

    fn limit(&mut self, patience: Duration) {
        self.deadline = self.deadline.min(Instant::now() + patience);
    }
}

impl Keeper {
    /// Has the predecessor stand by for as long as the result says, or leave at once. Either way it
    /// holds everything until it has said how that ended. `waiting` is answered then.
    pub(super) fn begin_probation(
        &mut self,
        predecessor: Child,
        result: UpgradeResult,
        waiting: Option<ClientId>,
    ) {
        let begun = Instant::now();
        let (length, hang) =
            (Duration::from_millis(result.probation_ms), self.settings.hang_timeout());
        let upgrade = result.upgrade;
        let released = length.is_zero();
        let told = if released {
            predecessor.send(Release { upgrade }, None)
        } else {
            info!("generation {} stands by for {length:?}", predecessor.number);
            self.tell_phase(waiting, Phase::Probation, 0, 0);
            let (length_ms, hang_ms) = (result.probation_ms, self.settings.hang_timeout_ms);
            predecessor.send(channel::Probation { upgrade, length_ms, hang_ms }, None)
        };
        if let Err(error) = told {
            // It is about to end: its exit will tell.
            warn!("generation {} cannot be told what to do: {error}", predecessor.number);
        }
        self.probation = Some(Probation {
            predecessor,
            begun,
            length,
            hang,
            deadline: begun + length + hang + PREDECESSOR_PATIENCE,
            released,
            rollback: None,
            result,
            waiting,
        });
    }

    /// Whether this process stands by.
    pub(super) fn is_standing_by(&self, pid: Pid) -> bool {
        self.probation.as_ref().is_some_and(|probation| probation.predecessor.pid == pid)
    }

    /// Whether somebody has asked for the predecessor to serve again.
    pub(super) fn is_rolling_back(&self) -> bool {
        self.probation.as_ref().is_some_and(|probation| probation.rollback.is_some())
    }

    /// Tells the predecessor to stand by no more, if there is one.
    pub(super) fn release_predecessor(&mut self) {
        let Some(probation) = self.probation.as_mut().filter(|it| !it.released) else { return };
        probation.released = true;
        probation.limit(probation.hang + PREDECESSOR_PATIENCE);
        let release = Release { upgrade: probation.result.upgrade };
        // If it cannot be told it is about to end: its exit will tell.
        let _ = probation.predecessor.send(release, None);
    }

    pub(super) fn on_message_of_predecessor(&mut self, message: GenerationToKeeper) {
        let Some(probation) = &self.probation else { return };
        let (upgrade, number) = (probation.result.upgrade, probation.predecessor.number);
        match message {
            GenerationToKeeper::Goodbye(said) if said.upgrade == upgrade => self.on_goodbye(),
            GenerationToKeeper::Returned(said) if said.upgrade == upgrade => self.on_returned(said),
            // It has not believed in the successor's first tick, which the keeper had heard of before.
            GenerationToKeeper::UpgradeFailed(said) if said.upgrade == upgrade => {
                self.on_returned(Returned {
                    upgrade,
                    generation: number,
                    reason: said.reason,
                    given: false,
                    freeze_us: 0,
                    connections: 0,
                });
            }
            // What it was asked when it served.
            GenerationToKeeper::StatusReport(_)
            | GenerationToKeeper::CheckReport(_)
            | GenerationToKeeper::Progress(_) => {}
            unexpected => warn!("generation {number}, standing by: unexpected {unexpected:?}"),
        }
    }

    fn on_goodbye(&mut self) {
        if let Some(ending) = self.lost {
            // It has seen for itself that it cannot serve.
            return self.on_loss(ending);
        }
        let Some(probation) = self.probation.take() else { return };
        let number = probation.predecessor.number;
        info!("generation {number} has stood by for {:.1?} and leaves", probation.begun.elapsed());
        self.await_exit(probation.predecessor);
        let (result, waiting, rollback) = (probation.result, probation.waiting, probation.rollback);
        self.settle(probation.begun, result, waiting, rollback);
    }

    /// The predecessor has ended without having said that it serves, or that it leaves.
    pub(super) fn on_exit_of_predecessor(&mut self, ending: Ending) {
        let Some(mut probation) = self.probation.take() else { return };
        let number = probation.predecessor.number;
        match ending {
            Ending::Exit(0) => info!("generation {number}, which stood by, {ending}"),
            _ => warn!("generation {number}, which stood by, {ending}: the upgrade stands"),
        }
        if let Some(lost) = self.lost {
            self.answer_loss(&mut probation, lost);
            // It may have served again, and died of what it did then.
            self.deaths.note(probation.predecessor.cause(ending));
            return self.on_loss(lost);
        }
        let (result, waiting, rollback) = (probation.result, probation.waiting, probation.rollback);
        self.settle(probation.begun, result, waiting, rollback);
    }

    /// Nobody stands by any more, and the upgrade stands.
    fn settle(
        &mut self,
        begun: Instant,
        mut result: UpgradeResult,
        waiting: Option<ClientId>,
        rollback: Option<Rollback>,
    ) {
        if result.probation_ms > 0 {
            result.phases.push(phase_time(Phase::Probation, begun, Instant::now()));
            self.history.revise(&result);
        }
        if let Some(client) = waiting {
            self.control.finish(client, &Reply::Result(Box::new(result)));
        }
        if let Some(rollback) = rollback {
            self.answer_rollback(&rollback, false, "the generation before has left instead".into());
        }
        self.on_parting();
        self.send_shutdown();
    }

    /// The predecessor serves again.
    fn on_returned(&mut self, said: Returned) {
        let Some(probation) = self.probation.take() else { return };
        let reason = match &probation.rollback {
            Some(_) if said.given => bounded(format!("{ASKED}: {}", said.reason)),
            _ => bounded(said.reason),
        };
        let successor = std::mem::replace(&mut self.serving, probation.predecessor);
        self.deaths.begun(Instant::now());
        let (number, was_stopping) = (self.serving.number, successor.stopping);
        warn!("upgrade rolled back: generation {number} serves again: {reason}");
        if self.lost.take().is_none() {
            self.await_exit(successor);
        }
        self.abandon_pending();
        let mut result = probation.result;
        result.phases.push(phase_time(Phase::Probation, probation.begun, Instant::now()));
        self.report_undone(&mut result, &reason);
        if let Some(client) = probation.waiting {
            self.control.finish(client, &Reply::Result(Box::new(result)));
        }
        if let Some(rollback) = probation.rollback {
            let (given, connections, freeze_us) = (said.given, said.connections, said.freeze_us);
            let result = self.rollback_result(&rollback, true, reason.clone());
            let result = RollbackResult { given, connections, freeze_us, ..result };
            self.control.finish(rollback.client, &Reply::Rollback(Box::new(result)));
        }
        if self.upgrade.is_some() {
            self.fail_upgrade(format!("generation {number} has taken the server back: {reason}"));
        }
        if was_stopping && self.stopping.is_none() {
            // Whoever had it stopped meant the server, not the one process.
            self.stopping = Some("the generation that was undone was about to stop".into());
        }
        self.send_shutdown();
    }

    /// Has the serving generation give the server back to its predecessor.
    pub(super) fn roll_back(&mut self, client: ClientId) {
        if let Some(reason) = self.hindrance_to_rollback() {
            warn!("refused to roll back: {reason}");
            return self.refuse(client, reason);
        }
        let Some(probation) = &mut self.probation else { return };
        info!("rolling back to generation {}", probation.predecessor.number);
        let asked = Instant::now();
        // If the successor has ended the predecessor is about to serve without being told.
        let until = self.lost.is_none().then_some(asked + GO_BACK_PATIENCE);
        probation.rollback = Some(Rollback { client, asked, until });
        if self.lost.is_none() {
            let upgrade = probation.result.upgrade;
            let order = GoBack { upgrade, reason: ASKED.into() };
            if self.serving.send(order, None).is_err() {
                self.take_back();
            }
        }
    }

    fn hindrance_to_rollback(&self) -> Option<&'static str> {
        let Some(probation) = self.probation.as_ref().filter(|it| !it.length.is_zero()) else {
            return Some(NO_PROBATION);
        };
        if self.stopping.is_some() || self.serving.stopping {
            Some("the server is shutting down")
        } else if probation.rollback.is_some() {
            Some("a rollback is running already")
        } else if probation.released {
            Some("another upgrade has ended the probation: wait for it, and roll that back")
        } else {
            None
        }
    }

    /// The successor has not given the server back in time: the predecessor is to take it.
    fn take_back(&mut self) {
        let Some(probation) = &mut self.probation else { return };
        if let Some(rollback) = &mut probation.rollback {
            rollback.until = None;
        }
        probation.limit(probation.hang + PREDECESSOR_PATIENCE);
        let number = self.serving.number;
        let reason = format!(
            "{ASKED}: generation {number} did not answer the order to go back within {GO_BACK_PATIENCE:?}"
        );
        warn!("{reason}: its predecessor is told to take the server");
        // If it cannot be told it is about to end: its exit will tell.
        let order = TakeBack { upgrade: probation.result.upgrade, reason };
        let _ = probation.predecessor.send(order, None);
    }

    /// The serving generation does not go back, and serves on.
    pub(super) fn on_go_back_failed(&mut self, said: GoBackFailed) {
        let Some(probation) = &mut self.probation else { return };
        // Once the predecessor has been told to take the server this is no answer any more.
        let meant = said.upgrade == probation.result.upgrade;
        let answered = |rollback: &mut Rollback| meant && rollback.until.is_some();
        let Some(rollback) = probation.rollback.take_if(answered) else {
            return warn!("generation {} goes back no more: {}", self.serving.number, said.reason);
        };
        let reason = bounded(said.reason);
        warn!("cannot roll back: {reason}; generation {} serves on", self.serving.number);
        self.answer_rollback(&rollback, false, reason);
        self.send_shutdown();
    }

    /// The serving generation has ended while its predecessor stands by; whether that one may serve.
    pub(super) fn await_return(&mut self, ending: Ending) -> bool {
        if self.serving.stopping || self.stopped_as_asked(ending) {
            return false;
        }
        // Even if the server is to stop: a predecessor that has killed the successor, to serve in its
        // place, is stopped in an orderly way.
        let Some(probation) = &mut self.probation else { return false };
        let (number, predecessor) = (self.serving.number, probation.predecessor.number);
        match probation.rollback {
            Some(_) => info!("generation {number} {ending}"),
            None => error!(
                "generation {number} {ending}: waiting for generation {predecessor} to serve again"
            ),
        }
        probation.deadline = Instant::now() + RETURN_PATIENCE;
        if let Some(rollback) = &mut probation.rollback {
            rollback.until = None;
        }
        true
    }

    /// Looks after the bounds of a probation.
    pub(super) fn drive_probation(&mut self, now: Instant) {
        let Some(probation) = &mut self.probation else { return };
        let until = probation.rollback.as_ref().and_then(|rollback| rollback.until);
        if until.is_some_and(|until| now >= until) {
            self.take_back();
        } else if now >= probation.deadline {
            let number = probation.predecessor.number;
            if let Some(ending) = self.lost {
                error!("generation {number} has not begun to serve within {RETURN_PATIENCE:?}");
                return self.on_loss(ending);
            }
            warn!("generation {number} stands by for too long: killed");
            probation.predecessor.signal(Signal::SIGKILL);
            probation.deadline = now + LEAVING_PATIENCE;
        }
    }

    /// Nobody will serve any more: those who wait for the end of the probation are told.
    pub(super) fn abandon_probation(&mut self, ending: Ending) {
        // It stays where it is found to be killed.
        if let Some(mut probation) = self.probation.take() {
            self.answer_loss(&mut probation, ending);
            self.probation = Some(probation);
        }
    }

    fn answer_loss(&mut self, probation: &mut Probation, ending: Ending) {
        let stopped = self.serving.stopping || self.stopping.is_some();
        let reason = match stopped {
            true => "the server has shut down".to_string(),
            false => {
                format!("generation {} {ending}: nobody serves any more", self.serving.number)
            }
        };
        if let Some(client) = probation.waiting.take() {
            let mut result = probation.result.clone();
            if !stopped {
                result.succeeded = false;
                result.generation = 0;
                result.phase = Phase::Probation.name().into();
                result.reason = Some(reason.clone());
            }
            self.control.finish(client, &Reply::Result(Box::new(result)));
        }
        if let Some(rollback) = probation.rollback.take() {
            self.answer_rollback(&rollback, false, reason);
        }
    }

    fn answer_rollback(&mut self, rollback: &Rollback, rolled_back: bool, reason: String) {
        let result = self.rollback_result(rollback, rolled_back, reason);
        self.control.finish(rollback.client, &Reply::Rollback(Box::new(result)));
    }

    fn rollback_result(
        &self,
        rollback: &Rollback,
        rolled_back: bool,
        reason: String,
    ) -> RollbackResult {
        let profile = &self.serving.profile;
        RollbackResult {
            rolled_back,
            reason,
            generation: self.serving.number,
            version: profile.version.clone(),
            build: profile.build.clone(),
            total_ms: u64::try_from(rollback.asked.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..RollbackResult::default()
        }
    }
}
