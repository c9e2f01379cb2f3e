use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::values::testing::{self, Held, KeyOp};

/// One change of one key.
#[derive(Debug, Clone)]
enum Op {
    /// Adds members, one after the other; the set is made if need be.
    Add {
        key: u8,
        members: Vec<Vec<u8>>,
        most_ints: u64,
    },
    Remove {
        key: u8,
        members: Vec<Vec<u8>>,
    },
    /// Removes so many members, chosen by numbers that follow from the seed.
    Pop {
        key: u8,
        count: usize,
        seed: u64,
    },
    /// Makes the set anew of what it has.
    Rewrite {
        key: u8,
        most_ints: u64,
    },
    Key(KeyOp),
}

/// Few integers of every width, texts of every length, and texts that look like integers.
fn member() -> impl Strategy<Value = Vec<u8>> {
    let text = |number: i64| number.to_string().into_bytes();
    prop_oneof![
        8 => (-15i64..15).prop_map(text),
        2 => (-40_000i64..40_000).prop_map(text),
        1 => any::<i64>().prop_map(text),
        4 => (0u8..100).prop_map(|n| format!("t{n}").into_bytes()),
        1 => (0usize..5, 100usize..900).prop_map(|(n, len)| vec![b'a' + n as u8; len - len % 200]),
        1 => prop::sample::select(vec!["", "-0", "+1", "01", "9223372036854775808", " 1"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// One member or a few, or as many numbers or texts in a row as change a set's form.
fn members() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let row = (any::<bool>(), 0u32..300, 1u32..150).prop_map(|(texts, from, count)| {
        let prefix = if texts { "row:" } else { "" };
        (from..from + count).map(|n| format!("{prefix}{n}").into_bytes()).collect()
    });
    prop_oneof![6 => prop::collection::vec(member(), 1..6), 1 => row]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u8..3;
    let most_ints = prop::sample::select(vec![0, 3, 20, 512]);
    prop_oneof![
        6 => (key.clone(), members(), most_ints.clone())
            .prop_map(|(key, members, most_ints)| Op::Add { key, members, most_ints }),
        4 => (key.clone(), members()).prop_map(|(key, members)| Op::Remove { key, members }),
        2 => (key.clone(), prop_oneof![1usize..4, 1usize..100], any::<u64>())
            .prop_map(|(key, count, seed)| Op::Pop { key, count, seed }),
        1 => (key, most_ints).prop_map(|(key, most_ints)| Op::Rewrite { key, most_ints }),
        3 => KeyOp::any(3).prop_map(Op::Key),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    members: BTreeSet<Vec<u8>>,
    /// Whether the set is kept as integers.
    ints: bool,
}

type Model = testing::Model<Plain>;

fn is_int(member: &[u8]) -> bool {
    pack::integer(member).is_some()
}

impl Plain {
    fn add(&mut self, member: &[u8], most_ints: u64) {
        if self.members.insert(member.to_vec()) {
            self.ints &= is_int(member) && self.members.len() as u64 <= most_ints;
        }
    }
}

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

    fn add(&mut self, key: u8, member: &[u8], most_ints: u64) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else {
            let content = [Item::of(member)].into_iter().collect();
            let fresh = create(self.tx, &testing::name(key), None, &content, most_ints)?;
            let mut value = Plain { members: BTreeSet::new(), ints: true };
            value.add(member, most_ints);
            self.model.insert(key, Held { value, expiry: None });
            return testing::put(self.tx, key, fresh);
        };
        let added = add(self.tx, found.entry, member, most_ints)?;
        let plain = self.plain(key);
        assert_eq!(added == Added::Present, plain.members.contains(member), "{member:?}");
        plain.add(member, most_ints);
        match added {
            Added::Moved(entry) => testing::settle(self.tx, key, Some(entry)),
            Added::Present | Added::InPlace => Ok(()),
        }
    }

    fn removed(&mut self, key: u8, member: &[u8], removed: Removed) -> Result<(), OutOfMemory> {
        let plain = self.plain(key);
        assert_eq!(removed != Removed::Absent, plain.members.remove(member), "{member:?}");
        assert_eq!(removed == Removed::Last, plain.members.is_empty());
        match removed {
            Removed::Absent | Removed::InPlace => Ok(()),
            Removed::Moved(entry) => testing::settle(self.tx, key, Some(entry)),
            Removed::Last => KeyOp::Remove { key }.run(self.tx, self.model),
        }
    }

    fn pop(&mut self, key: u8, random: impl FnMut() -> u64) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else { return Ok(()) };
        let mut told = None;
        let tell = |member: Item<'_>| told = Some(member.to_vec());
        let removed = pop(self.tx, found.entry, random, tell)?;
        self.removed(key, &told.expect("a member"), removed)
    }

    fn rewrite(&mut self, key: u8, most_ints: u64) -> Result<(), OutOfMemory> {
        let Some(found) = testing::find(self.tx, key) else { return Ok(()) };
        let plain = self.plain(key);
        plain.ints = plain.members.iter().all(|member| is_int(member))
            && plain.members.len() as u64 <= most_ints;
        let entry = EntryView::new(self.tx, found.entry);
        let content = Set::of(&entry).expect("a set").members().collect();
        let expiry = entry.expiry();
        let fresh = create(self.tx, &testing::name(key), expiry, &content, most_ints)?;
        testing::put(self.tx, key, fresh)
    }

    fn run(&mut self, op: &Op) -> Result<(), OutOfMemory> {
        match op {
            Op::Add { key, members, most_ints } => {
                members.iter().try_for_each(|member| self.add(*key, member, *most_ints))
            }
            Op::Remove { key, members } => members.iter().try_for_each(|member| {
                let Some(found) = testing::find(self.tx, *key) else { return Ok(()) };
                let removed = remove(self.tx, found.entry, member)?;
                self.removed(*key, member, removed)
            }),
            Op::Pop { key, count, seed } => {
                let mut random = testing::random(*seed);
                (0..*count).try_for_each(|_| self.pop(*key, &mut random))
            }
            Op::Rewrite { key, most_ints } => self.rewrite(*key, *most_ints),
            Op::Key(op) => op.run(self.tx, self.model),
        }
    }
}

/// Reads a set back, and holds what it says of itself against its members.
fn read(entry: &EntryView<'_>) -> Plain {
    let set = Set::of(entry).expect("a set");
    let all: Vec<Item<'_>> = set.members().collect();
    assert_eq!(all.len() as u64, set.len());
    assert!(all.iter().all(|member| set.contains(*member)));
    let members: BTreeSet<Vec<u8>> = all.iter().map(|member| member.to_vec()).collect();
    let mut scanned = BTreeSet::new();
    let mut cursor = 0;
    loop {
        let (next, members) = set.scan(cursor, 10);
        scanned.extend(members.iter().map(|member| member.to_vec()));
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, members);
    let chosen = set.random(|| 0x5555_5555_5555_5555).expect("a member");
    assert!(members.contains(&chosen.to_vec()));
    Plain { members, ints: entry.kind().encoding() == "intset" }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is left is what was put in, in the encodings that Redis would show.
    #[test]
    fn sets_are_what_was_put_into_them(transactions in testing::transactions(op())) {
        let run = |tx: &mut Tx<'_>, model: &mut Model, op: &Op| World { tx, model }.run(op);
        let read = |view: &View| testing::read(view, read);
        testing::drive(&mut testing::arena(), Model::new(), &transactions, run, read)?;
    }
}

/// Bytes that a set with these members takes, key and all.
fn memory(members: impl Iterator<Item = String>) -> u64 {
    let mut arena = testing::arena();
    let fill = |tx: &mut Tx<'_>| {
        let mut world = World { tx, model: &mut Model::new() };
        members.into_iter().try_for_each(|member| world.add(0, member.as_bytes(), 512))
    };
    arena.transact(fill).expect("memory");
    testing::memory(&arena, 0, 0)
}

#[test]
fn small_sets_are_small() {
    assert!(memory((0..10).map(|n| n.to_string())) <= 56);
    assert!(memory((0..10).map(|n| format!("member:{n}"))) <= 160);
    // Beyond the form in the entry a set takes at least one segment.
    let large = memory((0..65).map(|n| format!("m{n}")));
    assert!((4032..8000).contains(&large), "{large}");
}

#[test]
fn popping_reaches_every_member() {
    for count in [5, 60, 300] {
        let mut first = BTreeSet::new();
        let mut random = testing::random(7);
        let mut arena = testing::arena();
        for _ in 0..count * 12 {
            let mut tx = arena.begin();
            let mut model = Model::new();
            let mut world = World { tx: &mut tx, model: &mut model };
            (0..count).for_each(|n| world.add(0, format!("m{n}").as_bytes(), 0).expect("memory"));
            let found = testing::find(&tx, 0).expect("the set");
            let tell = |member: Item<'_>| {
                first.insert(member.to_vec());
            };
            let _ = pop(&mut tx, found.entry, &mut random, tell).expect("memory");
            if first.len() == count {
                break;
            }
        }
        assert!(first.len() * 100 >= count * 99, "{} of {count}", first.len());
    }
}
