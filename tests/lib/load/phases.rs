//! Latencies told apart by what an upgrade was doing meanwhile.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hotredis::keeper::protocol::PhaseTime;
use serde::Serialize;

use super::report::Latency;
use super::timeline::Sample;
use super::upgrades::Outcome;

/// For how long after an upgrade latencies are its affair.
pub const AFTERMATH: Duration = Duration::from_secs(1);

/// What was going on, the less remarkable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum During {
    Quiet,
    Start,
    Aftermath,
    PreCopy,
    Freeze,
}

/// When the phases of an upgrade were, in microseconds since requests began to flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    start: u64,
    pre_copy: u64,
    freeze: u64,
    served: u64,
}

impl Times {
    /// Of phases that ended with SERVING at `served`. The successor has measured the freeze; the keeper,
    /// which timed the phases, may have been late to hear that it began.
    fn new(served: u64, phases: &[PhaseTime], freeze_us: u64) -> Self {
        // A phase begins with its own length, and that of every later one, left.
        let begin_of = |names: &[&str]| {
            let from = phases.iter().position(|phase| names.contains(&phase.phase.as_str()));
            let left = from.map_or(0, |from| phases[from..].iter().map(|phase| phase.us).sum());
            served.saturating_sub(left)
        };
        let freeze = begin_of(&["freeze", "serve"]).min(served.saturating_sub(freeze_us));
        let pre_copy = begin_of(&["pre-copy"]).min(freeze);
        Self { start: begin_of(&["preflight", "start"]).min(pre_copy), pre_copy, freeze, served }
    }

    /// What a request went through that was sent and answered then. One that was under way in the
    /// freeze waited for its end, whatever the phases beside it did.
    fn of(&self, sent: u64, answered: u64) -> During {
        let within = |begin, end| sent < end && answered >= begin;
        if within(self.freeze, self.served) {
            During::Freeze
        } else if within(self.pre_copy, self.freeze) {
            During::PreCopy
        } else if within(self.served, self.served + AFTERMATH.as_micros() as u64) {
            During::Aftermath
        } else if within(self.start, self.pre_copy) {
            During::Start
        } else {
            During::Quiet
        }
    }
}

/// Latencies of the requests of one phase.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Part {
    /// Replies that they are of.
    pub replies: u64,
    /// The latencies; all 0 without replies.
    pub latency: Latency,
}

/// Latencies by phase, of all upgrades of a run together.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct ByPhase {
    /// While no upgrade was near.
    pub quiet: Part,
    /// From the command to the successor's greeting: preflight and start.
    pub start: Part,
    /// While sockets were passed and the successor prepared itself.
    pub pre_copy: Part,
    /// Under way while nobody served.
    pub freeze: Part,
    /// In the first second after the successor served.
    pub aftermath: Part,
}

impl ByPhase {
    /// Tells the latencies of a run apart, whose load has kept its samples.
    pub fn of(outcome: &Outcome) -> Self {
        let start = outcome.report.start;
        let since = |at: Instant| at.saturating_duration_since(start).as_micros() as u64;
        let times: Vec<Times> = outcome
            .upgrades
            .iter()
            .map(|it| Times::new(since(it.served), &it.phases, it.freeze_us))
            .collect();
        Self::tell_apart(&outcome.report.samples, &times)
    }

    fn tell_apart(samples: &[Sample], times: &[Times]) -> Self {
        let empty = Histogram::<u64>::new(3).expect("three digits are few enough");
        let mut parts = [During::Quiet; 5].map(|_| empty.clone());
        for sample in samples {
            let answered = sample.sent_us + sample.latency_us;
            let during = times.iter().map(|times| times.of(sample.sent_us, answered)).max();
            let part = &mut parts[during.unwrap_or(During::Quiet) as usize];
            // A histogram of its own size takes any value.
            let _ = part.record_n(sample.latency_us, sample.count);
        }
        let part = |during: During| {
            let histogram = &parts[during as usize];
            Part { replies: histogram.len(), latency: Latency::of(histogram) }
        };
        Self {
            quiet: part(During::Quiet),
            start: part(During::Start),
            pre_copy: part(During::PreCopy),
            freeze: part(During::Freeze),
            aftermath: part(During::Aftermath),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let phases = [("preflight", 1_000), ("start", 2_000), ("pre-copy", 5_000), ("freeze", 300)];
        let phases = phases.map(|(phase, us)| PhaseTime { phase: phase.into(), us });
        Times::new(100_000, &phases, 250)
    }

    #[test]
    fn phases_end_with_serving() {
        let expected = Times { start: 91_700, pre_copy: 94_700, freeze: 99_700, served: 100_000 };
        assert_eq!(times(), expected);
    }

    #[test]
    fn a_request_is_of_the_phase_that_it_was_under_way_in() {
        let times = times();
        assert_eq!(times.of(10, 20), During::Quiet);
        assert_eq!(times.of(91_000, 91_699), During::Quiet);
        assert_eq!(times.of(91_000, 91_700), During::Start);
        assert_eq!(times.of(94_600, 94_800), During::PreCopy, "not Start, where it began");
        assert_eq!(times.of(90_000, 99_800), During::Freeze);
        assert_eq!(times.of(99_999, 200_000), During::Freeze);
        assert_eq!(times.of(100_000, 100_100), During::Aftermath);
        assert_eq!(times.of(1_099_999, 1_200_000), During::Aftermath);
        assert_eq!(times.of(1_100_000, 1_200_000), During::Quiet);
    }

    #[test]
    fn each_phase_has_its_latencies() {
        let sample = |sent_us, latency_us, count| Sample { sent_us, latency_us, count };
        let samples = [
            sample(10, 100, 7),
            sample(95_000, 200, 2),
            sample(99_800, 300, 1),
            sample(100_100, 400, 3),
        ];
        let by_phase = ByPhase::tell_apart(&samples, &[times()]);
        let found = [
            by_phase.quiet,
            by_phase.start,
            by_phase.pre_copy,
            by_phase.freeze,
            by_phase.aftermath,
        ]
        .map(|part| (part.replies, part.latency.max_us));
        assert_eq!(found, [(7, 100), (0, 0), (2, 200), (1, 300), (3, 400)]);
    }
}
