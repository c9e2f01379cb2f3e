//! A successor that misbehaves at each step in each way: the predecessor goes on serving, holds
//! what it held, and its next upgrade works.

mod support;

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use handoff::error::{HandoffError, LinkError};
use handoff::fence::{ExecutorLock, holder};
use handoff::host::{Failure, Recovery, Status};
use handoff::link::{Link, Readiness, Received};
use handoff::message::{
    Abort, Ack, Goodbye, Hello, Message, PROTOCOL_MAX, PROTOCOL_MIN, Ready, Refuse,
};
use handoff::owner::{Generation, Owner, OwnerWord};
use nix::sys::socket::{MsgFlags, send};
use support::{FINGERPRINT, Server, ThreadProcess, drive, identity, predecessor, short_limits};

/// Where the successor misbehaves: after having done everything before it properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    Hello,
    Arena,
    Listeners,
    FirstSockets,
    PrecopyDone,
    Ready,
    Offer,
    Take,
}

const STEPS: [Step; 9] = [
    Step::Start,
    Step::Hello,
    Step::Arena,
    Step::Listeners,
    Step::FirstSockets,
    Step::PrecopyDone,
    Step::Ready,
    Step::Offer,
    Step::Take,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exit,
    Hang,
    Rubbish,
    TooLong,
    TooManyFds,
    WrongMessage,
    WrongAck,
    Aborts,
    Refuses,
}

const MODES: [Mode; 9] = [
    Mode::Exit,
    Mode::Hang,
    Mode::Rubbish,
    Mode::TooLong,
    Mode::TooManyFds,
    Mode::WrongMessage,
    Mode::WrongAck,
    Mode::Aborts,
    Mode::Refuses,
];

/// A successor played by hand.
struct Puppet {
    link: Link,
    process: ThreadProcess,
    step: Step,
    mode: Mode,
}

impl Puppet {
    fn say(&self, message: &Message) {
        self.link.send(message, &[]).unwrap();
    }

    /// The next message, `None` once the predecessor has given up.
    fn hear(&mut self) -> Option<Received> {
        loop {
            match self.link.receive() {
                Ok(Some(received)) => return Some(received),
                Ok(None) => self.link.wait(Readiness::Readable, Duration::from_secs(10)).unwrap(),
                Err(_) => return None,
            };
        }
    }

    /// Acknowledges what has a number.
    fn hear_and_acknowledge(&mut self) -> Option<Received> {
        let received = self.hear()?;
        let sequence = match &received.message {
            Message::Arena(body) => body.sequence,
            Message::Listeners(body) => body.sequence,
            Message::Sockets(body) => body.sequence,
            Message::Closed(body) => body.sequence,
            _ => return Some(received),
        };
        self.say(&Message::Ack(Ack { sequence }));
        Some(received)
    }

    /// Plays the successor up to its step, then misbehaves.
    fn play(mut self) {
        if self.step == Step::Start {
            return self.misbehave();
        }
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        let pid = std::process::id();
        let identity = identity(FINGERPRINT);
        self.say(&Message::Hello(Hello { protocol_min, protocol_max, pid, identity }));
        let mut words = None;
        let mut lock: Option<ExecutorLock<'_>> = None;
        let two = Generation::new(2).unwrap();
        let mut fds = Vec::new();
        while let Some(received) = self.hear_and_acknowledge() {
            let reached = match received.message {
                Message::Welcome(_) => Step::Hello,
                Message::Arena(_) => {
                    let file = received.fds.first().unwrap().try_clone().unwrap().into();
                    words = Some(support::map(&file));
                    Step::Arena
                }
                Message::Listeners(_) => Step::Listeners,
                Message::Sockets(_) => Step::FirstSockets,
                Message::PrecopyDone(_) => Step::PrecopyDone,
                Message::Offer(_) => Step::Offer,
                _ => return,
            };
            fds.extend(received.fds);
            if reached == self.step {
                return self.misbehave();
            }
            let words = words.map(|words| (words, &words.executors[two.lock_index()]));
            if let (Step::PrecopyDone, Some((_, word))) = (reached, words) {
                let held = lock.insert(ExecutorLock::acquire(word, two).unwrap());
                let ready = Ready { executor_tid: held.thread_id(), sockets: 0 };
                self.say(&Message::Ready(ready));
                if self.step == Step::Ready {
                    return self.misbehave();
                }
            }
            if let (Step::Offer, Some((words, _)), Some(lock)) = (reached, words, &lock) {
                let owner = OwnerWord::new(&words.owner);
                owner.take(Generation::FIRST, two, lock).unwrap();
                return self.misbehave();
            }
        }
    }

    fn misbehave(mut self) {
        let (socket, end) = (self.link.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        match self.mode {
            Mode::Exit => return,
            Mode::Hang => {}
            Mode::Rubbish => {
                send(socket, b"-ERR unknown command 'HELLO'\r\n", end).unwrap();
            }
            Mode::TooLong => {
                send(socket, &vec![0x48; 100_000], end).unwrap();
            }
            Mode::TooManyFds => {
                use sendfd::SendWithFd;
                let copy: OwnedFd =
                    std::os::fd::AsFd::as_fd(&self.link).try_clone_to_owned().unwrap();
                let link = std::os::unix::net::UnixDatagram::from(copy);
                link.send_with_fd(b"HRHO", &[socket; 200]).unwrap();
            }
            Mode::WrongMessage => self.say(&Message::Goodbye(Goodbye { generation: 2 })),
            Mode::WrongAck => self.say(&Message::Ack(Ack { sequence: 1_000_000 })),
            Mode::Aborts => self.say(&Message::Abort(Abort { reason: "no memory left".into() })),
            Mode::Refuses => self.say(&Message::Refuse(Refuse { reason: "no memory left".into() })),
        }
        // Stay, as a process would that does not know what it has done: until the predecessor
        // closes the link or kills us. The lock of the caller goes with this thread.
        while !self.process.killed.load(Ordering::SeqCst) {
            match self.link.receive() {
                Ok(_) => {
                    self.link.wait(Readiness::Readable, Duration::from_millis(5)).unwrap();
                }
                Err(_) => break,
            }
        }
    }
}

fn server_with_clients(count: usize) -> (Server, Vec<UnixStream>) {
    let mut server = Server::first();
    let mut clients = Vec::new();
    for _ in 0..count {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        server.accept(ours.into());
        clients.push(theirs);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.listeners.push((b"tcp".to_vec(), listener.into()));
    (server, clients)
}

fn attempt(server: &mut Server, step: Step, mode: Mode) -> (Failure, ThreadProcess) {
    let (ours, theirs) = Link::pair().unwrap();
    let process = ThreadProcess::default();
    let link = Link::new(theirs).unwrap();
    let puppet = Puppet { link, process: process.clone(), step, mode };
    let thread = std::thread::spawn(move || puppet.play());
    let mut machine = predecessor(ours, Box::new(process.clone()), server, short_limits());
    let status = drive(&mut machine, server, |_, _| {});
    assert!(
        matches!(machine.step(server), Status::Failed(_)),
        "a machine whose attempt is over must stay so"
    );
    drop(machine);
    thread.join().unwrap();
    match status {
        Status::Failed(failure) => (failure, process),
        other => panic!("{step:?} {mode:?}: {other:?}"),
    }
}

fn check(step: Step, mode: Mode) {
    let (mut server, clients) = server_with_clients(20);
    let before = server.tickets();
    let (failure, process) = attempt(&mut server, step, mode);
    let what = format!("{step:?} {mode:?}: {}", failure.reason);
    if step == Step::Take {
        assert_eq!(failure.recovery, Recovery::RecoverAndResume, "{what}");
        assert!(process.kills.load(Ordering::SeqCst) >= 1, "{what}");
        let two = Generation::new(2).unwrap();
        assert_eq!(holder(&server.words.executors[two.lock_index()]), None, "{what}");
    } else {
        assert_eq!(failure.recovery, Recovery::Resume, "{what}");
        assert_eq!(process.kills.load(Ordering::SeqCst), 0, "{what}");
    }
    match mode {
        Mode::Aborts | Mode::Refuses => assert!(what.contains("no memory left"), "{what}"),
        Mode::Hang => assert!(matches!(failure.reason, HandoffError::Deadline { .. }), "{what}"),
        Mode::Exit | Mode::TooLong | Mode::Rubbish | Mode::TooManyFds => {
            assert!(matches!(failure.reason, HandoffError::Link { .. }), "{what}");
        }
        Mode::WrongMessage | Mode::WrongAck => {
            assert!(matches!(failure.reason, HandoffError::Violation { .. }), "{what}");
        }
    }
    assert_eq!(server.owner(), Owner::Serving(Generation::FIRST), "{what}");
    assert_eq!(server.tickets(), before, "{what}");
    for ((_, fd), mut client) in server.sockets.values().zip(clients) {
        let mut ours = UnixStream::from(fd.try_clone().unwrap());
        ours.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
    }
    support::upgrade_in_thread(&mut server);
}

#[test]
fn every_misbehaviour_at_every_step_leaves_the_predecessor_serving() {
    std::thread::scope(|scope| {
        for mode in MODES {
            // Each mode has its own server and its own thread, which is its executor.
            scope.spawn(move || {
                for step in STEPS {
                    check(step, mode);
                }
            });
        }
    });
}

fn hello(change: impl FnOnce(&mut Hello)) -> HandoffError {
    let (mut server, _clients) = server_with_clients(1);
    let (ours, theirs) = Link::pair().unwrap();
    let mut link = Link::new(theirs).unwrap();
    let mut hello = Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        pid: std::process::id(),
        identity: identity(FINGERPRINT),
    };
    change(&mut hello);
    link.send(&Message::Hello(hello), &[]).unwrap();
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(ours, process, &server, short_limits());
    let Status::Failed(failure) = drive(&mut machine, &mut server, |_, _| {}) else {
        panic!("a wrong HELLO was welcomed")
    };
    assert_eq!(failure.recovery, Recovery::Resume);
    let told = link.receive().unwrap().unwrap().message;
    let reason = failure.reason.to_string();
    let said = match told {
        Message::Refuse(refuse) => refuse.reason,
        Message::Abort(abort) => abort.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(said, reason, "both sides report the same");
    failure.reason
}

#[test]
fn another_protocol_is_refused_with_both_ranges() {
    let reason = hello(|hello| {
        hello.protocol_min = 7;
        hello.protocol_max = 9;
    });
    assert!(matches!(reason, HandoffError::Protocol { theirs_min: 7, theirs_max: 9, .. }));
    let reason = hello(|hello| {
        hello.protocol_min = 0;
        hello.protocol_max = 0;
    });
    assert!(matches!(reason, HandoffError::Protocol { .. }));
}

#[test]
fn a_wider_range_of_protocols_is_welcome() {
    let (mut server, _clients) = server_with_clients(1);
    let (ours, theirs) = Link::pair().unwrap();
    let mut link = Link::new(theirs).unwrap();
    let (protocol_min, protocol_max) = (1, PROTOCOL_MAX + 40);
    let pid = std::process::id();
    let identity = identity(FINGERPRINT);
    link.send(&Message::Hello(Hello { protocol_min, protocol_max, pid, identity }), &[]).unwrap();
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(ours, process, &server, short_limits());
    assert!(matches!(machine.step(&mut server), Status::Continue));
    let Some(Received { message: Message::Welcome(welcome), .. }) = link.receive().unwrap() else {
        panic!("no WELCOME")
    };
    assert_eq!((welcome.protocol, welcome.from, welcome.to), (PROTOCOL_MAX, 1, 2));
    let status = machine.cancel(&mut server, "told to");
    assert!(matches!(status, Status::Failed(Failure { recovery: Recovery::Resume, .. })));
}

#[test]
fn another_fingerprint_is_refused_with_both() {
    let reason = hello(|hello| hello.identity.fingerprint = vec![0xab; 8]).to_string();
    assert!(reason.contains("abababab"), "{reason}");
    assert!(reason.contains("7468652073616d65"), "{reason}");
}

#[test]
fn another_process_than_the_one_started_is_refused() {
    let reason = hello(|hello| hello.pid += 1);
    assert!(matches!(reason, HandoffError::Violation { .. }), "{reason}");
}

/// A lock word that does not hold the thread that READY names: that successor could not be
/// fenced, so nothing is offered to it.
#[test]
fn a_successor_without_its_lock_is_offered_nothing() {
    let (mut server, _clients) = server_with_clients(3);
    let (ours, theirs) = Link::pair().unwrap();
    let thread = std::thread::spawn(move || {
        let link = Link::new(theirs).unwrap();
        let process = ThreadProcess::default();
        let mut puppet = Puppet { link, process, step: Step::Take, mode: Mode::Exit };
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        let (pid, identity) = (std::process::id(), identity(FINGERPRINT));
        puppet.say(&Message::Hello(Hello { protocol_min, protocol_max, pid, identity }));
        while let Some(received) = puppet.hear_and_acknowledge() {
            match received.message {
                Message::PrecopyDone(_) => {
                    puppet.say(&Message::Ready(Ready { executor_tid: 12345, sockets: 3 }));
                }
                Message::Offer(_) => panic!("it was frozen for"),
                _ => {}
            }
        }
    });
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(ours, process, &server, short_limits());
    let Status::Failed(failure) = drive(&mut machine, &mut server, |_, _| {}) else { panic!() };
    assert_eq!(failure.recovery, Recovery::Resume);
    assert!(!server.quiesced);
    drop(machine);
    thread.join().unwrap();
}

/// SERVING from one that has not taken is a lie, and is not believed.
#[test]
fn serving_without_the_take_is_not_believed() {
    let (mut server, _clients) = server_with_clients(3);
    let (ours, theirs) = Link::pair().unwrap();
    let thread = std::thread::spawn(move || {
        let link = Link::new(theirs).unwrap();
        let mut successor =
            handoff::successor::Successor::new(link, identity(FINGERPRINT), Default::default());
        let mut heir = support::Heir::default();
        let offered = successor.receive(&mut heir).unwrap();
        let process = Box::new(ThreadProcess::default());
        let mut liar = successor.watched(process, &offered, short_limits());
        liar.say_serving(3).unwrap();
        // It believes that it serves, until it looks at the word: the other side has hung up.
        let mut server = heir.into_server(offered.to);
        let Status::Failed(failure) = drive(&mut liar, &mut server, |_, _| {}) else { panic!() };
        assert_eq!(failure.recovery, Recovery::Exit);
    });
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(ours, process, &server, short_limits());
    let Status::Failed(failure) = drive(&mut machine, &mut server, |_, _| {}) else { panic!() };
    assert_eq!(failure.recovery, Recovery::Resume);
    assert_eq!(server.owner(), Owner::Serving(Generation::FIRST));
    drop(machine);
    thread.join().unwrap();
}

#[test]
fn a_link_has_to_be_a_link() {
    let (stream, _other) = UnixStream::pair().unwrap();
    let error = Link::new(stream.into()).unwrap_err();
    assert!(matches!(error, LinkError::NotALink { .. }), "{error}");
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Link::new(file.into()), Err(LinkError::NotALink { .. })));
}
