//! Upgrades of the candidate in the midst of an episode, and what becomes of the new generation.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run::Pair;
use crate::server::Server;

/// How often an upgrade is tried that fails for want of time.
const ATTEMPTS: usize = 5;

/// How long the generation before may take to serve again.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long predecessors stand by, for `hotredis serve`.
pub(super) const PROBATION: [&str; 2] = ["--probation", "60"];

/// What becomes of a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It serves on.
    Stands,
    /// It gives the server back at once.
    GoesBack,
    /// It is killed after so many microseconds, while the next steps run; the one before takes over.
    Dies(u64),
}

/// A generation that is about to be killed.
#[derive(Debug)]
pub(super) struct Dying {
    killer: JoinHandle<()>,
    /// The generation that will serve again.
    before: u64,
}

impl Pair {
    /// Takes the candidate to its next build, and back if that is what is to come of it.
    pub(super) fn upgrade(&mut self, then: Then) -> Result<(), String> {
        if self.builds.is_empty() {
            return Ok(());
        }
        self.await_return()?;
        self.tally.upgrades += 1;
        let binary = self.builds[self.tally.upgrades as usize % self.builds.len()].clone();
        let (_, candidate) = self.sides();
        let mut outcome = candidate.server.upgrade(&binary);
        for _ in 1..ATTEMPTS {
            // On a machine that is busy with other things a deadline may pass; then all is as before.
            if outcome.success || !outcome.output.contains(" serves on") {
                break;
            }
            outcome = candidate.server.upgrade(&binary);
        }
        if !outcome.success {
            return Err(format!("the upgrade failed: {}", outcome.output));
        }
        match then {
            Then::Stands => Ok(()),
            Then::GoesBack => go_back(&candidate.server),
            Then::Dies(after_us) => {
                let (generation, pid) = candidate.server.serving();
                let killer = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_micros(after_us));
                    // It is its keeper's to reap: the pid cannot be another's.
                    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                });
                self.killed = true;
                self.dying = Some(Dying { killer, before: generation - 1 });
                Ok(())
            }
        }
    }

    /// Waits until the generation before serves again, if one is being killed.
    pub(super) fn await_return(&mut self) -> Result<(), String> {
        let Some(Dying { killer, before }) = self.dying.take() else { return Ok(()) };
        killer.join().map_err(|_| "the killing thread has panicked")?;
        let (_, candidate) = self.sides();
        let end = Instant::now() + PATIENCE;
        while candidate.server.serving().0 != before {
            if Instant::now() > end {
                return Err(format!("generation {before} does not serve again"));
            }
        }
        Ok(())
    }
}

fn go_back(server: &Server) -> Result<(), String> {
    let output = server.cli(&["rollback"]);
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the rollback failed: {}", String::from_utf8_lossy(&output.stderr)))
}
