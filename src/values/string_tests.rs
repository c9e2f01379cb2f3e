use std::collections::BTreeMap;

use proptest::prelude::*;
use shm::{Arena, Options, blob};

use super::*;
use crate::keyspace::{self, Database};
use crate::root;

const EXPIRY: i64 = 33_177_117_420_000;

/// One change of one key. Sizes and positions cross every boundary between the encodings.
#[derive(Debug, Clone)]
enum Op {
    Set { key: u8, value: Vec<u8>, expiry: bool },
    WriteAt { key: u8, at: u64, bytes: Vec<u8> },
    Append { key: u8, bytes: Vec<u8> },
    Copy { from: u8, to: u8 },
    Expire { key: u8, expiry: bool },
    Delete { key: u8 },
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![
        4 => 0usize..60,
        2 => 0usize..300,
        1 => INLINE_MAX - 4..INLINE_MAX + 4,
        1 => blob::PART as usize - 3..blob::PART as usize + 3,
        1 => 0usize..40_000,
    ];
    let numbers = any::<i64>().prop_map(|number| number.to_string().into_bytes());
    let texts = (sizes, any::<u8>()).prop_map(|(size, first)| {
        (0..size).map(|i| first.wrapping_add(i as u8)).collect::<Vec<u8>>()
    });
    prop_oneof![numbers, texts]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u8..4;
    let at = prop_oneof![0u64..80, 0u64..3000, 0u64..60_000];
    prop_oneof![
        4 => (key.clone(), bytes(), any::<bool>())
            .prop_map(|(key, value, expiry)| Op::Set { key, value, expiry }),
        3 => (key.clone(), at, bytes()).prop_map(|(key, at, bytes)| Op::WriteAt { key, at, bytes }),
        2 => (key.clone(), bytes()).prop_map(|(key, bytes)| Op::Append { key, bytes }),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, expiry)| Op::Expire { key, expiry }),
        1 => key.prop_map(|key| Op::Delete { key }),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    bytes: Vec<u8>,
    encoding: &'static str,
    expiry: Option<i64>,
}

type Model = BTreeMap<u8, Value>;

fn encoding_of(text: &[u8]) -> &'static str {
    match std::str::from_utf8(text).ok().and_then(|text| Some((text, text.parse::<i64>().ok()?))) {
        Some((text, number)) if number.to_string() == text => "int",
        _ if text.len() <= 44 => "embstr",
        _ => "raw",
    }
}

fn run_on_model(model: &mut Model, op: &Op) {
    match op.clone() {
        Op::Set { key, value, expiry } => {
            let encoding = encoding_of(&value);
            let expiry = expiry.then_some(EXPIRY);
            model.insert(key, Value { bytes: value, encoding, expiry });
        }
        Op::WriteAt { key, at, bytes } if !bytes.is_empty() => {
            let empty = Value { bytes: Vec::new(), encoding: "raw", expiry: None };
            let value = model.entry(key).or_insert(empty);
            let end = at as usize + bytes.len();
            value.bytes.resize(value.bytes.len().max(end), 0);
            value.bytes[at as usize..end].copy_from_slice(&bytes);
            value.encoding = "raw";
        }
        Op::WriteAt { .. } => {}
        Op::Append { key, bytes } => {
            if let Some(value) = model.get_mut(&key) {
                value.bytes.extend(bytes);
                value.encoding = "raw";
            }
        }
        Op::Copy { from, to } if from != to => {
            if let Some(value) = model.get(&from).cloned() {
                model.insert(to, value);
            }
        }
        Op::Copy { .. } => {}
        Op::Expire { key, expiry } => {
            if let Some(value) = model.get_mut(&key) {
                value.expiry = expiry.then_some(EXPIRY);
            }
        }
        Op::Delete { key } => {
            model.remove(&key);
        }
    }
}

/// Keys of different lengths, so that values lie at different distances.
fn name(key: u8) -> Vec<u8> {
    vec![b'k'; 1 + 7 * usize::from(key)]
}

struct World<'t, 'a> {
    tx: &'t mut Tx<'a>,
    database: Off<Database>,
}

impl World<'_, '_> {
    fn find(&self, key: u8) -> Option<keyspace::Found> {
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

    fn write_at(&mut self, key: u8, at: u64, bytes: &[u8]) -> Result<(), OutOfMemory> {
        let fresh = match self.find(key) {
            Some(found) => write_at(self.tx, found.entry, at, bytes)?,
            None => Some(create_raw(self.tx, &name(key), None, &[], at, bytes)?),
        };
        fresh.map_or(Ok(()), |fresh| self.put(key, fresh))
    }

    fn run(&mut self, op: &Op) -> Result<(), OutOfMemory> {
        match op {
            Op::Set { key, value, expiry } => self.set(*key, value, expiry.then_some(EXPIRY)),
            Op::WriteAt { key, at, bytes } if !bytes.is_empty() => self.write_at(*key, *at, bytes),
            Op::WriteAt { .. } => Ok(()),
            Op::Append { key, bytes } => {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let entry = EntryView::new(self.tx, found.entry);
                let end = content(&entry).expect("a string").len();
                self.write_at(*key, end, bytes)
            }
            Op::Copy { from, to } if from != to => {
                let Some(found) = self.find(*from) else { return Ok(()) };
                let expiry = EntryView::new(self.tx, found.entry).expiry();
                let fresh = crate::values::copy(self.tx, found.entry, &name(*to), expiry)?;
                self.put(*to, fresh)
            }
            Op::Copy { .. } => Ok(()),
            Op::Expire { key, expiry } => {
                let Some(found) = self.find(*key) else { return Ok(()) };
                let (hash, at) = (self.tx.hash(&name(*key)), expiry.then_some(EXPIRY));
                keyspace::set_expiry(self.tx, self.database, hash, &found, at).map(|_| ())
            }
            Op::Delete { key } => match self.find(*key) {
                Some(found) => keyspace::remove(self.tx, self.database, &found),
                None => Ok(()),
            },
        }
    }

    fn set(&mut self, key: u8, value: &[u8], expiry: Option<i64>) -> Result<(), OutOfMemory> {
        let value = Encoded::of(value);
        if let Some(found) = self.find(key) {
            let has_slot = EntryView::new(self.tx, found.entry).has_expiry_slot();
            if (has_slot || expiry.is_none()) && overwrite(self.tx, found.entry, value)? {
                let hash = self.tx.hash(&name(key));
                return keyspace::set_expiry(self.tx, self.database, hash, &found, expiry)
                    .map(|_| ());
            }
        }
        let fresh = create(self.tx, &name(key), value, expiry)?;
        self.put(key, fresh)
    }
}

/// Reads all keys back.
fn read(view: &View, database: Off<Database>) -> Model {
    let mut model = Model::new();
    shm::table::for_each(view, keyspace::keys(database), |view, block| {
        let entry = EntryView::new(view, block.cast());
        let content = content(&entry).expect("a string");
        let mut pieces = Vec::new();
        content.pieces(0, u64::MAX, |piece| pieces.extend_from_slice(piece));
        assert_eq!(content.len(), pieces.len() as u64);
        assert_eq!(&*content.bytes(&mut itoa::Buffer::new()), pieces);
        if entry.kind() != Kind::Blob {
            assert_eq!(content.as_integer(), string2ll(&pieces));
        }
        let value =
            Value { bytes: pieces, encoding: entry.kind().encoding(), expiry: entry.expiry() };
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
    fn strings_are_what_was_written(
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
                World { tx: &mut tx, database }.run(op).expect("memory");
                if *fate == 0 {
                    tx.rollback_to(point);
                } else {
                    run_on_model(&mut draft, op);
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

/// Overwrites one key, whose entry must stay where it is.
fn overwrite_in_place(values: &[&str]) {
    let (mut arena, database) = arena();
    arena
        .transact(|tx| {
            let mut world = World { tx, database };
            world.set(0, values[0].as_bytes(), None)?;
            let entry = world.find(0).map(|found| found.entry);
            for value in &values[1..] {
                world.set(0, value.as_bytes(), None)?;
                assert_eq!(world.find(0).map(|found| found.entry), entry, "{value}");
                assert_eq!(read(world.tx, database)[&0].bytes, value.as_bytes());
            }
            Ok(())
        })
        .expect("memory");
}

#[test]
fn small_values_are_overwritten_in_place() {
    overwrite_in_place(&["1", "2", "-9223372036854775808", "12"]);
    overwrite_in_place(&["hello", "world", "worlds", "x", ""]);
    overwrite_in_place(&["hello you", "12345", "hello you"]);
    let long = "x".repeat(1000);
    overwrite_in_place(&[&long, &long[1..], &long]);
}

#[test]
fn a_large_block_is_not_kept_for_a_small_value() {
    let (mut arena, database) = arena();
    arena
        .transact(|tx| {
            let mut world = World { tx, database };
            world.set(0, &[b'x'; 2000], None)?;
            let large = world
                .find(0)
                .map(|found| crate::values::memory(&EntryView::new(world.tx, found.entry), 0));
            world.set(0, b"small", None)?;
            let small = world
                .find(0)
                .map(|found| crate::values::memory(&EntryView::new(world.tx, found.entry), 0));
            assert!(large >= Some(2000) && small < Some(100), "{large:?} {small:?}");
            Ok(())
        })
        .expect("memory");
}

#[test]
fn a_write_far_behind_the_end_takes_little_memory() {
    const FAR: u64 = 500 << 20;
    let (mut arena, database) = arena();
    arena
        .transact(|tx| {
            let mut world = World { tx, database };
            world.write_at(0, FAR, b"end")?;
            let found = world.find(0).expect("written");
            let entry = EntryView::new(world.tx, found.entry);
            assert_eq!(content(&entry).map(|content| content.len()), Some(FAR + 3));
            assert!(crate::values::memory(&entry, 0) < 1 << 20);
            let copied = crate::values::copy(world.tx, found.entry, &name(1), None)?;
            world.put(1, copied)?;
            let found = world.find(1).expect("copied");
            assert!(crate::values::memory(&EntryView::new(world.tx, found.entry), 0) < 1 << 20);
            Ok(())
        })
        .expect("memory");
}

#[test]
fn what_shrinks_and_grows_again_is_taken_back_whole() {
    let (mut arena, database) = arena();
    let original = b"a value of thirty-two characters";
    let set = |tx: &mut Tx<'_>| World { tx, database }.set(0, original, None);
    arena.transact(set).expect("memory");
    let mut tx = arena.begin();
    let mut world = World { tx: &mut tx, database };
    let entry = world.find(0).map(|found| found.entry);
    world.set(0, b"sixteen of them.", None).expect("memory");
    world.write_at(0, 16, b"and sixteen more").expect("memory");
    assert_eq!(world.find(0).map(|found| found.entry), entry, "it was to happen in place");
    drop(tx);
    assert_eq!(read(&arena, database)[&0].bytes, original);
}
