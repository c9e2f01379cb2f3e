//! The monotonic clock, behind a trait so that deadlines can be played in tests.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A source of `CLOCK_MONOTONIC` nanoseconds.
///
/// All processes of a host read the same clock, so a value may travel in a message and be
/// subtracted on the other side.
pub trait Clock {
    /// Nanoseconds since an arbitrary fixed point, never decreasing.
    fn now_ns(&self) -> u64;
}

/// The kernel's `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        // CLOCK_MONOTONIC is always there on Linux; zero would only make deadlines come late.
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
            let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
            seconds * 1_000_000_000 + nanos
        })
    }
}

/// `duration` in whole nanoseconds, saturating.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
