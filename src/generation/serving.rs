//! The loop of a serving generation: turns, accepts, background rounds, orders of the keeper.
//!
//! A tick works off what the poll reports, then the queue of those that may have more to read. It
//! ends between two commands, with no turn open: that is where everything else happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use handoff::clock::{Clock, MonotonicClock};
use handoff::fence::ExecutorLock;
use handoff::keeper_channel::{GenerationEnd, Stopping};
use handoff::owner::Generation as Number;
use handoff::predecessor::Predecessor;
use signal_hook::consts::SIGTERM;
use tracing::{error, info};

use super::giving::{Giving, wait_us};
use super::new_keeper::KeeperCare;
use super::orders::say;
use super::watched::{Lag, RETRY_US, TICK_US};
use crate::executor::replies::{Flushed, ReplyState};
use crate::executor::turn::Served;
use crate::executor::{Action, Executor};
use crate::net::{Outbound, Poller, Ready, Source};
use crate::settings::Settings;
use crate::util::time::{monotonic_us, unix_time_ms};
use crate::words::HandoffWords;

/// Events that one wait reports.
pub const EVENTS: usize = 1024;

/// Turns from the queue in one tick; the rest waits for the next.
const TURNS_PER_TICK: usize = 128;

/// A generation that serves.
pub struct Generation {
    pub(super) executor: Executor,
    pub(super) poller: Poller,
    pub(super) words: HandoffWords,
    pub(super) number: Number,
    /// The upgrade under way in which this generation is the predecessor.
    pub(super) giving: Option<Giving>,
    /// Tells the keeper of connections, while that listens.
    pub(super) telling: Option<Predecessor>,
    /// How the keeper keeps up with that.
    pub(super) keeper_lag: Lag,
    /// Listeners where connections may be waiting although the poll will not say so again.
    pub(super) accept_again: Vec<usize>,
    pub(super) keeper: KeeperCare,
    /// What `hotredis serve` was given: for a keeper that has to be started.
    pub(super) settings: Settings,
    /// Accepting is not tried again before the next round.
    pub(super) accept_failed: bool,
    /// The log says so already.
    pub(super) accept_warned: bool,
    /// Sessions that have lost their socket but could not be ended.
    pub(super) orphans: Vec<u32>,
    /// After a take-over: the next slot whose session has to be looked at.
    pub(super) inherited: Option<u32>,
    pub(super) next_round_us: u64,
    pub(super) exit: Option<ExitCode>,
    /// SIGTERM has come.
    pub(super) stop: Arc<AtomicBool>,
    /// Why this generation is about to exit, to be told to the keeper.
    pub(super) stopping: Option<String>,
    ready: Vec<Ready>,
    look_at: Vec<u32>,
    /// Held for as long as this generation may own the arena; last, so that it is dropped last.
    pub(super) lock: ExecutorLock<'static>,
}

impl Generation {
    /// A generation that owns its arena.
    pub fn new(
        mut executor: Executor,
        poller: Poller,
        words: HandoffWords,
        lock: ExecutorLock<'static>,
        number: Number,
    ) -> Generation {
        executor.state.peers = Box::new(Outbound::default());
        executor.state.allow_clients = super::admission::allow_clients;
        super::panics::settle(words);
        Generation {
            executor,
            poller,
            words,
            number,
            giving: None,
            telling: None,
            keeper_lag: Lag::default(),
            accept_again: Vec::new(),
            keeper: KeeperCare::default(),
            settings: Settings::default(),
            accept_failed: false,
            accept_warned: false,
            orphans: Vec::new(),
            inherited: None,
            next_round_us: 0,
            exit: None,
            stop: Arc::default(),
            stopping: None,
            ready: Vec::new(),
            look_at: Vec::new(),
            lock,
        }
    }

    /// Serves until told to stop, or replaced.
    pub fn serve(mut self, mut channel: GenerationEnd) -> ExitCode {
        if let Err(e) = self.poller.watch_keeper(&channel) {
            error!("the keeper's channel cannot be watched: {e}");
            return ExitCode::FAILURE;
        }
        // A successor was started with the level of the start; `CONFIG SET` may have changed it.
        crate::logging::set_level(self.executor.state.config.loglevel());
        if let Err(e) = signal_hook::flag::register(SIGTERM, self.stop.clone()) {
            error!("SIGTERM cannot be handled: {e}");
        }
        loop {
            if self.stop.swap(false, Ordering::Relaxed) {
                self.shut_down("SIGTERM");
            }
            let (now, until) = self.wait();
            if let Err(e) = self.tick(now, until, &mut channel) {
                error!("the poll failed: {e}");
                return ExitCode::FAILURE;
            }
            self.tell_news();
            self.drive_upgrade(&mut channel);
            self.replace_keeper(&mut channel);
            if let Some(code) = self.exit {
                if let Some(cause) = self.stopping.take() {
                    say(&channel, Stopping { cause }.into());
                }
                return code;
            }
        }
    }

    /// What time it is, and until when the poll may wait, by the monotonic clock in microseconds.
    fn wait(&self) -> (u64, u64) {
        let accept = !self.accept_again.is_empty() && !self.accept_failed && !self.is_behind();
        if self.poller.queued() > 0 || self.inherited.is_some() || accept {
            return (0, 0);
        }
        let now = monotonic_us();
        let mut until = self.next_round_us.saturating_sub(now);
        if let Some(due) = self.executor.defragment_due_us().filter(|_| self.giving.is_none()) {
            until = until.min(due.saturating_sub(now));
        }
        if let Some(giving) = &self.giving {
            until = until.min(giving.wait_us());
        }
        if self.is_watched() {
            until = until.min(TICK_US);
        }
        if let Some(wait) = self.keeperless_wait_us() {
            until = until.min(wait);
        }
        match &self.telling {
            Some(telling) if telling.has_news() => until = until.min(wait_us(telling.wake())),
            _ => {}
        }
        if self.is_behind() {
            until = until.min(RETRY_US);
        }
        let pause = self.executor.paused_until_ms();
        if pause != 0 {
            until = until.min((pause - unix_time_ms()).max(0) as u64 * 1000);
        }
        if let Some(deadline) = self.executor.next_deadline_ms() {
            let left_ms = deadline.saturating_sub(unix_time_ms()).max(0) as u64;
            until = until.min(left_ms.saturating_mul(1000));
        }
        (now, now.saturating_add(until))
    }

    /// One tick.
    pub(super) fn tick(
        &mut self,
        now_us: u64,
        until_us: u64,
        channel: &mut GenerationEnd,
    ) -> std::io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.poller.wait(now_us, until_us, &mut ready)?;
        self.executor.state.read_clock();
        // The keeper first: what it has to say (an upgrade's outcome) is older than what clients
        // ask, who may have waited for it.
        if ready.iter().any(|event| event.source == Source::Keeper) {
            self.follow_orders(channel);
        }
        for event in &ready {
            match event.source {
                Source::Client(slot, tag) => self.client_ready(slot, tag, event),
                Source::Listener(number) => {
                    if !self.accept_again.contains(&number) {
                        self.accept_again.push(number);
                    }
                }
                Source::Keeper | Source::Link => {}
            }
        }
        self.ready = ready;
        if self.poller.queued() > 0 {
            // Who has had a turn and gets another has its replies first.
            self.write_replies();
        }
        self.work_off_queue(TURNS_PER_TICK);
        self.write_replies();
        self.executor.time_out_blocked();
        self.act();
        if let Some(from) = self.inherited {
            self.adopt_sessions(from);
        }
        let now = monotonic_us();
        self.words.tick(now * 1000);
        if now >= self.next_round_us || self.executor.pause_is_over() {
            self.round(now);
        }
        if self.giving.is_none() {
            self.executor.defragment();
        }
        // Last, since nobody but this process knows of who is accepted until the tick's news are told.
        for number in std::mem::take(&mut self.accept_again) {
            if !self.accept(number) {
                self.accept_again.push(number);
            }
        }
        Ok(())
    }

    fn client_ready(&mut self, slot: u32, tag: u32, event: &Ready) {
        let Some(connection) = self.poller.addressee(slot, tag) else { return };
        connection.peer_closed |= event.peer_closed;
        if event.writable && connection.wants_write {
            self.flush(slot);
        }
        if event.readable {
            self.turn(slot);
        }
    }

    /// Gives connections of the queue a turn, at most so many.
    pub(super) fn work_off_queue(&mut self, most: usize) {
        for _ in 0..most.min(self.poller.queued()) {
            let Some(slot) = self.poller.dequeue() else { return };
            self.turn(slot);
        }
    }

    /// One client's turn.
    pub(super) fn turn(&mut self, slot: u32) {
        if self.executor.replies_wait() == ReplyState::Full {
            self.write_replies();
        }
        if self.is_watched() {
            // A tick may have a thousand turns, some of them long: whoever has one does not hang.
            self.words.tick(MonotonicClock.now_ns());
        }
        let Some(connection) = self.poller.get_mut(slot) else { return };
        let serve = AssertUnwindSafe(|| self.executor.serve(slot, connection));
        let served = match catch_unwind(serve) {
            Ok(served) => served,
            Err(panic) => return self.after_panic(&*panic),
        };
        match served {
            Served::Close => {
                // What was answered before the end, and could not be written then because its owner died.
                if self.executor.has_output(slot) {
                    self.flush(slot);
                }
                self.close(slot);
            }
            Served::More => self.poller.enqueue(slot),
            // The end comes behind what was read.
            Served::Drained | Served::Postponed if connection.peer_closed => {
                self.poller.enqueue(slot);
            }
            Served::Drained | Served::Postponed => {}
            Served::LookAt { more } => {
                if more || connection.peer_closed {
                    self.poller.enqueue(slot);
                }
                self.look_at(slot);
            }
        }
    }

    /// Writes the replies of all turns so far.
    pub(super) fn write_replies(&mut self) {
        if self.executor.replies_wait() == ReplyState::None {
            return;
        }
        let mut look_at = std::mem::take(&mut self.look_at);
        self.executor.write_replies(&mut self.poller, &mut look_at);
        for slot in look_at.drain(..) {
            self.look_at(slot);
        }
        self.look_at = look_at;
    }

    /// Closes a connection whose session says so; otherwise watches it for writing if it has unsent
    /// output.
    fn look_at(&mut self, slot: u32) {
        if self.executor.is_closing(slot) {
            self.finish_closing(slot);
        }
        self.watch_output(slot);
    }

    /// A session reads no more: it is closed once its output is gone, or at once if its peer is.
    fn finish_closing(&mut self, slot: u32) {
        self.write_replies();
        let gone = self.poller.get(slot).is_none_or(|connection| connection.peer_closed);
        if gone || self.executor.closes_at_once(slot) || !self.executor.has_output(slot) {
            self.close(slot);
        }
    }

    /// Watches a connection for writing exactly while its session has unsent output.
    fn watch_output(&mut self, slot: u32) {
        let wanted = self.executor.has_output(slot);
        if self.poller.want_write(slot, wanted).is_err() {
            self.close(slot);
        }
    }

    /// Writes what a session has unsent.
    pub(super) fn flush(&mut self, slot: u32) {
        // What was replied before comes first.
        self.write_replies();
        let Some(connection) = self.poller.get_mut(slot) else { return };
        match self.executor.flush_pending(slot, connection) {
            Flushed::Close => self.close(slot),
            Flushed::All | Flushed::Blocked => self.watch_output(slot),
            Flushed::More => {
                if self.poller.want_write_again(slot).is_err() {
                    self.close(slot);
                }
            }
        }
    }

    /// Does what commands asked for.
    pub(super) fn act(&mut self) {
        while self.executor.has_actions() {
            for action in self.executor.take_actions() {
                match action {
                    Action::Flush(slot) => self.flush(slot),
                    Action::Close(slot) => {
                        if self.executor.is_closing(slot) {
                            self.finish_closing(slot);
                        }
                    }
                    Action::Resume(slot) => self.poller.enqueue(slot),
                    Action::Reconfigured(changed) => self.reconfigured(&changed),
                    Action::Shutdown => self.shut_down("SHUTDOWN"),
                    Action::Unpaused => self.resume_postponed(),
                }
            }
        }
    }

    /// Clients whose command was held back get their turn, in the order in which that began.
    fn resume_postponed(&mut self) {
        for slot in self.executor.postponed() {
            self.poller.enqueue(slot);
        }
    }

    /// The background round, and when the next one is due.
    fn round(&mut self, now: u64) {
        let urgent = self.executor.round();
        for slot in std::mem::take(&mut self.orphans) {
            if self.executor.close(slot).is_err() {
                self.orphans.push(slot);
            }
        }
        self.act();
        self.executor.state.peers.close_idle();
        self.accept_failed = false;
        let period = 1_000_000 / u64::from(self.executor.state.config.hz().max(1));
        // Urgent work takes up to a tenth of the time.
        self.next_round_us = now + if urgent { period.min(3_000) } else { period };
    }

    /// After a take-over, a slice at a time: sessions for which the poll has nothing to say. Those
    /// with unsent output are watched for writing, those that are no longer blocked, or that were about
    /// to be closed, get their turn, and those whose connection is gone end. At last those get their turn
    /// that a pause has held back: it may have ended unseen.
    fn adopt_sessions(&mut self, from: u32) {
        const SLICE: u32 = 512;
        let slots = self.executor.capacity().max(self.poller.slots());
        let end = slots.min(from.saturating_add(SLICE));
        self.inherited = (end < slots).then_some(end);
        for slot in from..end {
            let cookie = self.poller.get(slot).map(|connection| connection.cookie);
            if cookie != self.executor.cookie(slot) {
                self.close(slot);
                continue;
            }
            if self.executor.has_to_go_on(slot) || self.executor.closes_at_once(slot) {
                self.poller.enqueue(slot);
            }
            // Registered anew even if it is watched: a predecessor that serves again has been told
            // in its first tick, which writes nothing, that there is room.
            if self.executor.has_output(slot) && self.poller.want_write_again(slot).is_err() {
                self.close(slot);
            }
        }
        if self.inherited.is_none() {
            self.resume_postponed();
        }
    }

    /// Stops serving, in order.
    pub(super) fn shut_down(&mut self, cause: &str) {
        info!("shutting down: {cause}");
        if let Some(giving) = self.giving.as_ref().filter(|giving| giving.mirror.is_some()) {
            giving.predecessor.say_stopping(cause);
        }
        for listener in self.poller.take_listeners() {
            listener.remove_file();
        }
        self.stopping = Some(cause.to_owned());
        self.exit = Some(ExitCode::SUCCESS);
    }
}
