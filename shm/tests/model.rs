//! Random operations on a world of all containers, against the plain model.

#[path = "common/world.rs"]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shm::layout::SPAN;
use shm::{Arena, Options};
use world::{Model, Op, Part, Random};

/// A runner with a fixed seed: the same cases on every machine. `PROPTEST_CASES` runs more of them.
fn runner(cases: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = shm::blob::PART as usize;
    let size = prop_oneof![
        8 => 0..100usize,
        2 => 100..5_000usize,
        2 => part - 2..part + 3,
        1 => 2 * part - 2..2 * part + 3,
    ];
    (any::<u8>(), size).prop_map(|(fill, size)| (0..size).map(|i| fill ^ i as u8).collect())
}

fn random(op: fn(&mut Random) -> Op) -> impl Strategy<Value = Op> {
    any::<u64>().prop_map(move |seed| op(&mut Random(seed)))
}

fn simple() -> impl Strategy<Value = Op> {
    let blob = 0..2usize;
    let at = prop_oneof![0..200u64, 0..world::BLOB_LIMIT];
    let room = prop_oneof![20 => Just(0u64), 1 => 0..300_000u64];
    prop_oneof![
        8 => (any::<u64>(), content(), room)
            .prop_map(|(key, value, room)| Op::Put { key, value, room }),
        4 => any::<u64>().prop_map(|key| Op::Remove { key }),
        2 => (blob.clone(), at, content())
            .prop_map(|(blob, at, content)| Op::Write { blob, at, content }),
        2 => (blob.clone(), content()).prop_map(|(blob, content)| Op::Append { blob, content }),
        1 => (blob.clone(), 1..5usize).prop_map(|(blob, limit)| Op::Clear { blob, limit }),
        1 => (blob, content()).prop_map(|(blob, content)| Op::Create { blob, content }),
        1 => (0..4usize, any::<u64>()).prop_map(|(index, value)| Op::SetWord { index, value }),
        1 => Just(Op::Swing),
        2 => (1..80usize).prop_map(|limit| Op::Drain { limit }),
        2 => (any::<u64>(), 1..20usize).prop_map(|(hash, steps)| Op::Shrink { hash, steps }),
        // The containers' own operations are drawn from a seed.
        4 => random(|random| Op::Tree(world::ordered::random_op(random))),
        4 => random(|random| Op::Deque(world::chunked::random_op(random))),
        4 => random(|random| Op::Packed(world::packed::random_op(random))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let nested = simple().prop_recursive(2, 24, 8, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 1..8).prop_map(Op::Several),
            1 => prop::collection::vec(inner, 1..8).prop_map(Op::Failing),
        ]
    });
    prop_oneof![
        10 => nested.clone(),
        1 => prop::collection::vec(nested, 1..6).prop_map(Op::Abandoned),
        1 => Just(Op::Maintain),
        2 => prop_oneof![
            Just(Part::Mark),
            (1..90u64).prop_map(Part::Move),
            Just(Part::End),
        ]
        .prop_map(Op::Evacuate),
    ]
}

fn agree(arena: &Arena, model: &Model) {
    match world::read(arena) {
        Ok(found) => assert!(found == *model, "the arena does not hold what the model holds"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn the_world_is_what_the_model_says() {
    let ops = prop::collection::vec(op(), 1..60);
    let options = Options { reserve: 0, ..Options::default() };
    runner(1_000)
        .run(&ops, |ops| {
            let mut arena = world::new_world(&options);
            let mut model = Model::default();
            for (i, op) in ops.iter().enumerate() {
                world::run(&mut arena, op, i as u64, Some(&mut model)).unwrap();
                if i % 8 == 0 {
                    agree(&arena, &model);
                }
                // A successor on the same file, now and then: it maps at another address.
                if i % 16 == 15 {
                    let fd = arena.mapping().fd().try_clone_to_owned().unwrap();
                    arena = Arena::from_fd(fd, 0).unwrap();
                    // One that is handed the arena between two transactions has nothing to recover.
                    if i % 32 == 15 {
                        arena.recover();
                    }
                }
            }
            agree(&arena, &model);
            Ok(())
        })
        .unwrap();
}

/// Under a small cap, commands fail one by one, change nothing, and the arena goes on.
#[test]
fn running_out_of_memory_is_the_error_of_one_transaction() {
    let ops = prop::collection::vec(op(), 60..160);
    let options = Options { reserve: 0, cap: 10 * SPAN, ..Options::default() };
    let refused = std::cell::Cell::new(0);
    runner(400)
        .run(&ops, |ops| {
            let mut arena = world::new_world(&options);
            let mut model = Model::default();
            for (i, op) in ops.iter().enumerate() {
                let before = model.clone();
                if world::run(&mut arena, op, i as u64, Some(&mut model)).is_err() {
                    refused.set(refused.get() + 1);
                    assert_eq!(model, before);
                    agree(&arena, &model);
                }
                assert!(arena.heap_bytes() <= arena.cap(), "the cap is exceeded");
            }
            agree(&arena, &model);
            // What is freed can be used again.
            arena.set_cap(u64::MAX);
            world::run(&mut arena, &Op::Clear { blob: 0, limit: 1 }, 0, Some(&mut model)).unwrap();
            agree(&arena, &model);
            Ok(())
        })
        .unwrap();
    assert!(refused.get() > 100, "the cap was hardly ever reached: {refused:?}");
}

/// Two mappings of one file in one process: what is written through one is read through the other.
#[test]
fn two_mappings_of_one_arena_show_the_same() {
    let mut arena = world::new_world(&Options { reserve: 0, ..Options::default() });
    let other = Arena::from_fd(arena.mapping().fd().try_clone_to_owned().unwrap(), 0).unwrap();
    assert_ne!(arena.mapping().base(), other.mapping().base());
    let mut model = Model::default();
    let mut random = Random(7);
    for i in 0..2_000 {
        let op = world::random_op(&mut random, 40_000, 0);
        world::run(&mut arena, &op, i, Some(&mut model)).unwrap();
        if i % 50 == 0 {
            agree(&other, &model);
            assert_eq!(arena.payload(), other.payload());
        }
    }
    agree(&arena, &model);
    agree(&other, &model);
    for start in [0, shm::layout::HEAP] {
        let at = shm::Off::new(start);
        assert_eq!(arena.bytes(at, 64 << 10), other.bytes(at, 64 << 10));
    }
}
