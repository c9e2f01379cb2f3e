//! What the keeper asks of a generation.

use handoff::keeper_channel::{
    CheckOutcome, CheckReport, GenerationEnd, KeeperToGeneration, Outcome, StatusReport,
};
use shm::{I64, Slot, U32, U64, field};
use tracing::{info, warn};

use super::serving::Generation;
use crate::config::Id;
use crate::root::{HandoffState, Root};
use crate::util::time::{monotonic_us, unix_time_ms};

/// Longest text of a report that goes to the keeper.
const MAX_REPORT: usize = 64 * 1024;

impl Generation {
    /// Reads and follows every order that has come.
    pub(super) fn follow_orders(&mut self, channel: &mut GenerationEnd) {
        loop {
            let delivery = match channel.recv() {
                Ok(Some(delivery)) => delivery,
                Ok(None) => break,
                Err(e) if e.is_recoverable() => {
                    warn!("skipped an order of the keeper: {e}");
                    continue;
                }
                Err(e) => {
                    warn!("the keeper is gone: {e}; serving on, another one will be started");
                    self.poller.forget_keeper(channel);
                    self.note_keeper_gone();
                    break;
                }
            };
            match delivery.message {
                KeeperToGeneration::Upgrade(order) => {
                    let Some(link) = delivery.descriptor else { continue };
                    self.begin_upgrade(&order, link, channel);
                }
                KeeperToGeneration::Abort(order) => self.cancel_upgrade(&order.reason, channel),
                KeeperToGeneration::GoBack(order) => self.go_back(&order, channel),
                KeeperToGeneration::Shutdown(order) => self.shut_down(&order.cause),
                KeeperToGeneration::Check(order) => self.report_check(order.request, channel),
                KeeperToGeneration::Status(order) => self.report_status(order.request, channel),
                KeeperToGeneration::Outcome(outcome) => self.note_outcome(&outcome),
                other => warn!("the keeper sent an order that makes no sense now: {other:?}"),
            }
        }
    }

    /// Runs the checker; nobody is served meanwhile.
    fn report_check(&mut self, request: u64, channel: &GenerationEnd) {
        let start = monotonic_us();
        self.expect_long_tick();
        let report = crate::check::check_arena(&self.executor.arena);
        let stall_us = monotonic_us() - start;
        let outcome = if report.clean { CheckOutcome::Clean } else { CheckOutcome::Findings };
        let mut text = report.text;
        if text.len() > MAX_REPORT {
            let end = (0..=MAX_REPORT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        say(channel, CheckReport { request, outcome, stall_us, text }.into());
    }

    fn report_status(&mut self, request: u64, channel: &GenerationEnd) {
        let databases = self.executor.arena.get(self.executor.root()).database_count.to_native();
        let keys = (0..databases)
            .map(|index| shm::table::len(&self.executor.arena, self.executor.keys(index)))
            .sum();
        let clients = u64::from(self.executor.session_count());
        let memory = self.executor.arena.used_bytes();
        say(channel, StatusReport { request, clients, keys, memory }.into());
    }

    /// Keeps the outcome of an upgrade for `INFO handoff`.
    fn note_outcome(&mut self, outcome: &Outcome) {
        info!("upgrade {}: {}", outcome.upgrade, outcome.result);
        let state = field!(self.executor.root(), Root.handoff);
        let mut text = [0; 228];
        let length = outcome.result.len().min(text.len());
        text[..length].copy_from_slice(&outcome.result.as_bytes()[..length]);
        let number = |value: u64| U64::from_native(value);
        let noted = self.executor.arena.transact(|tx| {
            tx.set(field!(state, HandoffState.upgrades), number(outcome.upgrades))?;
            tx.set(field!(state, HandoffState.failures), number(outcome.failures))?;
            if outcome.succeeded {
                let freeze = number(outcome.freeze_us);
                tx.set(field!(state, HandoffState.last_freeze_us), freeze)?;
                let connections = number(outcome.connections);
                tx.set(field!(state, HandoffState.last_connections), connections)?;
            }
            tx.set(field!(state, HandoffState.last_total_ms), number(outcome.total_ms))?;
            tx.set(field!(state, HandoffState.last_ms), I64::from_native(unix_time_ms()))?;
            tx.set(field!(state, HandoffState.result_len), U32::from_native(length as u32))?;
            tx.set(field!(state, HandoffState.result).cast::<Slot<[u8; 228]>>(), text)
        });
        if noted.is_err() {
            warn!("the outcome of the upgrade cannot be noted: the arena is full");
        }
    }

    /// Has a changed configuration take effect where it is not read anew each time.
    pub(super) fn reconfigured(&mut self, changed: &[Id]) {
        for id in changed {
            let name = id.directive().name;
            if matches!(name, "timeout" | "hz") {
                self.next_round_us = 0;
            }
            if name == "loglevel" {
                crate::logging::set_level(self.executor.state.config.loglevel());
            }
        }
    }
}

/// Says something to the keeper; it may be gone, and then nobody has to know.
pub(super) fn say(channel: &GenerationEnd, message: handoff::keeper_channel::GenerationToKeeper) {
    if let Err(e) = channel.send(&message) {
        warn!("the keeper cannot be told: {e}");
    }
}
