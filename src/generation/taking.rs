//! A successor: takes over from its predecessor.
//!
//! Until it owns the arena it reads nothing of it but the header's words. Between the offer and the
//! end of its first tick it does nothing that grows with sessions or data.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use handoff::clock::{Clock, MonotonicClock};
use handoff::error::HostError;
use handoff::fence::{ExecutorLock, ProcessHandle, wait_dead};
use handoff::host::{SharedWords, SocketHolder, SuccessorHost};
use handoff::keeper_channel::{GenerationEnd, Phase, Progress, Serving, UpgradeFailed};
use handoff::link::Link;
use handoff::message::{Ticket, Welcome};
use handoff::owner::{Generation as Number, OwnerWord};
use handoff::predecessor::PredecessorLimits;
use handoff::prompt::Prompt;
use handoff::sockets::TicketSet;
use handoff::successor::{Offered, Successor, SuccessorLimits};
use shm::header::Words;
use shm::{Arena, U64, field};
use tracing::{error, info, warn};

use super::configuration::{self, Foretold};
use super::giving::Giving;
use super::huge_pages;
use super::orders::say;
use super::prefault;
use super::recovering::died;
use super::serving::{EVENTS, Generation};
use crate::config::ConfigValues;
use crate::executor::{Buffers, Executor, State};
use crate::keeper_state::Profile;
use crate::net::{Connection, Listener, Poller, Ready, Socket, Source};
use crate::role::{Succession, Why, cause_in, was_told};
use crate::root::{HandoffState, Root};
use crate::settings::Settings;
use crate::words::HandoffWords;

/// Turns in the first tick: enough to serve the busiest at once, few enough for the freeze to end.
const FIRST_TURNS: usize = 4;

/// How long the lock of an earlier generation of the same parity may still be held.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a spare waits for each message until it is ready.
const SPARE_PATIENCE: Duration = Duration::from_secs(60);

/// What arrives before the offer.
struct Arriving<'a> {
    settings: &'a Settings,
    poller: Poller,
    arena: Option<Arena>,
    configuration: Option<Foretold>,
    /// The sockets that are here, which the keeper has been told of.
    told: TicketSet,
    why: Why,
    words: Option<HandoffWords>,
    lock: Option<ExecutorLock<'static>>,
    buffers: Option<Buffers>,
    state: Option<State>,
    /// From when the predecessor may offer until the first tick is over.
    prompt: Option<Prompt>,
    ready: Vec<Ready>,
    /// The keeper is told how far a spare is.
    channel: &'a GenerationEnd,
    upgrade: u64,
    rounds: prefault::Rounds,
}

impl Arriving<'_> {
    fn words(&self) -> HandoffWords {
        self.words.expect("the arena arrives before anything that needs its words")
    }

    /// Empties the poll into the queue of connections that may have something to read, so that the
    /// flood of first reports does not have to be worked off in the freeze.
    fn drain_poll(&mut self) -> io::Result<()> {
        loop {
            self.ready.clear();
            self.poller.look(&mut self.ready)?;
            if self.ready.is_empty() {
                return Ok(());
            }
            for event in &self.ready {
                enqueue_client(&mut self.poller, event);
            }
        }
    }
}

impl SharedWords for Arriving<'_> {
    fn owner_word(&self) -> &std::sync::atomic::AtomicU64 {
        self.words().owner()
    }

    fn executor_word(&self, generation: Number) -> &std::sync::atomic::AtomicU32 {
        self.words().executor(generation)
    }
}

impl SocketHolder for Arriving<'_> {
    fn socket(&mut self, ticket: Ticket, fd: OwnedFd) -> Result<(), HostError> {
        hold_socket(&mut self.poller, ticket, fd)?;
        self.told.insert(ticket);
        Ok(())
    }

    fn closed(&mut self, ticket: Ticket) {
        let_go(&mut self.poller, ticket);
        self.told.remove(ticket);
    }
}

/// Takes a client's socket that the other generation has sent.
pub(super) fn hold_socket(
    poller: &mut Poller,
    ticket: Ticket,
    fd: OwnedFd,
) -> Result<(), HostError> {
    let connection = Connection::new(Socket::from_fd(fd)?, ticket.cookie);
    Ok(poller.insert(ticket.slot, connection)?)
}

/// Puts the client that an event is of, if it is of one, into the queue.
fn enqueue_client(poller: &mut Poller, event: &Ready) {
    if let Source::Client(slot, tag) = event.source
        && let Some(connection) = poller.addressee(slot, tag)
    {
        connection.peer_closed |= event.peer_closed;
        poller.enqueue(slot);
    }
}

/// Drops a client's socket that the other generation has shut down: only the duplicate is left.
pub(super) fn let_go(poller: &mut Poller, ticket: Ticket) {
    if poller.ticket(ticket.slot) == Some(ticket) {
        poller.remove(ticket.slot);
    }
}

impl SuccessorHost for Arriving<'_> {
    fn arena(&mut self, payload: &[u8], fds: Vec<OwnedFd>) -> Result<(), HostError> {
        let [fd] = <[OwnedFd; 1]>::try_from(fds)
            .map_err(|fds| format!("the arena came with {} descriptors", fds.len()))?;
        let arena = Arena::from_fd(fd, super::FINGERPRINT)?;
        huge_pages::ask(&arena, self.settings);
        self.words = Some(HandoffWords(Words::leak(&arena)));
        self.arena = Some(arena);
        self.configuration = Foretold::read(payload);
        Ok(())
    }

    fn listeners(&mut self, listeners: Vec<(Vec<u8>, OwnedFd)>) -> Result<(), HostError> {
        for (description, fd) in listeners {
            self.poller.add_listener(Listener::from_parts(&description, fd)?)?;
        }
        Ok(())
    }

    fn prepare(&mut self, welcome: &Welcome) -> Result<(), HostError> {
        let arena = self.arena.as_mut().ok_or("there is no arena yet")?;
        self.buffers = Some(Buffers::take(arena)?);
        // Made now, with defaults, so that the freeze only has to fill in what differs.
        let mut state = State::new(ConfigValues::default(), 0, 0);
        state.huge_pages = self.settings.huge_pages;
        self.state = Some(state);
        match self.why {
            Why::Upgrade { .. } => {
                prefault::enter_arena(arena.mapping());
                prefault::enter_program();
            }
            // Nobody serves meanwhile: faults cost less than waiting for all pages.
            Why::Death(_) => {}
            // The arena is entered while it waits.
            Why::Spare => prefault::enter_program(),
        }
        let number = Number::new(welcome.to).ok_or("there is no such generation")?;
        let word = self.words().executor(number);
        if !wait_dead(word, LOCK_PATIENCE)? {
            return Err("the lock of an earlier generation is still held".into());
        }
        self.lock = Some(ExecutorLock::acquire(word, number)?);
        self.drain_poll()?;
        // Not before: who is served now comes first.
        self.prompt = Some(match self.why {
            Why::Spare => Prompt::at_ease(),
            Why::Upgrade { .. } | Why::Death(_) => Prompt::ask(),
        });
        Ok(())
    }

    fn idle(&mut self) -> Option<Duration> {
        let arena = self.arena.as_ref().filter(|_| self.why == Why::Spare)?;
        let was_warm = self.rounds.warm;
        let rest = self.rounds.go_on(arena.mapping());
        if self.rounds.warm && !was_warm {
            let (upgrade, phase) = (self.upgrade, Phase::PreCopy);
            say(self.channel, Progress { upgrade, phase, done: 1, total: 1 }.into());
        }
        Some(rest)
    }

    fn executor_lock(&self) -> Option<&ExecutorLock<'_>> {
        self.lock.as_ref()
    }
}

/// Takes over, runs the first tick and says SERVING. On an error the keeper has been told, and this
/// process owns nothing.
pub fn take_over(channel: &GenerationEnd, succession: Succession) -> Result<Generation, ()> {
    let upgrade = succession.upgrade;
    let failed = |phase: Phase, reason: String| {
        error!("the upgrade has failed: {reason}");
        say(channel, UpgradeFailed { upgrade, phase, reason }.into());
    };
    let Succession { generation, keeper_pid, why, settings, link, holding, .. } = succession;
    let (mut arriving, mut successor) = prepare(link, channel, upgrade, why, &settings)
        .map_err(|reason| failed(Phase::Start, reason))?;
    // Opened before the freeze: that process is to stand by, and may have to be fenced one day.
    let predecessor = match why {
        Why::Upgrade { predecessor_pid } => Some(ProcessHandle::open(predecessor_pid)),
        Why::Death(_) | Why::Spare => None,
    };
    let predecessor =
        predecessor.transpose().map_err(|error| failed(Phase::Start, error.to_string()))?;
    let offered = successor
        .receive(&mut arriving)
        .map_err(|error| failed(Phase::PreCopy, error.to_string()))?;
    let prompt = arriving.prompt.take();
    let told = std::mem::take(&mut arriving.told);
    let (mut serving, unknown) =
        match own(&mut successor, arriving, &offered, generation, keeper_pid) {
            Ok(owned) => owned,
            Err(reason) => {
                failed(Phase::Freeze, reason);
                return Err(());
            }
        };
    serving.settings = settings;
    serving.tell_keeper(holding, was_told(&offered.payload).then_some(told));
    let freeze = match predecessor {
        Some(predecessor) => {
            let limits = PredecessorLimits::default();
            let machine = successor.watched(Box::new(predecessor), &offered, limits);
            serving.giving = Some(Giving::watched(machine, upgrade));
            serving.first_tick();
            serving.say_serving()
        }
        None => {
            let cause = match why {
                Why::Death(cause) => cause,
                _ => cause_in(&offered.payload),
            };
            serving.recover(&died(cause));
            if serving.exit.is_some() {
                failed(Phase::Serve, "what the one before left cannot be taken up".into());
                return Err(());
            }
            // If this process dies from here on, it is not for what the one before has left.
            let phase = Phase::Serve;
            say(channel, Progress { upgrade, phase, done: 0, total: 0 }.into());
            serving.first_tick();
            successor.say_serving(&offered, serving.poller.open()).unwrap_or_default()
        }
    };
    drop(prompt);
    for name in unknown {
        warn!("this build does not know the directive {name}, or its value: it has its default");
    }
    serving.report(channel, upgrade, freeze);
    Ok(serving)
}

fn prepare<'a>(
    link: OwnedFd,
    channel: &'a GenerationEnd,
    upgrade: u64,
    why: Why,
    settings: &'a Settings,
) -> Result<(Arriving<'a>, Successor), String> {
    let poller = Poller::new(EVENTS).map_err(|e| e.to_string())?;
    let arriving = Arriving {
        settings,
        poller,
        arena: None,
        configuration: None,
        told: TicketSet::default(),
        why,
        words: None,
        lock: None,
        buffers: None,
        state: None,
        prompt: None,
        ready: Vec::with_capacity(EVENTS),
        channel,
        upgrade,
        rounds: prefault::Rounds::default(),
    };
    let link = Link::new(link).map_err(|e| e.to_string())?;
    let mut limits = SuccessorLimits::default();
    if why == Why::Spare {
        // For as long as the predecessor lives. The keeper may be busy with others before.
        (limits.message, limits.offer) = (SPARE_PATIENCE, Duration::MAX);
    }
    Ok((arriving, Successor::new(link, super::handoff_identity(), limits)))
}

/// Takes the arena by the owner word, and makes everything that serves from what has arrived.
fn own(
    successor: &mut Successor,
    arriving: Arriving,
    offered: &Offered,
    generation: u64,
    keeper_pid: u32,
) -> Result<(Generation, Vec<String>), String> {
    let words = arriving.words();
    let Arriving {
        poller,
        arena: Some(mut arena),
        configuration,
        why,
        lock: Some(lock),
        buffers: Some(buffers),
        state: Some(mut state),
        ..
    } = arriving
    else {
        return Err("the predecessor offered before everything had arrived".into());
    };
    successor
        .take(OwnerWord::new(words.owner()), &lock, offered)
        .map_err(|error| error.to_string())?;
    // From here on this process owns the arena, and failing is dying: the predecessor notices.
    if !matches!(why, Why::Upgrade { .. }) {
        // Before anything of it is read.
        arena.recover();
    }
    let (config, unknown) = configuration::load(&arena, configuration);
    (state.config, state.generation, state.keeper_pid) = (config, generation, keeper_pid);
    state.apply_config();
    state.addresses = poller.listeners().iter().map(Listener::address).collect();
    let executor = Executor::new(arena, buffers, state);
    Ok((Generation::new(executor, poller, words, lock, offered.to), unknown))
}

impl Generation {
    /// The first tick after the arena has changed hands: whoever is known to have sent something comes
    /// first.
    pub(super) fn first_tick(&mut self) {
        let mut ready = Vec::with_capacity(EVENTS);
        if let Err(e) = self.poller.look(&mut ready) {
            warn!("the first poll has failed: {e}");
        }
        for event in &ready {
            // All listeners are looked at after the freeze.
            enqueue_client(&mut self.poller, event);
        }
        self.work_off_queue(FIRST_TURNS);
        self.write_replies();
        self.words.tick(MonotonicClock.now_ns());
    }

    /// After the freeze: tells the keeper, and does what could wait.
    fn report(&mut self, channel: &GenerationEnd, upgrade: u64, freeze: Duration) {
        let Profile { version, build, fingerprint, handoff_versions, addresses } =
            super::profile(&self.executor.state.addresses);
        let freeze_us = freeze.as_micros() as u64;
        let serving = Serving {
            upgrade,
            pid: std::process::id(),
            generation: u64::from(self.number.get()),
            connections: u64::from(self.poller.open()),
            freeze_us,
            version,
            build,
            fingerprint,
            handoff_versions,
            addresses,
        };
        say(channel, serving.into());
        info!("generation {} serves after a freeze of {freeze_us} us", self.number);
        huge_pages::report(&self.executor.arena, &self.settings);
        self.executor.arena.start_grower(true);
        self.inherited = Some(0);
        // What waited to be accepted when the poll was emptied is not reported again.
        self.accept_again = (0..self.poller.listeners().len()).collect();
        self.note_generation();
    }

    /// Has `INFO` and the next server on this arena know who serves.
    pub(super) fn note_generation(&mut self) {
        let state = field!(self.executor.root(), Root.handoff);
        let number = U64::from_native(u64::from(self.number.get()));
        let noted = self
            .executor
            .arena
            .transact(|tx| tx.set(field!(state, HandoffState.generation), number));
        if noted.is_err() {
            warn!("the number of the generation cannot be noted: the arena is full");
        }
    }
}
