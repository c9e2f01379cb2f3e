use proptest::prelude::*;
use proptest::sample::Index;
use shm::Arena;

use super::*;
use crate::values::testing::{self, EXPIRY};

fn read(view: &View) -> Vec<Vec<u8>> {
    let found = testing::find(view, 0).expect("the key");
    let packed = Packed::of(&EntryView::new(view, found.entry));
    assert_eq!(pack::validate(packed.run), Some(packed.count));
    packed.items().map(|item| item.to_vec()).collect()
}

fn packed(values: &[Vec<u8>]) -> Vec<u8> {
    let mut run = Vec::new();
    values.iter().for_each(|value| pack::encode(&mut run, value));
    run
}

/// An arena in which the first key has these items.
fn arena_with(values: &[Vec<u8>]) -> Arena {
    let mut arena = testing::arena();
    let put = |tx: &mut Tx<'_>| {
        let (name, run) = (testing::name(0), packed(values));
        let fresh = create(tx, &name, Kind::ListPacked, Some(EXPIRY), values.len(), &run)?;
        testing::put(tx, 0, fresh)
    };
    arena.transact(put).expect("memory");
    arena
}

/// Replaces items by others; says whether the entry stayed where it was.
fn replace(
    tx: &mut Tx<'_>,
    items: std::ops::Range<usize>,
    values: &[Vec<u8>],
) -> Result<bool, OutOfMemory> {
    let found = testing::find(tx, 0).expect("the key");
    let old = Packed::of(&EntryView::new(tx, found.entry));
    let at = pack::nth(old.run, old.count, items.start);
    let end = pack::nth(old.run, old.count, items.end);
    let change = Splice {
        at,
        removed: end - at,
        bytes: &packed(values),
        items: values.len() as isize - items.len() as isize,
    };
    let moved = splice(tx, found.entry, change)?;
    testing::settle(tx, 0, moved)?;
    Ok(moved.is_none())
}

/// Puts values in the place of some items, but never of all.
#[derive(Debug, Clone)]
struct Op {
    start: Index,
    end: Index,
    values: Vec<Vec<u8>>,
}

fn op() -> impl Strategy<Value = Op> {
    let places = (any::<Index>(), any::<Index>());
    (places, values()).prop_map(|((start, end), values)| Op { start, end, values })
}

fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let value = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..20),
        (0usize..400).prop_map(|len| vec![b'x'; len]),
    ];
    prop::collection::vec(value, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn splices_do_as_a_vector_does(
        first in values(),
        transactions in testing::transactions(op()),
    ) {
        let mut model = first;
        model.push(b"never alone".to_vec());
        let run = |tx: &mut Tx<'_>, model: &mut Vec<Vec<u8>>, op: &Op| {
            let start = op.start.index(model.len());
            let end = start + op.end.index(model.len() - start);
            model.splice(start..end, op.values.iter().cloned());
            replace(tx, start..end, &op.values).map(|_| ())
        };
        testing::drive(&mut arena_with(&model), model, &transactions, run, read)?;
    }
}

#[test]
fn what_shrinks_and_grows_again_is_taken_back_whole() {
    let original: Vec<Vec<u8>> = (0..8).map(|i| vec![b'a' + i; 10]).collect();
    let mut arena = arena_with(&original);
    let mut tx = arena.begin();
    assert!(replace(&mut tx, 5..8, &[]).expect("memory"), "it was to happen in place");
    let point = tx.savepoint();
    let other = vec![vec![b'z'; 10]; 3];
    assert!(replace(&mut tx, 5..5, &other).expect("memory"), "it was to happen in place");
    tx.rollback_to(point);
    assert_eq!(read(&tx), &original[..5]);
    drop(tx);
    assert_eq!(read(&arena), original);
}

#[test]
fn what_grew_has_room_to_grow_again() {
    let mut arena = arena_with(&vec![vec![b'x'; 100]; 4]);
    let grow = |tx: &mut Tx<'_>| replace(tx, 4..4, &[vec![b'y'; 100]]);
    assert!(!arena.transact(grow).expect("memory"), "there was room");
    let small = |tx: &mut Tx<'_>| replace(tx, 5..5, &[b"1".to_vec()]);
    assert!(arena.transact(small).expect("memory"), "growing left no room");
}

#[test]
fn a_large_block_is_not_kept_for_few_items() {
    let mut arena = arena_with(&vec![vec![b'x'; 100]; 8]);
    arena.transact(|tx| replace(tx, 1..8, &[])).expect("memory");
    let memory = testing::memory(&arena, 0, 0);
    assert!(memory < 300, "{memory} bytes");
}
