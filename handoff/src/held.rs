//! What a receiver of client sockets holds: the successor until it takes over, and the predecessor
//! while it stands by.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use crate::cookie::socket_cookie;
use crate::error::{HandoffError, Phase};
use crate::host::SocketHolder;
use crate::link::Received;
use crate::message::{Closed, Message, SetDigest, Sockets, Ticket};
use crate::reason::{host_failed, unexpected, violation};
use crate::sockets::TicketSet;

/// What came of a message.
pub(crate) enum News {
    /// It was news of sockets, with this number, and is dealt with.
    Taken(u64),
    /// It is something else, and came without descriptors.
    Other(Message),
}

/// The sockets that the giving side believes to be here.
#[derive(Debug, Default)]
pub(crate) struct Held(TicketSet);

impl Held {
    pub(crate) fn new(set: TicketSet) -> Self {
        Self(set)
    }

    pub(crate) fn into_set(self) -> TicketSet {
        self.0
    }

    pub(crate) fn digest(&self) -> SetDigest {
        self.0.digest()
    }

    /// Compares what is here with what the other side says is here.
    pub(crate) fn check(&self, stated: SetDigest) -> Result<(), HandoffError> {
        let held = self.0.digest();
        if held == stated {
            return Ok(());
        }
        Err(HandoffError::SetsDiffer { stated: stated.count, held: held.count })
    }

    /// Deals with SOCKETS and CLOSED; any other message is handed back.
    pub(crate) fn take_news(
        &mut self,
        host: &mut dyn SocketHolder,
        phase: Phase,
        received: Received,
    ) -> Result<News, HandoffError> {
        match received.message {
            Message::Sockets(Sockets { sequence, tickets }) => {
                self.take_batch(host, phase, &tickets, received.fds)?;
                Ok(News::Taken(sequence))
            }
            Message::Closed(Closed { sequence, tickets }) => {
                for ticket in tickets {
                    if !self.0.remove(ticket) {
                        return Err(HandoffError::Socket {
                            slot: ticket.slot,
                            what: "it is said to have closed, but is not held".into(),
                        });
                    }
                    host.closed(ticket);
                }
                Ok(News::Taken(sequence))
            }
            other if received.fds.is_empty() => Ok(News::Other(other)),
            other => Err(unexpected(phase, &other)),
        }
    }

    fn take_batch(
        &mut self,
        host: &mut dyn SocketHolder,
        phase: Phase,
        tickets: &[Ticket],
        fds: Vec<OwnedFd>,
    ) -> Result<(), HandoffError> {
        if tickets.len() != fds.len() {
            return Err(violation(
                phase,
                format!("{} sockets with {} descriptors", tickets.len(), fds.len()),
            ));
        }
        for (&ticket, fd) in tickets.iter().zip(fds) {
            verify_socket(ticket, fd.as_fd())
                .map_err(|what| HandoffError::Socket { slot: ticket.slot, what })?;
            if !self.0.insert(ticket) {
                let what = "its slot already has one that was not said to have closed".into();
                return Err(HandoffError::Socket { slot: ticket.slot, what });
            }
            host.socket(ticket, fd).map_err(|error| host_failed(phase, &error))?;
        }
        Ok(())
    }
}

/// What a received descriptor must be. Its flags belong to the file description, which the sender
/// still uses, so they are looked at and never changed.
pub(crate) fn verify_socket(ticket: Ticket, fd: BorrowedFd<'_>) -> Result<(), String> {
    let cookie = socket_cookie(fd).map_err(|error| format!("no socket: {error}"))?;
    if cookie != ticket.cookie {
        return Err(format!("its cookie is {cookie:#x}, not {:#x}", ticket.cookie));
    }
    let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(|errno| format!("F_GETFL: {errno}"))?;
    if !OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK) {
        return Err("it is blocking".into());
    }
    let flags = fcntl(fd, FcntlArg::F_GETFD).map_err(|errno| format!("F_GETFD: {errno}"))?;
    if !FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC) {
        return Err("it would be inherited through exec".into());
    }
    Ok(())
}
