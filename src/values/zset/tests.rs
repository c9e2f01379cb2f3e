use std::collections::BTreeMap;

use proptest::prelude::*;
use shm::{Arena, Options};

use super::*;
use crate::keyspace::entry::{Entry, EntryView};
use crate::keyspace::{self, Database, Found};
use crate::root;

const EXPIRY: i64 = 33_177_117_420_000;

/// One change of one key.
#[derive(Debug, Clone)]
enum Op {
    /// Gives members scores, one after the other; the sorted set is made if need be.
    Set {
        key: u8,
        elements: Vec<(Vec<u8>, f64)>,
        limits: Limits,
    },
    Remove {
        key: u8,
        members: Vec<Vec<u8>>,
    },
    /// Removes so many from a rank on, which is reduced to what is there.
    RemoveRanks {
        key: u8,
        rank: u64,
        count: u64,
    },
    /// Makes the value anew of what it has.
    Rewrite {
        key: u8,
        limits: Limits,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Expire {
        key: u8,
        expiry: bool,
    },
    Delete {
        key: u8,
    },
}

fn limits() -> impl Strategy<Value = Limits> {
    prop::sample::select(vec![0, 3, 20, 128]).prop_map(|entries| Limits { entries, value: 64 })
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (-20i64..20).prop_map(|n| n.to_string().into_bytes()),
        6 => (0u8..100).prop_map(|n| format!("t{n}").into_bytes()),
        1 => (0usize..3, 60usize..500).prop_map(|(n, len)| vec![b'a' + n as u8; len - len % 50]),
        1 => prop::sample::select(vec!["", "-0", "9223372036854775808", " 1"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    let special = vec![f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e17, 5e-324, 0.1, -1e300];
    prop_oneof![
        8 => (-10i32..10).prop_map(f64::from),
        2 => (-1000i32..1000).prop_map(|n| f64::from(n) / 8.0),
        1 => prop::sample::select(special),
    ]
}

/// One element or a few, or as many in a row as change the form.
fn elements() -> impl Strategy<Value = Vec<(Vec<u8>, f64)>> {
    let row = (0i32..300, 1i32..120, -1i32..2).prop_map(|(from, count, step)| {
        let element = |n: i32| (format!("row:{n}").into_bytes(), f64::from(n * step));
        (from..from + count).map(element).collect()
    });
    prop_oneof![6 => prop::collection::vec((member(), score()), 1..6), 1 => row]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u8..3;
    prop_oneof![
        6 => (key.clone(), elements(), limits())
            .prop_map(|(key, elements, limits)| Op::Set { key, elements, limits }),
        3 => (key.clone(), prop::collection::vec(member(), 1..6))
            .prop_map(|(key, members)| Op::Remove { key, members }),
        2 => (key.clone(), any::<u64>(), prop_oneof![0u64..4, 1u64..100])
            .prop_map(|(key, rank, count)| Op::RemoveRanks { key, rank, count }),
        1 => (key.clone(), limits()).prop_map(|(key, limits)| Op::Rewrite { key, limits }),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, expiry)| Op::Expire { key, expiry }),
        1 => key.prop_map(|key| Op::Delete { key }),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq)]
struct Value {
    scores: BTreeMap<Vec<u8>, f64>,
    /// Whether the encoding is `listpack`.
    listpack: bool,
    expiry: Option<i64>,
}

impl Value {
    fn sorted(&self) -> Vec<(f64, Vec<u8>)> {
        let mut all: Vec<_> = self.scores.iter().map(|it| (*it.1, it.0.clone())).collect();
        all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
        all
    }

    fn is_listpack(&self, limits: &Limits) -> bool {
        let longest = self.scores.keys().map(Vec::len).max().unwrap_or(0);
        self.scores.len() as u64 <= limits.entries && longest as u64 <= limits.value
    }
}

type Model = BTreeMap<u8, Value>;

/// Keys of different lengths, so that values lie at different distances.
fn name(key: u8) -> Vec<u8> {
    vec![b'k'; 1 + 7 * usize::from(key)]
}

/// Carries operations out in the arena and in the model, and compares what each says.
struct World<'t, 'a> {
    tx: &'t mut Tx<'a>,
    database: Off<Database>,
    model: &'t mut Model,
}

impl World<'_, '_> {
    fn find(&self, key: u8) -> Option<Found> {
        let name = name(key);
        keyspace::find(self.tx, self.database, self.tx.hash(&name), &name)
    }

    fn put(&mut self, key: u8, fresh: Fresh) -> Result<(), OutOfMemory> {
        let hash = self.tx.hash(&name(key));
        let entry = fresh.off().cast();
        match self.find(key) {
            Some(found) => keyspace::replace(self.tx, self.database, hash, &found, entry),
            None => keyspace::insert(self.tx, self.database, hash, entry),
        }
    }

    /// Puts an entry that was made anew in its place, and removes a key without elements.
    fn settle(&mut self, key: u8, moved: Option<Off<Entry>>) -> Result<(), OutOfMemory> {
        let (hash, found) = (self.tx.hash(&name(key)), self.find(key).expect("a key"));
        let database = self.database;
        if let Some(moved) = moved {
            keyspace::replace_reshaped(self.tx, database, hash, &found, moved)?;
        }
        if self.model[&key].scores.is_empty() {
            let found = self.find(key).expect("a key");
            let entry = EntryView::new(self.tx, found.entry);
            assert!(Reader::of(&entry).expect("a sorted set").is_empty());
            self.model.remove(&key);
            return keyspace::remove(self.tx, database, &found);
        }
        Ok(())
    }

    fn set(
        &mut self,
        key: u8,
        (member, score): &(Vec<u8>, f64),
        limits: &Limits,
    ) -> Result<(), OutOfMemory> {
        let Some(found) = self.find(key) else {
            let fresh = create(self.tx, &name(key), member, *score, limits)?;
            self.put(key, fresh)?;
            let scores = BTreeMap::from([(member.clone(), *score)]);
            let mut value = Value { scores, listpack: true, expiry: None };
            value.listpack = value.is_listpack(limits);
            self.model.insert(key, value);
            return Ok(());
        };
        let spot = locate(self.tx, found.entry, member);
        let value = self.model.get_mut(&key).expect("the model has the key");
        assert_eq!(spot.score, value.scores.get(member).copied(), "{member:?}");
        value.scores.insert(member.clone(), *score);
        let moved = match spot.score {
            Some(_) => rescore(self.tx, found.entry, &spot, member, *score)?,
            None => {
                let fits = member.len() as u64 <= limits.value;
                value.listpack &= fits && value.scores.len() as u64 <= limits.entries;
                add(self.tx, found.entry, &spot, member, *score, limits)?
            }
        };
        self.settle(key, moved)
    }

    fn remove(&mut self, key: u8, member: &[u8]) -> Result<(), OutOfMemory> {
        let Some(found) = self.find(key) else { return Ok(()) };
        let spot = locate(self.tx, found.entry, member);
        let value = self.model.get_mut(&key).expect("the model has the key");
        assert_eq!(spot.score, value.scores.remove(member), "{member:?}");
        if spot.score.is_none() {
            return Ok(());
        }
        let moved = remove(self.tx, found.entry, &spot, member)?;
        self.settle(key, moved)
    }

    fn run(&mut self, op: &Op) -> Result<(), OutOfMemory> {
        match op {
            Op::Set { key, elements, limits } => {
                elements.iter().try_for_each(|element| self.set(*key, element, limits))
            }
            Op::Remove { key, members } => {
                members.iter().try_for_each(|member| self.remove(*key, member))
            }
            Op::RemoveRanks { key, rank, count } => {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let value = self.model.get_mut(key).expect("the model has the key");
                let sorted = value.sorted();
                let rank = *rank % sorted.len() as u64;
                for (_, member) in sorted.iter().skip(rank as usize).take(*count as usize) {
                    value.scores.remove(member);
                }
                let moved = remove_ranks(self.tx, found.entry, rank, *count)?;
                self.settle(*key, moved)
            }
            Op::Rewrite { key, limits } => {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let entry = EntryView::new(self.tx, found.entry);
                let mut builder = Builder::default();
                Reader::of(&entry).expect("a sorted set").for_each(|element| {
                    builder.push(&element.member.to_vec(), element.score);
                });
                let expiry = entry.expiry();
                let fresh = builder.create(self.tx, &name(*key), expiry, limits)?;
                let value = self.model.get_mut(key).expect("the model has the key");
                value.listpack = value.is_listpack(limits);
                self.put(*key, fresh)
            }
            Op::Copy { from, to } if from != to => {
                let Some(found) = self.find(*from) else { return Ok(()) };
                let expiry = EntryView::new(self.tx, found.entry).expiry();
                let fresh = crate::values::copy(self.tx, found.entry, &name(*to), expiry)?;
                self.model.insert(*to, self.model[from].clone());
                self.put(*to, fresh)
            }
            Op::Copy { .. } => Ok(()),
            Op::Expire { key, expiry } => {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let (hash, at) = (self.tx.hash(&name(*key)), expiry.then_some(EXPIRY));
                self.model.get_mut(key).expect("the model has the key").expiry = at;
                keyspace::set_expiry(self.tx, self.database, hash, &found, at).map(|_| ())
            }
            Op::Delete { key } => {
                self.model.remove(key);
                let Some(found) = self.find(*key) else { return Ok(()) };
                keyspace::remove(self.tx, self.database, &found)
            }
        }
    }
}

/// Reads all keys back.
fn read(view: &View, database: Off<Database>) -> Model {
    let mut model = Model::new();
    shm::table::for_each(view, keyspace::keys(database), |view, block| {
        let entry = EntryView::new(view, block.cast());
        let zset = Reader::of(&entry).expect("a sorted set");
        let scores: BTreeMap<Vec<u8>, f64> =
            zset.elements(0).map(|it| (it.member.to_vec(), it.score)).collect();
        assert_eq!(scores.len() as u64, zset.len());
        let listpack = entry.kind().encoding() == "listpack";
        let value = Value { scores, listpack, expiry: entry.expiry() };
        check_reader(&zset, &value.sorted());
        model.insert(((entry.key().len() - 1) / 7) as u8, value);
    });
    model
}

/// Holds everything that a sorted set says of itself against its elements.
fn check_reader(zset: &Reader<'_>, sorted: &[(f64, Vec<u8>)]) {
    let pair = |it: Element<'_>| (it.score, it.member.to_vec());
    let len = sorted.len() as u64;
    assert!(zset.elements(0).map(pair).eq(sorted.iter().cloned()), "the order");
    assert!(zset.elements_back(len).map(pair).eq(sorted.iter().rev().cloned()), "backwards");
    for rank in [0, len / 3, len / 2, len.saturating_sub(1)] {
        let Some((score, member)) = sorted.get(rank as usize) else { continue };
        assert_eq!(zset.rank(member), Some(rank));
        assert_eq!(zset.score(member), Some(*score));
        let range = rank..(rank + 5).min(len);
        let expected = &sorted[rank as usize..range.end as usize];
        assert!(zset.slice(range.clone(), false).map(pair).eq(expected.iter().cloned()));
        assert!(zset.slice(range, true).map(pair).eq(expected.iter().rev().cloned()));
        for (above_min, below_max) in [(false, false), (true, false), (false, true)] {
            let range = ScoreRange { min: *score, max: score + 3.0, above_min, below_max };
            let within = |it: &&(f64, Vec<u8>)| {
                (if above_min { it.0 > range.min } else { it.0 >= range.min })
                    && (if below_max { it.0 < range.max } else { it.0 <= range.max })
            };
            let ranks = zset.by_score(&range);
            let found = zset.slice(ranks, false).map(pair);
            assert!(found.eq(sorted.iter().filter(within).cloned()), "{range:?}");
        }
    }
    let mut scanned = BTreeMap::new();
    let mut cursor = 0;
    loop {
        cursor = zset.scan(cursor, 10, |it| {
            scanned.insert(it.member.to_vec(), it.score);
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned.len(), sorted.len());
    let mut seed = 0u64;
    let sample = zset.sample(5, || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        seed
    });
    assert_eq!(sample.len(), sorted.len().min(5));
}

fn arena() -> (Arena, Off<Database>) {
    let options = Options { reserve: 0, ..Options::default() };
    let (mut arena, _) = Arena::create(&options).expect("an arena");
    let made = arena.transact(|tx| root::create(tx, 1, 0, [b'0'; 40]));
    let database = root::database(&arena, made.expect("memory"), 0);
    (arena, database)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Several operations a transaction, some of them taken back, alone or all together: what is
    /// left is what the model says, in the encodings that Redis would show, and nothing leaks.
    #[test]
    fn sorted_sets_are_what_was_put_into_them(
        transactions in prop::collection::vec(
            (prop::collection::vec((op(), 0u8..4), 1..8), 0u8..4),
            1..12,
        ),
    ) {
        let (mut arena, database) = arena();
        let mut model = Model::new();
        for (ops, fate) in &transactions {
            let payload = arena.payload();
            let mut tx = arena.begin();
            let mut draft = model.clone();
            for (op, fate) in ops {
                let point = tx.savepoint();
                let before = draft.clone();
                World { tx: &mut tx, database, model: &mut draft }.run(op).expect("memory");
                if *fate == 0 {
                    tx.rollback_to(point);
                    draft = before;
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

/// Makes one sorted set; gives the arena, its database and the bytes of the value, key and all.
fn made(elements: impl Iterator<Item = (String, f64)>) -> (Arena, Off<Database>, u64) {
    let (mut arena, database) = arena();
    let mut model = Model::new();
    let limits = Limits { entries: 128, value: 64 };
    let bytes = arena.transact(|tx| {
        let mut world = World { tx, database, model: &mut model };
        for (member, score) in elements {
            world.set(0, &(member.into_bytes(), score), &limits)?;
        }
        let found = world.find(0).expect("the sorted set");
        Ok(crate::values::memory(&EntryView::new(world.tx, found.entry), 0))
    });
    (arena, database, bytes.expect("memory"))
}

#[test]
fn sorted_sets_are_small() {
    let elements = |count: u64| (0..count).map(|n| (format!("member:{n:06}"), n as f64));
    assert!(made(elements(10)).2 <= 224);
    let large = made(elements(20_000)).2;
    assert!(large / 20_000 <= 72, "{large} bytes");
}

#[test]
fn a_large_sorted_set_is_taken_apart_in_small_steps() {
    let (mut arena, database, _) = made((0..5_000).map(|n| (format!("m{n}"), f64::from(n % 7))));
    arena
        .transact(|tx| {
            let hash = tx.hash(&name(0));
            let found = keyspace::find(tx, database, hash, &name(0)).expect("the key");
            keyspace::remove(tx, database, &found)
        })
        .expect("memory");
    let root = root::of(&arena);
    let mut steps = 0;
    while arena.transact(|tx| keyspace::trash::step(tx, root, 100)).expect("memory") {
        let report = crate::check::check_arena(&arena);
        assert!(report.clean, "{}", report.text);
        steps += 1;
    }
    assert!(steps > 20, "{steps} steps");
}
