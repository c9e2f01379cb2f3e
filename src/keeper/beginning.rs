//! How a keeper begins: with a server to be started, with one that has lost its keeper, or as the program that
//! another keeper has become.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use handoff::custody::{Custody, Parts};
use handoff::fence::ProcessHandle;
use handoff::keeper_channel::{self as channel, KeeperEnd};
use handoff::link::Link;
use handoff::message::Ticket;
use nix::sys::signal::Signal;
use tracing::{error, info, warn};

use super::child::Child;
use super::control::ControlSocket;
use super::history::History;
use super::holding::Holding;
use super::notify::ServiceManager;
use super::pidfile::PidFile;
use super::process::{self, Binary, Ending, pid_of};
use super::recovery::Deaths;
use super::renewal::Renewal;
use super::signals::Signals;
use super::spare::Spares;
use super::watcher::Watcher;
use super::{Keeper, KeeperError, runtime_dir};
use crate::inherited::adopt;
use crate::keeper_state::{GenerationState, KeeperState, Kept};
use crate::settings::Settings;
use crate::version;

/// What every keeper needs of the system.
struct Means {
    signals: Signals,
    control: ControlSocket,
    watcher: Watcher,
    running: Rc<Binary>,
}

impl Means {
    /// `control` is the socket that there is already.
    fn take(settings: &Settings, control: Option<ControlSocket>) -> Result<Self, KeeperError> {
        let directory = &settings.runtime_dir;
        if let Err(error) = process::close_inherited_on_exec() {
            warn!("cannot keep inherited descriptors from generations: {error}");
        }
        let signals = Signals::take_over()
            .map_err(|errno| KeeperError::Os { what: "take over signals", errno })?;
        let control = match control {
            Some(control) => control,
            None => {
                runtime_dir::prepare(directory)?;
                runtime_dir::remove_stale(directory);
                ControlSocket::bind(directory).map_err(|source| KeeperError::Control {
                    directory: directory.clone(),
                    source,
                })?
            }
        };
        let watcher = Watcher::new()
            .map_err(|errno| KeeperError::Os { what: "make a pipe for deaths", errno })?;
        Ok(Self { signals, control, watcher, running: Rc::new(Binary::running()?) })
    }
}

/// Says which part of a state cannot be used, and why.
fn unusable<E: Display>(what: &'static str) -> impl FnOnce(E) -> KeeperError {
    move |error| KeeperError::State { what, why: error.to_string() }
}

fn take_fd(what: &'static str, number: RawFd) -> Result<OwnedFd, KeeperError> {
    adopt(number).map_err(unusable(what))
}

fn take_links(links: Vec<(u64, RawFd)>) -> Result<Vec<(u64, Link)>, KeeperError> {
    let what = "a holding link";
    let link = |(generation, number)| {
        Ok((generation, Link::new(take_fd(what, number)?).map_err(unusable(what))?))
    };
    links.into_iter().map(link).collect()
}

fn take_custody(kept: &Kept) -> Result<Custody, KeeperError> {
    let arena = kept.arena.iter().map(|number| take_fd("the arena", *number));
    let listener =
        |(text, number): &(Vec<u8>, RawFd)| Ok((text.clone(), take_fd("a listener", *number)?));
    let socket = |&(slot, cookie, round, number): &(u32, u64, u64, RawFd)| {
        Ok((Ticket { slot, cookie }, round, take_fd("a connection", number)?))
    };
    Ok(Custody::of_parts(Parts {
        arena: arena.collect::<Result<_, KeeperError>>()?,
        listeners: kept.listeners.iter().map(listener).collect::<Result<_, KeeperError>>()?,
        sockets: kept.sockets.iter().map(socket).collect::<Result<_, KeeperError>>()?,
        closed_untold: kept.closed_untold.clone(),
        round: kept.round,
    }))
}

fn take_control(kept: &Kept) -> Result<ControlSocket, KeeperError> {
    let what = "the control socket";
    let socket = take_fd(what, kept.control)?;
    ControlSocket::of(socket.into(), kept.control_path.clone()).map_err(unusable(what))
}

/// The generation that serves, which another keeper has started, or this process before it became this
/// program.
fn take_serving(
    serving: GenerationState,
    is_parent: bool,
    end: KeeperEnd,
    binary: Rc<Binary>,
) -> Result<Child, KeeperError> {
    let mut child = Child::new(pid_of(serving.pid), serving.number, end, binary);
    child.profile = serving.profile;
    if is_parent {
        Ok(child)
    } else if serving.pid == std::process::id() {
        Ok(child.itself())
    } else {
        let handle = ProcessHandle::open(serving.pid);
        Ok(child.adopted(handle.map_err(unusable("the generation that serves"))?))
    }
}

impl Keeper {
    /// Starts generation 1.
    pub(super) fn start(settings: Settings) -> Result<Self, KeeperError> {
        let settings_json = settings.to_json()?;
        let means = Means::take(&settings, None)?;
        let mut holding = Holding::default();
        let link = holding.open(1).map_err(KeeperError::Holding)?;
        let (pid, end) = process::spawn_generation(&means.running)?;
        let serving = Child::new(pid, 1, end, means.running.clone());
        let first = channel::Start {
            generation: serving.number,
            keeper_pid: std::process::id(),
            settings: settings_json.clone(),
        };
        if let Err(error) = serving.begin(first, None, Some(link.as_fd())) {
            serving.signal(Signal::SIGKILL);
            return Err(error.into());
        }
        info!(
            "hotredis {} starts, keeper {}",
            version::describe(version::VERSION, version::build()),
            std::process::id()
        );
        let manager = ServiceManager::of(&settings, None);
        Ok(Self::of(settings, settings_json, means, manager, holding, serving))
    }

    /// Becomes the keeper of generation 1, which is to run in another thread of this process. Returns its end of
    /// the channel.
    pub(super) fn start_alone(settings: Settings) -> Result<(Self, OwnedFd), KeeperError> {
        let settings_json = settings.to_json()?;
        let means = Means::take(&settings, None)?;
        let (end, theirs) = channel::pair()?;
        let own = std::process::id();
        let serving = Child::new(pid_of(own), 1, end, means.running.clone()).itself();
        info!(
            "hotredis {} starts, process {own}, without a keeper beside it",
            version::describe(version::VERSION, version::build())
        );
        let manager = ServiceManager::of(&settings, None);
        let holding = Holding::default();
        Ok((Self::of(settings, settings_json, means, manager, holding, serving), theirs))
    }

    /// Takes over a server whose keeper has died, or was another program: the former is told of everything that is
    /// to be held by the generation that serves, which has started this process; the latter has it.
    pub(super) fn carry_on(state: KeeperState) -> Result<Self, KeeperError> {
        let KeeperState { settings, serving, links, upgrades, kept } = state;
        let settings_json = settings.to_json()?;
        let end = KeeperEnd::from_inherited(take_fd("the channel", serving.channel)?)?;
        let links = take_links(links)?;
        let custody = kept.as_ref().map(take_custody).transpose()?.unwrap_or_default();
        let control = kept.as_ref().map(take_control).transpose()?;
        let means = Means::take(&settings, control)?;
        let is_parent = kept.as_ref().is_some_and(|kept| kept.is_parent);
        // This process runs what that generation does.
        let child = take_serving(serving, is_parent, end, means.running.clone())?;
        let pid = child.pid;
        let own = std::process::id();
        match kept {
            Some(_) => info!(
                "keeper {own} is {} now",
                version::describe(version::VERSION, version::build())
            ),
            None if child.is_itself() => {
                info!("generation {}, process {pid}, is its own keeper now", child.number);
            }
            None => warn!(
                "keeper {own} carries on for one that has died: generation {}, process {pid}, serves",
                child.number
            ),
        }
        let manager = ServiceManager::of(&settings, kept.is_none().then_some(own));
        let holding = Holding::of(custody, links);
        let mut keeper = Self::of(settings, settings_json, means, manager, holding, child);
        match kept {
            Some(kept) => {
                keeper.history = History::of(kept.history, upgrades, kept.rollbacks);
                keeper.next_number = kept.next_number;
                let uptime = Duration::from_millis(kept.uptime_ms);
                keeper.started = keeper.started.checked_sub(uptime).unwrap_or(keeper.started);
            }
            None => keeper.history = History::of(Vec::new(), upgrades, 0),
        }
        keeper.be_reachable();
        Ok(keeper)
    }

    fn of(
        settings: Settings,
        settings_json: String,
        means: Means,
        manager: Option<ServiceManager>,
        holding: Holding,
        serving: Child,
    ) -> Self {
        let Means { signals, control, watcher, running } = means;
        Self {
            settings,
            settings_json,
            started: Instant::now(),
            signals,
            control,
            pidfile: None,
            manager,
            serving,
            ready: false,
            lost: None,
            upgrade: None,
            probation: None,
            holding,
            recovery: None,
            deaths: Deaths::default(),
            spares: Spares::default(),
            watcher,
            watched: None,
            running,
            renewal: Renewal::None,
            leaving: Vec::new(),
            pending: Vec::new(),
            next_number: 1,
            history: History::default(),
            stopping: None,
            interrupts: 0,
            exit: None,
        }
    }

    pub(super) fn on_ready(&mut self, said: channel::Ready) {
        let addresses = said.addresses.join(", ");
        self.serving.profile = said.into();
        self.be_reachable();
        if self.stopping.is_none() {
            info!("Ready to accept connections on {addresses}");
            info!("control socket {}", self.control.path().display());
        }
    }

    /// A generation serves: users may find its keeper.
    fn be_reachable(&mut self) {
        self.ready = true;
        self.deaths.begun(Instant::now());
        let directory = self.settings.runtime_dir.clone();
        if let Err(error) = self.control.publish(&directory) {
            error!("cannot put the control socket into {}: {error}", directory.display());
            self.stop("no control socket");
            return;
        }
        if let Some(path) = self.settings.last_single("pidfile").map(PathBuf::from) {
            match PidFile::write(&path) {
                Ok(file) => self.pidfile = Some(file),
                Err(error) => warn!("cannot write the pid file {}: {error}", path.display()),
            }
        }
    }

    /// What is readable when the generation has ended that another keeper has started, or that is this
    /// process, if there is one.
    pub(super) fn adopted_process(&self) -> Option<BorrowedFd<'_>> {
        self.generations().find_map(Child::handle)
    }

    /// That generation may have ended: nobody is there to reap it.
    pub(super) fn on_adopted(&mut self) {
        for (child, _) in self.leaving.iter_mut().filter(|(child, _)| child.is_itself()) {
            // It has nothing more to say, but to close its end.
            child.receive();
        }
        let gone = self.generations().find(|child| child.has_gone()).map(|child| child.pid);
        let Some(pid) = gone else { return };
        // What it said last may not have been read yet.
        self.on_messages();
        self.on_exit(pid, Ending::Unknown);
    }
}
