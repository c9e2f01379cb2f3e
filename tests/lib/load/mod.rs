//! A load of many clients that proves what it says: every reply is checked, every connection is the
//! same one at the end.
//!
//! *Busy* connections send pipelined `INCR`s, each to a key of its own, and expect exactly the next
//! number from every reply; some requests are cut in two on purpose, the second half following
//! milliseconds later. *Idle* connections hold session state (a database, a name, queued
//! transactions, half a request, ...) and must still have it at the end, under the same `CLIENT
//! ID`. *Waiting* connections are blocked on keys and are fed now and then, each item to the one
//! whose turn it is. Meanwhile the longest time without any reply is taken, a latency histogram and a timeline.
//!
//! One thread and one `mio` poll do all of it, because the servers under test share the cores.

mod busy;
pub mod chart;
mod connect;
pub mod crashes;
mod exchange;
mod idle;
pub mod phases;
pub mod ping;
mod preload;
pub mod report;
mod run;
pub mod timeline;
pub mod upgrades;
mod waiting;

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

pub use connect::raise_descriptor_limit;
pub use preload::{preload, preload_bytes};
pub use report::Report;
pub use run::run;

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server listens.
    pub addr: SocketAddr,
    /// Connections that only hold state.
    pub idle: usize,
    /// Connections that are blocked on keys.
    pub waiting: usize,
    /// Connections that send `INCR`s.
    pub busy: usize,
    /// Requests a busy connection sends at once, at least 1.
    pub pipeline: usize,
    /// The share (0 to 1) of batches in which one request is cut in two.
    pub split_ratio: f64,
    /// How long requests are sent.
    pub duration: Duration,
    /// Requests per second of all busy connections together, sent whether or not replies come (open
    /// loop); without it each connection sends the next batch when the last one is answered (closed
    /// loop).
    pub rate: Option<f64>,
    /// Leaves out all session state but database and name, for a server that does not have the rest
    /// yet.
    pub plain_idle: bool,
    /// Keeps every reply, so that latencies can be told apart by when they were.
    pub samples: bool,
    /// Seed of every random choice.
    pub seed: u64,
    /// How long outstanding replies are waited for at the end.
    pub drain: Duration,
}

impl Options {
    /// Connections of all kinds.
    pub fn connections(&self) -> usize {
        self.busy + self.idle + waiting::Waiting::connections(self.waiting)
    }

    /// The load of the upgrade bars: 9,000 idle, 200 waiting and 50 busy connections for 20 s.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            idle: 9_000,
            waiting: 200,
            busy: 50,
            pipeline: 16,
            split_ratio: 0.05,
            duration: Duration::from_secs(20),
            rate: None,
            plain_idle: false,
            samples: false,
            seed: 1,
            drain: Duration::from_secs(10),
        }
    }
}

/// Something that happened during a run, for the timeline.
#[derive(Debug, Clone)]
pub struct Mark {
    /// When.
    pub at: Instant,
    /// What, in a few words.
    pub label: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Connecting,
    Running,
    Over,
}

/// The line between a run and whoever acts on the server meanwhile: it says when requests flow,
/// takes marks for the timeline and can end the run early.
#[derive(Debug, Default)]
pub struct Control {
    state: Mutex<(Phase, bool, Vec<Mark>)>,
    changed: Condvar,
}

impl Control {
    /// A control for one run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until requests flow; false if the run is over (or failed to start) instead.
    pub fn wait_running(&self) -> bool {
        let mut state = self.lock();
        while state.0 == Phase::Connecting {
            state = self.changed.wait(state).unwrap_or_else(|broken| broken.into_inner());
        }
        state.0 == Phase::Running
    }

    /// Sleeps until `instant`; false as soon as the run is over.
    pub fn sleep_until(&self, instant: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let left = instant.saturating_duration_since(Instant::now());
            if state.0 == Phase::Over {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(broken) => broken.into_inner().0,
            };
        }
    }

    /// Ends the run: outstanding replies are still awaited and everything is verified.
    pub fn stop(&self) {
        self.lock().1 = true;
    }

    /// Puts a mark on the timeline.
    pub fn mark(&self, at: Instant, label: impl Into<String>) {
        self.lock().2.push(Mark { at, label: label.into() });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Phase, bool, Vec<Mark>)> {
        self.state.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    fn enter(&self, phase: Phase) {
        self.lock().0 = phase;
        self.changed.notify_all();
    }

    fn stopped(&self) -> bool {
        self.lock().1
    }

    fn take_marks(&self) -> Vec<Mark> {
        std::mem::take(&mut self.lock().2)
    }
}
