//! Upgrades under a load: one every so often, from one build to the other and back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Control, Options, Report, preload, run};
use crate::client::{Client, Endpoint};
use crate::server::{Server, Setup, info_field};

/// Connections to the server beside those of the load: the test's own, and others' in a demo.
const SPARE_CLIENTS: usize = 100;

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
    /// `hotredis_build` of the generation that serves now.
    pub build: String,
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
        let server =
            Setup::of_binary(&self.builds[0]).directive("maxclients", &clients.to_string()).start();
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
        Ok(Outcome { report, upgrades, failures })
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
        let outcome = server.upgrade(&self.builds[turn % 2]);
        let command_ms = begun.elapsed().as_secs_f64() * 1e3;
        if !outcome.success {
            return Err(outcome.output.trim().to_owned());
        }
        let reply = client
            .try_call(&["INFO", "everything"])
            .map_err(|error| format!("INFO afterwards: {error}"))?;
        let info = reply.text();
        let build = info_field(info, "hotredis_build").ok_or("INFO has no hotredis_build")?;
        let wanted = if turn % 2 == 1 { "b" } else { "a" };
        if build != wanted {
            return Err(format!("build {build} serves, not {wanted}"));
        }
        Ok(Upgrade {
            at_s: 0.0,
            command_ms,
            freeze_us: number(info, "handoff_last_freeze_us")? as u64,
            total_ms: number(info, "handoff_last_total_ms")?,
            connections: number(info, "handoff_last_connections")? as u64,
            generation: number(info, "handoff_generation")? as u64,
            build,
        })
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
