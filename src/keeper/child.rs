//! What the keeper knows of a generation that it has started.

use std::os::fd::BorrowedFd;
use std::rc::Rc;

use handoff::death::{Cause, Inquest};
use handoff::keeper_channel::{
    ChannelError, GenerationToKeeper, Hold, KeeperEnd, KeeperToGeneration, Ready, Serving,
};
use handoff::message::Identity;
use nix::unistd::Pid;
use tracing::warn;

use super::preflight::Required;
use super::process::{Binary, Ending, pid_number};

/// Most messages taken from one generation before the loop looks at its other work.
const BATCH: usize = 64;

/// What a generation said of itself when it began to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Version of its build.
    pub version: String,
    /// Mark of its build, empty if it has none.
    pub build: String,
    /// Fingerprint of the arena that it serves.
    pub fingerprint: String,
    /// Lowest and highest handoff version that it speaks.
    pub handoff_versions: (u16, u16),
    /// What it listens on.
    pub addresses: Vec<String>,
}

impl From<Ready> for Profile {
    fn from(said: Ready) -> Self {
        Self {
            version: said.version,
            build: said.build,
            fingerprint: said.fingerprint,
            handoff_versions: said.handoff_versions,
            addresses: said.addresses,
        }
    }
}

impl From<Serving> for Profile {
    fn from(said: Serving) -> Self {
        Self {
            version: said.version,
            build: said.build,
            fingerprint: said.fingerprint,
            handoff_versions: said.handoff_versions,
            addresses: said.addresses,
        }
    }
}

impl Profile {
    /// Who it is, as the handoff's machines say it.
    pub fn identity(&self) -> Identity {
        let fingerprint = u64::from_str_radix(&self.fingerprint, 16).unwrap_or_default();
        Identity {
            version: self.version.clone(),
            build: self.build.clone(),
            fingerprint: fingerprint.to_le_bytes().to_vec(),
        }
    }

    /// What a successor of this generation has to fit.
    pub fn required(&self) -> Required {
        Required {
            keeper_protocol: handoff::keeper_channel::KEEPER_PROTOCOL,
            handoff_versions: self.handoff_versions,
            fingerprint: self.fingerprint.clone(),
        }
    }
}

/// A generation that has been started and not been reaped.
#[derive(Debug)]
pub struct Child {
    /// Its process.
    pub pid: Pid,
    /// Its number.
    pub number: u64,
    /// What it said of itself; empty before it serves.
    pub profile: Profile,
    /// It has said that it is about to exit on purpose.
    pub stopping: bool,
    /// It has been told to exit.
    pub told_to_stop: bool,
    /// What it was started from.
    pub binary: Rc<Binary>,
    inquest: Inquest,
    /// `None` once it is closed or has broken.
    channel: Option<KeeperEnd>,
}

impl Child {
    /// A generation that was just spawned.
    pub fn new(pid: Pid, number: u64, channel: KeeperEnd, binary: Rc<Binary>) -> Self {
        Self {
            pid,
            number,
            profile: Profile::default(),
            stopping: false,
            told_to_stop: false,
            binary,
            inquest: Inquest::open(pid_number(pid)),
            channel: Some(channel),
        }
    }

    /// Of what it has died.
    pub fn cause(&self, ending: Ending) -> Cause {
        match ending {
            Ending::Exit(code) => Cause::Exit(code),
            Ending::Signal(signal) => self.inquest.judge(Cause::Signal(signal as i32)),
            Ending::Executor => self.inquest.cause(None),
        }
    }

    /// The channel, to be polled for reading while it is there.
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.channel.as_ref().map(AsFd::as_fd)
    }

    /// Sends a message, with its descriptor if it carries one.
    pub fn send(
        &self,
        message: impl Into<KeeperToGeneration>,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        let channel = self.channel.as_ref().ok_or(ChannelError::Closed)?;
        match descriptor {
            Some(descriptor) => channel.send_with(&message.into(), descriptor),
            None => channel.send(&message.into()),
        }
    }

    /// Says the first two messages: what it is to be, and over which link it tells of its descriptors.
    pub fn begin(
        &self,
        first: impl Into<KeeperToGeneration>,
        descriptor: Option<BorrowedFd<'_>>,
        holding: BorrowedFd<'_>,
    ) -> Result<(), ChannelError> {
        self.send(first, descriptor)?;
        self.send(Hold { generation: self.number }, Some(holding))
    }

    /// The messages that are there, a bounded number of them.
    pub fn receive(&mut self) -> Vec<GenerationToKeeper> {
        let mut messages = Vec::new();
        while messages.len() < BATCH {
            let Some(channel) = self.channel.as_mut() else { break };
            match channel.recv() {
                Ok(Some(delivery)) => messages.push(delivery.message),
                Ok(None) => break,
                Err(error) if error.is_recoverable() => {
                    warn!("generation {}: {error}", self.number)
                }
                Err(error) => {
                    if !matches!(error, ChannelError::Closed) {
                        warn!("generation {}: {error}: its channel is closed", self.number);
                    }
                    self.channel = None;
                }
            }
        }
        messages
    }
}
