//! What the predecessor does in one step is bounded, and so is what it has under way: a clock and
//! a successor that the test moves by hand.

mod support;

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use handoff::clock::Clock;
use handoff::error::{HandoffError, Phase};
use handoff::fds::MAX_FDS_PER_MESSAGE;
use handoff::host::{Failure, Recovery, Status, Wake};
use handoff::link::Link;
use handoff::message::{Ack, Hello, Message, PROTOCOL_MAX, PROTOCOL_MIN};
use handoff::predecessor::{Predecessor, PredecessorLimits};
use support::{FINGERPRINT, Server, ThreadProcess, identity};

/// Stands still, or goes on by a fixed time with each look at it.
#[derive(Clone, Default)]
struct HandClock {
    now: Rc<Cell<u64>>,
    pace: Rc<Cell<u64>>,
}

impl Clock for HandClock {
    fn now_ns(&self) -> u64 {
        self.now.set(self.now.get() + self.pace.get());
        self.now.get()
    }
}

struct Bench {
    server: Server,
    machine: Predecessor,
    link: Link,
    clock: HandClock,
    _clients: Vec<UnixStream>,
}

fn bench(sockets: usize, limits: PredecessorLimits) -> Bench {
    let mut server = Server::first();
    let mut clients = Vec::new();
    for _ in 0..sockets {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        server.accept(ours.into());
        clients.push(theirs);
    }
    let (ours, theirs) = Link::pair().unwrap();
    let clock = HandClock::default();
    let machine = Predecessor::with_clock(
        Link::new(ours).unwrap(),
        Box::new(ThreadProcess::default()),
        server.generation,
        identity(FINGERPRINT),
        limits,
        Box::new(clock.clone()),
    )
    .unwrap();
    Bench { server, machine, link: Link::new(theirs).unwrap(), clock, _clients: clients }
}

impl Bench {
    fn step(&mut self) -> Status {
        self.machine.step(&mut self.server)
    }

    fn go_on(&mut self) {
        let status = self.step();
        assert!(matches!(status, Status::Continue), "{status:?}");
    }

    /// Greets, and goes on until the first sockets are due.
    fn greet(&mut self) {
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        let (pid, identity) = (std::process::id(), identity(FINGERPRINT));
        let hello = Hello { protocol_min, protocol_max, pid, identity };
        self.link.send(&Message::Hello(hello), &[]).unwrap();
        while self.machine.progress().phase < Phase::Sockets {
            self.go_on();
        }
        for _ in 0..3 {
            self.link.receive().unwrap().unwrap();
        }
        self.link.send(&Message::Ack(Ack { sequence: 2 }), &[]).unwrap();
    }

    /// Sockets in each batch that has arrived, and the number of the last one.
    fn batches(&mut self) -> (Vec<usize>, u64) {
        let (mut sizes, mut last) = (Vec::new(), 0);
        while let Some(received) = self.link.receive().unwrap() {
            let Message::Sockets(sockets) = received.message else { panic!("{received:?}") };
            assert_eq!(sockets.tickets.len(), received.fds.len());
            sizes.push(received.fds.len());
            last = sockets.sequence;
        }
        (sizes, last)
    }
}

#[test]
fn a_step_sends_no_more_batches_than_allowed() {
    let mut bench = bench(600, PredecessorLimits { slice_batches: 2, ..Default::default() });
    bench.greet();
    bench.go_on();
    assert_eq!(bench.batches().0, [MAX_FDS_PER_MESSAGE; 2]);
    assert_eq!(bench.machine.wake(), Wake::Now);
}

#[test]
fn a_step_ends_after_the_batch_with_which_its_time_is_over() {
    let limits = PredecessorLimits { slice_batches: 100, ..Default::default() };
    let mut bench = bench(600, limits);
    bench.greet();
    bench.clock.pace.set(limits.slice.as_nanos() as u64);
    bench.go_on();
    assert_eq!(bench.batches().0.len(), 1);
    assert_eq!(bench.machine.wake(), Wake::Now);
}

#[test]
fn descriptors_under_way_are_bounded_by_acknowledgements() {
    let mut bench = bench(900, PredecessorLimits { slice_batches: 100, ..Default::default() });
    bench.greet();
    bench.go_on();
    let (sizes, last) = bench.batches();
    assert_eq!(sizes, [MAX_FDS_PER_MESSAGE; 4]);
    assert!(matches!(bench.machine.wake(), Wake::Link { .. }), "nothing to do before an answer");
    bench.go_on();
    assert_eq!(bench.batches().0, [], "nothing was acknowledged");
    bench.link.send(&Message::Ack(Ack { sequence: last - 1 }), &[]).unwrap();
    bench.go_on();
    assert_eq!(bench.batches().0, [MAX_FDS_PER_MESSAGE; 3]);
}

#[test]
fn a_deadline_is_met_to_the_nanosecond() {
    let limits = PredecessorLimits { hello: Duration::from_secs(3), ..Default::default() };
    let mut bench = bench(1, limits);
    let Wake::Link { deadline_ns } = bench.machine.wake() else { panic!() };
    assert_eq!(deadline_ns, 3_000_000_000);
    bench.clock.now.set(deadline_ns - 1);
    bench.go_on();
    bench.clock.now.set(deadline_ns);
    let Status::Failed(Failure { reason, recovery, phase }) = bench.step() else { panic!() };
    assert_eq!((recovery, phase), (Recovery::Resume, Phase::Hello));
    assert!(matches!(reason, HandoffError::Deadline { phase: Phase::Hello, .. }), "{reason}");
}

#[test]
fn what_was_left_unread_is_asked_for_again() {
    let mut bench = bench(0, PredecessorLimits::default());
    bench.greet();
    for _ in 0..40 {
        bench.link.send(&Message::Ack(Ack { sequence: 1 }), &[]).unwrap();
    }
    bench.go_on();
    assert_eq!(bench.machine.wake(), Wake::Now);
    bench.go_on();
    assert!(matches!(bench.machine.wake(), Wake::Link { .. }));
}
