//! What a run found.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::timeline::{BUCKET, Bucket, Sample};

/// Everything that can be wrong with the replies of busy connections, each a number of replies,
/// requests or connections.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Requests without a reply when the run ended.
    pub unanswered: u64,
    /// Numbers that no reply ever carried, though later ones came.
    pub skipped: u64,
    /// Replies with a number that had come before.
    pub repeated: u64,
    /// Replies that came when all requests were answered.
    pub unsolicited: u64,
    /// Replies that came after a later one.
    pub reordered: u64,
    /// Replies with a number that only another connection can have.
    pub foreign: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Connections on which something came that is no reply.
    pub malformed: u64,
    /// Connections that the server closed.
    pub disconnected: u64,
    /// Connections whose counter, or client id, was not what it had to be at the end.
    pub wrong_at_end: u64,
}

impl Faults {
    /// Commands lost: not answered, or answered where no client saw it.
    pub fn lost(&self) -> u64 {
        // A lost reply shows as both: a number is skipped, and one reply is missing at the end.
        self.unanswered.max(self.skipped)
    }

    /// Commands done or answered twice.
    pub fn duplicated(&self) -> u64 {
        // Likewise: a number comes again, and in the end there is one reply more than requests.
        self.repeated.max(self.unsolicited)
    }

    /// All faults together.
    pub fn total(&self) -> u64 {
        self.lost()
            + self.duplicated()
            + self.reordered
            + self.foreign
            + self.error_replies
            + self.malformed
            + self.disconnected
            + self.wrong_at_end
    }

    /// Adds those of another connection.
    pub fn add(&mut self, other: &Self) {
        self.unanswered += other.unanswered;
        self.skipped += other.skipped;
        self.repeated += other.repeated;
        self.unsolicited += other.unsolicited;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.error_replies += other.error_replies;
        self.malformed += other.malformed;
        self.disconnected += other.disconnected;
        self.wrong_at_end += other.wrong_at_end;
    }
}

/// Latencies in microseconds, from the sending of a request's last byte to its reply.
#[derive(Debug, Default, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "named after the quantiles that they are")]
pub struct Latency {
    pub mean_us: f64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Latency {
    /// The quantiles of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

/// A mark on the timeline.
#[derive(Debug, Clone, Serialize)]
pub struct ReportedMark {
    /// Milliseconds since requests began to flow.
    pub at_ms: f64,
    /// What happened.
    pub label: String,
}

/// What the load generator itself took from the machine: a large wait explains gaps that are not
/// the server's.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct OwnCost {
    /// CPU time of the generator's thread, in seconds.
    pub cpu_s: f64,
    /// Time for which it wanted a CPU and had none, in seconds.
    pub waited_s: f64,
}

/// Everything that a run found; as JSON the fields have these names.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Connections that held state, and how many of them were the same ones with the same state at
    /// the end.
    pub idle: u64,
    /// See `idle`.
    pub idle_kept: u64,
    /// Connections that were blocked on keys.
    pub waiting: u64,
    /// How many of them, or of those who fed them, did not get just what was theirs.
    pub waiting_lost: u64,
    /// Items that they were fed, and that came.
    pub delivered: u64,
    /// Connections that sent requests, and how many of them were there to the end.
    pub busy: u64,
    /// See `busy`.
    pub busy_kept: u64,
    /// From the first request to the last reply, in seconds.
    pub seconds: f64,
    /// Requests sent.
    pub requests: u64,
    /// Replies received to them.
    pub replies: u64,
    /// Replies per second.
    pub replies_per_s: f64,
    /// What was wrong.
    pub faults: Faults,
    /// All of it in one number, idle and waiting connections included: 0 is the bar.
    pub errors: u64,
    /// What was wrong in words: the first problem of each of the first few connections that had
    /// one.
    pub problems: Vec<String>,
    /// The longest time without any reply, in microseconds.
    pub longest_gap_us: u64,
    /// Latencies.
    pub latency: Latency,
    /// The length of a bucket of the timeline, in milliseconds.
    pub bucket_ms: u64,
    /// Replies, longest latency and longest silence over time.
    pub timeline: Vec<Bucket>,
    /// What happened meanwhile.
    pub marks: Vec<ReportedMark>,
    /// The generator's own cost.
    pub own: OwnCost,
    /// When requests began to flow.
    #[serde(skip)]
    pub start: Instant,
    /// Every reply, if the options say that they are kept.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

impl Report {
    /// The length of a bucket of the timeline, in milliseconds.
    pub const BUCKET_MS: u64 = BUCKET.as_millis() as u64;

    /// The report as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a report has nothing that JSON cannot say")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = &self.faults;
        writeln!(
            f,
            "connections   {} of {} idle and {} of {} busy ones kept",
            self.idle_kept, self.idle, self.busy_kept, self.busy
        )?;
        writeln!(
            f,
            "requests      {} sent, {} answered in {:.1} s ({:.0} per second)",
            self.requests, self.replies, self.seconds, self.replies_per_s
        )?;
        writeln!(
            f,
            "commands      {} lost, {} duplicated, {} out of order, {} error replies",
            faults.lost(),
            faults.duplicated(),
            faults.reordered,
            faults.error_replies
        )?;
        writeln!(
            f,
            "waiting       {} blocked connections, {} items delivered, {} connections with a problem",
            self.waiting, self.delivered, self.waiting_lost
        )?;
        writeln!(f, "errors        {} in all", self.errors)?;
        writeln!(f, "longest gap   {} without any reply", micros(self.longest_gap_us))?;
        let latency = &self.latency;
        writeln!(
            f,
            "latency       p50 {}  p99 {}  p99.9 {}  max {}",
            micros(latency.p50_us),
            micros(latency.p99_us),
            micros(latency.p999_us),
            micros(latency.max_us)
        )?;
        write!(
            f,
            "generator     {:.2} s of CPU time, {:.2} s waiting for one",
            self.own.cpu_s, self.own.waited_s
        )?;
        for problem in &self.problems {
            write!(f, "\nproblem       {problem}")?;
        }
        Ok(())
    }
}

/// Microseconds as people read them.
pub fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..100_000 => format!("{:.1} ms", us as f64 / 1e3),
        100_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.2} s", Duration::from_micros(us).as_secs_f64()),
    }
}
