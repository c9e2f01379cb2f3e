//! Transactions on trees, deques and packed runs, each container on its own, chosen so that everything
//! that changes its shape is stepped through at least once.

use shm::deque::{Direction, End};

use super::world::{Op, Part, Shape, chunked, ordered, packed};
use super::{changes_both_ways, run_one};

/// What is done before, at full speed, and what is stepped through.
type Ops = (Vec<Op>, Vec<Op>);

fn insert(key: u64, count: u64, by: i64) -> Op {
    Op::Tree(ordered::Op::Insert { key, count, by })
}

fn remove_ranks(rank: u64, count: u64) -> Op {
    Op::Tree(ordered::Op::RemoveRanks { rank, count })
}

/// A tree whose root and leaves are full: it grows a level, and nodes of branches are split.
fn tree_grows() -> Ops {
    let (last, full) = (1920, 31 * 31);
    let ops = vec![
        insert(last + 2, 1, 1),
        insert(901, 3, 1),
        Op::Tree(ordered::Op::Resort { key: 0, to: 2040 }),
        Op::Tree(ordered::Op::Resort { key: 902, to: 910 }),
        insert(2, 2, 2),
        Op::Tree(ordered::Op::Remove { key: 2 }),
        remove_ranks(100, 40),
        Op::Several(vec![
            remove_ranks(300, 5),
            Op::Failing(vec![remove_ranks(0, 30), insert(1, 9, -2)]),
            insert(3, 9, 2),
        ]),
        Op::Abandoned(vec![insert(1, 20, 2), remove_ranks(20, 40)]),
    ];
    (vec![insert(0, full, 2)], ops)
}

/// A tree of which so little is left that it loses a level with the first removal.
fn tree_shrinks() -> Ops {
    let ops = vec![remove_ranks(62, 70), remove_ranks(0, 1), insert(1, 5, 1)];
    (vec![insert(0, 31 * 31 + 1, 2), remove_ranks(31, 31 * 17)], ops)
}

/// From two leaves to a lone one, which shrinks, goes and comes; a tree that is taken apart.
fn tree_ends() -> Ops {
    let ops = vec![
        remove_ranks(10, 30),
        remove_ranks(3, 40),
        remove_ranks(0, 9),
        insert(0, 4, 5),
        insert(1000, 30, -1),
        Op::Tree(ordered::Op::Swing),
        insert(7, 1, 1),
        Op::Tree(ordered::Op::Drain { limit: 3 }),
        Op::Tree(ordered::Op::Drain { limit: 12 }),
        Op::Tree(ordered::Op::Drain { limit: 40 }),
    ];
    (vec![insert(0, 50, 3)], ops)
}

fn push(end: End, len: usize, count: usize) -> Op {
    Op::Deque(chunked::Op::Push { end, value: vec![b'a' + len as u8 % 26; len], count })
}

fn pop(end: End, count: usize) -> Op {
    Op::Deque(chunked::Op::Pop { end, count })
}

fn insert_item(index: usize, len: usize, behind: bool) -> Op {
    Op::Deque(chunked::Op::Insert { index, value: vec![b'i'; len], behind })
}

fn replace_item(index: usize, len: usize) -> Op {
    Op::Deque(chunked::Op::Replace { index, value: vec![b'r'; len] })
}

/// Chunks that are added at both ends, grow, are split, joined, cut down, remade and dropped.
fn deque_changes() -> Ops {
    use chunked::Op::{RemoveEqual, RemoveRange};
    let ops = vec![
        push(End::Front, 20, 1),
        push(End::Front, 9, 5),
        push(End::Back, 15, 30),
        insert_item(25, 100, false),
        insert_item(30, 250, true),
        insert_item(40, 700, false),
        replace_item(10, 300),
        replace_item(10, 5),
        replace_item(11, 20),
        pop(End::Front, 30),
        pop(End::Back, 4),
        // What is popped is slack within the same transaction.
        Op::Several(vec![
            pop(End::Back, 3),
            push(End::Back, 11, 2),
            Op::Failing(vec![pop(End::Back, 4), push(End::Back, 3, 9), insert_item(9, 60, true)]),
            push(End::Back, 12, 1),
        ]),
        Op::Abandoned(vec![pop(End::Front, 2), push(End::Front, 8, 3), insert_item(8, 90, false)]),
        Op::Deque(RemoveRange { start: 5, count: 3 }),
        Op::Deque(RemoveEqual {
            value: vec![b'a' + 15; 15],
            direction: Direction::Backward,
            most: 9,
        }),
        Op::Deque(RemoveRange { start: 8, count: 60 }),
        pop(End::Back, 400),
    ];
    (vec![push(End::Back, 20, 70)], ops)
}

/// Chunks that leave the deque in one piece and are freed step by step, and those that are made anew.
fn deque_ends() -> Ops {
    use chunked::Op::{Copy, Free, Refound, RemoveRange, Swing};
    let ops = vec![
        Op::Deque(RemoveRange { start: 10, count: 70 }),
        Op::Deque(Free { limit: 1 }),
        Op::Deque(Free { limit: 9 }),
        Op::Deque(Refound),
        Op::Deque(Copy),
        Op::Deque(RemoveRange { start: 2, count: 40 }),
        Op::Deque(Free { limit: 9 }),
        Op::Deque(Swing),
        push(End::Back, 6, 1),
        Op::Deque(Free { limit: 2 }),
        Op::Deque(Free { limit: 9 }),
    ];
    (vec![push(End::Back, 20, 130)], ops)
}

/// A run that grows and shrinks in its block, leaves it for a larger and a smaller one, and goes.
fn packed_changes(how: packed::How) -> Ops {
    let change = |index: usize, removed: usize, added: &[usize]| {
        let values = added.iter().map(|&len| vec![b'0' + len as u8 % 10; len]).collect();
        Op::Packed(packed::Op { index, removed, values, how })
    };
    let ops = vec![
        change(0, 0, &[30, 5, 18, 2]),
        change(2, 0, &[9]),
        change(5, 0, &[1]),
        change(1, 1, &[15]),
        change(1, 1, &[3, 4]),
        change(0, 2, &[]),
        change(3, 1, &[]),
        // What becomes shorter is nobody's within the same transaction.
        Op::Several(vec![
            change(1, 2, &[]),
            change(0, 0, &[12]),
            Op::Failing(vec![change(0, 2, &[1]), change(2, 0, &[20, 7])]),
            change(2, 0, &[8]),
        ]),
        Op::Abandoned(vec![change(0, 1, &[]), change(1, 0, &[6]), change(0, 0, &[40, 40, 40])]),
        change(1, 0, &[200, 180]),
        change(0, 1, &[]),
        change(0, 2, &[]),
        change(0, 9, &[]),
    ];
    (Vec::new(), ops)
}

/// Blocks of each container lie in spans that are emptied, while they change in between.
fn containers_move() -> Ops {
    let write = |blob, at, len| Op::Write { blob, at, content: vec![blob as u8 + 1; len] };
    let setup = vec![
        insert(0, 31 * 31 + 40, 1),
        push(End::Back, 20, 200),
        write(0, 40_000, 300),
        write(1, 0, 700),
        remove_ranks(20, 31 * 30),
        Op::Deque(chunked::Op::RemoveRange { start: 30, count: 90 }),
    ];
    let ops = vec![
        Op::Evacuate(Part::Mark),
        Op::Evacuate(Part::Move(40)),
        Op::Several(vec![insert(3, 5, 1), push(End::Front, 9, 2), write(1, 690, 30)]),
        Op::Evacuate(Part::End),
        Op::Several(vec![remove_ranks(5, 30), pop(End::Front, 20)]),
        Op::Evacuate(Part::Mark),
        Op::Evacuate(Part::Move(1)),
        Op::Several(vec![
            Op::Tree(ordered::Op::Swing),
            Op::Deque(chunked::Op::Swing),
            Op::Deque(chunked::Op::Free { limit: 3 }),
            Op::Tree(ordered::Op::Drain { limit: 30 }),
        ]),
    ];
    (setup, ops)
}

#[test]
fn every_store_of_a_move_leaves_the_containers_as_they_were() {
    run_one("containers that are moved", containers_move());
}

#[test]
fn every_store_within_a_tree_leaves_the_state_before_or_after() {
    let mut shapes = run_one("a tree that grows", tree_grows()).shapes;
    assert_eq!(shapes.last().map(|shape| shape.height), Some(2));
    shapes.extend(run_one("a tree that shrinks", tree_shrinks()).shapes);
    assert_eq!(shapes.last().map(|shape| shape.height), Some(1));
    shapes.extend(run_one("a tree that ends", tree_ends()).shapes);
    changes_both_ways(&shapes, |shape| shape.height, "the tree's height");
}

#[test]
fn every_store_within_a_deque_leaves_the_state_before_or_after() {
    let number = |shape: &Shape| shape.chunks;
    changes_both_ways(&run_one("a deque", deque_changes()).shapes, number, "the deque's length");
    run_one("a deque that ends", deque_ends());
}

#[test]
fn every_store_within_a_packed_run_leaves_the_state_before_or_after() {
    run_one("a run that is spliced", packed_changes(packed::How::Splice));
    run_one("a run that is cut and put together", packed_changes(packed::How::TwoMoves));
}
