//! Upgrades under a load: one every so often, from one build to the other and back.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hotredis::keeper::protocol::{InstanceStatus, PhaseTime, UpgradeResult};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::ping::{Ping, PingPong};
use super::report::Latency;
use super::{Control, Options, Report, preload, run};
use crate::client::{Client, Endpoint};
use crate::server::{Server, Setup, info_field};

/// Connections to the server beside those of the load: the test's own, and others' in a demo.
const SPARE_CLIENTS: usize = 100;

/// How long a generation may take to serve again.
const RETURN_PATIENCE: Duration = Duration::from_secs(10);

/// What came of one upgrade, as the command and the server told it.
#[derive(Debug, Clone, Serialize)]
pub struct Upgrade {
    /// When it began, in seconds since requests began to flow.
    pub at_s: f64,
    /// How long `hotredis upgrade` took, in milliseconds.
    pub command_ms: f64,
    /// `handoff_last_freeze_us`.
    pub freeze_us: u64,
    /// `handoff_last_total_ms`.
    pub total_ms: f64,
    /// `handoff_last_connections`.
    pub connections: u64,
    /// `handoff_generation`.
    pub generation: u64,
    /// `hotredis_build` of the new generation.
    pub build: String,
    /// When the command said that it served.
    #[serde(skip)]
    pub served: Instant,
    /// The phases of the upgrade, which ended then.
    pub phases: Vec<PhaseTime>,
    /// If it was undone: how long it took until the generation before answered again, in
    /// milliseconds.
    pub undone_ms: Option<f64>,
}

/// What becomes of an upgrade that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stands.
    Stays,
    /// Every second one is undone with `hotredis rollback`.
    RollBackEverySecond,
    /// The new generation is killed.
    Kill,
}

/// A load, the server it is put on, and how often that is upgraded meanwhile.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Two builds of hotredis, `a` and `b`. The server is started from `a`.
    pub builds: [PathBuf; 2],
    /// The load; the address is that of the server started.
    pub load: Options,
    /// Keys set beforehand.
    pub keys: u64,
    /// From the start of one upgrade to that of the next; without it there are none.
    pub interval: Option<Duration>,
    /// The load ends after so many.
    pub most: Option<usize>,
    /// What comes after each.
    pub then: Then,
    /// The server's `--probation`, in seconds; without it the default.
    pub probation: Option<u32>,
    /// Whether two other processes play ping-pong meanwhile.
    pub pings: bool,
}

impl Trial {
    /// A load without upgrades, on a server with one key.
    pub fn new(builds: [PathBuf; 2], load: Options) -> Self {
        Self {
            builds,
            load,
            keys: 1,
            interval: None,
            most: None,
            then: Then::Stays,
            probation: None,
            pings: false,
        }
    }
}

/// How long two other processes took to wake each other, there and back again.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pings {
    /// At any time.
    pub all: Latency,
    /// While an upgrade ran, from the command to SERVING.
    pub in_upgrades: Latency,
}

impl Pings {
    fn of(pings: &[Ping], upgrades: &[Upgrade]) -> Self {
        let mut all = Histogram::<u64>::new(3).expect("three digits are few enough");
        let mut in_upgrades = all.clone();
        for ping in pings {
            // A histogram of its own size takes any value.
            let _ = all.record(ping.us);
            let end = ping.at + Duration::from_micros(ping.us);
            if upgrades.iter().any(|it| it.begun() <= end && ping.at < it.served) {
                let _ = in_upgrades.record(ping.us);
            }
        }
        Self { all: Latency::of(&all), in_upgrades: Latency::of(&in_upgrades) }
    }
}

impl Upgrade {
    fn begun(&self) -> Instant {
        let us = self.phases.iter().map(|phase| phase.us).sum();
        self.served.checked_sub(Duration::from_micros(us)).unwrap_or(self.served)
    }
}

/// What came of a trial.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What the clients saw.
    pub report: Report,
    /// The upgrades that succeeded.
    pub upgrades: Vec<Upgrade>,
    /// What was wrong with the others.
    pub failures: Vec<String>,
    /// The ping-pong, if it was to be played.
    pub pings: Option<Pings>,
}

impl Outcome {
    /// Freeze times of all upgrades in microseconds, sorted.
    pub fn freezes(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.upgrades.iter().map(|upgrade| upgrade.freeze_us).collect();
        all.sort_unstable();
        all
    }
}

impl Trial {
    /// Starts the server, puts the load on it, upgrades it meanwhile, has the checker look at it and
    /// ends it.
    ///
    /// # Panics
    /// If the server does not start, or does not end as it should (see `Server::finish`).
    pub fn carry_out(&self) -> anyhow::Result<Outcome> {
        let server = self.start()?;
        let outcome = self.put_on(&server, |_| ())?;
        server.finish();
        Ok(outcome)
    }

    /// Starts the server and sets its keys.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start(&self) -> anyhow::Result<Server> {
        let clients = self.load.connections() + SPARE_CLIENTS;
        let mut setup =
            Setup::of_binary(&self.builds[0]).directive("maxclients", &clients.to_string());
        if let Some(seconds) = self.probation {
            setup = setup.arguments(&["--probation", &seconds.to_string()]);
        }
        let server = setup.start();
        preload(address(&server), self.keys)?;
        Ok(server)
    }

    /// Puts the load on the server, and upgrades it meanwhile. `tell` hears of every upgrade, at once.
    pub fn put_on(
        &self,
        server: &Server,
        mut tell: impl FnMut(&Result<Upgrade, String>),
    ) -> anyhow::Result<Outcome> {
        let addr = address(server);
        let options = Options { addr, ..self.load.clone() };
        let control = Control::new();
        let game = self.pings.then(PingPong::start).transpose()?;
        let (report, results) = std::thread::scope(|scope| {
            let load = scope.spawn(|| run(&options, &control));
            let results = match self.interval {
                Some(interval) => self.upgrade(server, interval, &control, &mut tell),
                None => Vec::new(),
            };
            (load.join(), results)
        });
        let report = report.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let (mut upgrades, mut failures) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(upgrade) => upgrades.push(upgrade),
                Err(failure) => failures.push(failure),
            }
        }
        let pings = game.map(PingPong::finish).transpose()?;
        let pings = pings.map(|pings| Pings::of(&pings, &upgrades));
        Ok(Outcome { report, upgrades, failures, pings })
    }

    fn upgrade(
        &self,
        server: &Server,
        interval: Duration,
        control: &Control,
        tell: &mut impl FnMut(&Result<Upgrade, String>),
    ) -> Vec<Result<Upgrade, String>> {
        let mut results = Vec::new();
        if !control.wait_running() {
            return results;
        }
        // One connection for all of them: it has to live through every upgrade as well.
        let mut client = server.connect();
        let start = Instant::now();
        let mut due = start + interval;
        // The last one has to end within the run, so that every freeze falls under the load.
        let last = start + self.load.duration.saturating_sub(interval);
        for turn in 1.. {
            if due > last || !control.sleep_until(due) {
                break;
            }
            let begun = Instant::now();
            let result = self
                .upgrade_once(server, &mut client, turn)
                .map(|upgrade| Upgrade { at_s: (begun - start).as_secs_f64(), ..upgrade })
                .map_err(|failure| format!("upgrade {turn}: {failure}"));
            let label = match &result {
                Ok(upgrade) => {
                    format!("generation {}, build {}", upgrade.generation, upgrade.build)
                }
                Err(failure) => failure.clone(),
            };
            control.mark(begun, label);
            tell(&result);
            results.push(result);
            if self.most.is_some_and(|most| results.len() >= most) {
                control.stop();
                break;
            }
            due += interval;
            // One that took longer than the interval does not make the next ones come in a burst.
            due = due.max(Instant::now());
        }
        results
    }

    /// One upgrade; the odd ones are to build `b`.
    fn upgrade_once(
        &self,
        server: &Server,
        client: &mut Client,
        turn: usize,
    ) -> Result<Upgrade, String> {
        let begun = Instant::now();
        let (result, served) = command(server, &self.builds[turn % 2])?;
        let command_ms = begun.elapsed().as_secs_f64() * 1e3;
        let info = handoff_info(client)?;
        let build = info_field(&info, "hotredis_build").ok_or("INFO has no hotredis_build")?;
        let wanted = if turn % 2 == 1 { "b" } else { "a" };
        if build != wanted {
            return Err(format!("build {build} serves, not {wanted}"));
        }
        let upgrade = Upgrade {
            at_s: 0.0,
            command_ms,
            freeze_us: number(&info, "handoff_last_freeze_us")? as u64,
            total_ms: number(&info, "handoff_last_total_ms")?,
            connections: number(&info, "handoff_last_connections")? as u64,
            generation: number(&info, "handoff_generation")? as u64,
            build,
            served,
            phases: result.phases,
            undone_ms: None,
        };
        let begun = Instant::now();
        match self.then {
            Then::Stays => return Ok(upgrade),
            Then::RollBackEverySecond if turn % 2 == 1 => return Ok(upgrade),
            Then::RollBackEverySecond => roll_back(server)?,
            Then::Kill => kill_serving(server)?,
        }
        await_generation(client, result.from)?;
        Ok(Upgrade { undone_ms: Some(begun.elapsed().as_secs_f64() * 1e3), ..upgrade })
    }
}

/// Runs `hotredis upgrade`; says what it said, and when.
fn command(server: &Server, binary: &Path) -> Result<(UpgradeResult, Instant), String> {
    let text = |error: std::io::Error| format!("hotredis upgrade: {error}");
    let mut child = server
        .command(&["upgrade", "--json", "--binary", &binary.to_string_lossy()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let read = stdout.read_line(&mut line);
    let served = Instant::now();
    let mut errors = String::new();
    let rest = child.stderr.take().expect("it is piped").read_to_string(&mut errors);
    let status = child.wait().map_err(text)?;
    read.and(rest).map_err(text)?;
    let result: UpgradeResult = serde_json::from_str(&line)
        .map_err(|error| format!("hotredis upgrade ({status}): {error}; {line}{errors}"))?;
    match &result.reason {
        Some(reason) => Err(format!("in phase {}: {reason}", result.phase)),
        None if !status.success() => Err(format!("hotredis upgrade: {status}; {errors}")),
        None => Ok((result, served)),
    }
}

/// What `INFO` says of the build and of upgrades. The least that says it: the load is measured.
fn handoff_info(client: &mut Client) -> Result<String, String> {
    let reply = client.try_call(&["INFO", "server", "handoff"]);
    Ok(reply.map_err(|error| format!("INFO afterwards: {error}"))?.text().to_owned())
}

fn roll_back(server: &Server) -> Result<(), String> {
    let output = server.cli(&["rollback"]);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("hotredis rollback: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// SIGKILL for the generation that serves.
fn kill_serving(server: &Server) -> Result<(), String> {
    let output = server.cli(&["status", "--json"]);
    let all: Vec<InstanceStatus> = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("hotredis status: {error}"))?;
    let pid = all.first().ok_or("hotredis status knows no instance")?.generation_pid;
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).map_err(|errno| format!("kill: {errno}"))
}

/// Waits until the generation of that number serves.
fn await_generation(client: &mut Client, wanted: u64) -> Result<(), String> {
    let deadline = Instant::now() + RETURN_PATIENCE;
    loop {
        let serves = number(&handoff_info(client)?, "handoff_generation")? as u64;
        if serves == wanted {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("generation {serves} serves, and not {wanted} again"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn address(server: &Server) -> SocketAddr {
    match server.endpoint() {
        Endpoint::Tcp(addr) => *addr,
        Endpoint::Unix(path) => unreachable!("{} is no TCP port", path.display()),
    }
}

fn number(info: &str, field: &str) -> Result<f64, String> {
    let text = info_field(info, field).ok_or_else(|| format!("INFO has no {field}"))?;
    text.parse().map_err(|_| format!("INFO says {field}:{text}, which is no number"))
}

/// The value at `quantile` (0 to 1) of sorted values, the nearest rank; `None` without values.
pub fn quantile<T: Copy>(sorted: &[T], quantile: f64) -> Option<T> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<u64> = (1..=10).collect();
        assert_eq!(quantile(&values, 0.5), Some(5));
        assert_eq!(quantile(&values, 0.9), Some(9));
        assert_eq!(quantile(&values, 0.0), Some(1));
        assert_eq!(quantile(&values, 1.0), Some(10));
        assert_eq!(quantile(&[7], 0.5), Some(7));
        assert_eq!(quantile::<u64>(&[], 0.5), None);
    }
}
