use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Carries a change out, as an owner of the bytes does.
fn add(bytes: &mut Vec<u8>, value: i64) -> bool {
    let set = IntSet::new(bytes);
    let count = set.len() as u32;
    match set.insert(value) {
        Insertion::Present => return false,
        Insertion::Splice { at, integer } => {
            bytes.splice(at..at, integer.bytes().iter().copied());
            bytes[COUNT_AT..HEADER].copy_from_slice(&(count + 1).to_le_bytes());
        }
        Insertion::Widened(all) => *bytes = all,
    }
    true
}

fn take(bytes: &mut Vec<u8>, value: i64) -> bool {
    let set = IntSet::new(bytes);
    let count = set.len() as u32;
    let Some(removal) = set.remove(value) else { return false };
    bytes.drain(removal.at..removal.at + removal.length);
    bytes[COUNT_AT..HEADER].copy_from_slice(&(count - 1).to_le_bytes());
    true
}

/// Integers around every edge of the widths, often the same ones again.
fn integer() -> impl Strategy<Value = i64> {
    let edges =
        [0, i64::from(i16::MIN), i64::from(i16::MAX), i64::from(i32::MIN), i64::from(i32::MAX)];
    prop_oneof![
        6 => -20i64..20,
        2 => any::<i16>().prop_map(i64::from),
        1 => any::<i32>().prop_map(i64::from),
        1 => any::<i64>(),
        2 => (0..edges.len(), -2i64..3).prop_map(move |(edge, by)| edges[edge] + by),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)],
    ]
}

proptest! {
    #[test]
    fn a_set_is_what_was_put_into_it(
        changes in prop::collection::vec((any::<bool>(), integer()), 1..120),
    ) {
        let mut bytes = from_sorted(&[]);
        let mut model = BTreeSet::new();
        let mut widest = Width::Two;
        for (adds, value) in changes {
            if adds {
                prop_assert_eq!(add(&mut bytes, value), model.insert(value));
                widest = widest.max(Width::of(value));
            } else {
                prop_assert_eq!(take(&mut bytes, value), model.remove(&value));
            }
            let set = IntSet::new(&bytes);
            prop_assert_eq!(set.width(), widest);
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!((0..set.len()).map(|i| set.get(i)).eq(model.iter().map(|v| Some(*v))));
            prop_assert_eq!(set.get(set.len()), None);
            prop_assert_eq!(set.contains(value), model.contains(&value));
            prop_assert_eq!(validate(&bytes).is_ok(), !model.is_empty());
        }
        let sorted: Vec<i64> = model.into_iter().collect();
        prop_assert!(IntSet::new(&from_sorted(&sorted)).iter().eq(sorted.iter().copied()));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..80), value: i64) {
        let set = IntSet::new(&bytes);
        let _ = (set.search(value), set.contains(value), set.insert(value), set.remove(value));
        prop_assert_eq!(set.iter().count(), set.len());
    }

    #[test]
    fn a_wrong_bit_is_found_or_leaves_a_set(
        values in prop::collection::btree_set(integer(), 1..20), at: prop::sample::Index, bit in 0u32..8,
    ) {
        let values: Vec<i64> = values.into_iter().collect();
        let mut bytes = from_sorted(&values);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let ascends = IntSet::new(&bytes).iter().is_sorted_by(|one, next| one < next);
        prop_assert_eq!(validate(&bytes).is_ok(), at >= HEADER && ascends);
    }
}

#[test]
fn the_layout_is_that_of_redis() {
    let bytes = from_sorted(&[-1, 2, 300]);
    assert_eq!(bytes, [2, 0, 0, 0, 3, 0, 0, 0, 255, 255, 2, 0, 44, 1]);
    let mut bytes = bytes;
    assert!(add(&mut bytes, 70_000));
    assert_eq!(bytes[..12], [4, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255]);
    assert!(add(&mut bytes, -5_000_000_000));
    assert_eq!((bytes[0], bytes.len()), (8, HEADER + 5 * 8));
    assert_eq!(IntSet::new(&bytes).get(0), Some(-5_000_000_000));
}

#[test]
fn what_is_no_set_is_told_apart() {
    let good = from_sorted(&[1, 2]);
    assert_eq!(validate(&good[..7]).err(), Some(Invalid::Short(7)));
    assert_eq!(validate(&good[..11]).err(), Some(Invalid::Length { count: 2, bytes: 3 }));
    assert_eq!(validate(&header(Width::Four, 0)).err(), Some(Invalid::Empty));
    assert_eq!(validate(&[3, 0, 0, 0, 0, 0, 0, 0]).err(), Some(Invalid::Width(3)));
    assert_eq!(validate(&from_sorted(&[1, 1])).err(), Some(Invalid::Order(1)));
    assert_eq!(validate(&from_sorted(&[1, 5, 4])).err(), Some(Invalid::Order(2)));
    // As many integers as no memory holds.
    assert!(validate(&header(Width::Eight, u32::MAX)).is_err());
}
