use std::collections::BTreeMap;

use proptest::prelude::*;
use shm::Arena;

use super::*;
use crate::keyspace::{self, Entry, EntryView};
use crate::root;
use crate::values::testing::{self, Held, KeyOp};

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
    Key(KeyOp),
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
        1 => (key, limits()).prop_map(|(key, limits)| Op::Rewrite { key, limits }),
        3 => KeyOp::any(3).prop_map(Op::Key),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    scores: BTreeMap<Vec<u8>, f64>,
    /// Whether the encoding is `listpack`.
    listpack: bool,
}

impl Plain {
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

type Model = testing::Model<Plain>;

/// Carries operations out in the arena and in the model, and compares what each says.
struct World<'t, 'a> {
    tx: &'t mut Tx<'a>,
    model: &'t mut Model,
}

impl World<'_, '_> {
    /// What the model has of a key that the arena has.
    fn plain(&mut self, key: u8) -> &mut Plain {
        testing::value(self.model, key)
    }

    /// Takes over an entry that was made anew, and removes a key without elements.
    fn settle(&mut self, key: u8, moved: Option<Off<Entry>>) -> Result<(), OutOfMemory> {
        testing::settle(self.tx, key, moved)?;
        if !self.plain(key).scores.is_empty() {
            return Ok(());
        }
        let found = testing::find(self.tx, key).expect("the arena has the key");
        let entry = EntryView::new(self.tx, found.entry);
        assert!(Reader::of(&entry).expect("a sorted set").is_empty());
        KeyOp::Remove { key }.run(self.tx, self.model)
    }

    fn set(
        &mut self,
        key: u8,
        (member, score): &(Vec<u8>, f64),
        limits: &Limits,
    ) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else {
            let scores = BTreeMap::from([(member.clone(), *score)]);
            let mut value = Plain { scores, listpack: true };
            value.listpack = value.is_listpack(limits);
            self.model.insert(key, Held { value, expiry: None });
            let fresh = create(self.tx, &testing::name(key), member, *score, limits)?;
            return testing::put(self.tx, key, fresh);
        };
        let spot = locate(self.tx, found.entry, member);
        let plain = self.plain(key);
        assert_eq!(spot.score, plain.scores.get(member).copied(), "{member:?}");
        plain.scores.insert(member.clone(), *score);
        let moved = match spot.score {
            Some(_) => rescore(self.tx, found.entry, &spot, member, *score)?,
            None => {
                let fits = member.len() as u64 <= limits.value;
                plain.listpack &= fits && plain.scores.len() as u64 <= limits.entries;
                add(self.tx, found.entry, &spot, member, *score, limits)?
            }
        };
        self.settle(key, moved)
    }

    fn remove(&mut self, key: u8, member: &[u8]) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else { return Ok(()) };
        let spot = locate(self.tx, found.entry, member);
        assert_eq!(spot.score, self.plain(key).scores.remove(member), "{member:?}");
        if spot.score.is_none() {
            return Ok(());
        }
        let moved = remove(self.tx, found.entry, &spot, member)?;
        self.settle(key, moved)
    }

    fn remove_ranks(&mut self, key: u8, rank: u64, count: u64) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else { return Ok(()) };
        let plain = self.plain(key);
        let sorted = plain.sorted();
        let rank = rank % sorted.len() as u64;
        for (_, member) in sorted.iter().skip(rank as usize).take(count as usize) {
            plain.scores.remove(member);
        }
        let moved = remove_ranks(self.tx, found.entry, rank, count)?;
        self.settle(key, moved)
    }

    fn rewrite(&mut self, key: u8, limits: &Limits) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else { return Ok(()) };
        let entry = EntryView::new(self.tx, found.entry);
        let mut builder = Builder::default();
        Reader::of(&entry).expect("a sorted set").for_each(|element| {
            builder.push(&element.member.to_vec(), element.score);
        });
        let expiry = entry.expiry();
        let fresh = builder.create(self.tx, &testing::name(key), expiry, limits)?;
        let plain = self.plain(key);
        plain.listpack = plain.is_listpack(limits);
        testing::put(self.tx, key, fresh)
    }

    fn run(&mut self, op: &Op) -> Result<(), OutOfMemory> {
        match op {
            Op::Set { key, elements, limits } => {
                elements.iter().try_for_each(|element| self.set(*key, element, limits))
            }
            Op::Remove { key, members } => {
                members.iter().try_for_each(|member| self.remove(*key, member))
            }
            Op::RemoveRanks { key, rank, count } => self.remove_ranks(*key, *rank, *count),
            Op::Rewrite { key, limits } => self.rewrite(*key, limits),
            Op::Key(op) => op.run(self.tx, self.model),
        }
    }
}

/// Reads a sorted set back.
fn read(entry: &EntryView<'_>) -> Plain {
    let zset = Reader::of(entry).expect("a sorted set");
    let scores: BTreeMap<Vec<u8>, f64> =
        zset.elements(0).map(|it| (it.member.to_vec(), it.score)).collect();
    assert_eq!(scores.len() as u64, zset.len());
    let plain = Plain { scores, listpack: entry.kind().encoding() == "listpack" };
    check_reader(&zset, &plain.sorted());
    plain
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
    assert_eq!(zset.sample(5, testing::random(1)).len(), sorted.len().min(5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is left is what was put in, in the encodings that Redis would show.
    #[test]
    fn sorted_sets_are_what_was_put_into_them(transactions in testing::transactions(op())) {
        let run = |tx: &mut Tx<'_>, model: &mut Model, op: &Op| World { tx, model }.run(op);
        let read = |view: &View| testing::read(view, read);
        testing::drive(&mut testing::arena(), Model::new(), &transactions, run, read)?;
    }
}

/// An arena in which the first key has these elements.
fn arena_with(elements: impl Iterator<Item = (String, f64)>) -> Arena {
    let mut arena = testing::arena();
    let limits = Limits { entries: 128, value: 64 };
    let mut elements = elements.map(|(member, score)| (member.into_bytes(), score));
    let fill = |tx: &mut Tx<'_>| {
        let mut world = World { tx, model: &mut Model::new() };
        elements.try_for_each(|element| world.set(0, &element, &limits))
    };
    arena.transact(fill).expect("memory");
    arena
}

#[test]
fn sorted_sets_are_small() {
    let elements = |count: u64| (0..count).map(|n| (format!("member:{n:06}"), n as f64));
    let memory = |count: u64| testing::memory(&arena_with(elements(count)), 0, 0);
    assert!(memory(10) <= 224);
    let large = memory(20_000);
    assert!(large / 20_000 <= 72, "{large} bytes");
}

#[test]
fn a_large_sorted_set_is_taken_apart_in_small_steps() {
    let mut arena = arena_with((0..5_000).map(|n| (format!("m{n}"), f64::from(n % 7))));
    arena.transact(|tx| testing::remove(tx, 0)).expect("memory");
    let root = root::of(&arena);
    let mut steps = 0;
    while arena.transact(|tx| keyspace::trash::step(tx, root, 100)).expect("memory") {
        testing::check(&arena);
        steps += 1;
    }
    assert!(steps > 20, "{steps} steps");
}
