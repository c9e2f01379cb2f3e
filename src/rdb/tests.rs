//! Reading what was written, and what was damaged.

use proptest::prelude::*;

use super::object::{Object, read};
use super::reader::Reader;
use super::writer::Writer;
use super::*;

#[test]
fn checksums_are_those_of_redis() {
    assert_eq!(CRC.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    let mut dump = b"\0\x03abc".to_vec();
    seal(&mut dump);
    assert!(is_sealed(&dump));
    for at in 0..dump.len() {
        dump[at] ^= 1;
        assert!(!is_sealed(&dump), "byte {at} is not covered");
        dump[at] ^= 1;
    }
    assert!(!is_sealed(b"") && !is_sealed(&dump[..dump.len() - 1]));
}

#[test]
fn newer_versions_are_refused() {
    let sealed_as = |version: u16| {
        let mut dump = b"\0\x03abc".to_vec();
        dump.extend_from_slice(&version.to_le_bytes());
        let checksum = CRC.checksum(&dump);
        dump.extend_from_slice(&checksum.to_le_bytes());
        dump
    };
    assert!(is_sealed(&sealed_as(1)) && is_sealed(&sealed_as(VERSION)));
    assert!(!is_sealed(&sealed_as(VERSION + 1)));
}

/// Texts of some length that repeat themselves, so that compression has something to do.
fn repetitive() -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::collection::vec(any::<u8>(), 1..24);
    let words = proptest::collection::vec(word, 1..5);
    (words, proptest::collection::vec(any::<prop::sample::Index>(), 0..600)).prop_map(
        |(words, order)| order.iter().flat_map(|at| words[at.index(words.len())].clone()).collect(),
    )
}

fn strings(of: &[&[u8]]) -> strings::Strings {
    of.iter().copied().collect()
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(text in repetitive()) {
        if let Some(small) = lzf::compress(&text, text.len().saturating_sub(4)) {
            prop_assert!(small.len() + 4 <= text.len());
            let back = lzf::decompress(&small, text.len() as u64);
            prop_assert_eq!(back.as_deref(), Ok(&text[..]));
            prop_assert!(lzf::decompress(&small, text.len() as u64 + 1).is_err());
            prop_assert!(lzf::decompress(&small[..small.len() - 1], text.len() as u64).is_err());
        }
    }

    #[test]
    fn strings_and_numbers_come_back(
        text in prop_oneof![
            repetitive(),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        ],
        number: u64,
        score: f64,
        time: i64,
        compress: bool,
    ) {
        let mut writer = Writer::new(kind::STRING, compress);
        writer.string(&text);
        writer.length(number);
        writer.double(score);
        writer.time(time);
        let out = writer.finish();
        let mut reader = Reader::new(&out[1..]);
        prop_assert_eq!(&*reader.string().unwrap(), &text[..]);
        prop_assert_eq!(reader.number().unwrap(), number);
        prop_assert_eq!(reader.double().unwrap().to_bits(), score.to_bits());
        prop_assert_eq!((reader.time().unwrap(), reader.remaining()), (time, 0));
    }

    #[test]
    fn no_bytes_harm_a_reader(
        kind in 0u8..21,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = read(&[&[kind], &bytes[..]].concat());
    }

    #[test]
    fn no_damage_harms_a_reader(
        which: prop::sample::Index,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end: prop::sample::Index,
    ) {
        let mut dump = SAMPLES[which.index(SAMPLES.len())].0.to_vec();
        for (at, byte) in &changes {
            let at = at.index(dump.len());
            dump[at] = *byte;
        }
        if !changes.is_empty() {
            let _ = read(&dump);
            dump.truncate(end.index(dump.len()));
        }
        let _ = read(&dump);
    }
}

/// One dump of every kind, and the strings that are in it.
const SAMPLES: &[(&[u8], &[&[u8]])] = &[
    (b"\x00\x03abc", &[b"abc"]),
    (b"\x00\xc1\x39\x30", &[b"12345"]),
    (b"\x00\xc3\x09\x40\x64\x01aa\xe0\x57\x00\x01aa", &[&[b'a'; 100]]),
    (b"\x01\x02\x01a\xc0\xff", &[b"a", b"-1"]),
    (b"\x02\x02\x01a\x01b", &[b"a", b"b"]),
    (b"\x03\x02\x01a\x031.5\x01b\xfe", &[b"a", b"b"]),
    (b"\x05\x01\x01a\0\0\0\0\0\0\xf0\x3f", &[b"a"]),
    (b"\x04\x01\x01f\x01v", &[b"f", b"v"]),
    (b"\x09\x0f\x02\x01a\x02\0bc\x01d\x01\x02exx\xff", &[b"a", b"bc", b"d", b"e"]),
    (
        b"\x0a\x17\x17\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf3\x02\xc0\0\x01\x04\xfe\xff\xff",
        &[b"a", b"2", b"256", b"-1"],
    ),
    (b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x05\0", &[b"1", b"5"]),
    (b"\x0c\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff", &[b"a"]),
    (b"\x0d\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff", &[b"a", b"2"]),
    (b"\x0e\x01\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff", &[b"a"]),
    (b"\x10\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff", &[b"f", b"1"]),
    (b"\x11\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff", &[b"f"]),
    (b"\x12\x02\x02\x0a\x0a\0\0\0\x01\0\x81a\x02\xff\x01\x03xyz", &[b"a", b"xyz"]),
];

#[test]
fn samples_of_every_kind_are_read() {
    for (dump, wanted) in SAMPLES {
        let found = match read(dump).unwrap_or_else(|e| panic!("{}: {e}", dump.escape_ascii())) {
            Object::String(text) => strings(&[&text]),
            Object::List(strings) | Object::Set(strings) => strings,
            Object::Zset(zset) => {
                assert_eq!(zset.members.len(), zset.scores.len());
                zset.members
            }
            Object::Hash(hash) => hash.pairs,
            Object::Stream(_) => panic!("no stream"),
        };
        assert_eq!(found, strings(wanted), "{}", dump.escape_ascii());
    }
}

#[test]
fn what_redis_refuses_is_refused() {
    let refused: &[(&[u8], &str)] = &[
        (b"", "nothing"),
        (b"\x06\x01", "a module"),
        (b"\x00\x05abc", "a string that ends too early"),
        (b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff", "a string without an end"),
        (b"\x00\xc3\x02\x81\0\0\0\xff\xff\xff\xff\xff\x01a", "a string that grows without limit"),
        (b"\x00\xc4", "an unknown encoding"),
        (b"\x01\x00", "an empty list"),
        (b"\x02\x02\x01a\x01a", "a member twice"),
        (b"\x04\x02\x01a\x01b\x01a\x01b", "a field twice"),
        (b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f", "a score that is no number"),
        (b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x05\0\x01\0", "integers in disorder"),
        (b"\x10\x0a\x0a\0\0\0\x01\0\x81f\x02\xff", "a field without a value"),
        (b"\x10\x0c\x0c\0\0\0\x03\0\x81f\x02\x01\x01\xff", "another number of items"),
        (b"\x10\x0c\x0c\0\0\0\x02\0\x81f\x03\x01\x01\xff", "another length backwards"),
        (b"\x12\x01\x03\x03xyz", "an unknown container"),
        (b"\x12\x01\x02\x07\x07\0\0\0\0\0\xff", "nothing but an empty node"),
    ];
    for (dump, what) in refused {
        assert!(read(dump).is_err(), "{what} was accepted");
    }
}
