//! A generation tells its keeper what has to outlive it, and the keeper holds it.

mod support;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use handoff::custody::Custody;
use handoff::error::HandoffError;
use handoff::host::Status;
use handoff::link::Link;
use handoff::message::{Closed, Goodbye, Message, SetDigest, Sockets, Ticket};
use handoff::owner::Generation;
use handoff::predecessor::Predecessor;
use handoff::sockets::TicketSet;
use support::Server;

fn links() -> (Link, Link) {
    let (one, other) = Link::pair().unwrap();
    (Link::new(one).unwrap(), Link::new(other).unwrap())
}

/// Takes a connection into the lowest free slot. Its other end is of no interest.
fn accept(server: &mut Server) -> Ticket {
    let (ours, _) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    server.accept(ours.into())
}

fn held(custody: &Custody) -> BTreeSet<(u32, u64)> {
    custody.tickets().into_iter().map(|ticket| (ticket.slot, ticket.cookie)).collect()
}

/// Tells everything, and has it heard.
fn tell(machine: &mut Predecessor, server: &mut Server, custody: &mut Custody, heard: &mut Link) {
    while machine.has_news() {
        assert!(matches!(machine.step(server), Status::Continue));
        while custody.receive(heard).unwrap() {}
    }
    while custody.receive(heard).unwrap() {}
}

#[test]
fn everything_is_told_at_first_and_then_the_news() {
    let mut server = Server::first();
    for _ in 0..700 {
        accept(&mut server);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.listeners.push((b"tcp".to_vec(), listener.into()));
    let ((told, mut heard), mut custody) = (links(), Custody::default());
    let mut machine = Predecessor::telling(told, Generation::FIRST, None);
    assert!(machine.has_news());
    tell(&mut machine, &mut server, &mut custody, &mut heard);
    assert_eq!(held(&custody), server.tickets());
    assert_eq!((custody.connections(), custody.arena().len()), (700, 1));
    assert!(custody.is_complete());
    assert_eq!(custody.listeners().map(|(what, _)| what.to_vec()).collect::<Vec<_>>(), [b"tcp"]);

    // A slot that is used again, and some that are not.
    for slot in [3, 4, 600] {
        machine.closed(server.close(slot));
    }
    let again = accept(&mut server);
    assert_eq!(again.slot, 3);
    machine.accepted(again);
    assert!(machine.has_news());
    tell(&mut machine, &mut server, &mut custody, &mut heard);
    assert_eq!(held(&custody), server.tickets());
    assert!(custody.socket(again).is_some());
    assert!(custody.socket(Ticket { slot: 5, ..again }).is_none());
}

#[test]
fn a_successor_tells_the_news_alone() {
    let mut server = Server::first();
    let mut told = TicketSet::default();
    (0..10).for_each(|_| assert!(told.insert(accept(&mut server))));
    let ((link, mut heard), mut custody) = (links(), Custody::default());
    let mut machine = Predecessor::telling(link, Generation::FIRST, Some(told));
    assert!(!machine.has_news());
    machine.closed(server.close(7));
    let new = accept(&mut server);
    machine.accepted(new);
    tell(&mut machine, &mut server, &mut custody, &mut heard);
    assert_eq!(held(&custody), BTreeSet::from([(new.slot, new.cookie)]));
}

#[test]
fn links_may_be_read_in_any_order() {
    let mut server = Server::first();
    let [kept, gone] = [accept(&mut server), accept(&mut server)];
    let ((first, mut of_first), (second, mut of_second)) = (links(), links());
    let mut custody = Custody::default();
    for ticket in [kept, gone] {
        let fd = &server.sockets[&ticket.slot].1;
        let sockets = Sockets { sequence: 1, tickets: vec![ticket] };
        first.send(&Message::Sockets(sockets), &[fd.as_fd()]).unwrap();
    }
    second.send(&Message::Closed(Closed { sequence: 1, tickets: vec![gone] }), &[]).unwrap();
    // What one generation closed was accepted by the one before.
    assert!(!custody.receive(&mut of_second).unwrap());
    assert!(!custody.receive(&mut of_first).unwrap());
    assert_eq!(held(&custody), BTreeSet::from([(kept.slot, kept.cookie)]));
}

#[test]
fn what_is_not_told_again_is_let_go() {
    let mut server = Server::first();
    for _ in 0..5 {
        accept(&mut server);
    }
    let ((link, mut heard), mut custody) = (links(), Custody::default());
    let mut machine = Predecessor::telling(link, Generation::FIRST, None);
    tell(&mut machine, &mut server, &mut custody, &mut heard);
    // Another has served, and closed one of them unheard.
    server.close(2);
    machine.tell_anew();
    assert!(machine.has_news());
    assert!(matches!(machine.step(&mut server), Status::Continue));
    assert!(!custody.receive(&mut heard).unwrap());
    assert_eq!(custody.connections(), 5, "nothing is let go before all is told");
    tell(&mut machine, &mut server, &mut custody, &mut heard);
    assert_eq!(held(&custody), server.tickets());
}

#[test]
fn of_two_in_one_slot_the_later_counts() {
    let mut server = Server::first();
    let ((link, mut heard), mut custody) = (links(), Custody::default());
    let earlier = accept(&mut server);
    let (_, fd) = server.sockets.remove(&earlier.slot).unwrap();
    let later = accept(&mut server);
    assert_eq!(earlier.slot, later.slot);
    let both = Sockets { sequence: 1, tickets: vec![earlier, later] };
    let fds = [fd.as_fd(), server.sockets[&later.slot].1.as_fd()];
    link.send(&Message::Sockets(both), &fds).unwrap();
    custody.receive(&mut heard).unwrap();
    assert_eq!(custody.connections(), 2);
    let tickets = custody.tickets();
    assert_eq!(tickets, [later]);
    custody.keep_only(&tickets);
    assert_eq!(custody.connections(), 1);
}

#[test]
fn rubbish_ends_the_link_and_loses_nothing() {
    let mut server = Server::first();
    let ticket = accept(&mut server);
    let fd = server.sockets[&ticket.slot].1.as_fd();
    let good = Message::Sockets(Sockets { sequence: 1, tickets: vec![ticket] });
    let digest = handoff::message::Ready { executor_tid: 1, sockets: 0 };
    let other = Ticket { cookie: ticket.cookie + 1, ..ticket };
    let rubbish = [
        (Message::Sockets(Sockets { sequence: 2, tickets: vec![ticket, other] }), 1),
        (Message::Sockets(Sockets { sequence: 2, tickets: vec![other] }), 1),
        (Message::Ready(digest), 0),
        (Message::Goodbye(Goodbye { generation: 1 }), 0),
    ];
    for (message, fds) in rubbish {
        let ((link, mut heard), mut custody) = (links(), Custody::default());
        link.send(&good, &[fd]).unwrap();
        link.send(&message, &vec![fd; fds]).unwrap();
        assert!(custody.receive(&mut heard).is_err(), "{message:?}");
        assert_eq!(held(&custody), server.tickets());
    }
    let ((link, mut heard), mut custody) = (links(), Custody::default());
    let done = handoff::message::PrecopyDone { set: SetDigest::default(), listeners: 0 };
    link.send(&good, &[fd]).unwrap();
    link.send(&Message::PrecopyDone(done), &[]).unwrap();
    drop(link);
    let ended = custody.receive(&mut heard);
    assert!(
        matches!(&ended, Err(HandoffError::Link { source, .. }) if source.is_closed()),
        "{ended:?}"
    );
    assert_eq!(held(&custody), server.tickets());
}

#[test]
fn a_keeper_that_is_gone_takes_nothing_with_it() {
    let mut server = Server::first();
    accept(&mut server);
    let (link, heard) = links();
    let mut machine = Predecessor::telling(link, Generation::FIRST, None);
    drop(heard);
    let owner = server.owner();
    let Status::Failed(failure) = machine.step(&mut server) else { panic!("nobody listens") };
    assert_eq!(failure.recovery, handoff::host::Recovery::Resume);
    assert_eq!(server.owner(), owner);
}
