//! What the tests of the types have in common: an arena whose keys have numbers, and operations that
//! run several to a transaction, some of them taken back, beside a model of what they should do.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use shm::{Arena, Fresh, Off, Options, OutOfMemory, Tx, View};

use crate::keyspace::{self, Database, Entry, EntryView, Found};
use crate::root;

/// When a key expires that has an expiry, in milliseconds since the epoch.
pub const EXPIRY: i64 = 33_177_117_420_000;

/// An arena with one database, which is empty.
pub fn arena() -> Arena {
    let options = Options { reserve: 0, ..Options::default() };
    let (mut arena, _) = Arena::create(&options).expect("an arena");
    arena.transact(|tx| root::create(tx, 1, 0, [b'0'; 40], [0; 16])).expect("memory");
    arena
}

/// Fails unless the checker finds that all is well.
pub fn check(arena: &Arena) {
    let report = crate::check::check_arena(arena);
    assert!(report.clean, "{}", report.text);
}

/// Numbers that look random, the same ones for the same seed.
pub fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// The name of the key of that number. Names differ in length, so that values lie at different
/// distances from the start of their entries.
pub fn name(key: u8) -> Vec<u8> {
    vec![b'k'; 1 + 7 * usize::from(key)]
}

fn number_of(name: &[u8]) -> u8 {
    ((name.len() - 1) / 7) as u8
}

fn database(view: &View) -> Off<Database> {
    root::database(view, root::of(view), 0)
}

/// Looks a key up.
pub fn find(view: &View, key: u8) -> Option<Found> {
    let name = name(key);
    keyspace::find(view, database(view), view.hash(&name), &name)
}

/// Bytes that a key takes, which has to be there, by that many samples of its value.
pub fn memory(view: &View, key: u8, samples: u64) -> u64 {
    let found = find(view, key).expect("the key");
    crate::values::memory(&EntryView::new(view, found.entry), samples)
}

/// Makes a fresh entry the one of its key, whether it is there or not.
pub fn put(tx: &mut Tx<'_>, key: u8, fresh: Fresh) -> Result<(), OutOfMemory> {
    let (database, hash) = (database(tx), tx.hash(&name(key)));
    let entry = fresh.off().cast();
    match find(tx, key) {
        Some(found) => keyspace::replace(tx, database, hash, &found, entry),
        None => keyspace::insert(tx, database, hash, entry),
    }
}

/// Takes over the entry that a change has made anew, if it has.
pub fn settle(tx: &mut Tx<'_>, key: u8, moved: Option<Off<Entry>>) -> Result<(), OutOfMemory> {
    let Some(entry) = moved else { return Ok(()) };
    let (database, hash) = (database(tx), tx.hash(&name(key)));
    let found = find(tx, key).expect("the key that was changed");
    let found = keyspace::replace_reshaped(tx, database, hash, &found, entry)?;
    assert_eq!(find(tx, key).map(|found| found.entry), Some(found.entry));
    Ok(())
}

/// Sets a key's expiry or removes it. Does nothing if the key is not there, as [`copy`] and [`remove`].
pub fn expire(tx: &mut Tx<'_>, key: u8, at: Option<i64>) -> Result<(), OutOfMemory> {
    let Some(found) = find(tx, key) else { return Ok(()) };
    let (database, hash) = (database(tx), tx.hash(&name(key)));
    keyspace::set_expiry(tx, database, hash, &found, at).map(|_| ())
}

/// Puts a copy of a key, with its expiry, in the place of another (or of itself).
pub fn copy(tx: &mut Tx<'_>, from: u8, to: u8) -> Result<(), OutOfMemory> {
    let Some(found) = find(tx, from) else { return Ok(()) };
    let expiry = EntryView::new(tx, found.entry).expiry();
    let fresh = crate::values::copy(tx, found.entry, &name(to), expiry)?;
    put(tx, to, fresh)
}

/// Removes a key.
pub fn remove(tx: &mut Tx<'_>, key: u8) -> Result<(), OutOfMemory> {
    let Some(found) = find(tx, key) else { return Ok(()) };
    let database = database(tx);
    keyspace::remove(tx, database, &found)
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<V> {
    /// Its value.
    pub value: V,
    /// When it expires, in milliseconds since the epoch.
    pub expiry: Option<i64>,
}

/// What all keys should hold, by their numbers.
pub type Model<V> = BTreeMap<u8, Held<V>>;

/// What the model has of a key that the arena has.
pub fn value<V>(model: &mut Model<V>, key: u8) -> &mut V {
    &mut model.get_mut(&key).expect("the model has the key").value
}

/// Reads all keys back.
pub fn read<V>(view: &View, value: impl Fn(&EntryView<'_>) -> V) -> Model<V> {
    let mut model = Model::new();
    shm::table::for_each(view, keyspace::keys(database(view)), |view, block| {
        let entry = EntryView::new(view, block.cast());
        let held = Held { value: value(&entry), expiry: entry.expiry() };
        assert!(model.insert(number_of(entry.key()), held).is_none(), "a key that is there twice");
    });
    model
}

/// What can be done to a key whatever it holds.
#[derive(Debug, Clone)]
pub enum KeyOp {
    Copy { from: u8, to: u8 },
    Expire { key: u8, expiry: bool },
    Remove { key: u8 },
}

impl KeyOp {
    /// Operations on the first `keys` keys.
    pub fn any(keys: u8) -> impl Strategy<Value = KeyOp> {
        let key = 0..keys;
        prop_oneof![
            (key.clone(), key.clone()).prop_map(|(from, to)| KeyOp::Copy { from, to }),
            (key.clone(), any::<bool>()).prop_map(|(key, expiry)| KeyOp::Expire { key, expiry }),
            key.prop_map(|key| KeyOp::Remove { key }),
        ]
    }

    /// Runs it in the arena and in the model.
    pub fn run<V: Clone>(&self, tx: &mut Tx<'_>, model: &mut Model<V>) -> Result<(), OutOfMemory> {
        match *self {
            KeyOp::Copy { from, to } => {
                model.get(&from).cloned().map(|held| model.insert(to, held));
                copy(tx, from, to)
            }
            KeyOp::Expire { key, expiry } => {
                let at = expiry.then_some(EXPIRY);
                model.get_mut(&key).into_iter().for_each(|held| held.expiry = at);
                expire(tx, key, at)
            }
            KeyOp::Remove { key } => {
                model.remove(&key);
                remove(tx, key)
            }
        }
    }
}

/// What becomes of an operation, or of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    TakenBack,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![3 => Just(Fate::Kept), 1 => Just(Fate::TakenBack)]
}

/// Operations that run in one transaction.
#[derive(Debug, Clone)]
pub struct Transaction<Op> {
    ops: Vec<(Op, Fate)>,
    fate: Fate,
}

/// Some transactions, each of a few operations.
pub fn transactions<Op: Debug + Clone>(
    op: impl Strategy<Value = Op>,
) -> impl Strategy<Value = Vec<Transaction<Op>>> {
    let transaction = (prop::collection::vec((op, fate()), 1..8), fate())
        .prop_map(|(ops, fate)| Transaction { ops, fate });
    prop::collection::vec(transaction, 1..12)
}

/// Runs transactions on an arena that holds what the model says. After every operation, and after
/// taking it back to a savepoint if that is its fate, `read` has to find what the model says; so after
/// every transaction, of which the checker must find nothing wrong either.
pub fn drive<Op: Debug, M: Debug + Clone + PartialEq>(
    arena: &mut Arena,
    mut model: M,
    transactions: &[Transaction<Op>],
    run: impl Fn(&mut Tx<'_>, &mut M, &Op) -> Result<(), OutOfMemory>,
    read: impl Fn(&View) -> M,
) -> Result<(), TestCaseError> {
    for transaction in transactions {
        let payload = arena.payload();
        let mut tx = arena.begin();
        let mut draft = model.clone();
        for (op, fate) in &transaction.ops {
            let (point, before) = (tx.savepoint(), draft.clone());
            run(&mut tx, &mut draft, op).expect("memory");
            prop_assert_eq!(&read(&tx), &draft, "after {:?}", op);
            if *fate == Fate::TakenBack {
                tx.rollback_to(point);
                draft = before;
                prop_assert_eq!(&read(&tx), &draft, "after {:?} was taken back", op);
            }
        }
        match transaction.fate {
            Fate::Kept => {
                tx.commit(&payload);
                model = draft;
            }
            Fate::TakenBack => drop(tx),
        }
        prop_assert_eq!(&read(arena), &model);
        check(arena);
    }
    Ok(())
}
