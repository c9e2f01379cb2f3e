//! Cuts a failing episode down (delta debugging): drops steps, then commands of pipelines, as
//! long as the servers still differ.

use std::time::{Duration, Instant};

use super::run::{Mismatch, Pair};
use super::step::Step;

/// Every trial resets both servers, so the search is bounded.
const MAX_TRIALS: usize = 400;
/// As long as a person waits for a report.
const MAX_TIME: Duration = Duration::from_secs(40);

struct Search<'a> {
    pair: &'a mut Pair,
    best: Vec<Step>,
    mismatch: Mismatch,
    trials: usize,
    start: Instant,
}

/// The shortest list found that still makes the servers differ, and how they do then.
pub fn shrink(pair: &mut Pair, steps: Vec<Step>, mismatch: Mismatch) -> (Vec<Step>, Mismatch) {
    let mut best = steps;
    best.truncate(mismatch.step + 1);
    let mut search = Search { pair, best, mismatch, trials: 0, start: Instant::now() };
    let all = search.best.clone();
    if !search.accept(all) {
        search.mismatch.what.push_str(
            "\n(it did not happen again when the same steps were run again: timing matters)",
        );
        return (search.best, search.mismatch);
    }
    search.drop_steps();
    search.drop_commands();
    search.drop_steps();
    (search.best, search.mismatch)
}

impl Search<'_> {
    fn exhausted(&self) -> bool {
        self.trials >= MAX_TRIALS || self.start.elapsed() > MAX_TIME
    }

    /// Runs `steps`; if the servers differ, they are the new best.
    fn accept(&mut self, mut steps: Vec<Step>) -> bool {
        if self.exhausted() {
            return false;
        }
        self.trials += 1;
        self.pair.reset();
        match self.pair.run(&steps) {
            Ok(()) => false,
            Err(mismatch) => {
                steps.truncate(mismatch.step + 1);
                self.best = steps;
                self.mismatch = mismatch;
                true
            }
        }
    }

    fn drop_steps(&mut self) {
        let mut size = self.best.len() / 2;
        while size > 0 && !self.exhausted() {
            let mut end = self.best.len();
            // From the end: what came early is more often needed.
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut shorter = self.best.clone();
                shorter.drain(start..end);
                self.accept(shorter);
                end = start.min(self.best.len());
            }
            size /= 2;
        }
    }

    fn drop_commands(&mut self) {
        let mut at = self.best.len();
        while at > 0 && !self.exhausted() {
            at -= 1;
            let mut position = 0;
            while let Some(Step::Send { client, commands }) = self.best.get(at) {
                if commands.len() < 2 || position >= commands.len() {
                    break;
                }
                let (client, mut fewer) = (*client, commands.clone());
                fewer.remove(position);
                let mut shorter = self.best.clone();
                shorter[at] = Step::Send { client, commands: fewer };
                if !self.accept(shorter) {
                    position += 1;
                }
            }
        }
    }
}
