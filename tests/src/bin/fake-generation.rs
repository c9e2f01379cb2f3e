//! A `hotredis` whose generations serve nobody but speak the keeper's protocol, well or badly: what
//! the keeper's tests run instead of the real one.
//!
//! How it behaves is in a file beside the executable, `EXECUTABLE.behaviour`: words, of which each
//! place below knows its own. Without the file it behaves well.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use handoff::keeper_channel::{
    ChannelError, CheckOutcome, CheckReport, Delivery, GenerationEnd, GenerationToKeeper, Goodbye,
    KeeperToGeneration, Phase, Progress, Ready, Serving, StartFailed, StatusReport, Stopping,
    Upgrade, UpgradeFailed,
};
use hotredis::cli::{self, Entry};
use hotredis::identity::Identity;
use hotredis::role::{Role, Succession};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

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
            Server { channel }.serve()
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
}

impl Server {
    fn serve(mut self) -> ExitCode {
        loop {
            wait_for(&[self.channel.as_fd()]);
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
                say(&self.channel, Stopping { cause: told.cause });
                return Some(ExitCode::SUCCESS);
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
            KeeperToGeneration::Abort(_) | KeeperToGeneration::Outcome(_) => {}
            unexpected => panic!("{unexpected:?}"),
        }
        None
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
            wait_for(&fds.into_iter().flatten().collect::<Vec<_>>());
            match self.channel.recv().expect("the keeper lives") {
                Some(Delivery { message: KeeperToGeneration::Abort(_), .. }) => return None,
                Some(Delivery { message: KeeperToGeneration::Release(told), .. }) => {
                    assert_eq!(told.upgrade, upgrade);
                    if is_to("linger") {
                        hang();
                    }
                    say(&self.channel, Goodbye { upgrade });
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
    Server { channel }.serve()
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

fn wait_for(fds: &[std::os::fd::BorrowedFd<'_>]) {
    let mut fds: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::NONE).expect("poll");
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
        wait_for(&[link.as_fd()]);
        match hear(link).as_deref() {
            Some(heard) if heard == word => return,
            // The predecessor serves on, or has died: without it there is nothing to take over.
            Some("") => std::process::exit(8),
            Some(_) | None => {}
        }
    }
}
