use std::collections::BTreeMap;

use proptest::prelude::*;
use shm::Arena;

use super::*;
use crate::values::testing::{self, EXPIRY, Held, KeyOp};

const LIMITS: Limits = Limits { fields: 20, bytes: 30 };

/// One change of one key.
#[derive(Debug, Clone)]
enum Op {
    Set {
        key: u8,
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Remove {
        key: u8,
        fields: Vec<Vec<u8>>,
    },
    /// Removes most fields, so that tables and blocks shrink.
    Thin {
        key: u8,
    },
    Key(KeyOp),
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u16..150).prop_map(|n| n.to_string().into_bytes()),
        4 => (0u16..100).prop_map(|n| format!("field:{n}").into_bytes()),
        1 => (28usize..33).prop_map(|len| vec![b'f'; len]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        4 => prop::collection::vec(any::<u8>(), 0..28),
        1 => (28usize..33).prop_map(|len| vec![b'v'; len]),
        1 => (0usize..3000).prop_map(|len| vec![b'w'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u8..2;
    let pairs = prop_oneof![
        3 => prop::collection::vec((field(), value()), 1..3),
        1 => prop::collection::vec((field(), value()), 1..40),
    ];
    let fields = prop_oneof![
        4 => prop::collection::vec(field(), 1..3),
        1 => prop::collection::vec(field(), 1..30),
    ];
    prop_oneof![
        8 => (key.clone(), pairs).prop_map(|(key, pairs)| Op::Set { key, pairs }),
        5 => (key.clone(), fields).prop_map(|(key, fields)| Op::Remove { key, fields }),
        1 => key.prop_map(|key| Op::Thin { key }),
        2 => KeyOp::any(2).prop_map(Op::Key),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Plain {
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    hashtable: bool,
}

impl Plain {
    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> usize {
        let before = self.fields.len();
        for (field, value) in pairs {
            self.hashtable |= field.len().max(value.len()) as u64 > LIMITS.bytes;
            self.fields.insert(field.clone(), value.clone());
            self.hashtable |= self.fields.len() as u64 > LIMITS.fields;
        }
        self.fields.len() - before
    }
}

type Model = testing::Model<Plain>;

/// Sets fields; says how many there are more. A hash that is made anew has an expiry.
fn set_fields(
    tx: &mut Tx<'_>,
    key: u8,
    pairs: &[(Vec<u8>, Vec<u8>)],
) -> Result<usize, OutOfMemory> {
    let pairs = pairs.iter().map(|(field, value)| (&field[..], &value[..]));
    let Some(found) = testing::find(tx, key) else {
        let (fresh, created) = create(tx, &testing::name(key), Some(EXPIRY), pairs, &LIMITS)?;
        testing::put(tx, key, fresh)?;
        return Ok(created);
    };
    let changed = set(tx, found.entry, pairs, &LIMITS)?;
    testing::settle(tx, key, changed.moved)?;
    Ok(changed.created)
}

/// Removes fields, and the key with the last one; says how many there were.
fn remove_fields(tx: &mut Tx<'_>, key: u8, fields: &[Vec<u8>]) -> Result<usize, OutOfMemory> {
    let Some(found) = testing::find(tx, key) else { return Ok(0) };
    match remove(tx, found.entry, fields.iter().map(|field| &field[..]))? {
        Removed::Some(removed, moved) => {
            testing::settle(tx, key, moved)?;
            Ok(removed)
        }
        Removed::All(removed) => {
            testing::remove(tx, key)?;
            Ok(removed)
        }
    }
}

/// Runs an operation in the arena and in the model, which have to agree on how many fields it befell.
fn run(tx: &mut Tx<'_>, model: &mut Model, op: &Op) -> Result<(), OutOfMemory> {
    match op {
        Op::Set { key, pairs } => {
            let new = || Held { value: Plain::default(), expiry: Some(EXPIRY) };
            let created = model.entry(*key).or_insert_with(new).value.set(pairs);
            assert_eq!(set_fields(tx, *key, pairs)?, created);
            Ok(())
        }
        Op::Remove { key, fields } => remove_from_both(tx, model, *key, fields),
        Op::Thin { key } => {
            let Some(held) = model.get(key) else { return Ok(()) };
            let fields: Vec<_> = held.value.fields.keys().skip(2).cloned().collect();
            remove_from_both(tx, model, *key, &fields)
        }
        Op::Key(op) => op.run(tx, model),
    }
}

fn remove_from_both(
    tx: &mut Tx<'_>,
    model: &mut Model,
    key: u8,
    fields: &[Vec<u8>],
) -> Result<(), OutOfMemory> {
    let removed = remove_fields(tx, key, fields)?;
    let Some(held) = model.get_mut(&key) else {
        assert_eq!(removed, 0);
        return Ok(());
    };
    let plain = &mut held.value.fields;
    let known = fields.iter().filter(|field| plain.remove(*field).is_some()).count();
    if plain.is_empty() {
        model.remove(&key);
    }
    assert_eq!(removed, known);
    Ok(())
}

/// Reads a hash back, in every way that there is.
fn read(entry: &EntryView<'_>) -> Plain {
    let hash = Hash::of(entry);
    let mut fields = BTreeMap::new();
    hash.each(|field, value| {
        assert_eq!(fields.insert(field.to_vec(), value.to_vec()), None);
    });
    assert_eq!(hash.len(), fields.len());
    for (field, value) in &fields {
        assert!(hash.get(field).is_some_and(|found| found.is(value)));
    }
    assert!(hash.get(b"no such field").is_none());
    if entry.kind() != Kind::HashTable {
        let packed = Packed::of(entry);
        let small = fields.len() <= SMALL_FIELDS && packed.run.len() <= SMALL_BYTES;
        assert!(entry.kind() == Kind::HashPacked || small, "{} bytes", packed.run.len());
    }
    Plain { fields, hashtable: entry.kind().encoding() == "hashtable" }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What is left is what was written, in the encodings that Redis would show.
    #[test]
    fn hashes_are_what_was_written(transactions in testing::transactions(op())) {
        let read = |view: &View| testing::read(view, read);
        testing::drive(&mut testing::arena(), Model::new(), &transactions, run, read)?;
    }
}

fn numbered(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |n: usize| (format!("field:{n}").into_bytes(), n.to_string().into_bytes());
    (0..count).map(pair).collect()
}

fn with_hash(fields: usize, test: impl FnOnce(&Hash<'_>)) {
    let mut arena = testing::arena();
    arena.transact(|tx| set_fields(tx, 0, &numbered(fields))).expect("memory");
    let found = testing::find(&arena, 0).expect("the key");
    test(&Hash::of(&EntryView::new(&arena, found.entry)));
}

#[test]
fn fields_are_chosen_with_the_same_chance() {
    const DRAWS: usize = 60_000;
    // In a packed hash, and in a table.
    for fields in [10, 400] {
        with_hash(fields, |hash| {
            let mut random = testing::random(7);
            let wanted = fields / 4;
            let mut drawn: [BTreeMap<Vec<u8>, usize>; 3] = Default::default();
            let mut count = |how: usize, field: Item<'_>| {
                *drawn[how].entry(field.to_vec()).or_default() += 1;
            };
            hash.draw(DRAWS, &mut random, |(field, _)| count(0, field));
            for _ in 0..DRAWS {
                hash.random(&mut random).into_iter().for_each(|(field, _)| count(1, field));
            }
            for _ in 0..DRAWS / wanted {
                let sample = hash.sample(wanted, &mut random);
                assert_eq!(sample.len(), wanted);
                sample.into_iter().for_each(|(field, _)| count(2, field));
            }
            for drawn in drawn {
                let expected = DRAWS as f64 / fields as f64;
                let deviation: f64 =
                    drawn.values().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
                let freedom = (fields - 1) as f64;
                let limit = freedom + 6.0 * (2.0 * freedom).sqrt();
                assert_eq!(drawn.len(), fields);
                assert!(deviation < limit, "chi-square is {deviation}, {limit} would be credible");
            }
        });
    }
}

#[test]
fn a_sample_has_no_field_twice() {
    for fields in [1, 15, 300] {
        with_hash(fields, |hash| {
            let mut random = testing::random(3);
            for count in [0, 1, fields / 4, fields / 2, fields, fields + 1] {
                let sample = hash.sample(count, &mut random);
                let different: HashSet<_> =
                    sample.iter().map(|(field, _)| field.to_vec()).collect();
                assert_eq!((sample.len(), different.len()), (count.min(fields), count.min(fields)));
            }
        });
    }
}

#[test]
fn a_table_gives_its_memory_back() {
    let mut arena = testing::arena();
    let memory = |arena: &Arena| {
        let (all, some) = (testing::memory(arena, 0, 0), testing::memory(arena, 0, 50));
        assert!(all.abs_diff(some) < all / 4, "{some} bytes by samples of {all}");
        all
    };
    arena.transact(|tx| set_fields(tx, 0, &numbered(20_000))).expect("memory");
    let large = memory(&arena);
    assert!(large > 20_000 * 24 && large < 20_000 * 60, "{large} bytes");
    for part in numbered(20_000)[100..].chunks(500) {
        let fields: Vec<_> = part.iter().map(|(field, _)| field.clone()).collect();
        arena.transact(|tx| remove_fields(tx, 0, &fields)).expect("memory");
    }
    assert!(memory(&arena) < large / 20, "{} bytes are left of {large}", memory(&arena));
}
