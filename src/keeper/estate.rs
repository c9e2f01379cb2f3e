//! What a generation has left, or would leave: what the keeper holds, as the handoff's machine gives it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

use handoff::custody::Custody;
use handoff::death::Cause;
use handoff::error::HostError;
use handoff::host::{Parcel, PredecessorHost, Quiesced, SharedWords};
use handoff::message::{Hello, Identity, Ticket};
use handoff::owner::Generation;

use crate::role::{offer_payload, offer_payload_to_spare};
use crate::words::HandoffWords;

/// Connections: the cookie in each slot.
pub type Tickets = BTreeMap<u32, u64>;

/// As a map.
pub fn tickets_by_slot(tickets: &[Ticket]) -> Tickets {
    tickets.iter().map(|ticket| (ticket.slot, ticket.cookie)).collect()
}

/// What a generation leaves, as its successor is given it.
pub struct Estate<'a> {
    /// The descriptors.
    pub custody: &'a Custody,
    /// The connections.
    pub tickets: &'a Tickets,
    /// The arena's words.
    pub words: HandoffWords,
    /// Of what the generation has died, if the successor is still to be told.
    pub cause: Option<Cause>,
}

impl SharedWords for Estate<'_> {
    fn owner_word(&self) -> &AtomicU64 {
        self.words.owner()
    }

    fn executor_word(&self, generation: Generation) -> &AtomicU32 {
        self.words.executor(generation)
    }
}

impl PredecessorHost for Estate<'_> {
    fn judge(&mut self, _hello: &Hello, _ours: &Identity) -> Result<(), String> {
        // It is the same binary; and it judges for itself.
        Ok(())
    }

    fn connections(&self) -> u32 {
        u32::try_from(self.tickets.len()).unwrap_or(u32::MAX)
    }

    fn arena(&mut self) -> Result<Parcel<'_>, HostError> {
        let fds = self.custody.arena().iter().map(AsFd::as_fd).collect();
        Ok(Parcel { payload: Vec::new(), fds })
    }

    fn listeners(&mut self) -> Result<Vec<(Vec<u8>, BorrowedFd<'_>)>, HostError> {
        let all = self.custody.listeners();
        Ok(all.map(|(description, fd)| (description.to_vec(), fd)).collect())
    }

    fn scan_sockets<'h>(
        &'h self,
        from: u32,
        max: usize,
        out: &mut Vec<(Ticket, BorrowedFd<'h>)>,
    ) -> Option<u32> {
        let mut rest = self.tickets.range(from..);
        let found = rest.by_ref().take(max).map(|(&slot, &cookie)| Ticket { slot, cookie });
        out.extend(found.filter_map(|ticket| Some((ticket, self.custody.socket(ticket)?))));
        rest.next().map(|(slot, _)| *slot)
    }

    fn socket(&self, ticket: Ticket) -> Option<BorrowedFd<'_>> {
        self.custody.socket(ticket)
    }

    fn quiesce(&mut self) -> Result<Quiesced, HostError> {
        // Nobody is left who could do anything; and the keeper knows of what it gives.
        let payload = self.cause.map_or_else(|| offer_payload(true), offer_payload_to_spare);
        Ok(Quiesced { last_command_ns: self.words.ticked_ns(), payload })
    }
}
