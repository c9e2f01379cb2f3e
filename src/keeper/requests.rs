//! What the keeper does for control clients; upgrades are in `upgrading`.

use std::time::{Duration, Instant};

use handoff::keeper_channel::{Check, CheckOutcome, CheckReport, Status, StatusReport};

use super::Keeper;
use super::control::ClientId;
use super::probation::Probation;
use super::process::pid_number;
use super::protocol::{CheckResult, InstanceStatus, Load, Reply, Request};
use super::upgrading::Wish;

/// How long a generation may take to say how it is, before its status is shown without that.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// How long a checker may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(600);

/// Most questions to a generation that wait for an answer, those of clients that are gone included.
const MAX_PENDING: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Status,
    Check,
}

/// A question that the serving generation has been asked for a client.
#[derive(Debug)]
pub struct Pending {
    request: u64,
    client: ClientId,
    question: Question,
    /// When the client is answered without.
    pub deadline: Instant,
}

impl Keeper {
    pub(super) fn on_request(&mut self, client: ClientId, request: Request) {
        match request {
            Request::Status => self.ask(client, Question::Status),
            Request::Check if self.upgrade.is_some() => {
                self.refuse(client, "an upgrade is running: try again when it has ended");
            }
            Request::Check => self.ask(client, Question::Check),
            Request::Upgrade { binary, timeout_ms, dry_run, probation_ms, wait_probation } => self
                .begin_upgrade(Wish {
                    binary,
                    timeout: timeout_ms.map(Duration::from_millis),
                    dry_run,
                    probation: probation_ms.map(Duration::from_millis),
                    wait_probation,
                    client: Some(client),
                }),
            Request::Rollback => self.roll_back(client),
            Request::History => {
                let upgrades = self.history.records();
                self.control.finish(client, &Reply::History { upgrades });
            }
            Request::Shutdown => {
                self.control.finish(client, &Reply::Stopping);
                self.stop("request on the control socket");
            }
        }
    }

    pub(super) fn refuse(&mut self, client: ClientId, reason: &str) {
        self.control.finish(client, &Reply::Error { reason: reason.into() });
    }

    fn ask(&mut self, client: ClientId, question: Question) {
        if self.pending.len() >= MAX_PENDING {
            return self.refuse(client, "too many requests at a time: try again later");
        }
        let request = self.number();
        let (sent, patience) = match question {
            Question::Status => (self.serving.send(Status { request }, None), STATUS_PATIENCE),
            Question::Check => (self.serving.send(Check { request }, None), CHECK_PATIENCE),
        };
        let pending = Pending { request, client, question, deadline: Instant::now() + patience };
        match sent {
            Ok(()) => self.pending.push(pending),
            Err(error) => self.answer_without(&pending, &error.to_string()),
        }
    }

    /// Answers what the generation has not answered in time.
    pub(super) fn expire_pending(&mut self, now: Instant) {
        self.give_up_pending(
            |pending| now >= pending.deadline,
            "the server did not answer in time",
        );
    }

    /// Answers what was asked of a generation that serves no more.
    pub(super) fn abandon_pending(&mut self) {
        self.give_up_pending(
            |_| true,
            "the generation that was asked has been replaced: ask again",
        );
    }

    fn give_up_pending(&mut self, which: impl Fn(&Pending) -> bool, reason: &str) {
        let (over, left) = std::mem::take(&mut self.pending).into_iter().partition(which);
        self.pending = left;
        let over: Vec<Pending> = over;
        for pending in &over {
            self.answer_without(pending, reason);
        }
    }

    fn answer_without(&mut self, pending: &Pending, reason: &str) {
        match pending.question {
            Question::Status => self.answer_status(pending.client, None),
            Question::Check => self.refuse(pending.client, reason),
        }
    }

    fn take_pending(&mut self, request: u64, question: Question) -> Option<Pending> {
        let wanted = |pending: &Pending| pending.request == request && pending.question == question;
        self.pending.iter().position(wanted).map(|at| self.pending.swap_remove(at))
    }

    pub(super) fn on_status_report(&mut self, said: &StatusReport) {
        self.manager.iter_mut().for_each(|manager| manager.proved_alive(Instant::now()));
        let Some(pending) = self.take_pending(said.request, Question::Status) else { return };
        let load = Load { clients: said.clients, keys: said.keys, memory: said.memory };
        self.answer_status(pending.client, Some(load));
    }

    pub(super) fn on_check_report(&mut self, said: CheckReport) {
        let Some(pending) = self.take_pending(said.request, Question::Check) else { return };
        let result = CheckResult {
            clean: said.outcome == CheckOutcome::Clean,
            ran: said.outcome != CheckOutcome::Failed,
            stall_us: said.stall_us,
            text: said.text,
        };
        self.control.finish(pending.client, &Reply::Check(result));
    }

    fn answer_status(&mut self, client: ClientId, load: Option<Load>) {
        let profile = &self.serving.profile;
        let status = InstanceStatus {
            pid: std::process::id(),
            generation: self.serving.number,
            generation_pid: pid_number(self.serving.pid),
            version: profile.version.clone(),
            build: profile.build.clone(),
            fingerprint: profile.fingerprint.clone(),
            addresses: profile.addresses.clone(),
            binary: self.settings.binary.clone(),
            uptime_s: self.started.elapsed().as_secs(),
            upgrading: self.upgrade.as_ref().map(|upgrade| upgrade.phase.name().into()),
            upgrades: self.history.upgrades,
            failures: self.history.failures,
            rollbacks: self.history.rollbacks,
            probation: self.probation.as_ref().and_then(Probation::status),
            held: (!self.settings.no_keeper).then(|| self.holding.custody().is_complete()),
            spare: self.spares.status(),
            last_upgrade: self.history.last(),
            load,
        };
        self.control.finish(client, &Reply::Status(Box::new(status)));
    }
}
