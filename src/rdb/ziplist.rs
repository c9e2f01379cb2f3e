//! Ziplists, the packed encoding before Redis 7: read only.
//!
//! ```text
//! bytes in all (4) | offset of the last entry (4) | entries (2) | entry ... | ff
//! entry = length of the entry before (1, or fe and 4) | encoding | bytes
//! ```

use super::strings::Strings;
use super::{Malformed, Result};

const HEADER: usize = 10;
const END: u8 = 0xff;
/// The number of entries is not known.
const MANY: u16 = u16::MAX;

const BROKEN: Malformed = Malformed("ziplist");

/// The bytes behind the first `count`, and those.
fn split(bytes: &[u8], count: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(count).ok_or(BROKEN)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8])> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(BROKEN)?;
    Ok((*taken, rest))
}

/// An entry's content.
enum Content<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

/// Reads an entry's encoding and content; gives what is behind it too.
fn content(bytes: &[u8]) -> Result<(Content<'_>, &[u8])> {
    let ([first], rest) = array(bytes)?;
    let string =
        |length: usize, rest| split(rest, length).map(|(text, rest)| (Content::Bytes(text), rest));
    let int = |number: i64, rest| Ok((Content::Int(number), rest));
    match first {
        0..0x40 => string(first.into(), rest),
        0x40..0x80 => {
            let ([low], rest) = array(rest)?;
            string(usize::from(first & 0x3f) << 8 | usize::from(low), rest)
        }
        0x80..0xc0 => {
            let (length, rest) = array(rest)?;
            string(u32::from_be_bytes(length) as usize, rest)
        }
        0xc0 => array(rest).and_then(|(b, rest)| int(i16::from_le_bytes(b).into(), rest)),
        0xd0 => array(rest).and_then(|(b, rest)| int(i32::from_le_bytes(b).into(), rest)),
        0xe0 => array(rest).and_then(|(b, rest)| int(i64::from_le_bytes(b), rest)),
        0xf0 => {
            let ([a, b, c], rest) = array(rest)?;
            int((i32::from_le_bytes([0, a, b, c]) >> 8).into(), rest)
        }
        0xfe => array(rest).and_then(|(b, rest)| int(i8::from_le_bytes(b).into(), rest)),
        0xf1..=0xfd => int(i64::from(first & 0xf) - 1, rest),
        _ => Err(BROKEN),
    }
}

/// The entries of a ziplist, after a proof that every byte is as it ought to be.
pub fn entries(bytes: &[u8]) -> Result<Strings> {
    let ([a, b, c, d, e, f, g, h, i, j], rest) = array::<HEADER>(bytes)?;
    let total = u32::from_le_bytes([a, b, c, d]) as usize;
    let last = u32::from_le_bytes([e, f, g, h]) as usize;
    let noted = u16::from_le_bytes([i, j]);
    if total != bytes.len() || bytes.last() != Some(&END) || last > bytes.len() - 1 {
        return Err(BROKEN);
    }
    let mut rest = rest.strip_suffix(&[END]).ok_or(BROKEN)?;
    let (mut strings, mut before, mut start) = (Strings::new(), 0, None);
    let mut digits = itoa::Buffer::new();
    while !rest.is_empty() {
        let length = rest.len();
        start = Some(bytes.len() - 1 - length);
        let ([short], behind) = array(rest)?;
        let (previous, behind) = match short {
            0..0xfe => (usize::from(short), behind),
            _ => array(behind).map(|(b, rest)| (u32::from_le_bytes(b) as usize, rest))?,
        };
        let (content, behind) = content(behind)?;
        if previous != before || short == END {
            return Err(BROKEN);
        }
        strings.push(match content {
            Content::Bytes(text) => text,
            Content::Int(number) => digits.format(number).as_bytes(),
        });
        before = length - behind.len();
        rest = behind;
    }
    if start.is_some_and(|start| start != last) {
        return Err(BROKEN);
    }
    if noted != MANY && usize::from(noted) != strings.len() {
        return Err(BROKEN);
    }
    Ok(strings)
}
