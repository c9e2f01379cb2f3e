//! The side that takes over.
//!
//! Before it owns the arena this side has nothing else to do, so it blocks, with a deadline at
//! every step. The order of calls is [`receive`](Successor::receive), [`take`](Successor::take),
//! [`watched`](Successor::watched), the server's first tick,
//! [`say_serving`](Predecessor::say_serving). Between OFFER and the take nothing grows with sockets or
//! data.

use std::time::Duration;

use crate::clock::{Clock, MonotonicClock, nanos};
use crate::error::{DescriptorLimitError, HandoffError, LinkError, Phase};
use crate::failpoint::here;
use crate::fence::{ExecutorLock, OtherProcess, holder};
use crate::held::{Held, News};
use crate::host::SuccessorHost;
use crate::link::{Link, Readiness, Received};
use crate::message::{
    Ack, Hello, Identity, Listeners, Message, Offer, PROTOCOL_MAX, PROTOCOL_MIN, PrecopyDone,
    Ready, Welcome,
};
use crate::owner::{Generation, OwnerWord};
use crate::predecessor::{Ends, Predecessor, PredecessorLimits, say_serving};
use crate::reason::{ended_by_peer, host_failed, last_word, unexpected, violation};
use crate::rlimit::{ensure_descriptor_limit, open_descriptors};

/// How long a successor waits at each step.
#[derive(Debug, Clone, Copy)]
pub struct SuccessorLimits {
    /// For WELCOME after HELLO.
    pub hello: Duration,
    /// For each message of the pre-copy after the one before.
    pub message: Duration,
    /// For OFFER after READY, news included.
    pub offer: Duration,
    /// For room to send a message in.
    pub send: Duration,
}

impl Default for SuccessorLimits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            message: Duration::from_secs(10),
            offer: Duration::from_secs(30),
            send: Duration::from_secs(1),
        }
    }
}

/// What was offered: the argument of [`Successor::take`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Generation that gives.
    pub from: Generation,
    /// Generation that this process will be.
    pub to: Generation,
    /// Sockets held.
    pub sockets: u32,
    /// `CLOCK_MONOTONIC` at the end of the predecessor's last command, in nanoseconds.
    pub last_command_ns: u64,
    /// What the predecessor's `quiesce` returned.
    pub payload: Vec<u8>,
    /// Who gives.
    pub predecessor: Identity,
}

/// The successor's end of a handoff.
pub struct Successor {
    link: Link,
    identity: Identity,
    limits: SuccessorLimits,
    clock: Box<dyn Clock>,
    held: Held,
}

impl Successor {
    /// Prepares the successor's side over its end of the link.
    #[must_use]
    pub fn new(link: Link, identity: Identity, limits: SuccessorLimits) -> Self {
        Self::with_clock(link, identity, limits, Box::new(MonotonicClock))
    }

    /// As [`new`](Self::new), with another clock.
    #[must_use]
    pub fn with_clock(
        link: Link,
        identity: Identity,
        limits: SuccessorLimits,
        clock: Box<dyn Clock>,
    ) -> Self {
        Self { link, identity, limits, clock, held: Held::default() }
    }

    /// Receives everything, up to the offer.
    ///
    /// # Errors
    /// A [`HandoffError`]; the predecessor has been told, as far as it could be, and the process
    /// should exit: it owns nothing.
    pub fn receive(&mut self, host: &mut dyn SuccessorHost) -> Result<Offered, HandoffError> {
        let result = self.receive_all(host);
        if let Err(reason) = &result {
            self.give_up(reason);
        }
        result
    }

    fn receive_all(&mut self, host: &mut dyn SuccessorHost) -> Result<Offered, HandoffError> {
        here("successor.start", &self.link);
        let welcome = self.greet(host)?;
        here("successor.hello", &self.link);
        let (from, to) = generations(&welcome)?;
        self.receive_arena(host)?;
        here("successor.arena", &self.link);
        let listeners = self.receive_listeners(host)?;
        here("successor.listeners", &self.link);
        self.receive_sockets(host, listeners)?;
        here("successor.sockets", &self.link);
        self.prepare(host, &welcome, to)?;
        here("successor.ready", &self.link);
        let offer = self.await_offer(host)?;
        here("successor.offer", &self.link);
        if (offer.from, offer.to) != (welcome.from, welcome.to) {
            return Err(violation(
                Phase::Offer,
                format!("it offers {} to {}, not {from} to {to}", offer.from, offer.to),
            ));
        }
        Ok(Offered {
            from,
            to,
            sockets: offer.set.count,
            last_command_ns: offer.last_command_ns,
            payload: offer.payload,
            predecessor: welcome.identity,
        })
    }

    /// Step 2: HELLO, WELCOME, and the descriptor budget.
    fn greet(&mut self, host: &mut dyn SuccessorHost) -> Result<Welcome, HandoffError> {
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            pid: std::process::id(),
            identity: self.identity.clone(),
        };
        self.send(Phase::Hello, &Message::Hello(hello))?;
        let received = self.next(Phase::Hello, self.limits.hello)?;
        let welcome = match received.message {
            Message::Welcome(welcome) if received.fds.is_empty() => welcome,
            other => return Err(unexpected(Phase::Hello, &other)),
        };
        if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&welcome.protocol) {
            return Err(violation(
                Phase::Hello,
                format!("it chose protocol {}, which was not on offer", welcome.protocol),
            ));
        }
        host.judge(&welcome, &self.identity).map_err(HandoffError::Refused)?;
        let open = open_descriptors().map_err(DescriptorLimitError::from)?;
        ensure_descriptor_limit(open.saturating_add(welcome.descriptors))?;
        // Clients that come later should find as much room as before, but what the hard limit
        // forbids costs connections that do not exist yet, so it is no reason to refuse.
        let _ = ensure_descriptor_limit(welcome.descriptor_limit);
        Ok(welcome)
    }

    fn receive_arena(&mut self, host: &mut dyn SuccessorHost) -> Result<(), HandoffError> {
        let received = self.next(Phase::Arena, self.limits.message)?;
        let Message::Arena(arena) = received.message else {
            return Err(unexpected(Phase::Arena, &received.message));
        };
        host.arena(&arena.payload, received.fds)
            .map_err(|error| host_failed(Phase::Arena, &error))?;
        self.acknowledge(Phase::Arena, arena.sequence)
    }

    /// Returns how many there are.
    fn receive_listeners(&mut self, host: &mut dyn SuccessorHost) -> Result<u32, HandoffError> {
        let Received { message, fds } = self.next(Phase::Listeners, self.limits.message)?;
        let Message::Listeners(Listeners { sequence, descriptions }) = message else {
            return Err(unexpected(Phase::Listeners, &message));
        };
        if descriptions.len() != fds.len() {
            return Err(violation(
                Phase::Listeners,
                format!("{} listeners with {} descriptors", descriptions.len(), fds.len()),
            ));
        }
        let count = u32::try_from(fds.len()).unwrap_or(u32::MAX);
        host.listeners(descriptions.into_iter().zip(fds).collect())
            .map_err(|error| host_failed(Phase::Listeners, &error))?;
        self.acknowledge(Phase::Listeners, sequence)?;
        Ok(count)
    }

    /// Step 3: batches until PRECOPY_DONE.
    fn receive_sockets(
        &mut self,
        host: &mut dyn SuccessorHost,
        listeners: u32,
    ) -> Result<(), HandoffError> {
        loop {
            let received = self.next(Phase::Sockets, self.limits.message)?;
            match self.take_news(host, Phase::Sockets, received)? {
                None => {}
                Some(Message::PrecopyDone(done)) => return self.compare(&done, listeners),
                Some(other) => return Err(unexpected(Phase::Sockets, &other)),
            }
        }
    }

    fn compare(&self, done: &PrecopyDone, listeners: u32) -> Result<(), HandoffError> {
        if done.listeners != listeners {
            return Err(violation(
                Phase::Sockets,
                format!("it sent {listeners} listeners and counts {}", done.listeners),
            ));
        }
        self.held.check(done.set)
    }

    /// SOCKETS and CLOSED are dealt with here; any other message is handed back.
    fn take_news(
        &mut self,
        host: &mut dyn SuccessorHost,
        phase: Phase,
        received: Received,
    ) -> Result<Option<Message>, HandoffError> {
        match self.held.take_news(host, phase, received)? {
            News::Other(message) => Ok(Some(message)),
            News::Taken(sequence) => {
                self.acknowledge(phase, sequence)?;
                Ok(None)
            }
        }
    }

    /// The server gets ready, then READY is said.
    fn prepare(
        &mut self,
        host: &mut dyn SuccessorHost,
        welcome: &Welcome,
        to: Generation,
    ) -> Result<(), HandoffError> {
        host.prepare(welcome).map_err(|error| host_failed(Phase::Prepare, &error))?;
        let lock = host.executor_lock().filter(|lock| lock.generation() == to);
        let registered = holder(host.executor_word(to));
        let executor_tid = match (lock.map(ExecutorLock::thread_id), registered) {
            (Some(tid), Some(word)) if tid == word => tid,
            _ => {
                let reason = format!("the executor lock of generation {to} was not acquired");
                return Err(HandoffError::Host { phase: Phase::Prepare, reason });
            }
        };
        let sockets = self.held.digest().count;
        self.send(Phase::Prepare, &Message::Ready(Ready { executor_tid, sockets }))
    }

    /// Steps 3 and 4: news, the last of them when the server is stopped already, then OFFER.
    fn await_offer(&mut self, host: &mut dyn SuccessorHost) -> Result<Offer, HandoffError> {
        let deadline = self.clock.now_ns().saturating_add(nanos(self.limits.offer));
        let mut idle_at = 0;
        loop {
            let received = self.next_or_idle(host, deadline, &mut idle_at)?;
            match self.take_news(host, Phase::Prepare, received)? {
                None => {}
                Some(Message::Offer(offer)) => {
                    self.held.check(offer.set)?;
                    return Ok(offer);
                }
                Some(other) => return Err(unexpected(Phase::Prepare, &other)),
            }
        }
    }

    /// The next message; until it comes, the server gets time for itself from `idle_at` on.
    fn next_or_idle(
        &mut self,
        host: &mut dyn SuccessorHost,
        deadline: u64,
        idle_at: &mut u64,
    ) -> Result<Received, HandoffError> {
        loop {
            if let Some(received) = self.received(Phase::Prepare)? {
                return Ok(received);
            }
            let now = self.clock.now_ns();
            if now >= *idle_at {
                let after = host.idle();
                *idle_at = after.map_or(u64::MAX, |after| now.saturating_add(nanos(after)));
            } else {
                let until = deadline.min(*idle_at);
                let woken =
                    self.wait(Phase::Prepare, Readiness::Readable, until, self.limits.offer);
                match woken {
                    Err(HandoffError::Deadline { .. }) if until < deadline => {}
                    other => other?,
                }
            }
        }
    }

    /// Takes the arena by the owner word. After it this process owns the arena: go on as
    /// [`watched`](Self::watched).
    ///
    /// # Errors
    /// [`HandoffError::Owner`] if the offer was withdrawn: exit, the predecessor serves on.
    pub fn take(
        &mut self,
        owner: OwnerWord<'_>,
        lock: &ExecutorLock<'_>,
        offered: &Offered,
    ) -> Result<(), HandoffError> {
        owner.take(offered.from, offered.to, lock)?;
        here("successor.taken", &self.link);
        Ok(())
    }

    /// After the take: what this side is from now on, watched by its predecessor, which is
    /// `process`. Run the first tick, then
    /// [say that this generation serves](Predecessor::say_serving).
    #[must_use]
    pub fn watched(
        self,
        process: Box<dyn OtherProcess>,
        offered: &Offered,
        limits: PredecessorLimits,
    ) -> Predecessor {
        let Self { link, identity, clock, held, .. } = self;
        let freeze_began_ns = offered.last_command_ns;
        Predecessor::watched(
            Ends { link, process, clock, identity, from: offered.to, to: offered.from },
            offered.predecessor.clone(),
            held.into_set(),
            limits,
            freeze_began_ns,
        )
    }

    /// After the take from a generation that has died, and the first tick: says so to the keeper, which
    /// gave in its place. Returns how long nobody served.
    ///
    /// # Errors
    /// A [`HandoffError`] if it cannot be said. This process owns the arena all the same.
    pub fn say_serving(
        self,
        offered: &Offered,
        connections: u32,
    ) -> Result<Duration, HandoffError> {
        let began_ns = offered.last_command_ns;
        say_serving(&self.link, &*self.clock, offered.to, began_ns, connections)
    }

    /// Tells the predecessor why this side stops, before the take. Best effort: if the message
    /// does not get through, the end of this process will.
    pub fn give_up(&mut self, reason: &HandoffError) {
        // The attempt has failed already; the predecessor learns the rest from end-of-file.
        let _ = self.link.send(&last_word(reason), &[]);
    }

    fn acknowledge(&mut self, phase: Phase, sequence: u64) -> Result<(), HandoffError> {
        self.send(phase, &Message::Ack(Ack { sequence }))
    }

    fn send(&mut self, phase: Phase, message: &Message) -> Result<(), HandoffError> {
        let deadline = self.clock.now_ns().saturating_add(nanos(self.limits.send));
        loop {
            match self.link.send(message, &[]) {
                Err(error) if error.would_block() => {
                    self.wait(phase, Readiness::Writable, deadline, self.limits.send)?;
                }
                Err(source) => return Err(self.explain(phase, source)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// The link is gone: if the predecessor has said why, that is the better reason.
    fn explain(&mut self, phase: Phase, source: LinkError) -> HandoffError {
        // Bounded, for a peer that never stops.
        for _ in 0..64 {
            let Ok(Some(received)) = self.link.receive() else { break };
            if let Some(reason) = ended_by_peer(&received.message) {
                return reason;
            }
        }
        HandoffError::Link { phase, source }
    }

    fn next(&mut self, phase: Phase, limit: Duration) -> Result<Received, HandoffError> {
        let deadline = self.clock.now_ns().saturating_add(nanos(limit));
        self.next_until(phase, deadline, limit)
    }

    fn next_until(
        &mut self,
        phase: Phase,
        deadline: u64,
        limit: Duration,
    ) -> Result<Received, HandoffError> {
        loop {
            match self.received(phase)? {
                Some(received) => return Ok(received),
                None => self.wait(phase, Readiness::Readable, deadline, limit)?,
            }
        }
    }

    /// A message that is there, unless it says that the other side has given up.
    fn received(&mut self, phase: Phase) -> Result<Option<Received>, HandoffError> {
        match self.link.receive() {
            Ok(Some(received)) => match ended_by_peer(&received.message) {
                Some(reason) => Err(reason),
                None => Ok(Some(received)),
            },
            Ok(None) => Ok(None),
            Err(source) => Err(HandoffError::Link { phase, source }),
        }
    }

    fn wait(
        &self,
        phase: Phase,
        readiness: Readiness,
        deadline: u64,
        limit: Duration,
    ) -> Result<(), HandoffError> {
        let left = deadline.saturating_sub(self.clock.now_ns());
        if left == 0 {
            return Err(HandoffError::Deadline { phase, limit });
        }
        self.link
            .wait(readiness, Duration::from_nanos(left))
            .map(|_| ())
            .map_err(|source| HandoffError::Link { phase, source })
    }
}

fn generations(welcome: &Welcome) -> Result<(Generation, Generation), HandoffError> {
    match (Generation::new(welcome.from), Generation::new(welcome.to)) {
        (Some(from), Some(to)) if from.next() == Some(to) => Ok((from, to)),
        _ => Err(violation(
            Phase::Hello,
            format!("{} to {} is no step of generations", welcome.from, welcome.to),
        )),
    }
}
