//! How a keeper begins: with a server to be started, or with one that has lost its keeper.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use handoff::fence::ProcessHandle;
use handoff::keeper_channel::{self as channel, KeeperEnd};
use handoff::link::Link;
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
use super::signals::Signals;
use super::watcher::Watcher;
use super::{Keeper, KeeperError, runtime_dir};
use crate::inherited::adopt;
use crate::keeper_state::KeeperState;
use crate::settings::Settings;
use crate::version;

/// What every keeper needs of the system.
struct Means {
    signals: Signals,
    control: ControlSocket,
    watcher: Watcher,
}

impl Means {
    fn take(settings: &Settings) -> Result<Self, KeeperError> {
        let directory = &settings.runtime_dir;
        if let Err(error) = process::close_inherited_on_exec() {
            warn!("cannot keep inherited descriptors from generations: {error}");
        }
        let signals = Signals::take_over()
            .map_err(|errno| KeeperError::Os { what: "take over signals", errno })?;
        runtime_dir::prepare(directory)?;
        runtime_dir::remove_stale(directory);
        let control = ControlSocket::bind(directory)
            .map_err(|source| KeeperError::Control { directory: directory.clone(), source })?;
        let watcher = Watcher::new()
            .map_err(|errno| KeeperError::Os { what: "make a pipe for deaths", errno })?;
        Ok(Self { signals, control, watcher })
    }
}

impl Keeper {
    /// Starts generation 1.
    pub(super) fn start(settings: Settings) -> Result<Self, KeeperError> {
        let settings_json = settings.to_json()?;
        let means = Means::take(&settings)?;
        let mut holding = Holding::default();
        let link = holding.open(1).map_err(KeeperError::Holding)?;
        let running = Rc::new(Binary::running()?);
        let (pid, end) = process::spawn_generation(&running)?;
        let serving = Child::new(pid, 1, end, running);
        let first = channel::Start {
            generation: serving.number,
            keeper_pid: std::process::id(),
            settings: settings_json.clone(),
        };
        if let Err(error) = serving.begin(first, None, link.as_fd()) {
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

    /// Takes over a server whose keeper has died. The generation that serves has started this process,
    /// and tells it of everything that is to be held.
    pub(super) fn carry_on(state: KeeperState) -> Result<Self, KeeperError> {
        let KeeperState { settings, serving, upgrades } = state;
        let settings_json = settings.to_json()?;
        let broken =
            |what, why: &dyn std::fmt::Display| KeeperError::State { what, why: why.to_string() };
        let end = adopt(serving.channel).map_err(|error| broken("the channel", &error))?;
        let end = KeeperEnd::from_inherited(end)?;
        let link = adopt(serving.holding).map_err(|error| broken("the holding link", &error))?;
        let link = Link::new(link).map_err(|error| broken("the holding link", &error))?;
        let handle = ProcessHandle::open(serving.pid)
            .map_err(|error| broken("the generation that serves", &error))?;
        let means = Means::take(&settings)?;
        let mut holding = Holding::default();
        holding.add(serving.number, link);
        // This process was made from what the generation runs.
        let binary = Rc::new(Binary::running()?);
        let child = Child::new(pid_of(serving.pid), serving.number, end, binary)
            .adopted(handle, serving.profile);
        warn!(
            "keeper {} carries on for one that has died: generation {}, process {}, serves",
            std::process::id(),
            child.number,
            child.pid
        );
        let manager = ServiceManager::of(&settings, Some(std::process::id()));
        let mut keeper = Self::of(settings, settings_json, means, manager, holding, child);
        (keeper.history.upgrades, keeper.history.failures) = upgrades;
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
        let Means { signals, control, watcher } = means;
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
            watcher,
            watched: None,
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

    /// The process of the generation that another keeper has started, to be polled for reading while it
    /// is there.
    pub(super) fn adopted_process(&self) -> Option<BorrowedFd<'_>> {
        let probation = self.probation.iter().map(|it| &it.predecessor);
        let leaving = self.leaving.iter().map(|(child, _)| child);
        let serving = self.lost.is_none().then_some(&self.serving);
        serving.into_iter().chain(probation).chain(leaving).find_map(Child::handle)
    }

    /// That generation may have ended: nobody is there to reap it.
    pub(super) fn on_adopted(&mut self) {
        let probation = self.probation.iter().map(|it| &it.predecessor);
        let leaving = self.leaving.iter().map(|(child, _)| child);
        let serving = self.lost.is_none().then_some(&self.serving);
        let mut all = serving.into_iter().chain(probation).chain(leaving);
        let Some(pid) = all.find(|child| child.has_gone()).map(|child| child.pid) else { return };
        // What it said last may not have been read yet.
        self.on_messages();
        self.on_exit(pid, Ending::Unknown);
    }
}
