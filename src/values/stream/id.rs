//! Ids of entries: milliseconds and a sequence number.

use std::fmt;

use shm::{U64, record};

use crate::util::numbers::string2ull;

/// The id of an entry. Ids of a stream ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Id {
    /// Milliseconds, of the clock unless somebody gave others.
    pub ms: u64,
    /// What tells entries of one millisecond apart.
    pub seq: u64,
}

record! {
    /// An [`Id`] in the arena.
    pub struct StoredId {
        /// Milliseconds.
        pub ms: U64,
        /// The sequence number.
        pub seq: U64,
    }
}

impl From<Id> for StoredId {
    #[inline(always)]
    fn from(id: Id) -> StoredId {
        StoredId { ms: U64::from_native(id.ms), seq: U64::from_native(id.seq) }
    }
}

impl From<StoredId> for Id {
    #[inline(always)]
    fn from(id: StoredId) -> Id {
        Id { ms: id.ms.to_native(), seq: id.seq.to_native() }
    }
}

/// Shows the id as clients write it: `ms-seq`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What an argument says about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Both parts.
    Full(Id),
    /// `ms-*`: the sequence number is to be chosen.
    Milliseconds(u64),
}

impl Id {
    /// The least id, `0-0`, which no entry has.
    pub const MIN: Id = Id { ms: 0, seq: 0 };
    /// The greatest id.
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// The id after this one; `None` after the greatest.
    #[inline]
    pub fn next(self) -> Option<Id> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Id { ms, seq: 0 }),
        }
    }

    /// The id before this one; `None` before the least.
    pub fn previous(self) -> Option<Id> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Id { ms, seq: u64::MAX }),
        }
    }

    /// Reads `ms-seq` or `ms`, for which the sequence number is `missing`; not `-` or `+`.
    pub fn parse(text: &[u8], missing: u64) -> Option<Id> {
        match Id::parse_given(text, missing)? {
            Given::Full(id) => Some(id),
            Given::Milliseconds(_) => None,
        }
    }

    /// As [`parse`](Id::parse), but `-` is the least id and `+` the greatest.
    pub fn parse_bound(text: &[u8], missing: u64) -> Option<Id> {
        match c_string(text)? {
            b"-" => Some(Id::MIN),
            b"+" => Some(Id::MAX),
            _ => Id::parse(text, missing),
        }
    }

    /// As [`parse`](Id::parse), and `ms-*`.
    pub fn parse_given(text: &[u8], missing: u64) -> Option<Given> {
        let text = c_string(text)?;
        let Some(dash) = memchr::memchr(b'-', text) else {
            return Some(Given::Full(Id { ms: string2ull(text)?, seq: missing }));
        };
        let (ms, seq) = (string2ull(&text[..dash])?, &text[dash + 1..]);
        if seq == b"*" {
            return Some(Given::Milliseconds(ms));
        }
        Some(Given::Full(Id { ms, seq: string2ull(seq)? }))
    }
}

/// What Redis sees of an id: nothing behind a NUL, and no id of 128 bytes or more.
fn c_string(text: &[u8]) -> Option<&[u8]> {
    if text.len() > 127 {
        return None;
    }
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> Option<Id> {
        Some(Id { ms, seq })
    }

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        assert_eq!(Id::parse(b"5-7", 0), id(5, 7));
        assert_eq!(Id::parse(b"5", 9), id(5, 9));
        assert_eq!(Id::parse(b"18446744073709551615-18446744073709551615", 0), Some(Id::MAX));
        assert_eq!(Id::parse(b"05-+7", 0), id(5, 7));
        assert_eq!(Id::parse(b"5-7\0rest", 0), id(5, 7));
        assert_eq!(Id::parse(b"5--1", 0), None);
        for bad in ["", "-", "+", "5-", "-5", "5-*", "x", "5-1-1", "18446744073709551616"] {
            assert_eq!(Id::parse(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(Id::parse(&[b'1'; 128], 0), None);
        assert_eq!(Id::parse_bound(b"-", 0), Some(Id::MIN));
        assert_eq!(Id::parse_bound(b"+", 0), Some(Id::MAX));
        assert_eq!(Id::parse_given(b"5-*", 0), Some(Given::Milliseconds(5)));
    }

    #[test]
    fn ids_have_neighbours() {
        assert_eq!(Id { ms: 1, seq: u64::MAX }.next(), id(2, 0));
        assert_eq!(Id { ms: 2, seq: 0 }.previous(), id(1, u64::MAX));
        assert_eq!(Id::MAX.next(), None);
        assert_eq!(Id::MIN.previous(), None);
    }
}
