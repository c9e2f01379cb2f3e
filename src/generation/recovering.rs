//! Taking up what was left: by a generation that has died or given the arena back, or in this process
//! when a command has panicked.

use std::any::Any;

use handoff::clock::{Clock, MonotonicClock};
use handoff::death::Cause;
use tracing::error;

use super::panics::{self, NoUnwinding};
use super::serving::Generation;
use crate::executor::{Action, Death, Left};
use crate::net::Outbound;

use std::process::ExitCode;

/// What a generation has left that died of this.
pub(super) fn died(cause: Cause) -> Left {
    Left::Died(Death { own: cause.is_own(), cause: cause.to_string() })
}

impl Generation {
    /// An unfinished command is rolled back, and what was done and not yet sent is taken up. Sets the exit
    /// if that cannot be.
    pub(super) fn recover(&mut self, left: &Left) {
        let _no_unwinding = NoUnwinding;
        let in_doubt = match self.executor.recover(&mut self.poller, left) {
            Ok(in_doubt) => in_doubt,
            Err(e) => {
                error!("this generation cannot serve on: {e}");
                self.exit = Some(ExitCode::FAILURE);
                return;
            }
        };
        if matches!(left, Left::Died(_)) {
            let outage_ns = MonotonicClock.now_ns().saturating_sub(self.words.ticked_ns());
            self.executor.note_outage(outage_ns / 1000);
        }
        // CONFIG SET may have reached the successor.
        let (config, _) = super::configuration::load(&self.executor.arena, None);
        self.executor.state.config = config;
        self.executor.state.apply_config();
        crate::logging::set_level(self.executor.state.config.loglevel());
        if let Some(slot) = in_doubt {
            // Cut off in the midst of a read or a write, and nobody knows how far that came.
            self.close(slot);
        }
        for slot in 0..self.poller.slots() {
            // Requests that were read may wait in the input.
            self.poller.enqueue(slot);
        }
        // Those whose session or connection has gone with the successor end with the rest.
        self.inherited = Some(0);
        self.accept_again = (0..self.poller.listeners().len()).collect();
        self.next_round_us = 0;
    }

    /// A command has panicked. Its private state is made anew, as if another process had died in it, and
    /// its client gets an error.
    #[cold]
    pub(super) fn after_panic(&mut self, payload: &(dyn Any + Send)) {
        let _no_unwinding = NoUnwinding;
        let stops = self.executor.state.actions.contains(&Action::Shutdown);
        // In the midst of whatever they were.
        self.executor.state.peers = Box::new(Outbound::default());
        self.recover(&Left::Panicked(panics::message(payload).into()));
        if stops {
            self.executor.state.actions.push(Action::Shutdown);
        }
    }
}
