//! The predecessor's part in an upgrade: what the handoff's machine asks of a serving generation,
//! and what the loop does between its ticks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use handoff::clock::{Clock, MonotonicClock};
use handoff::error::HostError;
use handoff::fence::ProcessHandle;
use handoff::host::{
    Failure, MAX_PAYLOAD_BYTES, Parcel, PredecessorHost, Quiesced, Recovery, SharedWords, Status,
    Summary, Wake,
};
use handoff::keeper_channel::{
    GenerationEnd, GoBackFailed, Goodbye, Phase, Progress, Upgrade, UpgradeFailed,
};
use handoff::link::Link;
use handoff::message::Ticket;
use handoff::owner::Generation as Number;
use handoff::predecessor::{Predecessor, PredecessorLimits};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{info, warn};

use super::orders::say;
use super::recovering::died;
use super::serving::Generation;
use super::watched::Lag;
use crate::executor::Executor;
use crate::net::Poller;
use crate::role::offer_payload;
use crate::root;
use crate::util::time::monotonic_us;
use crate::words::HandoffWords;

/// An upgrade under way in which this generation gives.
pub struct Giving {
    /// The handoff's machine.
    pub predecessor: Predecessor,
    /// The keeper's number of the upgrade.
    pub upgrade: u64,
    /// The phase that the keeper was told last.
    pub(super) told: Option<Phase>,
    /// The freeze has been announced, and begins no earlier than this, microseconds.
    pub(super) freeze_from_us: Option<u64>,
    /// If this is no upgrade yet, but the predecessor of this generation stands by, to which the arena
    /// may go back.
    pub(super) mirror: Option<Lag>,
}

/// How long before the freeze it is announced, microseconds: keeper and whoever watches the upgrade
/// have then passed the word on, and do not compete with the successor for a processor.
const FREEZE_LEAD_US: u64 = 1_000;

impl Giving {
    /// The machine of one side of the upgrade of that number.
    pub(super) fn new(predecessor: Predecessor, upgrade: u64, mirror: Option<Lag>) -> Giving {
        Giving { predecessor, upgrade, told: None, freeze_from_us: None, mirror }
    }

    /// How long the loop may wait before the machine wants to be called, microseconds.
    pub fn wait_us(&self) -> u64 {
        match (self.predecessor.wake(), self.freeze_from_us) {
            (Wake::Now, Some(from)) => from.saturating_sub(monotonic_us()),
            (wake, _) => wait_us(wake),
        }
    }
}

/// How long the loop may wait for that, microseconds.
pub(super) fn wait_us(wake: Wake) -> u64 {
    match wake {
        Wake::Now => 0,
        Wake::Link { deadline_ns } => deadline_ns.saturating_sub(MonotonicClock.now_ns()) / 1000,
    }
}

/// What the machine may touch of the generation.
pub(super) struct Host<'a> {
    pub(super) executor: &'a mut Executor,
    pub(super) poller: &'a Poller,
    pub(super) words: HandoffWords,
    /// The keeper holds all that this generation does.
    pub(super) told: bool,
}

impl SharedWords for Host<'_> {
    fn owner_word(&self) -> &std::sync::atomic::AtomicU64 {
        self.words.owner()
    }

    fn executor_word(&self, generation: Number) -> &std::sync::atomic::AtomicU32 {
        self.words.executor(generation)
    }
}

impl PredecessorHost for Host<'_> {
    fn connections(&self) -> u32 {
        self.poller.open()
    }

    fn arena(&mut self) -> Result<Parcel<'_>, HostError> {
        let arena = &self.executor.arena;
        let archive = root::stored_archive(arena, root::of(arena)).unwrap_or_default();
        // One that is too long goes by the arena alone.
        let foretold = if archive.len() <= MAX_PAYLOAD_BYTES { archive } else { &[] };
        Ok(Parcel { payload: foretold.to_vec(), fds: vec![arena.mapping().fd()] })
    }

    fn listeners(&mut self) -> Result<Vec<(Vec<u8>, BorrowedFd<'_>)>, HostError> {
        let listeners = self.poller.listeners();
        Ok(listeners.iter().map(|listener| (listener.describe(), listener.as_fd())).collect())
    }

    fn scan_sockets<'h>(
        &'h self,
        from: u32,
        max: usize,
        out: &mut Vec<(Ticket, BorrowedFd<'h>)>,
    ) -> Option<u32> {
        /// Slots looked at in one call, so that a sparse table costs no more than a full one.
        const LOOKED_AT: u32 = 1024;
        let end = self.poller.slots();
        let stop = end.min(from.saturating_add(LOOKED_AT));
        for slot in from..stop {
            if out.len() == max {
                return Some(slot);
            }
            if let Some(connection) = self.poller.get(slot) {
                let ticket = Ticket { slot, cookie: connection.cookie };
                out.push((ticket, connection.as_fd()));
            }
        }
        (stop < end).then_some(stop)
    }

    fn socket(&self, ticket: Ticket) -> Option<BorrowedFd<'_>> {
        let connection = self.poller.get(ticket.slot)?;
        (connection.cookie == ticket.cookie).then(|| connection.as_fd())
    }

    fn quiesce(&mut self) -> Result<Quiesced, HostError> {
        // Between two ticks no turn is open and no transaction either: there is nothing to stop.
        let payload = offer_payload(self.told);
        Ok(Quiesced { last_command_ns: MonotonicClock.now_ns(), payload })
    }
}

impl Generation {
    pub(super) fn with_machine<T>(
        &mut self,
        work: impl FnOnce(&mut Predecessor, &mut dyn PredecessorHost) -> T,
    ) -> Option<T> {
        let told = self.keeper_is_told();
        let giving = self.giving.as_mut()?;
        let (executor, poller) = (&mut self.executor, &self.poller);
        let mut host = Host { executor, poller, words: self.words, told };
        Some(work(&mut giving.predecessor, &mut host))
    }

    /// Begins to hand over to the successor at the other end of the link.
    pub(super) fn begin_upgrade(
        &mut self,
        order: &Upgrade,
        link: OwnedFd,
        channel: &GenerationEnd,
    ) {
        if self.is_watched() {
            // It has left, or the keeper would not have begun: its end of the link says so too.
            self.end_giving();
        }
        if self.giving.is_some() {
            return refuse(channel, order.upgrade, "an upgrade is running already".into());
        }
        match self.make_predecessor(order, link) {
            Ok(predecessor) => {
                info!("handing over to process {}", order.successor_pid);
                self.giving = Some(Giving::new(predecessor, order.upgrade, None));
            }
            Err(reason) => refuse(channel, order.upgrade, reason),
        }
    }

    fn make_predecessor(&self, order: &Upgrade, link: OwnedFd) -> Result<Predecessor, String> {
        let text = |e: &dyn std::error::Error| e.to_string();
        let link = Link::new(link).map_err(|e| text(&e))?;
        let process = ProcessHandle::open(order.successor_pid).map_err(|e| text(&e))?;
        let limits = PredecessorLimits::default();
        let identity = super::handoff_identity();
        let process = Box::new(process);
        let predecessor =
            Predecessor::new(link, process, self.number, identity, limits).map_err(|e| text(&e))?;
        self.poller.watch_link(&predecessor).map_err(|e| text(&e))?;
        Ok(predecessor)
    }

    /// Calls a running upgrade off.
    pub(super) fn cancel_upgrade(&mut self, why: &str, channel: &mut GenerationEnd) {
        if self.is_watched() {
            return;
        }
        let status = self.with_machine(|machine, host| machine.cancel(host, why));
        if let Some(status) = status {
            self.follow(status, channel);
        }
    }

    /// A slice of a running upgrade, between two ticks.
    pub(super) fn drive_upgrade(&mut self, channel: &mut GenerationEnd) {
        if self.giving.is_none() || self.exit.is_some() {
            return;
        }
        let status = self.with_machine(|machine, host| machine.step(host));
        if let Some(status) = status {
            self.follow(status, channel);
        }
    }

    fn follow(&mut self, mut status: Status, channel: &mut GenerationEnd) {
        loop {
            self.tell_progress(channel);
            status = match status {
                Status::Continue => return,
                Status::WantFreeze => {
                    if !self.freeze_is_due(channel) {
                        return;
                    }
                    let frozen = self.with_machine(|machine, host| machine.freeze(host));
                    let Some(frozen) = frozen else { return };
                    frozen
                }
                Status::Frozen => {
                    self.wait_for_link();
                    let stepped = self.with_machine(|machine, host| machine.step(host));
                    let Some(stepped) = stepped else { return };
                    stepped
                }
                Status::Served(summary) => return self.handed_over(&summary, channel),
                Status::Released => {
                    info!("the predecessor has left: generation {} is alone", self.number);
                    self.end_giving();
                    return;
                }
                Status::Failed(failure) => return self.fail(failure, channel),
            };
        }
    }

    /// Nobody is served by this process: waits for the successor's word alone.
    fn wait_for_link(&self) {
        let Some(giving) = &self.giving else { return };
        let wait = Duration::from_micros(giving.wait_us().clamp(1, 1_000_000));
        let millis = wait.as_millis().clamp(1, 1000) as u16;
        let mut fds = [PollFd::new(giving.predecessor.as_fd(), PollFlags::POLLIN)];
        // Interrupted or not: the machine looks for itself.
        let _ = poll(&mut fds, PollTimeout::from(millis));
    }

    /// Announces the freeze, and says when it may begin.
    fn freeze_is_due(&mut self, channel: &GenerationEnd) -> bool {
        let Some(giving) = self.giving.as_mut().filter(|giving| giving.mirror.is_none()) else {
            return true;
        };
        if let Some(from) = giving.freeze_from_us {
            return monotonic_us() >= from;
        }
        giving.freeze_from_us = Some(monotonic_us() + FREEZE_LEAD_US);
        // A shutdown that comes before this is heard calls the upgrade off; one that comes later
        // waits for its outcome.
        self.tell_phase(Phase::Freeze, channel);
        false
    }

    /// Tells the keeper when a new phase begins.
    fn tell_progress(&mut self, channel: &GenerationEnd) {
        let Some(giving) = self.giving.as_ref().filter(|giving| giving.mirror.is_none()) else {
            return;
        };
        let phase = phase_for_keeper(giving.predecessor.progress().phase);
        // The freeze is no time for talk.
        if giving.told != Some(phase) && !matches!(phase, Phase::Freeze | Phase::Serve) {
            self.tell_phase(phase, channel);
        }
    }

    fn tell_phase(&mut self, phase: Phase, channel: &GenerationEnd) {
        let Some(giving) = self.giving.as_mut().filter(|giving| giving.mirror.is_none()) else {
            return;
        };
        giving.told = Some(phase);
        let progress = giving.predecessor.progress();
        let report = Progress {
            upgrade: giving.upgrade,
            phase,
            done: progress.sockets_sent,
            total: u64::from(progress.sockets_expected),
        };
        say(channel, report.into());
    }

    /// Lets go of the machine: nothing is handed over, and nobody watches, any more.
    pub(super) fn end_giving(&mut self) -> Option<Giving> {
        let giving = self.giving.take()?;
        self.poller.forget_link(&giving.predecessor);
        self.executor.state.watched = false;
        Some(giving)
    }

    /// The other side serves.
    fn handed_over(&mut self, summary: &Summary, channel: &mut GenerationEnd) {
        let Some(Giving { predecessor, upgrade, mirror, .. }) = self.end_giving() else { return };
        if mirror.is_none() {
            return self.stand_by(predecessor.stand_by(), upgrade, summary, channel);
        }
        info!("generation {} serves again; this one, {}, exits", summary.to, summary.from);
        say(channel, Goodbye { upgrade }.into());
        self.exit = Some(ExitCode::SUCCESS);
    }

    fn fail(&mut self, failure: Failure, channel: &GenerationEnd) {
        let Some(giving) = self.end_giving() else { return };
        let Failure { reason, recovery, phase } = failure;
        match (&giving.mirror, phase) {
            (Some(_), handoff::error::Phase::Probation) => {
                warn!("the predecessor does not stand by any more: {reason}");
            }
            (Some(_), _) => warn!("the arena cannot be given back ({phase}): {reason}"),
            (None, _) => warn!("the upgrade has failed ({phase}): {reason}"),
        }
        match recovery {
            Recovery::Resume => {}
            Recovery::RecoverAndResume => self.recover(&died(giving.predecessor.cause())),
            Recovery::Exit => self.exit = Some(ExitCode::FAILURE),
        }
        let (upgrade, reason) = (giving.upgrade, reason.to_string());
        let report = match (giving.mirror, phase) {
            (Some(_), handoff::error::Phase::Probation) => return,
            (Some(_), _) => GoBackFailed { upgrade, reason }.into(),
            (None, _) => UpgradeFailed { upgrade, phase: phase_for_keeper(phase), reason }.into(),
        };
        say(channel, report);
    }
}

fn refuse(channel: &GenerationEnd, upgrade: u64, reason: String) {
    warn!("the upgrade was refused: {reason}");
    say(channel, UpgradeFailed { upgrade, phase: Phase::Start, reason }.into());
}

fn phase_for_keeper(phase: handoff::error::Phase) -> Phase {
    use handoff::error::Phase as Step;
    match phase {
        Step::Hello => Phase::Start,
        Step::Arena | Step::Listeners | Step::Sockets | Step::Prepare => Phase::PreCopy,
        Step::Freeze | Step::Offer => Phase::Freeze,
        Step::Serve | Step::Fence => Phase::Serve,
        Step::Probation | Step::Custody => Phase::Probation,
        Step::Over => Phase::Goodbye,
    }
}
