//! What the generation that serves tells its keeper: every descriptor that has to outlive it.
//!
//! The same messages as in a pre-copy and in probation, without an answer: the keeper holds what it
//! has read, and what it has not read yet is in the link, which survives the death of its writer.

use std::time::Duration;

use super::window::Window;
use super::{Ends, Predecessor, PredecessorLimits, State};
use crate::clock::MonotonicClock;
use crate::failpoint::here;
use crate::fence::Untouchable;
use crate::link::Link;
use crate::message::Identity;
use crate::owner::Generation;
use crate::sockets::{Ledger, TicketSet};

impl Predecessor {
    /// The machine of a generation that tells its keeper. `told` is what the keeper has been told of by
    /// the generations before; without it, everything is told anew.
    #[must_use]
    pub fn telling(link: Link, generation: Generation, told: Option<TicketSet>) -> Self {
        let ends = Ends {
            link,
            process: Box::new(Untouchable::Alive),
            clock: Box::new(MonotonicClock),
            identity: Identity::default(),
            from: generation,
            to: generation,
        };
        let (state, ledger) = match told {
            Some(told) => (State::Watched, Ledger::of_told(told)),
            None => (State::SendArena, Ledger::new(0)),
        };
        let limits = PredecessorLimits::default();
        let mut machine =
            Self::in_state(ends, state, Duration::MAX, ledger, Window::open(), limits);
        machine.telling = true;
        if machine.is_watched() {
            machine.has_told();
        }
        machine
    }

    /// Tells everything anew: another generation has served, and may have told more, or less.
    pub fn tell_anew(&mut self) {
        self.ledger = Ledger::new(0);
        self.limits = PredecessorLimits::default();
        self.enter(State::SendArena, Duration::MAX);
    }

    /// Everything that there was has been told: from now on, the news of each tick.
    pub(super) fn has_told(&mut self) {
        self.limits = self.limits.for_news();
        self.enter(State::Watched, Duration::MAX);
    }

    /// The machine comes to a point at which an upgrade may have to fail; telling is none.
    pub(super) fn pass(&self, point: &str) {
        if !self.telling {
            here(point, &self.link);
        }
    }

    /// Whether there is something that the other side has not been told.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.is_watched() || self.ledger.fresh_len() + self.ledger.closed_len() > 0
    }
}
