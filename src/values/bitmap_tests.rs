use super::*;
use proptest::prelude::*;

/// The bits of a string, one by one.
fn bits_of(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).map(move |i| byte & (0x80 >> i) != 0)).collect()
}

fn field_types() -> impl Strategy<Value = FieldType> {
    (any::<bool>(), 1u32..=64).prop_map(|(signed, bits)| FieldType {
        signed,
        bits: if signed { bits } else { bits.min(63) },
    })
}

proptest! {
    #[test]
    fn bits_are_counted_and_found(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..40),
        start in 0u64..330,
        length in 0u64..330,
        bit: bool,
    ) {
        let all = bits_of(&bytes);
        let end = (start + length).min(all.len() as u64);
        let range = Bits { start: start.min(end), end };
        let content = Content::Bytes(&bytes);
        let within = &all[range.start as usize..range.end as usize];
        let ones = within.iter().filter(|bit| **bit).count() as u64;
        prop_assert_eq!(count(&content, range), ones);
        let first = within.iter().position(|b| *b == bit).map(|at| range.start + at as u64);
        prop_assert_eq!(find(&content, range, bit), first);
        prop_assert_eq!(get(&content, start), all.get(start as usize).copied().unwrap_or(false));
    }

    #[test]
    fn operations_go_bit_by_bit(
        strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4),
        which in 0usize..3,
    ) {
        let operation = [Operation::And, Operation::Or, Operation::Xor][which];
        let longest = strings.iter().map(Vec::len).max().unwrap();
        let mut result = strings[0].clone();
        result.resize(longest, 0);
        strings[1..].iter().for_each(|s| operation.apply(&mut result, &Content::Bytes(s)));
        for (i, byte) in result.iter().enumerate() {
            let column = strings.iter().map(|s| s.get(i).copied().unwrap_or(0));
            let expected = match operation {
                Operation::And => column.reduce(|a, b| a & b),
                Operation::Or => column.reduce(|a, b| a | b),
                _ => column.reduce(|a, b| a ^ b),
            };
            prop_assert_eq!(Some(*byte), expected);
        }
    }

    #[test]
    fn fields_keep_to_their_bits(
        window: Window,
        at in 0u32..8,
        of_type in field_types(),
        value: i64,
    ) {
        let mut written = window;
        of_type.set(&mut written, at, value);
        let (before, after) = (bits_of(&window), bits_of(&written));
        let field = at as usize..(at + of_type.bits) as usize;
        for i in 0..72 {
            if field.contains(&i) {
                let shift = field.end - 1 - i;
                prop_assert_eq!(after[i], value >> shift & 1 != 0);
            } else {
                prop_assert_eq!(after[i], before[i]);
            }
        }
        prop_assert_eq!(of_type.get(&written, at), of_type.cut(value));
    }

    #[test]
    fn sums_overflow_as_integers_do(
        of_type in field_types(),
        value: i64,
        increment: i64,
        shift in 0u32..63,
    ) {
        let value = of_type.cut(value);
        let increment = increment >> shift;
        let (min, max) = match (of_type.signed, of_type.bits) {
            (true, bits) => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            (false, bits) => (0, (1i128 << bits) - 1),
        };
        let sum = i128::from(value) + i128::from(increment);
        let fits = (min..=max).contains(&sum);
        let exact = fits.then_some(sum as i64);
        prop_assert_eq!(of_type.add(value, increment, Overflow::Fail), exact);
        let clamped = sum.clamp(min, max) as i64;
        prop_assert_eq!(of_type.add(value, increment, Overflow::Saturate), Some(clamped));
        let wrapped = of_type.cut(value.wrapping_add(increment));
        prop_assert_eq!(of_type.add(value, increment, Overflow::Wrap), Some(wrapped));
    }
}

#[test]
fn far_too_small_saturates_to_the_largest() {
    let of_type = FieldType { signed: true, bits: 8 };
    assert_eq!(of_type.add(-129, 0, Overflow::Saturate), Some(-128));
    assert_eq!(of_type.add(i64::MIN, 0, Overflow::Saturate), Some(127));
    let unsigned = FieldType { signed: false, bits: 8 };
    assert_eq!(unsigned.add(-1, 0, Overflow::Saturate), Some(255));
}
