//! The executor's output buffer as the place where replies go.
//!
//! Replies of one tick to several clients stand in it one behind the other; they are written when
//! every client has had its turn, so that a wake-up of a peer does not end the tick early. Which
//! bytes are whose stands at the buffer's start, in a table of [`Segment`]s:
//!
//! ```text
//! | segments, 24 bytes each (64 KiB in all) | replies ... |
//! ```

use shm::OutOfMemory;
use shm::io::IoBuffer;

use crate::proto::reply::{self, Sink};

/// Bytes of the buffer that the table of segments takes.
const TABLE: usize = 64 << 10;
/// Segments that the table holds.
const MAX_SEGMENTS: usize = 1024;

/// Replies of one turn that are still to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Offset of the session.
    pub session: u64,
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// Replies to the session that is being served. What a transaction wrote counts once it has
/// committed; until then it can be cut off again.
pub struct Output {
    buffer: IoBuffer,
    /// Where the replies of the present turn start.
    start: usize,
    len: usize,
    segments: usize,
    muted: bool,
    failed: bool,
}

/// Replies beyond this are written before another client has its turn.
const FULL: usize = 512 << 10;
/// Memory that the buffer keeps when it is empty.
const KEEP: usize = 1 << 20;

impl Output {
    /// Wraps the arena's output buffer, empty.
    pub fn new(buffer: IoBuffer) -> Output {
        Output { buffer, start: TABLE, len: TABLE, segments: 0, muted: false, failed: false }
    }

    /// Position behind the last byte written.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the present turn has written nothing.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == self.start
    }

    /// Where the replies of the present turn start.
    #[inline(always)]
    pub fn start(&self) -> usize {
        self.start
    }

    /// What the present turn has written.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[self.start..self.len]
    }

    /// What was written behind a position.
    pub fn since(&self, from: usize) -> &[u8] {
        &self.buffer.bytes()[from..self.len]
    }

    /// Segments waiting to be written.
    #[inline(always)]
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Whether another turn may leave a segment.
    pub fn has_room(&self) -> bool {
        self.segments < MAX_SEGMENTS && self.len < FULL
    }

    /// Makes what the present turn has written a segment. It counts once a commit says so.
    pub fn push_segment(&mut self, session: u64) {
        let words = [session, self.start as u64, self.len as u64];
        let at = self.segments * size_of_val(&words);
        for (i, word) in words.into_iter().enumerate() {
            let at = at + i * 8;
            self.buffer.bytes_mut()[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        self.segments += 1;
        self.start = self.len;
    }

    /// A segment.
    pub fn segment(&self, index: usize) -> Segment {
        let word = |i: usize| {
            let at = index * 24 + i * 8;
            let bytes = self.buffer.bytes()[at..at + 8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        Segment { session: word(0), start: word(1) as usize, end: word(2) as usize }
    }

    /// A segment's bytes.
    pub fn segment_bytes(&self, segment: Segment) -> &[u8] {
        &self.buffer.bytes()[segment.start..segment.end]
    }

    /// Cuts off what was written behind `len`, and forgets a failure there.
    #[inline(always)]
    pub fn truncate(&mut self, len: usize) {
        self.len = len;
        self.failed = false;
    }

    /// Forgets everything; gives exceptional memory back.
    #[inline(always)]
    pub fn clear(&mut self) {
        (self.start, self.len, self.segments) = (TABLE, TABLE, 0);
        if self.buffer.capacity() > KEEP {
            self.buffer.shrink(KEEP);
        }
    }

    /// Takes up the buffer as an owner left it that has died: so many segments, and a turn's replies
    /// from `start` to `end`.
    pub fn adopt(&mut self, segments: usize, start: usize, end: usize) -> Result<(), OutOfMemory> {
        self.buffer.restore()?;
        self.segments = segments.min(MAX_SEGMENTS);
        let last = (0..self.segments).map(|index| self.segment(index).end).max().unwrap_or(TABLE);
        (self.start, self.len) = (start.max(TABLE), end.max(TABLE));
        self.muted = false;
        self.failed = false;
        self.buffer.ensure(last.max(self.len))
    }

    /// Forgets the segments, which have been kept elsewhere.
    pub fn forget_segments(&mut self) {
        self.segments = 0;
    }

    /// Whether what is written from now on is dropped (`CLIENT REPLY OFF`).
    #[inline(always)]
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Whether replies are being dropped.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Whether a reply did not fit because the arena is full.
    #[inline(always)]
    pub fn check(&self) -> Result<(), OutOfMemory> {
        if self.failed { Err(OutOfMemory) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, bytes: usize) -> bool {
        self.failed |= self.buffer.ensure(self.len.saturating_add(bytes)).is_err();
        !self.failed
    }
}

impl Sink for Output {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.muted {
            return;
        }
        if bytes.len() > self.buffer.capacity() - self.len && !self.grow(bytes.len()) {
            return;
        }
        let end = self.len + bytes.len();
        self.buffer.bytes_mut()[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// In one go for the short strings that most are.
    #[inline(always)]
    fn put_bulk(&mut self, bytes: &[u8]) {
        let (len, room) = (bytes.len(), self.buffer.capacity() - self.len);
        if self.muted || len >= 100 || len + 7 > room {
            let mut line = [0; reply::HEADER];
            let line = reply::header_line(&mut line, b'$', len as i64);
            return self.put_all(&[line, bytes, b"\r\n"]);
        }
        let digits = [b'0' + (len / 10) as u8, b'0' + (len % 10) as u8];
        let head = if len < 10 { 2 } else { 3 };
        let whole = &mut self.buffer.bytes_mut()[self.len..][..head + len + 4];
        whole[0] = b'$';
        whole[1..head].copy_from_slice(&digits[3 - head..]);
        whole[head..head + 2].copy_from_slice(b"\r\n");
        whole[head + 2..head + 2 + len].copy_from_slice(bytes);
        whole[head + 2 + len..].copy_from_slice(b"\r\n");
        self.len += head + len + 4;
    }
}
