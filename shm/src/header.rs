//! The first page: what the arena is, and the words that processes share.
//!
//! The record [`Header`] is written once, at creation. Behind it stand the words: plain atomics,
//! outside of every record because `Portable` rules out interior mutability. The words are the only
//! part that a process may read before it owns the arena.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::alloc::HeapHeader;
use crate::arena::View;
use crate::off::Off;
use crate::record;
use crate::record::{Slot, U32, U64};
use crate::undo::LogHeader;

/// `b"hotredis"`, the first eight bytes of an arena.
pub const MAGIC: u64 = u64::from_le_bytes(*b"hotredis");
/// Version of everything that this file fixes: the places of records and words.
pub const FORMAT: u32 = 4;

record! {
    /// What the arena is. At offset 0.
    pub struct Header {
        /// [`MAGIC`]; stored last at creation, so that half an arena is none.
        pub magic: U64,
        /// [`FORMAT`].
        pub format: U32,
        /// 1 once creation is complete.
        pub complete: U32,
        /// Fingerprint of the build that made it.
        pub fingerprint: U64,
        /// A random number that names this arena.
        pub id: [u8; 16],
        /// Size of the (sparse) file.
        pub reserve: U64,
        /// Nanoseconds since the epoch at creation.
        pub created_ns: U64,
        /// Key of the hash function, random.
        pub hash_key: [u8; 16],
        /// The user's root record.
        pub root: Slot<Off<u8>>,
    }
}

/// Where the words start.
pub const WORDS: u64 = 1024;
/// How many 64-bit words there are.
pub const WORD_COUNT: usize = 64;
/// Where the log's header starts.
pub const LOG: Off<LogHeader> = Off::new(2048);
/// Where the allocator's header starts.
pub const HEAP: Off<HeapHeader> = Off::new(4096);

/// Word: the owner word. Its encoding is the business of whoever hands the arena over.
pub const OWNER_WORD: usize = 0;
/// Words: the executors' robust futexes (low half of the word), by parity of the generation.
pub const EXECUTOR_LOCKS: usize = 1;
/// Word: the end of what is backed, from the start of the heap, without holes.
pub const READY_END: usize = 3;
/// Word: the most bytes that may be backed.
pub const CAP: usize = 4;
/// Word: the end of the spans that were ever used, in bytes; a hint for the growing thread, which
/// may not read what transactions write.
pub const FRONTIER: usize = 5;
/// Word: blocks whose free was refused because they were free already; the checker complains.
pub const REFUSED_FREES: usize = 6;
/// Word: bytes of the heap that the system has backed by huge pages while it grew
/// ([`Mapping::advise_huge_pages`](crate::mapping::Mapping::advise_huge_pages)). What was given back since is not
/// deducted.
pub const HUGE_PAGES: usize = 7;
/// Word: what the executor is about to do, for whoever has to finish it after a death.
pub const IN_FLIGHT: usize = 8;
/// Words from here on are the user's.
pub const USER_WORDS: usize = 16;

const _: () = assert!(size_of::<Header>() as u64 <= WORDS);
const _: () = assert!(WORDS + WORD_COUNT as u64 * 8 <= LOG.raw());
const _: () = assert!(LOG.raw() + size_of::<LogHeader>() as u64 <= HEAP.raw());
const _: () = assert!(HEAP.raw() + size_of::<HeapHeader>() as u64 <= crate::layout::HEADER_SIZE);

impl View {
    /// A word of the header.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`WORD_COUNT`].
    #[inline(always)]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORD_COUNT);
        // SAFETY: the header is always mapped and backed, the address is 8-byte aligned (the base
        // is page aligned), and this range is only ever accessed as atomics.
        unsafe { AtomicU64::from_ptr(self.base().add(WORDS as usize + index * 8).cast()) }
    }

    /// The low half of a word of the header, for futexes.
    pub fn half_word(&self, index: usize) -> &AtomicU32 {
        assert!(index < WORD_COUNT);
        // SAFETY: as in `word`; a word is used either whole or by halves, never both.
        unsafe { AtomicU32::from_ptr(self.base().add(WORDS as usize + index * 8).cast()) }
    }
}

/// The words of an arena, for as long as the process lives: for locks that must outlast every
/// other use of the arena.
pub struct Words {
    mapping: Mapped,
}

/// What the words are seen through.
enum Mapped {
    Arena(std::sync::Arc<crate::mapping::Mapping>),
    Header(memmap2::MmapRaw),
}

impl Words {
    /// Keeps the arena's mapping for ever.
    pub fn leak(arena: &crate::arena::Arena) -> &'static Words {
        Box::leak(Box::new(Words { mapping: Mapped::Arena(arena.mapping().clone()) }))
    }

    /// Maps the header alone of the arena in that file, for ever: for a process that has no business
    /// with the rest.
    ///
    /// # Errors
    /// If it is no arena of this format, or cannot be mapped.
    pub fn map(file: &std::fs::File) -> Result<&'static Words, crate::error::OpenError> {
        use std::os::unix::fs::FileExt;
        let mut bytes = [0; size_of::<Header>()];
        // Through the descriptor first: a file that has been cut must not be touched.
        let read = file.read_exact_at(&mut bytes, 0);
        read.map_err(|error| crate::error::OpenError::system("read", error))?;
        // SAFETY: a record is valid for every bit pattern and has alignment 1.
        let header = unsafe { bytes.as_ptr().cast::<Header>().read_unaligned() };
        let map = crate::mapping::map_header(file)?;
        if header.magic != MAGIC || header.format != FORMAT {
            return Err(crate::error::OpenError::Damaged {
                why: "it is no arena of this format".into(),
            });
        }
        Ok(Box::leak(Box::new(Words { mapping: Mapped::Header(map) })))
    }

    fn base(&self) -> *mut u8 {
        match &self.mapping {
            Mapped::Arena(mapping) => mapping.base(),
            Mapped::Header(map) => map.as_mut_ptr(),
        }
    }

    /// A word of the header.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`WORD_COUNT`].
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORD_COUNT);
        // SAFETY: as in `View::word`.
        unsafe { AtomicU64::from_ptr(self.base().add(WORDS as usize + index * 8).cast()) }
    }

    /// The low half of a word of the header, for futexes.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`WORD_COUNT`].
    pub fn half_word(&self, index: usize) -> &AtomicU32 {
        assert!(index < WORD_COUNT);
        // SAFETY: as in `View::half_word`.
        unsafe { AtomicU32::from_ptr(self.base().add(WORDS as usize + index * 8).cast()) }
    }
}
