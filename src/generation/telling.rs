//! The keeper is told of every descriptor that has to outlive this generation: at the end of each tick
//! what was accepted and closed in it, before anybody new is served.

use std::os::fd::OwnedFd;

use handoff::host::{PredecessorHost, Status};
use handoff::link::Link;
use handoff::predecessor::Predecessor;
use handoff::sockets::TicketSet;
use tracing::{info, warn};

use super::giving::Host;
use super::serving::Generation;

impl Generation {
    /// Begins to tell the keeper at the other end of the link. `told` is what it has been told of by
    /// others.
    pub(super) fn tell_keeper(&mut self, link: Option<OwnedFd>, told: Option<TicketSet>) {
        let Some(link) = link else { return };
        match Link::new(link) {
            Ok(link) => self.telling = Some(Predecessor::telling(link, self.number, told)),
            Err(error) => warn!("the keeper cannot be told of connections: {error}"),
        }
    }

    /// Another generation has served meanwhile.
    pub(super) fn tell_keeper_anew(&mut self) {
        if let Some(telling) = &mut self.telling {
            telling.tell_anew();
        }
    }

    /// Whether the keeper holds everything that this generation does.
    pub(super) fn keeper_is_told(&self) -> bool {
        self.telling.as_ref().is_some_and(|telling| !telling.has_news())
    }

    fn with_telling<T>(
        &mut self,
        work: impl FnOnce(&mut Predecessor, &mut dyn PredecessorHost) -> T,
    ) -> Option<T> {
        let told = self.keeper_is_told();
        let telling = self.telling.as_mut()?;
        let mut host =
            Host { executor: &mut self.executor, poller: &self.poller, words: self.words, told };
        Some(work(telling, &mut host))
    }

    /// Tells what is new, as far as it goes.
    pub(super) fn tell_news(&mut self) {
        if !self.telling.as_ref().is_some_and(Predecessor::has_news) {
            return;
        }
        if let Some(Status::Failed(failure)) = self.with_telling(|machine, host| machine.step(host))
        {
            info!("the keeper does not listen any more: {}", failure.reason);
            self.telling = None;
        }
    }

    /// Whether the keeper has been told of everything and can be told more; `None` if it is not told.
    pub(super) fn keeper_keeps_up(&mut self) -> Option<bool> {
        self.with_telling(|machine, host| !machine.has_news() || machine.tell_news(host))
    }
}
