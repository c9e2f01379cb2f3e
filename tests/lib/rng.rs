//! Seeded randomness whose sequences never change.
//!
//! `rand`'s generators may change their output between releases; a seed that a failing run
//! printed must still reproduce it years later, so the generator is spelled out here
//! (SplitMix64: every seed is good, the state is one word).

use std::ops::RangeInclusive;

/// The seed of a test run: `HOTREDIS_SEED` if set, else `default`.
///
/// # Panics
/// If `HOTREDIS_SEED` is set to something that is no unsigned number.
pub fn seed_or(default: u64) -> u64 {
    match std::env::var("HOTREDIS_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| {
            panic!("HOTREDIS_SEED={text:?} is no unsigned 64-bit number; unset it or give one")
        }),
        Err(_) => default,
    }
}

/// A small deterministic random generator (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that yields the same sequence for the same seed, for ever.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (the bias of the modulo does not matter for tests).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "nothing is below 0");
        (self.next_u64() % bound as u64) as usize
    }

    /// A number in `range`.
    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = range.end().wrapping_sub(*range.start()) as u64;
        let offset =
            if width == u64::MAX { self.next_u64() } else { self.next_u64() % (width + 1) };
        range.start().wrapping_add(offset as i64)
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One element of `from`.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next_u64() as u8).collect()
    }
}

/// Prints the seed to stderr when the test that holds it panics.
#[derive(Debug)]
pub struct SeedOnFailure(pub u64);

impl Drop for SeedOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failing run used HOTREDIS_SEED={}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed() {
        let mut rng = Rng::new(1);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(
            first,
            [10451216379200822465, 13757245211066428519, 17911839290282890590],
            "seeds printed by older runs must keep their meaning"
        );
    }

    #[test]
    fn within_covers_both_ends_and_the_full_range() {
        let mut rng = Rng::new(2);
        let seen: std::collections::BTreeSet<i64> = (0..200).map(|_| rng.within(-1..=1)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-1, 0, 1]);
        rng.within(i64::MIN..=i64::MAX);
    }
}
