//! What an entry notes of its use: when it was used last, or, where the policy of `maxmemory` is about
//! frequency, how often it was used lately.
//!
//! ```text
//! by time       seconds of the wall clock (32)
//! by frequency  unused (8) | minutes of the wall clock (16) | counter (8)
//! ```
//!
//! The counter grows ever more rarely the higher it is, and falls with time. As in Redis, a policy
//! that changes leaves the words as they are: it takes a while until they mean something again.

/// The counter of a new key.
const INITIAL: u32 = 5;
/// The highest counter.
const HIGHEST: u32 = 255;

/// How use is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// By time.
    Time,
    /// By frequency.
    Frequency(Frequency),
}

/// How the counter of use goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    /// `lfu-log-factor`: how slowly it grows.
    pub log_factor: u32,
    /// `lfu-decay-time`: minutes in which it falls by one; 0 for never.
    pub decay_minutes: u32,
}

fn minutes(now_ms: i64) -> u32 {
    (now_ms / 60_000) as u32 & 0xffff
}

impl Policy {
    /// The word of a key that is new at a time.
    #[inline]
    pub fn first(self, now_ms: i64) -> u32 {
        match self {
            Policy::Time => (now_ms / 1000) as u32,
            Policy::Frequency(_) => with_counter(INITIAL as u8, now_ms),
        }
    }

    /// The word of a key that is used at a time; `random` is asked once at most.
    #[inline]
    pub fn used(self, word: u32, now_ms: i64, random: impl FnOnce() -> u64) -> u32 {
        match self {
            Policy::Time => (now_ms / 1000) as u32,
            Policy::Frequency(frequency) => {
                let counter = frequency.increment(frequency.counter(word, now_ms), random);
                with_counter(counter, now_ms)
            }
        }
    }
}

/// The word of a key with this counter of use.
pub fn with_counter(counter: u8, now_ms: i64) -> u32 {
    minutes(now_ms) << 8 | u32::from(counter)
}

/// The word of a key that was used last so many seconds ago.
pub fn idle_for(seconds: i64, now_ms: i64) -> u32 {
    // Longer times could not be told from times to come.
    let seconds = seconds.clamp(0, i64::from(i32::MAX)) as u32;
    ((now_ms / 1000) as u32).wrapping_sub(seconds)
}

/// Seconds since a key was used, by its word.
pub fn idle_seconds(word: u32, now_ms: i64) -> i64 {
    let idle = ((now_ms / 1000) as u32).wrapping_sub(word);
    // The clock may have been set back.
    i64::from(idle as i32).max(0)
}

impl Frequency {
    /// The counter in a word, less what it has fallen since then.
    pub fn counter(self, word: u32, now_ms: i64) -> u8 {
        let (then, now) = (word >> 8 & 0xffff, minutes(now_ms));
        let elapsed = if now >= then { now - then } else { 65_535 - then + now };
        let fallen = elapsed.checked_div(self.decay_minutes).unwrap_or(0);
        (word & 0xff).saturating_sub(fallen) as u8
    }

    fn increment(self, counter: u8, random: impl FnOnce() -> u64) -> u8 {
        let above = u64::from(u32::from(counter).saturating_sub(INITIAL));
        let one_in = above * u64::from(self.log_factor) + 1;
        let grows = u32::from(counter) < HIGHEST && random().is_multiple_of(one_in);
        counter + u8::from(grows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const SLOW: Frequency = Frequency { log_factor: 10, decay_minutes: 1 };

    #[test]
    fn counters_grow_with_use_and_fall_with_time() {
        let policy = Policy::Frequency(SLOW);
        let now = 1_000 * MINUTE;
        let word = policy.first(now);
        assert_eq!(SLOW.counter(word, now), 5);
        // The first use always counts, the next one in 11.
        let word = policy.used(word, now, || 12_345);
        assert_eq!(SLOW.counter(word, now), 6);
        assert_eq!(SLOW.counter(policy.used(word, now, || 10), now), 6);
        assert_eq!(SLOW.counter(policy.used(word, now, || 11), now), 7);
        assert_eq!(SLOW.counter(word, now + 3 * MINUTE), 3);
        assert_eq!(SLOW.counter(word, now + 300 * MINUTE), 0);
        let never = Frequency { decay_minutes: 0, ..SLOW };
        assert_eq!(never.counter(word, now + 300 * MINUTE), 6);
        let full = with_counter(255, now);
        assert_eq!(SLOW.counter(policy.used(full, now, || 0), now), 255);
    }

    #[test]
    fn minutes_go_around() {
        let now = 65_535 * MINUTE;
        let word = with_counter(100, now);
        assert_eq!(SLOW.counter(word, now + 3 * MINUTE), 98);
    }

    #[test]
    fn idle_times_are_noted_and_told() {
        let now = 5_000_000_000_000;
        for seconds in [0, 1, 1_000_000, i64::from(i32::MAX)] {
            assert_eq!(idle_seconds(idle_for(seconds, now), now), seconds);
        }
        assert_eq!(idle_seconds(Policy::Time.first(now), now + 7_000), 7);
        assert_eq!(idle_seconds(Policy::Time.first(now), now - 7_000), 0);
    }
}
