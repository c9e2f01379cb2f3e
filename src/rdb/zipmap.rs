//! Zipmaps, the packed hashes of Redis 2.4: read only.
//!
//! ```text
//! pairs (1; fe if there are more) | pair ... | ff
//! pair = length | field | length | unused (1) | value | unused bytes
//! length = (1, or fe and 4)
//! ```

use super::strings::Strings;
use super::{Malformed, Result};

const END: u8 = 0xff;
/// A count, or a length, that one byte does not hold.
const BIG: u8 = 0xfe;

const BROKEN: Malformed = Malformed("zipmap");

fn split(bytes: &[u8], count: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(count).ok_or(BROKEN)
}

fn length(bytes: &[u8]) -> Result<(usize, &[u8])> {
    match bytes {
        [END, ..] | [] => Err(BROKEN),
        [BIG, a, b, c, d, rest @ ..] => Ok((u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest)),
        [BIG, ..] => Err(BROKEN),
        [short, rest @ ..] => Ok((usize::from(*short), rest)),
    }
}

/// Fields and values of a zipmap in turn, after a proof that every byte is as it ought to be. There is
/// at least one pair.
pub fn pairs(bytes: &[u8]) -> Result<Strings> {
    let [noted, rest @ .., END] = bytes else { return Err(BROKEN) };
    let (mut rest, mut strings) = (rest, Strings::new());
    while !rest.is_empty() {
        let (field_length, behind) = length(rest)?;
        let (field, behind) = split(behind, field_length)?;
        let (value_length, behind) = length(behind)?;
        let (unused, behind) = behind.split_first().ok_or(BROKEN)?;
        let (value, behind) = split(behind, value_length)?;
        strings.push(field);
        strings.push(value);
        rest = split(behind, usize::from(*unused))?.1;
    }
    let count = strings.len() / 2;
    if count == 0 || (*noted < BIG && usize::from(*noted) != count) {
        return Err(BROKEN);
    }
    Ok(strings)
}
