//! Deaths under a load: every so often the generation that serves is killed, and the time for which
//! nobody was answered is taken. If wanted, upgrades are going on meanwhile, and the keeper is killed too.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::timeline::Sample;
use super::{Control, Options, Report, preload_bytes, run};
use crate::client::Endpoint;
use crate::server::{Server, Setup};
use crate::spare::Spare;

/// Connections to the server beside those of the load.
const SPARE_CLIENTS: usize = 100;

/// How long a server may need until somebody serves again, before the run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// For how long after a death an upgrade may be refused.
const SETTLING: Duration = Duration::from_millis(500);

/// A load, the server it is put on, and how often somebody of it dies meanwhile.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Two builds of hotredis, `a` and `b`. The server is started from `a`.
    pub builds: [PathBuf; 2],
    /// The load; the address is that of the server started.
    pub load: Options,
    /// Bytes of data that the server has before the first connection comes.
    pub data: u64,
    /// From one death to the next.
    pub interval: Duration,
    /// From one upgrade to the next; without it there are none.
    pub upgrade_interval: Option<Duration>,
    /// From one death of the keeper to the next; without it there are none.
    pub keeper_interval: Option<Duration>,
    /// How the server is started, beside what the load needs.
    pub arguments: Vec<String>,
}

/// A death of the generation that served.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Crash {
    /// When it was killed, in seconds since requests began to flow.
    pub at_s: f64,
    /// Its number.
    pub generation: u64,
    /// The longest time without any reply between this death and the next of anybody, in microseconds.
    pub silence_us: u64,
    /// Whether a predecessor was there to serve again, or an upgrade was under way.
    pub amid_upgrade: bool,
    /// Whether a spare was ready.
    pub spare: bool,
}

/// A death of the keeper.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct KeeperCrash {
    /// When it was killed, in seconds since requests began to flow.
    pub at_s: f64,
    /// The longest time without any reply between this death and the next of anybody, in microseconds.
    pub silence_us: u64,
    /// How long it took until another one held everything, in microseconds.
    pub replaced_us: u64,
}

/// What came of an upgrade.
#[derive(Debug, Clone, Serialize)]
struct Attempt {
    #[serde(skip)]
    begun: Instant,
    #[serde(skip)]
    ended: Instant,
    /// What was said, if it failed.
    failure: Option<String>,
}

/// What came of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What the clients saw.
    pub report: Report,
    /// Every death of a generation that served, in order.
    pub crashes: Vec<Crash>,
    /// Every death of a keeper, in order.
    pub keeper_crashes: Vec<KeeperCrash>,
    /// Upgrades that succeeded.
    pub upgrades: usize,
    /// Upgrades that failed because somebody was killed in them.
    pub upgrades_cut: usize,
    /// Whatever else went wrong: upgrades that failed without a death, or nobody who came to serve.
    pub failures: Vec<String>,
}

impl Outcome {
    /// The silences of all deaths of generations in microseconds, sorted.
    pub fn silences(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.crashes.iter().map(|crash| crash.silence_us).collect();
        all.sort_unstable();
        all
    }
}

/// A generation was killed.
struct Death {
    at: Instant,
    generation: u64,
    alone: bool,
    spare: bool,
}

/// A keeper was killed.
struct KeeperDeath {
    at: Instant,
    replaced: Instant,
}

/// Deaths until something went wrong, if it did.
struct Toll<T> {
    deaths: Vec<T>,
    failure: Option<String>,
}

/// Whose turn it is to be killed. Keeper and generation hold everything for each other: who loses
/// both at once loses the server.
#[derive(Default)]
struct Turn {
    /// The generation that was killed last.
    killed: Mutex<u32>,
}

impl Turn {
    fn take(&self) -> MutexGuard<'_, u32> {
        self.killed.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

impl Plan {
    /// Starts the server and loads its data.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start(&self) -> anyhow::Result<Server> {
        let clients = self.load.connections() + SPARE_CLIENTS;
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let server = Setup::of_binary(&self.builds[0])
            .directive("maxclients", &clients.to_string())
            .arguments(&arguments)
            .start();
        preload_bytes(address(&server), self.data)?;
        Ok(server)
    }

    /// Puts the load on the server, and has its generations die meanwhile.
    pub fn put_on(&self, server: &Server) -> anyhow::Result<Outcome> {
        let options = Options { addr: address(server), samples: true, ..self.load.clone() };
        let (control, turn) = (Control::new(), Turn::default());
        let (report, killed, keepers, attempts) = std::thread::scope(|scope| {
            let load = scope.spawn(|| run(&options, &control));
            let killing = scope.spawn(|| self.kill_generations(server, &control, &turn));
            let orphaning = scope.spawn(|| self.kill_keepers(server, &control, &turn));
            let upgrades = self.upgrade_generations(server, &control);
            (load.join(), killing.join(), orphaning.join(), upgrades)
        });
        let report = report.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let killed = killed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let keepers = keepers.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(outcome(report, killed, keepers, attempts))
    }

    /// Kills somebody every so often, until shortly before the end of the run: the last silence has to end within
    /// it. `kill` says what is wrong if it cannot.
    fn kill_every<T>(
        &self,
        interval: Duration,
        control: &Control,
        mut kill: impl FnMut() -> Result<T, String>,
    ) -> Toll<T> {
        let mut toll = Toll { deaths: Vec::new(), failure: None };
        if !control.wait_running() {
            return toll;
        }
        let start = Instant::now();
        let last = start + self.load.duration.saturating_sub(interval);
        let mut due = start + interval;
        while due <= last && control.sleep_until(due) {
            match kill() {
                Ok(death) => toll.deaths.push(death),
                Err(why) => {
                    control.stop();
                    toll.failure = Some(format!("after {} deaths: {why}", toll.deaths.len()));
                    break;
                }
            }
            due += interval;
        }
        toll
    }

    fn kill_generations(&self, server: &Server, control: &Control, turn: &Turn) -> Toll<Death> {
        self.kill_every(self.interval, control, || {
            let mut killed = turn.take();
            let (generation, pid) = somebody_serves(server, *killed)?;
            let spare = self.arguments.iter().any(|it| it == "--spare");
            let spare = spare.then(|| Spare::of(server)).flatten();
            let known = [server.pid(), pid, spare.map_or(pid, |spare| spare.pid)];
            let alone = server.processes().iter().all(|it| known.contains(it));
            let spare = spare.is_some_and(|spare| spare.ready);
            kill(Pid::from_raw(pid as i32), Signal::SIGKILL)
                .map_err(|errno| format!("generation {generation} cannot be killed: {errno}"))?;
            let at = Instant::now();
            control.mark(at, format!("generation {generation} killed"));
            *killed = pid;
            Ok(Death { at, generation, alone, spare })
        })
    }

    /// The others wait until the next keeper holds everything.
    fn kill_keepers(&self, server: &Server, control: &Control, turn: &Turn) -> Toll<KeeperDeath> {
        let Some(interval) = self.keeper_interval else {
            return Toll { deaths: Vec::new(), failure: None };
        };
        self.kill_every(interval, control, || {
            let killed = turn.take();
            somebody_serves(server, *killed)?;
            let at = Instant::now();
            control.mark(at, "keeper killed");
            server.kill_keeper();
            Ok(KeeperDeath { at, replaced: Instant::now() })
        })
    }

    /// Upgrades from one build to the other and back, as far as nobody is killed.
    fn upgrade_generations(&self, server: &Server, control: &Control) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let Some(interval) = self.upgrade_interval else { return attempts };
        if !control.wait_running() {
            return attempts;
        }
        let mut due = Instant::now() + interval;
        while control.sleep_until(due) {
            let begun = Instant::now();
            let outcome = server.upgrade(&self.builds[(attempts.len() + 1) % 2]);
            let ended = Instant::now();
            control.mark(begun, if outcome.success { "upgrade" } else { "upgrade failed" });
            let failure = (!outcome.success).then_some(outcome.output);
            attempts.push(Attempt { begun, ended, failure });
            due = (due + interval).max(ended);
        }
        attempts
    }
}

/// The number and the pid of the generation that serves: another than the one that was killed.
fn somebody_serves(server: &Server, killed: u32) -> Result<(u64, u32), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (generation, pid) = server.serving();
        if pid != killed && server.processes().contains(&pid) {
            return Ok((generation, pid));
        }
        if Instant::now() >= deadline {
            return Err(format!("nobody has served for {PATIENCE:?}; its log:\n{}", server.log()));
        }
    }
}

fn outcome(
    report: Report,
    killed: Toll<Death>,
    keepers: Toll<KeeperDeath>,
    attempts: Vec<Attempt>,
) -> Outcome {
    let start = report.start;
    let since = |at: Instant| at.saturating_duration_since(start).as_micros() as u64;
    let deaths = killed.deaths.iter().map(|death| since(death.at));
    let mut times: Vec<u64> =
        deaths.chain(keepers.deaths.iter().map(|death| since(death.at))).collect();
    times.sort_unstable();
    let silences = silences(&report.samples, &times, (report.seconds * 1e6) as u64);
    let silence = |at: Instant| silences[times.partition_point(|time| *time < since(at))];
    let crashes = killed.deaths.iter().map(|death| Crash {
        at_s: since(death.at) as f64 / 1e6,
        generation: death.generation,
        silence_us: silence(death.at),
        amid_upgrade: !death.alone,
        spare: death.spare,
    });
    let crashes = crashes.collect();
    let keeper_crashes = keepers.deaths.iter().map(|death| KeeperCrash {
        at_s: since(death.at) as f64 / 1e6,
        silence_us: silence(death.at),
        replaced_us: since(death.replaced) - since(death.at),
    });
    let keeper_crashes = keeper_crashes.collect();
    let of_generations = killed.deaths.iter().map(|death| (death.at, death.at));
    let of_keepers = keepers.deaths.iter().map(|death| (death.at, death.replaced));
    let gaps: Vec<(Instant, Instant)> = of_generations.chain(of_keepers).collect();
    let mut failures: Vec<String> =
        [killed.failure, keepers.failure].into_iter().flatten().collect();
    let (mut upgrades, mut upgrades_cut) = (0, 0);
    for Attempt { begun, ended, failure } in attempts {
        // What a death may have left when it began, and what it may have met until its end.
        let was_cut = gaps.iter().any(|(from, to)| *to + SETTLING >= begun && *from <= ended);
        match failure {
            None => upgrades += 1,
            Some(_) if was_cut => upgrades_cut += 1,
            Some(failure) => failures.push(failure),
        }
    }
    Outcome { report, crashes, keeper_crashes, upgrades, upgrades_cut, failures }
}

/// For each death the longest time without a reply that ended after it and before the next one. All
/// times in microseconds since the start, `end` that of the run.
fn silences(samples: &[Sample], deaths: &[u64], end: u64) -> Vec<u64> {
    let mut replies: Vec<u64> = samples.iter().map(|it| it.sent_us + it.latency_us).collect();
    replies.sort_unstable();
    replies.push(end.max(replies.last().copied().unwrap_or(0)));
    let until = deaths.iter().skip(1).copied().chain([u64::MAX]);
    let silence = |(death, until): (&u64, u64)| {
        let first = replies.partition_point(|at| at <= death);
        let after = replies[first..].iter().take_while(|at| **at <= until);
        let before = first.checked_sub(1).map_or(0, |at| replies[at]);
        let mut last = before;
        after.map(|at| at - std::mem::replace(&mut last, *at)).max().unwrap_or(0)
    };
    deaths.iter().zip(until).map(silence).collect()
}

fn address(server: &Server) -> std::net::SocketAddr {
    match server.endpoint() {
        Endpoint::Tcp(addr) => *addr,
        Endpoint::Unix(path) => unreachable!("{} is no TCP port", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_belongs_to_the_death_before_its_end() {
        let at = |us: u64| Sample { sent_us: us - 1, latency_us: 1, count: 3 };
        let samples = [at(10), at(20), at(26), at(90), at(95), at(96), at(130)];
        // The second one dies without effect; the third is never followed by a reply.
        assert_eq!(silences(&samples, &[25, 94, 140], 150), [64, 34, 20]);
        assert_eq!(silences(&[], &[5], 50), [50]);
    }
}
