//! After a death: a new generation of the same binary gets what the keeper holds, by the steps of an
//! upgrade.
//!
//! `docs/recovery.md` has the steps, and why nothing is lost by them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use handoff::clock::{Clock, MonotonicClock};
use handoff::death::Cause;
use handoff::fence::{Fenced, ProcessHandle, Untouchable};
use handoff::host::{Status, Wake};
use handoff::keeper_channel::{
    self as channel, GenerationToKeeper, KeeperToGeneration, Phase, Serving,
};
use handoff::link::Link;
use handoff::message::Ticket;
use handoff::owner::{Generation, Owner, OwnerWord};
use handoff::predecessor::{Predecessor, PredecessorLimits};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::Keeper;
use super::child::Child;
use super::estate::{Estate, Tickets, tickets_by_slot};
use super::process::{self, Ending, pid_number};
use super::upgrading::{Step, Upgrade};
use crate::words::HandoffWords;

/// Deaths in a row after which the keeper gives up.
const MAX_DEATHS: u32 = 5;

/// The same for deaths in commands: each command that kills is stopped after two, but there may be many.
const MAX_DEATHS_IN_COMMANDS: u32 = 100;

/// A generation that has served for so long begins a new row: it did not die at once.
const WELL_AFTER: Duration = Duration::from_millis(250);

/// How long a new generation may take until it serves: what the one before left unfinished may be long.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// For an offer to be taken.
const TAKE: Duration = Duration::from_secs(5);

/// Deaths of generations that served, or were to.
#[derive(Debug, Default)]
pub struct Deaths {
    /// Since one has served for a while, those in commands apart.
    in_a_row: u32,
    /// Since one has served for a while, in commands.
    in_commands: u32,
    /// Of what the last one died.
    cause: Option<Cause>,
    /// Since when the present one serves, or is to; `None` if it is the first.
    serving_since: Option<Instant>,
    /// It has served.
    served: bool,
    /// It has taken up what the one before had left: a command that is in flight is one that it ran.
    recovered: bool,
    /// A process that had served, was counted, and has not been reaped.
    unexplained: Option<Pid>,
}

impl Deaths {
    /// A generation serves from now on.
    pub fn begun(&mut self, now: Instant) {
        (self.serving_since, self.served, self.recovered) = (Some(now), true, true);
    }

    /// Of what the generation has died that will be counted next.
    pub fn note(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// One more, in a command perhaps. One that has served and is killed from outside ends a row, however
    /// short it has served.
    ///
    /// # Errors
    /// If there are too many in a row.
    fn count(
        &mut self,
        pid: Pid,
        cause: Cause,
        in_command: bool,
        now: Instant,
    ) -> Result<(), String> {
        let served_for = self.serving_since.map(|since| now - since);
        self.serving_since = Some(now);
        if served_for.is_none_or(|length| length >= WELL_AFTER) {
            (self.in_a_row, self.in_commands) = (0, 0);
        }
        if in_command && cause.is_own() {
            self.in_commands += 1;
        } else if self.served && cause.is_from_outside() {
            // It could be started, and would have gone on.
            self.in_a_row = 0;
        } else {
            self.in_a_row += 1;
        }
        self.unexplained = (self.served && cause == Cause::Unknown).then_some(pid);
        (self.served, self.recovered) = (false, false);
        if self.in_a_row > MAX_DEATHS || self.in_commands > MAX_DEATHS_IN_COMMANDS {
            let count = (self.in_a_row + self.in_commands).saturating_sub(1);
            return Err(format!(
                "{count} generations have died one after the other, none after {WELL_AFTER:?}"
            ));
        }
        Ok(())
    }

    /// A process has been reaped: how it ended may change what its death counts for.
    pub fn explain(&mut self, pid: Pid, ending: Ending) {
        if self.unexplained == Some(pid) {
            self.unexplained = None;
            // The first fatal signal counts: the keeper's own came later.
            let from_outside = ending == Ending::Signal(Signal::SIGKILL);
            self.in_a_row -= u32::from(from_outside && self.in_a_row > 0);
        }
    }
}

/// A generation that is to serve in place of one that has died.
pub struct Recovery {
    /// Every message about it names this number.
    pub number: u64,
    /// The process.
    pub child: Child,
    /// The predecessor's part; `None` when it is played.
    pub machine: Option<Predecessor>,
    /// What the dead one has left.
    pub tickets: Tickets,
    /// The words of its arena.
    pub words: HandoffWords,
    /// Of what it has died, if the process has not been told.
    pub cause: Option<Cause>,
    /// When the death was noticed.
    pub began: Instant,
    /// When it is killed, unless it serves.
    pub deadline: Instant,
}

impl Recovery {
    /// What is to be polled.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        watched(&self.child, self.machine.as_ref())
    }

    /// When the keeper must look at it, whatever else happens.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        let machine = self.machine.as_ref().map(|machine| wake(machine, now));
        machine.map_or(self.deadline, |at| at.min(self.deadline))
    }
}

/// How long a new generation may take at each step, but for the offer.
pub(super) fn limits() -> PredecessorLimits {
    PredecessorLimits { serving: PATIENCE, ..PredecessorLimits::default() }
}

/// What is to be polled of a process to which the keeper plays the predecessor.
pub(super) fn watched<'a>(
    child: &'a Child,
    machine: Option<&'a Predecessor>,
) -> impl Iterator<Item = PollFd<'a>> {
    let link = machine.map(Predecessor::as_fd);
    let both = [child.channel(), link].into_iter().flatten();
    both.map(|fd| PollFd::new(fd, PollFlags::POLLIN))
}

/// When a machine wants to be called.
pub(super) fn wake(machine: &Predecessor, now: Instant) -> Instant {
    match machine.wake() {
        Wake::Now => now,
        Wake::Link { deadline_ns } => {
            let left = Duration::from_nanos(deadline_ns.saturating_sub(MonotonicClock.now_ns()));
            now + left.min(PATIENCE)
        }
    }
}

impl Keeper {
    /// Whether it is not clear yet who owns the arena: a successor that it was offered to is being killed,
    /// and its end will be reported.
    pub(super) fn owner_is_open(&mut self) -> bool {
        let ending = matches!(self.upgrade, Some(Upgrade { step: Step::Ending { .. }, .. }));
        let owner = |words: HandoffWords| OwnerWord::new(words.owner()).read();
        ending
            && self.holding.words().is_ok_and(|words| {
                !matches!(owner(words), Ok(Owner::Serving(it)) if u64::from(it.get()) == self.serving.number)
            })
    }

    /// Starts a generation in place of the one that has died. On an error nobody will serve.
    pub(super) fn begin_recovery(&mut self, ending: Ending) -> Result<(), String> {
        let now = Instant::now();
        self.holding.receive();
        let words = self.holding.words()?;
        let cause = self.deaths.cause.take().unwrap_or(Cause::Unknown);
        let in_command = self.deaths.recovered && words.runs_command();
        self.deaths.count(self.serving.pid, cause, in_command, now)?;
        let dead = self.serving.number;
        let from = number_of(dead)?;
        self.regain(words, from)?;
        let tickets = self.holding.custody().tickets();
        self.holding.custody_mut().keep_only(&tickets);
        let how = match ending {
            Ending::Executor => format!("has died ({cause})"),
            ending => ending.to_string(),
        };
        let (next, connections) = (dead + 1, tickets.len());
        if let Some(recovery) = self.recovery_by_spare(words, cause, &tickets, now) {
            error!(
                "generation {dead} {how}: generation {next} takes its place, with {connections} connections"
            );
            self.recovery = Some(recovery);
        } else {
            error!(
                "generation {dead} {how}: starting generation {next} on its arena, with {connections} connections"
            );
            self.recovery = Some(self.recovery_by_start(words, from, cause, &tickets, now)?);
        }
        Ok(())
    }

    /// Starts a process that takes the place of the generation that has died.
    fn recovery_by_start(
        &mut self,
        words: HandoffWords,
        from: Generation,
        cause: Cause,
        left: &[Ticket],
        now: Instant,
    ) -> Result<Recovery, String> {
        let number = self.number();
        let binary = self.serving.binary.clone();
        let (pid, end) = process::spawn_generation(&binary).map_err(|error| error.to_string())?;
        let child = Child::new(pid, self.serving.number + 1, end, binary);
        let recover = channel::Recover {
            recovery: number,
            generation: child.number,
            keeper_pid: std::process::id(),
            cause,
            deadline_ms: PATIENCE.as_millis() as u64,
            settings: self.settings_json.clone(),
        };
        let limits = PredecessorLimits { take: TAKE, ..limits() };
        // It may have died already. Its end will be reported, and counts.
        let introduced = self.introduce(&child, from, recover, limits).inspect_err(|reason| {
            warn!("generation {} cannot be told what to be: {reason}", child.number);
            child.signal(Signal::SIGKILL);
        });
        let (machine, tickets, deadline) = (introduced.ok(), tickets_by_slot(left), now + PATIENCE);
        Ok(Recovery { number, child, machine, tickets, words, cause: None, began: now, deadline })
    }

    /// Makes the dead generation the owner of its arena, whatever it was about to hand over when it
    /// died, and whoever has died since in taking it up.
    fn regain(&self, words: HandoffWords, from: Generation) -> Result<(), String> {
        let owner = OwnerWord::new(words.owner());
        let proof = |generation: Generation| {
            let word = words.executor(generation);
            let by_exit = || Fenced::by_exit(&Untouchable::Reaped, word, generation);
            let gone = !self.is_alive(u64::from(generation.get()));
            Fenced::observe(word, generation).or_else(|| gone.then(by_exit).flatten())
        };
        let named = match owner.read().map_err(|error| error.to_string())? {
            Owner::Nobody => return Err("it had not begun to serve".into()),
            Owner::Serving(generation) => [Some(generation), None],
            Owner::Offered { from, to } => [Some(from), Some(to)],
        };
        let proofs: Vec<Fenced> = named.into_iter().flatten().filter_map(proof).collect();
        let proofs: Vec<&Fenced> = proofs.iter().collect();
        owner.retake_after_fence(&proofs, from).map(drop).map_err(|error| error.to_string())
    }

    /// Whether a child that has not been reaped is, or was to be, the generation of that number.
    fn is_alive(&self, number: u64) -> bool {
        let successor = self.upgrade.as_ref().map(|_| self.serving.number + 1);
        self.generations().map(|child| child.number).chain(successor).any(|it| it == number)
    }

    /// Tells a new generation what it is to be, and begins to play the predecessor to it.
    pub(super) fn introduce(
        &mut self,
        child: &Child,
        from: Generation,
        first: impl Into<KeeperToGeneration>,
        limits: PredecessorLimits,
    ) -> Result<Predecessor, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let (ours, theirs) = Link::pair().map_err(|error| text(&error))?;
        let holding = self.holding.open(child.number)?;
        child
            .begin(first, Some(theirs.as_fd()), Some(holding.as_fd()))
            .map_err(|error| text(&error))?;
        let link = Link::new(ours).map_err(|error| text(&error))?;
        let process = ProcessHandle::open(pid_number(child.pid)).map_err(|error| text(&error))?;
        let identity = self.serving.profile.identity();
        Predecessor::new(link, Box::new(process), from, identity, limits)
            .map_err(|error| text(&error))
    }

    /// Plays the predecessor's part on.
    pub(super) fn drive_recovery(&mut self, now: Instant) {
        let Some(recovery) = &mut self.recovery else { return };
        if now >= recovery.deadline {
            warn!("generation {} does not come to serve: killed", recovery.child.number);
            recovery.deadline = now + PATIENCE;
            recovery.child.signal(Signal::SIGKILL);
        }
        let Some(machine) = &mut recovery.machine else { return };
        let (tickets, words, cause) = (&recovery.tickets, recovery.words, recovery.cause);
        let mut estate = Estate { custody: self.holding.custody(), tickets, words, cause };
        let mut status = machine.step(&mut estate);
        if matches!(status, Status::WantFreeze) {
            status = machine.freeze(&mut estate);
            // It is ready, so it holds its lock.
            if let Ok(generation) = number_of(recovery.child.number) {
                self.watcher.watch(words, generation, recovery.child.pid);
            }
        }
        match status {
            Status::Continue | Status::WantFreeze | Status::Frozen => {}
            // It tells the keeper itself.
            Status::Served(_) | Status::Released => recovery.machine = None,
            Status::Failed(failure) => {
                warn!("generation {}: {}", recovery.child.number, failure.reason);
                recovery.machine = None;
                // It may have gone already; what it owns then is regained.
                recovery.child.signal(Signal::SIGKILL);
            }
        }
    }

    pub(super) fn is_recovering(&self, pid: Pid) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.child.pid == pid)
    }

    pub(super) fn on_message_of_recovering(&mut self, message: GenerationToKeeper) {
        match message {
            GenerationToKeeper::Progress(said) => {
                // A spare may have said how warm it was just before.
                self.deaths.recovered |= said.phase == Phase::Serve;
            }
            GenerationToKeeper::Serving(said) => self.on_recovered(said),
            GenerationToKeeper::UpgradeFailed(said) => warn!("recovery failed: {}", said.reason),
            unexpected => warn!("the new generation sent an unexpected message: {unexpected:?}"),
        }
    }

    fn on_recovered(&mut self, said: Serving) {
        if self.recovery.as_ref().is_none_or(|recovery| recovery.number != said.upgrade) {
            return;
        }
        let Some(Recovery { mut child, began, .. }) = self.recovery.take() else { return };
        warn!(
            "generation {} serves {} connections: nobody did for {} us, {} of them until the death was noticed",
            child.number,
            said.connections,
            said.freeze_us,
            said.freeze_us.saturating_sub(began.elapsed().as_micros() as u64)
        );
        child.profile = said.into();
        let dead = std::mem::replace(&mut self.serving, child);
        if self.lost.take() == Some(Ending::Executor) {
            // It will be reaped when the kernel has taken its memory apart.
            self.await_exit(dead);
        }
        self.deaths.begun(Instant::now());
        self.on_parting();
        self.send_shutdown();
    }

    /// The new generation has died before it served.
    pub(super) fn on_exit_in_recovery(&mut self, ending: Ending) {
        let Some(recovery) = self.recovery.take() else { return };
        info!("generation {} {ending} before it served", recovery.child.number);
        self.deaths.note(recovery.child.cause(ending));
        if ending == Ending::Executor {
            // It will be reaped when the kernel has taken its memory apart.
            self.await_exit(recovery.child);
        }
        self.on_loss(self.lost.unwrap_or(ending));
    }
}

pub(super) fn number_of(generation: u64) -> Result<Generation, String> {
    u32::try_from(generation)
        .ok()
        .and_then(Generation::new)
        .ok_or_else(|| format!("{generation} is no number of a generation"))
}
