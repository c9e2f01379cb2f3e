//! A predecessor that misbehaves: the successor gives up with a reason, in bounded time, owning
//! nothing and holding nothing.

mod support;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use handoff::cookie::socket_cookie;
use handoff::error::{HandoffError, OwnerError};
use handoff::link::{Link, Readiness, Received};
use handoff::message::{
    Arena, Closed, Listeners, Message, Offer, PROTOCOL_MAX, PrecopyDone, SetDigest, Sockets,
    Ticket, Welcome,
};
use handoff::owner::{Generation, Owner, OwnerWord};
use handoff::sockets::TicketSet;
use handoff::successor::SuccessorLimits;
use support::{FINGERPRINT, Server, ThreadProcess, identity, short_limits, succeed};

fn limits() -> SuccessorLimits {
    let short = Duration::from_millis(200);
    SuccessorLimits { hello: short, message: short, offer: short, send: short }
}

/// A predecessor played by hand, over a real server's words.
struct Giver {
    link: Link,
    server: Server,
    set: TicketSet,
    sequence: u64,
}

impl Giver {
    fn say(&self, message: Message, fds: &[BorrowedFd<'_>]) {
        self.link.send(&message, fds).unwrap();
    }

    fn sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn hear(&mut self, wanted: &str) -> Message {
        loop {
            match self.link.receive().unwrap() {
                Some(Received { message, .. }) if message.name() == wanted => return message,
                Some(Received { message: Message::Ack(_), .. }) => {}
                Some(other) => panic!("{other:?} instead of {wanted}"),
                None => {
                    assert!(self.link.wait(Readiness::Readable, Duration::from_secs(10)).unwrap())
                }
            }
        }
    }

    fn welcome(&mut self) -> Welcome {
        self.hear("HELLO");
        Welcome {
            protocol: PROTOCOL_MAX,
            from: 1,
            to: 2,
            pid: std::process::id(),
            identity: identity(FINGERPRINT),
            descriptors: 10,
            descriptor_limit: 10,
        }
    }

    fn greet(&mut self) {
        let welcome = self.welcome();
        self.say(Message::Welcome(welcome), &[]);
    }

    fn give_arena(&mut self) {
        let sequence = self.sequence();
        let arena = Arena { sequence, payload: b"arena".to_vec() };
        self.say(Message::Arena(arena), &[self.server.file.as_fd()]);
    }

    fn give_listeners(&mut self) {
        let sequence = self.sequence();
        self.say(Message::Listeners(Listeners { sequence, descriptions: vec![] }), &[]);
    }

    fn start(&mut self) {
        self.greet();
        self.give_arena();
        self.give_listeners();
    }

    fn give(&mut self, ticket: Ticket, fd: BorrowedFd<'_>) {
        let sequence = self.sequence();
        self.set.insert(ticket);
        self.say(Message::Sockets(Sockets { sequence, tickets: vec![ticket] }), &[fd]);
    }

    fn close(&mut self, ticket: Ticket) {
        let sequence = self.sequence();
        self.set.remove(ticket);
        self.say(Message::Closed(Closed { sequence, tickets: vec![ticket] }), &[]);
    }

    fn done(&mut self) {
        let set = self.set.digest();
        self.say(Message::PrecopyDone(PrecopyDone { set, listeners: 0 }), &[]);
        self.hear("READY");
    }

    fn offer(&mut self, set: SetDigest) {
        let last_command_ns = handoff::clock::Clock::now_ns(&handoff::clock::MonotonicClock);
        let offer = Offer { from: 1, to: 2, last_command_ns, set, payload: vec![] };
        self.say(Message::Offer(offer), &[]);
    }

    fn offer_in_word(&self) {
        let two = Generation::new(2).unwrap();
        OwnerWord::new(&self.server.words.owner).offer(Generation::FIRST, two).unwrap();
    }
}

/// Plays a predecessor against a real successor and returns why that gave up.
fn play(script: impl FnOnce(&mut Giver) + Send) -> HandoffError {
    let (ours, theirs) = Link::pair().unwrap();
    let start = Instant::now();
    let server = Server::first();
    let link = Link::new(ours).unwrap();
    let mut giver = Giver { link, server, set: TicketSet::default(), sequence: 0 };
    let reason = thread::scope(|scope| {
        let heir = scope.spawn(move || succeed(theirs, limits()).map(|_| ()).unwrap_err());
        script(&mut giver);
        heir.join().unwrap()
    });
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    let owner = OwnerWord::new(&giver.server.words.owner).read().unwrap();
    assert_ne!(owner, Owner::Serving(Generation::new(2).unwrap()));
    reason
}

fn socket() -> (UnixStream, Ticket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let cookie = socket_cookie(ours.as_fd()).unwrap();
    (ours, Ticket { slot: 4, cookie }, theirs)
}

/// Steps up to and including the one of that number.
fn steps(giver: &mut Giver, count: usize) {
    let (ours, ticket, _theirs) = socket();
    for step in 0..count {
        match step {
            0 => giver.greet(),
            1 => giver.give_arena(),
            2 => giver.give_listeners(),
            3 => giver.give(ticket, ours.as_fd()),
            _ => giver.done(),
        }
    }
}

#[test]
fn a_predecessor_that_hangs_is_not_waited_for() {
    for count in 0..=5 {
        let reason = play(|giver| steps(giver, count));
        assert!(matches!(reason, HandoffError::Deadline { .. }), "step {count}: {reason}");
    }
}

#[test]
fn a_predecessor_that_dies_is_noticed() {
    for count in 0..=5 {
        let reason = play(|giver| {
            steps(giver, count);
            let (other, _) = Link::pair().unwrap();
            giver.link = Link::new(other).unwrap();
        });
        assert!(matches!(reason, HandoffError::Link { .. }), "step {count}: {reason}");
    }
}

#[test]
fn rubbish_is_refused_at_every_step() {
    for count in 0..=5 {
        let reason = play(|giver| {
            steps(giver, count);
            let socket = std::os::fd::AsRawFd::as_raw_fd(&giver.link);
            nix::sys::socket::send(socket, b"HRHO\x01\xffxx", nix::sys::socket::MsgFlags::empty())
                .unwrap();
        });
        assert!(matches!(reason, HandoffError::Link { .. }), "step {count}: {reason}");
    }
}

#[test]
fn a_message_out_of_turn_is_refused_at_every_step() {
    for count in 0..=5 {
        let reason = play(|giver| {
            steps(giver, count);
            giver.say(Message::Goodbye(handoff::message::Goodbye { generation: 1 }), &[]);
        });
        assert!(matches!(reason, HandoffError::Violation { .. }), "step {count}: {reason}");
    }
}

#[test]
fn welcome_is_judged() {
    let changed = |change: fn(&mut Welcome)| {
        play(|giver| {
            let mut welcome = giver.welcome();
            change(&mut welcome);
            giver.say(Message::Welcome(welcome), &[]);
        })
    };
    let reason = changed(|welcome| welcome.protocol = 9);
    assert!(matches!(reason, HandoffError::Violation { .. }), "{reason}");
    let reason = changed(|welcome| welcome.to = 3);
    assert!(matches!(reason, HandoffError::Violation { .. }), "{reason}");
    let reason = changed(|welcome| welcome.identity.fingerprint.clear());
    assert!(matches!(reason, HandoffError::Refused(_)), "{reason}");
    let reason = changed(|welcome| welcome.descriptors = 1 << 40);
    assert!(matches!(reason, HandoffError::Descriptors(_)), "{reason}");
}

#[test]
fn a_socket_has_to_be_the_one_announced() {
    let (ours, ticket, _theirs) = socket();
    let wrong = Ticket { cookie: ticket.cookie + 1, ..ticket };
    let reason = play(|giver| {
        giver.start();
        giver.give(wrong, ours.as_fd());
    });
    assert!(reason.to_string().contains("cookie"), "{reason}");
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let reason = play(|giver| {
        giver.start();
        giver.give(ticket, file.as_fd());
    });
    assert!(reason.to_string().contains("no socket"), "{reason}");
    let reason = play(|giver| {
        giver.start();
        let sequence = giver.sequence();
        let tickets = vec![ticket, ticket];
        giver.say(Message::Sockets(Sockets { sequence, tickets }), &[ours.as_fd()]);
    });
    assert!(matches!(reason, HandoffError::Violation { .. }), "{reason}");
    let reason = play(|giver| {
        giver.start();
        giver.give(ticket, ours.as_fd());
        giver.give(ticket, ours.as_fd());
    });
    assert!(reason.to_string().contains("slot"), "{reason}");
}

#[test]
fn a_closing_has_to_name_the_socket_that_is_held() {
    let (ours, ticket, _theirs) = socket();
    let stale = Ticket { cookie: ticket.cookie + 1, ..ticket };
    for wrong in [stale, Ticket { slot: 9, ..ticket }] {
        let reason = play(|giver| {
            giver.start();
            giver.give(ticket, ours.as_fd());
            giver.close(wrong);
        });
        assert!(matches!(reason, HandoffError::Socket { .. }), "{reason}");
    }
    // A slot that is used again, in the right order, is fine up to the missing OFFER.
    let (second, next, _other) = socket();
    let reason = play(|giver| {
        giver.start();
        giver.give(ticket, ours.as_fd());
        giver.close(ticket);
        giver.give(next, second.as_fd());
        giver.done();
    });
    assert!(matches!(reason, HandoffError::Deadline { .. }), "{reason}");
}

#[test]
fn sets_that_differ_are_not_taken() {
    let reason = play(|giver| {
        giver.start();
        giver.done();
        giver.offer_in_word();
        giver.offer(SetDigest { count: 1, sum: 77 });
    });
    assert!(matches!(reason, HandoffError::SetsDiffer { stated: 1, held: 0 }), "{reason}");
}

#[test]
fn an_offer_that_the_word_does_not_confirm_is_not_taken() {
    let reason = play(|giver| {
        giver.start();
        giver.done();
        // The message says so, the word does not: withdrawn, or never made.
        giver.offer(SetDigest::default());
    });
    assert!(
        matches!(reason, HandoffError::Owner(OwnerError::Changed { found: Owner::Serving(_), .. })),
        "{reason}"
    );
}

/// Once offered, the arena is the successor's to take, whether or not anybody is left to tell.
#[test]
fn a_predecessor_that_dies_after_its_offer_is_succeeded() {
    let (ours, theirs) = Link::pair().unwrap();
    let server = Server::first();
    let link = Link::new(ours).unwrap();
    let mut giver = Giver { link, server, set: TicketSet::default(), sequence: 0 };
    let words = giver.server.words;
    thread::scope(|scope| {
        let heir = scope.spawn(move || {
            let (successor, heir, offered) = succeed(theirs, limits()).unwrap();
            let process = Box::new(ThreadProcess::default());
            let mut watched = successor.watched(process, &offered, short_limits());
            let served = watched.say_serving(0);
            assert!(served.is_ok() || matches!(served, Err(HandoffError::Link { .. })));
            assert_eq!(heir.sockets.len(), 0);
        });
        giver.start();
        giver.done();
        giver.offer_in_word();
        giver.offer(SetDigest::default());
        drop(giver);
        heir.join().unwrap();
    });
    let owner = OwnerWord::new(&words.owner).read();
    assert_eq!(owner, Ok(Owner::Serving(Generation::new(2).unwrap())));
}

#[test]
fn the_reason_reaches_the_predecessor() {
    let reason = play(|giver| {
        let mut welcome = giver.welcome();
        welcome.identity.fingerprint.clear();
        giver.say(Message::Welcome(welcome), &[]);
        let Message::Refuse(refuse) = giver.hear("REFUSE") else { unreachable!() };
        assert!(refuse.reason.contains("fingerprint"), "{}", refuse.reason);
    });
    assert!(matches!(reason, HandoffError::Refused(_)));
}
