//! Step 6 as the predecessor sees it: it stands by, stopped, holding everything, and takes the
//! arena back if its successor dies, hangs, or gives it back.
//!
//! `docs/handoff.md`, "Probation", has the table of what is seen and what is done.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::clock::Clock;
use crate::death::Cause;
use crate::error::{HandoffError, Phase};
use crate::failpoint::here;
use crate::fence::{ExecutorLock, Fenced, OtherProcess, is_dead};
use crate::held::{Held, News};
use crate::host::{SharedWords, SocketHolder};
use crate::link::{Link, Received};
use crate::message::{Goodbye, Message, Offer};
use crate::owner::{Generation, Owner, OwnerWord};
use crate::predecessor::{Ends, kill, say_serving, wait_for_death};
use crate::reason::{ended_by_peer, unexpected};
use crate::sockets::TicketSet;

/// Messages taken from the link in one step.
const MESSAGES_PER_STEP: usize = 256;

/// A successor that has ticked within this time is well enough to be left alone. It ticks every 100 ms while
/// it is watched; who waits for longer than that only waits.
const WELL: Duration = Duration::from_millis(250);

/// What the standing-by machine needs of its server.
pub trait StandbyHost: SharedWords + SocketHolder {
    /// When the successor ended its last tick: `CLOCK_MONOTONIC` in nanoseconds, from a word that
    /// both share.
    fn ticked_ns(&self) -> u64;

    /// The executor lock of this generation, held all the time.
    fn executor_lock(&self) -> &ExecutorLock<'_>;
}

/// Whoever is to look every few milliseconds and does not for so long was stopped.
const STOPPED: Duration = Duration::from_millis(400);

/// What a server that stands by has to do next.
#[derive(Debug)]
pub enum Stand {
    /// Go on; call [`step`](Standby::step) every few milliseconds, and when the link is readable.
    By,
    /// The successor has given the arena back, and it is this generation's: take up what it left,
    /// run a tick, and [say that this generation serves](Standby::say_serving).
    Given,
    /// The successor was fenced, and the arena is this generation's: roll back what it left
    /// unfinished, take up the rest and serve on.
    Fenced(String),
    /// There is nothing more to hold: exit without touching anything.
    Leave(String),
}

#[derive(Debug)]
enum State {
    /// The successor serves.
    Watching,
    /// It is being killed.
    Fencing { reason: String },
    /// The arena is this generation's again.
    Given { last_command_ns: u64 },
}

/// A predecessor that stands by. Made by [`Predecessor::stand_by`](crate::predecessor::Predecessor::stand_by).
pub struct Standby {
    link: Link,
    process: Box<dyn OtherProcess>,
    clock: Box<dyn Clock>,
    /// The successor.
    serving: Generation,
    /// This generation.
    own: Generation,
    held: Held,
    state: State,
    began_ns: u64,
    /// When it last looked.
    looked_ns: u64,
    hang: Option<Duration>,
    /// Of what the successor has died; `None` as long as it lives, or if it was to be killed.
    cause: Option<Cause>,
}

impl Standby {
    pub(crate) fn new(ends: Ends, held: TicketSet) -> Self {
        let Ends { link, process, clock, from, to, .. } = ends;
        let began_ns = clock.now_ns();
        let held = Held::new(held);
        let state = State::Watching;
        let (hang, cause) = (None, None);
        Self {
            link,
            process,
            clock,
            serving: from,
            own: to,
            held,
            state,
            began_ns,
            looked_ns: began_ns,
            hang,
            cause,
        }
    }

    /// From now on a successor that has not ticked for so long counts as hung.
    pub fn set_hang(&mut self, hang: Duration) {
        self.hang = Some(hang);
    }

    /// Looks at everything once. Blocks for at most 10 ms, and only while it fences.
    pub fn step(&mut self, host: &mut dyn StandbyHost) -> Stand {
        here("predecessor.standby", &self.link);
        if matches!(self.state, State::Fencing { .. }) {
            return self.continue_fence(host);
        }
        if self.is_gone(host) {
            return self.after_death(host);
        }
        match self.receive(host) {
            Ok(Some(stand)) => return stand,
            Ok(None) => {}
            // The end of the link comes behind the death of its owner: look once more.
            Err(_) if self.is_gone(host) => return self.after_death(host),
            Err(reason) => {
                return Stand::Leave(format!("sockets are not mirrored any more: {reason}"));
            }
        }
        self.forgive_a_stop();
        let still = self.still(host);
        match self.hang {
            Some(hang) if still >= hang => {
                let reason = format!("the successor hangs: no tick for {} ms", still.as_millis());
                self.cause = Some(Cause::Hang);
                self.fence(host, reason)
            }
            _ => Stand::By,
        }
    }

    /// Whether the successor has been at work lately, so that it can be left alone.
    #[must_use]
    pub fn is_well(&self, host: &dyn StandbyHost) -> bool {
        matches!(self.state, State::Watching) && !self.is_gone(host) && self.still(host) < WELL
    }

    /// Kills the successor and takes the arena back, for that reason. Go on with what comes of it as
    /// after [`step`](Self::step).
    pub fn take_back(&mut self, host: &mut dyn StandbyHost, reason: &str) -> Stand {
        match self.state {
            State::Watching => self.fence(host, reason.into()),
            State::Fencing { .. } | State::Given { .. } => Stand::By,
        }
    }

    /// After [`Stand::Fenced`]: of what the successor has died, unless it was [to be](Self::take_back)
    /// killed.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Tells the successor that nobody stands by any more. Best effort: the end of the link says the
    /// same.
    pub fn say_goodbye(self) {
        let goodbye = Message::Goodbye(Goodbye { generation: self.own.get() });
        let _ = self.link.send(&goodbye, &[]);
    }

    /// After [`Stand::Given`] and the first tick: measures the freeze and says SERVING, upon which the
    /// successor goes. Returns the freeze.
    ///
    /// # Errors
    /// A [`HandoffError`] if it cannot be said. This process owns the arena all the same.
    pub fn say_serving(self, connections: u32) -> Result<Duration, HandoffError> {
        let began_ns = match self.state {
            State::Given { last_command_ns } => last_command_ns,
            _ => self.clock.now_ns(),
        };
        say_serving(&self.link, &*self.clock, self.own, began_ns, connections)
    }

    /// Begins to count anew if this process itself was stopped: whatever stopped it (a machine that was paused, or
    /// had no processor for it) may have stopped the successor too.
    fn forgive_a_stop(&mut self) {
        let now = self.clock.now_ns();
        if now.saturating_sub(self.looked_ns) > STOPPED.as_nanos() as u64 {
            self.began_ns = now;
        }
        self.looked_ns = now;
    }

    /// How long the successor has not ticked.
    fn still(&self, host: &dyn StandbyHost) -> Duration {
        let last = host.ticked_ns().max(self.began_ns);
        Duration::from_nanos(self.clock.now_ns().saturating_sub(last))
    }

    fn is_gone(&self, host: &dyn StandbyHost) -> bool {
        is_dead(host.executor_word(self.serving)) || self.process.has_exited()
    }

    fn receive(&mut self, host: &mut dyn StandbyHost) -> Result<Option<Stand>, HandoffError> {
        for _ in 0..MESSAGES_PER_STEP {
            let received = match self.link.receive() {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(None),
                Err(source) => return Err(HandoffError::Link { phase: Phase::Probation, source }),
            };
            if let Some(stand) = self.on_message(host, received)? {
                return Ok(Some(stand));
            }
        }
        Ok(None)
    }

    fn on_message(
        &mut self,
        host: &mut dyn StandbyHost,
        received: Received,
    ) -> Result<Option<Stand>, HandoffError> {
        let message = match self.held.take_news(host, Phase::Probation, received)? {
            News::Taken(_) => return Ok(None),
            News::Other(message) => message,
        };
        if let Some(reason) = ended_by_peer(&message) {
            return Err(reason);
        }
        match (&self.state, message) {
            (State::Watching, Message::Offer(offer)) => self.take_offer(host, &offer).map(Some),
            (_, Message::Stopping(stopping)) => {
                Ok(Some(Stand::Leave(format!("the successor stops: {}", stopping.cause))))
            }
            (_, other) => Err(unexpected(Phase::Probation, &other)),
        }
    }

    fn take_offer(&mut self, host: &dyn StandbyHost, offer: &Offer) -> Result<Stand, HandoffError> {
        self.held.check(offer.set)?;
        let owner = OwnerWord::new(host.owner_word());
        owner.take(self.serving, self.own, host.executor_lock())?;
        self.state = State::Given { last_command_ns: offer.last_command_ns };
        here("predecessor.given", &self.link);
        Ok(Stand::Given)
    }

    /// The successor's executor is gone. Its process may be in the midst of an orderly exit, which is
    /// not to be disturbed: all that it has said is here.
    fn after_death(&mut self, host: &mut dyn StandbyHost) -> Stand {
        match self.drain(host) {
            Some(leave) => leave,
            None => {
                let cause = self.process.cause();
                self.cause = Some(cause);
                self.fence(host, format!("the successor has died ({cause})"))
            }
        }
    }

    fn fence(&mut self, host: &mut dyn StandbyHost, reason: String) -> Stand {
        tracing::warn!(generation = %self.serving, reason, "taking the arena back");
        kill(&*self.process);
        self.state = State::Fencing { reason };
        self.continue_fence(host)
    }

    /// Waits, a slice at a time, for the proof of the successor's death, and takes the arena back.
    fn continue_fence(&mut self, host: &mut dyn StandbyHost) -> Stand {
        let word = host.executor_word(self.serving);
        let Some(fenced) = wait_for_death(&*self.process, word, self.serving) else {
            kill(&*self.process);
            return Stand::By;
        };
        // What it had sent is in the link still: connections, and perhaps that it stopped on purpose.
        let left = self.drain(host);
        if let Some(leave) = left {
            return leave;
        }
        if let Err(error) = self.retake(host, &fenced) {
            return Stand::Leave(format!("the arena cannot be taken back: {error}"));
        }
        match std::mem::replace(&mut self.state, State::Watching) {
            State::Fencing { reason } => Stand::Fenced(reason),
            other => {
                self.state = other;
                Stand::By
            }
        }
    }

    /// Reads what a dead successor has left in the link.
    fn drain(&mut self, host: &mut dyn StandbyHost) -> Option<Stand> {
        loop {
            let received = match self.link.receive() {
                Ok(Some(received)) => received,
                Ok(None) => return None,
                Err(error) if error.is_closed() => return None,
                Err(error) => {
                    tracing::warn!(%error, "the last news of the successor cannot be read");
                    return None;
                }
            };
            match self.held.take_news(host, Phase::Fence, received) {
                Ok(News::Taken(_)) => {}
                Ok(News::Other(Message::Stopping(stopping))) => {
                    return Some(Stand::Leave(format!("the successor stops: {}", stopping.cause)));
                }
                // An offer that nobody can take any more: the owner word says what became of it.
                Ok(News::Other(_)) => {}
                Err(error) => tracing::warn!(%error, "a connection of the successor is lost"),
            }
        }
    }

    fn retake(&self, host: &dyn StandbyHost, fenced: &Fenced) -> Result<(), HandoffError> {
        let owner = OwnerWord::new(host.owner_word());
        let offered = Owner::Offered { from: self.serving, to: self.own };
        if owner.read()? == offered {
            return Ok(owner.take(self.serving, self.own, host.executor_lock())?);
        }
        owner.retake_after_fence(&[fenced], self.own)?;
        Ok(())
    }
}

impl AsFd for Standby {
    /// The link, to be waited for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
