//! Ranges of scores and of members.

use super::score::sort_key;

/// Scores between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// The least score.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Whether the least score itself is not in the range.
    pub above_min: bool,
    /// Whether the greatest score itself is not.
    pub below_max: bool,
}

impl ScoreRange {
    /// Whether a score is below the range.
    #[inline]
    pub(super) fn begins_behind(&self, score: f64) -> bool {
        if self.above_min { score <= self.min } else { score < self.min }
    }

    /// Whether a score is below the range or in it.
    #[inline]
    pub(super) fn ends_behind(&self, score: f64) -> bool {
        if self.below_max { score < self.max } else { score <= self.max }
    }

    /// The same two questions of a sort key, as the least sort key for which each says no; `None` if
    /// there is none.
    pub(super) fn sort_keys(&self) -> (Option<u64>, Option<u64>) {
        let behind = |key: u64, and_it: bool| if and_it { key.checked_add(1) } else { Some(key) };
        (behind(sort_key(self.min), self.above_min), behind(sort_key(self.max), !self.below_max))
    }
}

/// One end of a range of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before all members (`-`).
    First,
    /// Behind all members (`+`).
    Last,
    /// At a member, which is in the range (`[`).
    At(&'a [u8]),
    /// At a member, which is not (`(`).
    Beside(&'a [u8]),
}

/// Members between two ends; means something where all scores are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexBound<'a>,
    /// The upper end.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a member is below the range.
    #[inline]
    pub(super) fn begins_behind(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::First => false,
            LexBound::Last => true,
            LexBound::At(bound) => member < bound,
            LexBound::Beside(bound) => member <= bound,
        }
    }

    /// Whether a member is below the range or in it.
    #[inline]
    pub(super) fn ends_behind(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::First => false,
            LexBound::Last => true,
            LexBound::At(bound) => member <= bound,
            LexBound::Beside(bound) => member < bound,
        }
    }
}
