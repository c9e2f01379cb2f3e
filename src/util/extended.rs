//! C's `long double` on x86-64, in software: 64 bits of mantissa, 15 of exponent.
//!
//! Redis computes `INCRBYFLOAT` and `HINCRBYFLOAT` in it, so a client sees its roundings. Parsing
//! is `strtold`'s (correctly rounded), addition rounds to nearest even, and printing is `%.17Lf`
//! without the zeros at the end.

use super::decimal::{self, Big, Binary, Kind};

/// Longest text that is taken for a number, in bytes (Redis's `MAX_LONG_DOUBLE_CHARS` less one).
const MAX_TEXT: usize = 5 * 1024 - 1;
/// Exponent of the last bit of the smallest numbers.
const MIN_EXPONENT: i32 = -16445;
/// Exponent of the last bit of the largest numbers.
const MAX_EXPONENT: i32 = 16320;
/// Decimal magnitudes beyond this are infinite, or nothing, whatever the digits.
const DECIMAL_LIMIT: i64 = 5000;
/// Digits after the point when printing.
const DECIMALS: usize = 17;

/// A number in extended precision, or an infinity; there is no NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    /// All ones for an infinity (with `infinite`), else the significant bits: the highest one is
    /// set unless `exponent` is the smallest.
    mantissa: u64,
    /// Of the mantissa's last bit.
    exponent: i32,
    infinite: bool,
}

impl Extended {
    /// Zero.
    pub const ZERO: Self =
        Self { negative: false, mantissa: 0, exponent: MIN_EXPONENT, infinite: false };

    /// Reads a number as Redis's `string2ld` does: what `strtold` takes, with nothing around it.
    /// Infinities are numbers here; NaN, numbers too large and numbers that would round to zero are
    /// not.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let literal = decimal::parse(text)?;
        let binary = match literal.kind {
            Kind::Nan => return None,
            Kind::Infinity => return Some(Self::infinity(literal.negative)),
            Kind::Decimal { whole, fraction, .. } | Kind::Hexadecimal { whole, fraction, .. }
                if decimal::is_zero(whole, fraction) =>
            {
                return Some(Self { negative: literal.negative, ..Self::ZERO });
            }
            Kind::Decimal { whole, fraction, exponent } => {
                decimal::from_decimal(whole, fraction, exponent, DECIMAL_LIMIT)
            }
            Kind::Hexadecimal { whole, fraction, exponent } => {
                decimal::from_hexadecimal(whole, fraction, exponent)
            }
        };
        let value = Self::from_binary(literal.negative, binary);
        (!value.infinite && value.mantissa != 0).then_some(value)
    }

    /// A thousand times the number, rounded to extended precision and then cut to an integer: as C
    /// converts it, so `i64::MIN` if it does not fit.
    pub fn thousandfold(self) -> i64 {
        let product = u128::from(self.mantissa) * 1000;
        let excess = 64u32.saturating_sub(product.leading_zeros()) as i32;
        let mut rounded = product >> excess;
        let rest = product & ((1 << excess) - 1);
        let half = (1u128 << excess) >> 1;
        if excess > 0 && (rest > half || rest == half && rounded & 1 == 1) {
            rounded += 1;
        }
        let exponent = self.exponent + excess;
        let magnitude = match exponent {
            _ if self.infinite => None,
            ..=-128 => Some(0),
            -127..=0 => Some(rounded >> -exponent),
            _ if rounded == 0 => Some(0),
            _ => rounded.checked_shl(exponent as u32).filter(|it| it >> exponent == rounded),
        };
        match magnitude.and_then(|magnitude| i64::try_from(magnitude).ok()) {
            Some(magnitude) if self.negative => -magnitude,
            Some(magnitude) => magnitude,
            None => i64::MIN,
        }
    }

    /// Whether the number is an infinity.
    pub fn is_infinite(self) -> bool {
        self.infinite
    }

    /// The sum, rounded to nearest even; `None` if it is no number (infinity less infinity).
    pub fn checked_add(self, other: Self) -> Option<Self> {
        match (self.infinite, other.infinite) {
            (true, true) => return (self.negative == other.negative).then_some(self),
            (true, false) => return Some(self),
            (false, true) => return Some(other),
            (false, false) => {}
        }
        let order = (self.exponent, self.mantissa) >= (other.exponent, other.mantissa);
        let (large, small) = if order { (self, other) } else { (other, self) };
        // One bit is free above for the carry and many below, so a sticky last bit is enough.
        let high = u128::from(large.mantissa) << 62;
        let low = u128::from(small.mantissa) << 62;
        let distance = large.exponent.abs_diff(small.exponent);
        let (low, lost) = match distance {
            0..=127 => (low >> distance, low & ((1 << distance) - 1) != 0),
            _ => (0, low != 0),
        };
        let low = low | u128::from(lost);
        let sum = if large.negative == small.negative { high + low } else { high - low };
        if sum == 0 {
            let negative = self.negative && other.negative;
            return Some(Self { negative, ..Self::ZERO });
        }
        let binary = Binary::new(sum, i64::from(large.exponent) - 62, false);
        Some(Self::from_binary(large.negative, binary))
    }

    /// Appends the number as a person reads it: 17 decimals, without zeros at the end, never an
    /// exponent, `inf` and `-inf` for infinities. At most about 5 KB.
    pub fn write_human(self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        if self.infinite {
            out.extend_from_slice(b"inf");
            return;
        }
        if self.exponent >= 0 {
            Big::from_shifted(self.mantissa, self.exponent.unsigned_abs()).write_decimal(out);
            return;
        }
        let scaled = self.scaled_to_decimals();
        let unit = 10u128.pow(DECIMALS as u32);
        let (whole, fraction) = (scaled / unit, scaled % unit);
        out.extend_from_slice(whole.to_string().as_bytes());
        if fraction != 0 {
            let digits = format!(".{fraction:0DECIMALS$}");
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
        if &out[start..] == b"-0" {
            out.remove(start);
        }
    }

    /// [`Self::write_human`] as a value.
    pub fn to_human(self) -> String {
        let mut out = Vec::new();
        self.write_human(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// `|self| * 10^17`, rounded to an integer, ties to even; the exponent is negative.
    fn scaled_to_decimals(self) -> u128 {
        // Fits: 64 bits and 57.
        let product = u128::from(self.mantissa) * 10u128.pow(DECIMALS as u32);
        let shift = self.exponent.unsigned_abs();
        if shift >= 128 {
            return 0;
        }
        let (kept, rest) = (product >> shift, product & ((1 << shift) - 1));
        let half = 1 << (shift - 1);
        kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
    }

    fn infinity(negative: bool) -> Self {
        Self { negative, mantissa: u64::MAX, exponent: MAX_EXPONENT, infinite: true }
    }

    fn from_binary(negative: bool, binary: Binary) -> Self {
        let (mantissa, exponent) = binary.round(64, i64::from(MIN_EXPONENT));
        match i32::try_from(exponent) {
            Ok(exponent) if exponent <= MAX_EXPONENT => {
                Self { negative, mantissa: mantissa as u64, exponent, infinite: false }
            }
            _ => Self::infinity(negative),
        }
    }
}

impl From<i64> for Extended {
    /// Exact.
    fn from(value: i64) -> Self {
        match value {
            0 => Self::ZERO,
            _ => Self::from_binary(
                value < 0,
                Binary::new(u128::from(value.unsigned_abs()), 0, false),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn add(a: &str, b: &str) -> Option<String> {
        let sum = Extended::parse(a.as_bytes())?.checked_add(Extended::parse(b.as_bytes())?)?;
        Some(sum.to_human())
    }

    #[test]
    fn known_sums() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "-3", "0"),
            ("-0", "-0", "0"),
            ("-0.000000000000000001", "0", "0"),
            ("0x10", "0x.8p1", "17"),
            ("1e18", "0.5", "1000000000000000000.5"),
            ("18446744073709551615", "0.5", "18446744073709551616"),
            ("18446744073709551614", "0.5", "18446744073709551614"),
            ("inf", "1", "inf"),
            ("-INFINITY", "1e4932", "-inf"),
        ] {
            assert_eq!(add(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
        assert_eq!(add("inf", "-inf"), None);
        let largest = Extended::parse(b"1.18973149535723176502e4932").unwrap();
        assert!(largest.checked_add(largest).unwrap().is_infinite());
        assert_eq!(largest.to_human().len(), 4933);
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "",
            " 1",
            "1 ",
            "1e",
            "1e+",
            ".",
            "+",
            "--1",
            "nan",
            "-nan(1)",
            "0x",
            "0x.p1",
            "0xg",
            "1_0",
            "infi",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "0x1p16384",
            "0x1p-16446",
            "1\0",
            "1f",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in ["1.", ".5", "+1", "1e-4950", "0e99999999999999999999", "0x1p-16445", "1E5"] {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        assert!(Extended::parse(&[b'1'; 4932]).is_some());
        assert!(Extended::parse(&[b'0'; MAX_TEXT]).is_some());
        assert!(Extended::parse(&[b'0'; MAX_TEXT + 1]).is_none());
    }

    proptest! {
        #[test]
        fn integers_are_exact(a: i64, b: i64) {
            prop_assume!(a.checked_add(b).is_some());
            let sum = Extended::from(a).checked_add(Extended::from(b)).unwrap();
            prop_assert_eq!(sum.to_human(), (a + b).to_string());
            let parsed = Extended::parse(a.to_string().as_bytes());
            prop_assert_eq!(parsed, Some(Extended::from(a)));
        }

        /// The texts are within half an ulp of the two f64, and the f64 sum of the exact one.
        #[test]
        fn addition_is_close_to_f64(a in -1e15f64..1e15, b in -1e15f64..1e15) {
            let sum = add(&format!("{a:e}"), &format!("{b:e}")).unwrap();
            let got: f64 = sum.parse().unwrap();
            prop_assert!((got - (a + b)).abs() <= (a.abs() + b.abs()) * f64::EPSILON + 1e-16);
        }
    }
}
