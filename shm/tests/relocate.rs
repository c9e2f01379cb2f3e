//! Blocks of every container leave spans that are to be emptied, and walks bear what happens between their steps.

#[path = "common/world.rs"]
mod world;

use shm::alloc::{Evacuation, Survey};
use shm::deque::{self, Deque, End};
use shm::{Arena, Mover, Off, Options, field};
use world::chunked::{self, Deques};
use world::{Model, Op, Part, Root, ordered};

fn push(len: usize, count: usize) -> Op {
    Op::Deque(chunked::Op::Push { end: End::Back, value: vec![b'p'; len], count })
}

/// A world of which most was removed again, and what it holds.
fn thinned_out() -> (Arena, Model) {
    let mut ops: Vec<Op> = (0..200)
        .map(|key| Op::Put { key, value: vec![key as u8; 40], room: key % 9 * 100 })
        .collect();
    ops.push(Op::Tree(ordered::Op::Insert { key: 0, count: 1_500, by: 1 }));
    ops.push(push(20, 300));
    ops.push(Op::Write { blob: 0, at: 40_000, content: vec![1; 300] });
    ops.push(Op::Write { blob: 1, at: 0, content: vec![2; 700] });
    ops.extend((0..200).filter(|key| key % 5 != 0).map(|key| Op::Remove { key }));
    ops.push(Op::Tree(ordered::Op::RemoveRanks { rank: 100, count: 1_200 }));
    ops.push(Op::Deque(chunked::Op::RemoveRange { start: 30, count: 150 }));
    ops.push(Op::Deque(chunked::Op::Free { limit: 1_000 }));
    let mut arena = world::new_world(&Options::default());
    let mut model = Model::default();
    for op in &ops {
        world::run(&mut arena, op, 1, Some(&mut model)).expect("memory");
    }
    (arena, model)
}

fn evacuate(arena: &mut Arena, part: Part) {
    world::evacuated::evacuate(arena, part).expect("memory");
}

#[test]
fn whatever_hangs_on_a_container_is_moved() {
    for looks in [1, 7, 100, 10_000] {
        let (mut arena, model) = thinned_out();
        let used = arena.used_bytes();
        evacuate(&mut arena, Part::Mark);
        let marked = arena.evacuating();
        evacuate(&mut arena, Part::Move(looks));
        // The root record is not moved by anybody.
        assert_eq!(arena.evacuating(), 1, "of {marked}, {looks} looks a step");
        assert!(marked > 8);
        assert_eq!(world::read(&arena), Ok(model));
        assert_eq!(arena.used_bytes(), used);
        evacuate(&mut arena, Part::End);
        assert_eq!(arena.evacuating(), 0);
        world::check(&arena).expect("a sound arena");
    }
}

fn live(arena: &Arena) -> Off<Deque> {
    field!(field!(world::root(arena), Root.deques), Deques.live)
}

fn step(arena: &mut Arena, begins: bool) -> bool {
    let deque = live(arena);
    arena
        .transact(|tx| deque::relocate_step(tx, deque, begins, &mut Mover::new(1)))
        .expect("memory")
}

#[test]
fn a_walk_through_a_deque_ends_with_the_chunk_that_it_stands_at() {
    let (mut arena, mut model) = thinned_out();
    evacuate(&mut arena, Part::Mark);
    assert!(step(&mut arena, true));
    let pop = Op::Deque(chunked::Op::Pop { end: End::Front, count: 1_000 });
    for op in [pop, push(20, 100)] {
        world::run(&mut arena, &op, 1, Some(&mut model)).expect("memory");
    }
    assert!(!step(&mut arena, false));
    // A walk that is gone on with although there is none ends at once, too.
    assert!(!step(&mut arena, false));
    assert_eq!(world::read(&arena), Ok(model));
}

#[test]
fn a_walk_through_a_deque_leaves_the_ends_of_another_one_alone() {
    for steps in 1..12 {
        let (mut arena, mut model) = thinned_out();
        evacuate(&mut arena, Part::Mark);
        let mut begins = true;
        for _ in 0..steps {
            if !step(&mut arena, begins) {
                break;
            }
            begins = false;
        }
        // The chunk that the walk stands at goes to another deque, and a new one comes in its place.
        for op in [Op::Deque(chunked::Op::Swing), push(15, 60)] {
            world::run(&mut arena, &op, 1, Some(&mut model)).expect("memory");
        }
        while step(&mut arena, false) {}
        assert_eq!(world::read(&arena), Ok(model.clone()), "after {steps} steps");
        // Another owner has nothing of it.
        arena.recover();
        assert!(!step(&mut arena, false));
        assert_eq!(world::read(&arena), Ok(model));
    }
}

/// Allocates blocks until there is no memory for more.
fn fill(arena: &mut Arena) -> Vec<Off<u8>> {
    let mut blocks = Vec::new();
    while let Ok(block) = arena.transact(|tx| tx.alloc(1_000).map(|fresh| fresh.off())) {
        blocks.push(block);
    }
    blocks
}

/// Free blocks in spans that are to be emptied are there for whoever needs them.
#[test]
fn an_evacuation_takes_no_memory_from_others() {
    let room = |is_evacuated: bool| {
        let mut arena = world::new_world(&Options { cap: 8 << 20, ..Options::default() });
        let blocks = fill(&mut arena);
        let freed = blocks.iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, block)| *block);
        for some in freed.collect::<Vec<_>>().chunks(100) {
            arena.transact(|tx| some.iter().try_for_each(|block| tx.free(*block))).expect("memory");
        }
        if is_evacuated {
            evacuate(&mut arena, Part::Mark);
            assert!(arena.evacuating() > 8);
        }
        assert!(!arena.take_shortage());
        let count = fill(&mut arena).len();
        assert_eq!(arena.take_shortage(), is_evacuated);
        // The root record's span is of another size.
        assert!(arena.evacuating() <= 1);
        (blocks.len(), count)
    };
    let (all, again) = room(false);
    assert!(all > 4_000 && again > all / 2, "{all}, {again}");
    assert_eq!(room(true), (all, again));
}

/// What is in use in marked spans needs other memory before theirs is free.
#[test]
fn no_more_is_marked_than_there_is_room_for() {
    let marked = |bytes: u64| {
        let (mut arena, _) = thinned_out();
        let mut survey = Survey::of_all();
        while survey.look(&arena, 100) == Evacuation::More {}
        survey.limit(bytes);
        while survey.mark(&mut arena, 3).expect("memory") == Evacuation::More {}
        let (before, spans) = (arena.stats().spans, arena.evacuating());
        world::evacuated::relocate(&mut arena, 100).expect("memory");
        (spans, before, arena.stats().spans)
    };
    let (all, ..) = marked(u64::MAX);
    let (some, before, after) = marked(20_000);
    assert!(0 < some && some < all, "{some} of {all}");
    assert!(after <= before, "{before}, then {after}");
    assert_eq!(marked(0).0, 0);
}
