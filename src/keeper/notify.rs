//! What the keeper tells the service manager that started it: systemd's protocol of sd_notify(3),
//! datagrams of `NAME=VALUE` lines to the socket that `NOTIFY_SOCKET` names.
//!
//! | when | what |
//! | --- | --- |
//! | generation 1 serves | `READY=1` |
//! | an upgrade begins | `RELOADING=1` with the clock, as systemd 253 wants it |
//! | it has ended, either way | `READY=1` |
//! | the server is to stop, or has ended | `STOPPING=1` |
//! | whoever serves has shown that it lives | `WATCHDOG=1` |
//!
//! Each comes with a `STATUS` for people. `MAINPID` is said only by a keeper that carries on for one that
//! has died.
//!
//! The keeper does not report each event: [`Keeper::attend_service_manager`] compares how things are
//! with what was said last, once in each turn of the loop. So no path can forget to tell, and what
//! could not be sent is sent later, as it is then.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use handoff::keeper_channel::Status;
use nix::unistd::Pid;
use tracing::{info, warn};

use super::Keeper;
use crate::settings::{NotifySocket, Settings};
use crate::util::time::monotonic_us;
use crate::version;

/// After a message could not be sent: the manager may be busy, or be starting again.
const RETRY: Duration = Duration::from_millis(250);

/// Most questions that one generation is asked without an answer: one that hangs must still find
/// room in its channel for the orders that end an upgrade.
const MAX_UNANSWERED: u32 = 8;

/// Most characters of a `STATUS`.
const MAX_STATUS: usize = 500;

/// What a service manager distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Upgrading,
    Stopping,
}

/// How things are, as far as a service manager is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    phase: Phase,
    status: String,
}

impl Condition {
    /// The message that tells it to a manager who was told `before`; `None` if there is no news.
    fn message(&self, before: Option<&Self>) -> Option<String> {
        let status = one_line(&self.status);
        if before.is_some_and(|before| before.phase == self.phase) {
            return (before != Some(self)).then(|| format!("STATUS={status}"));
        }
        let word = match self.phase {
            Phase::Serving => "READY=1".to_string(),
            // systemd compares the clock with its own.
            Phase::Upgrading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()),
            Phase::Stopping => "STOPPING=1".to_string(),
        };
        Some(format!("{word}\nSTATUS={status}"))
    }
}

/// A status must not end its line, and a reason that came from another process may say anything.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_STATUS).collect()
}

/// When to ask the serving generation for a sign of life.
///
/// A ping is the answer to a question, never the keeper's own opinion: what hangs is pinged for no
/// more, and the manager acts.
#[derive(Debug)]
struct Watchdog {
    /// In which the manager wants a ping.
    interval: Duration,
    /// Who is asked.
    asked: Option<Pid>,
    unanswered: u32,
    /// When to ask next; `None` before anybody serves, or if it was asked often enough.
    ask_at: Option<Instant>,
}

impl Watchdog {
    fn new(interval: Duration) -> Self {
        Self { interval, asked: None, unanswered: 0, ask_at: None }
    }

    /// Whether the generation that serves is to be asked now.
    fn wants_proof(&mut self, serving: Pid, now: Instant) -> bool {
        if self.asked != Some(serving) {
            // The question to its predecessor may have been lost with it.
            *self = Self { asked: Some(serving), ask_at: Some(now), ..Self::new(self.interval) };
        }
        if self.ask_at.is_none_or(|at| now < at) {
            return false;
        }
        self.unanswered += 1;
        // Well within the second half of the interval: a freeze may come in between.
        let again = (self.unanswered < MAX_UNANSWERED).then(|| now + self.interval / 8);
        self.ask_at = again;
        true
    }

    /// The generation that serves has shown that it lives, and the manager was told so or not.
    fn proved(&mut self, told: bool, now: Instant) {
        self.unanswered = 0;
        self.ask_at = Some(now + if told { self.interval / 2 } else { self.interval / 8 });
    }
}

/// The service manager that has started this process.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// To be said with the first message.
    main_pid: Option<u32>,
    told: Option<Condition>,
    /// Something could not be sent: when to try again.
    retry_at: Option<Instant>,
    watchdog: Option<Watchdog>,
}

impl ServiceManager {
    /// The manager that the settings name, if they do. `main_pid` is told if it is not the process that
    /// the manager started.
    pub fn of(settings: &Settings, main_pid: Option<u32>) -> Option<Self> {
        let NotifySocket { name, watchdog_us } = settings.service_manager.as_ref()?;
        match Self::new(name, watchdog_us.map(Duration::from_micros), main_pid) {
            Ok(manager) => Some(manager),
            Err(error) => {
                warn!("cannot tell the service manager anything: NOTIFY_SOCKET={name:?}: {error}");
                None
            }
        }
    }

    fn new(name: &str, interval: Option<Duration>, main_pid: Option<u32>) -> io::Result<Self> {
        let address = address_of(name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let watchdog = interval.map(Watchdog::new);
        Ok(Self { socket, address, main_pid, told: None, retry_at: None, watchdog })
    }

    /// When it must be attended to, whatever else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let ask_at = self.watchdog.as_ref().and_then(|watchdog| watchdog.ask_at);
        self.retry_at.into_iter().chain(ask_at).min()
    }

    fn tell(&mut self, condition: Condition, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) && condition.phase != Phase::Stopping {
            return;
        }
        let Some(mut message) = condition.message(self.told.as_ref()) else {
            self.retry_at = None;
            return;
        };
        if let Some(pid) = self.main_pid {
            message.insert_str(0, &format!("MAINPID={pid}\n"));
        }
        if self.send(&message) {
            self.told = Some(condition);
            self.main_pid = None;
            self.retry_at = None;
        } else {
            self.retry_at = Some(now + RETRY);
        }
    }

    /// The generation that serves has answered a question.
    pub fn proved_alive(&mut self, now: Instant) {
        if self.watchdog.is_some() {
            let told = self.send("WATCHDOG=1");
            self.watchdog.iter_mut().for_each(|watchdog| watchdog.proved(told, now));
        }
    }

    fn wants_proof(&mut self, serving: Pid, now: Instant) -> bool {
        self.watchdog.as_mut().is_some_and(|watchdog| watchdog.wants_proof(serving, now))
    }

    /// Never waits; whether it was taken.
    fn send(&self, message: &str) -> bool {
        match self.socket.send_to_addr(message.as_bytes(), &self.address) {
            Ok(_) => true,
            Err(error) => {
                // Once for each thing to tell: not for every attempt.
                if self.retry_at.is_none() && error.kind() != ErrorKind::WouldBlock {
                    warn!("cannot tell the service manager '{}': {error}", one_line(message));
                }
                false
            }
        }
    }
}

/// The manager that the environment names, if one does.
pub fn of_environment() -> Option<NotifySocket> {
    let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
    let interval = watchdog_interval(
        std::env::var_os("WATCHDOG_USEC"),
        std::env::var_os("WATCHDOG_PID"),
        std::process::id(),
    );
    match name.into_string() {
        Ok(name) => {
            let watchdog_us = interval.map(|interval| interval.as_micros() as u64);
            Some(NotifySocket { name, watchdog_us })
        }
        Err(name) => {
            warn!("cannot tell the service manager anything: NOTIFY_SOCKET={name:?} is not UTF-8");
            None
        }
    }
}

/// A path, or with `@` in front a name in the abstract namespace.
fn address_of(name: &str) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "neither an absolute path nor a name in the abstract namespace ('@...')",
        )),
    }
}

/// The interval in which pings are wanted of the process `own`, if they are.
fn watchdog_interval(usec: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    let usec = usec?;
    let Some(interval) = number(usec.clone()).filter(|usec| *usec > 0 && *usec < u64::MAX) else {
        warn!("no watchdog: WATCHDOG_USEC={usec:?} is no number of microseconds");
        return None;
    };
    // Without a pid it is meant for whoever reads it.
    let meant = pid.is_none_or(|pid| number(pid) == Some(own.into()));
    meant.then(|| Duration::from_micros(interval))
}

impl Keeper {
    /// Tells the service manager what it has not been told yet, and asks for the sign of life that
    /// it wants.
    pub(super) fn attend_service_manager(&mut self, now: Instant) {
        if self.manager.is_none() {
            return;
        }
        let condition = self.condition();
        let (serving, ready) = (self.serving.pid, self.ready && self.lost.is_none());
        let Some(manager) = &mut self.manager else { return };
        if let Some(condition) = condition {
            manager.tell(condition, now);
        }
        if ready && manager.wants_proof(serving, now) {
            // Its report finds nobody waiting for it but `proved_alive`.
            let request = self.number();
            if let Err(error) = self.serving.send(Status { request }, None) {
                info!(
                    "generation {} cannot be asked for a sign of life: {error}",
                    self.serving.number
                );
            }
        }
    }

    /// `None` as long as generation 1 is starting.
    fn condition(&self) -> Option<Condition> {
        let status = match (&self.stopping, self.serving.stopping, self.exit) {
            (Some(cause), ..) => Some(format!("stopping: {cause}")),
            (None, true, _) => Some("stopping: asked by a client".into()),
            // Nobody has asked for it: how it ended is all that is known.
            (None, false, Some(_)) => Some(self.who_serves()),
            (None, false, None) => None,
        };
        if let Some(status) = status {
            return Some(Condition { phase: Phase::Stopping, status });
        }
        if !self.ready {
            return None;
        }
        let upgrade = self.upgrade.as_ref().filter(|upgrade| !upgrade.is_dry_run());
        let phase = if upgrade.is_some() { Phase::Upgrading } else { Phase::Serving };
        let what_else = match upgrade {
            Some(upgrade) => format!("; upgrading: {}", upgrade.phase.name()),
            None => self.what_upgrades_left(),
        };
        Some(Condition { phase, status: self.who_serves() + &what_else })
    }

    fn what_upgrades_left(&self) -> String {
        let standing_by = self.standing_by().map(|it| format!("; generation {it} stands by"));
        let failed = self.history.last().filter(|last| !last.succeeded);
        let failed = failed.map(|last| format!("; the last upgrade failed: {}", last.result));
        standing_by.unwrap_or_default() + &failed.unwrap_or_default()
    }

    fn who_serves(&self) -> String {
        let generation = self.serving.number;
        if let Some(ending) = self.lost {
            return format!("generation {generation} {ending}");
        }
        let profile = &self.serving.profile;
        format!(
            "generation {generation}, {}, serves {}",
            version::describe(&profile.version, &profile.build),
            profile.addresses.join(", ")
        )
    }

    fn standing_by(&self) -> Option<u64> {
        Some(self.probation.as_ref()?.status()?.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(phase: Phase, status: &str) -> Condition {
        Condition { phase, status: status.into() }
    }

    #[test]
    fn only_news_is_told() {
        let serving = condition(Phase::Serving, "one");
        assert_eq!(serving.message(None).unwrap(), "READY=1\nSTATUS=one");
        assert_eq!(serving.message(Some(&serving)), None);
        let other = condition(Phase::Serving, "t\nwo");
        assert_eq!(other.message(Some(&serving)).unwrap(), "STATUS=t wo");
        let upgrading = condition(Phase::Upgrading, "up").message(Some(&serving)).unwrap();
        let clock = upgrading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let (clock, status) = clock.split_once('\n').unwrap();
        assert!(clock.parse::<u64>().unwrap() > 0);
        assert_eq!(status, "STATUS=up");
        let stopping = condition(Phase::Stopping, "x").message(Some(&serving)).unwrap();
        assert_eq!(stopping, "STOPPING=1\nSTATUS=x");
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        let path = address_of("/run/x").unwrap();
        assert_eq!(path.as_pathname(), Some(std::path::Path::new("/run/x")));
        let name = address_of("@x y").unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"x y"[..]));
        assert!(address_of("run/x").is_err());
        assert!(address_of("vsock:2:1234").is_err());
        assert!(address_of(&format!("/{}", "x".repeat(200))).is_err());
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_is_named() {
        let interval = |usec: Option<&str>, pid: Option<&str>| {
            watchdog_interval(usec.map(OsString::from), pid.map(OsString::from), 7)
        };
        let half_a_second = Some(Duration::from_millis(500));
        assert_eq!(interval(Some("500000"), None), half_a_second);
        assert_eq!(interval(Some("500000"), Some("7")), half_a_second);
        assert_eq!(interval(Some("500000"), Some("8")), None);
        assert_eq!(interval(None, Some("7")), None);
        for wrong in ["", "0", "-1", "x", "18446744073709551615"] {
            assert_eq!(interval(Some(wrong), None), None, "{wrong}");
        }
    }

    #[test]
    fn it_asks_at_half_the_interval_and_sooner_if_there_is_no_answer() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut watchdog = Watchdog::new(ms(800));
        let (first, second) = (Pid::from_raw(1), Pid::from_raw(2));
        assert!(watchdog.wants_proof(first, start));
        assert!(!watchdog.wants_proof(first, start + ms(99)));
        assert!(watchdog.wants_proof(first, start + ms(100)), "not answered: again");
        watchdog.proved(true, start + ms(110));
        assert!(!watchdog.wants_proof(first, start + ms(509)));
        assert!(watchdog.wants_proof(first, start + ms(510)));
        assert!(watchdog.wants_proof(second, start + ms(511)), "who serves now is asked at once");
        let asked = (1..100).filter(|n| watchdog.wants_proof(second, start + ms(511 + n * 100)));
        assert_eq!(asked.count(), 7, "one that hangs is not asked for ever");
        assert_eq!(watchdog.ask_at, None);
        watchdog.proved(false, start + ms(20_000));
        assert!(
            watchdog.wants_proof(second, start + ms(20_100)),
            "a ping that was not sent: again"
        );
    }

    #[test]
    fn what_cannot_be_sent_is_sent_later() {
        let name = format!("hotredis-notify-{}", std::process::id());
        let mut manager = ServiceManager::new(&format!("@{name}"), None, None).unwrap();
        let start = Instant::now();
        manager.tell(condition(Phase::Serving, "one"), start);
        let retry_at = manager.next_deadline().expect("nobody listens yet");
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut buffer = [0; 100];
        manager.tell(condition(Phase::Serving, "two"), start);
        assert!(listener.recv(&mut buffer).is_err(), "not before the time");
        manager.tell(condition(Phase::Serving, "two"), retry_at);
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=two");
        assert_eq!(manager.next_deadline(), None);
    }
}
