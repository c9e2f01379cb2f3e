//! Defragmentation: blocks are moved out of spans of which little is in use, so that these can be given back.
//!
//! A cycle joins sparse segments of tables, looks at all spans, marks those that are worth emptying, walks through the databases and moves what
//! lies in them, and takes the marks off what could not be emptied ([`shm::alloc::Survey`], [`crate::keyspace::relocate`]).
//! Each step is a transaction of bounded size. Steps are done in slices, between which clients are served, and all
//! slices together take no larger share of the time than the configuration says. A cycle is private, but
//! for the marks: a new owner ends it and begins another. docs/defragmentation.md has the whole.

use shm::alloc::{Ending, Evacuation, Stats, Survey};
use shm::{Mover, field, table};

use super::{Executor, bump};
use crate::keyspace::relocate::{self, Keys, Position};
use crate::root::{Counters, Root};
use crate::util::time::monotonic_us;

/// Where the cycle stands.
#[derive(Debug, Default)]
pub struct Defrag {
    phase: Phase,
    /// When there may be another one, in milliseconds of the monotonic clock.
    next_ms: u64,
    /// Until the one after that; doubles while cycles win little.
    pause_ms: u64,
    /// Spans in use when the cycle began, in bytes.
    before: u64,
    /// Bytes wasted when the last cycle ended.
    left: u64,
    /// When the next slice is due, in microseconds of the monotonic clock.
    due_us: u64,
    /// Commands run when the last slice ended.
    commands: u64,
}

/// What commands know of the cycle, and ask of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort {
    /// The share of the time that the cycle under way takes, in percent; 0 if there is none.
    pub percent: u64,
    /// When it began, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// Whether `MEMORY PURGE` wants a cycle, whatever the configuration says.
    pub is_asked_for: bool,
    /// Whether the one under way is such.
    pub is_by_order: bool,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Rest,
    Join(u32, u64),
    Look(Box<Survey>),
    Mark(Box<Survey>),
    Move(u32, Position),
    End(Ending),
}

/// Spans that a step looks at.
const SPANS: u64 = 128;
/// Segments that a step joins.
const SEGMENTS: usize = 8;
/// Looks at blocks, or as much other work, that a step consists of.
const LOOKS: u64 = 512;
/// Microseconds after which a slice begins no further step, while clients are served and while there are none.
const SLICE_US: [u64; 2] = [200, 500];
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

/// Bytes in spans in use that are in no block.
fn wasted(stats: &Stats) -> u64 {
    stats.spans.saturating_sub(stats.used)
}

impl Executor {
    /// When [`defragment`](Executor::defragment) has something to do, in microseconds of the monotonic clock; `None` while
    /// no cycle is under way.
    pub fn defragment_due_us(&self) -> Option<u64> {
        let defrag = &self.background.defrag;
        defrag.is_running().then_some(defrag.due_us)
    }

    /// Begins a cycle if there is much to win, and judges how much time the one under way may take.
    pub(super) fn consider_defragmenting(&mut self) {
        let stats = self.arena.stats();
        if self.background.defrag.is_running() || self.begin_defragmenting(&stats) {
            let effort = self.defragmenting_effort(&stats);
            let known = &mut self.state.defrag;
            // What is won makes the rest no less worth it.
            known.percent = known.percent.max(effort);
        }
    }

    /// The share of the time for so much waste, in percent: from `active-defrag-cycle-min` at the lower threshold
    /// to `active-defrag-cycle-max` at the upper one, and from there on.
    fn defragmenting_effort(&self, stats: &Stats) -> u64 {
        let config = &self.state.config;
        let (least, most) = (config.active_defrag_cycle_min(), config.active_defrag_cycle_max());
        let lower = config.active_defrag_threshold_lower();
        let range = config.active_defrag_threshold_upper().saturating_sub(lower).max(1);
        let over = (wasted(stats) / (stats.used / 100).max(1)).saturating_sub(lower).min(range);
        (least + most.saturating_sub(least) * over / range).clamp(1, 99)
    }

    fn begin_defragmenting(&mut self, stats: &Stats) -> bool {
        let now = monotonic_us();
        let config = &self.state.config;
        let waste = wasted(stats);
        let much = waste >= config.active_defrag_ignore_bytes()
            && waste / (stats.used / 100).max(1) >= config.active_defrag_threshold_lower();
        let defrag = &mut self.background.defrag;
        // A pause is for what could not be won: not for what has come to it.
        let again = now / 1_000 >= defrag.next_ms || waste > defrag.left + defrag.left / 4;
        let is_asked_for = self.state.defrag.is_asked_for;
        // Another owner has left that.
        let is_left = self.arena.evacuating() > 0;
        defrag.phase = if is_left {
            Phase::End(Ending::default())
        } else if is_asked_for || config.activedefrag() && much && again {
            Phase::Join(0, 0)
        } else {
            return false;
        };
        (defrag.before, defrag.due_us) = (stats.spans, now);
        self.state.defrag = Effort {
            percent: 0,
            since_us: now,
            is_asked_for: is_asked_for && is_left,
            is_by_order: is_asked_for && !is_left,
        };
        true
    }

    /// Cycles that win little become rare.
    fn end_defragmenting(&mut self) {
        let (stats, now) = (self.arena.stats(), monotonic_us());
        let defrag = &mut self.background.defrag;
        let little = defrag.before.saturating_sub(stats.spans) < defrag.before / 50;
        defrag.pause_ms =
            if little { (defrag.pause_ms * 2).clamp(PAUSE_MS, LONGEST_PAUSE_MS) } else { PAUSE_MS };
        defrag.next_ms = now / 1_000 + defrag.pause_ms;
        defrag.left = wasted(&stats);
        let took = now.saturating_sub(self.state.defrag.since_us);
        let counter = field!(field!(self.root, Root.counters), Counters.defrag_us);
        bump(&mut self.arena, counter, took);
        let is_asked_for = self.state.defrag.is_asked_for;
        self.state.defrag = Effort { is_asked_for, ..Effort::default() };
    }

    /// Goes on with the cycle for a slice of time, if there is one and its time has come.
    pub fn defragment(&mut self) {
        let Some(due) = self.defragment_due_us() else { return };
        let now = monotonic_us();
        if now >= due {
            self.defragment_slice(now);
        }
    }

    pub(super) fn defragment_slice(&mut self, start: u64) {
        let commands = self.arena.get(self.root).counters.commands.get().to_native();
        let is_idle = commands == self.background.defrag.commands;
        self.background.defrag.commands = commands;
        let mut now = start;
        while now - start < SLICE_US[usize::from(is_idle)] {
            let phase = std::mem::take(&mut self.background.defrag.phase);
            self.background.defrag.phase = self.defragment_step(phase);
            if !self.background.defrag.is_running() {
                return self.end_defragmenting();
            }
            now = monotonic_us();
        }
        let most = self.state.config.active_defrag_cycle_max();
        let percent = if is_idle { most } else { self.state.defrag.percent }.clamp(1, 99);
        self.background.defrag.due_us = now + (now - start) * (100 - percent) / percent;
    }

    fn defragment_step(&mut self, phase: Phase) -> Phase {
        let is_wanted = self.state.config.activedefrag() || self.state.defrag.is_by_order;
        // Whoever asks for memory has more need of what is free in marked spans.
        let stops = self.arena.take_shortage() || !is_wanted;
        match phase {
            Phase::Rest => Phase::Rest,
            Phase::Join(..) | Phase::Look(_) if stops => Phase::Rest,
            Phase::Join(database, hash) => self.join_segments(database, hash),
            Phase::Look(mut survey) => match survey.look(&self.arena, SPANS) {
                Evacuation::More => Phase::Look(survey),
                Evacuation::Done if survey.won() == 0 => Phase::Rest,
                Evacuation::Done => {
                    let stats = self.arena.stats();
                    let room = self.arena.cap().saturating_sub(stats.heap) + stats.spare;
                    // The rest is for whoever is served meanwhile.
                    survey.limit(room / 4 * 3);
                    Phase::Mark(survey)
                }
            },
            Phase::Mark(_) | Phase::Move { .. } if stops => Phase::End(Ending::default()),
            Phase::Mark(mut survey) => match survey.mark(&mut self.arena, SPANS) {
                Ok(Evacuation::More) => Phase::Mark(survey),
                Ok(Evacuation::Done) => Phase::Move(0, Position::default()),
                Err(_) => Phase::End(Ending::default()),
            },
            Phase::Move(database, position) => self.move_blocks(database, position, LOOKS),
            Phase::End(mut ending) => match ending.step(&mut self.arena, SPANS) {
                Ok(Evacuation::Done) => Phase::Rest,
                // Without memory for the log it is tried again.
                Ok(Evacuation::More) | Err(_) => Phase::End(ending),
            },
        }
    }

    /// Joins sparse segments of a database's table: there are as many as when it held more keys.
    fn join_segments(&mut self, index: u32, hash: u64) -> Phase {
        if index == self.arena.get(self.root).database_count.to_native() {
            return Phase::Look(Box::default());
        }
        let keys = self.keys(index);
        let next = self.arena.transact(|tx| {
            let mut next = Some(hash);
            for _ in 0..SEGMENTS {
                let Some(hash) = next else { break };
                next = table::shrink_step(tx, keys, hash)?;
            }
            Ok(next)
        });
        match next {
            Ok(Some(hash)) => Phase::Join(index, hash),
            // Without memory the next table may be a smaller one.
            Ok(None) | Err(_) => Phase::Join(index + 1, 0),
        }
    }

    fn move_blocks(&mut self, index: u32, mut position: Position, looks: u64) -> Phase {
        if index == self.arena.get(self.root).database_count.to_native() {
            return Phase::End(Ending::default());
        }
        let database = crate::root::database(&self.arena, self.root, index);
        let (mut mover, mut keys) = (Mover::new(looks), Keys::default());
        let done = self.arena.transact(|tx| {
            relocate::relocate_step(tx, database, &mut position, &mut mover, &mut keys)
        });
        let Ok(done) = done else { return Phase::End(Ending::default()) };
        let counters = field!(self.root, Root.counters);
        bump(&mut self.arena, field!(counters, Counters.defrag_hits), mover.moved);
        bump(&mut self.arena, field!(counters, Counters.defrag_misses), mover.kept);
        bump(&mut self.arena, field!(counters, Counters.defrag_key_hits), keys.moved);
        bump(&mut self.arena, field!(counters, Counters.defrag_key_misses), keys.kept);
        if done {
            Phase::Move(index + 1, Position::default())
        } else {
            Phase::Move(index, position)
        }
    }

    /// Begins a cycle that empties every span with a free block, for tests.
    #[cfg(test)]
    pub(super) fn defragment_all(&mut self) {
        let mut survey = Survey::of_all();
        while survey.look(&self.arena, SPANS) == Evacuation::More {}
        self.background.defrag.phase = Phase::Mark(Box::new(survey));
        self.state.defrag.is_by_order = true;
    }

    /// Goes on with a cycle for one step of so much work, for tests.
    #[cfg(test)]
    pub(super) fn defragment_little(&mut self, looks: u64) {
        let phase = std::mem::take(&mut self.background.defrag.phase);
        self.background.defrag.phase = match phase {
            Phase::Move(database, position) => self.move_blocks(database, position, looks),
            other => self.defragment_step(other),
        };
    }
}
