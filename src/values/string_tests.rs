use proptest::prelude::*;
use shm::{Arena, blob};

use super::*;
use crate::values::testing::{self, EXPIRY, Held, KeyOp};

/// One change of one key. Sizes and positions cross every boundary between the encodings.
#[derive(Debug, Clone)]
enum Op {
    Set { key: u8, bytes: Vec<u8>, expiry: bool },
    WriteAt { key: u8, at: u64, bytes: Vec<u8> },
    Append { key: u8, bytes: Vec<u8> },
    Key(KeyOp),
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
            .prop_map(|(key, bytes, expiry)| Op::Set { key, bytes, expiry }),
        3 => (key.clone(), at, bytes()).prop_map(|(key, at, bytes)| Op::WriteAt { key, at, bytes }),
        2 => (key, bytes()).prop_map(|(key, bytes)| Op::Append { key, bytes }),
        3 => KeyOp::any(4).prop_map(Op::Key),
    ]
}

/// What a key should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    bytes: Vec<u8>,
    encoding: &'static str,
}

type Model = testing::Model<Text>;

fn encoding_of(text: &[u8]) -> &'static str {
    match std::str::from_utf8(text).ok().and_then(|text| Some((text, text.parse::<i64>().ok()?))) {
        Some((text, number)) if number.to_string() == text => "int",
        _ if text.len() <= 44 => "embstr",
        _ => "raw",
    }
}

/// Runs an operation in the arena and in the model.
fn run(tx: &mut Tx<'_>, model: &mut Model, op: &Op) -> Result<(), OutOfMemory> {
    match op {
        Op::Set { key, bytes, expiry } => {
            let expiry = expiry.then_some(EXPIRY);
            let value = Text { bytes: bytes.clone(), encoding: encoding_of(bytes) };
            model.insert(*key, Held { value, expiry });
            set(tx, *key, bytes, expiry)
        }
        Op::WriteAt { key, at, bytes } => write_at_key(tx, model, *key, *at, bytes),
        Op::Append { key, bytes } => {
            let Some(held) = model.get(key) else { return Ok(()) };
            let end = held.value.bytes.len() as u64;
            write_at_key(tx, model, *key, end, bytes)
        }
        Op::Key(op) => op.run(tx, model),
    }
}

fn set(tx: &mut Tx<'_>, key: u8, bytes: &[u8], expiry: Option<i64>) -> Result<(), OutOfMemory> {
    let value = Encoded::of(bytes);
    if let Some(found) = testing::find(tx, key) {
        let has_slot = EntryView::new(tx, found.entry).has_expiry_slot();
        if (has_slot || expiry.is_none()) && overwrite(tx, found.entry, value)? {
            return testing::expire(tx, key, expiry);
        }
    }
    let fresh = create(tx, &testing::name(key), value, expiry)?;
    testing::put(tx, key, fresh)
}

/// Writes some bytes, of which there must be any, at a place of a key's string.
fn write_at_key(
    tx: &mut Tx<'_>,
    model: &mut Model,
    key: u8,
    at: u64,
    bytes: &[u8],
) -> Result<(), OutOfMemory> {
    if bytes.is_empty() {
        return Ok(());
    }
    let empty = Text { bytes: Vec::new(), encoding: "raw" };
    let text = &mut model.entry(key).or_insert(Held { value: empty, expiry: None }).value;
    let (start, end) = (at as usize, at as usize + bytes.len());
    text.bytes.resize(text.bytes.len().max(end), 0);
    text.bytes[start..end].copy_from_slice(bytes);
    text.encoding = "raw";
    let fresh = match testing::find(tx, key) {
        Some(found) => write_at(tx, found.entry, at, bytes)?,
        None => Some(create_raw(tx, &testing::name(key), None, &[], at, bytes)?),
    };
    fresh.map_or(Ok(()), |fresh| testing::put(tx, key, fresh))
}

/// Reads a string back, and holds what it says of itself against its bytes.
fn read(entry: &EntryView<'_>) -> Text {
    let content = content(entry).expect("a string");
    let mut bytes = Vec::new();
    content.pieces(0, u64::MAX, |piece| bytes.extend_from_slice(piece));
    assert_eq!(content.len(), bytes.len() as u64);
    assert_eq!(&*content.bytes(&mut itoa::Buffer::new()), bytes);
    if entry.kind() != Kind::Blob {
        assert_eq!(content.as_integer(), string2ll(&bytes));
    }
    Text { bytes, encoding: entry.kind().encoding() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is left is what was written, in the encodings that Redis would show.
    #[test]
    fn strings_are_what_was_written(transactions in testing::transactions(op())) {
        let read = |view: &View| testing::read(view, read);
        testing::drive(&mut testing::arena(), Model::new(), &transactions, run, read)?;
    }
}

fn entry_of(view: &View, key: u8) -> Off<Entry> {
    testing::find(view, key).expect("the key").entry
}

fn bytes_of(view: &View, key: u8) -> Vec<u8> {
    read(&EntryView::new(view, entry_of(view, key))).bytes
}

/// Overwrites one key, whose entry must stay where it is.
fn overwrite_in_place(values: &[&str]) {
    let overwrite_all = |tx: &mut Tx<'_>| {
        set(tx, 0, values[0].as_bytes(), None)?;
        let entry = entry_of(tx, 0);
        for value in &values[1..] {
            set(tx, 0, value.as_bytes(), None)?;
            assert_eq!(entry_of(tx, 0), entry, "{value}");
            assert_eq!(bytes_of(tx, 0), value.as_bytes());
        }
        Ok(())
    };
    testing::arena().transact(overwrite_all).expect("memory");
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
    let set_and_measure = |arena: &mut Arena, bytes: &[u8]| {
        arena.transact(|tx| set(tx, 0, bytes, None)).expect("memory");
        testing::memory(arena, 0, 0)
    };
    let mut arena = testing::arena();
    let large = set_and_measure(&mut arena, &[b'x'; 2000]);
    let small = set_and_measure(&mut arena, b"small");
    assert!(large >= 2000 && small < 100, "{large} {small}");
}

#[test]
fn a_write_far_behind_the_end_takes_little_memory() {
    const FAR: u64 = 500 << 20;
    let mut arena = testing::arena();
    let write_and_copy = |tx: &mut Tx<'_>| {
        let fresh = create_raw(tx, &testing::name(0), None, &[], FAR, b"end")?;
        testing::put(tx, 0, fresh)?;
        testing::copy(tx, 0, 1)
    };
    arena.transact(write_and_copy).expect("memory");
    for key in [0, 1] {
        let entry = EntryView::new(&arena, entry_of(&arena, key));
        assert_eq!(content(&entry).map(|content| content.len()), Some(FAR + 3));
        assert!(testing::memory(&arena, key, 0) < 1 << 20);
    }
}

#[test]
fn what_shrinks_and_grows_again_is_taken_back_whole() {
    let mut arena = testing::arena();
    let original = b"a value of thirty-two characters";
    arena.transact(|tx| set(tx, 0, original, None)).expect("memory");
    let mut tx = arena.begin();
    let entry = entry_of(&tx, 0);
    set(&mut tx, 0, b"sixteen of them.", None).expect("memory");
    let grown = write_at(&mut tx, entry, 16, b"and sixteen more").expect("memory");
    assert!(grown.is_none(), "it was to happen in place");
    assert_eq!(bytes_of(&tx, 0), b"sixteen of them.and sixteen more");
    drop(tx);
    assert_eq!(bytes_of(&arena, 0), original);
}
