use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shm::{Arena, Options};

use super::*;
use crate::keyspace::entry::Entry;
use crate::keyspace::{self, Database, Found};
use crate::root;

const EXPIRY: i64 = 33_177_117_420_000;

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
    /// Removes so many members, chosen by these random numbers.
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
        1 => (key.clone(), most_ints).prop_map(|(key, most_ints)| Op::Rewrite { key, most_ints }),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, expiry)| Op::Expire { key, expiry }),
        1 => key.prop_map(|key| Op::Delete { key }),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    members: BTreeSet<Vec<u8>>,
    /// Whether the set is kept as integers.
    ints: bool,
    expiry: Option<i64>,
}

type Model = BTreeMap<u8, Value>;

fn is_int(member: &[u8]) -> bool {
    pack::integer(member).is_some()
}

impl Value {
    fn add(&mut self, member: &[u8], most_ints: u64) {
        if self.members.insert(member.to_vec()) {
            self.ints &= is_int(member) && self.members.len() as u64 <= most_ints;
        }
    }
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    seed.rotate_left(32)
}

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

    fn exchange(&mut self, key: u8, found: &Found, entry: Off<Entry>) -> Result<(), OutOfMemory> {
        let hash = self.tx.hash(&name(key));
        keyspace::replace_reshaped(self.tx, self.database, hash, found, entry).map(|_| ())
    }

    fn add(&mut self, key: u8, member: &[u8], most_ints: u64) -> Result<(), OutOfMemory> {
        let Some(found) = self.find(key) else {
            let content = [Item::of(member)].into_iter().collect();
            let fresh = create(self.tx, &name(key), None, &content, most_ints)?;
            self.put(key, fresh)?;
            let mut value = Value { members: BTreeSet::new(), ints: true, expiry: None };
            value.add(member, most_ints);
            self.model.insert(key, value);
            return Ok(());
        };
        let added = add(self.tx, found.entry, member, most_ints)?;
        let value = self.model.get_mut(&key).expect("the model has the key");
        assert_eq!(added == Added::Present, value.members.contains(member), "{member:?}");
        value.add(member, most_ints);
        match added {
            Added::Moved(entry) => self.exchange(key, &found, entry),
            Added::Present | Added::InPlace => Ok(()),
        }
    }

    fn removed(&mut self, key: u8, member: &[u8], removed: Removed) -> Result<(), OutOfMemory> {
        let found = self.find(key).expect("the arena has the key");
        let value = self.model.get_mut(&key).expect("the model has the key");
        assert_eq!(removed != Removed::Absent, value.members.remove(member), "{member:?}");
        assert_eq!(removed == Removed::Last, value.members.is_empty());
        match removed {
            Removed::Absent | Removed::InPlace => Ok(()),
            Removed::Moved(entry) => self.exchange(key, &found, entry),
            Removed::Last => {
                self.model.remove(&key);
                keyspace::remove(self.tx, self.database, &found)
            }
        }
    }

    fn pop(&mut self, key: u8, seed: &mut u64) -> Result<(), OutOfMemory> {
        let Some(found) = self.find(key) else { return Ok(()) };
        let mut told = None;
        let tell = |member: Item<'_>| told = Some(member.to_vec());
        let removed = pop(self.tx, found.entry, || random(seed), tell)?;
        self.removed(key, &told.expect("a member"), removed)
    }

    fn run(&mut self, op: &Op) -> Result<(), OutOfMemory> {
        match op {
            Op::Add { key, members, most_ints } => {
                members.iter().try_for_each(|member| self.add(*key, member, *most_ints))
            }
            Op::Remove { key, members } => members.iter().try_for_each(|member| {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let removed = remove(self.tx, found.entry, member)?;
                self.removed(*key, member, removed)
            }),
            Op::Pop { key, count, seed } => {
                let mut seed = *seed;
                (0..*count).try_for_each(|_| self.pop(*key, &mut seed))
            }
            Op::Rewrite { key, most_ints } => {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let value = self.model.get_mut(key).expect("the model has the key");
                value.ints = value.members.iter().all(|member| is_int(member))
                    && value.members.len() as u64 <= *most_ints;
                let entry = EntryView::new(self.tx, found.entry);
                let content = Set::of(&entry).expect("a set").members().collect();
                let expiry = entry.expiry();
                let fresh = create(self.tx, &name(*key), expiry, &content, *most_ints)?;
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

/// Reads all keys back, and holds what a set says of itself against its members.
fn read(view: &View, database: Off<Database>) -> Model {
    let mut model = Model::new();
    shm::table::for_each(view, keyspace::keys(database), |view, block| {
        let entry = EntryView::new(view, block.cast());
        let set = Set::of(&entry).expect("a set");
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
        let ints = entry.kind().encoding() == "intset";
        let value = Value { members, ints, expiry: entry.expiry() };
        model.insert(((entry.key().len() - 1) / 7) as u8, value);
    });
    model
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
    fn sets_are_what_was_put_into_them(
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
        }
        let report = crate::check::check_arena(&arena);
        prop_assert!(report.clean, "{}", report.text);
    }
}

/// Bytes that a set with these members takes, key and all.
fn memory(members: impl Iterator<Item = String>) -> u64 {
    let (mut arena, database) = arena();
    let mut model = Model::new();
    arena
        .transact(|tx| {
            let mut world = World { tx, database, model: &mut model };
            for member in members {
                world.add(0, member.as_bytes(), 512)?;
            }
            let found = world.find(0).expect("the set");
            Ok(crate::values::memory(&EntryView::new(world.tx, found.entry), 0))
        })
        .expect("memory")
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
        let mut seed = 7;
        for _ in 0..count * 12 {
            let (mut arena, database) = arena();
            let mut model = Model::new();
            let mut tx = arena.begin();
            let mut world = World { tx: &mut tx, database, model: &mut model };
            (0..count).for_each(|n| world.add(0, format!("m{n}").as_bytes(), 0).expect("memory"));
            let found = world.find(0).expect("the set");
            let tell = |member: Item<'_>| {
                first.insert(member.to_vec());
            };
            let _ = pop(world.tx, found.entry, || random(&mut seed), tell).expect("memory");
            if first.len() == count {
                break;
            }
        }
        assert!(first.len() * 100 >= count * 99, "{} of {count}", first.len());
    }
}
