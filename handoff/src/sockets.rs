//! Which client sockets one side holds: a set that both sides can compare in constant time, and
//! the predecessor's record of what it still has to tell.

use std::collections::{BTreeMap, HashMap};

use crate::message::{SetDigest, Ticket};

/// A set of tickets, at most one for each slot, with a digest kept up to date.
#[derive(Debug, Clone, Default)]
pub struct TicketSet {
    by_slot: HashMap<u32, u64>,
    sum: u64,
}

impl TicketSet {
    /// Makes room for that many, so that the set does not stall while it grows.
    pub fn reserve(&mut self, count: usize) {
        self.by_slot.reserve(count);
    }

    /// Adds a ticket. Returns `false`, and changes nothing, if its slot is taken.
    pub fn insert(&mut self, ticket: Ticket) -> bool {
        if self.by_slot.contains_key(&ticket.slot) {
            return false;
        }
        self.by_slot.insert(ticket.slot, ticket.cookie);
        self.sum = self.sum.wrapping_add(mix(ticket));
        true
    }

    /// Removes a ticket. Returns `false`, and changes nothing, if exactly this one is not there:
    /// its slot may long have another connection.
    pub fn remove(&mut self, ticket: Ticket) -> bool {
        if self.by_slot.get(&ticket.slot) != Some(&ticket.cookie) {
            return false;
        }
        self.by_slot.remove(&ticket.slot);
        self.sum = self.sum.wrapping_sub(mix(ticket));
        true
    }

    /// The cookie in a slot.
    #[must_use]
    pub fn cookie(&self, slot: u32) -> Option<u64> {
        self.by_slot.get(&slot).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_slot.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// Count and sum of the set: equal for equal sets, and for unequal ones but with a chance of
    /// one in 2^64. No defence against a peer that wants to deceive.
    #[must_use]
    pub fn digest(&self) -> SetDigest {
        SetDigest { count: u32::try_from(self.len()).unwrap_or(u32::MAX), sum: self.sum }
    }
}

/// Spreads a ticket over 64 bits (the finaliser of splitmix64), so that sums of different sets
/// differ.
fn mix(ticket: Ticket) -> u64 {
    let mut z =
        ticket.cookie.wrapping_add(u64::from(ticket.slot).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the predecessor has told and has still to tell.
///
/// Sockets that are there when the upgrade begins are found by a scan over the slots. Those that
/// come or go behind the scan are noted: `fresh` is bounded by the slots there are, `closed` by
/// the sockets sent, each of which can close once. Notices of closing are always sent before
/// fresh sockets, so a slot that is used again is free when its next socket arrives.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: TicketSet,
    fresh: BTreeMap<u32, u64>,
    closed: Vec<Ticket>,
    /// First slot that the scan has not looked at; `None` when it is through.
    cursor: Option<u32>,
    sockets_sent: u64,
}

impl Ledger {
    pub(crate) fn new(expected: usize) -> Self {
        let mut sent = TicketSet::default();
        sent.reserve(expected);
        Self { sent, cursor: Some(0), ..Self::default() }
    }

    /// A ledger whose reader holds these, told by another way.
    pub(crate) fn of_told(sent: TicketSet) -> Self {
        Self { sent, ..Self::default() }
    }

    /// The sockets that the other side holds once it has received everything that was sent.
    pub(crate) fn into_told(self) -> TicketSet {
        self.sent
    }

    /// A connection was accepted.
    pub(crate) fn accepted(&mut self, ticket: Ticket) {
        // Whoever was in this slot before is gone, told or not.
        if let Some(cookie) = self.sent.cookie(ticket.slot) {
            self.closed(Ticket { slot: ticket.slot, cookie });
        }
        if self.cursor.is_none_or(|cursor| ticket.slot < cursor) {
            self.fresh.insert(ticket.slot, ticket.cookie);
        }
    }

    /// A connection was closed.
    pub(crate) fn closed(&mut self, ticket: Ticket) {
        if self.sent.remove(ticket) {
            self.closed.push(ticket);
        } else if self.fresh.get(&ticket.slot) == Some(&ticket.cookie) {
            self.fresh.remove(&ticket.slot);
        }
    }

    /// Where the scan goes on, `None` when it is through.
    pub(crate) fn cursor(&self) -> Option<u32> {
        self.cursor
    }

    /// The scan has come to `next`, and these were sent on the way.
    pub(crate) fn scanned(&mut self, next: Option<u32>, sent: &[Ticket]) {
        self.cursor = next;
        self.mark_sent(sent);
    }

    /// Fresh sockets that were sent.
    pub(crate) fn fresh_sent(&mut self, sent: &[Ticket]) {
        for ticket in sent {
            self.fresh.remove(&ticket.slot);
        }
        self.mark_sent(sent);
    }

    fn mark_sent(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            self.sent.insert(*ticket);
            self.sockets_sent += 1;
        }
    }

    /// A fresh socket turned out not to be there any more.
    pub(crate) fn forget_fresh(&mut self, ticket: Ticket) {
        self.fresh.remove(&ticket.slot);
    }

    /// Up to `max` fresh sockets, in the order of their slots.
    pub(crate) fn next_fresh(&self, max: usize) -> Vec<Ticket> {
        self.fresh.iter().take(max).map(|(&slot, &cookie)| Ticket { slot, cookie }).collect()
    }

    /// Up to `max` notices of closing, oldest first.
    pub(crate) fn next_closed(&self, max: usize) -> &[Ticket] {
        &self.closed[..self.closed.len().min(max)]
    }

    /// The first `count` notices of closing were sent.
    pub(crate) fn closed_sent(&mut self, count: usize) {
        self.closed.drain(..count);
    }

    pub(crate) fn fresh_len(&self) -> usize {
        self.fresh.len()
    }

    pub(crate) fn closed_len(&self) -> usize {
        self.closed.len()
    }

    /// What the successor holds once it has received everything that was sent.
    pub(crate) fn told(&self) -> SetDigest {
        self.sent.digest()
    }

    /// Sockets sent in all, those closed since included.
    pub(crate) fn sockets_sent(&self) -> u64 {
        self.sockets_sent
    }
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
