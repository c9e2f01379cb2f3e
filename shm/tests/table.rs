//! The hash table against a plain map: growth, shrinking, scans, crowded buckets.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shm::check::{Checker, mark_table};
use shm::table::{self, Drained, Table};
use shm::{Arena, Off, Options, OutOfMemory, U64, View};

fn runner(cases: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A table whose entries are blocks that hold a number, and the hash of each number.
struct Numbers {
    arena: Arena,
    table: Off<Table>,
    hash: fn(u64) -> u64,
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (n ^ n >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}

/// Two home buckets, and the top bits of a good hash: segments overflow early.
fn crowded(n: u64) -> u64 {
    mixed(n) & !0xffff_ffff | (n & 1) << 31
}

/// Few different hashes at all: up to a handful of numbers share one.
fn equal(n: u64) -> u64 {
    crowded(n % 40)
}

impl Numbers {
    fn new(hash: fn(u64) -> u64) -> Numbers {
        let options = Options { reserve: 0, ..Options::default() };
        let mut arena = Arena::create(&options).unwrap().0;
        let table = arena.transact(|tx| tx.alloc_record(Table::EMPTY)).unwrap();
        Numbers { arena, table, hash }
    }

    fn find(&self, n: u64) -> Option<table::Place> {
        table::find(&self.arena, self.table, (self.hash)(n), |v, e| read(v, e) == n)
    }

    fn insert(&mut self, n: u64) -> Result<(), OutOfMemory> {
        let (table, hash) = (self.table, (self.hash)(n));
        self.arena.transact(|tx| {
            let entry = tx.alloc_record(U64::from_native(n))?;
            table::insert(tx, table, hash, entry.cast())
        })
    }

    fn replace(&mut self, n: u64) {
        let place = self.find(n).unwrap();
        self.arena
            .transact(|tx| {
                let entry = tx.alloc_record(U64::from_native(n))?;
                table::replace(tx, &place, entry.cast())?;
                tx.free(place.entry)
            })
            .unwrap();
    }

    fn remove(&mut self, n: u64) {
        let (table, place) = (self.table, self.find(n).unwrap());
        self.arena
            .transact(|tx| {
                table::remove(tx, table, &place)?;
                tx.free(place.entry)
            })
            .unwrap();
    }

    /// Joins what can be joined, through the whole table.
    fn shrink(&mut self) {
        let table = self.table;
        let mut hash = 0;
        while let Some(next) =
            self.arena.transact(|tx| table::shrink_step(tx, table, hash)).unwrap()
        {
            hash = next;
        }
    }

    fn check(&self, numbers: &BTreeMap<u64, ()>) {
        let mut checker = Checker::new(&self.arena);
        checker.mark(self.table, size_of::<Table>() as u64, "table");
        let mut found = BTreeMap::new();
        mark_table(&mut checker, self.table, "table", |checker, entry| {
            if checker.mark(entry, 8, "entry") {
                found.insert(read(checker.view(), entry), ());
            }
        });
        let report = checker.finish();
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(found, *numbers);
        assert_eq!(table::len(&self.arena, self.table), numbers.len() as u64);
    }

    fn depth(&self) -> u32 {
        self.arena.get(self.table).depth.get().to_native()
    }
}

fn read(view: &View, entry: Off<u8>) -> u64 {
    view.read(entry.cast::<U64>()).to_native()
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64),
    Replace(usize),
    Remove(usize),
    RemoveMany(usize),
    Shrink,
    /// One step of the scan that runs beside everything.
    Scan(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..2_000u64).prop_map(Step::Insert),
        1 => any::<usize>().prop_map(Step::Replace),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => (10..200usize).prop_map(Step::RemoveMany),
        1 => Just(Step::Shrink),
        4 => (1..60u8).prop_map(Step::Scan),
    ]
}

/// A scan under way: what was there all the time must have been seen at its end.
#[derive(Default)]
struct Watch {
    cursor: u64,
    seen: HashSet<u64>,
    all_along: HashSet<u64>,
    running: bool,
}

impl Watch {
    fn step(&mut self, numbers: &Numbers, now: &BTreeMap<u64, ()>) {
        if !self.running {
            let all_along = now.keys().copied().collect();
            *self = Watch { all_along, running: true, ..Watch::default() };
        }
        let step = table::scan_step(&numbers.arena, numbers.table, self.cursor, |view, entry| {
            self.seen.insert(read(view, entry));
        });
        self.cursor = step.cursor;
        if self.cursor == 0 {
            self.running = false;
            let missed: Vec<_> = self.all_along.difference(&self.seen).collect();
            assert!(missed.is_empty(), "the scan missed {missed:?}");
        }
    }
}

fn compare(hash: fn(u64) -> u64, steps: &[Step]) {
    let mut numbers = Numbers::new(hash);
    let mut model = BTreeMap::new();
    let mut watch = Watch::default();
    for step in steps {
        match step {
            Step::Insert(n) if model.contains_key(n) => assert!(numbers.find(*n).is_some()),
            Step::Insert(n) => {
                assert!(numbers.find(*n).is_none());
                numbers.insert(*n).unwrap();
                model.insert(*n, ());
            }
            Step::Replace(which) if !model.is_empty() => {
                numbers.replace(*model.keys().nth(which % model.len()).unwrap());
            }
            Step::Remove(which) if !model.is_empty() => {
                let n = *model.keys().nth(which % model.len()).unwrap();
                numbers.remove(n);
                model.remove(&n);
                watch.all_along.remove(&n);
            }
            Step::RemoveMany(count) => {
                for n in model.keys().copied().take(*count).collect::<Vec<_>>() {
                    numbers.remove(n);
                    model.remove(&n);
                    watch.all_along.remove(&n);
                }
            }
            Step::Shrink => numbers.shrink(),
            Step::Scan(times) => (0..*times).for_each(|_| watch.step(&numbers, &model)),
            _ => {}
        }
    }
    numbers.check(&model);
    model.keys().for_each(|n| assert!(numbers.find(*n).is_some()));
    while watch.running {
        watch.step(&numbers, &model);
    }
}

#[test]
fn a_table_is_a_map() {
    let steps = prop::collection::vec(step(), 1..600);
    for (cases, hash) in [(60, mixed as fn(u64) -> u64), (150, crowded)] {
        runner(cases)
            .run(&steps, |steps| {
                compare(hash, &steps);
                Ok(())
            })
            .unwrap();
    }
}

/// More equal hashes than neighbouring buckets hold: refused, and nothing is changed.
#[test]
fn too_many_equal_hashes_are_out_of_memory() {
    let mut numbers = Numbers::new(equal);
    let mut model = BTreeMap::new();
    for n in 0..40 * 10 {
        numbers.insert(n).unwrap();
        model.insert(n, ());
    }
    numbers.check(&model);
    let mut same = (0..).map(|i| i * 40).filter(|n| !model.contains_key(n)).take(100);
    let full = same.find(|n| numbers.insert(*n).is_err());
    assert!(full.is_some_and(|n| n <= 40 * 28), "{full:?}");
    let mut all = BTreeMap::new();
    table::for_each(&numbers.arena, numbers.table, |v, e| {
        all.insert(read(v, e), ());
    });
    numbers.check(&all);
    assert!(model.keys().all(|n| all.contains_key(n)));
    numbers.remove(40);
    numbers.insert(40).unwrap();
}

/// A table that was large and is empty has no memory, and none is needed on the way for what is
/// gone.
#[test]
fn an_emptied_table_shrinks_to_nothing() {
    let mut numbers = Numbers::new(mixed);
    let mut model = BTreeMap::new();
    for n in 0..60_000 {
        numbers.insert(n).unwrap();
        model.insert(n, ());
    }
    let grown = numbers.depth();
    assert!(grown >= 7);
    for n in 0..60_000 {
        numbers.remove(n);
        model.remove(&n);
        if n % 9_999 == 0 {
            numbers.shrink();
            numbers.check(&model);
        }
    }
    while numbers.depth() > 0 {
        let before = numbers.depth();
        numbers.shrink();
        assert!(numbers.depth() < before, "stuck at {before}");
    }
    numbers.shrink();
    numbers.check(&model);
    assert!(numbers.arena.get(numbers.table).directory.get().is_null());
    numbers.insert(5).unwrap();
    assert!(numbers.find(5).is_some());
}

/// Each step of taking a table apart is bounded, also through segments that are empty already.
#[test]
fn draining_takes_small_steps() {
    let mut numbers = Numbers::new(mixed);
    (0..30_000).for_each(|n| numbers.insert(n).unwrap());
    (0..29_000).for_each(|n| numbers.remove(n));
    let (table, mut drained, mut steps) = (numbers.table, BTreeMap::new(), 0);
    loop {
        let mut now = 0;
        let frees = |arena: &Arena| arena.used_bytes();
        let before = frees(&numbers.arena);
        let step = numbers.arena.transact(|tx| {
            table::drain_step(tx, table, 10, |tx, entry| {
                now += 1;
                assert!(drained.insert(read(tx, entry), ()).is_none());
                tx.free(entry)
            })
        });
        assert!(now <= 10 && before - frees(&numbers.arena) <= 11 * (table::SEGMENT_BYTES + 4096));
        steps += 1;
        let mut checker = Checker::new(&numbers.arena);
        checker.mark(table, size_of::<Table>() as u64, "table");
        mark_table(&mut checker, table, "table", |c, e| {
            c.mark(e, 8, "entry");
        });
        let report = checker.finish();
        assert!(report.is_clean(), "{:?}", report.findings);
        if step.unwrap() == Drained::All {
            break;
        }
    }
    assert_eq!(drained.len(), 1_000);
    assert!(steps > 100);
}

#[test]
fn every_entry_can_be_drawn_at_random() {
    for (entries, gone) in [(1u64, 0u64), (300, 0), (3_000, 2_990)] {
        let mut numbers = Numbers::new(mixed);
        (0..entries).for_each(|n| numbers.insert(n).unwrap());
        (0..gone).for_each(|n| numbers.remove(n));
        let mut state = 1u64;
        let mut drawn: HashMap<u64, u64> = HashMap::new();
        for _ in 0..(entries - gone) * 60 {
            let random = || {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                mixed(state)
            };
            let entry = table::random_entry(&numbers.arena, numbers.table, random).unwrap();
            *drawn.entry(read(&numbers.arena, entry)).or_default() += 1;
        }
        assert_eq!(drawn.len() as u64, entries - gone, "some were never drawn");
        assert!(drawn.keys().all(|n| *n >= gone && *n < entries));
    }
    let empty = Numbers::new(mixed);
    assert!(table::random_entry(&empty.arena, empty.table, || 1).is_none());
}

/// In a table whose segments differ in depth, so differ in how likely a random hash is to hit them.
#[test]
fn every_entry_is_drawn_as_often() {
    const EACH: u64 = 300;
    let mut numbers = Numbers::new(mixed);
    let mut entries = 0;
    loop {
        numbers.insert(entries).unwrap();
        entries += 1;
        let mut depths = HashSet::new();
        table::segments(&numbers.arena, numbers.table, |_, _, depth| {
            depths.insert(depth);
        });
        if entries > 500 && depths.len() > 1 {
            break;
        }
    }
    let mut state = 1u64;
    let mut drawn = vec![0u64; entries as usize];
    for _ in 0..entries * EACH {
        let random = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed(state)
        };
        let entry = table::random_entry(&numbers.arena, numbers.table, random).unwrap();
        drawn[read(&numbers.arena, entry) as usize] += 1;
    }
    let expected = EACH as f64;
    let deviation: f64 = drawn.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
    // Chi-square with so many degrees of freedom: six standard deviations above what it is in the mean.
    let freedom = entries as f64 - 1.0;
    let limit = freedom + 6.0 * (2.0 * freedom).sqrt();
    assert!(deviation < limit, "chi-square is {deviation}, at most {limit} is credible");
}

#[test]
fn a_copy_has_entries_of_its_own() {
    for entries in [0, 1, 300, 5_000] {
        let mut numbers = Numbers::new(mixed);
        (0..entries).for_each(|n| numbers.insert(n).unwrap());
        let (table, hash) = (numbers.table, numbers.hash);
        let copied = numbers.arena.transact(|tx| {
            let copied = table::copy(tx, table, |tx, block| {
                let n = tx.read(block.cast::<U64>());
                Ok(tx.alloc_record(n)?.cast())
            })?;
            // So that the original's blocks, which the checker would miss, are gone.
            while table::drain_step(tx, table, 100, |tx, block| tx.free(block))? == Drained::More {}
            tx.free(table)?;
            tx.alloc_record(copied)
        });
        let copied = Numbers { arena: numbers.arena, table: copied.unwrap(), hash };
        copied.check(&(0..entries).map(|n| (n, ())).collect());
        (0..entries).for_each(|n| assert!(copied.find(n).is_some()));
    }
}

/// A table built of so many numbers; nothing if that cannot be.
fn built(count: u64, hash: fn(u64) -> u64) -> Option<(Numbers, u64)> {
    let mut numbers = Numbers::new(hash);
    let mut tx = numbers.arena.begin();
    let mut entries = Vec::new();
    for n in 0..count {
        entries.push((hash(n), tx.alloc_record(U64::from_native(n)).unwrap().cast()));
    }
    let table = table::build(&mut tx, &mut entries).ok()?;
    tx.set(numbers.table.cast::<shm::Slot<Table>>(), table).unwrap();
    let logged = tx.logged_bytes();
    tx.commit(&[0; 4]);
    Some((numbers, logged))
}

#[test]
fn a_built_table_is_as_one_that_was_filled() {
    for (hash, counts) in [
        (mixed as fn(u64) -> u64, &[0, 1, 7, 300, 434, 500, 5_000, 60_000][..]),
        (crowded, &[1, 40, 60, 300, 2_000]),
    ] {
        for &count in counts {
            let (mut numbers, logged) = built(count, hash).unwrap();
            let mut model: BTreeMap<u64, ()> = (0..count).map(|n| (n, ())).collect();
            numbers.check(&model);
            assert!((0..count).all(|n| numbers.find(n).is_some()));
            // Words of the allocator, above all.
            assert!(logged < 10_000 + count * 8, "{logged} bytes for {count} entries");
            let mut filled = Numbers::new(hash);
            (0..count).for_each(|n| filled.insert(n).unwrap());
            let memory = |numbers: &Numbers| table::memory(&numbers.arena, numbers.table, 0);
            assert!(memory(&numbers) <= memory(&filled) * 11 / 10);
            for n in count..count * 2 + 100 {
                numbers.insert(n).unwrap();
                model.insert(n, ());
            }
            for n in 0..count {
                numbers.remove(n);
                model.remove(&n);
            }
            numbers.shrink();
            numbers.check(&model);
        }
    }
    assert!(built(10_000, equal).is_none(), "more than can be in a segment");
}

#[test]
fn memory_is_judged_by_some_segments() {
    let mut numbers = Numbers::new(mixed);
    for n in 0..300_000 {
        numbers.insert(n).unwrap();
        if n % 50_000 == 49_999 {
            let exact = table::memory(&numbers.arena, numbers.table, 0) as f64;
            let judged = table::memory(&numbers.arena, numbers.table, 5) as f64;
            assert!((judged / exact - 1.0).abs() < 0.1, "{judged} for {exact}");
        }
    }
    let used = numbers.arena.used_bytes();
    let others = 300_000 * 16 + 24;
    let exact = table::memory(&numbers.arena, numbers.table, 0);
    // A large block counts with its header there.
    assert!(used - others - exact <= 64, "{exact} of {}", used - others);
}

/// Any number is accepted as a cursor.
#[test]
fn a_scan_from_anywhere_ends() {
    let mut numbers = Numbers::new(mixed);
    (0..5_000).for_each(|n| numbers.insert(n).unwrap());
    for start in [1, 77 << 40, u64::MAX, 61 << 40 | 0xff_ffff_ffff, 62 << 40, 0x1234_5678_9abc_def0]
    {
        let (mut cursor, mut steps) = (start, 0);
        loop {
            cursor = table::scan_step(&numbers.arena, numbers.table, cursor, |_, _| {}).cursor;
            steps += 1;
            if cursor == 0 {
                break;
            }
            assert!(steps < 100_000);
        }
    }
}

#[test]
#[should_panic(expected = "the table has changed since")]
fn a_place_is_not_used_twice() {
    let mut numbers = Numbers::new(mixed);
    numbers.insert(1).unwrap();
    let (table, place) = (numbers.table, numbers.find(1).unwrap());
    let _ = numbers.arena.transact(|tx| table::remove(tx, table, &place));
    let _ = numbers.arena.transact(|tx| table::remove(tx, table, &place));
}
