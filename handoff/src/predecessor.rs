//! The side that gives: a machine driven by the event loop of a server that goes on serving.
//!
//! [`step`](Predecessor::step) never blocks and does a bounded slice of work. Every step of the
//! protocol is one function; every failure goes through one function, `abort`, which lets the
//! owner word decide what has to be done.

mod holding;
mod ownership;
mod telling;
mod transfer;
mod watched;
mod window;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::clock::{Clock, MonotonicClock, nanos};
use crate::death::Cause;
use crate::error::{HandoffError, LinkError, Phase};
use crate::failpoint::here;
use crate::fds::MAX_FDS_PER_MESSAGE;
use crate::fence::OtherProcess;
use crate::host::{Failure, PredecessorHost, Progress, Recovery, Status, Summary, Wake};
use crate::link::{Link, Received};
use crate::message::{
    Hello, Identity, Message, PROTOCOL_MAX, PROTOCOL_MIN, Ready, Serving, Ticket, Welcome,
};
use crate::owner::Generation;
use crate::reason::{ended_by_peer, unexpected, violation};
use crate::rlimit::{DESCRIPTOR_RESERVE, descriptor_limit};
use crate::sockets::Ledger;
use window::Window;

pub(crate) use ownership::{kill, say_serving, wait_for_death};

/// Messages taken from the link in one step.
const MESSAGES_PER_STEP: usize = 32;
/// When sending did not go and no acknowledgement is due that would say when it will.
const RETRY: Duration = Duration::from_millis(5);

/// How long a predecessor waits at each step, and how much it does at once.
#[derive(Debug, Clone, Copy)]
pub struct PredecessorLimits {
    /// For HELLO, from the start: the successor has to be loaded and to start.
    pub hello: Duration,
    /// For the arena, the listeners and every socket to be sent once.
    pub transfer: Duration,
    /// For READY after that: the successor pre-faults the arena, 60 to 190 ms per GiB.
    pub ready: Duration,
    /// For the news to become few enough to freeze, after READY.
    pub calm: Duration,
    /// For the offer to be taken. Nobody is served meanwhile.
    pub take: Duration,
    /// For SERVING once it has been taken. Nobody may be served meanwhile.
    pub serving: Duration,
    /// Time that one call of `step` spends on sending, checked after each batch.
    pub slice: Duration,
    /// Batches that one call of `step` sends at most.
    pub slice_batches: u32,
    /// News (sockets and notices of closing, sent or not) that may be left for the freeze.
    pub freeze_news: usize,
}

impl Default for PredecessorLimits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            transfer: Duration::from_secs(20),
            ready: Duration::from_secs(30),
            calm: Duration::from_secs(10),
            take: Duration::from_millis(100),
            serving: Duration::from_secs(2),
            slice: Duration::from_micros(250),
            slice_batches: 2,
            freeze_news: 64,
        }
    }
}

/// What the machine is waiting for.
#[derive(Debug)]
enum State {
    /// HELLO.
    AwaitHello,
    /// The arena has to be sent.
    SendArena,
    /// The listeners have to be sent.
    SendListeners,
    /// The sockets have to be sent.
    SendSockets,
    /// READY, then few enough news; news goes on being sent.
    Prepare { ready: Option<Ready> },
    /// Offered: for the successor to take.
    Offered,
    /// Taken: for SERVING.
    Taken,
    /// For the kernel to say that the successor's executor is gone.
    Fencing { reason: HandoffError, phase: Phase },
    /// This generation serves, and the one before it stands by: news of sockets goes on being sent,
    /// until it leaves or [is given the arena back](Predecessor::give_back).
    Watched,
    /// The attempt is over, and this is what it meant.
    Over(Recovery),
}

/// What a machine works with: its end of the link, the process at the other end, and who gives to
/// whom.
pub(crate) struct Ends {
    pub(crate) link: Link,
    pub(crate) process: Box<dyn OtherProcess>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) identity: Identity,
    pub(crate) from: Generation,
    pub(crate) to: Generation,
}

/// One attempt to hand over. A new one is made for the next attempt, whatever came of this one.
pub struct Predecessor {
    link: Link,
    process: Box<dyn OtherProcess>,
    clock: Box<dyn Clock>,
    limits: PredecessorLimits,
    identity: Identity,
    from: Generation,
    to: Generation,
    successor: Identity,
    state: State,
    ledger: Ledger,
    window: Window,
    listeners: u32,
    expected: u32,
    started_ns: u64,
    /// End of the present wait, and its length for the report.
    deadline_ns: u64,
    limit: Duration,
    wake: Wake,
    /// The last step left messages unread, of which an edge-triggered poll will not tell again.
    unread: bool,
    /// The other end is the keeper, which only listens: nothing is ever given to it.
    telling: bool,
    /// The successor is to wait once it is ready; see [`hold`](Self::hold).
    held: bool,
    /// Of what the successor died that had taken the arena.
    cause: Cause,
}

impl Predecessor {
    /// Begins an attempt over this end of the link. `generation` is the one that serves now,
    /// `process` the one that holds the other end.
    ///
    /// # Errors
    /// [`HandoffError::Cancelled`] if there is no further generation, [`HandoffError::Descriptors`]
    /// if the limit cannot be read.
    pub fn new(
        link: Link,
        process: Box<dyn OtherProcess>,
        generation: Generation,
        identity: Identity,
        limits: PredecessorLimits,
    ) -> Result<Self, HandoffError> {
        Self::with_clock(link, process, generation, identity, limits, Box::new(MonotonicClock))
    }

    /// As [`new`](Self::new), with another clock.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clock(
        link: Link,
        process: Box<dyn OtherProcess>,
        generation: Generation,
        identity: Identity,
        limits: PredecessorLimits,
        clock: Box<dyn Clock>,
    ) -> Result<Self, HandoffError> {
        let to = generation
            .next()
            .ok_or_else(|| HandoffError::Cancelled("this is the last generation".into()))?;
        let allowed = descriptor_limit().map_err(crate::error::DescriptorLimitError::from)?;
        let ends = Ends { link, process, clock, identity, from: generation, to };
        let window = Window::new(allowed);
        Ok(Self::in_state(ends, State::AwaitHello, limits.hello, Ledger::new(0), window, limits))
    }

    fn in_state(
        ends: Ends,
        state: State,
        limit: Duration,
        ledger: Ledger,
        window: Window,
        limits: PredecessorLimits,
    ) -> Self {
        let Ends { link, process, clock, identity, from, to } = ends;
        let started_ns = clock.now_ns();
        let deadline_ns = started_ns.saturating_add(nanos(limit));
        Self {
            link,
            process,
            clock,
            limits,
            identity,
            from,
            to,
            successor: Identity::default(),
            state,
            ledger,
            window,
            listeners: 0,
            expected: 0,
            started_ns,
            deadline_ns,
            limit,
            wake: Wake::Link { deadline_ns },
            unread: false,
            telling: false,
            held: false,
            cause: Cause::Unknown,
        }
    }

    /// A connection was accepted while this attempt runs. To be told at once.
    pub fn accepted(&mut self, ticket: Ticket) {
        self.ledger.accepted(ticket);
    }

    /// A connection was closed, after its `shutdown`, while this attempt runs. To be told at once.
    pub fn closed(&mut self, ticket: Ticket) {
        self.ledger.closed(ticket);
    }

    /// When [`step`](Self::step) is to be called again, besides whenever the link is ready.
    #[must_use]
    pub fn wake(&self) -> Wake {
        if self.unread { Wake::Now } else { self.wake }
    }

    /// After [`Recovery::RecoverAndResume`]: of what the successor has died.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Who the successor is; empty before HELLO.
    #[must_use]
    pub fn successor(&self) -> &Identity {
        &self.successor
    }

    /// How far the attempt has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            phase: self.phase(),
            sockets_sent: self.ledger.sockets_sent(),
            sockets_expected: self.expected,
        }
    }

    /// Does what there is to do now, at most a slice of it.
    pub fn step(&mut self, host: &mut dyn PredecessorHost) -> Status {
        if let State::Over(recovery) = self.state {
            return over_already(recovery);
        }
        if matches!(self.state, State::Fencing { .. }) {
            return self.continue_fence(host);
        }
        let status = match self.receive(host) {
            Ok(Some(status)) => return status,
            Ok(None) => self.advance(host),
            Err(reason) => Err(reason),
        };
        status.unwrap_or_else(|reason| self.abort(host, reason))
    }

    /// Calls the attempt off, unless the successor has already taken: then it is waited for as
    /// before.
    pub fn cancel(&mut self, host: &mut dyn PredecessorHost, why: &str) -> Status {
        match self.state {
            State::Over(recovery) => over_already(recovery),
            State::Fencing { .. } | State::Taken => Status::Frozen,
            State::Offered => match self.withdraw(host) {
                Ok(true) => self.abort(host, HandoffError::Cancelled(why.into())),
                Ok(false) => Status::Frozen,
                Err(reason) => self.abort(host, reason),
            },
            _ => self.abort(host, HandoffError::Cancelled(why.into())),
        }
    }

    fn receive(&mut self, host: &mut dyn PredecessorHost) -> Result<Option<Status>, HandoffError> {
        self.unread = false;
        for _ in 0..MESSAGES_PER_STEP {
            let received = match self.link.receive() {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(None),
                Err(source) => return Err(self.link_failed(source)),
            };
            if let Some(status) = self.on_message(host, received)? {
                return Ok(Some(status));
            }
        }
        self.unread = true;
        Ok(None)
    }

    fn on_message(
        &mut self,
        host: &mut dyn PredecessorHost,
        Received { message, fds }: Received,
    ) -> Result<Option<Status>, HandoffError> {
        if let Some(reason) = ended_by_peer(&message) {
            return Err(reason);
        }
        let phase = self.phase();
        if !fds.is_empty() {
            return Err(unexpected(phase, &message));
        }
        match (&mut self.state, message) {
            (State::AwaitHello, Message::Hello(hello)) => self.on_hello(host, hello)?,
            (State::AwaitHello, other) => return Err(unexpected(phase, &other)),
            (_, Message::Ack(ack)) => {
                if !self.window.acknowledge(ack.sequence) {
                    let what = format!("it acknowledges number {}, never sent", ack.sequence);
                    return Err(violation(phase, what));
                }
            }
            (State::Prepare { ready: slot @ None }, Message::Ready(ready)) => {
                *slot = Some(ready);
                self.wait_for(if self.held { Duration::MAX } else { self.limits.calm });
            }
            (State::Offered | State::Taken, Message::Serving(serving)) => {
                return self.on_serving(host, &serving).map(Some);
            }
            (State::Watched, Message::Goodbye(_)) => {
                self.finish(Recovery::Resume);
                return Ok(Some(Status::Released));
            }
            (_, other) => return Err(unexpected(phase, &other)),
        }
        Ok(None)
    }

    /// Step 2: the successor has started. Judges it, and welcomes it.
    fn on_hello(
        &mut self,
        host: &mut dyn PredecessorHost,
        hello: Hello,
    ) -> Result<(), HandoffError> {
        let protocol = hello.protocol_max.min(PROTOCOL_MAX);
        if protocol < hello.protocol_min.max(PROTOCOL_MIN) {
            return Err(HandoffError::Protocol {
                theirs_min: hello.protocol_min,
                theirs_max: hello.protocol_max,
                ours_min: PROTOCOL_MIN,
                ours_max: PROTOCOL_MAX,
            });
        }
        if hello.pid != self.process.pid() {
            let what = format!("process {} speaks, {} was started", hello.pid, self.process.pid());
            return Err(violation(Phase::Hello, what));
        }
        host.judge(&hello, &self.identity).map_err(HandoffError::Refused)?;
        self.expected = host.connections();
        self.ledger = Ledger::new(self.expected as usize);
        let descriptors =
            u64::from(self.expected) + MAX_FDS_PER_MESSAGE as u64 + DESCRIPTOR_RESERVE;
        let welcome = Welcome {
            protocol,
            from: self.from.get(),
            to: self.to.get(),
            pid: std::process::id(),
            identity: self.identity.clone(),
            descriptors,
            descriptor_limit: descriptor_limit()
                .map_err(crate::error::DescriptorLimitError::from)?,
        };
        self.link
            .send(&Message::Welcome(welcome), &[])
            .map_err(|source| self.link_failed(source))?;
        here("predecessor.hello", &self.link);
        self.successor = hello.identity;
        self.enter(State::SendArena, self.limits.transfer);
        Ok(())
    }

    /// Step 5: the successor has ended its first tick.
    fn on_serving(
        &mut self,
        host: &mut dyn PredecessorHost,
        serving: &Serving,
    ) -> Result<Status, HandoffError> {
        self.confirm_taken(host, serving)?;
        let summary = Summary {
            from: self.from,
            to: self.to,
            successor: self.successor.clone(),
            successor_pid: self.process.pid(),
            connections: serving.connections,
            freeze: Duration::from_nanos(serving.freeze_ns),
            total: Duration::from_nanos(self.clock.now_ns().saturating_sub(self.started_ns)),
        };
        self.finish(Recovery::Exit);
        Ok(Status::Served(summary))
    }

    /// What the state asks for when no message has changed it.
    fn advance(&mut self, host: &mut dyn PredecessorHost) -> Result<Status, HandoffError> {
        if self.clock.now_ns() >= self.deadline_ns {
            return self.deadline_passed(host);
        }
        self.wake = Wake::Link { deadline_ns: self.deadline_ns };
        match self.state {
            State::AwaitHello => {}
            State::SendArena => self.send_arena(host)?,
            State::SendListeners => self.send_listeners(host)?,
            State::SendSockets | State::Prepare { .. } => {
                if self.wants_freeze() && !self.held {
                    self.wake = Wake::Now;
                    return Ok(Status::WantFreeze);
                }
                self.send_slice(host)?;
            }
            State::Watched => {
                self.pass("successor.watched");
                self.send_slice(host)?;
            }
            State::Offered | State::Taken => return Ok(Status::Frozen),
            State::Fencing { .. } | State::Over(_) => {}
        }
        Ok(Status::Continue)
    }

    fn deadline_passed(&mut self, host: &mut dyn PredecessorHost) -> Result<Status, HandoffError> {
        if matches!(self.state, State::Offered) && !self.withdraw(host)? {
            // It was faster. From here on the word is its own; SERVING is due.
            return Ok(Status::Frozen);
        }
        Err(HandoffError::Deadline { phase: self.phase(), limit: self.limit })
    }

    fn enter(&mut self, state: State, limit: Duration) {
        self.state = state;
        self.wait_for(limit);
    }

    fn wait_for(&mut self, limit: Duration) {
        self.limit = limit;
        self.deadline_ns = self.clock.now_ns().saturating_add(nanos(limit));
        self.wake = Wake::Link { deadline_ns: self.deadline_ns };
    }

    fn finish(&mut self, recovery: Recovery) {
        self.state = State::Over(recovery);
        self.unread = false;
        self.wake = Wake::Link { deadline_ns: u64::MAX };
    }

    /// If the other side has said why it left, that is the better reason.
    fn link_failed(&mut self, source: LinkError) -> HandoffError {
        for _ in 0..MESSAGES_PER_STEP {
            let Ok(Some(received)) = self.link.receive() else { break };
            if let Some(reason) = ended_by_peer(&received.message) {
                return reason;
            }
        }
        HandoffError::Link { phase: self.phase(), source }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::AwaitHello => Phase::Hello,
            State::SendArena => Phase::Arena,
            State::SendListeners => Phase::Listeners,
            State::SendSockets => Phase::Sockets,
            State::Prepare { .. } => Phase::Prepare,
            State::Offered => Phase::Offer,
            State::Taken => Phase::Serve,
            State::Fencing { .. } => Phase::Fence,
            State::Watched if self.telling => Phase::Custody,
            State::Watched => Phase::Probation,
            State::Over(_) => Phase::Over,
        }
    }
}

impl AsFd for Predecessor {
    /// The link, to be registered with the server's poll for reading and writing.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

fn over_already(recovery: Recovery) -> Status {
    let reason = HandoffError::Cancelled("the attempt was over before this call".into());
    Status::Failed(Failure { reason, recovery, phase: Phase::Over })
}
