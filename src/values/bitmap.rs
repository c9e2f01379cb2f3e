//! Strings as arrays of bits, the most significant bit of each byte first.

use super::string::Content;

/// A range of bits, its end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// The first bit.
    pub start: u64,
    /// The first one behind.
    pub end: u64,
}

/// The bit at a position; behind the end of the string all are 0.
pub fn get(content: &Content<'_>, at: u64) -> bool {
    content.byte(at / 8).is_some_and(|byte| byte & mask(at) != 0)
}

/// The bit at this position within its byte.
#[inline(always)]
pub fn mask(at: u64) -> u8 {
    0x80 >> (at % 8)
}

/// The part of a byte (number `index` of the string) that lies in the range.
fn part_of(range: Bits, index: u64) -> u8 {
    let from = range.start.saturating_sub(index * 8).min(8) as u32;
    let to = range.end.saturating_sub(index * 8).min(8) as u32;
    let below = |bits: u32| 0xff00u32.wrapping_shr(bits) as u8;
    below(to) & !below(from)
}

/// Number of bits that are 1 in a range within the string.
pub fn count(content: &Content<'_>, range: Bits) -> u64 {
    if range.start >= range.end {
        return 0;
    }
    let (first, last) = (range.start / 8, (range.end - 1) / 8);
    let mut ones = 0;
    content.pieces(first, last + 1, |piece| ones += count_ones(piece));
    let mut without = |index: u64| {
        let outside = content.byte(index).unwrap_or(0) & !part_of(range, index);
        ones -= u64::from(outside.count_ones());
    };
    without(first);
    if last != first {
        without(last);
    }
    ones
}

fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let of_words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    let of_rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    of_words.sum::<u64>() + of_rest.sum::<u64>()
}

/// The first bit of this value in a range within the string.
pub fn find(content: &Content<'_>, range: Bits, bit: bool) -> Option<u64> {
    if range.start >= range.end {
        return None;
    }
    let mut index = range.start / 8;
    let mut found = None;
    content.pieces(index, (range.end - 1) / 8 + 1, |piece| {
        if found.is_some() {
            return;
        }
        // Bytes without the bit are passed over fast; the first and the last may be such only in
        // part.
        let none = if bit { 0 } else { 0xff };
        for (i, byte) in piece.iter().enumerate().filter(|(_, byte)| **byte != none) {
            let at = index + i as u64;
            let wanted = if bit { *byte } else { !*byte } & part_of(range, at);
            if wanted != 0 {
                found = Some(at * 8 + u64::from(wanted.leading_zeros()));
                return;
            }
        }
        index += piece.len() as u64;
    });
    found
}

/// A bitwise operation on several strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Bits that are 1 in all.
    And,
    /// Bits that are 1 in any.
    Or,
    /// Bits that are 1 in an odd number.
    Xor,
    /// Bits that are 0 in the one.
    Not,
}

impl Operation {
    /// Combines what was computed so far with another string; both count as continued with zeros.
    /// `result` is as long as the longest of all strings.
    pub fn apply(self, result: &mut [u8], content: &Content<'_>) {
        let mut at = 0;
        content.pieces(0, u64::MAX, |piece| {
            let target = &mut result[at..at + piece.len()];
            let pairs = target.iter_mut().zip(piece);
            match self {
                Operation::And => pairs.for_each(|(to, from)| *to &= from),
                Operation::Or => pairs.for_each(|(to, from)| *to |= from),
                Operation::Xor => pairs.for_each(|(to, from)| *to ^= from),
                Operation::Not => pairs.for_each(|(to, from)| *to = !from),
            }
            at += piece.len();
        });
        if self == Operation::And {
            result[at..].fill(0);
        }
    }
}

/// The type of a field of bits: an integer of up to 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldType {
    /// Whether it may be negative.
    pub signed: bool,
    /// Its width: 1 to 64, or 63 if unsigned.
    pub bits: u32,
}

/// What happens with a number that a field cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Its upper bits are cut off.
    Wrap,
    /// The nearest number that fits is taken.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// Bytes in which any field lies: 64 bits may begin within a byte.
pub type Window = [u8; 9];

impl FieldType {
    /// Reads the field that begins `at` bits (less than 8) into the window. An unsigned number
    /// comes as the same bits.
    pub fn get(self, window: &Window, at: u32) -> i64 {
        let bits = wide(window) << at >> (128 - self.bits);
        let unused = 64 - self.bits;
        let value = (bits as u64) << unused;
        if self.signed { value as i64 >> unused } else { (value >> unused) as i64 }
    }

    /// Writes the lowest bits of a number to the field.
    pub fn set(self, window: &mut Window, at: u32, value: i64) {
        let shift = 128 - at - self.bits;
        let ones = u128::MAX >> (128 - self.bits);
        let old = wide(window);
        let new = old & !(ones << shift) | (u128::from(value as u64) & ones) << shift;
        window.copy_from_slice(&new.to_be_bytes()[..9]);
    }

    /// The sum of a number and an increment as the field holds it; `None` if it does not and that is
    /// to fail. For a value to be set, the increment is 0.
    pub fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let limit = if self.signed {
            self.signed_limit(value, increment)
        } else {
            self.unsigned_limit(value as u64, increment)
        };
        let sum = value.wrapping_add(increment);
        match (limit, overflow) {
            (None, _) => Some(sum),
            (Some(_), Overflow::Wrap) => Some(self.cut(sum)),
            (Some(limit), Overflow::Saturate) => Some(limit),
            (Some(_), Overflow::Fail) => None,
        }
    }

    /// The lowest bits of a number, as the field's type reads them.
    fn cut(self, value: i64) -> i64 {
        let unused = 64 - self.bits;
        let upper = value << unused;
        if self.signed { upper >> unused } else { (upper as u64 >> unused) as i64 }
    }

    /// The limit that a sum exceeds. The arithmetic wraps as Redis's does: a value far below the
    /// smallest one is taken for too large.
    fn signed_limit(self, value: i64, increment: i64) -> Option<i64> {
        let max = i64::MAX >> (64 - self.bits);
        let min = -max - 1;
        let (most, least) = (max.wrapping_sub(value), min.wrapping_sub(value));
        let narrow = self.bits != 64;
        let above = increment > most && (narrow || (value >= 0 && increment > 0));
        let below = increment < least && (narrow || (value < 0 && increment < 0));
        if value > max || above {
            Some(max)
        } else if value < min || below {
            Some(min)
        } else {
            None
        }
    }

    fn unsigned_limit(self, value: u64, increment: i64) -> Option<i64> {
        let max = u64::MAX >> (64 - self.bits);
        if value > max || (increment > 0 && increment.unsigned_abs() > max - value) {
            Some(max as i64)
        } else {
            (increment < 0 && increment.unsigned_abs() > value).then_some(0)
        }
    }
}

fn wide(window: &Window) -> u128 {
    let mut bytes = [0; 16];
    bytes[..9].copy_from_slice(window);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
#[path = "bitmap_tests.rs"]
mod tests;
