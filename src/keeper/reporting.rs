//! Telling what came of an upgrade: to the log, to who asked for it, to the generation that serves.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use handoff::keeper_channel::{Outcome, Phase};
use tracing::{error, info, warn};

use super::Keeper;
use super::control::ClientId;
use super::history::{bounded, describe};
use super::protocol::{Reply, UpgradeResult};
use super::upgrading::Attempt;
use crate::version;

impl Keeper {
    /// What can be said of an attempt that is in this phase, as if it had failed.
    pub(super) fn result_of(&self, attempt: &Attempt, phase: Phase) -> UpgradeResult {
        let now = Instant::now();
        let total = now.saturating_duration_since(attempt.started).as_millis();
        UpgradeResult {
            upgrade: attempt.id,
            dry_run: attempt.dry_run,
            phase: phase.name().into(),
            from: self.serving.number,
            to: self.serving.number + 1,
            generation: self.serving.number,
            old_version: self.serving.profile.version.clone(),
            old_build: self.serving.profile.build.clone(),
            fingerprint: self.serving.profile.fingerprint.clone(),
            binary: attempt.path.clone(),
            total_ms: u64::try_from(total).unwrap_or(u64::MAX),
            phases: attempt.timeline.lengths(now),
            ..UpgradeResult::default()
        }
    }

    /// Tells everybody what came of an upgrade: the log, the client, the generation that serves. A
    /// dry run counts for nothing but is answered. Returns what was told.
    pub(super) fn report(
        &mut self,
        mut result: UpgradeResult,
        client: Option<ClientId>,
    ) -> UpgradeResult {
        result.at = now_in_seconds();
        result.reason = result.reason.map(bounded);
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
            Some(reason) if self.lost.is_some() => {
                error!("upgrade failed in phase {}: {reason}", result.phase);
            }
            Some(reason) => error!(
                "upgrade failed in phase {}: {reason}; generation {} serves on",
                result.phase, self.serving.number
            ),
        }
        if !result.dry_run {
            self.history.add(&result);
            self.tell_outcome(&result);
        }
        if let Some(client) = client {
            self.control.finish(client, &Reply::Result(Box::new(result.clone())));
        }
        result
    }

    /// Puts down that the upgrade was undone, and tells the generation that serves again.
    pub(super) fn report_undone(&mut self, result: &mut UpgradeResult, reason: &str) {
        result.at = now_in_seconds();
        result.succeeded = false;
        result.rolled_back = true;
        result.phase = Phase::Probation.name().into();
        result.reason = Some(reason.into());
        result.generation = self.serving.number;
        self.history.revise(result);
        self.tell_outcome(result);
    }

    fn tell_outcome(&self, result: &UpgradeResult) {
        let outcome = Outcome {
            upgrade: result.upgrade,
            succeeded: result.succeeded,
            result: describe(result),
            upgrades: self.history.upgrades,
            failures: self.history.failures,
            freeze_us: result.freeze_us,
            total_ms: result.total_ms,
            connections: result.connections,
        };
        if let Err(error) = self.serving.send(outcome, None) {
            warn!("generation {} cannot be told the outcome: {error}", self.serving.number);
        }
    }
}

fn now_in_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
