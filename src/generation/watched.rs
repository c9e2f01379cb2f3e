//! While the predecessor stands by: it hears of every connection before that is served, and may get
//! the arena back.
//!
//! The handoff's machine is the same as in an upgrade in which this generation gives, and stands in
//! the same place.

use std::time::Duration;

use handoff::clock::{Clock, MonotonicClock};
use handoff::fds::MAX_FDS_PER_MESSAGE;
use handoff::keeper_channel::{GenerationEnd, GoBack, GoBackFailed};
use handoff::predecessor::Predecessor;
use tracing::{info, warn};

use super::giving::Giving;
use super::orders::say;
use super::serving::Generation;
use crate::util::time::monotonic_us;

/// Longest time between two ticks of a generation that is watched, microseconds.
pub(super) const TICK_US: u64 = 100_000;

/// How long connections wait to be accepted because somebody does not take news of them,
/// microseconds.
const LAG_US: u64 = 250_000;

/// How often it is tried meanwhile, microseconds.
pub(super) const RETRY_US: u64 = 5_000;

/// How long the checker may take before a generation that runs it counts as hung.
const BUSY: Duration = Duration::from_secs(600);

/// How whoever is told of new connections keeps up with the news.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// Since when it does not, microseconds; 0 if it does.
    behind_since_us: u64,
    /// It has been waited for long enough.
    given_up: bool,
}

impl Lag {
    /// How many connections can be accepted now: as many as can be told before they are served, which
    /// is in the next tick. One that does not listen is waited for, though not for ever.
    fn acceptable(&mut self, keeps_up: bool, most: usize, who: &str) -> usize {
        if keeps_up {
            self.behind_since_us = 0;
            return most.min(MAX_FDS_PER_MESSAGE);
        }
        let now = monotonic_us();
        if self.behind_since_us == 0 {
            self.behind_since_us = now;
        }
        if now - self.behind_since_us < LAG_US {
            return 0;
        }
        if !std::mem::replace(&mut self.given_up, true) {
            warn!("{who} does not listen: connections are served that it does not know of");
        }
        most
    }

    /// Whether connections wait until it listens again.
    fn is_behind(&self) -> bool {
        self.behind_since_us != 0 && !self.given_up
    }
}

impl Giving {
    /// The machine of a generation whose predecessor stands by.
    pub(super) fn watched(predecessor: Predecessor, upgrade: u64) -> Giving {
        Giving::new(predecessor, upgrade, Some(Lag::default()))
    }
}

impl Generation {
    /// Whether a predecessor stands by.
    pub(super) fn is_watched(&self) -> bool {
        self.giving.as_ref().is_some_and(|giving| giving.mirror.is_some())
    }

    /// After the first tick: tells the predecessor. Returns the freeze.
    pub(super) fn say_serving(&mut self) -> Duration {
        let connections = self.poller.open();
        let Some(giving) = &mut self.giving else { return Duration::ZERO };
        let freeze = giving.predecessor.say_serving(connections);
        if let Err(e) = self.poller.watch_link(&giving.predecessor) {
            // The link is looked at whenever there is news for it, all the same.
            warn!("the link to the predecessor cannot be watched: {e}");
        }
        self.executor.state.watched = true;
        freeze.unwrap_or_else(|error| {
            warn!("the predecessor cannot be told that this generation serves: {error}");
            Duration::ZERO
        })
    }

    /// How many connections can be accepted from a listener now.
    pub(super) fn acceptable(&mut self, most: usize) -> usize {
        let mut acceptable = most;
        if let Some(keeps_up) = self.keeper_keeps_up() {
            acceptable = self.keeper_lag.acceptable(keeps_up, acceptable, "the keeper");
        }
        if self.is_watched() {
            let keeps_up = self.with_machine(|machine, host| machine.tell_news(host));
            if let Some(Giving { mirror: Some(lag), .. }) = &mut self.giving {
                let who = "the predecessor that stands by";
                acceptable = lag.acceptable(keeps_up == Some(true), acceptable, who);
            }
        }
        acceptable
    }

    /// Whether connections wait until somebody listens again who is to know of them.
    pub(super) fn is_behind(&self) -> bool {
        let mirror = self.giving.as_ref().and_then(|giving| giving.mirror.as_ref());
        mirror.is_some_and(Lag::is_behind)
            || (self.telling.is_some() && self.keeper_lag.is_behind())
    }

    /// Gives the arena back to the predecessor that stands by, as the keeper has ordered.
    pub(super) fn go_back(&mut self, order: &GoBack, channel: &mut GenerationEnd) {
        info!("going back to the predecessor: {}", order.reason);
        let begun = match self.giving {
            Some(Giving { mirror: Some(_), upgrade, .. }) if upgrade == order.upgrade => {
                self.with_machine(|machine, host| machine.give_back(host))
            }
            _ => None,
        };
        let failed = match begun {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "no predecessor stands by any more".into(),
        };
        say(channel, GoBackFailed { upgrade: order.upgrade, reason: failed }.into());
    }

    /// Whoever watches is to know that the next tick may be long in coming.
    pub(super) fn expect_long_tick(&self) {
        let until = MonotonicClock.now_ns() + BUSY.as_nanos() as u64;
        self.words.tick(until);
    }
}
