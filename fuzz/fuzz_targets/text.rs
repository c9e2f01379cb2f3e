//! Readers of text that clients send: none panics, and what is printed is read back.

#![no_main]

use hotredis::util::extended::Extended;
use hotredis::util::glob::{self, Case};
use hotredis::util::{memsize, numbers, quote};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (text, other) = input;
    for case in [Case::Sensitive, Case::Ignored] {
        let _ = glob::matches(text, other, case);
    }

    let mut words = Vec::new();
    let mut split = Vec::new();
    let quoted = quote::repr(text);
    let balanced = quote::split_args(quoted.as_bytes(), &mut split, |start, len| {
        words.push((start, len));
    });
    assert!(balanced.is_some() && words == [(0, text.len())] && split == text);
    let _ = quote::split_args(text, &mut split, |_, _| {});

    if let Some(value) = numbers::string2ll(text) {
        assert_eq!(value.to_string().as_bytes(), text);
    }
    let _ = (numbers::string2ull(text), numbers::scan_cursor(text), memsize::memtoull(text));
    if let Some(value) = numbers::string2d(text) {
        let mut printed = Vec::new();
        numbers::write_g17(&mut printed, value);
        assert_eq!(numbers::string2d(&printed), Some(value));
    }
    if let (Some(a), Some(b)) = (Extended::parse(text), Extended::parse(other)) {
        assert_eq!(a.checked_add(b), b.checked_add(a));
        let _ = a.to_human();
    }
});
