//! Step 6 as the serving side sees it: its predecessor stands by, hears of every socket that comes
//! and goes, and may be given the arena back by the steps with which it was given.

use std::time::Duration;

use super::ownership::say_serving;
use super::window::Window;
use super::{Ends, Predecessor, PredecessorLimits, State};
use crate::error::{HandoffError, Phase};
use crate::failpoint::here;
use crate::fence::holder;
use crate::host::PredecessorHost;
use crate::link::Readiness;
use crate::message::{Identity, Message, Ready, Stopping};
use crate::reason::violation;
use crate::sockets::{Ledger, TicketSet};
use crate::standby::Standby;

/// For the last news to go, and for the freeze, once the arena is to go back.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// For the news of one tick. It is bounded by what a tick can accept and close.
const WHOLE_TICK: Duration = Duration::from_millis(10);

/// For room in the link for the word that this side stops.
const STOPPING_PATIENCE: Duration = Duration::from_millis(100);

impl PredecessorLimits {
    /// All the news of a tick, however much: before the next one whoever it is about may be served.
    pub(super) fn for_news(self) -> Self {
        Self { slice: WHOLE_TICK, slice_batches: u32::MAX, ..self }
    }
}

impl Predecessor {
    /// The machine of a generation that has just taken the arena, and whose predecessor holds those
    /// sockets.
    pub(crate) fn watched(
        ends: Ends,
        predecessor: Identity,
        held: TicketSet,
        limits: PredecessorLimits,
        freeze_began_ns: u64,
    ) -> Self {
        let ledger = Ledger::of_told(held);
        let (limits, window) = (limits.for_news(), Window::open());
        let mut machine =
            Self::in_state(ends, State::Watched, Duration::MAX, ledger, window, limits);
        machine.successor = predecessor;
        machine.started_ns = freeze_began_ns;
        machine
    }

    /// Whether this machine belongs to a generation that serves while its predecessor stands by.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        matches!(self.state, State::Watched)
    }

    /// The first complete tick after the take has ended: measures the freeze and says SERVING.
    /// Returns the freeze.
    ///
    /// # Errors
    /// A [`HandoffError`] if it cannot be said. This process owns the arena all the same and must
    /// serve on; a predecessor that is alive will fence it at its deadline.
    pub fn say_serving(&mut self, connections: u32) -> Result<Duration, HandoffError> {
        here("successor.tick", &self.link);
        let freeze = say_serving(&self.link, &*self.clock, self.from, self.started_ns, connections);
        here("successor.serving", &self.link);
        freeze
    }

    /// Sends what news there is, as far as it goes. Returns whether the other side has been told of
    /// every socket and there is room to tell it more: a connection that is accepted now will be there
    /// before it is served, if it is served after the next [`step`](Self::step).
    pub fn tell_news(&mut self, host: &mut dyn PredecessorHost) -> bool {
        // What has failed will be reported by the next step.
        self.is_watched()
            && self.send_slice(host).is_ok()
            && self.ledger.fresh_len() + self.ledger.closed_len() == 0
            && self.link.wait(Readiness::Writable, Duration::ZERO).unwrap_or(false)
    }

    /// Begins to give the arena back to the predecessor that stands by; [`step`](Self::step) does
    /// the rest, as in any upgrade.
    ///
    /// # Errors
    /// [`HandoffError::Cancelled`] if none stands by, [`HandoffError::Violation`] if it has lost its
    /// executor lock.
    pub fn give_back(&mut self, host: &dyn PredecessorHost) -> Result<(), HandoffError> {
        if !self.is_watched() {
            return Err(HandoffError::Cancelled("no predecessor stands by".into()));
        }
        let Some(executor_tid) = holder(host.executor_word(self.to)) else {
            let what = format!("generation {} does not hold its executor lock", self.to);
            return Err(violation(Phase::Probation, what));
        };
        let sockets = self.ledger.told().count;
        self.started_ns = self.clock.now_ns();
        self.enter(State::Prepare { ready: Some(Ready { executor_tid, sockets }) }, GIVE_BACK);
        Ok(())
    }

    /// This generation is about to exit on purpose: nothing is to be taken back. Best effort: a
    /// predecessor that is not told takes the arena back, and the keeper stops it.
    pub fn say_stopping(&self, cause: &str) {
        let stopping = Message::Stopping(Stopping { cause: cause.into() });
        let blocked = |sent: Result<(), crate::error::LinkError>| {
            sent.is_err_and(|error| error.would_block())
        };
        if blocked(self.link.send(&stopping, &[]))
            && self.link.wait(Readiness::Writable, STOPPING_PATIENCE).unwrap_or(false)
        {
            let _ = self.link.send(&stopping, &[]);
        }
    }

    /// After [`Status::Served`](crate::host::Status::Served): this generation stands by.
    #[must_use]
    pub fn stand_by(self) -> Standby {
        let Self { link, process, clock, identity, from, to, ledger, .. } = self;
        let ends = Ends { link, process, clock, identity, from: to, to: from };
        Standby::new(ends, ledger.into_told())
    }
}
