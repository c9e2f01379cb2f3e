//! The undo log: what a transaction needs so that it can be taken back.
//!
//! Before reachable memory is changed, its old content is appended to the log; before the log's
//! length says so, the content is there. Everything hangs on the one word [`LogHeader::state`]:
//!
//! ```text
//! bit  63      phase: 0 open, 1 freeing
//! bit  62      which of the two payload records is current
//! bits 61..31  frees: entries of the list of blocks to be freed
//! bits 30..0   undo: length of the log in 8-byte words
//! ```
//!
//! *Open*, both zero: no transaction, or one that has changed nothing. *Open*: an unfinished
//! transaction; to take it back is to play the log backwards and forget the frees. The store that
//! sets the length back to zero commits. If blocks are to be freed, the same store enters the phase
//! *freeing*: each (small batch of) free is a little transaction with the same log, whose commit is
//! the store that shortens the list. A death amid it takes back the unfinished batch and goes on.
//!
//! A log entry is one word, `bytes << 44 | offset`, then the old bytes, padded to whole words.
//! Recovery reads entries forwards and applies them backwards, because a place may be logged twice.
//!
//! Only the compiler could reorder the stores to harm: a process that dies has executed its stores
//! in program order, and other processes see all of them. Hence [`order`] and no CPU fences.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use crate::alloc::region;
use crate::arena::{Arena, View};
use crate::header;
use crate::layout;
use crate::record;
use crate::record::U64;

/// What a commit publishes beside the transaction's writes: the user's own few words. The first may be
/// changed alone, which costs less.
pub type Payload = [u64; 4];

record! {
    /// The log's header, at a fixed place of the arena's header page.
    pub struct LogHeader {
        /// The state word; accessed as an atomic only.
        state: U64,
        /// Unused.
        reserved: [u8; 56],
        /// Two, in turn, whose payloads differ in their first words only but amid a commit; accessed through
        /// raw places only.
        commits: [Commit; 2],
    }
}

record! {
    /// What a commit publishes. So long that the state word's bit leads to it by a shift.
    pub struct Commit {
        /// The user's.
        payload: [U64; 4],
        /// Bytes in blocks in use.
        used: U64,
        /// Unused.
        reserved: [u8; 24],
    }
}

/// Keeps the compiler from moving stores across.
#[inline(always)]
pub(crate) fn order() {
    compiler_fence(Ordering::SeqCst);
}

/// The decoded state word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub freeing: bool,
    pub which: bool,
    /// Entries of the list of frees.
    pub frees: u64,
    /// Words of the log.
    pub undo: u64,
}

const FIELD: u64 = (1 << 31) - 1;

/// The state word's bit that names the current payload.
pub(crate) const WHICH: u64 = 1 << 62;
/// The state word's bit for the phase *freeing*.
pub(crate) const FREEING: u64 = 1 << 63;
const _: () = assert!(WHICH == State { which: true, ..State::CLEAN }.encode());
const _: () = assert!(FREEING == State { freeing: true, ..State::CLEAN }.encode());

impl State {
    pub const CLEAN: State = State { freeing: false, which: false, frees: 0, undo: 0 };

    #[inline(always)]
    pub const fn encode(self) -> u64 {
        (self.freeing as u64) << 63 | (self.which as u64) << 62 | self.frees << 31 | self.undo
    }

    #[inline(always)]
    pub fn decode(word: u64) -> State {
        State {
            freeing: word >> 63 != 0,
            which: word >> 62 & 1 != 0,
            frees: word >> 31 & FIELD,
            undo: word & FIELD,
        }
    }
}

const _: () = assert!(layout::UNDO_SIZE / 8 <= FIELD && layout::FREES_SIZE / 8 <= FIELD);

/// Largest number of bytes in one entry; longer ranges take several.
pub(crate) const MAX_ENTRY: usize = (1 << 20) - 8;

/// Bits of an entry's first word that are the offset.
const OFFSET_BITS: u32 = 44;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const _: () = assert!(layout::MAX_RESERVE <= OFFSET_MASK && MAX_ENTRY < 1 << (64 - OFFSET_BITS));

#[inline(always)]
pub(crate) fn entry(offset: u64, bytes: usize) -> u64 {
    (bytes as u64) << OFFSET_BITS | offset
}

impl Arena {
    /// [`View::undo_back_to`], for the owner.
    pub(crate) fn undo_back_to(&mut self, from_word: u64, words: u64) -> Vec<u64> {
        self.view_mut().undo_back_to(from_word, words)
    }
}

impl View {
    #[inline(always)]
    pub(crate) fn log_state(&self) -> &AtomicU64 {
        let at = header::LOG.raw() as usize + std::mem::offset_of!(LogHeader, state);
        // SAFETY: inside the header, which is always backed; 8-byte aligned; accessed as an atomic
        // only.
        unsafe { AtomicU64::from_ptr(self.base().add(at).cast()) }
    }

    #[inline(always)]
    fn payload_place(&self, which: bool) -> *mut Payload {
        let at = header::LOG.raw() as usize
            + std::mem::offset_of!(LogHeader, commits)
            + which as usize * size_of::<Commit>();
        // SAFETY: inside the header page.
        unsafe { self.base().add(at).cast() }
    }

    /// What the last commit published.
    pub fn payload(&self) -> Payload {
        let state = State::decode(self.log_state().load(Ordering::Relaxed));
        // SAFETY: inside the header, aligned, plain integers; only the owner writes it, and it
        // writes the other one.
        unsafe { self.payload_place(state.which).read() }
    }

    #[inline(always)]
    pub(crate) fn write_payload(&self, which: bool, payload: &Payload) {
        // SAFETY: as above; called by the owner only, for the record that is not current.
        unsafe { self.payload_place(which).write(*payload) }
    }

    /// Writes the first word of the payload that is not current.
    #[inline(always)]
    pub(crate) fn write_first(&self, which: bool, first: u64) {
        // SAFETY: as above.
        unsafe { self.payload_place(which).cast::<u64>().write(first) }
    }

    /// Makes the payload that is not current agree with the current one but for the first word.
    #[inline(always)]
    pub(crate) fn even_payloads(&self, current: bool) {
        // SAFETY: as above.
        unsafe {
            let [_, others @ ..] = self.payload_place(current).read();
            self.payload_place(!current).cast::<u64>().add(1).cast::<[u64; 3]>().write(others);
        }
    }

    /// Where the bytes in use are noted beside a payload.
    #[inline(always)]
    fn used_place(&self, which: bool) -> *mut u64 {
        // SAFETY: inside the same record.
        unsafe { self.payload_place(which).byte_add(std::mem::offset_of!(Commit, used)).cast() }
    }

    /// Bytes in blocks in use, as of the last commit.
    #[inline]
    pub fn used_bytes(&self) -> u64 {
        self.used_noted(State::decode(self.log_state().load(Ordering::Relaxed)).which)
    }

    /// Bytes in blocks in use as they are noted beside a payload.
    #[inline(always)]
    pub(crate) fn used_noted(&self, which: bool) -> u64 {
        // SAFETY: as in `payload`.
        unsafe { self.used_place(which).read() }
    }

    /// Notes the bytes in use for the payload that is not current.
    #[inline(always)]
    pub(crate) fn write_used(&self, which: bool, used: u64) {
        // SAFETY: as in `write_payload`.
        unsafe { self.used_place(which).write(used) }
    }

    /// The entries of a stretch of the log, by the words at which they begin; an error says what is
    /// wrong with it.
    fn undo_entries(&self, from_word: u64, words: u64) -> Result<Vec<u32>, String> {
        if words > layout::UNDO_SIZE / 8 {
            return Err(format!("its undo log claims {words} words, more than there is room for"));
        }
        let mut entries = Vec::new();
        let mut at = from_word;
        while at < words {
            let (offset, bytes) = self.undo_entry(at);
            let end = offset + bytes as u64;
            let next = at + 1 + (bytes as u64).div_ceil(8);
            let elsewhere = end <= layout::EXECUTOR || offset >= layout::HEAP;
            if bytes == 0 || next > words || end > self.len() || !elsewhere {
                return Err(format!(
                    "word {at} of its undo log makes no sense: {offset:#x}, {bytes} bytes"
                ));
            }
            entries.push(at as u32);
            at = next;
        }
        Ok(entries)
    }

    /// The offset and the number of bytes that the entry beginning at a word of the log is about.
    fn undo_entry(&self, word: u64) -> (u64, usize) {
        assert!(word < layout::UNDO_SIZE / 8);
        // SAFETY: within the log's address space, as just checked; what the owner wrote there is backed,
        // and what nobody wrote reads as zeros.
        let head =
            unsafe { self.base().add((layout::UNDO + word * 8) as usize).cast::<u64>().read() };
        (head & OFFSET_MASK, (head >> OFFSET_BITS) as usize)
    }

    /// Whether the log can be played: an error says why not.
    pub(crate) fn check_log(&self) -> Result<(), String> {
        let state = State::decode(self.log_state().load(Ordering::Relaxed));
        if state.frees > layout::FREES_SIZE / 8 {
            return Err(format!("it claims {} frees, more than there is room for", state.frees));
        }
        self.undo_entries(0, state.undo).map(|_| ())
    }

    /// Plays the log backwards from its word number `words` to `from_word`; gives the places among the
    /// words that were restored which say what memory is backed.
    ///
    /// # Panics
    ///
    /// If the log makes no sense; then nothing was changed.
    fn undo_back_to(&mut self, from_word: u64, words: u64) -> Vec<u64> {
        let mut restored = Vec::new();
        let entries = match self.undo_entries(from_word, words) {
            Ok(entries) => entries,
            Err(why) => panic!("this arena is damaged: {why}"),
        };
        for word in entries.into_iter().rev().map(u64::from) {
            let (offset, bytes) = self.undo_entry(word);
            // SAFETY: the target was logged by a transaction, so it is backed, and it was checked
            // to be mapped and not to overlap the log; `&mut self` rules out references into it.
            unsafe {
                let old = self.base().add((layout::UNDO + (word + 1) * 8) as usize);
                let target = self.base().add(offset as usize);
                if bytes == 8 {
                    target.cast::<u64>().write_unaligned(old.cast::<u64>().read());
                } else {
                    std::ptr::copy_nonoverlapping(old, target, bytes);
                }
            }
            if bytes == 8 && region::tells_of_holes(offset) {
                restored.push(offset);
            }
        }
        restored
    }
}

const _: () = assert!(layout::UNDO_SIZE / 8 <= u32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_word_holds_what_was_put_in() {
        for freeing in [false, true] {
            for which in [false, true] {
                for frees in [0, 1, 77, FIELD] {
                    for undo in [0, 1, 1 << 20, FIELD] {
                        let state = State { freeing, which, frees, undo };
                        assert_eq!(State::decode(state.encode()), state);
                    }
                }
            }
        }
    }

    #[test]
    fn an_entry_holds_any_offset_and_length() {
        for offset in [0, 8, layout::HEAP, layout::MAX_RESERVE - 1] {
            for bytes in [1, 8, MAX_ENTRY] {
                let entry = entry(offset, bytes);
                assert_eq!((entry & OFFSET_MASK, entry >> OFFSET_BITS), (offset, bytes as u64));
            }
        }
    }
}
