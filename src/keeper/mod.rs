//! The keeper: the parent of all generations, whose pid is the one that users know.
//!
//! One `poll` loop in one thread (others only [wait for a death](watcher)), over signals, the control
//! socket, the channels and holding links of generations (the one that serves, and its successor or
//! the predecessor that stands by) and the output of a preflight. Nothing in it waits: what takes time is
//! a state with a deadline. It holds the arena, listeners and clients' sockets for the case that a
//! generation dies, but never looks into any of them, so there is little that could make it fail.

pub mod alone;
mod beginning;
mod child;
mod control;
mod estate;
mod history;
mod holding;
mod loss;
mod notify;
mod pidfile;
mod preflight;
mod probation;
mod process;
pub mod protocol;
mod recovery;
mod renewal;
mod reporting;
mod requests;
pub mod runtime_dir;
mod signals;
mod spare;
mod timeline;
mod upgrading;
mod watcher;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use handoff::keeper_channel::{self as channel, GenerationToKeeper, Phase};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use crate::keeper_state::KeeperState;
use crate::settings::{Settings, SettingsError};
use child::Child;
use control::{ClientId, ControlSocket, Incoming};
use history::History;
use holding::Holding;
use notify::ServiceManager;
pub use notify::of_environment as service_manager;
use pidfile::PidFile;
use probation::Probation;
pub use process::path_started_from;
use process::{Binary, BinaryError, Ending, SpawnError};
use recovery::{Deaths, Recovery};
use renewal::Renewal;
use requests::Pending;
use runtime_dir::RuntimeDirError;
use signals::Signals;
use spare::Spares;
use upgrading::{Step, Upgrade};
use watcher::Watcher;

/// How long a generation that is to be gone may take to exit: the kernel needs about 70 ms per mapped GiB.
const LEAVING_PATIENCE: Duration = Duration::from_secs(30);

/// Most generations that are still exiting: a further upgrade is refused.
const MAX_LEAVING: usize = 8;

/// How long killed children may take to end when the keeper exits: the kernel needs about 70 ms per
/// mapped GiB.
const LAST_RITES: Duration = Duration::from_secs(3);

/// How long control clients may take to read their last reply when the keeper exits.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why a keeper does not start.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no place for the control socket.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The control socket cannot be made.
    #[error("cannot make a control socket in {}: {source}", directory.display())]
    Control {
        /// The runtime directory.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The running binary cannot be opened again.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// Generation 1 cannot be started.
    #[error("cannot start generation 1: {0}")]
    Spawn(#[from] SpawnError),
    /// Generation 1 cannot be told its settings.
    #[error("cannot start generation 1: {0}")]
    Channel(#[from] channel::ChannelError),
    /// Generation 1 has no way to tell what it holds.
    #[error("cannot start generation 1: no holding link: {0}")]
    Holding(String),
    /// What the generation, or the keeper, has given in whose place this one is started cannot be used.
    #[error("cannot carry on for the keeper before: {what}: {why}")]
    State {
        /// What of it.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A system call failed.
    #[error("cannot {what}: {errno}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        errno: Errno,
    },
}

/// Runs the keeper until its server is gone: the whole of `hotredis serve`.
pub fn run(settings: Settings) -> ExitCode {
    keep(Keeper::start(settings))
}

/// Runs the keeper of a server that has lost its own, or whose keeper becomes this program, until that
/// server is gone: the whole of `hotredis keeper`.
pub fn carry_on(state: KeeperState) -> ExitCode {
    keep(Keeper::carry_on(state))
}

fn keep(keeper: Result<Keeper, KeeperError>) -> ExitCode {
    match keeper.and_then(Keeper::keep) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What the poll can report.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Control,
    Client(ClientId),
    /// A channel or the preflight's output: all of them are read anyway whenever the loop wakes.
    Other,
}

struct Keeper {
    settings: Settings,
    settings_json: String,
    started: Instant,
    signals: Signals,
    control: ControlSocket,
    pidfile: Option<PidFile>,
    /// Who started this process and wants to know how it is, if anybody.
    manager: Option<ServiceManager>,
    /// The generation that serves, or is about to as generation 1.
    serving: Child,
    /// Generation 1 has said READY.
    ready: bool,
    /// How `serving` ended, if it did: then its pid may be another's. It may still be open whether
    /// its successor took over before, or its predecessor will.
    lost: Option<Ending>,
    upgrade: Option<Upgrade>,
    /// The predecessor that stands by. Never while two generations hand over.
    probation: Option<Probation>,
    /// What outlives a generation.
    holding: Holding,
    /// A generation that is to serve after a death.
    recovery: Option<Recovery>,
    deaths: Deaths,
    /// A generation that would serve after the next one.
    spares: Spares,
    watcher: Watcher,
    /// The generation whose death it was asked to notice last.
    watched: Option<u64>,
    /// What this process runs.
    running: Rc<Binary>,
    /// What comes of it once another program serves.
    renewal: Renewal,
    /// Generations that are about to exit, with when they must be gone.
    leaving: Vec<(Child, Instant)>,
    pending: Vec<Pending>,
    /// A number for each upgrade and each request to a generation.
    next_number: u64,
    history: History,
    /// Why the server is to stop, once somebody has asked for it.
    stopping: Option<String>,
    interrupts: u32,
    /// The loop ends with this code.
    exit: Option<u8>,
}

impl Keeper {
    fn keep(mut self) -> Result<u8, KeeperError> {
        loop {
            self.watch_serving();
            let found = self.wait()?;
            let now = Instant::now();
            self.holding.receive();
            self.on_messages();
            self.on_adopted();
            self.on_deaths();
            // Only after the messages: what a process said before it ended counts.
            if found.iter().any(|(source, _)| matches!(source, Source::Signals)) {
                self.on_signals();
            }
            self.look_after_serving();
            for (source, flags) in found {
                match source {
                    Source::Control => self.control.accept(),
                    Source::Client(id) => self.on_client(id, flags),
                    Source::Signals | Source::Other => {}
                }
            }
            self.on_time(now);
            self.attend_service_manager(Instant::now());
            if self.is_handed_on() {
                self.control.drain(LAST_WORDS);
                return Ok(0);
            }
            if let Some(code) = self.exit {
                // Whoever is left was exiting, or has no server to take over.
                self.kill_all();
                self.control.drain(LAST_WORDS);
                process::reap_all(LAST_RITES);
                return Ok(code);
            }
        }
    }

    /// Waits for something to happen or the next deadline.
    fn wait(&self) -> Result<Vec<(Source, PollFlags)>, KeeperError> {
        let (sources, mut fds): (Vec<_>, Vec<_>) = self.watched().into_iter().unzip();
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(KeeperError::Os { what: "poll", errno }),
        }
        let found = sources.into_iter().zip(&fds).filter_map(|(source, fd)| {
            let flags = fd.revents().unwrap_or(PollFlags::empty());
            (!flags.is_empty()).then_some((source, flags))
        });
        Ok(found.collect())
    }

    fn watched(&self) -> Vec<(Source, PollFd<'_>)> {
        let of_upgrade = match self.upgrade.as_ref().map(|upgrade| &upgrade.step) {
            Some(Step::Preflight(running)) => running.stdout(),
            Some(Step::Handover(successor)) => successor.channel(),
            Some(Step::Parting | Step::Ending { .. }) | None => None,
        };
        let predecessor = self.probation.as_ref().and_then(|it| it.predecessor.channel());
        let single = [
            (Source::Signals, Some(self.signals.as_fd())),
            (Source::Control, self.control.listener()),
            (Source::Other, self.serving.channel()),
            (Source::Other, of_upgrade),
            (Source::Other, predecessor),
            (Source::Other, Some(self.watcher.as_fd())),
            (Source::Other, self.adopted_process()),
        ];
        let single = single
            .into_iter()
            .filter_map(|(source, fd)| fd.map(|fd| (source, PollFd::new(fd, PollFlags::POLLIN))));
        let clients = self
            .control
            .watched()
            .map(|(id, fd, flags)| (Source::Client(id), PollFd::new(fd, flags)));
        let holding = self.holding.links().map(|(_, fd)| PollFd::new(fd, PollFlags::POLLIN));
        let recovery = self.recovery.iter().flat_map(Recovery::watched);
        let others =
            holding.chain(recovery).chain(self.spares.watched()).map(|fd| (Source::Other, fd));
        single.chain(others).chain(clients).collect()
    }

    fn timeout(&self) -> PollTimeout {
        let upgrade = self.upgrade.as_ref().and_then(Upgrade::next_deadline);
        let leaving = self.leaving.iter().map(|(_, deadline)| *deadline).min();
        let pending = self.pending.iter().map(|pending| pending.deadline).min();
        let manager = self.manager.as_ref().and_then(ServiceManager::next_deadline);
        let probation = self.probation.as_ref().map(Probation::next_deadline);
        let recovery = self.recovery.as_ref().map(|it| it.next_deadline(Instant::now()));
        let control = self.control.next_deadline();
        let renewal = self.renewal.next_deadline();
        let spare = self.spares.next_deadline(Instant::now());
        let own = [upgrade, recovery, probation, leaving, renewal, spare];
        let next = own.into_iter().chain([pending, manager, control]).flatten().min();
        let Some(next) = next else { return PollTimeout::NONE };
        // Rounded up: waking before the deadline would only mean to wait again.
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return PollTimeout::ZERO;
        }
        let left = left + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn on_time(&mut self, now: Instant) {
        self.control.expire(now);
        self.expire_pending(now);
        self.drive_upgrade(now);
        self.drive_probation(now);
        self.drive_recovery(now);
        self.drive_renewal(now);
        self.drive_spare(now);
        for (child, deadline) in &mut self.leaving {
            if now >= *deadline {
                warn!("generation {} has handed over but does not exit: killed", child.number);
                child.signal(Signal::SIGKILL);
                *deadline = now + LEAVING_PATIENCE;
            }
        }
    }

    /// Reads a bounded number of messages of all generations; whether there were any.
    fn on_messages(&mut self) -> bool {
        // Read the later ones of a chain first and heed them last: then what the one before had said
        // before the other went on is heard before what the other said then.
        let of_successor = match &mut self.upgrade {
            Some(Upgrade { step: Step::Handover(successor), .. }) => heard_from(successor),
            _ => Vec::new(),
        };
        let of_predecessor = match &mut self.probation {
            Some(probation) => heard_from(&mut probation.predecessor),
            None => Vec::new(),
        };
        let of_recovering = match &mut self.recovery {
            Some(recovery) => heard_from(&mut recovery.child),
            None => Vec::new(),
        };
        let of_spare = self.spares.child_mut().map(heard_from).unwrap_or_default();
        let of_serving = heard_from(&mut self.serving);
        let messages = [of_serving, of_predecessor, of_successor, of_recovering, of_spare].concat();
        let any = !messages.is_empty();
        for (speaker, message) in messages {
            self.on_message(speaker, message);
        }
        any
    }

    /// What a generation says is heeded as what it is by then: an earlier message may have changed
    /// that.
    fn on_message(&mut self, speaker: Pid, message: GenerationToKeeper) {
        if speaker == self.serving.pid {
            self.on_message_of_serving(message);
        } else if self.is_standing_by(speaker) {
            self.on_message_of_predecessor(message);
        } else if self.is_part_of_upgrade(speaker) {
            self.on_message_of_successor(message);
        } else if self.is_recovering(speaker) {
            self.on_message_of_recovering(message);
        } else if self.is_spare(speaker) {
            self.on_message_of_spare(message);
        }
    }

    fn on_message_of_serving(&mut self, message: GenerationToKeeper) {
        match message {
            GenerationToKeeper::Ready(said) if !self.ready => self.on_ready(said),
            GenerationToKeeper::StartFailed(said) if !self.ready => {
                error!("cannot start: {}", said.reason);
                // It exits by itself; should it have exited with 0 the start has failed all the
                // same.
                self.exit = Some(1);
                self.serving.signal(Signal::SIGKILL);
            }
            GenerationToKeeper::Progress(said) => self.on_progress(&said),
            GenerationToKeeper::UpgradeFailed(said) => self.on_upgrade_failed(said),
            GenerationToKeeper::Stopping(said) => {
                info!("generation {} stops: {}", self.serving.number, said.cause);
                self.serving.stopping = true;
                self.release_predecessor();
            }
            GenerationToKeeper::GoBackFailed(said) => self.on_go_back_failed(said),
            GenerationToKeeper::CheckReport(said) => self.on_check_report(said),
            GenerationToKeeper::StatusReport(said) => self.on_status_report(&said),
            // GOODBYE may come before the successor's SERVING has been read: its exit tells as
            // much.
            GenerationToKeeper::Goodbye(_) => {}
            unexpected => {
                warn!("generation {}: unexpected message {unexpected:?}", self.serving.number)
            }
        }
    }

    fn on_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGUSR2 => self.upgrade_by_signal(),
                Signal::SIGINT => {
                    self.interrupts += 1;
                    if self.interrupts > 1 {
                        warn!("interrupted a second time: killing the server");
                        self.kill_all();
                        self.exit = Some(1);
                    } else {
                        self.stop("SIGINT");
                    }
                }
                _ => self.stop("SIGTERM"),
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, ending)) = process::reap_one() {
            // What it said last may not have been read yet. Bounded, lest the other one talk for
            // ever.
            for _ in 0..16 {
                if !self.on_messages() {
                    break;
                }
            }
            self.on_exit(pid, ending);
        }
    }

    fn on_exit(&mut self, pid: Pid, ending: Ending) {
        self.deaths.explain(pid, ending);
        if pid == self.serving.pid {
            self.on_exit_of_serving(ending);
        } else if self.is_standing_by(pid) {
            self.on_exit_of_predecessor(ending);
        } else if self.is_part_of_upgrade(pid) {
            self.on_exit_in_upgrade(ending);
        } else if self.is_recovering(pid) {
            self.on_exit_in_recovery(ending);
        } else if self.is_spare(pid) {
            self.on_exit_of_spare(ending);
        } else if self.is_trial(pid) {
            self.on_exit_of_trial(ending);
        } else if let Some(at) = self.leaving.iter().position(|(child, _)| child.pid == pid) {
            let (child, _) = self.leaving.swap_remove(at);
            info!("generation {} {ending}", child.number);
        }
    }

    /// Has the serving generation exit cleanly. During a freeze it is not yet clear who that is:
    /// then afterwards.
    fn stop(&mut self, cause: &str) {
        if self.stopping.is_some() {
            return;
        }
        info!("{cause}: shutting down");
        self.stopping = Some(cause.into());
        if self.upgrade.as_ref().is_some_and(|upgrade| upgrade.phase < Phase::Freeze) {
            self.fail_upgrade("the server is shutting down".into());
        }
        if self.upgrade.as_ref().is_none_or(|upgrade| matches!(upgrade.step, Step::Ending { .. })) {
            self.send_shutdown();
        }
    }

    fn send_shutdown(&mut self) {
        // One that stops needs no further word, least of all a signal amid its exit.
        let deaf = self.lost.is_some() || self.serving.stopping || self.serving.told_to_stop;
        let Some(cause) = self.stopping.clone().filter(|_| !deaf) else { return };
        if self.is_rolling_back() {
            // Who serves is about to change: whoever it is will be told then.
            return;
        }
        self.release_predecessor();
        let told = self.ready && self.serving.send(channel::Shutdown { cause }, None).is_ok();
        if !told {
            self.serving.signal(Signal::SIGTERM);
        }
        self.serving.told_to_stop = true;
    }

    /// The generations that are there, but for those that are yet to serve: the one that does, the one
    /// that stands by, those that are about to exit.
    fn generations(&self) -> impl Iterator<Item = &Child> {
        let serving = self.lost.is_none().then_some(&self.serving);
        let standing_by = self.probation.iter().map(|it| &it.predecessor);
        let leaving = self.leaving.iter().map(|(child, _)| child);
        serving.into_iter().chain(standing_by).chain(leaving)
    }

    /// The generation is about to exit: it is killed should it not.
    fn await_exit(&mut self, child: Child) {
        self.leaving.push((child, Instant::now() + LEAVING_PATIENCE));
    }

    /// Leaves no child behind.
    fn kill_all(&self) {
        let successor = match &self.upgrade {
            Some(Upgrade { step: Step::Handover(successor), .. }) => Some(successor),
            _ => None,
        };
        let recovering = self.recovery.as_ref().map(|it| &it.child);
        let others = [successor, recovering, self.spares.child()].into_iter().flatten();
        self.generations().chain(others).for_each(|child| child.signal(Signal::SIGKILL));
    }

    fn on_client(&mut self, id: ClientId, flags: PollFlags) {
        match self.control.ready(id, flags) {
            Incoming::Nothing => {}
            Incoming::Request(request) => self.on_request(id, request),
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

/// The messages that a generation has sent, each with who sent it.
fn heard_from(child: &mut Child) -> Vec<(Pid, GenerationToKeeper)> {
    let messages = child.receive();
    messages.into_iter().map(|message| (child.pid, message)).collect()
}
