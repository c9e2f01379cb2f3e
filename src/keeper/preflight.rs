//! Asking a binary what it is before anything is entrusted to it: `hotredis preflight`, with a
//! deadline and a bound.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

use super::process::{Binary, Ending, kill_group, pid_of};
use crate::identity::{Identity, MAGIC, MAX_LINE};
use crate::keeper_state::Profile;
use crate::version;

/// How long a binary may take to say what it is.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A running preflight. Dropping it kills the process; the keeper's loop reaps it.
#[derive(Debug)]
pub struct Preflight {
    pid: Pid,
    stdout: PipeReader,
    output: Vec<u8>,
    /// Its output has ended: polling it would report that for ever.
    silent: bool,
    ended: Option<Ending>,
    deadline: Instant,
}

impl Preflight {
    /// Runs the binary with `preflight`, in a process group of its own so that what it starts can
    /// be killed with it.
    pub fn start(binary: &Binary, deadline: Instant) -> io::Result<Self> {
        let (stdout, theirs) = io::pipe()?;
        let flags = OFlag::from_bits_truncate(fcntl(&stdout, FcntlArg::F_GETFL)?);
        fcntl(&stdout, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let mut command = binary.command();
        command.arg("preflight").stdout(theirs).stderr(Stdio::null()).process_group(0);
        let child = command.spawn()?;
        let deadline = deadline.min(Instant::now() + PATIENCE);
        Ok(Self {
            pid: pid_of(child.id()),
            stdout,
            output: Vec::new(),
            silent: false,
            ended: None,
            deadline,
        })
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it must have said what it is.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Its output, to be polled for reading; `None` once it has ended.
    pub fn stdout(&self) -> Option<BorrowedFd<'_>> {
        (!self.silent).then(|| self.stdout.as_fd())
    }

    /// Notes how it ended.
    pub fn ended(&mut self, ending: Ending) {
        self.ended = Some(ending);
    }

    /// Whether it has ended and been reaped.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Reads what there is and judges it. `None` while it is still running within its bounds.
    pub fn judge(&mut self, now: Instant) -> Option<Result<Identity, String>> {
        if let Err(reason) = self.read() {
            return Some(Err(reason));
        }
        match self.ended {
            Some(Ending::Exit(0)) => Some(parse(&self.output)),
            Some(ending) => Some(Err(format!("is no hotredis: asked what it is, it {ending}"))),
            None if now >= self.deadline => {
                Some(Err("is no hotredis: asked what it is, it did not answer in time".into()))
            }
            None => None,
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let mut chunk = [0u8; 1024];
        loop {
            match self.stdout.read(&mut chunk) {
                Ok(0) => {
                    self.silent = true;
                    return Ok(());
                }
                Ok(length) => self.output.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot be heard: {error}")),
            }
            if self.output.len() > MAX_LINE {
                return Err("is no hotredis: asked what it is, it printed too much".into());
            }
        }
    }
}

impl Drop for Preflight {
    fn drop(&mut self) {
        // Once it is reaped its pid may be another's. What it had started is then left to itself.
        if self.ended.is_none() {
            kill_group(self.pid);
        }
    }
}

fn parse(output: &[u8]) -> Result<Identity, String> {
    let rubbish = || "is no hotredis: asked what it is, it printed something else".to_string();
    let line = output.strip_suffix(b"\n").unwrap_or(output);
    let identity: Identity = serde_json::from_slice(line).map_err(|_| rubbish())?;
    if identity.magic == MAGIC { Ok(identity) } else { Err(rubbish()) }
}

/// What a new binary has to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// The version of the keeper channel that this keeper speaks.
    pub keeper_protocol: u16,
    /// The handoff versions that the serving generation speaks.
    pub handoff_versions: (u16, u16),
    /// The fingerprint of the arena that it serves.
    pub fingerprint: String,
}

impl Required {
    /// What a successor of a generation with this profile has to fit.
    pub fn of_successor(profile: &Profile) -> Self {
        Self {
            keeper_protocol: handoff::keeper_channel::KEEPER_PROTOCOL,
            handoff_versions: profile.handoff_versions,
            fingerprint: profile.fingerprint.clone(),
        }
    }

    /// Why a binary with this identity cannot take over; `None` if it can.
    pub fn objection(&self, new: &Identity) -> Option<String> {
        let name = version::describe(&new.version, &new.build);
        let (low, high) = new.handoff_versions;
        let (our_low, our_high) = self.handoff_versions;
        if new.keeper_protocol != self.keeper_protocol {
            Some(format!(
                "{name} speaks version {} of the keeper channel, this keeper {}: restart instead",
                new.keeper_protocol, self.keeper_protocol
            ))
        } else if low > our_high || high < our_low {
            Some(format!(
                "{name} speaks handoff versions {low} to {high}, the serving generation {our_low} to {our_high}: \
                 upgrade to a version in between first"
            ))
        } else if !new.fingerprints.contains(&self.fingerprint) {
            Some(format!(
                "{name} cannot serve this arena: its fingerprints are [{}], the arena's is {}: choose a build that \
                 knows the arena's, or restart",
                new.fingerprints.join(", "),
                self.fingerprint
            ))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required() -> Required {
        Required { keeper_protocol: 1, handoff_versions: (2, 3), fingerprint: "aa".into() }
    }

    fn identity() -> Identity {
        let mut identity = Identity::of_this_build((3, 5), vec!["bb".into(), "aa".into()]);
        identity.keeper_protocol = 1;
        identity
    }

    #[test]
    fn a_binary_that_fits_is_let_in() {
        assert_eq!(required().objection(&identity()), None);
    }

    #[test]
    fn each_thing_that_does_not_fit_is_named() {
        let other_keeper = Identity { keeper_protocol: 2, ..identity() };
        assert!(required().objection(&other_keeper).unwrap().contains("keeper channel"));
        for handoff_versions in [(1, 1), (4, 9)] {
            let other = Identity { handoff_versions, ..identity() };
            assert!(required().objection(&other).unwrap().contains("handoff versions"));
        }
        let other_arena = Identity { fingerprints: vec!["cc".into()], ..identity() };
        let reason = required().objection(&other_arena).unwrap();
        assert!(reason.contains("[cc]") && reason.contains("aa"), "{reason}");
    }

    #[test]
    fn only_a_hotredis_is_believed() {
        let line = serde_json::to_vec(&identity()).unwrap();
        assert_eq!(parse(&line).unwrap(), identity());
        assert_eq!(parse(&[line.as_slice(), b"\n"].concat()).unwrap(), identity());
        let foreign =
            serde_json::to_vec(&Identity { magic: "redis".into(), ..identity() }).unwrap();
        for wrong in [
            b"".as_slice(),
            b"hello\n",
            b"{}",
            b"\xff",
            &foreign,
            &[line.as_slice(), b"\nx"].concat(),
        ] {
            assert!(parse(wrong).is_err());
        }
    }
}
