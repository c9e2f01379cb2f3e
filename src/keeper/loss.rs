//! The generation that serves has died, or exited: who serves next, if anybody.

use handoff::fence::is_dead;
use handoff::owner::{Owner, OwnerWord};
use nix::sys::signal::Signal;
use tracing::{error, info};

use super::Keeper;
use super::process::Ending;
use super::recovery::number_of;
use super::upgrading::{Step, Upgrade};

impl Keeper {
    /// The generation that serves has ended.
    pub(super) fn on_exit_of_serving(&mut self, ending: Ending) {
        self.lost = Some(ending);
        self.deaths.note(self.serving.cause(ending));
        // It may have handed over before it ended: its successor will tell, or not make it either.
        let handing_over = matches!(self.upgrade, Some(Upgrade { step: Step::Handover(_), .. }));
        if !handing_over && !self.await_return(ending) {
            self.on_loss(ending);
        }
    }

    /// Executors are gone: one that was to serve, perhaps.
    pub(super) fn on_deaths(&mut self) {
        while let Some(pid) = self.watcher.next() {
            if !self.is_recovering(pid) {
                continue;
            }
            self.on_messages();
            if let Some(recovery) = self.recovery.as_ref().filter(|it| it.child.pid == pid) {
                recovery.child.signal(Signal::SIGKILL);
                self.on_exit_in_recovery(Ending::Executor);
            }
        }
    }

    /// Looks whether the generation that serves has died. It may have a while ago, when it was another's to take
    /// over.
    pub(super) fn look_after_serving(&mut self) {
        if self.has_lost_serving() {
            // What it said last, and what others have, may change that.
            self.on_messages();
            if self.has_lost_serving() {
                self.on_death_of_serving();
            }
        }
    }

    /// The executor of the generation that serves is gone, and nobody else is there to serve.
    fn has_lost_serving(&mut self) -> bool {
        let noticed = self.lost.is_none() && self.watched == Some(self.serving.number);
        let stops = self.stopping.is_some() || self.serving.stopping;
        if !noticed || stops || self.probation.is_some() {
            return false;
        }
        let (Ok(words), Ok(generation)) = (self.holding.words(), number_of(self.serving.number))
        else {
            return false;
        };
        // A successor that has taken the arena, or may yet, will tell; nobody takes what is not offered.
        is_dead(words.executor(generation))
            && OwnerWord::new(words.owner()).read() == Ok(Owner::Serving(generation))
    }

    fn on_death_of_serving(&mut self) {
        // Whatever of it is left is not to wake up again.
        self.serving.signal(Signal::SIGKILL);
        self.lost = Some(Ending::Executor);
        self.deaths.note(self.serving.cause(Ending::Executor));
        if let Some(Upgrade { step: Step::Handover(_), .. }) = &self.upgrade {
            self.fail_upgrade(format!("generation {} has died", self.serving.number));
        }
        self.on_loss(Ending::Executor);
    }

    /// Has the death of the generation that serves noticed, as soon as its arena is known.
    pub(super) fn watch_serving(&mut self) {
        let number = self.serving.number;
        if self.settings.no_keeper
            || !self.ready
            || self.lost.is_some()
            || self.watched == Some(number)
        {
            return;
        }
        if let (Ok(words), Ok(generation)) = (self.holding.words(), number_of(number)) {
            self.watcher.watch(words, generation, self.serving.pid);
            self.watched = Some(number);
        }
    }

    /// Nobody serves, and nobody will unless another generation is started.
    pub(super) fn on_loss(&mut self, ending: Ending) {
        if self.recovery.is_some() || self.owner_is_open() {
            return;
        }
        self.abandon_probation(ending);
        let holds = self.ready && !self.settings.no_keeper;
        if holds && self.stopping.is_none() && !self.serving.stopping {
            match self.begin_recovery(ending) {
                Ok(()) => return,
                // It is tried once more, and the reason told, when it is known how it ended.
                Err(_) if ending == Ending::Executor => return,
                Err(reason) => error!("cannot start another generation: {reason}"),
            }
        }
        self.give_up(ending);
    }

    fn give_up(&mut self, ending: Ending) {
        let number = self.serving.number;
        let code = if self.serving.stopping {
            info!("generation {number} {ending}: the keeper exits too");
            ending.code()
        } else if self.stopped_as_asked(ending) {
            info!("generation {number} {ending}");
            0
        } else {
            match self.ready {
                true => error!("generation {number} {ending}: nobody serves any more"),
                false => error!("generation {number} {ending} before it was ready"),
            }
            ending.code().max(1)
        };
        self.exit = self.exit.or(Some(code));
    }

    /// Whoever asked it to stop by a signal got what was wanted, said or unsaid.
    pub(super) fn stopped_as_asked(&self, ending: Ending) -> bool {
        self.stopping.is_some()
            && matches!(ending, Ending::Signal(Signal::SIGTERM) | Ending::Exit(0) | Ending::Unknown)
    }
}
