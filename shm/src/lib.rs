//! The shared-memory arena: one file, mapped once, that holds everything a server must not lose.
//!
//! The crate knows nothing of Redis, sockets or upgrades. It offers, from the bottom up:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`mapping`] | one sealed memfd or locked file behind one mapping; backing and releasing of ranges |
//! | [`layout`] | which range of the arena serves what |
//! | [`off`], [`record`] | typed offsets, and the fixed records they lead to |
//! | [`header`] | the first page: identity, fingerprint, the words that processes share |
//! | [`arena`] | creating, opening and reading an arena; the executor's handle |
//! | [`undo`], [`tx`], `logged`, `freeing` | the undo log, and transactions: all of a command's writes or none |
//! | [`alloc`] | size classes, spans, regions; its metadata is changed through transactions too |
//! | [`grow`] | the thread that allocates memory ahead of need |
//! | [`table`], [`tree`], [`blob`] | containers: a hash table that grows without a stall, an ordered tree with ranks, byte strings of any size |
//! | [`deque`] | linked lists of chunks of packed items |
//! | [`relocate`] | moving the containers' blocks out of spans that are to be emptied |
//! | [`pack`] | runs of small items packed into bytes |
//! | [`intset`] | sorted integers in a run of bytes, for values that stand in another block |
//! | [`io`] | the executor's input and output buffers, which no transaction writes |
//! | `fault` | failures on purpose, for tests |
//! | [`check`] | the checker: every reachable block allocated exactly once, no unreachable block |
//!
//! Only the death of the process has to be survived, not the loss of power: nothing is flushed.

/// Whether transactions are logged, so that an arena can be taken up after the death of its owner.
///
/// It is false with the feature `without-crash-safety`, which is there to measure what that costs. Then
/// nothing is logged: what a transaction wrote stays even if it is rolled back (the blocks that it allocated
/// are lost, those that it freed are kept), and an arena whose owner died is worthless. Its
/// [fingerprint](arena::combined_fingerprint) is another, so that no other build takes it up.
pub const CRASH_SAFE: bool = cfg!(not(feature = "without-crash-safety"));

pub mod alloc;
pub mod arena;
pub mod blob;
pub mod check;
pub mod deque;
pub mod error;
#[cfg(debug_assertions)]
pub mod fault;
mod freeing;
pub mod grow;
pub mod header;
pub mod intset;
pub mod io;
pub mod layout;
mod logged;
pub mod mapping;
pub mod off;
pub mod pack;
pub mod record;
pub mod relocate;
pub mod table;
pub mod tree;
pub mod tx;
pub mod undo;

pub use arena::{Arena, Options, View};
pub use error::{OpenError, OutOfMemory};
pub use off::Off;
pub use record::{Hint, I64, Record, Slot, U16, U32, U64};
pub use relocate::Mover;
pub use rkyv;
pub use tx::{Fresh, Savepoint, Tx};
