//! Incremental decoder of client requests.
//!
//! Bytes arrive in any split. The caller keeps the unconsumed bytes of a connection together,
//! offers them again whenever more have come, and keeps a [`Decoder`] beside them which remembers
//! how far the current request was understood. So no byte is searched twice, however small the
//! pieces are.
//!
//! ```text
//! *3\r\n $3\r\n SET\r\n $1\r\n k\r\n $5\r\n hel        (spaces only for the eye)
//! ^                                 ^               ^
//! start of the request              pos: after the  end of the buffer
//! (always offset 0)                 last whole part
//! ```
//!
//! Arguments are reported only when the request is complete, as ranges of the buffer. What was
//! found by earlier calls is not remembered: a request that needed several calls has its length
//! lines read once more at the end, which jumps over the payload. That keeps the state to four
//! integers that can live in shared memory and be taken up by another process.
//!
//! Limits, error texts and oddities are those of Redis 7.0.15: the byte after a CR and the two
//! bytes after an argument are skipped unseen; a length has no sign but `-`, no leading zero and
//! no blank; a NUL inside a length line hides the rest of it.

use super::inline::{self, INLINE_MAX_SIZE};
use crate::util::numbers::string2ll;
use crate::util::quote;

/// Most arguments of a request from a client that has yet to authenticate.
pub const UNAUTHENTICATED_MAX_ARGS: i64 = 10;
/// Longest argument, in bytes, from a client that has yet to authenticate.
pub const UNAUTHENTICATED_MAX_BULK: i64 = 16384;
/// Redis's default for `proto-max-bulk-len`, in bytes.
pub const DEFAULT_MAX_BULK_LEN: i64 = 512 * 1024 * 1024;

/// Ranges kept allocated between requests; a larger request gives its memory back.
const ARGV_KEEP: usize = 1024;
/// Bytes of unquoted inline arguments kept allocated between requests.
const SCRATCH_KEEP: usize = 16 * 1024;

/// What a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`: longest argument, in bytes.
    pub max_bulk_len: i64,
    /// The client must authenticate first, so only small requests are taken from it.
    pub auth_required: bool,
}

impl Limits {
    /// For a request that has passed its limits already.
    const NONE: Self = Self { max_bulk_len: i64::MAX, auth_required: false };
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bulk_len: DEFAULT_MAX_BULK_LEN, auth_required: false }
    }
}

/// What the bytes at the start of the buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole request of `consumed` bytes; its arguments are in the [`Argv`]. No arguments at all
    /// (`*0`, an empty line) is a request that gets no reply. The decoder is ready for the next
    /// request, which starts at `consumed`.
    Complete {
        /// Length of the request in bytes.
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// Length, in bytes, that the buffer must reach before another call can get further. The
        /// peer chooses it, up to `proto-max-bulk-len`: reserve with care.
        need: usize,
    },
    /// The peer speaks no RESP. Reply with the error and close: nothing after it can be understood.
    Error(ProtocolError),
}

/// Why a request cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number after `*` is none, or too large.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// More than [`UNAUTHENTICATED_MAX_ARGS`] arguments before authentication.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// No end of line within [`INLINE_MAX_SIZE`] bytes of a `*`.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkCountTooBig,
    /// An argument's length must be announced with `$`; this byte was there.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedDollar(u8),
    /// The number after `$` is none, negative, or above `proto-max-bulk-len`.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An argument of more than [`UNAUTHENTICATED_MAX_BULK`] bytes before authentication.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// No end of line within [`INLINE_MAX_SIZE`] bytes of a `$`.
    #[error("Protocol error: too big bulk count string")]
    BulkCountTooBig,
    /// An inline command without an end within [`INLINE_MAX_SIZE`] bytes.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// An inline command with an open quote, or with a closing one inside a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text of the error reply, without `-ERR ` and line end; the offending byte goes back
    /// as it came.
    pub fn message(&self) -> Vec<u8> {
        match self {
            // No UTF-8 where the byte is none.
            Self::ExpectedDollar(got) => {
                [b"Protocol error: expected '$', got '".as_slice(), &[*got], b"'"].concat()
            }
            other => other.to_string().into_bytes(),
        }
    }
}

/// Place of one argument, in bytes from the start of what it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ArgRange {
    /// First byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

/// The arguments of one request; one `Argv` serves every connection of a thread.
#[derive(Debug, Default)]
pub struct Argv {
    ranges: Vec<ArgRange>,
    /// The ranges lie in `scratch`, not in the request.
    unquoted: bool,
    /// Arguments of an inline request, freed of their quotes.
    scratch: Vec<u8>,
}

impl Argv {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// The places of all arguments, and the bytes in which they stand; `request` as in
    /// [`Self::get`].
    #[inline]
    pub fn parts<'a>(&'a self, request: &'a [u8]) -> (&'a [u8], &'a [ArgRange]) {
        let source = if self.unquoted { &self.scratch } else { request };
        (source, &self.ranges)
    }

    /// Number of arguments, the command's name among them.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the request was an empty one (`*0`, an empty line), which gets no reply.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, if there are so many.
    ///
    /// # Panics
    ///
    /// If `request` is shorter than the buffer that was decoded.
    #[inline]
    pub fn get<'a>(&'a self, request: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        let source = if self.unquoted { &self.scratch } else { request };
        Some(&source[range.start..range.start + range.len])
    }

    /// All arguments in order; `request` as in [`Self::get`].
    pub fn iter<'a>(
        &'a self,
        request: &'a [u8],
    ) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let source = if self.unquoted { self.scratch.as_slice() } else { request };
        self.ranges.iter().map(move |range| &source[range.start..range.start + range.len])
    }

    /// Forgets the arguments, and the memory of an exceptionally large request.
    #[inline]
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.unquoted = false;
        if self.ranges.capacity() > ARGV_KEEP {
            self.ranges.shrink_to(ARGV_KEEP);
        }
        self.scratch.clear();
        if self.scratch.capacity() > SCRATCH_KEEP {
            self.scratch.shrink_to(SCRATCH_KEEP);
        }
    }

    /// Splits an inline command's line; false if its quotes do not balance.
    pub(super) fn fill_from_line(&mut self, line: &[u8]) -> bool {
        self.clear();
        self.unquoted = true;
        let (scratch, ranges) = (&mut self.scratch, &mut self.ranges);
        quote::split_args(line, scratch, |start, len| ranges.push(ArgRange { start, len }))
            .is_some()
    }

    #[inline]
    fn push(&mut self, start: usize, len: usize) {
        self.ranges.push(ArgRange { start, len });
    }
}

/// How far the request at the start of a buffer was understood.
///
/// All zero means nothing yet, so zeroed memory is a fresh decoder. No value does harm: a state that
/// cannot belong to the buffer is dropped and the request read from its start, and one that could
/// but does not can at worst make a [`ProtocolError`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Decoder {
    /// Start of the first part that is not complete: a length line or an argument.
    pos: u64,
    /// End of the bytes already searched for the end of that line.
    scanned: u64,
    /// Length of the argument at `pos`, plus one; 0 while a length line is awaited.
    bulk: u64,
    /// Arguments still to come; 0 while the request's first line is awaited.
    remaining: u64,
}

const _: () = assert!(size_of::<Decoder>() == 32);

/// Whether a length line can be read.
enum Line {
    /// It ends before this position, where its CR is; one more byte follows.
    Ends(usize),
    Unfinished,
    TooLong,
}

impl Decoder {
    /// A decoder at the start of a request.
    pub const fn new() -> Self {
        Self { pos: 0, scanned: 0, bulk: 0, remaining: 0 }
    }

    /// The state as four words, to be kept where a process cannot keep a struct of its own.
    pub const fn to_words(self) -> [u64; 4] {
        [self.pos, self.scanned, self.bulk, self.remaining]
    }

    /// The state that [`Self::to_words`] gave.
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { pos: words[0], scanned: words[1], bulk: words[2], remaining: words[3] }
    }

    /// Length of the request under way in bytes, once the length of its last argument is known.
    pub fn whole(&self) -> Option<u64> {
        let known = self.remaining == 1 && self.bulk > 0;
        known.then(|| self.pos.saturating_add(self.bulk).saturating_add(1))
    }

    /// Bytes that wait for the rest of the first part that is not complete, of a buffer of so many:
    /// what Redis would still hold of them. What follows an argument does not count.
    pub fn waiting(&self, length: u64) -> u64 {
        let end = if self.bulk > 0 {
            self.pos.saturating_add(self.bulk).saturating_add(1)
        } else {
            length
        };
        length.min(end).saturating_sub(self.pos)
    }

    /// Decodes the request at the start of `buf`.
    ///
    /// `buf` holds everything received from the start of the request on: the same bytes as in the
    /// call before, and more. `argv` is overwritten; it is meaningful only after
    /// [`Decoded::Complete`].
    #[inline]
    pub fn decode(&mut self, buf: &[u8], limits: &Limits, argv: &mut Argv) -> Decoded {
        argv.clear();
        if self.scanned.max(self.pos) > buf.len() as u64 {
            *self = Self::new();
        }
        let decoded = match buf.first() {
            None => return Decoded::Incomplete { need: 1 },
            Some(b'*') => self.multibulk(buf, limits, argv),
            Some(_) => self.inline(buf, argv),
        };
        if !matches!(decoded, Decoded::Incomplete { .. }) {
            *self = Self::new();
        }
        decoded
    }

    #[cold]
    fn inline(&mut self, buf: &[u8], argv: &mut Argv) -> Decoded {
        let mut scanned = self.scanned as usize;
        let decoded = inline::decode(buf, &mut scanned, argv);
        self.scanned = scanned as u64;
        decoded
    }

    fn multibulk(&mut self, buf: &[u8], limits: &Limits, argv: &mut Argv) -> Decoded {
        let resumed = self.pos != 0;
        let consumed = match self.walk(buf, limits, argv) {
            Ok(consumed) => consumed,
            Err(unfinished) => return unfinished,
        };
        if resumed {
            argv.clear();
            if Self::new().walk(&buf[..consumed], &Limits::NONE, argv) != Ok(consumed) {
                // The state was not this buffer's after all.
                *self = Self::new();
                argv.clear();
                return self.multibulk(buf, limits, argv);
            }
        }
        Decoded::Complete { consumed }
    }

    /// Goes on from `pos` to the end of the request, noting the arguments on the way.
    fn walk(&mut self, buf: &[u8], limits: &Limits, argv: &mut Argv) -> Result<usize, Decoded> {
        if self.remaining == 0 {
            let (count, next) = match plain_length(buf, 1) {
                Some(plain) => plain,
                None => self.multibulk_header(buf)?,
            };
            if count > UNAUTHENTICATED_MAX_ARGS && limits.auth_required {
                return Err(Decoded::Error(ProtocolError::UnauthenticatedMultibulkLength));
            }
            if count <= 0 {
                return Ok(next);
            }
            self.remaining = count as u64;
            self.pos = next as u64;
        }
        let mut pos = self.pos as usize;
        let mut remaining = self.remaining;
        while remaining > 0 {
            if self.bulk == 0 {
                let (len, next) = match short_header(buf, pos) {
                    Some(len) => (len, pos + 4),
                    None => {
                        (self.pos, self.remaining) = (pos as u64, remaining);
                        self.longer_header(buf)?
                    }
                };
                if len < 0 || len > limits.max_bulk_len {
                    return Err(Decoded::Error(ProtocolError::InvalidBulkLength));
                }
                if len > UNAUTHENTICATED_MAX_BULK && limits.auth_required {
                    return Err(Decoded::Error(ProtocolError::UnauthenticatedBulkLength));
                }
                self.bulk = len as u64 + 1;
                pos = next;
            }
            let len = self.bulk - 1;
            if ((buf.len() - pos) as u64) < len.saturating_add(2) {
                (self.pos, self.scanned, self.remaining) = (pos as u64, pos as u64, remaining);
                let need = (pos as u64).saturating_add(len).saturating_add(2);
                return Err(Decoded::Incomplete {
                    need: usize::try_from(need).unwrap_or(usize::MAX),
                });
            }
            argv.push(pos, len as usize);
            pos += len as usize + 2;
            self.bulk = 0;
            remaining -= 1;
        }
        Ok(pos)
    }

    /// Reads the line `$<length>`, which starts at `pos`.
    fn longer_header(&mut self, buf: &[u8]) -> Result<(i64, usize), Decoded> {
        let pos = self.pos as usize;
        let plain = if buf.get(pos) == Some(&b'$') { plain_length(buf, pos + 1) } else { None };
        match plain {
            Some(plain) => Ok(plain),
            None => self.bulk_header(buf),
        }
    }

    /// Reads the line `*<count>`, which starts at 0, by the book.
    #[cold]
    fn multibulk_header(&mut self, buf: &[u8]) -> Result<(i64, usize), Decoded> {
        match self.line(buf) {
            Line::Unfinished => Err(Decoded::Incomplete { need: buf.len() + 1 }),
            Line::TooLong => Err(Decoded::Error(ProtocolError::MultibulkCountTooBig)),
            Line::Ends(end) => match string2ll(&buf[1..end]) {
                Some(count) if count <= i64::from(i32::MAX) => Ok((count, end + 2)),
                _ => Err(Decoded::Error(ProtocolError::InvalidMultibulkLength)),
            },
        }
    }

    /// Reads the line `$<length>`, which starts at `pos`, by the book.
    #[cold]
    fn bulk_header(&mut self, buf: &[u8]) -> Result<(i64, usize), Decoded> {
        let start = self.pos as usize;
        match self.line(buf) {
            Line::Unfinished => Err(Decoded::Incomplete { need: buf.len() + 1 }),
            Line::TooLong => Err(Decoded::Error(ProtocolError::BulkCountTooBig)),
            Line::Ends(end) => {
                let dollar = buf[start];
                if dollar != b'$' {
                    return Err(Decoded::Error(ProtocolError::ExpectedDollar(dollar)));
                }
                let len = string2ll(&buf[start + 1..end]);
                let len = len.ok_or(Decoded::Error(ProtocolError::InvalidBulkLength))?;
                Ok((len, end + 2))
            }
        }
    }

    /// Searches the CR of the line at `pos`, from where the last search ended. A NUL ends the
    /// search in vain, as `strchr` has it.
    fn line(&mut self, buf: &[u8]) -> Line {
        let from = self.scanned.max(self.pos) as usize;
        let found = memchr::memchr2(b'\r', 0, &buf[from..]).map(|at| from + at);
        self.scanned = found.unwrap_or(buf.len()) as u64;
        match found {
            Some(end) if buf[end] == b'\r' => {
                if end + 2 <= buf.len() {
                    Line::Ends(end)
                } else {
                    Line::Unfinished
                }
            }
            _ if buf.len() - self.pos as usize > INLINE_MAX_SIZE => Line::TooLong,
            _ => Line::Unfinished,
        }
    }
}

/// The length in a header of one digit, `$3` and its line's end, at `at`: that of most words.
#[inline(always)]
fn short_header(buf: &[u8], at: usize) -> Option<i64> {
    let header = u32::from_le_bytes(*buf.get(at..)?.first_chunk::<4>()?);
    let digit = (header >> 8 & 0xff).wrapping_sub(u32::from(b'0'));
    let is_short = header & 0xffff_00ff == u32::from_le_bytes(*b"$\0\r\n") && digit <= 9;
    is_short.then_some(i64::from(digit))
}

/// Reads the number at `at` if it is an ordinary one (1 to 9 digits, no leading zero, its CR and
/// one byte more already there) and returns it with the start of what follows. Anything else is
/// left to the careful path, which alone knows about errors.
#[inline(always)]
fn plain_length(buf: &[u8], at: usize) -> Option<(i64, usize)> {
    let digits = buf.get(at..)?;
    let &[first, second, third, ..] = digits else { return None };
    let first = first.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    if second == b'\r' {
        return Some((i64::from(first), at + 3));
    }
    let second = second.wrapping_sub(b'0');
    if first == 0 || second > 9 {
        return None;
    }
    let mut value = i64::from(first) * 10 + i64::from(second);
    if third == b'\r' {
        return (digits.len() >= 4).then_some((value, at + 4));
    }
    for (index, byte) in digits.iter().enumerate().take(10).skip(2) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let whole = *byte == b'\r' && digits.len() >= index + 2;
            return whole.then_some((value, at + index + 2));
        }
        value = value * 10 + i64::from(digit);
    }
    None
}

/// The argument behind the command's name of the request at the start of a buffer (nothing, if it has
/// none), and where the request ends; `None` if it is not complete, or not written as most are. For whoever
/// wants to know before the request's turn comes: it is judged by a [`Decoder`] only.
#[inline]
pub fn first_argument(buf: &[u8]) -> Option<(&[u8], usize)> {
    if buf.first() != Some(&b'*') {
        return None;
    }
    let (count, mut at) = plain_length(buf, 1)?;
    let mut argument = &[][..];
    for index in 0..count {
        let (length, start) = match short_header(buf, at) {
            Some(length) => (length, at + 4),
            None if buf.get(at) == Some(&b'$') => plain_length(buf, at + 1)?,
            None => return None,
        };
        let end = start + length as usize;
        if index == 1 {
            argument = buf.get(start..end)?;
        }
        at = end + 2;
    }
    if at > buf.len() { None } else { Some((argument, at)) }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
