//! A server without commands, on both sides of a handoff: shared words in a mapped memfd,
//! sockets in slots, and a loop that drives the predecessor as a real one would.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use handoff::clock::{Clock, MonotonicClock};
use handoff::cookie::socket_cookie;
use handoff::error::{FenceError, HandoffError, HostError};
use handoff::fence::{ExecutorLock, OtherProcess, wait_dead};
use handoff::host::{
    Parcel, PredecessorHost, Quiesced, SharedWords, SocketHolder, Status, SuccessorHost, Wake,
};
use handoff::link::Link;
use handoff::message::{Identity, Ticket, Welcome};
use handoff::owner::{Generation, Owner, OwnerWord};
use handoff::predecessor::{Predecessor, PredecessorLimits};
use handoff::successor::{Offered, Successor, SuccessorLimits};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// The atomics of an arena's header.
#[repr(C)]
pub struct Words {
    pub owner: AtomicU64,
    pub executors: [AtomicU32; 2],
}

/// Maps the words; never unmapped, so that they outlive every lock.
pub fn map(file: &File) -> &'static Words {
    let length = NonZeroUsize::new(4096).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new shared mapping at an address of the kernel's choice.
    let address = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0) };
    // SAFETY: page-aligned, 4096 zeroed or earlier written bytes, all of them valid atomics, and
    // never unmapped.
    unsafe { address.unwrap().cast::<Words>().as_ref() }
}

pub fn new_arena() -> File {
    let fd = nix::sys::memfd::memfd_create(c"words", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
    let file = File::from(fd.unwrap());
    file.set_len(4096).unwrap();
    file
}

pub fn identity(fingerprint: &[u8]) -> Identity {
    Identity { version: "0".into(), build: "test".into(), fingerprint: fingerprint.to_vec() }
}

pub const FINGERPRINT: &[u8] = b"the same";

/// One process's view: the predecessor's before, the successor's after.
pub struct Server {
    pub file: File,
    pub words: &'static Words,
    pub generation: Generation,
    pub sockets: BTreeMap<u32, (u64, OwnedFd)>,
    pub listeners: Vec<(Vec<u8>, OwnedFd)>,
    pub quiesced: bool,
    pub lock: Option<ExecutorLock<'static>>,
}

impl Server {
    /// The first generation of a new arena.
    pub fn first() -> Self {
        let file = new_arena();
        let words = map(&file);
        let generation = Generation::FIRST;
        let lock =
            ExecutorLock::acquire(&words.executors[generation.lock_index()], generation).unwrap();
        OwnerWord::new(&words.owner).found(&lock).unwrap();
        Self {
            file,
            words,
            generation,
            sockets: BTreeMap::new(),
            listeners: Vec::new(),
            quiesced: false,
            lock: Some(lock),
        }
    }

    /// Takes a connection into the lowest free slot.
    pub fn accept(&mut self, fd: OwnedFd) -> Ticket {
        let slot = (0..).find(|slot| !self.sockets.contains_key(slot)).unwrap();
        let cookie = socket_cookie(fd.as_fd()).unwrap();
        self.sockets.insert(slot, (cookie, fd));
        Ticket { slot, cookie }
    }

    /// Closes a connection the way a server has to.
    pub fn close(&mut self, slot: u32) -> Ticket {
        let (cookie, fd) = self.sockets.remove(&slot).unwrap();
        let how = nix::sys::socket::Shutdown::Both;
        nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&fd), how).unwrap();
        Ticket { slot, cookie }
    }

    /// Slot and cookie of every connection.
    pub fn tickets(&self) -> BTreeSet<(u32, u64)> {
        self.sockets.iter().map(|(&slot, &(cookie, _))| (slot, cookie)).collect()
    }

    pub fn owner(&self) -> Owner {
        OwnerWord::new(&self.words.owner).read().unwrap()
    }
}

impl SharedWords for Server {
    fn owner_word(&self) -> &AtomicU64 {
        &self.words.owner
    }

    fn executor_word(&self, generation: Generation) -> &AtomicU32 {
        &self.words.executors[generation.lock_index()]
    }
}

impl PredecessorHost for Server {
    fn connections(&self) -> u32 {
        self.sockets.len() as u32
    }

    fn arena(&mut self) -> Result<Parcel<'_>, HostError> {
        Ok(Parcel { payload: b"arena".to_vec(), fds: vec![self.file.as_fd()] })
    }

    fn listeners(&mut self) -> Result<Vec<(Vec<u8>, BorrowedFd<'_>)>, HostError> {
        Ok(self.listeners.iter().map(|(what, fd)| (what.clone(), fd.as_fd())).collect())
    }

    fn scan_sockets<'h>(
        &'h self,
        from: u32,
        max: usize,
        out: &mut Vec<(Ticket, BorrowedFd<'h>)>,
    ) -> Option<u32> {
        for (&slot, (cookie, fd)) in self.sockets.range(from..).take(max) {
            out.push((Ticket { slot, cookie: *cookie }, fd.as_fd()));
        }
        if out.len() < max { None } else { out.last().map(|(ticket, _)| ticket.slot + 1) }
    }

    fn socket(&self, ticket: Ticket) -> Option<BorrowedFd<'_>> {
        let (cookie, fd) = self.sockets.get(&ticket.slot)?;
        (*cookie == ticket.cookie).then(|| fd.as_fd())
    }

    fn quiesce(&mut self) -> Result<Quiesced, HostError> {
        self.quiesced = true;
        Ok(Quiesced { last_command_ns: MonotonicClock.now_ns(), payload: b"frozen".to_vec() })
    }
}

/// A successor in the making; becomes a [`Server`].
#[derive(Default)]
pub struct Heir {
    pub file: Option<File>,
    pub words: Option<&'static Words>,
    pub sockets: BTreeMap<u32, (u64, OwnedFd)>,
    pub listeners: Vec<(Vec<u8>, OwnedFd)>,
    pub lock: Option<ExecutorLock<'static>>,
}

impl SharedWords for Heir {
    fn owner_word(&self) -> &AtomicU64 {
        &self.words.expect("the arena comes first").owner
    }

    fn executor_word(&self, generation: Generation) -> &AtomicU32 {
        &self.words.expect("the arena comes first").executors[generation.lock_index()]
    }
}

impl SocketHolder for Heir {
    fn socket(&mut self, ticket: Ticket, fd: OwnedFd) -> Result<(), HostError> {
        assert!(self.sockets.insert(ticket.slot, (ticket.cookie, fd)).is_none());
        Ok(())
    }

    fn closed(&mut self, ticket: Ticket) {
        let (cookie, _) = self.sockets.remove(&ticket.slot).expect("held");
        assert_eq!(cookie, ticket.cookie);
    }
}

impl SuccessorHost for Heir {
    fn arena(&mut self, payload: &[u8], fds: Vec<OwnedFd>) -> Result<(), HostError> {
        assert_eq!(payload, b"arena");
        let file = File::from(fds.into_iter().next().ok_or("no descriptor")?);
        self.words = Some(map(&file));
        self.file = Some(file);
        Ok(())
    }

    fn listeners(&mut self, listeners: Vec<(Vec<u8>, OwnedFd)>) -> Result<(), HostError> {
        self.listeners = listeners;
        Ok(())
    }

    fn prepare(&mut self, welcome: &Welcome) -> Result<(), HostError> {
        let generation = Generation::new(welcome.to).ok_or("no generation")?;
        let word = &self.words.ok_or("no arena")?.executors[generation.lock_index()];
        wait_dead(word, Duration::from_secs(5))?;
        self.lock = Some(ExecutorLock::acquire(word, generation)?);
        Ok(())
    }

    fn executor_lock(&self) -> Option<&ExecutorLock<'_>> {
        self.lock.as_ref()
    }
}

impl Heir {
    pub fn into_server(self, generation: Generation) -> Server {
        Server {
            file: self.file.unwrap(),
            words: self.words.unwrap(),
            generation,
            sockets: self.sockets,
            listeners: self.listeners,
            quiesced: false,
            lock: self.lock,
        }
    }
}

/// Runs the successor's side to the take.
pub fn succeed(
    link: OwnedFd,
    limits: SuccessorLimits,
) -> Result<(Successor, Heir, Offered), HandoffError> {
    let link = Link::new(link).unwrap();
    let mut successor = Successor::new(link, identity(FINGERPRINT), limits);
    let mut heir = Heir::default();
    let offered = successor.receive(&mut heir)?;
    let lock = heir.lock.as_ref().unwrap();
    successor.take(OwnerWord::new(heir.owner_word()), lock, &offered)?;
    Ok((successor, heir, offered))
}

/// Runs the successor's side to SERVING. A predecessor that is a thread of this process cannot be
/// killed.
pub fn succeed_and_serve(link: OwnedFd) -> Result<(Predecessor, Server), HandoffError> {
    let (successor, heir, offered) = succeed(link, SuccessorLimits::default())?;
    let server = heir.into_server(offered.to);
    let process = Box::new(ThreadProcess::default());
    let mut watched = successor.watched(process, &offered, short_limits());
    watched.say_serving(server.sockets.len() as u32)?;
    Ok((watched, server))
}

/// A successor that is a thread of this process: killing it sets a flag that it looks at.
#[derive(Default, Clone)]
pub struct ThreadProcess {
    pub killed: Arc<AtomicBool>,
    pub kills: Arc<AtomicUsize>,
}

impl OtherProcess for ThreadProcess {
    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn kill(&self) -> Result<(), FenceError> {
        self.kills.fetch_add(1, Ordering::SeqCst);
        self.killed.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn has_exited(&self) -> bool {
        // A thread says so by its lock alone.
        false
    }
}

/// Limits short enough for tests of what happens when they pass.
pub fn short_limits() -> PredecessorLimits {
    let short = Duration::from_millis(300);
    PredecessorLimits {
        hello: short,
        transfer: short,
        ready: short,
        calm: short,
        take: Duration::from_millis(50),
        serving: short,
        ..PredecessorLimits::default()
    }
}

pub fn predecessor(
    link: OwnedFd,
    process: Box<dyn OtherProcess>,
    server: &Server,
    limits: PredecessorLimits,
) -> Predecessor {
    let link = Link::new(link).unwrap();
    Predecessor::new(link, process, server.generation, identity(FINGERPRINT), limits).unwrap()
}

/// What a server's loop does with an attempt, until it is over. `tick` stands for the work of
/// each tick: it is called while the server still serves.
pub fn drive(
    predecessor: &mut Predecessor,
    server: &mut Server,
    mut tick: impl FnMut(&mut Server, &mut Predecessor),
) -> Status {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end, "the attempt does not end: {:?}", predecessor.progress());
        let mut status = predecessor.step(server);
        if matches!(status, Status::WantFreeze) {
            status = predecessor.freeze(server);
        }
        match status {
            Status::Continue => tick(server, predecessor),
            Status::Frozen => assert!(server.quiesced, "frozen without having been asked"),
            Status::WantFreeze => unreachable!("freeze never asks for itself"),
            Status::Served(_) | Status::Released | Status::Failed(_) => {
                server.quiesced = false;
                return status;
            }
        }
        await_wake(predecessor);
    }
}

pub fn await_wake(predecessor: &Predecessor) {
    let Wake::Link { deadline_ns } = predecessor.wake() else { return };
    let left = deadline_ns.saturating_sub(MonotonicClock.now_ns()).div_ceil(1_000_000);
    let timeout = PollTimeout::try_from(left.min(10_000)).unwrap();
    let mut fds = [PollFd::new(predecessor.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).unwrap();
}

/// A plain upgrade that has to work, the successor in a thread of its own.
pub fn upgrade_in_thread(server: &mut Server) {
    let (ours, theirs) = Link::pair().unwrap();
    let heir = std::thread::spawn(move || {
        let (watched, server) = succeed_and_serve(theirs).unwrap();
        drop(watched);
        server.tickets()
    });
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(ours, process, server, PredecessorLimits::default());
    let status = drive(&mut machine, server, |_, _| {});
    assert!(matches!(status, Status::Served(_)), "{status:?}");
    assert_eq!(heir.join().unwrap(), server.tickets());
}
