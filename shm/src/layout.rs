//! Which range of the arena serves what. All values are byte offsets or sizes in bytes.
//!
//! The file is sparse: ranges that are not backed cost nothing, so every area that may become
//! large has address space of its own and never moves.
//!
//! ```text
//! 0          64 KiB                1 GiB                           5 GiB     8 GiB
//! | header   | (unused)            | executor area                 | (unused) | regions of 1 GiB ...
//!                                  | undo | frees | input | output            | header span, spans of 64 KiB
//! ```

/// Size of a page of the system; the unit in which memory is backed.
pub const PAGE: u64 = 4096;
/// Size of a huge page, and the alignment that one has.
pub const HUGE_PAGE: u64 = 2 << 20;
/// Bytes at the start that the header owns; always backed.
pub const HEADER_SIZE: u64 = 64 << 10;

/// Start of the area of the (first) executor. The log is first in it, below 2 GiB: so near to the arena's start an
/// instruction can hold the distance.
pub const EXECUTOR: u64 = 1 << 30;
/// The undo log of the executor.
pub const UNDO: u64 = EXECUTOR;
/// Address space of the undo log.
pub const UNDO_SIZE: u64 = 1 << 30;
/// The list of blocks that the transaction will free.
pub const FREES: u64 = UNDO + UNDO_SIZE;
/// Address space of the list of frees.
pub const FREES_SIZE: u64 = 1 << 30;
/// The executor's input buffer.
pub const INPUT: u64 = FREES + FREES_SIZE;
/// Address space of the input buffer.
pub const INPUT_SIZE: u64 = 1 << 30;
/// The executor's output buffer.
pub const OUTPUT: u64 = INPUT + INPUT_SIZE;
/// Address space of the output buffer.
pub const OUTPUT_SIZE: u64 = 1 << 30;

/// Start of the regions that the allocator hands out.
pub const HEAP: u64 = 8 << 30;
/// Size of a region; its first span is its header.
pub const REGION: u64 = 1 << 30;
/// Size of a span: the unit in which regions are divided among size classes.
pub const SPAN: u64 = 64 << 10;
/// Spans in a region, the header span included.
pub const SPANS_PER_REGION: u64 = REGION / SPAN;
/// Address space reserved for a mapping and for the (sparse) file, unless options say otherwise.
pub const DEFAULT_RESERVE: u64 = HEAP + (1 << 40);
/// Offsets are stored in 40 bits of 8-byte units where space is short.
pub const MAX_RESERVE: u64 = 1 << 43;

const _: () = assert!(OUTPUT + OUTPUT_SIZE <= HEAP && UNDO + UNDO_SIZE <= 2 << 30);
const _: () = assert!(DEFAULT_RESERVE <= MAX_RESERVE);
const _: () = assert!(HEAP.is_multiple_of(HUGE_PAGE) && REGION.is_multiple_of(HUGE_PAGE));
