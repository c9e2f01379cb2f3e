//! Deaths between instructions.
//!
//! From the arrival of a play's requests until all replies are written and the poll waits again, the
//! executor is stepped instruction by instruction. At some of them, or all, the arena is copied, with
//! what the kernel counts of each connection at that instant, and [`crate::heir`] plays on from the copy.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

use handoff::cookie::socket_cookie;
use handoff::counts::{ByteCounts, byte_counts};
use hotredis_tests::server::Server;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::cast::Cast;
use crate::heir::{self, Image, Line};
use crate::plays::Play;
use crate::tracee::Tracee;

/// More instructions than any play has.
const MOST: u64 = 50_000_000;

/// What came of a walk.
#[derive(Debug, Default, Clone, Copy)]
pub struct Census {
    /// Instructions that were run.
    pub instructions: u64,
    /// Instructions after which the arena was looked at.
    pub places: u64,
    /// Copies that were taken up and played to the end: at the others nothing had changed since the one
    /// before.
    pub proved: u64,
}

impl Census {
    pub fn add(&mut self, other: &Self) {
        self.instructions += other.instructions;
        self.places += other.places;
        self.proved += other.proved;
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} instructions, death tried after {} of them, {} different arenas proved",
            self.instructions, self.places, self.proved
        )
    }
}

/// Plays a play once, and proves the arena after every `stride` instructions.
pub fn walk(server: &Server, play: &Play, stride: u64) -> Census {
    let mut stepping = Stepping::begin(server, play);
    let mut census = Census::default();
    let mut last = None;
    census.instructions = stepping.run(|stepping, number| {
        if number.is_multiple_of(stride) {
            census.places += 1;
            if !last.as_ref().is_some_and(|last| stepping.is_still(last)) {
                let now = stepping.moment();
                census.proved += 1;
                stepping.prove(&now, number);
                last = Some(now);
            }
        }
        ControlFlow::Continue(())
    });
    stepping.finish();
    census
}

/// Plays a play, and kills the process after so many instructions; false if it has fewer.
pub fn die(server: &Server, play: &Play, place: u64) -> bool {
    let mut stepping = Stepping::begin(server, play);
    let reached = stepping.run(|_, number| match number == place {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    if reached != place {
        stepping.finish();
        return false;
    }
    let Stepping { tracee, mut cast, together, .. } = stepping;
    drop(together);
    let mut killed = Some(tracee.pid());
    tracee.kill();
    let heard = cast.hear().and_then(|()| cast.conclude());
    heard.unwrap_or_else(|why| panic!("{}, dead after {place} instructions: {why}", play.name));
    // The next play has to find the one that serves now.
    Tracee::of(server, &mut killed).release();
    true
}

/// A play whose server is stepped.
struct Stepping {
    tracee: Tracee,
    cast: Cast,
    arena: File,
    /// Of each client: the server's end of its connection, and what it is known by.
    sockets: Vec<(OwnedFd, u64)>,
    /// Bytes that each client had received when it began.
    received: Vec<usize>,
    /// Where system calls begin, as far as that has come up.
    calls: HashMap<u64, bool>,
    together: Together,
}

/// What a successor would find at one instant.
struct Moment {
    counts: Vec<ByteCounts>,
    image: Image,
}

impl Stepping {
    fn begin(server: &Server, play: &Play) -> Self {
        let mut cast = Cast::assemble(server.endpoint(), play);
        let tracee = Tracee::of(server, &mut None);
        let together = Together::with(&tracee);
        let addresses: Vec<_> = cast.players.iter().map(|player| player.address()).collect();
        let sockets = tracee.sockets(&addresses).into_iter();
        let known = |fd: OwnedFd| {
            let cookie = socket_cookie(fd.as_fd()).expect("a socket");
            (fd, cookie)
        };
        let (arena, sockets) = (tracee.arena(), sockets.map(known).collect());
        let received = cast.players.iter().map(|player| player.received.len()).collect();
        cast.begin().expect("the server is there");
        Self { tracee, cast, arena, sockets, received, calls: HashMap::new(), together }
    }

    /// Steps until the play is over, or `visit` says so; gives the number of instructions.
    fn run(&mut self, mut visit: impl FnMut(&mut Self, u64) -> ControlFlow<()>) -> u64 {
        for number in 1..MOST {
            if self.is_over().unwrap_or_else(|why| panic!("{}: {why}", self.cast.play.name)) {
                return number - 1;
            }
            self.tracee.step().unwrap_or_else(|why| panic!("{}: {why}", self.cast.play.name));
            if visit(self, number).is_break() {
                return number;
            }
        }
        panic!("{}: there is no end of it", self.cast.play.name);
    }

    /// Whether the executor is about to wait, with nothing left to do. Clients take what has come
    /// whenever it calls the system.
    fn is_over(&mut self) -> Result<bool, String> {
        let registers = self.tracee.registers()?;
        let is_call = match self.calls.get(&registers.rip) {
            Some(is_call) => *is_call,
            None => {
                let is_call = self.tracee.is_call(registers.rip)?;
                self.calls.insert(registers.rip, is_call);
                is_call
            }
        };
        if !is_call {
            return Ok(false);
        }
        self.cast.players.iter_mut().try_for_each(|player| player.drain())?;
        let waits = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait].contains(&(registers.rax as i64));
        Ok(waits && self.counts() == self.counts_at_the_end())
    }

    fn counts(&self) -> Vec<ByteCounts> {
        let count = |(fd, _): &(OwnedFd, u64)| byte_counts(fd.as_fd()).ok().flatten();
        let counts: Option<Vec<_>> = self.sockets.iter().map(count).collect();
        counts.expect("the kernel counts what connections carry")
    }

    fn counts_at_the_end(&self) -> Vec<ByteCounts> {
        let at_the_end = |client: usize| ByteCounts {
            read: self.cast.players[client].sent.len() as u64,
            written: (self.received[client] + self.cast.replies(client).0.len()) as u64,
        };
        (0..self.sockets.len()).map(at_the_end).collect()
    }

    fn moment(&self) -> Moment {
        Moment { counts: self.counts(), image: Image::of(&self.arena).expect("it can be read") }
    }

    fn is_still(&self, moment: &Moment) -> bool {
        moment.counts == self.counts() && moment.image.is_of(&self.arena).expect("it can be read")
    }

    /// Plays on from a copy.
    ///
    /// # Panics
    /// If that does not end as the play does.
    fn prove(&self, now: &Moment, number: u64) {
        let line = |client: usize| {
            let player = &self.cast.players[client];
            let mut written = player.received[..self.received[client]].to_vec();
            written.extend_from_slice(self.cast.replies(client).0);
            Line {
                cookie: self.sockets[client].1,
                read: now.counts[client].read as usize,
                written: now.counts[client].written as usize,
                requests: player.sent.clone(),
                replies: written,
            }
        };
        let lines = (0..self.sockets.len()).map(line).collect();
        heir::prove(&now.image, lines, &self.cast).unwrap_or_else(|why| {
            panic!("{}, dead after {number} instructions: {why}", self.cast.play.name)
        });
    }

    /// Lets the server go on, and the play end.
    fn finish(self) {
        let Self { tracee, mut cast, together, .. } = self;
        drop(together);
        tracee.release();
        let heard = cast.hear().and_then(|()| cast.conclude());
        heard.unwrap_or_else(|why| panic!("{}, with nobody dead: {why}", cast.play.name));
    }
}

/// Tracer and tracee on one processor, where each step wakes nobody elsewhere: ten times as fast.
struct Together {
    pid: Pid,
    before: CpuSet,
}

impl Together {
    fn with(tracee: &Tracee) -> Self {
        let pid = Pid::from_raw(tracee.pid() as i32);
        let before = sched_getaffinity(Pid::from_raw(0)).expect("processors can be asked for");
        let first = (0..CpuSet::count()).find(|number| before.is_set(*number) == Ok(true));
        let mut one = CpuSet::new();
        one.set(first.expect("there is a processor")).expect("it is in the set");
        // Slower without.
        let _ =
            sched_setaffinity(Pid::from_raw(0), &one).and_then(|()| sched_setaffinity(pid, &one));
        Self { pid, before }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
        let _ = sched_setaffinity(self.pid, &self.before);
    }
}
