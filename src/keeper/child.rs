//! What the keeper knows of a generation.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use handoff::death::{Cause, Inquest};
use handoff::fence::{OtherProcess, ProcessHandle};
use handoff::keeper_channel::{
    ChannelError, GenerationToKeeper, Hold, KeeperEnd, KeeperToGeneration,
};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::warn;

use super::process::{Binary, Ending, pid_number, signal_child};
use crate::keeper_state::Profile;

/// Most messages taken from one generation before the loop looks at its other work.
const BATCH: usize = 64;

/// A generation that has been started, and is not known to have ended.
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
    relation: Relation,
}

/// Whose child it is.
#[derive(Debug)]
enum Relation {
    /// The keeper's, who reaps it.
    Child,
    /// Another keeper has started it, so that it is nobody's here to reap.
    Adopted(ProcessHandle),
    /// It is this very process: there is no keeper beside it.
    Itself,
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
            relation: Relation::Child,
        }
    }

    /// Of what it has died.
    pub fn cause(&self, ending: Ending) -> Cause {
        match ending {
            Ending::Exit(code) => Cause::Exit(code),
            Ending::Signal(signal) => self.inquest.judge(Cause::Signal(signal as i32)),
            Ending::Executor | Ending::Unknown => self.inquest.cause(None),
        }
    }

    /// A generation that another keeper has started, by which it is known to be there.
    pub fn adopted(self, handle: ProcessHandle) -> Self {
        Self { relation: Relation::Adopted(handle), ..self }
    }

    /// The generation that runs in another thread of this process.
    pub fn itself(self) -> Self {
        Self { relation: Relation::Itself, ..self }
    }

    /// Whether it is this very process.
    pub fn is_itself(&self) -> bool {
        matches!(self.relation, Relation::Itself)
    }

    /// Whether it is this process's child.
    pub fn is_own(&self) -> bool {
        matches!(self.relation, Relation::Child)
    }

    /// Sends it a signal. It has not been reaped. Who is this process ends with it, and needs none.
    pub fn signal(&self, signal: Signal) {
        match &self.relation {
            Relation::Child => signal_child(self.pid, signal),
            // It is another's only if it has changed user, and cannot be helped.
            Relation::Adopted(handle) => drop(handle.signal(signal)),
            Relation::Itself => {}
        }
    }

    /// What is readable when it has ended, if its exit is not reported otherwise.
    pub fn handle(&self) -> Option<BorrowedFd<'_>> {
        match &self.relation {
            Relation::Adopted(handle) => Some(handle.as_fd()),
            Relation::Itself => self.channel(),
            Relation::Child => None,
        }
    }

    /// Whether it has ended, and its exit will not be reported otherwise.
    pub fn has_gone(&self) -> bool {
        match &self.relation {
            Relation::Child => false,
            Relation::Adopted(handle) => handle.has_exited(),
            // Its thread has left the channel.
            Relation::Itself => self.channel.is_none(),
        }
    }

    /// The channel, to be polled for reading while it is there.
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
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

    /// Says the first two messages: what it is to be, and over which link it tells of its descriptors, if it is
    /// to.
    pub fn begin(
        &self,
        first: impl Into<KeeperToGeneration>,
        descriptor: Option<BorrowedFd<'_>>,
        holding: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        self.send(first, descriptor)?;
        match holding {
            Some(link) => self.send(Hold { generation: self.number }, Some(link)),
            None => Ok(()),
        }
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
