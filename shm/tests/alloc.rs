//! The allocator and the log by themselves, against plain models.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shm::check::Checker;
use shm::layout::{REGION, SPAN};
use shm::{Arena, Off, Options, Slot, Tx, U64};

fn runner(cases: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn arena(cap: u64) -> Arena {
    Arena::create(&Options { reserve: 0, cap, ..Options::default() }).unwrap().0
}

/// The blocks in use: offset, and (size asked for, fill).
type Blocks = BTreeMap<u64, (u64, u8)>;

#[derive(Debug, Clone)]
enum Step {
    Alloc {
        size: u64,
        fill: u8,
    },
    Free {
        which: usize,
    },
    /// The steps so far since the last mark are kept.
    Mark,
    /// Back to the last mark.
    Back,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![
        10 => 0..300u64,
        4 => 300..33_000u64,
        2 => prop::sample::select(vec![16u64, 1024, 1025, 4032, 16320, 32688, 32689, 65472, 65473]),
        1 => 33_000..1_000_000u64,
    ];
    prop_oneof![
        5 => (size, any::<u8>()).prop_map(|(size, fill)| Step::Alloc { size, fill }),
        4 => any::<usize>().prop_map(|which| Step::Free { which }),
        1 => Just(Step::Mark),
        1 => Just(Step::Back),
    ]
}

/// Does the steps; gives the blocks that are in use if the transaction is committed.
fn play(tx: &mut Tx<'_>, steps: &[Step], before: &Blocks) -> Blocks {
    // What may be freed: a block that this transaction freed already may not.
    let mut now = before.clone();
    let mut mark = (tx.savepoint(), now.clone());
    for step in steps {
        match step {
            Step::Alloc { size, fill } => {
                let point = tx.savepoint();
                match tx.alloc(*size) {
                    Ok(fresh) => {
                        assert!(fresh.size() >= *size && fresh.off().raw() % 8 == 0);
                        assert_eq!(shm::alloc::block_size(tx, fresh.off()), fresh.size());
                        tx.init_fill(&fresh, 0, *fill, *size);
                        now.insert(fresh.off().raw(), (*size, *fill));
                    }
                    Err(_) => tx.rollback_to(point),
                }
            }
            Step::Free { which } if !now.is_empty() => {
                let block = *now.keys().nth(which % now.len()).unwrap();
                tx.free(Off::<u8>::new(block)).unwrap();
                now.remove(&block);
            }
            Step::Free { .. } => {}
            Step::Mark => mark = (tx.savepoint(), now.clone()),
            Step::Back => {
                tx.rollback_to(mark.0);
                now = mark.1.clone();
            }
        }
    }
    now
}

fn check(arena: &Arena, blocks: &Blocks) {
    let mut end = 0;
    let mut checker = Checker::new(arena);
    for (block, (size, fill)) in blocks {
        assert!(*block >= end, "blocks overlap at {block:#x}");
        end = block + shm::alloc::block_size(arena, Off::new(*block));
        let content = arena.bytes(Off::new(*block), *size as usize);
        assert!(content.iter().all(|byte| byte == fill), "block {block:#x} was overwritten");
        checker.mark(Off::<u8>::new(*block), *size, "block");
    }
    let report = checker.finish();
    assert!(report.is_clean(), "{:?}", report.findings);
    let live: u64 = arena.class_usage().iter().map(|class| class.live).sum();
    let large = blocks.values().filter(|(size, _)| *size > 32688).count() as u64;
    assert_eq!(live + large, blocks.len() as u64);
    assert!(arena.heap_bytes() <= arena.cap());
}

#[test]
fn blocks_never_overlap_and_keep_their_content() {
    let transactions = prop::collection::vec(
        (prop::collection::vec(step(), 1..60), any::<bool>(), 0..4u64),
        1..12,
    );
    let input = (transactions, prop::sample::select(vec![u64::MAX, 30 * SPAN]));
    runner(600)
        .run(&input, |(transactions, cap)| {
            let mut arena = arena(cap);
            let mut blocks = Blocks::new();
            for (steps, commit, maintain) in transactions {
                let mut tx = arena.begin();
                let after = play(&mut tx, &steps, &blocks);
                if commit {
                    tx.commit(&[0; 4]);
                    blocks = after;
                } else {
                    drop(tx);
                }
                check(&arena, &blocks);
                if maintain > 0 {
                    arena.maintain(maintain - 1, maintain * 4);
                    check(&arena, &blocks);
                }
            }
            let mut tx = arena.begin();
            blocks.keys().for_each(|block| tx.free(Off::<u8>::new(*block)).unwrap());
            tx.commit(&[0; 4]);
            check(&arena, &Blocks::new());
            Ok(())
        })
        .unwrap();
}

/// An owner that was idle while another one worked goes on from what that has left.
#[test]
fn bytes_in_use_are_right_whoever_commits() {
    let first = arena(u64::MAX);
    let fd = first.mapping().fd().try_clone_to_owned().unwrap();
    let mut owners = [first, Arena::from_fd(fd, 0).unwrap()];
    let mut blocks = Blocks::new();
    for turn in 0..20u64 {
        let owner = &mut owners[turn as usize % 2];
        let size = 100 + turn * turn * 300;
        let mut tx = owner.begin();
        let kept = tx.alloc(size).unwrap();
        tx.init_fill(&kept, 0, turn as u8, size);
        let point = tx.savepoint();
        let _ = tx.alloc(50_000).unwrap();
        tx.rollback_to(point);
        if turn % 3 == 2
            && let Some((old, _)) = blocks.pop_first()
        {
            tx.free(Off::<u8>::new(old)).unwrap();
        }
        blocks.insert(kept.off().raw(), (size, turn as u8));
        tx.commit_first(turn);
        check(owner, &blocks);
    }
}

/// What is punched is really given back, and what a rollback leaves refilled is punched again.
#[test]
fn memory_goes_back_to_the_system() {
    let mut arena = arena(u64::MAX);
    // The first long transaction backs more of the log.
    arena.transact(|tx| (0..300).try_for_each(|_| tx.set_root(Off::NULL))).unwrap();
    let empty = arena.mapping().backed_bytes();
    let blocks: Vec<_> =
        arena.transact(|tx| (0..64).map(|_| Ok(tx.alloc(1 << 20)?.off())).collect()).unwrap();
    let full = arena.mapping().backed_bytes();
    assert!(full >= empty + (64 << 20));
    arena.transact(|tx| blocks.iter().try_for_each(|block| tx.free(*block))).unwrap();
    assert_eq!(arena.maintain(10, 100), 100);
    let left = arena.maintain(10, u64::MAX);
    assert!(left > 900, "{left}");
    assert_eq!(arena.stats().spare, 10 * SPAN);
    let punched = arena.mapping().backed_bytes();
    assert!(punched <= empty + 16 * SPAN, "{punched}");
    assert_eq!(arena.heap_bytes(), 11 * SPAN);
    let mut tx = arena.begin();
    let _ = tx.alloc(40 << 20).unwrap();
    drop(tx);
    assert_eq!(arena.mapping().backed_bytes(), punched);
    check(&arena, &Blocks::new());
}

/// The rest of a region that a large block does not fit into stays usable and counted.
#[test]
fn the_rest_of_a_region_is_used_by_smaller_blocks() {
    let options = Options { reserve: shm::layout::HEAP + 3 * REGION, ..Options::default() };
    let mut arena = Arena::create(&options).unwrap().0;
    let spans = |n: u64| n * SPAN - 64;
    arena
        .transact(|tx| {
            let mut large = || tx.alloc(spans(5_500)).map(|fresh| fresh.off());
            let (a, b, c) = (large()?, large()?, large()?);
            assert!(a.raw() < b.raw() && c.raw() > shm::layout::HEAP + REGION);
            tx.free(b)
        })
        .unwrap();
    let heap = arena.heap_bytes();
    assert!(heap >= arena.mapping().backed_bytes() - (2 << 20), "memory is not counted");
    // 16,384 - 1 - 5,500 spans of the first region are unused.
    let small = arena.transact(|tx| tx.alloc(spans(10_883)).map(|fresh| fresh.off())).unwrap();
    assert!(small.raw() < shm::layout::HEAP + REGION);
    assert_eq!(arena.heap_bytes(), heap);
    assert!(arena.transact(|tx| tx.alloc(REGION).map(|fresh| fresh.off())).is_err());
}

#[derive(Debug, Clone)]
enum Change {
    Write {
        at: u64,
        bytes: Vec<u8>,
    },
    Set {
        at: u64,
        value: u64,
    },
    /// A counter, which changes again and again.
    Count {
        at: u64,
    },
    /// So much that the log is a long one, which does not hold a counter twice.
    Much {
        value: u8,
    },
    Fill {
        at: u64,
        value: u8,
        length: u64,
    },
    Move {
        from: u64,
        to: u64,
        count: u64,
    },
    Savepoint,
    Rollback {
        which: usize,
    },
}

const ARRAY: u64 = 3_000;

fn change() -> impl Strategy<Value = Change> {
    let at = 0..ARRAY;
    prop_oneof![
        4 => (at.clone(), prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(at, bytes)| Change::Write { at, bytes }),
        4 => (at.clone(), any::<u64>()).prop_map(|(at, value)| Change::Set { at, value }),
        8 => (0..4u64).prop_map(|at| Change::Count { at: at * 6 }),
        1 => any::<u8>().prop_map(|value| Change::Much { value }),
        1 => (at.clone(), any::<u8>(), 0..400u64)
            .prop_map(|(at, value, length)| Change::Fill { at, value, length }),
        1 => (at.clone(), at, 0..400u64)
            .prop_map(|(from, to, count)| Change::Move { from, to, count }),
        2 => Just(Change::Savepoint),
        1 => any::<usize>().prop_map(|which| Change::Rollback { which }),
    ]
}

fn change_both(tx: &mut Tx<'_>, block: Off<u8>, model: &mut Vec<u8>, changes: &[Change]) {
    let mut points = Vec::new();
    for change in changes {
        match change.clone() {
            Change::Write { at, mut bytes } => {
                bytes.truncate((ARRAY - at) as usize);
                tx.write(block.byte_add(at), &bytes).unwrap();
                model[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
            }
            Change::Set { at, value } => {
                let at = at.min(ARRAY - 8);
                tx.set(block.byte_add::<Slot<U64>>(at), U64::from_native(value)).unwrap();
                model[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
            }
            Change::Count { at } => {
                let slot: Off<Slot<U64>> = block.byte_add(at);
                let count = tx.get(slot).get().to_native().wrapping_add(1);
                tx.set(slot, U64::from_native(count)).unwrap();
                model[at as usize..at as usize + 8].copy_from_slice(&count.to_le_bytes());
            }
            Change::Much { value } => {
                for part in 0..3 {
                    tx.fill(block.byte_add(part * 1_000), value, 1_000).unwrap();
                    tx.fill(block.byte_add(part * 1_000), value, 1_000).unwrap();
                }
                model.fill(value);
            }
            Change::Fill { at, value, length } => {
                let length = length.min(ARRAY - at) as usize;
                tx.fill(block.byte_add(at), value, length).unwrap();
                model[at as usize..at as usize + length].fill(value);
            }
            Change::Move { from, to, count } => {
                let count = count.min(ARRAY - from.max(to)) as usize;
                let (all, from, to) = (ARRAY as usize, from as usize, to as usize);
                let moved: Vec<u8> = model.drain(from..from + count).collect();
                tx.remove(block, all, from, from + count).unwrap();
                tx.insert(block, all - count, to, &moved).unwrap();
                model.splice(to..to, moved);
            }
            Change::Savepoint => points.push((tx.savepoint(), model.clone())),
            Change::Rollback { which } if !points.is_empty() => {
                points.truncate(which % points.len() + 1);
                let (point, then) = points.last().unwrap();
                tx.rollback_to(*point);
                *model = then.clone();
            }
            Change::Rollback { .. } => {}
        }
        assert_eq!(tx.bytes(block, ARRAY as usize), &model[..]);
    }
}

#[test]
fn a_transaction_writes_all_or_nothing() {
    let transactions =
        prop::collection::vec((prop::collection::vec(change(), 0..40), 0..4u8), 1..8);
    runner(400)
        .run(&transactions, |transactions| {
            let mut arena = arena(u64::MAX);
            let block = arena
                .transact(|tx| {
                    let fresh = tx.alloc(ARRAY)?;
                    tx.init_fill(&fresh, 0, 0, ARRAY);
                    Ok(fresh.off())
                })
                .unwrap();
            let mut model = vec![0; ARRAY as usize];
            let mut payload = arena.payload();
            for (i, (changes, end)) in transactions.iter().enumerate() {
                let mut changed = model.clone();
                let mut tx = arena.begin();
                change_both(&mut tx, block, &mut changed, changes);
                match end {
                    0 => drop(tx),
                    1 => {
                        // As after a death: nobody rolls back, and the next owner recovers.
                        std::mem::forget(tx);
                        arena.recover();
                    }
                    2 => {
                        payload = [i as u64; 4];
                        tx.commit(&payload);
                        model = changed;
                    }
                    _ => {
                        payload[0] = i as u64 + 100;
                        tx.commit_first(payload[0]);
                        model = changed;
                    }
                }
                assert_eq!(arena.payload(), payload);
                assert_eq!(arena.bytes(block, ARRAY as usize), &model[..]);
            }
            Ok(())
        })
        .unwrap();
}

/// A long transaction logs a place that it changes again and again once, but for each savepoint.
#[test]
fn the_log_holds_a_counter_once() {
    let mut arena = arena(u64::MAX);
    let slot = arena.transact(|tx| tx.alloc_record(Slot::new(U64::from_native(0)))).unwrap();
    let mut tx = arena.begin();
    for count in 0..100_000 {
        tx.set(slot, U64::from_native(count)).unwrap();
    }
    let logged = tx.logged_bytes();
    assert!(logged < 10_000, "{logged} bytes");
    let point = tx.savepoint();
    for count in 0..100_000 {
        tx.set(slot, U64::from_native(7 + count)).unwrap();
    }
    assert!(tx.logged_bytes() - logged < 1_000);
    tx.rollback_to(point);
    assert_eq!(tx.get(slot).get().to_native(), 99_999);
    tx.set(slot, U64::from_native(5)).unwrap();
    tx.rollback_all();
    assert_eq!(tx.get(slot).get().to_native(), 0);
}

/// What is moved within a large block that the transaction itself allocated needs no log, as long as no
/// savepoint stands between.
#[test]
fn a_large_block_of_its_own_needs_no_log() {
    const SIZE: usize = 1 << 20;
    let mut arena = arena(u64::MAX);
    let mut tx = arena.begin();
    let block = tx.alloc(SIZE as u64).unwrap();
    tx.init_fill(&block, 0, 1, SIZE as u64);
    let block = block.off();
    for _ in 0..100 {
        tx.splice(block, SIZE, 0, SIZE / 2, b"short").unwrap();
        tx.splice(block, SIZE / 2, 0, 5, &vec![1; SIZE / 2 + 5]).unwrap();
    }
    assert!(tx.logged_bytes() < 10_000 && tx.needs_no_log(block, SIZE));
    let (point, before) = (tx.savepoint(), tx.bytes(block, SIZE).to_vec());
    assert!(!tx.needs_no_log(block, SIZE));
    tx.splice(block, SIZE, 0, SIZE / 2, b"short").unwrap();
    assert!(tx.logged_bytes() >= SIZE as u64);
    tx.rollback_to(point);
    assert_eq!(tx.bytes(block, SIZE), before);
}

#[test]
#[should_panic(expected = "a savepoint that is gone")]
fn a_savepoint_beyond_a_rollback_is_refused() {
    let mut arena = arena(u64::MAX);
    let mut tx = arena.begin();
    let first = tx.savepoint();
    let _ = tx.alloc(100).unwrap();
    let second = tx.savepoint();
    tx.rollback_to(first);
    let _ = tx.alloc(100_000).unwrap();
    tx.rollback_to(second);
}

#[test]
#[should_panic(expected = "no block in use begins at")]
fn freeing_what_is_no_block_is_refused_before_the_commit() {
    let mut arena = arena(u64::MAX);
    let block = arena.transact(|tx| tx.alloc(100).map(|fresh| fresh.off())).unwrap();
    let _ = arena.transact(|tx| tx.free(block.byte_add::<u8>(8)));
}

#[test]
#[should_panic(expected = "no block in use begins at")]
fn a_block_whose_allocation_was_taken_back_is_none() {
    let mut arena = arena(u64::MAX);
    let first = arena.transact(|tx| tx.alloc(100_000).map(|fresh| fresh.off())).unwrap();
    arena.transact(|tx| tx.free(first)).unwrap();
    // Below the frontier now, so that the header written in vain stays where a block may be.
    let again = arena.begin().alloc(100_000).unwrap().off();
    assert_eq!(again, first);
    let _ = arena.transact(|tx| tx.free(again));
}

/// A log as large as one transaction made it is given back afterwards.
#[test]
fn a_large_log_is_given_back() {
    let mut arena = arena(u64::MAX);
    let block = arena.transact(|tx| tx.alloc(50 << 20).map(|fresh| fresh.off())).unwrap();
    let before = arena.mapping().backed_bytes();
    arena.transact(|tx| tx.fill(block, 7, 50 << 20)).unwrap();
    assert!(arena.mapping().backed_bytes() >= before + (50 << 20));
    // In steps, so that nobody waits for all of it.
    let full = arena.mapping().backed_bytes();
    while arena.mapping().backed_bytes() == full {
        assert!(arena.trim_log(4 << 20), "the log is kept");
    }
    assert!(arena.mapping().backed_bytes() >= full - (4 << 20));
    while arena.trim_log(4 << 20) {}
    assert!(arena.mapping().backed_bytes() <= before + (1 << 20));
    arena.transact(|tx| tx.fill(block, 8, 50 << 20)).unwrap();
    assert_eq!(arena.bytes(block, 1), [8]);
}

/// Longer than an entry of the log can be, so it takes several.
#[test]
fn a_long_splice_is_taken_back_whole() {
    const LENGTH: usize = 2_500_000;
    let mut arena = arena(u64::MAX);
    let text: Vec<u8> = (0..LENGTH).map(|i| (i % 251) as u8).collect();
    let block = arena
        .transact(|tx| {
            let fresh = tx.alloc(LENGTH as u64 + 100)?;
            tx.init_bytes(&fresh, 0, &text);
            Ok(fresh.off())
        })
        .unwrap();
    for (at, removed, bytes) in [(0, 0, &b"more"[..]), (7, 1_000_000, b"less"), (9, 3, b"abc")] {
        let mut changed = text.clone();
        changed.splice(at..at + removed, bytes.iter().copied());
        let mut tx = arena.begin();
        tx.splice(block, LENGTH, at, removed, bytes).unwrap();
        assert!(tx.bytes(block, changed.len()) == changed, "at {at}");
        drop(tx);
        assert!(arena.bytes(block, LENGTH) == text, "at {at}, taken back");
    }
}
