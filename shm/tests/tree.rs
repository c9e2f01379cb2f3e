//! The ordered tree against a sorted map: order, ranks, cursors, shape, memory, rollbacks.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shm::check::{Checker, mark_tree};
use shm::table::Drained;
use shm::tree::{self, Tree};
use shm::{Arena, Off, Options, OutOfMemory, Slot, Tx, U64, View};

fn runner(cases: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A pair of the model: sort key, then the number in the block, which decides among equal keys.
type Key = (u64, u64);

/// A tree whose items are blocks that hold a number.
struct Numbers {
    arena: Arena,
    tree: Off<Tree>,
    model: BTreeMap<Key, ()>,
}

fn number(view: &View, item: Off<u8>) -> u64 {
    view.read(item.cast::<U64>()).to_native()
}

fn compare(wanted: u64) -> impl Fn(&View, Off<u8>) -> Ordering {
    move |view, item| number(view, item).cmp(&wanted)
}

fn insert(tx: &mut Tx<'_>, tree: Off<Tree>, (sort, n): Key) -> Result<(), OutOfMemory> {
    let item = tx.alloc_record(U64::from_native(n))?;
    tree::insert(tx, tree, sort, item.cast(), compare(n))
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Key),
    /// So many pairs in a row: ascending from the end, descending from the front, or ascending from
    /// somewhere.
    Ascending(u64),
    Descending(u64),
    Run(u64, u64),
    /// Removes the pair of a rank, reduced to what is there.
    Remove(u64),
    RemoveRanks(u64, u64),
    /// Removes every pair whose number leaves such a rest, leaf by leaf.
    RemoveSome(u64, u64),
    /// Another sort key for the pair of a rank.
    Resort(u64, u64),
    /// Another block for the pair of a rank.
    Replace(u64),
    /// Steps of a transaction that are taken back to a savepoint in its midst.
    Failing(Vec<Step>),
}

fn step() -> impl Strategy<Value = Step> {
    let sort = prop_oneof![4 => 0..3000u64, 2 => 0..6u64, 1 => any::<u64>()];
    let simple = prop_oneof![
        8 => (sort.clone(), 0..500u64).prop_map(Step::Insert),
        2 => (1..200u64).prop_map(Step::Ascending),
        1 => (1..200u64).prop_map(Step::Descending),
        1 => (0..3000u64, 1..100u64).prop_map(|(at, count)| Step::Run(at, count)),
        6 => any::<u64>().prop_map(Step::Remove),
        2 => (any::<u64>(), 0..300u64).prop_map(|(at, count)| Step::RemoveRanks(at, count)),
        1 => (1..20u64, any::<u64>()).prop_map(|(by, rest)| Step::RemoveSome(by, rest % by)),
        3 => (any::<u64>(), sort).prop_map(|(rank, sort)| Step::Resort(rank, sort)),
        2 => any::<u64>().prop_map(Step::Replace),
    ];
    let failing = prop::collection::vec(simple.clone(), 1..8).prop_map(Step::Failing);
    prop_oneof![12 => simple, 1 => failing]
}

/// Does a step in a transaction and the model.
fn apply(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    model: &mut BTreeMap<Key, ()>,
    step: &Step,
) -> Result<(), OutOfMemory> {
    let len = model.len() as u64;
    let key_at = |model: &BTreeMap<Key, ()>, rank: u64| {
        (len > 0).then(|| *model.keys().nth((rank % len.max(1)) as usize).unwrap())
    };
    match step {
        Step::Insert(key) => add(tx, tree, model, *key)?,
        Step::Ascending(count) => {
            let from = model.keys().next_back().map_or(0, |key| key.0).saturating_add(1);
            for i in 0..*count {
                add(tx, tree, model, (from.saturating_add(i), i))?;
            }
        }
        Step::Descending(count) => {
            let from = model.keys().next().map_or(0, |key| key.0).saturating_sub(1);
            for i in 0..*count {
                add(tx, tree, model, (from.saturating_sub(i), i))?;
            }
        }
        Step::Run(at, count) => {
            for i in 0..*count {
                add(tx, tree, model, (*at, 1000 + i))?;
            }
        }
        Step::Remove(rank) => {
            let Some((sort, n)) = key_at(model, *rank) else { return Ok(()) };
            let item = tree::remove(tx, tree, sort, compare(n))?.expect("the pair is there");
            assert_eq!(number(tx, item), n);
            tx.free(item)?;
            model.remove(&(sort, n));
        }
        Step::RemoveRanks(at, count) => {
            let at = at % (len + 1);
            let keys: Vec<Key> =
                model.keys().skip(at as usize).take(*count as usize).copied().collect();
            let mut removed = Vec::new();
            tree::remove_ranks(tx, tree, at, *count, |tx, sort, item| {
                removed.push((sort, number(tx, item)));
                tx.free(item)
            })?;
            assert_eq!(removed, keys);
            for key in &keys {
                model.remove(key);
            }
        }
        Step::RemoveSome(by, rest) => {
            let goes = |n: u64| n % by == *rest;
            let mut gone = model.keys().copied().filter(|key| goes(key.1)).collect::<Vec<_>>();
            gone.reverse();
            while let Some(&(sort, n)) = gone.last() {
                let at = tree::find(tx, tree, sort, compare(n)).expect("the pair is there");
                let mut items = Vec::new();
                let mut walk = at;
                while let Some((_, item)) = walk.pair(tx) {
                    if goes(number(tx, item)) {
                        items.push(item);
                    }
                    walk.advance(tx);
                }
                let is_gone = |view: &View, item| goes(number(view, item));
                let removed = tree::remove_in_leaf(tx, tree, &at, is_gone)?;
                assert!(removed > 0);
                for item in &items[..removed] {
                    tx.free(*item)?;
                    model.remove(&gone.pop().expect("so many were to go"));
                }
            }
        }
        Step::Resort(rank, sort) => {
            let Some((old, n)) = key_at(model, *rank) else { return Ok(()) };
            if model.contains_key(&(*sort, n)) {
                return Ok(());
            }
            let at = tree::find(tx, tree, old, compare(n)).expect("the pair is there");
            tree::resort(tx, tree, &at, *sort, compare(n))?;
            model.remove(&(old, n));
            model.insert((*sort, n), ());
        }
        Step::Replace(rank) => {
            let Some((sort, n)) = key_at(model, *rank) else { return Ok(()) };
            let at = tree::find(tx, tree, sort, compare(n)).expect("the pair is there");
            let (_, item) = at.pair(tx).unwrap();
            let other = tx.alloc_record(U64::from_native(n))?;
            tree::replace(tx, tree, &at, sort, other.cast())?;
            tx.free(item)?;
        }
        Step::Failing(steps) => {
            let point = tx.savepoint();
            let mut forgotten = model.clone();
            for step in steps {
                apply(tx, tree, &mut forgotten, step)?;
            }
            tx.rollback_to(point);
        }
    }
    Ok(())
}

fn add(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    model: &mut BTreeMap<Key, ()>,
    key: Key,
) -> Result<(), OutOfMemory> {
    if model.insert(key, ()).is_none() { insert(tx, tree, key) } else { Ok(()) }
}

impl Numbers {
    fn new() -> Numbers {
        let options = Options { reserve: 0, ..Options::default() };
        let mut arena = Arena::create(&options).unwrap().0;
        let tree = arena.transact(|tx| tx.alloc_record(Tree::EMPTY)).unwrap();
        Numbers { arena, tree, model: BTreeMap::new() }
    }

    fn run(&mut self, step: &Step) {
        let (tree, model) = (self.tree, &mut self.model);
        self.arena.transact(|tx| apply(tx, tree, model, step)).unwrap();
    }

    /// Does steps in a transaction that is not committed.
    fn abandon(&mut self, steps: &[Step]) {
        let mut forgotten = self.model.clone();
        let mut tx = self.arena.begin();
        for step in steps {
            apply(&mut tx, self.tree, &mut forgotten, step).unwrap();
        }
    }

    fn height(&self) -> u64 {
        self.arena.get(self.tree).height.get().to_native()
    }

    /// Has the checker look at the whole arena, and compares with the model.
    fn check(&self) {
        let mut checker = Checker::new(&self.arena);
        checker.mark(self.tree, size_of::<Tree>() as u64, "tree");
        let mut found = Vec::new();
        let order = |view: &View, a, b| number(view, a).cmp(&number(view, b));
        mark_tree(&mut checker, self.tree, "tree", order, |checker, sort, item| {
            let readable = checker.mark(item, 8, "item");
            found.push((sort, number(checker.view(), item)));
            readable
        });
        let report = checker.finish();
        assert!(report.is_clean(), "{:?}", report.findings);
        assert!(found.iter().eq(self.model.keys()), "the tree does not hold what the model holds");
        assert_eq!(tree::len(&self.arena, self.tree), self.model.len() as u64);
        let own = size_of::<Tree>() as u64 + 16 * self.model.len() as u64;
        let used: u64 = self.arena.class_usage().iter().map(|it| it.size * it.live).sum();
        assert_eq!(used - own, tree::memory(&self.arena, self.tree, 0));
    }

    /// Compares look-ups of all kinds with the model, around a few keys.
    fn check_lookups(&self, probes: &[Key]) {
        let (view, tree): (&View, _) = (&self.arena, self.tree);
        let keys: Vec<Key> = self.model.keys().copied().collect();
        let read = |at: &tree::Cursor| at.pair(view).map(|(sort, item)| (sort, number(view, item)));
        assert_eq!(tree::first(view, tree).map(|it| it.0), keys.first().map(|key| key.0));
        assert_eq!(tree::last(view, tree).map(|it| it.0), keys.last().map(|key| key.0));
        for &(sort, n) in probes {
            let lower = keys.partition_point(|key| *key < (sort, n));
            let upper = keys.partition_point(|key| *key <= (sort, n));
            let at = tree::lower_bound(view, tree, sort, compare(n));
            assert_eq!((at.rank(view), read(&at)), (lower as u64, keys.get(lower).copied()));
            let behind = tree::upper_bound(view, tree, sort, compare(n));
            assert_eq!(
                (behind.rank(view), read(&behind)),
                (upper as u64, keys.get(upper).copied())
            );
            let found = tree::find(view, tree, sort, compare(n));
            assert_eq!(found.map(|at| read(&at).unwrap()), (lower < upper).then_some((sort, n)));
            let selected = tree::select(view, tree, lower as u64);
            assert_eq!((selected.rank(view), read(&selected)), (lower as u64, read(&at)));
            // Forward and back again.
            let (mut walk, mut rank) = (at, lower);
            for _ in 0..70 {
                walk.advance(view);
                rank = (rank + 1).min(keys.len());
                assert_eq!((walk.rank(view), read(&walk)), (rank as u64, keys.get(rank).copied()));
            }
            for _ in 0..140 {
                assert_eq!(walk.retreat(view), rank > 0);
                rank = rank.saturating_sub(1);
                assert_eq!((walk.rank(view), read(&walk)), (rank as u64, keys.get(rank).copied()));
            }
        }
    }
}

#[test]
fn the_tree_holds_what_the_map_holds() {
    let steps = prop::collection::vec(step(), 1..80);
    let probes = prop::collection::vec((prop_oneof![0..3000u64, 0..6u64], 0..500u64), 6);
    let tallest = std::cell::Cell::new(0);
    runner(200)
        .run(&(steps, probes), |(steps, probes)| {
            let mut numbers = Numbers::new();
            for (i, step) in steps.iter().enumerate() {
                numbers.run(step);
                if i % 8 == 0 {
                    numbers.check();
                    numbers.check_lookups(&probes);
                    numbers.abandon(&steps[i..(i + 5).min(steps.len())]);
                    numbers.check();
                }
            }
            tallest.set(tallest.get().max(numbers.height()));
            numbers.check();
            numbers.check_lookups(&probes);
            while numbers.arena.transact(|tx| drain(tx, numbers.tree, 70)).unwrap() == Drained::More
            {
            }
            numbers.model.clear();
            numbers.check();
            Ok(())
        })
        .unwrap();
    assert!(tallest.get() >= 2, "no tree grew beyond {tallest:?} levels");
}

fn drain(tx: &mut Tx<'_>, tree: Off<Tree>, limit: usize) -> Result<Drained, OutOfMemory> {
    let mut count = 0;
    let done = tree::drain_step(tx, tree, limit, |tx, _, item| {
        count += 1;
        tx.free(item)
    })?;
    assert!(count <= limit);
    Ok(done)
}

#[test]
fn a_built_tree_is_as_one_that_was_filled() {
    for count in [0, 1, 3, 4, 7, 30, 31, 32, 62, 63, 31 * 31, 31 * 31 + 1, 30_000] {
        let mut numbers = Numbers::new();
        let keys: Vec<Key> = (0..count).map(|n| (n / 3, n)).collect();
        let mut tx = numbers.arena.begin();
        let pairs: Vec<_> = keys
            .iter()
            .map(|(sort, n)| (*sort, tx.alloc_record(U64::from_native(*n)).unwrap().cast()))
            .collect();
        let built = tree::build(&mut tx, &pairs).unwrap();
        tx.set(numbers.tree.cast::<Slot<Tree>>(), built).unwrap();
        let logged = tx.logged_bytes();
        assert!(logged < 10_000 + count * 2, "{logged} bytes for {count} pairs");
        tx.commit(&[0; 4]);
        numbers.model = keys.iter().map(|key| (*key, ())).collect();
        numbers.check();
        numbers.check_lookups(&[(0, 0), (7, 20), (count / 3, count), (300, 900)]);
        for step in [
            Step::Ascending(40),
            Step::Descending(40),
            Step::Run(7, 40),
            Step::RemoveSome(5, 2),
            Step::RemoveRanks(count / 2, count / 3),
        ] {
            numbers.run(&step);
            numbers.check();
        }
        // Without its nodes, and all items.
        let tree = numbers.tree;
        let mut tx = numbers.arena.begin();
        let mut items = Vec::new();
        tree::for_each(&tx, tree, |_, _, item| items.push(item));
        tree::free(&mut tx, tree).unwrap();
        items.into_iter().for_each(|item| tx.free(item).unwrap());
        tx.set(tree.cast::<Slot<Tree>>(), Tree::EMPTY).unwrap();
        tx.commit(&[0; 4]);
        numbers.model.clear();
        numbers.check();
    }
}

#[test]
fn memory_is_judged_by_some_ways() {
    let mut numbers = Numbers::new();
    numbers.run(&Step::Ascending(20_000));
    // Leaves of all sizes: full ones in front, halves of split ones behind.
    for n in 0..60_000u64 {
        let sort = 20_000 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_003;
        numbers.run(&Step::Insert((sort, n)));
    }
    let exact = tree::memory(&numbers.arena, numbers.tree, 0) as f64;
    let judged = tree::memory(&numbers.arena, numbers.tree, 5) as f64;
    assert!((judged / exact - 1.0).abs() < 0.1, "{judged} for {exact}");
    assert_eq!(tree::memory(&numbers.arena, numbers.tree, u64::MAX) as f64, exact);
}

/// Bytes of nodes for each pair.
fn cost(numbers: &Numbers) -> f64 {
    tree::memory(&numbers.arena, numbers.tree, 0) as f64 / numbers.model.len() as f64
}

#[test]
fn pairs_in_order_leave_full_leaves() {
    for step in [Step::Ascending(60_000), Step::Descending(60_000)] {
        let mut numbers = Numbers::new();
        numbers.model.insert((1 << 40, 0), ());
        let tree = numbers.tree;
        numbers.arena.transact(|tx| insert(tx, tree, (1 << 40, 0))).unwrap();
        numbers.run(&step);
        numbers.check();
        assert!(cost(&numbers) < 18.0, "{} bytes for each pair after {step:?}", cost(&numbers));
        // What is taken out here and there frees memory as well.
        while numbers.model.len() > 6_000 {
            let len = numbers.model.len() as u64;
            (0..100).for_each(|i| numbers.run(&Step::RemoveRanks(i * 7919 % len, 9)));
        }
        numbers.check();
        assert!(cost(&numbers) < 40.0, "{} bytes for each pair left", cost(&numbers));
    }
}

#[test]
fn a_change_logs_little_whatever_the_size() {
    let mut numbers = Numbers::new();
    numbers.run(&Step::Ascending(50_000));
    assert!(numbers.height() >= 3);
    for i in 0..3_000u64 {
        let rank = i * 7919 % 50_000;
        numbers.run(&Step::Remove(rank));
        let mut tx = numbers.arena.begin();
        insert(&mut tx, numbers.tree, (rank, 1 << 40 | i)).unwrap();
        let logged = tx.logged_bytes();
        tx.commit(&[0; 4]);
        numbers.model.insert((rank, 1 << 40 | i), ());
        assert!(logged < 4_000, "{logged} bytes were logged");
    }
    numbers.check();
}

/// What is wrong with a tree is found.
#[test]
fn the_checker_sees_disorder() {
    let mut numbers = Numbers::new();
    numbers.run(&Step::Ascending(100));
    let tree = numbers.tree;
    let spoil = |numbers: &mut Numbers, rank: u64, sort: u64| {
        numbers
            .arena
            .transact(|tx| {
                let at = tree::select(tx, tree, rank);
                let (_, item) = at.pair(tx).unwrap();
                tree::replace(tx, tree, &at, sort, item)
            })
            .unwrap();
    };
    for rank in [0, 40, 99] {
        spoil(&mut numbers, rank, if rank == 99 { 0 } else { 55_555 });
        let mut checker = Checker::new(&numbers.arena);
        checker.mark(tree, size_of::<Tree>() as u64, "tree");
        mark_tree(
            &mut checker,
            tree,
            "tree",
            |_, a, b| a.cmp(&b),
            |checker, _, item| checker.mark(item, 8, "item"),
        );
        let findings = checker.finish().findings;
        assert!(findings.iter().any(|it| it.contains("stands before")), "{findings:?}");
        spoil(&mut numbers, rank, rank + 1);
        numbers.check();
    }
}
