use std::collections::BTreeMap;

use proptest::prelude::*;
use shm::{Arena, Options};

use super::*;
use crate::keyspace::{self, Database};
use crate::root;

const NAME: &[u8] = b"name";
const LIMITS: Limits = Limits { fields: 20, bytes: 30 };

#[derive(Debug, Clone)]
enum Op {
    Set(Vec<(Vec<u8>, Vec<u8>)>),
    Remove(Vec<Vec<u8>>),
    /// Remove most fields, so that tables and blocks shrink.
    Thin,
    Copy,
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
    prop_oneof![
        6 => prop::collection::vec((field(), value()), 1..3).prop_map(Op::Set),
        2 => prop::collection::vec((field(), value()), 1..40).prop_map(Op::Set),
        4 => prop::collection::vec(field(), 1..3).prop_map(Op::Remove),
        1 => prop::collection::vec(field(), 1..30).prop_map(Op::Remove),
        1 => Just(Op::Thin),
        1 => Just(Op::Copy),
    ]
}

/// What the key should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    hashtable: bool,
}

impl Model {
    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> usize {
        let before = self.fields.len();
        for (field, value) in pairs {
            self.hashtable |= field.len().max(value.len()) as u64 > LIMITS.bytes;
            self.fields.insert(field.clone(), value.clone());
            self.hashtable |= self.fields.len() as u64 > LIMITS.fields;
        }
        self.fields.len() - before
    }

    fn remove(&mut self, fields: &[Vec<u8>]) -> usize {
        let before = self.fields.len();
        fields.iter().for_each(|field| {
            self.fields.remove(field);
        });
        let removed = before - self.fields.len();
        if self.fields.is_empty() {
            self.hashtable = false;
        }
        removed
    }
}

struct World<'t, 'a> {
    tx: &'t mut Tx<'a>,
    database: Off<Database>,
}

impl World<'_, '_> {
    fn find(&self) -> Option<keyspace::Found> {
        keyspace::find(self.tx, self.database, self.tx.hash(NAME), NAME)
    }

    fn exchange(&mut self, found: &keyspace::Found, moved: Option<Off<keyspace::Entry>>) {
        let hash = self.tx.hash(NAME);
        if let Some(moved) = moved {
            keyspace::replace_reshaped(self.tx, self.database, hash, found, moved).expect("memory");
        }
    }

    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> usize {
        let pairs = pairs.iter().map(|(field, value)| (&field[..], &value[..]));
        let Some(found) = self.find() else {
            let expiry = Some(33_177_117_420_000);
            let (fresh, created) = create(self.tx, NAME, expiry, pairs, &LIMITS).expect("memory");
            let hash = self.tx.hash(NAME);
            keyspace::insert(self.tx, self.database, hash, fresh.off().cast()).expect("memory");
            return created;
        };
        let changed = set(self.tx, found.entry, pairs, &LIMITS).expect("memory");
        self.exchange(&found, changed.moved);
        changed.created
    }

    fn remove(&mut self, fields: &[Vec<u8>]) -> usize {
        let Some(found) = self.find() else { return 0 };
        let fields = fields.iter().map(|field| &field[..]);
        match remove(self.tx, found.entry, fields).expect("memory") {
            Removed::Some(removed, moved) => {
                self.exchange(&found, moved);
                removed
            }
            Removed::All(removed) => {
                keyspace::remove(self.tx, self.database, &found).expect("memory");
                removed
            }
        }
    }

    /// Runs an operation here and on the model, which have to agree on how many fields it befell.
    fn run(&mut self, op: &Op, model: &mut Model) {
        match op {
            Op::Set(pairs) => assert_eq!(self.set(pairs), model.set(pairs)),
            Op::Remove(fields) => assert_eq!(self.remove(fields), model.remove(fields)),
            Op::Thin => {
                let fields: Vec<_> = model.fields.keys().skip(2).cloned().collect();
                assert_eq!(self.remove(&fields), model.remove(&fields));
            }
            Op::Copy => {
                let Some(found) = self.find() else { return };
                let fresh = crate::values::copy(self.tx, found.entry, NAME, None).expect("memory");
                let (hash, entry) = (self.tx.hash(NAME), fresh.off().cast());
                keyspace::replace(self.tx, self.database, hash, &found, entry).expect("memory");
            }
        }
    }
}

/// Reads the key back, in every way that there is.
fn read(view: &View, database: Off<Database>) -> Model {
    let Some(found) = keyspace::find(view, database, view.hash(NAME), NAME) else {
        return Model::default();
    };
    let entry = EntryView::new(view, found.entry);
    let hash = Hash::of(&entry);
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
        let packed = Packed::of(&entry);
        let small = fields.len() <= SMALL_FIELDS && packed.run.len() <= SMALL_BYTES;
        assert!(entry.kind() == Kind::HashPacked || small, "{} bytes", packed.run.len());
    }
    Model { fields, hashtable: entry.kind().encoding() == "hashtable" }
}

fn arena() -> (Arena, Off<Database>) {
    let options = Options { reserve: 0, ..Options::default() };
    let (mut arena, _) = Arena::create(&options).expect("an arena");
    let made = arena.transact(|tx| root::create(tx, 1, 0, [b'0'; 40]));
    let database = root::database(&arena, made.expect("memory"), 0);
    (arena, database)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Several operations a transaction, some of them taken back, alone or all together: what is left
    /// is what the model says, in the encoding that Redis would show, and nothing leaks.
    #[test]
    fn hashes_are_what_was_written(
        transactions in prop::collection::vec(
            (prop::collection::vec((op(), 0u8..4), 1..8), 0u8..4),
            1..16,
        ),
    ) {
        let (mut arena, database) = arena();
        let mut model = Model::default();
        for (ops, fate) in &transactions {
            let payload = arena.payload();
            let mut tx = arena.begin();
            let mut draft = model.clone();
            for (op, fate) in ops {
                let point = tx.savepoint();
                let mut after = draft.clone();
                World { tx: &mut tx, database }.run(op, &mut after);
                if *fate == 0 {
                    tx.rollback_to(point);
                } else {
                    draft = after;
                }
                prop_assert_eq!(&read(&tx, database), &draft, "within, after {:?}", op);
            }
            if *fate == 0 {
                drop(tx);
            } else {
                tx.commit(&payload);
                model = draft;
            }
            prop_assert_eq!(&read(&arena, database), &model);
            let report = crate::check::check_arena(&arena);
            prop_assert!(report.clean, "{}", report.text);
        }
    }
}

fn numbered(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |n: usize| (format!("field:{n}").into_bytes(), n.to_string().into_bytes());
    (0..count).map(pair).collect()
}

fn with_hash(fields: usize, test: impl FnOnce(&Hash<'_>)) {
    let (mut arena, database) = arena();
    arena
        .transact(|tx| {
            World { tx, database }.set(&numbered(fields));
            Ok(())
        })
        .expect("memory");
    let found = keyspace::find(&arena, database, arena.hash(NAME), NAME).expect("the key");
    test(&Hash::of(&EntryView::new(&arena, found.entry)));
}

#[test]
fn fields_are_chosen_with_the_same_chance() {
    const DRAWS: usize = 60_000;
    // In a packed hash, and in a table.
    for fields in [10, 400] {
        with_hash(fields, |hash| {
            let mut state = 7u64;
            let mut random = || {
                state =
                    state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (state ^ state >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ state >> 17
            };
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
            let mut state = 3u64;
            let mut random = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(99);
                state.rotate_left(31)
            };
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
    let (mut arena, database) = arena();
    let run = |arena: &mut Arena, what: &dyn Fn(&mut World<'_, '_>)| {
        arena
            .transact(|tx| {
                what(&mut World { tx, database });
                Ok(())
            })
            .expect("memory");
    };
    let memory = |arena: &Arena| {
        let found = keyspace::find(arena, database, arena.hash(NAME), NAME).expect("the key");
        let entry = EntryView::new(arena, found.entry);
        let (all, some) = (crate::values::memory(&entry, 0), crate::values::memory(&entry, 50));
        assert!(all.abs_diff(some) < all / 4, "{some} bytes by samples of {all}");
        all
    };
    run(&mut arena, &|world| {
        world.set(&numbered(20_000));
    });
    let large = memory(&arena);
    assert!(large > 20_000 * 24 && large < 20_000 * 60, "{large} bytes");
    for part in numbered(20_000)[100..].chunks(500) {
        let fields: Vec<_> = part.iter().map(|(field, _)| field.clone()).collect();
        run(&mut arena, &|world| {
            world.remove(&fields);
        });
    }
    assert!(memory(&arena) < large / 20, "{} bytes are left of {large}", memory(&arena));
}
