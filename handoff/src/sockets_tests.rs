use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Ledger, TicketSet};
use crate::message::Ticket;

fn ticket(slot: u32, cookie: u64) -> Ticket {
    Ticket { slot, cookie }
}

#[test]
fn a_stale_notice_does_not_touch_the_next_socket_of_the_slot() {
    let mut set = TicketSet::default();
    assert!(set.insert(ticket(3, 10)));
    assert!(!set.insert(ticket(3, 11)), "the slot is taken");
    assert!(set.remove(ticket(3, 10)));
    assert!(set.insert(ticket(3, 11)));
    assert!(!set.remove(ticket(3, 10)), "stale");
    assert_eq!(set.cookie(3), Some(11));
}

#[test]
fn the_digest_tells_sets_apart() {
    let mut one = TicketSet::default();
    let mut two = TicketSet::default();
    for slot in 0..100 {
        one.insert(ticket(slot, u64::from(slot) + 1000));
        two.insert(ticket(99 - slot, u64::from(99 - slot) + 1000));
    }
    assert_eq!(one.digest(), two.digest(), "the order does not matter");
    two.remove(ticket(5, 1005));
    two.remove(ticket(6, 1006));
    two.insert(ticket(5, 1006));
    two.insert(ticket(6, 1005));
    assert_ne!(one.digest(), two.digest(), "swapped slots");
    let empty = TicketSet::default();
    assert!(empty.is_empty());
    assert_eq!(empty.digest(), crate::message::SetDigest::default());
}

#[derive(Debug, Clone)]
enum Event {
    Accept(u32),
    Close(u32),
    Send(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..24_u32).prop_map(Event::Accept),
        3 => (0..24_u32).prop_map(Event::Close),
        2 => (1..6_usize).prop_map(Event::Send),
    ];
    prop::collection::vec(event, 0..120)
}

/// A server and a successor around a ledger, without any socket.
#[derive(Default)]
struct Model {
    live: BTreeMap<u32, u64>,
    held: TicketSet,
    ledger: Ledger,
    next_cookie: u64,
}

impl Model {
    fn accept(&mut self, slot: u32) {
        if self.live.contains_key(&slot) {
            return;
        }
        self.next_cookie += 1;
        self.live.insert(slot, self.next_cookie);
        self.ledger.accepted(ticket(slot, self.next_cookie));
    }

    fn close(&mut self, slot: u32) {
        if let Some(cookie) = self.live.remove(&slot) {
            self.ledger.closed(ticket(slot, cookie));
        }
    }

    /// One message, as the predecessor chooses it. Returns whether there was one.
    fn send(&mut self, max: usize) -> bool {
        if self.ledger.closed_len() > 0 {
            let gone = self.ledger.next_closed(max).to_vec();
            for ticket in &gone {
                assert!(self.held.remove(*ticket), "{ticket:?} is not held");
            }
            self.ledger.closed_sent(gone.len());
        } else if let Some(from) = self.ledger.cursor() {
            let found: Vec<Ticket> =
                self.live.range(from..).take(max).map(|(&s, &c)| ticket(s, c)).collect();
            let next = (found.len() == max).then(|| found[max - 1].slot + 1);
            self.receive(&found);
            self.ledger.scanned(next, &found);
        } else if self.ledger.fresh_len() > 0 {
            let fresh = self.ledger.next_fresh(max);
            for ticket in &fresh {
                assert_eq!(self.live.get(&ticket.slot), Some(&ticket.cookie));
            }
            self.receive(&fresh);
            self.ledger.fresh_sent(&fresh);
        } else {
            return false;
        }
        true
    }

    fn receive(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            assert!(self.held.insert(*ticket), "slot of {ticket:?} is taken");
        }
    }
}

proptest! {
    /// Whatever comes and goes while the sockets are sent: at the end both sides hold the same.
    #[test]
    fn both_sides_end_with_the_same_sockets(start in 0..24_u32, events in events()) {
        let mut model = Model { ledger: Ledger::new(0), ..Model::default() };
        // What is there before the upgrade begins is not told to the ledger.
        for slot in 0..start {
            model.next_cookie += 1;
            model.live.insert(slot, model.next_cookie);
        }
        for event in events {
            match event {
                Event::Accept(slot) => model.accept(slot),
                Event::Close(slot) => model.close(slot),
                Event::Send(max) => {
                    model.send(max);
                }
            }
        }
        while model.send(3) {}
        let held: BTreeMap<u32, u64> = model.held.by_slot.iter().map(|(&s, &c)| (s, c)).collect();
        prop_assert_eq!(&held, &model.live);
        prop_assert_eq!(model.ledger.told(), model.held.digest());
    }
}
