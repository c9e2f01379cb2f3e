//! A successor that is kept waiting: made ready long before it is needed, told of every socket that comes
//! and goes, and given the arena at once when the generation that serves has died.

use super::{Predecessor, PredecessorLimits, State};

impl Predecessor {
    /// Has the successor wait once it is ready, for as long as it takes: [`step`](Self::step) goes on
    /// sending news, and asks for no freeze until [`go_on`](Self::go_on).
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The successor is not to be kept waiting any more. From here on every step that is still to come
    /// may take as long as these limits say.
    pub fn go_on(&mut self, limits: PredecessorLimits) {
        (self.held, self.limits) = (false, limits);
        match self.state {
            State::AwaitHello => self.wait_for(limits.hello),
            State::SendArena | State::SendListeners | State::SendSockets => {
                self.wait_for(limits.transfer);
            }
            State::Prepare { ready: None } => self.wait_for(limits.ready),
            State::Prepare { ready: Some(_) } => self.wait_for(limits.calm),
            _ => {}
        }
    }

    /// Whether the successor is ready, has been told of nearly everything, and has answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.wants_freeze()
    }
}
