//! What `strtod` and `strtold` have in common: the grammar of a floating point literal.
//!
//! `strtod` takes decimal and hexadecimal digits, a point, an exponent, `inf`, `infinity` and
//! `nan`, each with a sign. The syntax is taken apart here; rounding to a format is the caller's.

use std::cmp::Ordering;

/// A literal that `strtod` would consume whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub negative: bool,
    pub kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Infinity,
    Nan,
    /// Digits before and after the point, and the power of ten by which both count.
    Decimal {
        whole: &'a [u8],
        fraction: &'a [u8],
        exponent: i64,
    },
    /// Like `Decimal`, but hexadecimal digits, and a power of two.
    Hexadecimal {
        whole: &'a [u8],
        fraction: &'a [u8],
        exponent: i64,
    },
}

/// Exponents beyond this have one meaning only: nothing or infinity, for all lengths of text that
/// callers let in.
const EXPONENT_CAP: i64 = 1 << 40;

/// Reads a whole text, without blanks around it.
pub(super) fn parse(text: &[u8]) -> Option<Literal<'_>> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let kind = match rest {
        [b'0', b'x' | b'X', hex @ ..] => {
            let (whole, fraction, exponent) = number(hex, u8::is_ascii_hexdigit, b'p')?;
            Kind::Hexadecimal { whole, fraction, exponent }
        }
        _ if rest.eq_ignore_ascii_case(b"inf") => Kind::Infinity,
        _ if rest.eq_ignore_ascii_case(b"infinity") => Kind::Infinity,
        _ if is_nan(rest) => Kind::Nan,
        _ => {
            let (whole, fraction, exponent) = number(rest, u8::is_ascii_digit, b'e')?;
            Kind::Decimal { whole, fraction, exponent }
        }
    };
    Some(Literal { negative, kind })
}

/// `nan`, or `nan(letters)`.
fn is_nan(text: &[u8]) -> bool {
    let Some((word, rest)) = text.split_at_checked(3) else { return false };
    word.eq_ignore_ascii_case(b"nan")
        && match rest {
            [] => true,
            [b'(', tag @ .., b')'] => {
                tag.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
            }
            _ => false,
        }
}

fn number(text: &[u8], is_digit: impl Fn(&u8) -> bool, marker: u8) -> Option<(&[u8], &[u8], i64)> {
    let count = |text: &[u8]| text.iter().take_while(|byte| is_digit(byte)).count();
    let (whole, rest) = text.split_at(count(text));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(count(rest)),
        rest => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [first, rest @ ..] if first.eq_ignore_ascii_case(&marker) => exponent(rest)?,
        _ => return None,
    };
    Some((whole, fraction, exponent))
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0, |value: i64, digit| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_CAP));
    Some(if negative { -value } else { value })
}

/// Whether all digits are zeros.
pub(super) fn is_zero(whole: &[u8], fraction: &[u8]) -> bool {
    whole.iter().chain(fraction).all(|&digit| digit == b'0')
}

/// A real number that is not negative: `mantissa * 2^exponent`, and if `sticky` a little more, which
/// is less than anything that could matter to a rounding to 64 bits but to tell a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binary {
    /// The leading bits; the highest one is set, unless the number is zero.
    pub mantissa: u128,
    pub exponent: i64,
    pub sticky: bool,
}

impl Binary {
    /// The number `mantissa * 2^exponent`, moved so that its highest bit is bit 127.
    pub fn new(mantissa: u128, exponent: i64, sticky: bool) -> Self {
        let shift = if mantissa == 0 { 0 } else { mantissa.leading_zeros() };
        Self { mantissa: mantissa << shift, exponent: exponent - i64::from(shift), sticky }
    }

    /// The nearest multiple of `2^e` with at most `bits` bits, ties to even, where `e` is at least
    /// `min_exponent`; returned as (multiple, e).
    pub fn round(self, bits: u32, min_exponent: i64) -> (u128, i64) {
        let drop = i64::from(128 - bits).max(min_exponent - self.exponent);
        if drop > 128 {
            return (0, min_exponent);
        }
        let exponent = self.exponent + drop;
        let (kept, rest) = match drop {
            128 => (0, self.mantissa),
            _ => (self.mantissa >> drop, self.mantissa & ((1 << drop) - 1)),
        };
        let up = match rest.cmp(&(1 << (drop - 1))) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => self.sticky || kept & 1 == 1,
        };
        let kept = kept + u128::from(up);
        if kept >> bits != 0 { (kept >> 1, exponent + 1) } else { (kept, exponent) }
    }
}

/// The value of hexadecimal digits.
pub(super) fn from_hexadecimal(whole: &[u8], fraction: &[u8], exponent: i64) -> Binary {
    let mut mantissa: u128 = 0;
    let mut sticky = false;
    let mut exponent = exponent - 4 * fraction.len() as i64;
    for &digit in whole.iter().chain(fraction) {
        let digit = char::from(digit).to_digit(16).unwrap_or(0);
        if mantissa >> 124 == 0 {
            mantissa = mantissa << 4 | u128::from(digit);
        } else {
            exponent += 4;
            sticky |= digit != 0;
        }
    }
    Binary::new(mantissa, exponent, sticky)
}

/// The value of decimal digits, leading bits exact. Numbers far outside `10^-limit .. 10^limit` are
/// returned as something small or large enough, without the work.
pub(super) fn from_decimal(whole: &[u8], fraction: &[u8], exponent: i64, limit: i64) -> Binary {
    let digits: Vec<u8> = whole
        .iter()
        .chain(fraction)
        .map(|digit| digit - b'0')
        .skip_while(|&digit| digit == 0)
        .collect();
    let scale = exponent - fraction.len() as i64;
    let magnitude = scale + digits.len() as i64;
    if digits.is_empty() || magnitude < -limit {
        return Binary::new(u128::from(!digits.is_empty()), -EXPONENT_CAP, false);
    }
    if magnitude > limit {
        return Binary::new(1, EXPONENT_CAP, false);
    }
    if digits.len() <= 19 && (-18..=0).contains(&scale) {
        // What people write: one division, which leaves 68 bits at least.
        let number = digits.iter().fold(0, |value: u64, digit| value * 10 + u64::from(*digit));
        let number = Binary::new(u128::from(number), 0, false);
        let divisor = 10u128.pow(scale.unsigned_abs() as u32);
        let (quotient, rest) = (number.mantissa / divisor, number.mantissa % divisor);
        return Binary::new(quotient, number.exponent, rest != 0);
    }
    let mut number = Big::from_digits(&digits);
    if scale >= 0 {
        number.multiply_by_power_of_ten(scale as u64);
        number.leading_bits()
    } else {
        let mut divisor = Big::from_digits(&[1]);
        divisor.multiply_by_power_of_ten(scale.unsigned_abs());
        number.divide(divisor)
    }
}

/// An unsigned integer of any size, least limb first, no zero limb at the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big(Vec<u64>);

/// Largest power of ten in a limb.
const TEN_19: u64 = 10u64.pow(19);

impl Big {
    /// `value * 2^shift`.
    pub fn from_shifted(value: u64, shift: u32) -> Self {
        let mut limbs = vec![0; (shift / 64) as usize];
        let wide = u128::from(value) << (shift % 64);
        limbs.extend([wide as u64, (wide >> 64) as u64]);
        let mut big = Self(limbs);
        big.trim();
        big
    }

    fn from_digits(digits: &[u8]) -> Self {
        let mut big = Self(Vec::new());
        for chunk in digits.chunks(19) {
            let value = chunk.iter().fold(0, |value, &digit| value * 10 + u64::from(digit));
            big.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        big
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            (*limb, carry) = (wide as u64, (wide >> 64) as u64);
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn multiply_by_power_of_ten(&mut self, mut power: u64) {
        while power >= 19 {
            self.multiply_add(TEN_19, 0);
            power -= 19;
        }
        self.multiply_add(10u64.pow(power as u32), 0);
    }

    fn bits(&self) -> u64 {
        let top = self.0.last().map_or(0, |top| u64::from(64 - top.leading_zeros()));
        (self.0.len().saturating_sub(1) * 64) as u64 + top
    }

    fn shift_left(&mut self, bits: u64) {
        let small = bits % 64;
        if small != 0 {
            self.multiply_add(1 << small, 0);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, (bits / 64) as usize));
    }

    fn leading_bits(&self) -> Binary {
        let len = self.0.len();
        let limb = |back: usize| len.checked_sub(back).map_or(0, |at| u128::from(self.0[at]));
        // At least 129 bits where there are as many: the third limb fills up what the top one lacks.
        let top = Binary::new(limb(1) << 64 | limb(2), (len as i64 - 2) * 64, false);
        let free = if len == 0 { 0 } else { limb(1).leading_zeros() - 64 };
        let filled = if free == 0 { 0 } else { limb(3) >> (64 - free) };
        let sticky = (limb(3) << (64 + free)) != 0 || self.0.iter().rev().skip(3).any(|&l| l != 0);
        Binary { mantissa: top.mantissa | filled, sticky, ..top }
    }

    /// `self / divisor` with 127 or 128 leading bits.
    fn divide(mut self, divisor: Self) -> Binary {
        // Long division, bit by bit: what is left stays below the divisor.
        let shift = divisor.bits() as i64 - self.bits() as i64;
        let mut divisor = divisor;
        if shift >= 0 {
            self.shift_left(shift as u64);
        } else {
            divisor.shift_left(shift.unsigned_abs());
        }
        let mut quotient: u128 = 0;
        for step in 0..128 {
            if step > 0 {
                self.multiply_add(2, 0);
            }
            quotient <<= 1;
            if self.subtract_if_not_less(&divisor) {
                quotient |= 1;
            }
        }
        Binary::new(quotient, -shift - 127, !self.0.is_empty())
    }

    fn subtract_if_not_less(&mut self, other: &Self) -> bool {
        let by_length = self.0.len().cmp(&other.0.len());
        let order = by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()));
        if order == Ordering::Less {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(index).copied().unwrap_or(0);
            let (first, under) = limb.overflowing_sub(subtrahend);
            let (second, under_again) = first.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (second, under || under_again);
        }
        self.trim();
        true
    }

    /// Appends the decimal digits; "0" for nothing.
    pub fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            let mut rest: u64 = 0;
            for limb in self.0.iter_mut().rev() {
                let wide = u128::from(rest) << 64 | u128::from(*limb);
                *limb = (wide / u128::from(TEN_19)) as u64;
                rest = (wide % u128::from(TEN_19)) as u64;
            }
            self.trim();
            chunks.push(rest);
        }
        let text = match chunks.split_last() {
            None => "0".to_owned(),
            Some((top, lower)) => {
                let mut text = top.to_string();
                for chunk in lower.iter().rev() {
                    text.push_str(&format!("{chunk:019}"));
                }
                text
            }
        };
        out.extend_from_slice(text.as_bytes());
    }
}
