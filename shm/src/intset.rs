//! Sorted integers in one run of bytes, as Redis's intset has them.
//!
//! ```text
//! width (4) | number of integers (4) | integers, ascending, all of `width` bytes
//! ```
//!
//! All little-endian; the width is 2, 4 or 8 bytes, as the integer furthest from zero needed when
//! it was added; it never shrinks. Nothing here knows where the bytes stand: a change is a *splice*
//! that the caller carries out, a few bytes at a place and the new number.

/// Bytes in front of the integers.
pub const HEADER: usize = 8;
/// Where the number of integers stands.
pub const COUNT_AT: usize = 4;

/// Bytes of each integer of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 16 bits.
    Two,
    /// 32 bits.
    Four,
    /// 64 bits.
    Eight,
}

impl Width {
    /// The least width that holds an integer.
    #[inline(always)]
    pub fn of(value: i64) -> Width {
        if i16::try_from(value).is_ok() {
            Width::Two
        } else if i32::try_from(value).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }

    /// In bytes.
    #[inline(always)]
    pub fn bytes(self) -> usize {
        match self {
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The width of so many bytes.
    fn from_bytes(bytes: u32) -> Option<Width> {
        match bytes {
            2 => Some(Width::Two),
            4 => Some(Width::Four),
            8 => Some(Width::Eight),
            _ => None,
        }
    }
}

/// The header of a set of so many integers.
pub fn header(width: Width, count: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..COUNT_AT].copy_from_slice(&(width.bytes() as u32).to_le_bytes());
    header[COUNT_AT..].copy_from_slice(&count.to_le_bytes());
    header
}

/// One integer as it stands in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    bytes: [u8; 8],
    width: Width,
}

impl Encoded {
    /// The bytes, as many as the set is wide.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.width.bytes()]
    }
}

/// What adding an integer takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insertion {
    /// Nothing: it is there.
    Present,
    /// These bytes are put in at `at`, and the number grows by one.
    Splice {
        /// Bytes from the set's start.
        at: usize,
        /// What goes there.
        integer: Encoded,
    },
    /// The integer is wider than the set: all bytes become these.
    Widened(Vec<u8>),
}

/// What taking an integer out takes: the bytes go, and the number shrinks by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Bytes from the set's start.
    pub at: usize,
    /// How many bytes go.
    pub length: usize,
}

/// A look at a set.
#[derive(Debug, Clone, Copy)]
pub struct IntSet<'a> {
    width: Width,
    integers: &'a [u8],
}

impl<'a> IntSet<'a> {
    /// A look at the bytes of a set that was written by this module, or has passed [`validate`].
    /// Other bytes give other integers, or none, and no more.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> IntSet<'a> {
        let (width, count) = match bytes.first_chunk::<HEADER>() {
            Some([a, b, c, d, count @ ..]) => {
                (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes(*count) as usize)
            }
            None => (0, 0),
        };
        let Some(width) = Width::from_bytes(width) else {
            return IntSet { width: Width::Two, integers: &[] };
        };
        let rest = &bytes[HEADER..];
        let length = count.saturating_mul(width.bytes()).min(rest.len());
        IntSet { width, integers: &rest[..length - length % width.bytes()] }
    }

    /// Bytes of each integer.
    #[inline(always)]
    pub fn width(&self) -> Width {
        self.width
    }

    /// Number of integers.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.integers.len() / self.width.bytes()
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.integers.is_empty()
    }

    /// The integer at a position, in ascending order.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<i64> {
        let size = self.width.bytes();
        let bytes = self.integers.get(index.checked_mul(size)?..)?.get(..size)?;
        Some(decode(bytes))
    }

    /// All integers, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + use<'a> {
        self.integers.chunks_exact(self.width.bytes()).map(decode)
    }

    /// Where an integer is, or where it would be put.
    #[inline]
    pub fn search(&self, value: i64) -> Result<usize, usize> {
        // Integers often come in order, or not in the range at all.
        match (self.get(0), self.len().checked_sub(1).and_then(|last| self.get(last))) {
            (Some(first), _) if value < first => return Err(0),
            (_, Some(last)) if value > last => return Err(self.len()),
            _ => {}
        }
        match self.width {
            Width::Two => {
                search(self.integers.as_chunks().0, value, |b| i16::from_le_bytes(b).into())
            }
            Width::Four => {
                search(self.integers.as_chunks().0, value, |b| i32::from_le_bytes(b).into())
            }
            Width::Eight => search(self.integers.as_chunks().0, value, i64::from_le_bytes),
        }
    }

    /// Whether an integer is there.
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        Width::of(value) <= self.width && self.search(value).is_ok()
    }

    /// What adding an integer takes.
    pub fn insert(&self, value: i64) -> Insertion {
        if Width::of(value) > self.width {
            return Insertion::Widened(self.widened(value));
        }
        match self.search(value) {
            Ok(_) => Insertion::Present,
            Err(index) => Insertion::Splice {
                at: self.place(index),
                integer: Encoded { bytes: value.to_le_bytes(), width: self.width },
            },
        }
    }

    /// What taking an integer out takes; `None` if it is not there.
    pub fn remove(&self, value: i64) -> Option<Removal> {
        if Width::of(value) > self.width {
            return None;
        }
        self.search(value).ok().map(|index| self.removal(index))
    }

    /// What taking out the integer at a position takes.
    pub fn removal(&self, index: usize) -> Removal {
        Removal { at: self.place(index), length: self.width.bytes() }
    }

    fn place(&self, index: usize) -> usize {
        HEADER + index * self.width.bytes()
    }

    /// The whole set, with an integer that is wider than all others: it goes to one of the ends.
    fn widened(&self, value: i64) -> Vec<u8> {
        let (first, last) = if value < 0 { (Some(value), None) } else { (None, Some(value)) };
        let all = first.into_iter().chain(self.iter()).chain(last);
        build(Width::of(value), all)
    }
}

/// The bytes of a set of these integers, which ascend and differ.
pub fn from_sorted(values: &[i64]) -> Vec<u8> {
    let widest = values.iter().map(|value| Width::of(*value)).max().unwrap_or(Width::Two);
    build(widest, values.iter().copied())
}

fn build(width: Width, values: impl Iterator<Item = i64>) -> Vec<u8> {
    let size = width.bytes();
    let mut bytes = Vec::with_capacity(HEADER + values.size_hint().0 * size);
    bytes.extend_from_slice(&[0; HEADER]);
    let mut count = 0;
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..size]);
        count += 1;
    }
    bytes[..HEADER].copy_from_slice(&header(width, count));
    bytes
}

#[inline(always)]
fn decode(bytes: &[u8]) -> i64 {
    match *bytes {
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

#[inline(always)]
fn search<const N: usize>(
    integers: &[[u8; N]],
    value: i64,
    decode: impl Fn([u8; N]) -> i64,
) -> Result<usize, usize> {
    integers.binary_search_by_key(&value, |bytes| decode(*bytes))
}

/// Why bytes are no set of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Too short for the header.
    #[error("{0} bytes are too few for the header of a set of integers")]
    Short(usize),
    /// Neither 2 nor 4 nor 8.
    #[error("a set of integers of {0} bytes each; only 2, 4 and 8 are known")]
    Width(u32),
    /// There are more bytes or fewer than the header says.
    #[error("a set of {count} integers has {bytes} bytes behind its header")]
    Length {
        /// Integers by the header.
        count: u32,
        /// Bytes there are.
        bytes: usize,
    },
    /// No integers.
    #[error("a set of no integers")]
    Empty,
    /// An integer is not greater than the one before it.
    #[error("integer {0} of a set is not greater than the one before it")]
    Order(usize),
}

/// Proves that any bytes are a set of integers, exactly, with at least one of them.
pub fn validate(bytes: &[u8]) -> Result<IntSet<'_>, Invalid> {
    let Some([a, b, c, d, count @ ..]) = bytes.first_chunk::<HEADER>() else {
        return Err(Invalid::Short(bytes.len()));
    };
    let width = u32::from_le_bytes([*a, *b, *c, *d]);
    let width = Width::from_bytes(width).ok_or(Invalid::Width(width))?;
    let count = u32::from_le_bytes(*count);
    let rest = bytes.len() - HEADER;
    if u64::from(count) * width.bytes() as u64 != rest as u64 {
        return Err(Invalid::Length { count, bytes: rest });
    }
    let set = IntSet::new(bytes);
    if set.is_empty() {
        return Err(Invalid::Empty);
    }
    let ascends = set.iter().zip(set.iter().skip(1)).position(|(one, next)| next <= one);
    ascends.map_or(Ok(set), |index| Err(Invalid::Order(index + 1)))
}

#[cfg(test)]
#[path = "intset_tests.rs"]
mod tests;
