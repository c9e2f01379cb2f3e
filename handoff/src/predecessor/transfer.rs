//! Step 3, pre-copy: what the predecessor sends while it goes on serving.
//!
//! A message is recorded as sent only after the kernel has taken it, so a link that is full for
//! the moment needs no queue here: the same thing is tried again in a later step.

use std::os::fd::BorrowedFd;

use super::{Predecessor, RETRY, State};
use crate::clock::nanos;
use crate::error::{HandoffError, Phase};
use crate::failpoint::here;
use crate::fds::MAX_FDS_PER_MESSAGE;
use crate::host::{MAX_PAYLOAD_BYTES, PredecessorHost, Wake};
use crate::message::{Arena, Closed, Listeners, Message, PrecopyDone, Sockets, Ticket};
use crate::reason::{host_failed, violation};

/// Notices of closing in one message.
const MAX_CLOSED_PER_MESSAGE: usize = MAX_FDS_PER_MESSAGE;

/// What came of trying to send one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It is on its way, or there was progress without a message.
    Yes,
    /// There is nothing to send.
    Nothing,
    /// The window or the link is full.
    Blocked,
}

impl Predecessor {
    pub(super) fn send_arena(
        &mut self,
        host: &mut dyn PredecessorHost,
    ) -> Result<(), HandoffError> {
        let parcel = host.arena().map_err(|error| host_failed(Phase::Arena, &error))?;
        check_parcel(Phase::Arena, parcel.payload.len(), parcel.fds.len())?;
        let sequence = self.window.next_sequence();
        let message = Message::Arena(Arena { sequence, payload: parcel.payload });
        if self.try_send(&message, &parcel.fds)? {
            self.pass("predecessor.arena");
            self.window.sent(parcel.fds.len());
            self.state = State::SendListeners;
            self.wake = Wake::Now;
        } else {
            self.try_again_soon();
        }
        Ok(())
    }

    pub(super) fn send_listeners(
        &mut self,
        host: &mut dyn PredecessorHost,
    ) -> Result<(), HandoffError> {
        let listeners = host.listeners().map_err(|error| host_failed(Phase::Listeners, &error))?;
        let (descriptions, fds): (Vec<Vec<u8>>, Vec<BorrowedFd<'_>>) =
            listeners.into_iter().unzip();
        let length = descriptions.iter().map(Vec::len).sum();
        check_parcel(Phase::Listeners, length, fds.len())?;
        let sequence = self.window.next_sequence();
        let message = Message::Listeners(Listeners { sequence, descriptions });
        if self.try_send(&message, &fds)? {
            self.pass("predecessor.listeners");
            self.window.sent(fds.len());
            self.listeners = fds.len() as u32;
            self.state = State::SendSockets;
            self.wake = Wake::Now;
        } else {
            self.try_again_soon();
        }
        Ok(())
    }

    /// Sends batches until the slice is used up, nothing is left, or nothing more goes.
    pub(super) fn send_slice(
        &mut self,
        host: &mut dyn PredecessorHost,
    ) -> Result<(), HandoffError> {
        let end = self.clock.now_ns().saturating_add(nanos(self.limits.slice));
        for _ in 0..self.limits.slice_batches.max(1) {
            match self.send_next(host)? {
                Sent::Yes if self.clock.now_ns() < end => {}
                Sent::Yes => break,
                Sent::Nothing => return Ok(()),
                Sent::Blocked => {
                    if self.window.is_empty() {
                        self.try_again_soon();
                    }
                    return Ok(());
                }
            }
        }
        self.wake = Wake::Now;
        Ok(())
    }

    /// Sends the one message that is due: closings, then the scan, then what came behind it.
    fn send_next(&mut self, host: &mut dyn PredecessorHost) -> Result<Sent, HandoffError> {
        if self.ledger.closed_len() > 0 {
            return self.send_closed();
        }
        if let Some(from) = self.ledger.cursor() {
            return self.send_scanned(host, from);
        }
        if matches!(self.state, State::SendSockets) {
            return self.send_precopy_done();
        }
        if self.ledger.fresh_len() > 0 {
            return self.send_fresh(host);
        }
        Ok(Sent::Nothing)
    }

    fn send_closed(&mut self) -> Result<Sent, HandoffError> {
        let max = self.window.room().min(MAX_CLOSED_PER_MESSAGE);
        if max == 0 {
            return Ok(Sent::Blocked);
        }
        let tickets = self.ledger.next_closed(max).to_vec();
        let count = tickets.len();
        let sequence = self.window.next_sequence();
        if !self.try_send(&Message::Closed(Closed { sequence, tickets }), &[])? {
            return Ok(Sent::Blocked);
        }
        self.window.sent(count);
        self.ledger.closed_sent(count);
        Ok(Sent::Yes)
    }

    fn send_scanned(
        &mut self,
        host: &mut dyn PredecessorHost,
        from: u32,
    ) -> Result<Sent, HandoffError> {
        let max = self.window.room();
        if max == 0 {
            return Ok(Sent::Blocked);
        }
        let mut found = Vec::with_capacity(max);
        let next = host.scan_sockets(from, max, &mut found);
        check_scan(from, next, max, &found)?;
        let (tickets, fds): (Vec<Ticket>, Vec<BorrowedFd<'_>>) = found.into_iter().unzip();
        if !self.send_sockets(&tickets, &fds)? {
            return Ok(Sent::Blocked);
        }
        self.ledger.scanned(next, &tickets);
        Ok(Sent::Yes)
    }

    fn send_precopy_done(&mut self) -> Result<Sent, HandoffError> {
        let done = PrecopyDone { set: self.ledger.told(), listeners: self.listeners };
        if !self.try_send(&Message::PrecopyDone(done), &[])? {
            return Ok(Sent::Blocked);
        }
        if self.telling {
            self.has_told();
            return Ok(Sent::Yes);
        }
        here("predecessor.sockets", &self.link);
        self.enter(State::Prepare { ready: None }, self.limits.ready);
        Ok(Sent::Yes)
    }

    fn send_fresh(&mut self, host: &mut dyn PredecessorHost) -> Result<Sent, HandoffError> {
        let max = self.window.room();
        if max == 0 {
            return Ok(Sent::Blocked);
        }
        if self.send_fresh_batch(host, max)? { Ok(Sent::Yes) } else { Ok(Sent::Blocked) }
    }

    fn send_fresh_batch(
        &mut self,
        host: &mut dyn PredecessorHost,
        max: usize,
    ) -> Result<bool, HandoffError> {
        let mut tickets = Vec::new();
        let mut fds = Vec::new();
        for ticket in self.ledger.next_fresh(max) {
            match host.socket(ticket) {
                Some(fd) => {
                    tickets.push(ticket);
                    fds.push(fd);
                }
                None => self.ledger.forget_fresh(ticket),
            }
        }
        let sent = self.send_sockets(&tickets, &fds)?;
        if sent {
            self.ledger.fresh_sent(&tickets);
        }
        Ok(sent)
    }

    /// Sends a batch, or nothing if it is empty. Returns whether it went.
    fn send_sockets(
        &mut self,
        tickets: &[Ticket],
        fds: &[BorrowedFd<'_>],
    ) -> Result<bool, HandoffError> {
        if tickets.is_empty() {
            return Ok(true);
        }
        let sequence = self.window.next_sequence();
        let message = Message::Sockets(Sockets { sequence, tickets: tickets.to_vec() });
        let sent = self.try_send(&message, fds)?;
        if sent {
            self.window.sent(fds.len());
        }
        Ok(sent)
    }

    /// What is left at the freeze, all of it; the window does not matter any more.
    pub(super) fn send_last_news(
        &mut self,
        host: &mut dyn PredecessorHost,
    ) -> Result<(), HandoffError> {
        while self.ledger.closed_len() > 0 {
            let tickets = self.ledger.next_closed(MAX_CLOSED_PER_MESSAGE).to_vec();
            let count = tickets.len();
            let sequence = self.window.next_sequence();
            self.send_now(&Message::Closed(Closed { sequence, tickets }), &[])?;
            self.window.sent(count);
            self.ledger.closed_sent(count);
        }
        while self.ledger.fresh_len() > 0 {
            if !self.send_fresh_batch(host, MAX_FDS_PER_MESSAGE)? {
                return Err(self.link_full());
            }
        }
        Ok(())
    }

    /// Sends what cannot wait.
    pub(super) fn send_now(
        &mut self,
        message: &Message,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), HandoffError> {
        if self.try_send(message, fds)? { Ok(()) } else { Err(self.link_full()) }
    }

    /// Sends a message. Returns `false` if it does not go now.
    fn try_send(
        &mut self,
        message: &Message,
        fds: &[BorrowedFd<'_>],
    ) -> Result<bool, HandoffError> {
        match self.link.send(message, fds) {
            Ok(()) => Ok(true),
            Err(error) if error.would_block() => Ok(false),
            Err(source) => Err(self.link_failed(source)),
        }
    }

    /// No acknowledgement will come to say when there is room again.
    fn try_again_soon(&mut self) {
        let retry = self.clock.now_ns().saturating_add(nanos(RETRY));
        self.wake = Wake::Link { deadline_ns: retry.min(self.deadline_ns) };
    }

    fn link_full(&self) -> HandoffError {
        violation(self.phase(), "it does not read what it is sent".into())
    }
}

fn check_parcel(phase: Phase, bytes: usize, fds: usize) -> Result<(), HandoffError> {
    if bytes <= MAX_PAYLOAD_BYTES && fds <= MAX_FDS_PER_MESSAGE {
        return Ok(());
    }
    let reason = format!(
        "{bytes} bytes and {fds} descriptors do not fit into one message of at most \
         {MAX_PAYLOAD_BYTES} and {MAX_FDS_PER_MESSAGE}"
    );
    Err(HandoffError::Host { phase, reason })
}

/// A scan that goes back, or leaves slots out of order, would send a socket twice or never.
fn check_scan(
    from: u32,
    next: Option<u32>,
    max: usize,
    found: &[(Ticket, BorrowedFd<'_>)],
) -> Result<(), HandoffError> {
    let ascending = found.windows(2).all(|pair| pair[0].0.slot < pair[1].0.slot);
    let inside = found
        .iter()
        .all(|(ticket, _)| ticket.slot >= from && next.is_none_or(|next| ticket.slot < next));
    let onward = next.is_none_or(|next| next > from);
    if ascending && inside && onward && found.len() <= max {
        return Ok(());
    }
    let reason = format!("the scan of sockets from slot {from} came back out of order");
    Err(HandoffError::Host { phase: Phase::Sockets, reason })
}
