//! Listpacks: a header, a run of items, an end byte.
//!
//! ```text
//! bytes in all (4) | items (2) | run | ff
//! ```
//!
//! The run is that of [`shm::pack`]. The number of items is 65535 if there are so many or more.

use shm::pack;

use super::reader::leading_double;
use super::{Malformed, Result};

/// Bytes before the run.
pub const HEADER: usize = 6;
/// The byte behind the run.
const END: u8 = 0xff;
/// The number of items is not known.
const MANY: u16 = u16::MAX;

/// Writes a run of so many items with what belongs around it.
pub fn wrap(run: &[u8], items: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + run.len() + 1);
    out.extend_from_slice(&((HEADER + run.len() + 1) as u32).to_le_bytes());
    out.extend_from_slice(&u16::try_from(items).unwrap_or(MANY).to_le_bytes());
    out.extend_from_slice(run);
    out.push(END);
    out
}

/// The run of a listpack, after a proof that every byte is as it ought to be, and the number of its
/// items.
pub fn unwrap(bytes: &[u8]) -> Result<(&[u8], usize)> {
    const BROKEN: Malformed = Malformed("listpack");
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(BROKEN)?;
    let [a, b, c, d, low, high] = *header;
    let total = u32::from_le_bytes([a, b, c, d]);
    let noted = u16::from_le_bytes([low, high]);
    let (&end, run) = rest.split_last().ok_or(BROKEN)?;
    if total as usize != bytes.len() || end != END {
        return Err(BROKEN);
    }
    let items = pack::check(run).ok_or(BROKEN)?.count;
    if noted != MANY && usize::from(noted) != items {
        return Err(BROKEN);
    }
    Ok((run, items))
}

/// The text of an item as a score: what C's `strtod` makes of it. `None` if it is not a number in the
/// narrow sense; a text that is no number at all is 0, as it is to Redis.
pub fn score(text: &[u8]) -> Option<f64> {
    let word = text.strip_prefix(b"-").unwrap_or(text);
    if word.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"nan")) {
        return None;
    }
    Some(leading_double(text).unwrap_or(0.0))
}
