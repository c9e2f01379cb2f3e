//! Strings: integers, short and long byte strings, and blobs.
//!
//! | kind | what the entry holds |
//! | --- | --- |
//! | [`Kind::Int`] | 8 bytes; changed in place, so that a counter logs 8 bytes |
//! | [`Kind::Embedded`] | at most [`EMBEDDED_MAX`] bytes that were only ever set as a whole |
//! | [`Kind::Inline`] | at most [`INLINE_MAX`] bytes, more only as room allows |
//! | [`Kind::Blob`] | the record of a blob, which grows in place |
//!
//! Bytes behind a value's length are reachable to nobody and written without a log. For that to
//! hold within a transaction too, a value that becomes shorter logs what it loses.

use std::borrow::Cow;

use shm::blob::{self, Blob};
use shm::{Fresh, I64, Off, OutOfMemory, Slot, Tx, View};

use crate::keyspace::entry::{self, Entry, EntryView, Kind};
use crate::util::numbers::string2ll;

/// Longest string that is `embstr`, in bytes.
pub const EMBEDDED_MAX: usize = 44;
/// Longest string that is put into its key's entry, in bytes; longer ones become blobs.
pub const INLINE_MAX: usize = 2048;

/// A string with the encoding that it is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded<'a> {
    /// `int`.
    Int(i64),
    /// `embstr`.
    Embedded(&'a [u8]),
    /// `raw`.
    Raw(&'a [u8]),
}

impl<'a> Encoded<'a> {
    /// A value that is set as a whole: `int` if it is the canonical text of an integer.
    #[inline]
    pub fn of(text: &'a [u8]) -> Encoded<'a> {
        // 20 bytes hold the longest integer.
        match (text.len() <= 20).then(|| string2ll(text)).flatten() {
            Some(number) => Encoded::Int(number),
            None => Encoded::text(text),
        }
    }

    /// A value that is not looked at as a number.
    #[inline]
    pub fn text(text: &'a [u8]) -> Encoded<'a> {
        if text.len() <= EMBEDDED_MAX { Encoded::Embedded(text) } else { Encoded::Raw(text) }
    }

    #[inline(always)]
    fn kind(self) -> Kind {
        match self {
            Encoded::Int(_) => Kind::Int,
            Encoded::Embedded(_) => Kind::Embedded,
            Encoded::Raw(text) if text.len() <= INLINE_MAX => Kind::Inline,
            Encoded::Raw(_) => Kind::Blob,
        }
    }
}

/// The content of a string.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// An integer, which reads as its decimal text.
    Int(i64),
    /// Bytes in one piece.
    Bytes(&'a [u8]),
    /// A blob.
    Blob(&'a View, Off<Blob>),
}

/// The content of an entry; `None` if it is no string.
#[inline]
pub fn content<'a>(entry: &EntryView<'a>) -> Option<Content<'a>> {
    Some(match entry.kind() {
        Kind::Int => Content::Int(integer(entry)),
        Kind::Embedded | Kind::Inline => Content::Bytes(entry.value()),
        Kind::Blob => Content::Blob(entry.view(), entry.value_off().cast()),
        _ => return None,
    })
}

#[inline(always)]
fn integer(entry: &EntryView<'_>) -> i64 {
    entry.view().read(entry.value_off().cast::<I64>()).to_native()
}

impl<'a> Content<'a> {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Int(number) => itoa::Buffer::new().format(*number).len() as u64,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Blob(view, blob) => blob::len(view, *blob),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole content; a copy only if it does not lie in one piece.
    pub fn bytes<'b>(&self, digits: &'b mut itoa::Buffer) -> Cow<'b, [u8]>
    where
        'a: 'b,
    {
        match self {
            Content::Int(number) => Cow::Borrowed(digits.format(*number).as_bytes()),
            Content::Bytes(bytes) => Cow::Borrowed(bytes),
            Content::Blob(view, blob) => match blob::flat(view, *blob) {
                Some(bytes) => Cow::Borrowed(bytes),
                None => Cow::Owned(blob::to_vec(view, *blob, 0, u64::MAX)),
            },
        }
    }

    /// Calls `each` with the bytes from `start` to `end` (clamped to the length), piece by piece.
    pub fn pieces(&self, start: u64, end: u64, mut each: impl FnMut(&[u8])) {
        match self {
            Content::Blob(view, blob) => blob::pieces(view, *blob, start, end).for_each(each),
            _ => {
                let mut digits = itoa::Buffer::new();
                let bytes = self.bytes(&mut digits);
                let end = end.min(bytes.len() as u64);
                let piece = &bytes[start.min(end) as usize..end as usize];
                if !piece.is_empty() {
                    each(piece);
                }
            }
        }
    }

    /// The byte at a position; `None` behind the end.
    pub fn byte(&self, at: u64) -> Option<u8> {
        let mut found = None;
        self.pieces(at, at.saturating_add(1), |piece| found = piece.first().copied());
        found
    }

    /// The value as an integer, if it is the canonical text of one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Content::Int(number) => Some(*number),
            Content::Bytes(bytes) => string2ll(bytes),
            Content::Blob(..) => None,
        }
    }
}

/// Makes an entry with this value.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    value: Encoded<'_>,
    expiry: Option<i64>,
) -> Result<Fresh, OutOfMemory> {
    let at = entry::value_at(key.len(), expiry.is_some());
    match value {
        Encoded::Int(number) => {
            let fresh = entry::create(tx, key, Kind::Int, expiry, 8)?;
            tx.init(&fresh, at, I64::from_native(number));
            Ok(fresh)
        }
        Encoded::Embedded(text) | Encoded::Raw(text) if value.kind() != Kind::Blob => {
            let fresh = entry::create(tx, key, value.kind(), expiry, text.len() as u32)?;
            tx.init_bytes(&fresh, at, text);
            Ok(fresh)
        }
        Encoded::Embedded(text) | Encoded::Raw(text) => {
            let record = blob::create(tx, text)?;
            Ok(entry::create_record(tx, key, Kind::Blob, expiry, record)?.0)
        }
    }
}

/// Gives an entry another value in place, if it is small and neither too large nor much too small
/// for the block. Says whether it did; if not, nothing has changed.
#[inline]
pub fn overwrite(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    value: Encoded<'_>,
) -> Result<bool, OutOfMemory> {
    let (old_kind, place, old_len) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off(), entry.value_len())
    };
    let kind = value.kind();
    if !is_in_entry(old_kind) || !is_in_entry(kind) {
        return Ok(false);
    }
    if let (Encoded::Int(number), Kind::Int) = (value, old_kind) {
        tx.set(place.cast::<Slot<I64>>(), I64::from_native(number))?;
        return Ok(true);
    }
    let number;
    let bytes = match value {
        Encoded::Int(value) => {
            number = value.to_le_bytes();
            &number[..]
        }
        Encoded::Embedded(text) | Encoded::Raw(text) => text,
    };
    if bytes.len() == old_len && kind == old_kind {
        tx.write(place, bytes)?;
        return Ok(true);
    }
    if bytes.len() != old_len && !fits(EntryView::new(tx, off).value_room(), bytes.len()) {
        return Ok(false);
    }
    write_over(tx, place, old_len, bytes)?;
    if bytes.len() < old_len {
        tx.abandon(place.byte_add(bytes.len() as u64), old_len - bytes.len())?;
    }
    entry::set_kind(tx, off, kind, bytes.len() as u32)?;
    Ok(true)
}

/// Whether the bytes of such a value stand in the entry's block alone.
#[inline(always)]
fn is_in_entry(kind: Kind) -> bool {
    matches!(kind, Kind::Int | Kind::Embedded | Kind::Inline)
}

/// Whether a value may take the place of another one in a block with so much room: it has to fit,
/// and not to waste more than half of it.
#[inline(always)]
fn fits(room: u64, len: usize) -> bool {
    let len = len as u64;
    len <= room && room <= 64 + 2 * len
}

/// Writes bytes over a value of `old_len` bytes: what lies behind is reachable to nobody.
#[inline]
fn write_over(
    tx: &mut Tx<'_>,
    place: Off<u8>,
    old_len: usize,
    bytes: &[u8],
) -> Result<(), OutOfMemory> {
    let (logged, rest) = bytes.split_at(bytes.len().min(old_len));
    tx.write(place, logged)?;
    if !rest.is_empty() {
        tx.write_unreachable(place.byte_add(logged.len() as u64), rest);
    }
    Ok(())
}

/// Writes bytes from `at` on into the value of an entry, which becomes `raw`; what is missing
/// before them becomes zeros. If that needs another block, gives it: the caller puts it in the
/// entry's place.
pub fn write_at(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    at: u64,
    bytes: &[u8],
) -> Result<Option<Fresh>, OutOfMemory> {
    let (kind, place, old_len, room) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off(), entry.value_len(), entry.value_room())
    };
    let end = at.checked_add(bytes.len() as u64).ok_or(OutOfMemory)?;
    match kind {
        Kind::Blob => {
            blob::write(tx, place.cast(), at, bytes)?;
            return Ok(None);
        }
        Kind::Embedded | Kind::Inline if end <= room => {
            let length = end.max(old_len as u64) as usize;
            if at > old_len as u64 {
                tx.zero_unreachable(place.byte_add(old_len as u64), at - old_len as u64);
            }
            let old_here = (old_len as u64).saturating_sub(at) as usize;
            write_over(tx, place.byte_add(at), old_here, bytes)?;
            entry::set_kind(tx, off, Kind::Inline, length as u32)?;
            return Ok(None);
        }
        _ => {}
    }
    let (key, expiry, old) = {
        let entry = EntryView::new(tx, off);
        let mut digits = itoa::Buffer::new();
        let old = content(&entry).map(|c| c.bytes(&mut digits).into_owned()).unwrap_or_default();
        (entry.key().to_vec(), entry.expiry(), old)
    };
    create_raw(tx, &key, expiry, &old, at, bytes).map(Some)
}

/// Makes a `raw` entry out of `old`, with `bytes` written from `at` on.
pub fn create_raw(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    old: &[u8],
    at: u64,
    bytes: &[u8],
) -> Result<Fresh, OutOfMemory> {
    let end = at.checked_add(bytes.len() as u64).ok_or(OutOfMemory)?;
    let length = end.max(old.len() as u64);
    if length > INLINE_MAX as u64 {
        let record = blob::create(tx, old)?;
        let (fresh, blob) = entry::create_record(tx, key, Kind::Blob, expiry, record)?;
        blob::write(tx, blob, at, bytes)?;
        return Ok(fresh);
    }
    let length = length as usize;
    let start = entry::value_at(key.len(), expiry.is_some());
    // A value that has grown once will grow again.
    let room = if old.is_empty() { length } else { (length * 3 / 2).min(INLINE_MAX) };
    let fresh = entry::create(tx, key, Kind::Inline, expiry, room as u32)?;
    tx.init_bytes(&fresh, start, old);
    tx.init_fill(&fresh, start + old.len() as u64, 0, (room - old.len()) as u64);
    tx.init_bytes(&fresh, start + at, bytes);
    entry::set_kind(tx, fresh.off().cast(), Kind::Inline, length as u32)?;
    Ok(fresh)
}

/// Copies a blob into an empty one.
pub fn copy_blob(tx: &mut Tx<'_>, source: Off<Blob>, target: Off<Blob>) -> Result<(), OutOfMemory> {
    let length = blob::len(tx, source);
    let mut at = 0;
    while at < length {
        let end = (at + blob::PART).min(length);
        let part = blob::to_vec(tx, source, at, end);
        // Parts that were never written stay missing, as zeros do.
        if end == length || part.iter().any(|byte| *byte != 0) {
            blob::write(tx, target, at, &part)?;
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
#[path = "string_tests.rs"]
mod tests;
