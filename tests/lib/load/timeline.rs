//! What is measured during a run: latencies, the longest silence, and both over time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The length of one bucket of the timeline.
pub const BUCKET: Duration = Duration::from_millis(100);

/// Latencies above this are recorded as this.
const LONGEST: Duration = Duration::from_secs(60);

/// One bucket of the timeline.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Bucket {
    /// Replies that came.
    pub replies: u64,
    /// The longest latency of any of them, in microseconds.
    pub max_latency_us: u64,
    /// The longest silence that ended in this bucket, in microseconds.
    pub max_gap_us: u64,
}

/// Replies that came at the same time, to requests sent at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When the requests were sent, in microseconds since the start.
    pub sent_us: u64,
    /// How long the replies took, in microseconds.
    pub latency_us: u64,
    /// How many they were.
    pub count: u64,
}

/// The measurements of a run.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    last_reply: Instant,
    longest_gap: Duration,
    latencies: Histogram<u64>,
    buckets: Vec<Bucket>,
    /// If they are kept.
    samples: Option<Vec<Sample>>,
}

impl Timeline {
    /// Begins at `start`: the silence before the first reply counts as well.
    pub fn new(start: Instant) -> Self {
        let longest = LONGEST.as_micros() as u64;
        let latencies = Histogram::new_with_bounds(1, longest, 3).expect("these bounds are valid");
        Self {
            start,
            last_reply: start,
            longest_gap: Duration::ZERO,
            latencies,
            buckets: Vec::new(),
            samples: None,
        }
    }

    /// Keeps every reply from now on: some 24 bytes for each batch of requests.
    pub fn keep_samples(&mut self) {
        self.samples = Some(Vec::new());
    }

    /// The replies that were kept, in the order in which they came.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        self.samples.take().unwrap_or_default()
    }

    /// When the run began.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Takes `count` replies that came at `now`, for requests sent at `sent`.
    pub fn replies(&mut self, now: Instant, sent: Instant, count: u64) {
        let latency = now.saturating_duration_since(sent).as_micros() as u64;
        self.latencies.saturating_record_n(latency, count);
        self.keep(sent, latency, count);
        let gap = self.end_silence(now);
        let bucket = self.bucket(now);
        bucket.replies += count;
        bucket.max_latency_us = bucket.max_latency_us.max(latency);
        bucket.max_gap_us = bucket.max_gap_us.max(gap);
    }

    /// Ends the run at `now`: a silence that lasts till the end counts as well.
    pub fn finish(&mut self, now: Instant) {
        let gap = self.end_silence(now);
        let bucket = self.bucket(now);
        bucket.max_gap_us = bucket.max_gap_us.max(gap);
    }

    /// The longest time between two replies, whichever connections they came on.
    pub fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    /// From the start to the end, in seconds.
    pub fn seconds(&self) -> f64 {
        self.last_reply.duration_since(self.start).as_secs_f64()
    }

    /// Latencies in microseconds.
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    /// The buckets from the start on.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    fn keep(&mut self, sent: Instant, latency_us: u64, count: u64) {
        let Some(samples) = &mut self.samples else { return };
        let sent_us = sent.saturating_duration_since(self.start).as_micros() as u64;
        match samples.last_mut() {
            Some(last) if (last.sent_us, last.latency_us) == (sent_us, latency_us) => {
                last.count += count;
            }
            _ => samples.push(Sample { sent_us, latency_us, count }),
        }
    }

    fn end_silence(&mut self, now: Instant) -> u64 {
        let gap = now.saturating_duration_since(self.last_reply);
        self.longest_gap = self.longest_gap.max(gap);
        self.last_reply = now;
        gap.as_micros() as u64
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        let at =
            (now.saturating_duration_since(self.start).as_nanos() / BUCKET.as_nanos()) as usize;
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, Bucket::default());
        }
        &mut self.buckets[at]
    }
}
