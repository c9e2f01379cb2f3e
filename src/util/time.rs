//! Clocks: wall clock for what clients see, monotonic clock for durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall clock in microseconds since 1970; 0 if the clock is set before that.
pub fn unix_time_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Wall clock in milliseconds since 1970, the unit of expiry times.
pub fn unix_time_ms() -> i64 {
    unix_time_us() / 1000
}

/// Monotonic clock in microseconds since the machine started. All processes of a machine share it,
/// so that one may measure from what another has noted.
pub fn monotonic_us() -> u64 {
    monotonic_ns() / 1000
}

/// [`monotonic_us`] in nanoseconds.
pub fn monotonic_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// A pause that doubles so many times, up to the longest.
pub fn doubled(pause: Duration, times: u32, longest: Duration) -> Duration {
    pause.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_a_bound() {
        let pause = |times| doubled(Duration::from_millis(250), times, Duration::from_secs(60));
        assert_eq!([0, 1, 7].map(|times| pause(times).as_millis()), [250, 500, 32_000]);
        assert_eq!([8, u32::MAX].map(|times| pause(times).as_secs()), [60, 60]);
    }

    #[test]
    fn clocks_agree_with_the_standard_library() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let now = unix_time_ms();
        assert!(now >= before && now - before < 10_000);
        let first = monotonic_us();
        assert!(first > 0 && monotonic_us() >= first);
    }
}
