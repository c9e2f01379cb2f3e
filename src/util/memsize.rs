//! Amounts of memory with a unit, as configuration directives write them.

/// Reads `100`, `100b`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g`, `1gb`, in any case, as Redis's
/// `memtoull` does; the result is in bytes.
///
/// Redis's oddities are kept: no digits at all are 0, too many digits saturate, and what the unit
/// then multiplies wraps around.
pub fn memtoull(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits >= 128 {
        return None;
    }
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = number.iter().fold(0u64, |value, digit| {
        value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(number.wrapping_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let cases: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("100", Some(100)),
            ("100B", Some(100)),
            ("1k", Some(1000)),
            ("1Kb", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2MB", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("3gb", Some(3 << 30)),
            ("", Some(0)),
            ("mb", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("18446744073709551615k", Some(u64::MAX.wrapping_mul(1000))),
            ("-1", None),
            ("+1", None),
            ("1 mb", None),
            ("1tb", None),
            ("1.5gb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(memtoull(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(memtoull(&[b'1'; 128]), None);
    }
}
