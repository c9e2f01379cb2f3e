//! Packed runs: what is packed is read back, from both ends, and no bytes whatever bring it down.

use proptest::prelude::*;
use shm::pack::{self, Checked, Digits, Item};

fn packed(values: &[Vec<u8>]) -> Vec<u8> {
    let mut run = Vec::new();
    for value in values {
        let before = run.len();
        pack::encode(&mut run, value);
        assert_eq!(run.len() - before, pack::encoded_len(value));
    }
    run
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        4 => (-70_000i64..70_000).prop_map(|n| n.to_string().into_bytes()),
        2 => prop::sample::select(vec!["", "-0", "00", "+1", "-", "9223372036854775808", "x"])
            .prop_map(|text| text.as_bytes().to_vec()),
        4 => prop::collection::vec(any::<u8>(), 0..80),
        1 => (0usize..20_000).prop_map(|n| vec![b'l'; n]),
    ]
}

proptest! {
    #[test]
    fn what_is_packed_is_read_back(values in prop::collection::vec(value(), 0..20)) {
        let run = packed(&values);
        prop_assert_eq!(pack::validate(&run), Some(values.len()));
        let forth: Vec<Vec<u8>> = pack::items(&run).map(|item| item.to_vec()).collect();
        prop_assert_eq!(&forth, &values);
        let mut back: Vec<Vec<u8>> = pack::items(&run).rev().map(|item| item.to_vec()).collect();
        back.reverse();
        prop_assert_eq!(&back, &values);
        let mut at = 0;
        for (i, value) in values.iter().enumerate() {
            prop_assert_eq!(pack::nth(&run, values.len(), i), at);
            let (item, after) = pack::next(&run, at).expect("an item");
            prop_assert!(item.is(value) && item == Item::of(value));
            prop_assert_eq!(item.text_len(), value.len());
            prop_assert_eq!(pack::previous(&run, after), Some((item, at)));
            prop_assert_eq!(pack::skip(&run, at), after);
            at = after;
        }
        prop_assert_eq!(pack::next(&run, at), None);
        prop_assert_eq!(pack::nth(&run, values.len(), values.len()), run.len());
    }

    #[test]
    fn values_are_found_where_they_are_first(
        values in prop::collection::vec(value(), 0..20),
        wanted in value(),
        pick in any::<prop::sample::Index>(),
        skip in 0usize..2,
    ) {
        let values: Vec<_> = values.chunks_exact(skip + 1).flatten().cloned().collect();
        let run = packed(&values);
        let mut wanted = wanted;
        if !values.is_empty() {
            wanted = values[pick.index(values.len())].clone();
        }
        let index = values.iter().step_by(skip + 1).position(|value| *value == wanted);
        let expected = index.map(|i| pack::nth(&run, values.len(), i * (skip + 1)));
        prop_assert_eq!(pack::find(&run, 0, &wanted, skip), expected);
    }

    #[test]
    fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(Checked { count, canonical }) = pack::check(&bytes) {
            let values: Vec<_> = pack::items(&bytes).map(|item| item.to_vec()).collect();
            prop_assert_eq!(values.len(), count);
            prop_assert_eq!(pack::items(&bytes).rev().count(), count);
            prop_assert_eq!(packed(&values) == bytes, canonical);
        }
    }

    #[test]
    fn a_run_with_one_wrong_byte_is_refused_or_still_a_run(
        values in prop::collection::vec(value(), 1..8),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut run = packed(&values);
        let at = at.index(run.len());
        run[at] = byte;
        if let Some(checked) = pack::check(&run) {
            prop_assert_eq!(pack::items(&run).count(), checked.count);
            prop_assert_eq!(pack::items(&run).rev().count(), checked.count);
        }
    }
}

#[test]
fn encodings_are_those_of_a_listpack() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"0", &[0, 1]),
        (b"127", &[127, 1]),
        (b"128", &[0xc0, 128, 2]),
        (b"-1", &[0xdf, 0xff, 2]),
        (b"4095", &[0xcf, 0xff, 2]),
        (b"-4096", &[0xd0, 0, 2]),
        (b"4096", &[0xf1, 0, 0x10, 3]),
        (b"-32768", &[0xf1, 0, 0x80, 3]),
        (b"32768", &[0xf2, 0, 0x80, 0, 4]),
        (b"-8388609", &[0xf3, 0xff, 0xff, 0x7f, 0xff, 5]),
        (b"2147483648", &[0xf4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]),
        (b"", &[0x80, 1]),
        (b"abc", &[0x83, b'a', b'b', b'c', 4]),
    ];
    for (value, expected) in cases {
        let mut run = Vec::new();
        pack::encode(&mut run, value);
        assert_eq!(run, *expected, "{:?}", String::from_utf8_lossy(value));
    }
    for (len, head, back) in [
        (63, vec![0xbf], vec![64]),
        (64, vec![0xe0, 64], vec![66]),
        (126, vec![0xe0, 126], vec![1, 0x80]),
        (4095, vec![0xef, 0xff], vec![32, 0x81]),
        (4096, vec![0xf0, 0, 0x10, 0, 0], vec![32, 0x85]),
        (16_377, vec![0xf0, 0xf9, 0x3f, 0, 0], vec![127, 0xfe]),
        (16_378, vec![0xf0, 0xfa, 0x3f, 0, 0], vec![0, 0xff, 0xff]),
    ] {
        let mut run = Vec::new();
        pack::encode(&mut run, &vec![b'x'; len]);
        assert_eq!(&run[..head.len()], head, "{len}");
        assert_eq!(&run[head.len() + len..], back, "{len}");
        assert_eq!(pack::before(&run, run.len()), Some(0));
    }
}

#[test]
fn items_that_are_not_canonical_are_told() {
    for run in [
        &[0x81, b'5', 2][..],    // an integer as text
        &[0xc0, 5, 2][..],       // an integer in too many bytes
        &[0xe0, 1, b'a', 3][..], // a length in too many bytes
        &[0xf1, 0, 1, 3][..],
    ] {
        assert_eq!(pack::check(run), Some(Checked { count: 1, canonical: false }), "{run:?}");
        assert_eq!(pack::validate(run), None);
    }
    for run in [&[0xff][..], &[0x81, b'a'], &[0x81, b'a', 3], &[0xf5, 1], &[0x85, b'a', 2]] {
        assert_eq!(pack::check(run), None, "{run:?}");
    }
}

#[test]
fn texts_need_no_allocation() {
    let mut digits = Digits::new();
    assert_eq!(Item::Int(i64::MIN).text(&mut digits), b"-9223372036854775808");
    for (number, len) in [(0, 1), (9, 1), (10, 2), (-1, 2), (i64::MIN, 20), (i64::MAX, 19)] {
        assert_eq!(Item::Int(number).text_len(), len);
    }
    assert!(!Item::Int(7).is(b"07") && Item::Int(7).is(b"7"));
    assert_eq!(Item::Bytes(b"07").as_integer(), None);
}
