//! What only real processes show: death by SIGKILL, a process stopped in its tracks, descriptor
//! limits. The children are this test binary, run again for one test with a role to play; their
//! standard input is the link.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use handoff::error::FenceError;
use handoff::fence::{
    ExecutorLock, Fenced, OtherProcess, ProcessHandle, fence, holder, is_dead, wait_dead,
};
use handoff::host::{Failure, Recovery, Status};
use handoff::link::Link;
use handoff::owner::{Generation, Owner};
use handoff::predecessor::PredecessorLimits;
use handoff::rlimit::open_descriptors;
use handoff::successor::{Successor, SuccessorLimits};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use support::{FINGERPRINT, Heir, Server, drive, identity, map, predecessor, succeed};

const ROLE: &str = "HANDOFF_TEST_ROLE";
const WORDS: &str = "HANDOFF_TEST_WORDS";

fn two() -> Generation {
    Generation::new(2).unwrap()
}

/// Entry point of the children; without a role there is nothing for it to do.
#[test]
#[ignore = "run as a child process by the other tests"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let link = || std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    match role.as_str() {
        "hold" => {
            let file = File::options().read(true).write(true).open(std::env::var(WORDS).unwrap());
            let words = map(&file.unwrap());
            let _lock = ExecutorLock::acquire(&words.executors[0], two()).unwrap();
            park();
        }
        "serve" => drop(support::succeed_and_serve(link()).unwrap()),
        "serve and stay" => {
            let _all = support::succeed_and_serve(link()).unwrap();
            park();
        }
        "die before the take" => {
            let mut successor = Successor::new(
                Link::new(link()).unwrap(),
                identity(FINGERPRINT),
                Default::default(),
            );
            let mut heir = Heir::default();
            successor.receive(&mut heir).unwrap();
            raise(Signal::SIGKILL).unwrap();
        }
        "die after the take" => {
            let _all = succeed(link(), SuccessorLimits::default()).unwrap();
            raise(Signal::SIGKILL).unwrap();
        }
        "stop after the take" => {
            let _all = succeed(link(), SuccessorLimits::default()).unwrap();
            raise(Signal::SIGSTOP).unwrap();
        }
        "exec after the take" => {
            let _all = succeed(link(), SuccessorLimits::default()).unwrap();
            let error = std::os::unix::process::CommandExt::exec(Command::new("sleep").arg("60"));
            panic!("{error}");
        }
        "low hard limit" => {
            let limit = open_descriptors().unwrap() + 100;
            setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
            assert!(succeed(link(), SuccessorLimits::default()).is_err());
        }
        "limit reached on the way" => {
            let mut successor = Successor::new(
                Link::new(link()).unwrap(),
                identity(FINGERPRINT),
                Default::default(),
            );
            let error = successor.receive(&mut Narrow(Heir::default())).unwrap_err();
            assert!(error.to_string().contains("ulimit -n"), "{error}");
        }
        other => panic!("no such role: {other}"),
    }
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// A host that has lost its descriptors to something else after the budget was checked.
struct Narrow(Heir);

impl handoff::host::SharedWords for Narrow {
    fn owner_word(&self) -> &std::sync::atomic::AtomicU64 {
        self.0.owner_word()
    }
    fn executor_word(&self, generation: Generation) -> &std::sync::atomic::AtomicU32 {
        self.0.executor_word(generation)
    }
}

impl handoff::host::SocketHolder for Narrow {
    fn socket(
        &mut self,
        ticket: handoff::message::Ticket,
        fd: OwnedFd,
    ) -> Result<(), handoff::error::HostError> {
        self.0.socket(ticket, fd)
    }
    fn closed(&mut self, ticket: handoff::message::Ticket) {
        self.0.closed(ticket);
    }
}

impl handoff::host::SuccessorHost for Narrow {
    fn arena(
        &mut self,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<(), handoff::error::HostError> {
        let limit = open_descriptors()? + 50;
        setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
        self.0.arena(payload, fds)
    }
    fn listeners(
        &mut self,
        listeners: Vec<(Vec<u8>, OwnedFd)>,
    ) -> Result<(), handoff::error::HostError> {
        self.0.listeners(listeners)
    }
    fn prepare(
        &mut self,
        welcome: &handoff::message::Welcome,
    ) -> Result<(), handoff::error::HostError> {
        self.0.prepare(welcome)
    }
    fn executor_lock(&self) -> Option<&ExecutorLock<'_>> {
        self.0.executor_lock()
    }
}

/// A child that is killed and reaped when the test is over, however it ends.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(role: &str, link: OwnedFd, words: Option<&File>) -> Reaped {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    command.env(ROLE, role).stdin(Stdio::from(link)).stdout(Stdio::null());
    if let Some(file) = words {
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        command.env(WORDS, path);
    }
    Reaped(command.spawn().unwrap())
}

fn spawn_holder() -> (Reaped, &'static support::Words, File) {
    let file = support::new_arena();
    let words = map(&file);
    let (_ours, theirs) = Link::pair().unwrap();
    let child = spawn("hold", theirs, Some(&file));
    let end = Instant::now() + Duration::from_secs(20);
    while holder(&words.executors[0]).is_none() {
        assert!(Instant::now() < end, "the child does not take the lock");
        std::thread::yield_now();
    }
    (child, words, file)
}

#[test]
fn the_kernel_reports_a_killed_executor_at_once() {
    let (child, words, _file) = spawn_holder();
    let word = &words.executors[0];
    assert_eq!(Fenced::observe(word, two()), None);
    assert!(!wait_dead(word, Duration::from_millis(5)).unwrap(), "it lives");
    assert!(matches!(ExecutorLock::acquire(word, two()), Err(FenceError::Held { .. })));
    let process = ProcessHandle::open(child.0.id()).unwrap();
    let start = Instant::now();
    let fenced = fence(&process, word, two(), Duration::from_secs(10)).unwrap();
    println!("fenced in {:?}", start.elapsed());
    assert_eq!(fenced.generation(), two());
    assert!(is_dead(word));
    // The next generation of that parity finds the word free.
    drop(ExecutorLock::acquire(word, two()).unwrap());
    process.kill().unwrap();
}

#[test]
fn every_waiter_is_told() {
    let (child, words, _file) = spawn_holder();
    let word = &words.executors[0];
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| wait_dead(word, Duration::from_secs(20)).unwrap()))
            .collect();
        kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGKILL).unwrap();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    });
}

#[test]
fn a_stopped_executor_is_not_dead_until_it_is_killed() {
    let (child, words, _file) = spawn_holder();
    let word = &words.executors[0];
    kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGSTOP).unwrap();
    assert!(!wait_dead(word, Duration::from_millis(30)).unwrap());
    let process = ProcessHandle::open(child.0.id()).unwrap();
    fence(&process, word, two(), Duration::from_secs(10)).unwrap();
}

#[test]
fn nobody_kills_init_or_itself() {
    for pid in [0, 1, std::process::id(), u32::MAX] {
        assert!(matches!(ProcessHandle::open(pid), Err(FenceError::Forbidden { .. })), "{pid}");
    }
}

fn server(clients: usize) -> (Server, Vec<UnixStream>) {
    let mut server = Server::first();
    let mut others = Vec::new();
    for _ in 0..clients {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        server.accept(ours.into());
        others.push(theirs);
    }
    (server, others)
}

fn attempt(server: &mut Server, role: &str) -> Status {
    let (ours, theirs) = Link::pair().unwrap();
    let child = spawn(role, theirs, None);
    let process = Box::new(ProcessHandle::open(child.0.id()).unwrap());
    let limits =
        PredecessorLimits { serving: Duration::from_millis(500), ..PredecessorLimits::default() };
    let mut machine = predecessor(ours, process, server, limits);
    drive(&mut machine, server, |_, _| {})
}

fn fails(role: &str) -> Failure {
    let (mut server, _clients) = server(400);
    let before = server.tickets();
    let status = attempt(&mut server, role);
    let Status::Failed(failure) = status else { panic!("{role}: {status:?}") };
    assert_eq!(server.owner(), Owner::Serving(Generation::FIRST), "{role}");
    assert_eq!(server.tickets(), before, "{role}");
    support::upgrade_in_thread(&mut server);
    failure
}

#[test]
fn another_process_takes_over() {
    let (mut server, _clients) = server(400);
    let Status::Served(summary) = attempt(&mut server, "serve and stay") else { panic!() };
    assert_eq!((summary.from.get(), summary.to.get(), summary.connections), (1, 2, 400));
    assert_eq!(server.owner(), Owner::Serving(two()));
    println!("freeze {:?}, total {:?}", summary.freeze, summary.total);
}

#[test]
fn death_before_the_take_costs_nothing() {
    assert_eq!(fails("die before the take").recovery, Recovery::Resume);
}

#[test]
fn death_after_the_take_is_fenced_and_taken_back() {
    let failure = fails("die after the take");
    assert_eq!(failure.recovery, Recovery::RecoverAndResume, "{}", failure.reason);
}

/// The case for which a compare-and-swap is no fence: the owner may wake at any time.
#[test]
fn a_stop_after_the_take_is_fenced_and_taken_back() {
    let failure = fails("stop after the take");
    assert_eq!(failure.recovery, Recovery::RecoverAndResume, "{}", failure.reason);
}

/// The executor of the child is not its main thread, and the kernel does not report an exec by
/// such a thread: the end of the process has to do.
#[test]
fn an_exec_after_the_take_gives_the_arena_up() {
    let failure = fails("exec after the take");
    assert_eq!(failure.recovery, Recovery::RecoverAndResume, "{}", failure.reason);
}

#[test]
fn a_low_hard_limit_is_refused_before_anything_moves() {
    let failure = fails("low hard limit");
    assert_eq!(failure.recovery, Recovery::Resume);
    assert!(failure.reason.to_string().contains("hard limit"), "{}", failure.reason);
}

#[test]
fn a_limit_reached_on_the_way_is_seen_and_reported() {
    let failure = fails("limit reached on the way");
    assert_eq!(failure.recovery, Recovery::Resume);
    assert!(failure.reason.to_string().contains("descriptors"), "{}", failure.reason);
}
