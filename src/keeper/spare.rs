//! A spare: a generation that is started and made ready beside the one that serves, by the same steps as
//! after a death, but for the offer, which is held back until there is one.
//!
//! There is one while a single generation serves and nothing else is under way: an upgrade, a
//! predecessor that stands by, a shutdown, the keeper's own renewal. It is killed when that ends, since it
//! has the number of the next generation, and owns nothing. `docs/recovery.md` has the reasons.

use std::time::{Duration, Instant};

use handoff::custody::Change;
use handoff::death::Cause;
use handoff::fence::holder;
use handoff::host::Status;
use handoff::keeper_channel::{self as channel, GenerationToKeeper};
use handoff::message::Ticket;
use handoff::predecessor::{Predecessor, PredecessorLimits};
use nix::poll::PollFd;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{info, warn};

use super::Keeper;
use super::child::Child;
use super::estate::{Estate, Tickets, tickets_by_slot};
use super::process::{self, Ending, pid_number};
use super::protocol::SpareStatus;
use super::recovery::{Recovery, limits, number_of, wake, watched};
use super::upgrading::{Step, Upgrade};
use crate::util::time::doubled;
use crate::words::HandoffWords;

/// From when there could be a spare until it is started; after a failure it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A spare that has been ready for so long was none that fails at once.
const PROVED: Duration = Duration::from_secs(10);

/// How long a spare may take for each step while somebody serves, and to answer what it is told.
const UNHURRIED: Duration = Duration::from_secs(60);

/// How long it may take for each step, and for the offer, once nobody does: after that another process is
/// started, as if there had been no spare.
const HURRIED: Duration = Duration::from_secs(2);

/// The spare, and when there is to be one.
#[derive(Default)]
pub struct Spares {
    current: Option<Spare>,
    /// When one is to be started.
    due: Option<Instant>,
    /// Failures since one was of use.
    failures: u32,
}

/// A generation that would serve if the one that does died.
struct Spare {
    /// The number of the recovery that there would be.
    number: u64,
    child: Child,
    machine: Predecessor,
    /// The connections that it has been told of, or is about to be.
    tickets: Tickets,
    words: HandoffWords,
    /// It has entered the pages of the arena.
    warm: bool,
    ready_since: Option<Instant>,
    /// When it last had answered nearly all that it was told.
    answered: Instant,
}

impl Spares {
    /// What is to be polled.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.current.iter().flat_map(|spare| watched(&spare.child, Some(&spare.machine)))
    }

    /// When the keeper must look at it, whatever else happens.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let machine = self.current.as_ref().map(|spare| wake(&spare.machine, now));
        machine.or(self.due)
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.current.is_some()
    }

    /// The process.
    pub fn child(&self) -> Option<&Child> {
        self.current.as_ref().map(|spare| &spare.child)
    }

    /// The process, to be listened to.
    pub fn child_mut(&mut self) -> Option<&mut Child> {
        self.current.as_mut().map(|spare| &mut spare.child)
    }

    /// What users are shown.
    pub fn status(&self) -> Option<SpareStatus> {
        self.current.as_ref().map(|spare| SpareStatus {
            generation: spare.child.number,
            generation_pid: pid_number(spare.child.pid),
            ready: spare.ready_since.is_some() && spare.machine.is_ready(),
        })
    }

    fn pause(&self) -> Duration {
        doubled(PAUSE, self.failures, LONGEST_PAUSE)
    }
}

impl Spare {
    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.answered) > UNHURRIED
    }

    fn heed(&mut self, change: Change) {
        match change {
            Change::Opened(ticket) => {
                self.tickets.insert(ticket.slot, ticket.cookie);
                self.machine.accepted(ticket);
            }
            Change::Closed(ticket) => {
                if self.tickets.get(&ticket.slot) == Some(&ticket.cookie) {
                    self.tickets.remove(&ticket.slot);
                }
                self.machine.closed(ticket);
            }
        }
    }

    /// Has it told of exactly these.
    fn reconcile(&mut self, left: &[Ticket]) {
        let left = tickets_by_slot(left);
        let ticket = |(&slot, &cookie): (&u32, &u64)| Ticket { slot, cookie };
        let gone = self.tickets.iter().filter(|(slot, cookie)| left.get(slot) != Some(cookie));
        let gone: Vec<Ticket> = gone.map(ticket).collect();
        let new = left.iter().filter(|(slot, cookie)| self.tickets.get(slot) != Some(cookie));
        let new: Vec<Ticket> = new.map(ticket).collect();
        gone.into_iter().for_each(|ticket| self.heed(Change::Closed(ticket)));
        new.into_iter().for_each(|ticket| self.heed(Change::Opened(ticket)));
    }
}

impl Keeper {
    /// Whether one that is there may stay.
    fn may_keep_spare(&self) -> bool {
        let handing_over = matches!(self.upgrade, Some(Upgrade { step: Step::Handover(_), .. }));
        let stops = self.stopping.is_some() || self.serving.stopping;
        !(handing_over || stops || self.probation.is_some() || self.is_renewal_due())
    }

    /// Whether one may be started.
    fn may_start_spare(&self) -> bool {
        let under_way = self.upgrade.is_some() || self.recovery.is_some() || self.lost.is_some();
        self.ready && !under_way && self.may_keep_spare()
    }

    /// Starts a spare, makes it ready, keeps it so, and ends it.
    pub(super) fn drive_spare(&mut self, now: Instant) {
        if !self.settings.spare {
            return;
        }
        if self.spares.is_there() {
            match self.may_keep_spare() {
                true => self.attend_spare(now),
                false => self.end_spare(),
            }
        } else if !self.may_start_spare() {
            self.spares.due = None;
        } else if now >= *self.spares.due.get_or_insert(now + self.spares.pause()) {
            self.spares.due = None;
            match self.start_spare(now) {
                Ok(spare) => self.spares.current = Some(spare),
                Err(reason) => {
                    self.spares.failures += 1;
                    warn!("no spare generation: {reason}");
                }
            }
        }
    }

    fn start_spare(&mut self, now: Instant) -> Result<Spare, String> {
        let words = self.holding.words()?;
        let from = number_of(self.serving.number)?;
        let number = self.number();
        let binary = self.serving.binary.clone();
        let (pid, end) = process::spawn_generation(&binary).map_err(|error| error.to_string())?;
        let child = Child::new(pid, self.serving.number + 1, end, binary);
        let first = channel::StandIn {
            recovery: number,
            generation: child.number,
            keeper_pid: std::process::id(),
            settings: self.settings_json.clone(),
        };
        let limits = PredecessorLimits {
            hello: UNHURRIED,
            transfer: UNHURRIED,
            ready: UNHURRIED,
            ..limits()
        };
        let mut machine = match self.introduce(&child, from, first, limits) {
            Ok(machine) => machine,
            Err(reason) => {
                self.let_go(child);
                return Err(reason);
            }
        };
        machine.hold();
        let custody = self.holding.custody_mut();
        custody.follow(true);
        let tickets = tickets_by_slot(&custody.tickets());
        let (warm, ready_since, answered) = (false, None, now);
        Ok(Spare { number, child, machine, tickets, words, warm, ready_since, answered })
    }

    /// Tells it what has changed.
    fn attend_spare(&mut self, now: Instant) {
        let changes = self.holding.custody_mut().changes();
        let Some(spare) = &mut self.spares.current else { return };
        changes.into_iter().for_each(|change| spare.heed(change));
        let (custody, words) = (self.holding.custody(), spare.words);
        let mut estate = Estate { custody, tickets: &spare.tickets, words, cause: None };
        if let Status::Failed(failure) = spare.machine.step(&mut estate) {
            return self.replace_spare(&failure.reason.to_string(), now);
        }
        if spare.machine.is_ready() {
            spare.answered = now;
            if spare.warm && spare.ready_since.is_none() {
                spare.ready_since = Some(now);
                info!("generation {} is ready to take over: a spare", spare.child.number);
            }
        } else if spare.ready_since.is_some() && spare.is_silent(now) {
            self.replace_spare("it does not answer", now);
        }
    }

    /// It is of no use: another one is started after a while.
    fn replace_spare(&mut self, reason: &str, now: Instant) {
        // It may have said why.
        self.on_messages();
        let Some(spare) = self.take_spare() else { return };
        let number = spare.child.number;
        self.note_failure(&spare, now);
        self.let_go(spare.child);
        warn!("generation {number}, the spare, {reason}: another in {:?}", self.spares.pause());
    }

    fn note_failure(&mut self, spare: &Spare, now: Instant) {
        let lasted = spare.ready_since.map(|since| now.saturating_duration_since(since));
        let has_proved = lasted.is_some_and(|length| length >= PROVED);
        self.spares.failures = if has_proved { 0 } else { self.spares.failures + 1 };
    }

    fn take_spare(&mut self) -> Option<Spare> {
        self.holding.custody_mut().follow(false);
        self.spares.current.take()
    }

    /// It is not needed, or would be in the way.
    fn end_spare(&mut self) {
        if let Some(spare) = self.take_spare() {
            self.let_go(spare.child);
        }
    }

    /// Kills a process that owns nothing.
    fn let_go(&mut self, child: Child) {
        child.signal(Signal::SIGKILL);
        self.await_exit(child);
    }

    /// The spare takes the place of the generation that has died. It may not be ready yet: then it is at least
    /// as far as a process that is started now.
    pub(super) fn recovery_by_spare(
        &mut self,
        words: HandoffWords,
        cause: Cause,
        left: &[Ticket],
        now: Instant,
    ) -> Option<Recovery> {
        let mut spare = self.take_spare()?;
        let number = number_of(spare.child.number).ok()?;
        let follows = spare.child.number == self.serving.number + 1;
        // Both may have been killed at once, and its end not have been reported.
        let lives = !spare.machine.is_ready() || holder(words.executor(number)).is_some();
        if !follows || !lives {
            self.let_go(spare.child);
            return None;
        }
        self.spares.failures = 0;
        spare.reconcile(left);
        spare.machine.go_on(PredecessorLimits {
            hello: HURRIED,
            transfer: HURRIED,
            ready: HURRIED,
            calm: HURRIED,
            take: HURRIED,
            ..limits()
        });
        let Spare { number, child, machine, tickets, .. } = spare;
        let (machine, cause) = (Some(machine), Some(cause));
        let deadline = now + super::recovery::PATIENCE;
        Some(Recovery { number, child, machine, tickets, words, cause, began: now, deadline })
    }

    pub(super) fn is_spare(&self, pid: Pid) -> bool {
        self.spares.child().is_some_and(|child| child.pid == pid)
    }

    pub(super) fn on_message_of_spare(&mut self, message: GenerationToKeeper) {
        let Some(spare) = &mut self.spares.current else { return };
        match message {
            GenerationToKeeper::Progress(_) => spare.warm = true,
            GenerationToKeeper::UpgradeFailed(said) => warn!("the spare fails: {}", said.reason),
            unexpected => warn!("the spare sent an unexpected message: {unexpected:?}"),
        }
    }

    pub(super) fn on_exit_of_spare(&mut self, ending: Ending) {
        let Some(spare) = self.take_spare() else { return };
        self.note_failure(&spare, Instant::now());
        let pause = self.spares.pause();
        warn!("generation {}, the spare, {ending}: another in {pause:?}", spare.child.number);
    }
}
