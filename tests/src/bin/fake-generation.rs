//! A `hotredis` whose generations serve nobody but speak the keeper's protocol, well or badly: what
//! the keeper's tests run instead of the real one.
//!
//! How it behaves is in a file beside the executable, `EXECUTABLE.behaviour`: words, of which each
//! place below knows its own. Without the file it behaves well.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handoff::keeper_channel::{
    ChannelError, CheckOutcome, CheckReport, Delivery, GenerationEnd, GenerationToKeeper, GoBack,
    GoBackFailed, Goodbye, KeeperToGeneration, Phase, Probation, Progress, Ready, Returned,
    Serving, StartFailed, StatusReport, Stopping, Upgrade, UpgradeFailed,
};
use hotredis::cli::{self, Entry};
use hotredis::identity::Identity;
use hotredis::role::{Role, Succession};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::Pid;

const FINGERPRINT: &str = "feed";
const VERSIONS: (u16, u16) = (1, 1);

fn main() -> ExitCode {
    cli::main(&Entry { generation: run, identity })
}

/// Whether this executable is to behave in the named way.
fn is_to(word: &str) -> bool {
    let executable = std::env::current_exe().expect("the executable has a path");
    let mut file = executable.into_os_string();
    file.push(".behaviour");
    std::fs::read_to_string(file).unwrap_or_default().split_whitespace().any(|it| it == word)
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn identity() -> Identity {
    if is_to("preflight-hang") {
        hang();
    }
    if is_to("preflight-exit") {
        std::process::exit(3);
    }
    if is_to("preflight-abort") {
        std::process::abort();
    }
    while is_to("preflight-flood") {
        // Until the pipe breaks or the keeper kills: a GB would be printed without trouble.
        if std::io::stdout().write_all(&[b'x'; 65536]).is_err() {
            std::process::exit(0);
        }
    }
    if is_to("preflight-rubbish") {
        println!("Hello, world!");
    }
    let versions = if is_to("other-protocol") { (7, 9) } else { VERSIONS };
    let fingerprint = if is_to("other-fingerprint") { "beef" } else { FINGERPRINT };
    let mut identity = Identity::of_this_build(versions, vec![fingerprint.into()]);
    if is_to("build-b") {
        identity.build = "b".into();
    }
    identity
}

fn run(channel: GenerationEnd, role: Role) -> ExitCode {
    match role {
        Role::First { generation, settings, .. } => {
            if is_to("start-exit") {
                return ExitCode::from(9);
            }
            if is_to("start-hang") {
                hang();
            }
            if is_to("start-failed") {
                say(&channel, StartFailed { reason: "the port is in use".into() });
                return ExitCode::FAILURE;
            }
            let port = settings.port().expect("the keeper has checked the port");
            let address = format!("127.0.0.1:{port}");
            say(&channel, ready(generation, address));
            Server { channel, generation, link: None }.serve()
        }
        Role::Successor(told) => succeed(channel, told),
    }
}

fn ready(generation: u64, address: String) -> Ready {
    let Identity { version, build, .. } = identity();
    Ready {
        pid: std::process::id(),
        generation,
        version,
        build,
        fingerprint: FINGERPRINT.into(),
        handoff_versions: VERSIONS,
        addresses: vec![address],
    }
}

fn say(channel: &GenerationEnd, message: impl Into<GenerationToKeeper>) {
    channel.send(&message.into()).expect("the keeper listens");
}

struct Server {
    channel: GenerationEnd,
    generation: u64,
    /// To the predecessor, which may stand by.
    link: Option<OwnedFd>,
}

impl Server {
    fn serve(mut self) -> ExitCode {
        loop {
            wait_for(&[self.channel.as_fd()], None);
            match self.channel.recv() {
                Ok(Some(Delivery { message, descriptor })) => {
                    if let Some(code) = self.obey(message, descriptor) {
                        return code;
                    }
                }
                Ok(None) => {}
                // The real one serves on without a keeper; a stand-in must not outlive its test.
                Err(ChannelError::Closed) => return ExitCode::from(77),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn obey(&mut self, message: KeeperToGeneration, fd: Option<OwnedFd>) -> Option<ExitCode> {
        match message {
            KeeperToGeneration::Shutdown(told) => {
                if is_to("exit-unsaid") {
                    return Some(ExitCode::from(4));
                }
                if is_to("ignore-shutdown") {
                    return None;
                }
                return Some(self.stop(told.cause));
            }
            KeeperToGeneration::Status(_) if is_to("mute") => {}
            KeeperToGeneration::Status(told) => {
                let request = told.request;
                say(&self.channel, StatusReport { request, clients: 5, keys: 7, memory: 4096 });
            }
            KeeperToGeneration::Check(told) => self.check(told.request),
            KeeperToGeneration::Upgrade(told) => {
                let link = fd.expect("UPGRADE carries the link");
                return self.hand_over(&told, link);
            }
            KeeperToGeneration::GoBack(told) => return self.go_back(&told),
            // The last two may cross with the word that it serves again.
            KeeperToGeneration::Abort(_)
            | KeeperToGeneration::Release(_)
            | KeeperToGeneration::TakeBack(_) => {}
            KeeperToGeneration::Outcome(told) => {
                let line = format!("outcome for generation {}: {}\n", self.generation, told.result);
                // The keeper's log goes there too: in one piece, not to be mixed with it.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
            unexpected => panic!("{unexpected:?}"),
        }
        None
    }

    fn stop(&self, cause: String) -> ExitCode {
        say(&self.channel, Stopping { cause });
        if let Some(link) = &self.link {
            tell(link, "release");
        }
        ExitCode::SUCCESS
    }

    /// The successor's part in a rollback.
    fn go_back(&self, told: &GoBack) -> Option<ExitCode> {
        if is_to("fail-goback") {
            let (upgrade, reason) = (told.upgrade, "a client is too busy".into());
            say(&self.channel, GoBackFailed { upgrade, reason });
            return None;
        }
        if is_to("die-at-goback") {
            std::process::abort();
        }
        if is_to("ignore-goback") {
            return None;
        }
        let link = self.link.as_ref().expect("generation 1 is not told to go back");
        tell(link, "back");
        expect(link, "served");
        Some(ExitCode::SUCCESS)
    }

    fn check(&self, request: u64) {
        let (outcome, text) = match () {
            () if is_to("check-findings") => (CheckOutcome::Findings, "block 7 is lost"),
            () if is_to("check-failed") => (CheckOutcome::Failed, "no memory"),
            () => (CheckOutcome::Clean, "3 blocks"),
        };
        say(&self.channel, CheckReport { request, outcome, stall_us: 1500, text: text.into() });
    }

    /// The predecessor's part; returns if it serves on.
    fn hand_over(&mut self, told: &Upgrade, link: OwnedFd) -> Option<ExitCode> {
        let upgrade = told.upgrade;
        self.link = None;
        let progress = |phase, done| Progress { upgrade, phase, done, total: 10 };
        if is_to("predecessor-refuse") {
            let reason = "too busy".into();
            say(&self.channel, UpgradeFailed { upgrade, phase: Phase::PreCopy, reason });
        }
        if is_to("predecessor-crash") {
            std::process::abort();
        }
        let mut link = Some(link);
        loop {
            let fds = [Some(self.channel.as_fd()), link.as_ref().map(AsFd::as_fd)];
            wait_for(&fds.into_iter().flatten().collect::<Vec<_>>(), None);
            match self.channel.recv().expect("the keeper lives") {
                Some(Delivery { message: KeeperToGeneration::Abort(_), .. }) => return None,
                Some(Delivery { message: KeeperToGeneration::Probation(order), .. }) => {
                    assert_eq!(order.upgrade, upgrade);
                    return self.stand_by(&order, link, told.successor_pid);
                }
                Some(Delivery { message: KeeperToGeneration::Release(told), .. }) => {
                    assert_eq!(told.upgrade, upgrade);
                    say(&self.channel, Goodbye { upgrade });
                    if is_to("linger") {
                        hang();
                    }
                    return Some(ExitCode::SUCCESS);
                }
                Some(other) => {
                    if let Some(code) = self.obey(other.message, other.descriptor) {
                        return Some(code);
                    }
                }
                None => {}
            }
            let Some(open) = &link else { continue };
            match hear(open).as_deref() {
                Some("hello") => {
                    say(&self.channel, progress(Phase::PreCopy, 10));
                    tell(open, "copied");
                }
                Some("ready") => {
                    say(&self.channel, progress(Phase::Freeze, 0));
                    // As the real one does, which knows of no phase between.
                    say(&self.channel, progress(Phase::Goodbye, 0));
                    tell(open, "yours");
                }
                // The end of the link: the keeper will say what became of it.
                Some("") => link = None,
                Some(_) => {}
                None => {}
            }
        }
    }
}

impl Server {
    /// The predecessor's part after that; returns if it serves again.
    fn stand_by(
        &mut self,
        told: &Probation,
        mut link: Option<OwnedFd>,
        successor: u32,
    ) -> Option<ExitCode> {
        if is_to("ignore-probation") {
            hang();
        }
        if is_to("die-standing-by") {
            std::process::abort();
        }
        let upgrade = told.upgrade;
        if is_to("disbelieve") {
            let reason = "no such message".into();
            say(&self.channel, UpgradeFailed { upgrade, phase: Phase::Serve, reason });
            return None;
        }
        let end = Instant::now() + Duration::from_millis(told.length_ms);
        let mut heard = match &link {
            None => Some(String::new()),
            Some(_) => is_to("return-at-once").then(|| "hangs".into()),
        };
        loop {
            match heard.as_deref() {
                Some("hangs") => return self.take_back(upgrade, "the successor hangs", successor),
                Some("back") => {
                    self.returned(upgrade, "as it was told", true);
                    tell(link.as_ref().expect("it was heard"), "served");
                    return None;
                }
                Some("release") => return Some(self.leave(upgrade)),
                Some("") => {
                    if is_to("goodbye-at-death") {
                        return Some(self.leave(upgrade));
                    }
                    link = None;
                    if !is_to("stay-away") {
                        self.returned(upgrade, "the successor has ended", false);
                        return None;
                    }
                }
                Some(_) | None => {}
            }
            let fds = [Some(self.channel.as_fd()), link.as_ref().map(AsFd::as_fd)];
            wait_for(&fds.into_iter().flatten().collect::<Vec<_>>(), Some(end));
            if Instant::now() >= end {
                return Some(self.leave(upgrade));
            }
            match self.channel.recv().expect("the keeper lives").map(|it| it.message) {
                Some(KeeperToGeneration::Release(_)) if is_to("ignore-release") => {}
                Some(KeeperToGeneration::Release(_)) if is_to("return-on-release") => {
                    return self.take_back(upgrade, "the successor hangs", successor);
                }
                Some(KeeperToGeneration::Release(_)) if is_to("leave-unsaid") => {
                    return Some(ExitCode::SUCCESS);
                }
                Some(KeeperToGeneration::Release(_)) => return Some(self.leave(upgrade)),
                Some(KeeperToGeneration::TakeBack(_)) if is_to("ignore-takeback") => {}
                Some(KeeperToGeneration::TakeBack(told)) => {
                    return self.take_back(upgrade, &told.reason, successor);
                }
                Some(unexpected) => panic!("{unexpected:?}"),
                None => {}
            }
            heard = link.as_ref().and_then(hear);
        }
    }

    fn leave(&self, upgrade: u64) -> ExitCode {
        say(&self.channel, Goodbye { upgrade });
        ExitCode::SUCCESS
    }

    fn take_back(&self, upgrade: u64, reason: &str, successor: u32) -> Option<ExitCode> {
        let pid = i32::try_from(successor).expect("a pid fits");
        // It may have ended by itself meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        while is_to("return-late") && kill(Pid::from_raw(pid), None).is_ok() {
            // Until the keeper has reaped it.
            std::thread::sleep(Duration::from_millis(1));
        }
        self.returned(upgrade, reason, false);
        None
    }

    fn returned(&self, upgrade: u64, reason: &str, given: bool) {
        let (generation, reason) = (self.generation, reason.into());
        let freeze_us = if given { 77 } else { 0 };
        if is_to("return-wrongly") {
            let upgrade = upgrade + 1000;
            let reason = "nobody asked".into();
            say(
                &self.channel,
                Returned { upgrade, generation, reason, given, freeze_us, connections: 1 },
            );
        }
        say(
            &self.channel,
            Returned { upgrade, generation, reason, given, freeze_us, connections: 41 },
        );
    }
}

/// The successor's part, up to serving.
fn succeed(channel: GenerationEnd, told: Succession) -> ExitCode {
    let upgrade = told.upgrade;
    if is_to("refuse") {
        let reason = "not enough memory".into();
        say(&channel, UpgradeFailed { upgrade, phase: Phase::Start, reason });
        return ExitCode::FAILURE;
    }
    misbehave("at-start");
    tell(&told.link, "hello");
    expect(&told.link, "copied");
    misbehave("at-precopy");
    tell(&told.link, "ready");
    expect(&told.link, "yours");
    misbehave("at-freeze");
    let Ready { pid, generation, version, build, fingerprint, handoff_versions, addresses } =
        ready(told.generation, format!("127.0.0.1:{}", told.settings.port().expect("checked")));
    let serving = Serving {
        upgrade,
        pid,
        generation,
        connections: 42,
        freeze_us: 123,
        version,
        build,
        fingerprint,
        handoff_versions,
        addresses,
    };
    say(&channel, serving);
    if is_to("die-after-serving") {
        return ExitCode::from(5);
    }
    let server = Server { channel, generation, link: Some(told.link) };
    if is_to("stop-after-serving") {
        return server.stop("SHUTDOWN".into());
    }
    server.serve()
}

fn misbehave(place: &str) {
    if is_to(&format!("exit-{place}")) {
        std::process::exit(6);
    }
    if is_to(&format!("abort-{place}")) {
        std::process::abort();
    }
    if is_to(&format!("hang-{place}")) {
        hang();
    }
}

/// Waits until one of the descriptors can be read, or the time has come.
fn wait_for(fds: &[std::os::fd::BorrowedFd<'_>], end: Option<Instant>) {
    let mut fds: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let timeout = match end {
        None => PollTimeout::NONE,
        Some(end) => {
            let left = end.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).expect("a short time")
        }
    };
    poll(&mut fds, timeout).expect("poll");
}

fn tell(link: &OwnedFd, word: &str) {
    // Whoever is gone will be noticed by the keeper.
    let _ = send(link.as_raw_fd(), word.as_bytes(), MsgFlags::MSG_NOSIGNAL);
}

/// What the other side has said; an empty word if it is gone.
fn hear(link: &OwnedFd) -> Option<String> {
    let mut buffer = [0u8; 64];
    match recv(link.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        Err(nix::errno::Errno::EAGAIN) => None,
        Err(_) => Some(String::new()),
    }
}

fn expect(link: &OwnedFd, word: &str) {
    loop {
        wait_for(&[link.as_fd()], None);
        match hear(link).as_deref() {
            Some(heard) if heard == word => return,
            // The predecessor serves on, or has died: without it there is nothing to take over.
            Some("") => std::process::exit(8),
            Some(_) | None => {}
        }
    }
}
