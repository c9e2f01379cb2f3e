//! Scores: doubles, never NaN.

use shm::pack::{self, Item};

use crate::util::numbers;

/// A number that is ordered as the scores are; equal scores have equal ones, the two zeros too.
#[inline(always)]
pub fn sort_key(score: f64) -> u64 {
    // Adding zero takes the sign from a zero.
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The integer as which a `listpack` holds a score: it loses the sign of a zero by that, as in Redis.
#[inline]
fn as_integer(score: f64) -> Option<i64> {
    const LIMIT: f64 = (i64::MAX / 2) as f64;
    let within = (-LIMIT..=LIMIT).contains(&score);
    (within && score.trunc() == score).then_some(score as i64)
}

/// Appends a score to a packed run.
#[inline]
pub fn encode(run: &mut Vec<u8>, score: f64, keep_sign: bool) {
    match as_integer(score) {
        Some(0) if keep_sign && score.is_sign_negative() => pack::encode_raw(run, b"-0"),
        Some(number) => pack::encode_int(run, number),
        None => {
            let mut text = Vec::with_capacity(32);
            numbers::write_d2string(&mut text, score);
            pack::encode(run, &text);
        }
    }
}

/// Reads a score out of a packed run. What is none reads as NaN, for the checker.
#[inline]
pub fn decode(item: Item<'_>) -> f64 {
    match item {
        Item::Int(number) => number as f64,
        Item::Bytes(text) => numbers::string2d(text).unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zeros_are_equal_and_infinities_at_the_ends() {
        assert_eq!(sort_key(0.0), sort_key(-0.0));
        let ordered = [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::INFINITY];
        assert!(ordered.is_sorted_by(|a, b| sort_key(*a) < sort_key(*b)));
    }

    #[test]
    fn a_packed_zero_keeps_its_sign_only_if_asked_to() {
        for (keep, expected) in [(true, (-0.0f64).to_bits()), (false, 0)] {
            let mut run = Vec::new();
            encode(&mut run, -0.0, keep);
            assert_eq!(decode(pack::items(&run).next().unwrap()).to_bits(), expected);
        }
    }

    proptest! {
        #[test]
        fn sort_keys_are_ordered_as_scores(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a.partial_cmp(&b), Some(sort_key(a).cmp(&sort_key(b))));
        }

        #[test]
        fn packed_scores_are_read_back(bits: u64) {
            let score = f64::from_bits(bits);
            prop_assume!(!score.is_nan());
            for score in [score, score.trunc(), score % 1e6, (score % 1e6).trunc()] {
                let mut run = Vec::new();
                encode(&mut run, score, true);
                prop_assert!(pack::validate(&run) == Some(1));
                let read = decode(pack::items(&run).next().unwrap());
                prop_assert_eq!(read.to_bits(), score.to_bits());
            }
        }
    }
}
