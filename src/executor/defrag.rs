//! Defragmentation: entries are moved out of spans of which little is in use, so that these can be given back.
//!
//! A cycle looks at all spans, marks those that are worth emptying, walks through the databases and moves what
//! lies in them, and takes the marks off what could not be emptied ([`shm::alloc::Survey`]). Each step is a
//! transaction of bounded size, and all of them together take a tenth of the time at most, like all background work.
//! A cycle is private, but for the marks: a new owner ends it and begins another.

use shm::alloc::{Ending, Evacuation, Survey};

use super::Executor;
use crate::keyspace;
use crate::util::time::monotonic_us;

/// Where the cycle stands.
#[derive(Debug, Default)]
pub struct Defrag {
    phase: Phase,
    /// When there may be another one, in milliseconds of the monotonic clock.
    next_ms: u64,
    /// Until the one after that; doubles while cycles win little.
    pause_ms: u64,
    /// Spans in use when the cycle began.
    before: u64,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Rest,
    Look(Box<Survey>),
    Mark(Box<Survey>),
    Move {
        database: u32,
        hash: u64,
    },
    End(Ending),
}

/// Spans that a step looks at.
const SPANS: u64 = 256;
/// Entries that a step moves.
const ENTRIES: usize = 64;
/// From the end of a cycle that was worth it to the next.
const PAUSE_MS: u64 = 1_000;
/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 600_000;

impl Defrag {
    /// Whether a cycle is under way.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Rest)
    }
}

impl Executor {
    /// Goes on with the cycle, or begins one if there is much to win. True if there is more to do.
    pub(super) fn defragment(&mut self, deadline: u64) -> bool {
        if !self.background.defrag.is_running() && !self.begin_defragmenting() {
            return false;
        }
        while monotonic_us() < deadline {
            let phase = std::mem::take(&mut self.background.defrag.phase);
            self.background.defrag.phase = self.defragment_step(phase);
            if !self.background.defrag.is_running() {
                self.end_defragmenting();
                return false;
            }
        }
        true
    }

    fn begin_defragmenting(&mut self) -> bool {
        let now = monotonic_us() / 1_000;
        let stats = self.arena.stats();
        let defrag = &mut self.background.defrag;
        if self.arena.evacuating() > 0 {
            // Another owner has left that.
            defrag.phase = Phase::End(Ending::default());
            return true;
        }
        let config = &self.state.config;
        let waste = stats.spans.saturating_sub(stats.used);
        let much = waste >= config.active_defrag_ignore_bytes()
            && waste / 100 >= stats.used / 10_000 * config.active_defrag_threshold_lower();
        if now < defrag.next_ms || !config.activedefrag() || !much {
            return false;
        }
        defrag.phase = Phase::Look(Box::default());
        defrag.before = stats.spans;
        true
    }

    /// Cycles that win little become rare.
    fn end_defragmenting(&mut self) {
        let now = self.arena.stats().spans;
        let defrag = &mut self.background.defrag;
        let little = defrag.before.saturating_sub(now) < defrag.before / 50;
        defrag.pause_ms =
            if little { (defrag.pause_ms * 2).clamp(PAUSE_MS, LONGEST_PAUSE_MS) } else { PAUSE_MS };
        defrag.next_ms = monotonic_us() / 1_000 + defrag.pause_ms;
    }

    fn defragment_step(&mut self, phase: Phase) -> Phase {
        let stops = !self.state.config.activedefrag();
        match phase {
            Phase::Rest => Phase::Rest,
            Phase::Look(_) if stops => Phase::Rest,
            Phase::Look(mut survey) => match survey.look(&self.arena, SPANS) {
                Evacuation::More => Phase::Look(survey),
                Evacuation::Done if survey.won() == 0 => Phase::Rest,
                Evacuation::Done => Phase::Mark(survey),
            },
            Phase::Mark(_) | Phase::Move { .. } if stops => Phase::End(Ending::default()),
            Phase::Mark(mut survey) => match survey.mark(&mut self.arena, SPANS) {
                Ok(Evacuation::More) => Phase::Mark(survey),
                Ok(Evacuation::Done) => Phase::Move { database: 0, hash: 0 },
                Err(_) => Phase::End(Ending::default()),
            },
            Phase::Move { database, hash } => self.move_entries(database, hash),
            Phase::End(mut ending) => match ending.step(&mut self.arena, SPANS) {
                Ok(Evacuation::Done) => Phase::Rest,
                // Without memory for the log it is tried again.
                Ok(Evacuation::More) | Err(_) => Phase::End(ending),
            },
        }
    }

    fn move_entries(&mut self, index: u32, hash: u64) -> Phase {
        if index == self.arena.get(self.root).database_count.to_native() {
            return Phase::End(Ending::default());
        }
        let database = crate::root::database(&self.arena, self.root, index);
        let step = |tx: &mut shm::Tx<'_>| keyspace::relocate_step(tx, database, hash, ENTRIES);
        match self.arena.transact(step) {
            Ok(Some(hash)) => Phase::Move { database: index, hash },
            Ok(None) => Phase::Move { database: index + 1, hash: 0 },
            Err(_) => Phase::End(Ending::default()),
        }
    }
}
