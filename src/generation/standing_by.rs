//! After SERVING: this generation has handed over and stands by, frozen, holding everything, until
//! the probation of its successor is over or the arena comes back.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use handoff::error::HostError;
use handoff::fence::ExecutorLock;
use handoff::host::{SharedWords, SocketHolder, Summary};
use handoff::keeper_channel::{GenerationEnd, Goodbye, KeeperToGeneration, Returned};
use handoff::message::Ticket;
use handoff::owner::Generation as Number;
use handoff::prompt::Prompt;
use handoff::standby::{Stand, Standby, StandbyHost};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{error, info, warn};

use super::orders::say;
use super::recovering::died;
use super::serving::Generation;
use super::taking::{hold_socket, let_go};
use crate::executor::Left;
use crate::net::Poller;
use crate::settings::{DEFAULT_HANG_TIMEOUT_MS, DEFAULT_PROBATION_MS};
use crate::words::HandoffWords;

/// How long the keeper may take to say what is next. It always knows, so this is only for a keeper
/// that hangs.
const KEEPER_PATIENCE: Duration = Duration::from_secs(10);

/// How often the successor is looked at, milliseconds.
const LOOK_MS: u8 = 5;

/// What the machine may touch of the generation.
struct Host<'a> {
    poller: &'a mut Poller,
    words: HandoffWords,
    lock: &'a ExecutorLock<'static>,
}

impl SharedWords for Host<'_> {
    fn owner_word(&self) -> &std::sync::atomic::AtomicU64 {
        self.words.owner()
    }

    fn executor_word(&self, generation: Number) -> &std::sync::atomic::AtomicU32 {
        self.words.executor(generation)
    }
}

impl SocketHolder for Host<'_> {
    fn socket(&mut self, ticket: Ticket, fd: OwnedFd) -> Result<(), HostError> {
        hold_socket(self.poller, ticket, fd)
    }

    fn closed(&mut self, ticket: Ticket) {
        let_go(self.poller, ticket);
    }
}

impl StandbyHost for Host<'_> {
    fn ticked_ns(&self) -> u64 {
        self.words.ticked_ns()
    }

    fn executor_lock(&self) -> &ExecutorLock<'_> {
        self.lock
    }
}

/// How long to stand by, as far as the keeper has said.
struct Term {
    /// The end of the probation, or of the patience with the keeper.
    end: Instant,
    /// The keeper has not said anything yet.
    open: bool,
    /// The keeper is there to say something.
    keeper: bool,
}

impl Term {
    /// The probation begins.
    fn set(&mut self, length: Duration) {
        self.end = Instant::now() + length;
        self.open = false;
    }
}

/// How it ended.
enum End {
    /// There is nothing more to hold.
    Leave(String),
    /// The arena is this generation's again; whether it was given, and why else.
    Back { given: bool, reason: String },
}

impl Generation {
    /// Stands by. Comes back when this generation serves again, or is to exit.
    pub(super) fn stand_by(
        &mut self,
        mut standby: Standby,
        upgrade: u64,
        summary: &Summary,
        channel: &mut GenerationEnd,
    ) {
        info!(
            "generation {} serves {} connections; this one, {}, stands by",
            summary.to, summary.connections, summary.from
        );
        // The successor's own thread gets pages from now on.
        self.executor.arena.stop_grower();
        // If the arena is given back it is to be taken at once.
        let prompt = Prompt::ask();
        match self.watch_successor(&mut standby, upgrade, channel) {
            End::Leave(reason) => {
                info!("generation {} exits: {reason}", self.number);
                standby.say_goodbye();
                say(channel, Goodbye { upgrade }.into());
                self.exit = Some(ExitCode::SUCCESS);
            }
            End::Back { given, reason } => {
                warn!("generation {} serves again: {reason}", self.number);
                self.serve_again(standby, prompt, upgrade, (given, reason), channel);
                // What came meanwhile is not reported by the poll any more.
                self.follow_orders(channel);
            }
        }
    }

    fn watch_successor(
        &mut self,
        standby: &mut Standby,
        upgrade: u64,
        channel: &mut GenerationEnd,
    ) -> End {
        let mut term = Term { end: Instant::now() + KEEPER_PATIENCE, open: true, keeper: true };
        loop {
            let mut host = Host { poller: &mut self.poller, words: self.words, lock: &self.lock };
            let mut stand = standby.step(&mut host);
            if matches!(stand, Stand::By)
                && let Some(reason) = heed(channel, upgrade, &mut term, standby)
            {
                stand = standby.take_back(&mut host, &reason);
            }
            match stand {
                Stand::By => {}
                Stand::Leave(reason) => return End::Leave(reason),
                Stand::Given => {
                    let reason = "the successor has given the arena back".into();
                    return End::Back { given: true, reason };
                }
                Stand::Fenced(reason) => return End::Back { given: false, reason },
            }
            if self.stop.load(Ordering::Relaxed) {
                return End::Leave("SIGTERM".into());
            }
            if !term.open && Instant::now() >= term.end && standby.is_well(&host) {
                return End::Leave("the probation is over".into());
            }
            wait(standby, term.keeper.then_some(&*channel));
        }
    }

    /// The arena is this generation's again.
    fn serve_again(
        &mut self,
        standby: Standby,
        prompt: Prompt,
        upgrade: u64,
        (given, reason): (bool, String),
        channel: &GenerationEnd,
    ) {
        self.executor.state.read_clock();
        self.recover(&standby.cause().map_or(Left::ByOrder, died));
        if self.exit.is_some() {
            error!("generation {} cannot serve again", self.number);
            return;
        }
        self.first_tick();
        let connections = self.poller.open();
        let freeze = standby.say_serving(connections).unwrap_or_default();
        drop(prompt);
        self.executor.arena.start_grower(true);
        self.tell_keeper_anew();
        self.note_generation();
        let returned = Returned {
            upgrade,
            generation: u64::from(self.number.get()),
            reason,
            given,
            freeze_us: if given { freeze.as_micros() as u64 } else { 0 },
            connections: u64::from(connections),
        };
        say(channel, returned.into());
    }
}

/// Reads what the keeper has said. Gives the reason for which the arena is to be taken back, if it
/// is.
fn heed(
    channel: &mut GenerationEnd,
    upgrade: u64,
    term: &mut Term,
    standby: &mut Standby,
) -> Option<String> {
    while term.keeper {
        match channel.recv() {
            Ok(Some(delivery)) => match delivery.message {
                KeeperToGeneration::Release(order) if order.upgrade == upgrade => {
                    term.set(Duration::ZERO);
                }
                KeeperToGeneration::Probation(order) if order.upgrade == upgrade => {
                    term.set(Duration::from_millis(order.length_ms));
                    standby.set_hang(Duration::from_millis(order.hang_ms));
                }
                KeeperToGeneration::Abort(order) if order.upgrade == upgrade => {
                    return Some(order.reason);
                }
                KeeperToGeneration::TakeBack(order) if order.upgrade == upgrade => {
                    return Some(order.reason);
                }
                // Meant for the generation that serves; the keeper asks it again.
                _ => {}
            },
            Ok(None) => break,
            Err(e) if e.is_recoverable() => {}
            Err(_) => term.keeper = false,
        }
    }
    if term.open && (!term.keeper || Instant::now() >= term.end) {
        // The keeper is not there to say how long.
        term.set(Duration::from_millis(DEFAULT_PROBATION_MS));
        standby.set_hang(Duration::from_millis(DEFAULT_HANG_TIMEOUT_MS));
    }
    None
}

/// Until the link or the keeper has something to say, or it is time to look again.
fn wait(standby: &Standby, channel: Option<&GenerationEnd>) {
    let watched = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = vec![watched(standby.as_fd())];
    fds.extend(channel.map(|channel| watched(channel.as_fd())));
    // Interrupted or not: everything is looked at anyway.
    let _ = poll(&mut fds, PollTimeout::from(LOOK_MS));
}
