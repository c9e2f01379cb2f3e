//! The crash test: a process is stopped after every single machine store that reaches the arena,
//! and what it leaves behind is recovered and compared with the state before and after.
//!
//! A child runs random transactions one instruction at a time. After each instruction that changed
//! the arena, a copy is taken and recovered; then the checker must be content, and what the arena
//! holds must be just what the model says for the number of transactions that the payload names,
//! which is the number before or the number after. Now and then the recovery itself is stepped
//! through in the same way, cut off at each store, and repeated.
//!
//! A fixed share runs with `cargo test`. `HOTREDIS_CRASH_SECONDS=3600` goes on with further seeds
//! for that time; `HOTREDIS_CRASH_ALL=1` recovers also within bulk copies, where otherwise only some
//! stops are recovered.

#[path = "../common/world.rs"]
mod world;

mod step;

use std::time::{Duration, Instant};

use shm::{Arena, Options};
use step::{Child, Shadow};
use world::{Model, Op, Random};

/// Of the stops within one ascending bulk copy, the share that is recovered is one in so many.
const BULK: u64 = 64;
/// One stop in so many has its recovery stepped through.
const NESTED: u64 = 400;

fn options() -> Options {
    Options { reserve: 0, ..Options::default() }
}

#[derive(Debug, Default)]
struct Stats {
    instructions: u64,
    stops: u64,
    recoveries: u64,
    nested: u64,
}

struct Run {
    states: Vec<Model>,
    copy: Arena,
    recovering: Arena,
    stats: Stats,
    /// Transactions known to be committed.
    committed: u64,
    all: bool,
}

/// Which state an arena comes to when it is recovered.
fn recovered(copy: &mut Arena, states: &[Model]) -> Result<u64, String> {
    copy.recover();
    let [number, inverse, _, _] = copy.payload();
    if inverse != !number {
        return Err(format!("the payload is torn: {number:#x}, {inverse:#x}"));
    }
    let found = world::read(copy).map_err(|why| format!("state {number}: {why}"))?;
    let expected = states.get(number as usize).ok_or(format!("there is no state {number}"))?;
    if found != *expected {
        return Err(format!("the payload says state {number}, but the arena holds another one"));
    }
    Ok(number)
}

impl Run {
    fn stop(&mut self, shadow: &Shadow) -> Result<(), String> {
        shadow.write_to(&mut self.copy);
        let number = recovered(&mut self.copy, &self.states)?;
        self.stats.recoveries += 1;
        if number != self.committed && number != self.committed + 1 {
            return Err(format!("state {number} after {} commits", self.committed));
        }
        self.committed = number;
        if self.stats.recoveries % NESTED == 1 {
            self.step_through_recovery(shadow, number)?;
        }
        Ok(())
    }

    /// Cuts the recovery itself off after each store and repeats it.
    fn step_through_recovery(&mut self, shadow: &Shadow, number: u64) -> Result<(), String> {
        shadow.write_to(&mut self.recovering);
        let mut seen = Shadow::of(&self.recovering);
        let child = Child::start(|| self.recovering.recover());
        while child.step()? {
            self.stats.instructions += 1;
            if seen.difference(&self.recovering).is_none() {
                continue;
            }
            seen = Shadow::of(&self.recovering);
            self.stats.nested += 1;
            seen.write_to(&mut self.copy);
            let again = recovered(&mut self.copy, &self.states)?;
            if again != number {
                return Err(format!("recovery came to {number}, and cut off to {again}"));
            }
        }
        Ok(())
    }
}

/// Steps through a sequence of transactions; an error describes the first violation.
fn step_through(ops: &[Op]) -> Result<Stats, String> {
    let mut reference = world::new_world(&options());
    let mut model = Model::default();
    let mut states = vec![model.clone()];
    reference.begin().commit(&[0, !0, 0, 0]);
    for (i, op) in ops.iter().enumerate() {
        world::run(&mut reference, op, i as u64 + 1, Some(&mut model))
            .map_err(|e| e.to_string())?;
        states.push(model.clone());
    }
    let mut arena = world::new_world(&options());
    arena.begin().commit(&[0, !0, 0, 0]);
    let mut run = Run {
        states,
        copy: Arena::create(&options()).unwrap().0,
        recovering: Arena::create(&options()).unwrap().0,
        stats: Stats::default(),
        committed: 0,
        all: std::env::var_os("HOTREDIS_CRASH_ALL").is_some(),
    };
    let mut shadow = Shadow::of(&arena);
    let child = Child::start(|| {
        for (i, op) in ops.iter().enumerate() {
            world::run(&mut arena, op, i as u64 + 1, None).expect("room");
        }
    });
    let (mut last, mut bulk) = (0, 0);
    while child.step()? {
        run.stats.instructions += 1;
        let Some(at) = shadow.difference(&arena) else { continue };
        run.stats.stops += 1;
        shadow = Shadow::of(&arena);
        // A store just behind the last one is one of a copy into a block.
        bulk = if at > last && at - last <= 64 && at > shm::layout::HEAP { bulk + 1 } else { 0 };
        last = at;
        if bulk % BULK < 2 || run.all {
            run.stop(&shadow)?;
        }
    }
    run.stop(&shadow)?;
    if run.committed != ops.len() as u64 {
        return Err(format!("{} of {} transactions committed", run.committed, ops.len()));
    }
    Ok(run.stats)
}

fn random_ops(seed: u64) -> Vec<Op> {
    let mut random = Random(seed);
    // Most runs are of small contents: a large one takes tens of thousands of stores.
    let large = if seed.is_multiple_of(4) { 9_000 } else { 300 };
    (0..16).map(|_| world::random_op(&mut random, large, 0)).collect()
}

fn run_seeds(seeds: impl Iterator<Item = u64>, end: Option<Instant>) {
    for seed in seeds {
        let begun = Instant::now();
        match step_through(&random_ops(seed)) {
            Ok(stats) => println!("seed {seed}: {stats:?} in {:?}", begun.elapsed()),
            Err(why) => panic!("seed {seed}: {why}"),
        }
        if end.is_some_and(|end| Instant::now() > end) {
            break;
        }
    }
}

#[test]
fn every_store_leaves_the_state_before_or_after() {
    run_seeds(1..=6, None);
    if let Some(seconds) = std::env::var("HOTREDIS_CRASH_SECONDS").ok().and_then(|s| s.parse().ok())
    {
        run_seeds(1000.., Some(Instant::now() + Duration::from_secs(seconds)));
    }
}

#[test]
fn a_store_before_its_log_entry_is_detected() {
    let ops = [Op::SetWord { index: 0, value: 5 }, Op::Broken];
    let why = step_through(&ops).expect_err("a broken transaction passed");
    assert!(why.contains("holds another one"), "{why}");
}
