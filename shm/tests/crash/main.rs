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

mod containers;
mod step;

use std::time::{Duration, Instant};

use shm::{Arena, Options};
use step::{Child, Shadow};
use world::{Model, Op, Part, Random, Shape};

/// Of the stops within one ascending bulk copy, the share that is recovered is one in so many.
const BULK: u64 = 64;
/// One stop in so many has its recovery stepped through,
const NESTED: u64 = 400;
/// and one in so many of those amid frees.
const NESTED_FREEING: u64 = 32;

fn options() -> Options {
    Options { reserve: 0, ..Options::default() }
}

#[derive(Debug, Default)]
struct Stats {
    instructions: u64,
    stops: u64,
    recoveries: u64,
    nested: u64,
    /// What shape the world has after each transaction.
    shapes: Vec<Shape>,
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
        let nested = if shadow.is_freeing() { NESTED_FREEING } else { NESTED };
        if self.stats.recoveries % nested == nested / 4 {
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

/// Does the operations of `setup` at full speed, then steps through those of `ops`; an error
/// describes the first violation.
fn step_through(setup: &[Op], ops: &[Op]) -> Result<Stats, String> {
    let mut reference = world::new_world(&options());
    let mut arena = world::new_world(&options());
    let mut model = Model::default();
    for op in setup {
        world::run(&mut reference, op, 0, Some(&mut model)).map_err(|e| e.to_string())?;
        world::run(&mut arena, op, 0, None).map_err(|e| e.to_string())?;
    }
    arena.begin().commit(&[0, !0, 0, 0]);
    let (mut states, mut shapes) = (vec![model.clone()], vec![world::shape(&reference)]);
    for (i, op) in ops.iter().enumerate() {
        world::run(&mut reference, op, i as u64 + 1, Some(&mut model))
            .map_err(|e| e.to_string())?;
        states.push(model.clone());
        shapes.push(world::shape(&reference));
    }
    let mut run = Run {
        states,
        copy: Arena::create(&options()).unwrap().0,
        recovering: Arena::create(&options()).unwrap().0,
        stats: Stats { shapes, ..Stats::default() },
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

/// Random operations to begin with, and some to be stepped through.
fn random_ops(seed: u64) -> (Vec<Op>, Vec<Op>) {
    let mut random = Random(seed);
    let setup = (0..seed % 3 * 20).map(|_| world::random_op(&mut random, 20_000, 0)).collect();
    // Most runs are of small contents: a large one takes tens of thousands of stores.
    let large = if seed.is_multiple_of(4) { 9_000 } else { 300 };
    (setup, (0..12).map(|_| world::random_op(&mut random, large, 0)).collect())
}

/// Everything once that random operations come to seldom: segments that split and double the
/// directory, and that join and cut it; a table taken apart; a blob that becomes one of parts; spans
/// given back, punched, and filled again; a large block.
fn rare_ops() -> (Vec<Op>, Vec<Op>) {
    let put = |key: u64, room| Op::Put { key, value: vec![key as u8; 9], room };
    let mut setup: Vec<Op> = (0..44).map(|key| put(key, 0)).collect();
    setup.push(Op::Write { blob: 0, at: 16_000, content: vec![1; 300] });
    let mut ops = vec![Op::Several((44..62).map(|key| put(key, 0)).collect())];
    ops.push(Op::Several((5..62).map(|key| Op::Remove { key }).collect()));
    ops.extend((0..4).map(|_| Op::Shrink { hash: 0, steps: 20 }));
    ops.push(Op::Append { blob: 0, content: vec![2; 100] });
    ops.push(put(80, 100_000));
    ops.push(Op::Remove { key: 80 });
    ops.push(Op::Maintain);
    ops.push(Op::Several(vec![put(81, 60_000), Op::Failing(vec![put(82, 100_000)])]));
    ops.push(Op::Swing);
    ops.extend([Op::Drain { limit: 4 }, Op::Drain { limit: 40 }, Op::Clear { blob: 0, limit: 1 }]);
    (setup, ops)
}

/// Frees of blocks whose spans have several words of bitmap, in one batch: of a span that was full, of one that
/// becomes empty, of a large block, in any order.
fn batches_of_frees() -> (Vec<Op>, Vec<Op>) {
    let put = |key: u64, room: u64| Op::Put { key, value: vec![key as u8; 9], room };
    let several = |keys: &[u64]| Op::Several(keys.iter().map(|&key| Op::Remove { key }).collect());
    // A span holds 204 blocks of 320 bytes, and 3 of 21,792 bytes.
    let mut setup: Vec<Op> = (0..204).map(|key| put(key, 290)).collect();
    setup.extend((210..214).map(|key| put(key, 20_000)));
    setup.extend((220..222).map(|key| put(key, 100_000)));
    let ops = vec![
        several(&[3, 70, 140, 203]),
        Op::Several([3, 70, 140, 203].map(|key| put(key, 290)).to_vec()),
        several(&[5, 210, 75, 211, 145, 212, 220]),
        Op::Several([5, 75, 145].map(|key| put(key, 290)).to_vec()),
        several(&[221, 213, 201, 9, 10, 80, 81, 150, 11, 202]),
    ];
    (setup, ops)
}

/// The same at random: many blocks of a few sizes, most spans of which are full, are freed and made again.
fn random_frees(seed: u64) -> (Vec<Op>, Vec<Op>) {
    let mut random = Random(seed);
    let rooms = [290, 540, 980, 20_000, 30_000, 60_000];
    let mut put = |key: u64| {
        let room = rooms[if key < 214 { key % 2 } else { 2 + random.below(4) } as usize];
        Op::Put { key, value: vec![key as u8; 9], room }
    };
    let setup: Vec<Op> = (0..world::KEYS).map(&mut put).collect();
    let mut ops = Vec::new();
    for _ in 0..3 {
        let mut random = Random(seed ^ ops.len() as u64);
        let mut key =
            || if random.below(3) == 0 { 214 + random.below(26) } else { random.below(214) };
        let keys: Vec<u64> = (0..14).map(|_| key()).collect();
        ops.push(Op::Several(keys.iter().map(|&key| Op::Remove { key }).collect()));
        ops.push(Op::Several(keys.iter().map(|&key| put(key)).collect()));
    }
    (setup, ops)
}

/// Spans that are emptied: entries and segments are moved, spans given back, and marks taken off again.
fn evacuations() -> (Vec<Op>, Vec<Op>) {
    let put = |key: u64, room: u64| Op::Put { key, value: vec![key as u8; 9], room };
    let mut setup: Vec<Op> = (0..120).map(|key| put(key, 290)).collect();
    setup.extend((120..130).map(|key| put(key, 20_000)));
    setup.extend((0..120).filter(|key| key % 4 != 1).map(|key| Op::Remove { key }));
    setup.extend([121, 123, 124, 126, 129].map(|key| Op::Remove { key }));
    let mut ops = vec![Op::Evacuate(Part::Mark)];
    ops.push(Op::Several(vec![put(131, 290), Op::Remove { key: 5 }, put(132, 20_000)]));
    ops.extend([Op::Evacuate(Part::Move(7)), Op::Evacuate(Part::Mark), put(133, 290)]);
    ops.extend([Op::Evacuate(Part::End), Op::Evacuate(Part::Mark), Op::Evacuate(Part::Move(30))]);
    ops.push(Op::Several((0..60).map(|key| Op::Remove { key }).collect()));
    (setup, ops)
}

fn run_one(name: &str, (setup, ops): (Vec<Op>, Vec<Op>)) -> Stats {
    let begun = Instant::now();
    match step_through(&setup, &ops) {
        Ok(stats) => {
            println!("{name}: {stats:?} in {:?}", begun.elapsed());
            stats
        }
        Err(why) => panic!("{name}: {why}"),
    }
}

#[test]
fn every_store_leaves_the_state_before_or_after() {
    for seed in 2..=5 {
        run_one(&format!("seed {seed}"), random_ops(seed));
    }
    let seconds = std::env::var("HOTREDIS_CRASH_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    for seed in 1000.. {
        if Instant::now() >= end {
            break;
        }
        run_one(&format!("seed {seed}"), random_ops(seed));
        run_one(&format!("frees, seed {seed}"), random_frees(seed));
    }
}

#[test]
fn every_store_of_rare_operations_leaves_the_state_before_or_after() {
    let shapes = run_one("rare operations", rare_ops()).shapes;
    changes_both_ways(&shapes, |shape| shape.depth.into(), "the directory's depth");
}

#[test]
fn every_store_of_an_evacuation_leaves_the_state_as_it_was() {
    run_one("evacuations", evacuations());
}

#[test]
fn every_store_of_a_batch_of_frees_leaves_the_state_after() {
    run_one("batches of frees", batches_of_frees());
    run_one("frees, seed 1", random_frees(1));
}

/// Fails unless a number rose in one of the transactions and fell in another.
fn changes_both_ways(shapes: &[Shape], number: impl Fn(&Shape) -> u64, what: &str) {
    let numbers: Vec<u64> = shapes.iter().map(number).collect();
    assert!(numbers.windows(2).any(|n| n[0] < n[1]), "{what} never rose: {numbers:?}");
    assert!(numbers.windows(2).any(|n| n[0] > n[1]), "{what} never fell: {numbers:?}");
}

#[test]
fn a_store_before_its_log_entry_is_detected() {
    let ops = [Op::SetWord { index: 0, value: 5 }, Op::Broken];
    let why = step_through(&[], &ops).expect_err("a broken transaction passed");
    assert!(why.contains("holds another one"), "{why}");
}
