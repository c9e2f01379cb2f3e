//! How long the phases of an upgrade took.

use std::time::{Duration, Instant};

use handoff::keeper_channel::Phase;

use super::protocol::PhaseTime;

/// When each phase of an upgrade began, as far as the keeper has heard of it.
#[derive(Debug)]
pub struct Timeline(Vec<(Phase, Instant)>);

impl Timeline {
    /// An upgrade that has begun now.
    pub fn new(now: Instant) -> Self {
        Self(vec![(Phase::Preflight, now)])
    }

    /// A phase has begun; nothing if it, or a later one, has before.
    pub fn enter(&mut self, phase: Phase, now: Instant) {
        if self.0.last().is_none_or(|(last, _)| *last < phase) {
            self.0.push((phase, now));
        }
    }

    /// The freeze has ended now, and lasted so long. It was announced before it began.
    pub fn freeze_lasted(&mut self, length: Duration, now: Instant) {
        if let Some((Phase::Freeze, begun)) = self.0.last_mut() {
            *begun = now.checked_sub(length).unwrap_or(*begun).max(*begun);
        }
    }

    /// The phases with their lengths, the last one's up to now.
    pub fn lengths(&self, now: Instant) -> Vec<PhaseTime> {
        let ends = self.0.iter().skip(1).map(|(_, begun)| *begun).chain([now]);
        let both = self.0.iter().zip(ends);
        both.map(|((phase, begun), end)| phase_time(*phase, *begun, end)).collect()
    }
}

/// A phase that began and ended then.
pub fn phase_time(phase: Phase, begun: Instant, end: Instant) -> PhaseTime {
    let length = end.saturating_duration_since(begun).as_micros();
    PhaseTime { phase: phase.name().into(), us: u64::try_from(length).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_lasts_until_the_next_one_begins() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::new(start);
        timeline.enter(Phase::Start, after(2));
        timeline.enter(Phase::Freeze, after(5));
        // Each is told by both sides, the later one of which is late.
        timeline.enter(Phase::Freeze, after(6));
        timeline.enter(Phase::PreCopy, after(6));
        let found = timeline.lengths(after(9));
        let found: Vec<_> = found.iter().map(|it| (it.phase.as_str(), it.us)).collect();
        assert_eq!(found, [("preflight", 2000), ("start", 3000), ("freeze", 4000)]);
    }

    #[test]
    fn what_comes_before_the_freeze_belongs_to_the_phase_before_it() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::new(start);
        timeline.enter(Phase::PreCopy, after(1));
        timeline.freeze_lasted(Duration::from_millis(1), after(4));
        timeline.enter(Phase::Freeze, after(5));
        timeline.freeze_lasted(Duration::from_millis(2), after(9));
        let phases = |timeline: &Timeline| {
            let lengths = timeline.lengths(after(9));
            lengths.into_iter().map(|it| (it.phase, it.us)).collect::<Vec<_>>()
        };
        let expected = [("preflight", 1000), ("pre-copy", 6000), ("freeze", 2000)];
        let expected = expected.map(|(name, us)| (name.to_owned(), us));
        assert_eq!(phases(&timeline), expected);
        // No more than it can have been.
        timeline.freeze_lasted(Duration::from_secs(9), after(9));
        assert_eq!(phases(&timeline), expected);
    }
}
