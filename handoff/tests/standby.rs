//! After SERVING: a predecessor that stands by, and what gives it the arena back.

mod support;

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use handoff::clock::{Clock, MonotonicClock};
use handoff::error::HostError;
use handoff::fence::ExecutorLock;
use handoff::host::{Recovery, SharedWords, SocketHolder, Status};
use handoff::link::Link;
use handoff::message::{Message, SetDigest, Sockets, Ticket};
use handoff::owner::{Generation, Owner};
use handoff::predecessor::{Predecessor, PredecessorLimits};
use handoff::standby::{Stand, Standby, StandbyHost};
use support::{Server, ThreadProcess, await_wake, drive, predecessor, succeed_and_serve};

/// A server that stands by.
struct Frozen {
    server: Server,
    ticked_ns: Cell<u64>,
}

impl SharedWords for Frozen {
    fn owner_word(&self) -> &std::sync::atomic::AtomicU64 {
        self.server.owner_word()
    }

    fn executor_word(&self, generation: Generation) -> &std::sync::atomic::AtomicU32 {
        self.server.executor_word(generation)
    }
}

impl SocketHolder for Frozen {
    fn socket(&mut self, ticket: Ticket, fd: OwnedFd) -> Result<(), HostError> {
        assert!(self.server.sockets.insert(ticket.slot, (ticket.cookie, fd)).is_none());
        Ok(())
    }

    fn closed(&mut self, ticket: Ticket) {
        let (cookie, _) = self.server.sockets.remove(&ticket.slot).expect("held");
        assert_eq!(cookie, ticket.cookie);
    }
}

impl StandbyHost for Frozen {
    fn ticked_ns(&self) -> u64 {
        self.ticked_ns.get()
    }

    fn executor_lock(&self) -> &ExecutorLock<'_> {
        self.server.lock.as_ref().unwrap()
    }
}

fn two() -> Generation {
    Generation::new(2).unwrap()
}

/// A connection whose other end is kept open by whoever asks.
fn connection() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours.into(), theirs)
}

/// Hands three connections over to a thread that plays `successor` from SERVING on, and stands by
/// until `end` is content. `end` gets what the machine says each time.
fn play<T: Send>(
    successor: impl FnOnce(Predecessor, Server) -> T + Send,
    end: impl FnOnce(Standby, Frozen, ScopedJoinHandle<'_, T>, ThreadProcess),
) {
    let mut server = Server::first();
    let clients: Vec<UnixStream> = (0..3)
        .map(|_| {
            let (ours, theirs) = connection();
            server.accept(ours);
            theirs
        })
        .collect();
    let (ours, theirs) = Link::pair().unwrap();
    let process = ThreadProcess::default();
    thread::scope(|scope| {
        let heir = scope.spawn(move || {
            let (watched, server) = succeed_and_serve(theirs).unwrap();
            successor(watched, server)
        });
        let limits = PredecessorLimits::default();
        let mut machine = predecessor(ours, Box::new(process.clone()), &server, limits);
        let status = drive(&mut machine, &mut server, |_, _| {});
        assert!(matches!(status, Status::Served(_)), "{status:?}");
        let ticked_ns = Cell::new(MonotonicClock.now_ns());
        end(machine.stand_by(), Frozen { server, ticked_ns }, heir, process.clone());
    });
    drop(clients);
}

/// Steps until there is more to do than to stand by.
fn stand(standby: &mut Standby, frozen: &mut Frozen) -> Stand {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match standby.step(frozen) {
            Stand::By => thread::sleep(Duration::from_millis(1)),
            other => return other,
        }
        assert!(Instant::now() < end, "nothing happens");
    }
}

/// Goes on until the news have gone.
fn tell(machine: &mut Predecessor, server: &mut Server) {
    while !machine.tell_news(server) {
        await_wake(machine);
    }
}

/// Closes a connection and accepts two, one of them in its slot.
fn come_and_go(machine: &mut Predecessor, server: &mut Server) -> Vec<UnixStream> {
    let closed = server.close(1);
    machine.closed(closed);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = connection();
        let ticket = server.accept(ours);
        machine.accepted(ticket);
        clients.push(theirs);
    }
    tell(machine, server);
    clients
}

/// The link, kept open although the machine is gone: the end of a process is not that of its link.
fn keep(machine: &Predecessor) -> OwnedFd {
    machine.as_fd().try_clone_to_owned().unwrap()
}

/// Serves until it is told to stop or killed.
fn serve_until(stop: &Receiver<()>) {
    let _ = stop.recv_timeout(Duration::from_secs(20));
}

#[test]
fn given_back_with_what_came_and_went() {
    play(
        |mut watched, mut server| {
            let clients = come_and_go(&mut watched, &mut server);
            watched.give_back(&server).unwrap();
            let status = drive(&mut watched, &mut server, |_, _| {});
            (status, server.tickets(), clients)
        },
        |mut standby, mut frozen, heir, process| {
            assert!(matches!(stand(&mut standby, &mut frozen), Stand::Given));
            assert_eq!(frozen.server.owner(), Owner::Serving(Generation::FIRST));
            assert!(!frozen.server.quiesced);
            let freeze = standby.say_serving(4).unwrap();
            assert!(freeze > Duration::ZERO && freeze < Duration::from_secs(5));
            let (status, tickets, _clients) = heir.join().unwrap();
            let Status::Served(summary) = status else { panic!("{status:?}") };
            assert_eq!((summary.from, summary.to), (two(), Generation::FIRST));
            assert_eq!(frozen.server.tickets(), tickets);
            assert_eq!(process.kills.load(Ordering::SeqCst), 0);
        },
    );
}

#[test]
fn a_death_gives_it_back_with_what_came_and_went() {
    play(
        |mut watched, mut server| {
            let clients = come_and_go(&mut watched, &mut server);
            let tickets = server.tickets();
            // The end of the executor, and behind it that of the link.
            drop(server.lock.take());
            (keep(&watched), tickets, clients)
        },
        |mut standby, mut frozen, heir, _| {
            let Stand::Fenced(reason) = stand(&mut standby, &mut frozen) else { panic!() };
            assert!(reason.contains("died"), "{reason}");
            let (_watched, tickets, _clients) = heir.join().unwrap();
            assert_eq!(frozen.server.tickets(), tickets);
            assert_eq!(frozen.server.owner(), Owner::Serving(Generation::FIRST));
        },
    );
}

#[test]
fn an_offer_that_nobody_came_to_take_is_taken_after_the_death() {
    play(
        |mut watched, mut server| {
            watched.give_back(&server).unwrap();
            assert!(matches!(watched.step(&mut server), Status::WantFreeze));
            assert!(matches!(watched.freeze(&mut server), Status::Frozen));
            drop(server.lock.take());
            keep(&watched)
        },
        |mut standby, mut frozen, heir, _| {
            let _watched = heir.join().unwrap();
            let Stand::Fenced(_) = stand(&mut standby, &mut frozen) else { panic!() };
            assert_eq!(frozen.server.owner(), Owner::Serving(Generation::FIRST));
        },
    );
}

#[test]
fn a_hang_is_fenced_and_nothing_is_taken_before_the_death() {
    let (stop, stopped) = channel();
    play(
        move |watched, mut server| {
            serve_until(&stopped);
            drop(server.lock.take());
            keep(&watched)
        },
        move |mut standby, mut frozen, heir, process| {
            standby.set_hang(Duration::from_millis(200));
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(300) {
                frozen.ticked_ns.set(MonotonicClock.now_ns());
                assert!(matches!(standby.step(&mut frozen), Stand::By), "it ticks");
                assert!(standby.is_well(&frozen));
            }
            while process.kills.load(Ordering::SeqCst) == 0 {
                assert!(matches!(standby.step(&mut frozen), Stand::By));
            }
            assert!(!standby.is_well(&frozen));
            for _ in 0..3 {
                // Killed, but not known to be gone.
                assert!(matches!(standby.step(&mut frozen), Stand::By));
                assert_eq!(frozen.server.owner(), Owner::Serving(two()));
            }
            stop.send(()).unwrap();
            let Stand::Fenced(reason) = stand(&mut standby, &mut frozen) else { panic!() };
            assert!(reason.contains("hangs"), "{reason}");
            drop(heir.join().unwrap());
        },
    );
}

#[test]
fn it_is_taken_back_on_request() {
    play(
        |watched, mut server| {
            // Dies when it is told to: the thread has no way to be killed.
            thread::sleep(Duration::from_millis(50));
            drop(server.lock.take());
            keep(&watched)
        },
        |mut standby, mut frozen, heir, process| {
            let mut status = standby.take_back(&mut frozen, "because");
            if matches!(status, Stand::By) {
                status = stand(&mut standby, &mut frozen);
            }
            assert!(matches!(status, Stand::Fenced(reason) if reason == "because"));
            assert!(process.kills.load(Ordering::SeqCst) > 0);
            drop(heir.join().unwrap());
        },
    );
}

#[test]
fn who_stops_on_purpose_is_not_succeeded() {
    for dies_first in [false, true] {
        play(
            move |watched, mut server| {
                watched.say_stopping("SHUTDOWN");
                if dies_first {
                    drop(server.lock.take());
                }
                (keep(&watched), server.lock.is_some())
            },
            |mut standby, mut frozen, heir, process| {
                let kept = heir.join().unwrap();
                let Stand::Leave(reason) = stand(&mut standby, &mut frozen) else { panic!() };
                assert!(reason.contains("SHUTDOWN"), "{reason}");
                assert_eq!(frozen.server.owner(), Owner::Serving(two()));
                assert_eq!(process.kills.load(Ordering::SeqCst), 0, "its exit is orderly");
                drop(kept);
            },
        );
    }
}

#[test]
fn without_the_mirror_there_is_no_going_back() {
    let (stop, stopped) = channel();
    play(
        move |watched, server| {
            drop(watched);
            serve_until(&stopped);
            server.tickets()
        },
        move |mut standby, mut frozen, heir, process| {
            let Stand::Leave(reason) = stand(&mut standby, &mut frozen) else { panic!() };
            assert!(reason.contains("mirrored"), "{reason}");
            assert_eq!(process.kills.load(Ordering::SeqCst), 0);
            assert_eq!(frozen.server.owner(), Owner::Serving(two()));
            stop.send(()).unwrap();
            heir.join().unwrap();
        },
    );
}

/// Sockets that are not what they are said to be, messages out of turn, an offer of another set.
#[test]
fn rubbish_ends_the_standing_by() {
    type Rubbish = fn(&Link);
    let sockets: Rubbish = |link| {
        let ticket = Ticket { slot: 9, cookie: 1 };
        let file = std::fs::File::open("/dev/null").unwrap();
        let message = Message::Sockets(Sockets { sequence: 1, tickets: vec![ticket] });
        link.send(&message, &[file.as_fd()]).unwrap();
    };
    let turn: Rubbish = |link| {
        let done = handoff::message::PrecopyDone { set: SetDigest::default(), listeners: 0 };
        link.send(&Message::PrecopyDone(done), &[]).unwrap();
    };
    let offer: Rubbish = |link| {
        let set = SetDigest::default();
        let payload = Vec::new();
        let offer = handoff::message::Offer { from: 2, to: 1, last_command_ns: 1, set, payload };
        link.send(&Message::Offer(offer), &[]).unwrap();
    };
    for rubbish in [sockets, turn, offer] {
        let (stop, stopped) = channel();
        play(
            move |watched, server| {
                rubbish(&Link::new(keep(&watched)).unwrap());
                serve_until(&stopped);
                (keep(&watched), server.tickets())
            },
            move |mut standby, mut frozen, heir, _| {
                assert!(matches!(stand(&mut standby, &mut frozen), Stand::Leave(_)));
                assert_eq!(frozen.server.owner(), Owner::Serving(two()));
                assert_eq!(frozen.server.sockets.len(), 3);
                stop.send(()).unwrap();
                drop(heir.join().unwrap());
            },
        );
    }
}

#[test]
fn a_predecessor_that_leaves_is_heard() {
    play(
        |mut watched, mut server| drive(&mut watched, &mut server, |_, _| {}),
        |standby, frozen, heir, _| {
            standby.say_goodbye();
            assert!(matches!(heir.join().unwrap(), Status::Released));
            assert_eq!(frozen.server.owner(), Owner::Serving(two()));
        },
    );
}

#[test]
fn a_predecessor_that_dies_is_noticed_and_serving_goes_on() {
    play(
        |mut watched, mut server| drive(&mut watched, &mut server, |_, _| {}),
        |standby, frozen, heir, _| {
            drop(standby);
            let status = heir.join().unwrap();
            let Status::Failed(failure) = status else { panic!("{status:?}") };
            assert_eq!(failure.recovery, Recovery::Resume);
            assert_eq!(frozen.server.owner(), Owner::Serving(two()));
        },
    );
}

/// The other way round it is the same machine: who gives the arena back holds it until it is served.
#[test]
fn a_predecessor_that_dies_with_the_arena_given_back_is_fenced() {
    play(
        |mut watched, mut server| {
            watched.give_back(&server).unwrap();
            let status = drive(&mut watched, &mut server, |_, _| {});
            (status, server.owner())
        },
        |mut standby, mut frozen, heir, _| {
            assert!(matches!(stand(&mut standby, &mut frozen), Stand::Given));
            drop(frozen.server.lock.take());
            let (status, owner) = heir.join().unwrap();
            let Status::Failed(failure) = status else { panic!("{status:?}") };
            assert_eq!(failure.recovery, Recovery::RecoverAndResume);
            assert_eq!(owner, Owner::Serving(two()));
            drop(standby);
        },
    );
}

#[test]
fn an_offer_that_is_not_taken_is_withdrawn() {
    play(
        |mut watched, mut server| {
            watched.give_back(&server).unwrap();
            let status = drive(&mut watched, &mut server, |_, _| {});
            (keep(&watched), status, server.owner())
        },
        |standby, _frozen, heir, _| {
            // Stopped, say: it does not look at its link.
            let (_watched, status, owner) = heir.join().unwrap();
            let Status::Failed(failure) = status else { panic!("{status:?}") };
            assert_eq!(failure.recovery, Recovery::Resume);
            assert_eq!(owner, Owner::Serving(two()));
            drop(standby);
        },
    );
}
