//! What a keeper holds for the generations that serve: duplicates of the arena, the listeners and every
//! client socket, so that all of them outlive a death.
//!
//! A generation [tells](crate::predecessor::Predecessor::telling) over a link of its own, in the
//! messages of the handoff. Links of several generations may be read in any order, because
//! sockets are known by their cookies, which are never used again, and not by their slots.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{HandoffError, Phase};
use crate::fds::MAX_FDS_PER_MESSAGE;
use crate::held::verify_socket;
use crate::link::{Link, Received};
use crate::message::{Closed, Message, Sockets, Ticket};
use crate::reason::{unexpected, violation};
use crate::rlimit::{DESCRIPTOR_RESERVE, ensure_descriptor_limit};

/// Messages taken from one link in one call.
const MESSAGES_PER_CALL: usize = 256;

/// A connection's socket.
#[derive(Debug)]
struct Socket {
    slot: u32,
    fd: OwnedFd,
    /// The round of telling in which it was told last.
    round: u64,
}

/// What has become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is held.
    Opened(Ticket),
    /// It is held no more.
    Closed(Ticket),
}

/// The descriptors of a server.
#[derive(Debug, Default)]
pub struct Custody {
    arena: Vec<OwnedFd>,
    listeners: Vec<(Vec<u8>, OwnedFd)>,
    /// By cookie.
    sockets: HashMap<u64, Socket>,
    /// Cookies of connections that were closed before anybody had told of them.
    closed_untold: HashSet<u64>,
    /// A generation that tells everything begins a new round.
    round: u64,
    /// The round has come to its end: nothing is missing but what is news.
    complete: bool,
    /// How many descriptors this process is known to be allowed.
    allowed: u64,
    /// What has changed, in that order, if somebody [wants to know](Self::follow).
    changes: Option<Vec<Change>>,
}

/// Everything that a keeper holds, to be given to the program that it becomes. `F` stands for a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<F> {
    /// The arena's.
    pub arena: Vec<F>,
    /// With their descriptions.
    pub listeners: Vec<(Vec<u8>, F)>,
    /// With the round in which each was told last.
    pub sockets: Vec<(Ticket, u64, F)>,
    /// Cookies of connections that were closed before anybody had told of them.
    pub closed_untold: Vec<u64>,
    /// The round of telling.
    pub round: u64,
}

impl Custody {
    /// What it is made of.
    pub fn parts(&self) -> Parts<BorrowedFd<'_>> {
        let listeners = self.listeners();
        let sockets = self.sockets.iter().map(|(&cookie, socket)| {
            (Ticket { slot: socket.slot, cookie }, socket.round, socket.fd.as_fd())
        });
        Parts {
            arena: self.arena.iter().map(AsFd::as_fd).collect(),
            listeners: listeners.map(|(text, fd)| (text.to_vec(), fd)).collect(),
            sockets: sockets.collect(),
            closed_untold: self.closed_untold.iter().copied().collect(),
            round: self.round,
        }
    }

    /// What another program has made of its own.
    pub fn of_parts(parts: Parts<OwnedFd>) -> Self {
        let sockets = parts
            .sockets
            .into_iter()
            .map(|(Ticket { slot, cookie }, round, fd)| (cookie, Socket { slot, fd, round }));
        Self {
            complete: !parts.arena.is_empty(),
            arena: parts.arena,
            listeners: parts.listeners,
            sockets: sockets.collect(),
            closed_untold: parts.closed_untold.into_iter().collect(),
            round: parts.round,
            allowed: 0,
            changes: None,
        }
    }

    /// Reads what a generation has told, a bounded number of messages. Returns whether there may be
    /// more.
    ///
    /// # Errors
    /// A [`HandoffError`] if the link has ended or something makes no sense: nothing more is to be
    /// had from it. What was held before still is.
    pub fn receive(&mut self, link: &mut Link) -> Result<bool, HandoffError> {
        for _ in 0..MESSAGES_PER_CALL {
            self.make_room();
            match link.receive() {
                Ok(Some(received)) => self.take(received)?,
                Ok(None) => return Ok(false),
                Err(source) => return Err(HandoffError::Link { phase: Phase::Custody, source }),
            }
        }
        Ok(true)
    }

    /// Raises the limit of open descriptors before it is reached; what does not arrive for want of
    /// them is seen on receipt.
    fn make_room(&mut self) {
        let needed =
            self.sockets.len() as u64 + 4 * MAX_FDS_PER_MESSAGE as u64 + DESCRIPTOR_RESERVE;
        if needed > self.allowed {
            let allowed =
                ensure_descriptor_limit(2 * needed).or_else(|_| ensure_descriptor_limit(needed));
            self.allowed = allowed.unwrap_or(self.allowed);
        }
    }

    fn take(&mut self, Received { message, fds }: Received) -> Result<(), HandoffError> {
        match message {
            Message::Arena(_) => {
                self.round += 1;
                self.complete = false;
                self.arena = fds;
            }
            Message::Listeners(listeners) if listeners.descriptions.len() == fds.len() => {
                self.listeners = listeners.descriptions.into_iter().zip(fds).collect();
            }
            Message::Sockets(Sockets { tickets, .. }) if tickets.len() == fds.len() => {
                for (ticket, fd) in tickets.into_iter().zip(fds) {
                    self.hold(ticket, fd)?;
                }
            }
            Message::Closed(Closed { tickets, .. }) => {
                for Ticket { cookie, .. } in tickets {
                    match self.sockets.remove(&cookie) {
                        Some(Socket { slot, .. }) => {
                            self.note(Change::Closed(Ticket { slot, cookie }));
                        }
                        None => drop(self.closed_untold.insert(cookie)),
                    }
                }
            }
            Message::PrecopyDone(_) => self.end_round(),
            other @ (Message::Listeners(_) | Message::Sockets(_)) => {
                let what = format!("{} with {} descriptors", other.name(), fds.len());
                return Err(violation(Phase::Custody, what));
            }
            other => return Err(unexpected(Phase::Custody, &other)),
        }
        Ok(())
    }

    fn hold(&mut self, ticket: Ticket, fd: OwnedFd) -> Result<(), HandoffError> {
        let Ticket { slot, cookie } = ticket;
        verify_socket(ticket, fd.as_fd()).map_err(|what| HandoffError::Socket { slot, what })?;
        if !self.closed_untold.remove(&cookie) {
            let before = self.sockets.insert(cookie, Socket { slot, fd, round: self.round });
            // A generation that tells everything anew tells of what is held already, too.
            if before.is_none() {
                self.note(Change::Opened(ticket));
            }
        }
        Ok(())
    }

    fn note(&mut self, change: Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change);
        }
    }

    /// Begins to note what changes, from here on, to be [taken](Self::changes) soon and often; or ends it.
    pub fn follow(&mut self, wanted: bool) {
        self.changes = wanted.then(Vec::new);
    }

    /// What has changed since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn retain(&mut self, mut is_kept: impl FnMut(u64, &Socket) -> bool) {
        let changes = &mut self.changes;
        self.sockets.retain(|&cookie, socket| {
            let kept = is_kept(cookie, socket);
            if let Some(changes) = changes.as_mut().filter(|_| !kept) {
                changes.push(Change::Closed(Ticket { slot: socket.slot, cookie }));
            }
            kept
        });
    }

    /// Everything was told: what was not has closed unheard.
    fn end_round(&mut self) {
        let round = self.round;
        self.retain(|_, socket| socket.round == round);
        self.closed_untold.clear();
        self.complete = true;
    }

    /// Whether a generation has told everything, so that its death would lose nothing.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The arena's descriptors; none before a generation serves.
    pub fn arena(&self) -> &[OwnedFd] {
        &self.arena
    }

    /// The listeners with their descriptions.
    pub fn listeners(&self) -> impl Iterator<Item = (&[u8], BorrowedFd<'_>)> {
        self.listeners.iter().map(|(description, fd)| (&description[..], fd.as_fd()))
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.sockets.len()
    }

    /// The connections in the order of their slots, one for each slot.
    pub fn tickets(&self) -> Vec<Ticket> {
        let mut all: Vec<Ticket> = self
            .sockets
            .iter()
            .map(|(&cookie, socket)| Ticket { slot: socket.slot, cookie })
            .collect();
        all.sort_unstable_by_key(|ticket| (ticket.slot, std::cmp::Reverse(ticket.cookie)));
        // Of two in one slot the later connection counts: the earlier has closed unheard.
        all.dedup_by_key(|ticket| ticket.slot);
        all
    }

    /// The socket of a connection.
    pub fn socket(&self, ticket: Ticket) -> Option<BorrowedFd<'_>> {
        let found = self.sockets.get(&ticket.cookie)?;
        (found.slot == ticket.slot).then(|| found.fd.as_fd())
    }

    /// Lets go of every connection but these: the others turned out to be nobody's.
    pub fn keep_only(&mut self, tickets: &[Ticket]) {
        if tickets.len() == self.sockets.len() {
            return;
        }
        let kept: HashSet<u64> = tickets.iter().map(|ticket| ticket.cookie).collect();
        self.retain(|cookie, _| kept.contains(&cookie));
    }
}
