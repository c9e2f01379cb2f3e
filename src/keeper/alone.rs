//! `--no-keeper`: the keeper is a thread of the generation that serves.
//!
//! It upgrades as any keeper does: starts the successor, and stays its keeper while this generation stands by. When
//! that has left, this process ends, and the successor, whose channel ends with it, starts a keeper of its own: a thread
//! again. So the pid changes with each upgrade. Nothing is held for the case of a crash, since nothing would
//! outlive it.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use handoff::keeper_channel::GenerationEnd;
use tracing::error;

use super::child::Child;
use super::{Keeper, KeeperError, signals};
use crate::keeper_state::KeeperState;
use crate::role::Role;
use crate::settings::Settings;

/// How long a generation that is done waits for its keeper to be done too.
const PATIENCE: Duration = Duration::from_secs(10);

/// There is a keeper in this process.
static HERE: AtomicBool = AtomicBool::new(false);

/// Runs generation 1 in this thread, and its keeper in another: the whole of `hotredis serve --no-keeper`.
pub fn run(settings: Settings, generation: fn(GenerationEnd, Role) -> ExitCode) -> ExitCode {
    let (to_us, from_keeper) = channel();
    let role = Role::First {
        generation: 1,
        keeper_pid: std::process::id(),
        settings: settings.clone(),
        holding: None,
    };
    let begun = block_signals().map_err(io::Error::from).and_then(|()| {
        start_thread(move || {
            let (keeper, end) = Keeper::start_alone(settings)?;
            // Nobody is there to receive it only if this process is about to end.
            let _ = to_us.send(end);
            Ok(keeper)
        })
    });
    if let Err(error) = begun {
        error!("cannot start a thread for the keeper: {error}");
        return ExitCode::FAILURE;
    }
    let end = from_keeper.recv().ok().map(GenerationEnd::from_inherited);
    let code = match end {
        Some(Ok(end)) => generation(end, role),
        Some(Err(error)) => {
            error!("the keeper's channel cannot be used: {error}");
            return ExitCode::FAILURE;
        }
        // The keeper has said why.
        None => ExitCode::FAILURE,
    };
    last_words();
    code
}

/// Starts a keeper for the generation that runs in this process, which has lost its own.
///
/// # Errors
/// If there can be no thread for it.
pub fn carry_on(state: KeeperState) -> io::Result<()> {
    start_thread(move || Keeper::carry_on(state))
}

fn start_thread(
    begin: impl FnOnce() -> Result<Keeper, KeeperError> + Send + 'static,
) -> io::Result<()> {
    let keep = move || {
        HERE.store(true, Ordering::Relaxed);
        // The end of the keeper is that of the process.
        let code = match begin().and_then(Keeper::keep) {
            Ok(code) => code.into(),
            Err(error) => {
                error!("{error}");
                1
            }
        };
        std::process::exit(code)
    };
    thread::Builder::new().name("keeper".into()).spawn(keep).map(drop)
}

/// The generation of this process is done, and has left its channel: a keeper in this process, if there is
/// one, says its last words and ends it.
pub fn last_words() {
    if HERE.load(Ordering::Relaxed) {
        thread::sleep(PATIENCE);
    }
}

/// Has no thread that is started from now on take the signals that are the keeper's.
///
/// # Errors
/// If the system refuses.
pub fn block_signals() -> nix::Result<()> {
    signals::handled().thread_block()
}

impl Keeper {
    /// Whether another process serves, and the generation of this one is done.
    pub(super) fn is_handed_on(&self) -> bool {
        self.settings.no_keeper
            && self.ready
            && self.exit.is_none()
            && self.lost.is_none()
            && !self.generations().any(Child::is_itself)
            && self.upgrade.is_none()
    }
}
