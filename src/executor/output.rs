//! The executor's output buffer as the place where replies go.

use shm::OutOfMemory;
use shm::io::IoBuffer;

use crate::proto::reply::Sink;

/// Replies to the session that is being served. What a transaction wrote counts once it has
/// committed; until then it can be cut off again.
pub struct Output {
    buffer: IoBuffer,
    len: usize,
    muted: bool,
    failed: bool,
}

/// Memory that the buffer keeps when it is empty.
const KEEP: usize = 1 << 20;

impl Output {
    /// Wraps the arena's output buffer, empty.
    pub fn new(buffer: IoBuffer) -> Output {
        Output { buffer, len: 0, muted: false, failed: false }
    }

    /// Bytes written.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[..self.len]
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
        self.len = 0;
        if self.buffer.capacity() > KEEP {
            self.buffer.shrink(KEEP);
        }
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
}
