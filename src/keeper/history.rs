//! What upgrades there were: counts since the keeper started, and the last ones in detail.

use std::collections::VecDeque;

use super::protocol::{LastUpgrade, MAX_REPLY, UpgradeResult};

/// Most upgrades that are remembered.
pub const MAX_RECORDS: usize = 100;

/// Most bytes of JSON that the remembered ones take: they are sent in one line.
const MAX_BYTES: usize = MAX_REPLY / 2;

/// Longest reason in characters that is kept and passed on, as on the link.
const MAX_REASON: usize = 1000;

/// Upgrades that have ended, the earliest first. Dry runs are none.
#[derive(Debug, Default)]
pub struct History {
    /// Each with its length as JSON.
    records: VecDeque<(UpgradeResult, usize)>,
    bytes: usize,
    /// How many there were whose new generation served.
    pub upgrades: u64,
    /// How many failed.
    pub failures: u64,
    /// How many were undone, of those whose new generation served.
    pub rollbacks: u64,
}

impl History {
    /// Adds an upgrade that has ended, and counts it.
    pub fn add(&mut self, result: &UpgradeResult) {
        match result.succeeded {
            true => self.upgrades += 1,
            false => self.failures += 1,
        }
        let length = length(result);
        self.records.push_back((result.clone(), length));
        self.bytes += length;
        while self.records.len() > MAX_RECORDS || (self.bytes > MAX_BYTES && self.records.len() > 1)
        {
            self.bytes -= self.records.pop_front().map_or(0, |(_, length)| length);
        }
    }

    /// Puts down what came of an upgrade after it had been [added](Self::add), unless it is
    /// forgotten by now.
    pub fn revise(&mut self, result: &UpgradeResult) {
        self.rollbacks += u64::from(result.rolled_back);
        let mut records = self.records.iter_mut();
        if let Some((record, old)) = records.find(|(it, _)| it.upgrade == result.upgrade) {
            let length = length(result);
            self.bytes = self.bytes - *old + length;
            (*record, *old) = (result.clone(), length);
        }
    }

    /// What another keeper remembers.
    pub fn of(
        records: Vec<UpgradeResult>,
        (upgrades, failures): (u64, u64),
        rollbacks: u64,
    ) -> Self {
        let mut history = Self::default();
        records.iter().for_each(|record| history.add(record));
        Self { upgrades, failures, rollbacks, ..history }
    }

    /// The upgrades that are remembered.
    pub fn records(&self) -> Vec<UpgradeResult> {
        self.records.iter().map(|(record, _)| record.clone()).collect()
    }

    /// The one that ended last.
    pub fn last(&self) -> Option<LastUpgrade> {
        let (last, _) = self.records.back()?;
        Some(LastUpgrade {
            at: last.at,
            succeeded: last.succeeded,
            rolled_back: last.rolled_back,
            result: describe(last),
            connections: last.connections,
            freeze_us: last.freeze_us,
            total_ms: last.total_ms,
        })
    }
}

fn length(result: &UpgradeResult) -> usize {
    serde_json::to_vec(result).map_or(0, |json| json.len())
}

/// `ok`, or the phase and the reason.
pub fn describe(result: &UpgradeResult) -> String {
    match &result.reason {
        None => "ok".into(),
        Some(reason) if result.rolled_back => format!("rolled back: {reason}"),
        Some(reason) => format!("{}: {reason}", result.phase),
    }
}

/// A reason that another process gave, cut to a length that can be kept.
pub fn bounded(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
        reason.truncate(end);
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(upgrade: u64, reason: Option<&str>) -> UpgradeResult {
        UpgradeResult {
            upgrade,
            succeeded: reason.is_none(),
            phase: "start".into(),
            reason: reason.map(String::from),
            ..UpgradeResult::default()
        }
    }

    #[test]
    fn the_last_hundred_are_remembered_and_all_are_counted() {
        let mut history = History::default();
        assert_eq!(history.last(), None);
        for upgrade in 0..150 {
            history.add(&result(upgrade, (upgrade % 3 == 0).then_some("broken")));
        }
        let numbers: Vec<u64> = history.records().iter().map(|it| it.upgrade).collect();
        assert_eq!(numbers, (50..150).collect::<Vec<_>>());
        assert_eq!((history.upgrades, history.failures, history.rollbacks), (100, 50, 0));
        assert_eq!(history.last().unwrap().result, "ok");
    }

    #[test]
    fn what_is_long_is_forgotten_sooner() {
        let mut history = History::default();
        let long = "\u{1}".repeat(MAX_BYTES / 20);
        for upgrade in 0..20 {
            history.add(&result(upgrade, Some(&long)));
        }
        let json = serde_json::to_vec(&history.records()).unwrap();
        assert!(json.len() <= MAX_BYTES + MAX_RECORDS, "{}", json.len());
        assert_eq!(history.records().last().unwrap().upgrade, 19);
        assert_eq!(bounded("\u{fc}".repeat(1001)).chars().count(), MAX_REASON);
        assert_eq!(bounded("short".into()), "short");
    }

    #[test]
    fn an_upgrade_can_be_undone_later() {
        let mut history = History::default();
        for upgrade in 1..=2 {
            history.add(&result(upgrade, None));
        }
        let undone = UpgradeResult { rolled_back: true, ..result(2, Some("it hung")) };
        history.revise(&undone);
        let last = history.last().unwrap();
        assert!(last.rolled_back && !last.succeeded);
        assert_eq!(last.result, "rolled back: it hung");
        assert_eq!((history.upgrades, history.failures, history.rollbacks), (2, 0, 1));
        // Forgotten by now: counted all the same.
        history.revise(&UpgradeResult { upgrade: 77, ..undone });
        assert_eq!((history.records().len(), history.rollbacks), (2, 2));
    }
}
