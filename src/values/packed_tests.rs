use proptest::prelude::*;
use shm::{Arena, Options};

use super::*;
use crate::keyspace::{self, Database};
use crate::root;

const NAME: &[u8] = b"name";

fn arena() -> (Arena, Off<Database>) {
    let options = Options { reserve: 0, ..Options::default() };
    let (mut arena, _) = Arena::create(&options).expect("an arena");
    let made = arena.transact(|tx| root::create(tx, 1, 0, [b'0'; 40]));
    let database = root::database(&arena, made.expect("memory"), 0);
    (arena, database)
}

fn find(view: &View, database: Off<Database>) -> keyspace::Found {
    keyspace::find(view, database, view.hash(NAME), NAME).expect("the key")
}

fn read(view: &View, database: Off<Database>) -> Vec<Vec<u8>> {
    let found = find(view, database);
    let packed = Packed::of(&EntryView::new(view, found.entry));
    assert_eq!(pack::validate(packed.run), Some(packed.count));
    packed.items().map(|item| item.to_vec()).collect()
}

fn packed(values: &[Vec<u8>]) -> Vec<u8> {
    let mut run = Vec::new();
    values.iter().for_each(|value| pack::encode(&mut run, value));
    run
}

fn put(tx: &mut Tx<'_>, database: Off<Database>, values: &[Vec<u8>]) -> Result<(), OutOfMemory> {
    let expiry = Some(33_177_117_420_000);
    let fresh = create(tx, NAME, Kind::ListPacked, expiry, values.len(), &packed(values))?;
    keyspace::insert(tx, database, tx.hash(NAME), fresh.off().cast())
}

/// Replaces items by others; says whether the entry stayed where it was.
fn replace(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    items: std::ops::Range<usize>,
    values: &[Vec<u8>],
) -> Result<bool, OutOfMemory> {
    let found = find(tx, database);
    let old = Packed::of(&EntryView::new(tx, found.entry));
    let at = pack::nth(old.run, old.count, items.start);
    let end = pack::nth(old.run, old.count, items.end);
    let change = Splice {
        at,
        removed: end - at,
        bytes: &packed(values),
        items: values.len() as isize - items.len() as isize,
    };
    let Some(moved) = splice(tx, found.entry, change)? else { return Ok(true) };
    let hash = tx.hash(NAME);
    let new = keyspace::replace_reshaped(tx, database, hash, &found, moved)?;
    assert_eq!(find(tx, database).entry, new.entry);
    Ok(false)
}

fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let value = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..20),
        (0usize..400).prop_map(|len| vec![b'x'; len]),
    ];
    prop::collection::vec(value, 0..4)
}

type Index = prop::sample::Index;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Several splices a transaction, some of them taken back, alone or all together.
    #[test]
    fn splices_do_as_a_vector_does(
        first in values(),
        transactions in prop::collection::vec(
            (
                prop::collection::vec((any::<Index>(), any::<Index>(), values(), 0u8..3), 1..8),
                any::<bool>(),
            ),
            1..10,
        ),
    ) {
        let (mut arena, database) = arena();
        let mut model = first.clone();
        model.push(b"never alone".to_vec());
        arena.transact(|tx| put(tx, database, &model)).expect("memory");
        for (splices, commits) in &transactions {
            let payload = arena.payload();
            let mut tx = arena.begin();
            let mut draft = model.clone();
            for (start, end, values, fate) in splices {
                let start = start.index(draft.len());
                let end = start + end.index(draft.len() - start);
                let point = tx.savepoint();
                replace(&mut tx, database, start..end, values).expect("memory");
                if *fate == 0 {
                    tx.rollback_to(point);
                } else {
                    draft.splice(start..end, values.iter().cloned());
                }
                prop_assert_eq!(&read(&tx, database), &draft);
            }
            if *commits {
                tx.commit(&payload);
                model = draft;
            } else {
                drop(tx);
            }
            prop_assert_eq!(&read(&arena, database), &model);
        }
        // What kind of value it is is nobody's business here, but that nothing leaks.
        let found = find(&arena, database);
        arena.transact(|tx| keyspace::remove(tx, database, &found)).expect("memory");
        let report = crate::check::check_arena(&arena);
        prop_assert!(report.clean, "{}", report.text);
    }
}

#[test]
fn what_shrinks_and_grows_again_is_taken_back_whole() {
    let (mut arena, database) = arena();
    let original: Vec<Vec<u8>> = (0..8).map(|i| vec![b'a' + i; 10]).collect();
    arena.transact(|tx| put(tx, database, &original)).expect("memory");
    let mut tx = arena.begin();
    assert!(replace(&mut tx, database, 5..8, &[]).expect("memory"), "it was to happen in place");
    let point = tx.savepoint();
    let other = vec![vec![b'z'; 10]; 3];
    assert!(replace(&mut tx, database, 5..5, &other).expect("memory"), "it was to happen in place");
    tx.rollback_to(point);
    assert_eq!(read(&tx, database), &original[..5]);
    drop(tx);
    assert_eq!(read(&arena, database), original);
}

#[test]
fn what_grew_has_room_to_grow_again() {
    let (mut arena, database) = arena();
    let values: Vec<Vec<u8>> = vec![vec![b'x'; 100]; 4];
    arena.transact(|tx| put(tx, database, &values)).expect("memory");
    let grow = |tx: &mut Tx<'_>| replace(tx, database, 4..4, &[vec![b'y'; 100]]);
    assert!(!arena.transact(grow).expect("memory"), "there was room");
    let small = |tx: &mut Tx<'_>| replace(tx, database, 5..5, &[b"1".to_vec()]);
    assert!(arena.transact(small).expect("memory"), "growing left no room");
}

#[test]
fn a_large_block_is_not_kept_for_few_items() {
    let (mut arena, database) = arena();
    let values: Vec<Vec<u8>> = vec![vec![b'x'; 100]; 8];
    arena.transact(|tx| put(tx, database, &values)).expect("memory");
    arena.transact(|tx| replace(tx, database, 1..8, &[])).expect("memory");
    let found = find(&arena, database);
    let memory = crate::values::memory(&EntryView::new(&arena, found.entry), 0);
    assert!(memory < 300, "{memory} bytes");
}
