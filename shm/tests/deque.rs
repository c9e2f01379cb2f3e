//! Random operations on a deque of packed chunks, with rollbacks, against a `VecDeque`.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shm::check::{Checker, mark_deque};
use shm::deque::{self, Deque, Direction, End, Limits};
use shm::{Arena, Off, Options, OutOfMemory, Slot, Tx, View, field, pack, record};

record! {
    /// What the tests' arena holds.
    struct Root {
        /// The deque in use.
        live: Deque,
        /// Another one, which is filled by copies and large removals and freed bit by bit.
        dead: Deque,
    }
}

type Model = VecDeque<Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Push { front: bool, value: Vec<u8> },
    PushMany { front: bool, value: Vec<u8>, count: usize },
    Pop { front: bool, count: usize },
    Insert { index: usize, value: Vec<u8>, after: bool },
    Replace { index: usize, value: Vec<u8> },
    Remove { start: usize, count: usize },
    RemoveEqual { value: Vec<u8>, backward: bool, most: u64 },
    Copy,
    Refound,
    Bury,
    Limits(usize),
    Failing(Vec<Op>),
    Abandoned(Vec<Op>),
}

const LIMITS: [(u64, u32); 6] =
    [(100, u32::MAX), (256, u32::MAX), (1024, 5), (4096, u32::MAX), (8192, 1), (70_000, u32::MAX)];

/// What happens to the arena and to the model alike.
struct World<'t, 'a> {
    tx: &'t mut Tx<'a>,
    model: Model,
    limits: usize,
}

fn root(view: &View) -> Off<Root> {
    view.root().cast()
}

fn live(view: &View) -> Off<Deque> {
    field!(root(view), Root.live)
}

fn dead(view: &View) -> Off<Deque> {
    field!(root(view), Root.dead)
}

fn encoded(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack::encode(&mut bytes, value);
    bytes
}

fn end(front: bool) -> End {
    if front { End::Front } else { End::Back }
}

fn clear(tx: &mut Tx<'_>, at: Off<Deque>, limit: usize) -> Result<(), OutOfMemory> {
    while !deque::free_step(tx, at, limit)? {}
    Ok(())
}

impl World<'_, '_> {
    fn limits(&self) -> Limits {
        let (bytes, items) = LIMITS[self.limits];
        Limits::new(bytes, items)
    }

    fn push(&mut self, front: bool, value: &[u8]) -> Result<(), OutOfMemory> {
        let (at, limits) = (live(self.tx), self.limits());
        deque::push(self.tx, at, end(front), &encoded(value), &limits)?;
        if front {
            self.model.push_front(value.to_vec());
        } else {
            self.model.push_back(value.to_vec());
        }
        Ok(())
    }

    fn remove(&mut self, start: usize, count: usize) -> Result<(), OutOfMemory> {
        let (at, limits) = (live(self.tx), self.limits());
        let stop = start.saturating_add(count);
        let cut = deque::remove(self.tx, at, start as u64..stop as u64, &limits)?;
        let other = dead(self.tx);
        if deque::len(self.tx, other) == 0 {
            self.tx.set(other.cast::<Slot<Deque>>(), cut)?;
        } else {
            deque::free(self.tx, cut)?;
        }
        self.model.drain(start.min(self.model.len())..stop.min(self.model.len()));
        Ok(())
    }

    fn remove_equal(&mut self, value: &[u8], backward: bool, most: u64) -> Result<(), OutOfMemory> {
        let (at, limits) = (live(self.tx), self.limits());
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let removed = deque::remove_equal(self.tx, at, value, direction, most, &limits)?;
        let mut left = most;
        let mut keep = |item: &Vec<u8>| {
            let goes = item == value && left > 0;
            left -= u64::from(goes);
            !goes
        };
        if backward {
            let kept: Model = self.model.iter().rev().filter(|item| keep(item)).cloned().collect();
            self.model = kept.into_iter().rev().collect();
        } else {
            self.model.retain(|item| keep(item));
        }
        assert_eq!(removed, most - left);
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<(), OutOfMemory> {
        let (at, limits) = (live(self.tx), self.limits());
        let index = |index: &usize, len: usize| index % len.max(1);
        match op {
            Op::Push { front, value } => self.push(*front, value)?,
            Op::PushMany { front, value, count } => {
                (0..*count).try_for_each(|_| self.push(*front, value))?;
            }
            Op::Pop { front, count } => {
                for _ in 0..(*count).min(self.model.len()) {
                    deque::pop(self.tx, at, end(*front))?;
                    let _ = if *front { self.model.pop_front() } else { self.model.pop_back() };
                }
            }
            Op::Insert { index: i, value, after } if !self.model.is_empty() => {
                let i = index(i, self.model.len());
                let mut place = deque::locate(self.tx, at, i as u64).expect("a place");
                if *after {
                    place = deque::after(self.tx, place);
                }
                deque::insert(self.tx, at, place, &encoded(value), &limits)?;
                self.model.insert(i + usize::from(*after), value.clone());
            }
            Op::Replace { index: i, value } if !self.model.is_empty() => {
                let i = index(i, self.model.len());
                let place = deque::locate(self.tx, at, i as u64).expect("a place");
                deque::replace(self.tx, at, place, &encoded(value), &limits)?;
                self.model[i] = value.clone();
            }
            Op::Insert { .. } | Op::Replace { .. } => {}
            Op::Remove { start, count } => {
                let start = index(start, self.model.len() + 1);
                self.remove(start, *count)?;
            }
            Op::RemoveEqual { value, backward, most } => {
                self.remove_equal(value, *backward, *most)?;
            }
            Op::Copy => {
                let other = dead(self.tx);
                clear(self.tx, other, 3)?;
                let copied = deque::copy(self.tx, at)?;
                self.tx.set(other.cast::<Slot<Deque>>(), copied)?;
                same(self.tx, other, &self.model);
            }
            Op::Refound => {
                clear(self.tx, at, 5)?;
                let run: Vec<u8> = self.model.iter().flat_map(|value| encoded(value)).collect();
                deque::found(self.tx, at, &run, self.model.len(), &limits)?;
            }
            Op::Bury => {
                let other = dead(self.tx);
                deque::free_step(self.tx, other, 2)?;
            }
            Op::Limits(which) => self.limits = *which,
            Op::Failing(ops) => {
                let point = self.tx.savepoint();
                let (model, limits) = (self.model.clone(), self.limits);
                let _ = ops.iter().try_for_each(|op| self.apply(op));
                self.tx.rollback_to(point);
                (self.model, self.limits) = (model, limits);
                same(self.tx, at, &self.model);
            }
            Op::Abandoned(_) => unreachable!("not within a transaction"),
        }
        Ok(())
    }
}

/// Fails unless the deque reads as the model, in every way there is.
fn same(view: &View, at: Off<Deque>, model: &Model) {
    assert_eq!(deque::len(view, at), model.len() as u64);
    let forward = deque::walk(view, at, 0, Direction::Forward);
    assert!(forward.map(|item| item.to_vec()).eq(model.iter().cloned()), "forward");
    let last = (model.len() as u64).saturating_sub(1);
    let backward = deque::walk(view, at, last, Direction::Backward);
    assert!(backward.map(|item| item.to_vec()).eq(model.iter().rev().cloned()), "backward");
    for index in (0..model.len()).step_by(1 + model.len() / 7) {
        let place = deque::locate(view, at, index as u64).expect("a place");
        assert!(deque::item(view, place).is(&model[index]), "item {index}");
        let mut from = deque::walk(view, at, index as u64, Direction::Forward);
        let (item, found) = from.next_place().expect("an item");
        assert!(item.is(&model[index]) && found == place, "walk from {index}");
        assert_eq!(from.count(), model.len() - index - 1);
        let back = deque::walk(view, at, index as u64, Direction::Backward);
        assert_eq!(back.count(), index + 1);
    }
    assert!(deque::locate(view, at, model.len() as u64).is_none());
}

fn check(arena: &Arena, model: &Model) {
    same(arena, live(arena), model);
    let mut checker = Checker::new(arena);
    assert!(checker.mark(root(arena), size_of::<Root>() as u64, "root"));
    mark_deque(&mut checker, live(arena), "live");
    mark_deque(&mut checker, dead(arena), "dead");
    let report = checker.finish();
    assert!(report.is_clean(), "{}", report.findings.join("; "));
}

fn new_arena(options: &Options) -> Arena {
    let mut arena = Arena::create(options).expect("an arena").0;
    arena
        .transact(|tx| {
            let root = tx.alloc_record(Root { live: Deque::EMPTY, dead: Deque::EMPTY })?;
            tx.set_root(root.cast())
        })
        .expect("room for the root");
    arena
}

/// Does an operation as one transaction; one that fails changes nothing.
fn run(arena: &mut Arena, op: &Op, model: &mut Model, limits: &mut usize) {
    let (ops, commit) = match op {
        Op::Abandoned(ops) => (ops.as_slice(), false),
        op => (std::slice::from_ref(op), true),
    };
    let mut tx = arena.begin();
    let mut world = World { tx: &mut tx, model: model.clone(), limits: *limits };
    let done = ops.iter().try_for_each(|op| world.apply(op));
    let (changed, now) = (world.model, world.limits);
    if commit && done.is_ok() {
        tx.commit(&[0; 4]);
        (*model, *limits) = (changed, now);
    }
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let text = |size: usize, fill: u8| vec![b'a' + fill % 3; size];
    prop_oneof![
        6 => (0u8..6).prop_map(|number| number.to_string().into_bytes()),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        4 => (0usize..30, any::<u8>()).prop_map(move |(size, fill)| text(size, fill)),
        2 => (0usize..130, any::<u8>()).prop_map(move |(size, fill)| text(size, fill)),
        1 => (0usize..9000, any::<u8>()).prop_map(move |(size, fill)| text(size, fill)),
    ]
}

fn simple() -> impl Strategy<Value = Op> {
    let few = prop_oneof![4 => 1usize..4, 1 => 1usize..60];
    prop_oneof![
        8 => (any::<bool>(), value()).prop_map(|(front, value)| Op::Push { front, value }),
        3 => (any::<bool>(), value(), 1usize..60)
            .prop_map(|(front, value, count)| Op::PushMany { front, value, count }),
        6 => (any::<bool>(), few.clone()).prop_map(|(front, count)| Op::Pop { front, count }),
        5 => (any::<usize>(), value(), any::<bool>())
            .prop_map(|(index, value, after)| Op::Insert { index, value, after }),
        5 => (any::<usize>(), value()).prop_map(|(index, value)| Op::Replace { index, value }),
        2 => (any::<usize>(), few).prop_map(|(start, count)| Op::Remove { start, count }),
        2 => (value(), any::<bool>(), prop_oneof![1u64..5, Just(u64::MAX)])
            .prop_map(|(value, backward, most)| Op::RemoveEqual { value, backward, most }),
        1 => Just(Op::Copy),
        1 => Just(Op::Refound),
        1 => Just(Op::Bury),
        1 => (0..LIMITS.len()).prop_map(Op::Limits),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let nested = simple()
        .prop_recursive(2, 16, 6, |inner| prop::collection::vec(inner, 1..6).prop_map(Op::Failing));
    prop_oneof![
        10 => simple(),
        2 => nested.clone(),
        1 => prop::collection::vec(nested, 1..6).prop_map(Op::Abandoned),
    ]
}

/// A runner with a fixed seed: the same cases on every machine. `PROPTEST_CASES` runs more of them.
fn runner(cases: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn the_deque_is_what_the_model_says() {
    let ops = prop::collection::vec(op(), 1..80);
    let options = Options { reserve: 0, ..Options::default() };
    runner(600)
        .run(&ops, |ops| {
            let mut arena = new_arena(&options);
            let (mut model, mut limits) = (Model::new(), 0);
            for (i, op) in ops.iter().enumerate() {
                run(&mut arena, op, &mut model, &mut limits);
                if i % 4 == 0 {
                    check(&arena, &model);
                }
            }
            check(&arena, &model);
            Ok(())
        })
        .unwrap();
}

#[test]
fn running_out_of_memory_changes_nothing() {
    let ops = prop::collection::vec(op(), 40..80);
    let options = Options { reserve: 0, cap: 12 * shm::layout::SPAN, ..Options::default() };
    let refused = std::cell::Cell::new(0);
    runner(200)
        .run(&ops, |ops| {
            let mut arena = new_arena(&options);
            let (mut model, mut limits) = (Model::new(), 3);
            for op in &ops {
                let mut tx = arena.begin();
                let mut world = World { tx: &mut tx, model: model.clone(), limits };
                let large = Op::PushMany { front: true, value: vec![b'x'; 30_000], count: 30 };
                refused.set(refused.get() + u32::from(world.apply(&large).is_err()));
                drop(tx);
                run(&mut arena, op, &mut model, &mut limits);
                check(&arena, &model);
            }
            Ok(())
        })
        .unwrap();
    assert!(refused.get() > 0, "memory never ran out");
}

/// Chunks after a number of items were pushed at both ends in turn, and bytes of memory.
fn chunks_of(arena: &Arena) -> (u64, u64) {
    let at = live(arena);
    (arena.get(at).chunks.get().to_native(), deque::memory(arena, at, 0))
}

#[test]
fn chunks_are_filled_and_joined_again() {
    let mut arena = new_arena(&Options::default());
    let limits = Limits::new(8192, u32::MAX);
    let item = encoded(&[b'x'; 30]);
    for i in 0..20_000 {
        let end = end(i % 2 == 0);
        arena.transact(|tx| deque::push(tx, live(tx), end, &item, &limits)).unwrap();
    }
    let bytes = 20_000 * item.len() as u64;
    let (_, memory) = chunks_of(&arena);
    assert!(memory < bytes + bytes / 20 + 3 * 8192, "{memory} bytes for {bytes}");
    // Of every ten items, one stays.
    for i in 0..2_000 {
        arena
            .transact(|tx| {
                let cut = deque::remove(tx, live(tx), i..i + 9, &limits)?;
                deque::free(tx, cut)
            })
            .unwrap();
    }
    let (chunks, memory) = chunks_of(&arena);
    assert_eq!(deque::len(&arena, live(&arena)), 2_000);
    assert!(memory < bytes / 10 * 4, "{memory} bytes in {chunks} chunks for {}", bytes / 10);
    check(&arena, &std::iter::repeat_n(vec![b'x'; 30], 2_000).collect());
}

#[test]
fn what_a_push_and_a_pop_log_does_not_grow_with_the_deque() {
    let mut arena = new_arena(&Options::default());
    let limits = Limits::new(8192, u32::MAX);
    let item = encoded(b"an item");
    let mut most = 0;
    for _ in 0..5_000 {
        let mut tx = arena.begin();
        let at = live(&tx);
        deque::push(&mut tx, at, End::Back, &item, &limits).unwrap();
        deque::push(&mut tx, at, End::Back, &item, &limits).unwrap();
        deque::pop(&mut tx, at, End::Front).unwrap();
        most = most.max(tx.logged_bytes());
        tx.commit(&[0; 4]);
    }
    assert!(most < 1024, "{most} bytes were logged");
}

#[test]
fn small_deques_take_little() {
    let mut arena = new_arena(&Options::default());
    let limits = Limits::new(8192, u32::MAX);
    let item = encoded(&[b'x'; 600]);
    arena.transact(|tx| deque::push(tx, live(tx), End::Back, &item, &limits)).unwrap();
    let (chunks, memory) = chunks_of(&arena);
    assert!(chunks == 1 && memory <= 2608, "{memory} bytes");
    let small = Limits::new(8192, 3);
    arena.transact(|tx| deque::pop(tx, live(tx), End::Back)).unwrap();
    arena.transact(|tx| deque::push(tx, live(tx), End::Back, &encoded(b"1"), &small)).unwrap();
    assert!(chunks_of(&arena).1 <= 64);
}

#[test]
fn damage_is_found() {
    let mut arena = new_arena(&Options::default());
    let limits = Limits::new(100, u32::MAX);
    for i in 0..50u32 {
        let item = encoded(i.to_string().as_bytes());
        arena.transact(|tx| deque::push(tx, live(tx), End::Back, &item, &limits)).unwrap();
    }
    let findings = |arena: &mut Arena, at: Off<u8>, byte: u8| {
        let old = arena.read(at);
        arena.transact(|tx| tx.write(at, &[byte])).unwrap();
        let mut checker = Checker::new(arena);
        checker.mark(root(arena), size_of::<Root>() as u64, "root");
        mark_deque(&mut checker, live(arena), "live");
        mark_deque(&mut checker, dead(arena), "dead");
        let total = checker.finish().total;
        arena.transact(|tx| tx.write(at, &[old])).unwrap();
        total
    };
    let head = arena.get(live(&arena)).head.get();
    // Bounds, length, links and items of the first chunk, and the deque's own counts.
    for at in [0, 8, 16, 20, 24, 28, 32] {
        assert!(findings(&mut arena, head.byte_add(at), 0xf9) > 0, "byte {at} of a chunk");
    }
    for at in [8, 16, 24] {
        let place = live(&arena).byte_add(at);
        assert!(findings(&mut arena, place, 0xf9) > 0, "byte {at} of the record");
    }
}
