//! Operations on values, without protocol: what a command does once its arguments are read.
//!
//! A value begins in its key's entry. Kinds that are *flat* end there too; the others have a root
//! record in the entry (not more than 64 bytes), on which further blocks hang. This file is where the
//! rest of the server asks about a value without knowing its type.

pub mod bitmap;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod lcs;
pub mod list;
pub mod packed;
mod relocate;
pub mod serial;
pub mod set;
pub mod stream;
pub mod string;
pub mod table;
#[cfg(test)]
mod testing;
pub mod zset;

use shm::blob::{self, Blob};
use shm::check::{Checker, mark_blob};
use shm::{Fresh, Off, OutOfMemory, Tx};

use crate::keyspace::entry::{self, Entry, EntryView, Kind};

pub use relocate::{Position, relocate_step};

/// Whether a value of that kind stands in its entry as a whole.
#[inline(always)]
pub fn is_flat(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Blob
            | Kind::ListDeque
            | Kind::SetTable
            | Kind::ZsetTree
            | Kind::HashTable
            | Kind::Stream
    )
}

/// Frees up to about `limit` blocks of what hangs on a root record that nobody uses any more. True
/// when nothing is left.
pub fn free_step(
    tx: &mut Tx<'_>,
    kind: Kind,
    at: Off<u8>,
    limit: usize,
) -> Result<bool, OutOfMemory> {
    match kind {
        Kind::Blob => blob::free_step(tx, at.cast(), limit),
        Kind::ListDeque => list::free_step(tx, at, limit),
        Kind::SetTable => set::free_step(tx, at, limit),
        Kind::ZsetTree => zset::free_step(tx, at, limit),
        Kind::HashTable => hash::free_step(tx, at, limit),
        Kind::Stream => stream::free_step(tx, at, limit),
        _ => Ok(true),
    }
}

/// Marks the blocks of a value, whose `len` bytes in the entry are at `at`, and proves what holds of it. Of
/// a value that was set aside to be freed only the root record is there, and `len` is 0.
pub fn mark(checker: &mut Checker<'_>, kind: Kind, at: Off<u8>, len: usize, what: &str) {
    match kind {
        Kind::Int | Kind::Embedded | Kind::Inline => {}
        Kind::Blob => mark_blob(checker, at.cast(), what),
        Kind::ListPacked | Kind::ListDeque => list::mark(checker, kind, at, len, what),
        Kind::SetInt | Kind::SetPacked | Kind::SetTable => set::mark(checker, kind, at, len, what),
        Kind::ZsetPacked | Kind::ZsetSmall | Kind::ZsetTree => {
            zset::mark(checker, kind, at, len, what);
        }
        Kind::HashPacked | Kind::HashSmall | Kind::HashTable => {
            hash::mark(checker, kind, at, len, what);
        }
        Kind::Stream => stream::mark(checker, at, what),
    }
}

/// Bytes of memory that an entry takes, with everything that hangs on its value. Of large values
/// `samples` elements are looked at, and the rest is taken to be like them; all if it is 0.
pub fn memory(entry: &EntryView<'_>, samples: u64) -> u64 {
    let (view, at) = (entry.view(), entry.value_off());
    let beyond = match entry.kind() {
        Kind::Blob => blob::memory(view, at.cast()),
        Kind::ListDeque => list::memory(view, at, samples),
        Kind::SetTable => set::memory(view, at, samples),
        Kind::ZsetTree => zset::memory(view, at, samples),
        Kind::HashTable => hash::memory(view, at, samples),
        Kind::Stream => stream::memory(view, at, samples),
        _ => 0,
    };
    shm::alloc::block_size(view, entry.off().cast()) + beyond
}

/// Makes an entry for another key (or database) with a copy of the value.
pub fn copy(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    key: &[u8],
    expiry: Option<i64>,
) -> Result<Fresh, OutOfMemory> {
    let (kind, place, length) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off(), entry.value_len())
    };
    let fresh = entry::create(tx, key, kind, expiry, length as u32)?;
    let start = entry::value_at(key.len(), expiry.is_some());
    if is_flat(kind) {
        tx.init_copy(&fresh, start, place, length as u64);
        return Ok(fresh);
    }
    let target = fresh.off().byte_add::<u8>(start);
    match kind {
        Kind::ListDeque => list::copy(tx, place, &fresh, start)?,
        Kind::SetTable => set::copy(tx, place, &fresh, start)?,
        Kind::ZsetTree => zset::copy(tx, place, &fresh, start)?,
        Kind::HashTable => hash::copy(tx, place, &fresh, start)?,
        Kind::Stream => stream::copy(tx, place, &fresh, start)?,
        _ => {
            tx.init(&fresh, start, Blob::EMPTY);
            string::copy_blob(tx, place.cast(), target.cast())?;
        }
    }
    Ok(fresh)
}
