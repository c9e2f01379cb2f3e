//! Byte strings of any size, which grow without being copied as a whole.
//!
//! Up to [`PART`] bytes a blob is one block. Beyond, it is a directory of parts of [`PART`] bytes,
//! of which those that were never written are missing and read as zeros. So neither an append to a
//! large value nor a write far behind its end costs more than what is written (plus, now and then,
//! a copy of the directory: 8 bytes a part).

use crate::arena::View;
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::record;
use crate::record::{Slot, U32, U64};
use crate::relocate::Mover;
use crate::tx::Tx;

/// Bytes in a part; a size class.
pub const PART: u64 = 16320;
/// The largest blob, in bytes.
pub const MAX: u64 = 1 << 40;

static ZEROS: [u8; PART as usize] = [0; PART as usize];

record! {
    /// A blob; stands inside its owner's record.
    pub struct Blob {
        /// Bytes.
        pub len: Slot<U64>,
        /// The block, or the directory of parts; null if there is neither.
        pub data: Slot<Off<u8>>,
        /// Entries that the directory has room for; 0 if `data` is the block itself.
        pub room: Slot<U32>,
    }
}

impl Blob {
    /// No bytes, no memory.
    pub const EMPTY: Blob = Blob {
        len: Slot::new(U64::from_native(0)),
        data: Slot::new(Off::NULL),
        room: Slot::new(U32::from_native(0)),
    };

    fn is_flat(&self) -> bool {
        self.room.get().to_native() == 0
    }

    fn directory(&self) -> Off<Off<u8>> {
        self.data.get().cast()
    }
}

/// Bytes in the blob.
#[inline]
pub fn len(view: &View, blob: Off<Blob>) -> u64 {
    view.get(blob).len.get().to_native()
}

/// Bytes of memory that the blob takes beside its record.
pub fn memory(view: &View, blob: Off<Blob>) -> u64 {
    let record = view.read(blob);
    let data = record.data.get();
    if data.is_null() {
        return 0;
    }
    let block = crate::alloc::block_size(view, data);
    if record.is_flat() {
        return block;
    }
    let entries = view.array(record.directory(), record.room.get().to_native() as usize);
    block + entries.iter().filter(|part| !part.is_null()).count() as u64 * PART
}

/// Makes the record of a blob with this content, to be put into a fresh block.
pub fn create(tx: &mut Tx<'_>, content: &[u8]) -> Result<Blob, OutOfMemory> {
    let len = Slot::new(U64::from_native(content.len() as u64));
    if content.is_empty() {
        return Ok(Blob::EMPTY);
    }
    if content.len() as u64 <= PART {
        let block = tx.alloc(content.len() as u64)?;
        tx.init_bytes(&block, 0, content);
        return Ok(Blob { len, data: Slot::new(block.off()), room: Blob::EMPTY.room });
    }
    let parts = (content.len() as u64).div_ceil(PART);
    let directory = tx.alloc(parts * 8)?;
    for (i, bytes) in content.chunks(PART as usize).enumerate() {
        let part = tx.alloc(PART)?;
        tx.init_bytes(&part, 0, bytes);
        tx.init(&directory, i as u64 * 8, part.off());
    }
    let room = Slot::new(U32::from_native(parts as u32));
    Ok(Blob { len, data: Slot::new(directory.off()), room })
}

/// The bytes from `start` to `end` (clamped to the blob's length), piece by piece.
pub fn pieces(
    view: &View,
    blob: Off<Blob>,
    start: u64,
    end: u64,
) -> impl Iterator<Item = &[u8]> + use<'_> {
    let record = view.read(blob);
    let end = end.min(record.len.get().to_native());
    let mut at = start.min(end);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        if record.is_flat() {
            let piece = view.bytes(record.data.get().byte_add(at), (end - at) as usize);
            at = end;
            return Some(piece);
        }
        let (part, within) = (at / PART, at % PART);
        let length = (PART - within).min(end - at);
        at += length;
        let block = view.read(record.directory().nth(part));
        Some(if block.is_null() {
            &ZEROS[..length as usize]
        } else {
            view.bytes(block.byte_add(within), length as usize)
        })
    })
}

/// The whole content if it lies in one piece.
pub fn flat(view: &View, blob: Off<Blob>) -> Option<&[u8]> {
    let record = view.read(blob);
    let len = record.len.get().to_native();
    if len == 0 {
        return Some(&[]);
    }
    record.is_flat().then(|| view.bytes(record.data.get(), len as usize))
}

/// A copy of the bytes from `start` to `end`.
pub fn to_vec(view: &View, blob: Off<Blob>, start: u64, end: u64) -> Vec<u8> {
    let end = end.min(len(view, blob));
    let mut bytes = Vec::with_capacity(end.saturating_sub(start) as usize);
    pieces(view, blob, start, end).for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// Overwrites bytes from `at` on, extending the blob (with zeros in between) as needed.
///
/// Only what was part of the blob before is logged: what lies behind its length is reachable to
/// nobody.
pub fn write(tx: &mut Tx<'_>, blob: Off<Blob>, at: u64, content: &[u8]) -> Result<(), OutOfMemory> {
    let end = at.checked_add(content.len() as u64).filter(|end| *end <= MAX).ok_or(OutOfMemory)?;
    let old = len(tx, blob);
    if end > old {
        extend(tx, blob, end)?;
    }
    let mut left = content;
    let mut at = at;
    while !left.is_empty() {
        let (place, room) = writable(tx, blob, at)?;
        let (piece, rest) = left.split_at(left.len().min(room as usize));
        let logged = piece.len().min(old.saturating_sub(at) as usize);
        tx.write(place, &piece[..logged])?;
        tx.write_unreachable(place.byte_add(logged as u64), &piece[logged..]);
        at += piece.len() as u64;
        left = rest;
    }
    Ok(())
}

/// Adds bytes at the end.
pub fn append(tx: &mut Tx<'_>, blob: Off<Blob>, content: &[u8]) -> Result<(), OutOfMemory> {
    let end = len(tx, blob);
    write(tx, blob, end, content)
}

/// Frees the blob's memory; its record is dead afterwards. For blobs of many parts, use
/// [`free_step`] first.
pub fn free(tx: &mut Tx<'_>, blob: Off<Blob>) -> Result<(), OutOfMemory> {
    while !free_step(tx, blob, usize::MAX)? {}
    Ok(())
}

/// Parts that the blob's directory has room for: the measure of what freeing costs.
pub fn parts(view: &View, blob: Off<Blob>) -> u64 {
    u64::from(view.get(blob).room.get().to_native())
}

/// Frees up to `limit` parts of a blob that nobody uses any more; true when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, blob: Off<Blob>, limit: usize) -> Result<bool, OutOfMemory> {
    let record = tx.read(blob);
    let data = record.data.get();
    if data.is_null() {
        return Ok(true);
    }
    let room = u64::from(record.room.get().to_native());
    let keep = room.saturating_sub(limit as u64);
    for i in keep..room {
        let part = tx.read(record.directory().nth(i));
        if !part.is_null() {
            tx.free(part)?;
        }
    }
    if keep > 0 {
        // The directory keeps its size; only the count of parts in it goes down.
        tx.set(field!(blob, Blob.room), U32::from_native(keep as u32))?;
        tx.set(field!(blob, Blob.len), U64::from_native(keep * PART))?;
        return Ok(false);
    }
    tx.free(data)?;
    tx.set(field!(blob, Blob.len), U64::from_native(0))?;
    tx.set(field!(blob, Blob.data), Off::NULL)?;
    tx.set(field!(blob, Blob.room), U32::from_native(0))?;
    Ok(true)
}

/// Moves the block, or the directory and its parts, from part number `part` on, out of spans that are to be emptied
/// ([`crate::relocate`]). Gives the part to go on with; `None` at the end of the blob.
///
/// # Errors
///
/// If there is no memory; the transaction is to be rolled back then.
pub fn relocate_step(
    tx: &mut Tx<'_>,
    blob: Off<Blob>,
    mut part: u64,
    mover: &mut Mover,
) -> Result<Option<u64>, OutOfMemory> {
    if tx.get(blob).data.get().is_null() {
        return Ok(None);
    }
    if part == 0 {
        mover.relocate_at(tx, field!(blob, Blob.data))?;
    }
    let directory = tx.get(blob).directory();
    while part < parts(tx, blob) {
        let entry = directory.nth(part).cast::<Slot<Off<u8>>>();
        if tx.read(entry).get().is_null() {
            mover.charge(1);
        } else {
            mover.relocate_at(tx, entry)?;
        }
        part += 1;
        if mover.is_spent() {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// Where byte `at` stands, and how many more bytes can be written there in one go; makes the part if
/// it is missing.
fn writable(tx: &mut Tx<'_>, blob: Off<Blob>, at: u64) -> Result<(Off<u8>, u64), OutOfMemory> {
    let record = tx.read(blob);
    if record.is_flat() {
        return Ok((record.data.get().byte_add(at), u64::MAX));
    }
    let entry = record.directory().nth(at / PART);
    let mut part = tx.read(entry);
    if part.is_null() {
        let fresh = tx.alloc(PART)?;
        tx.init_fill(&fresh, 0, 0, PART);
        part = fresh.off();
        tx.set(entry.cast::<Slot<Off<u8>>>(), part)?;
    }
    Ok((part.byte_add(at % PART), PART - at % PART))
}

/// Makes the blob `end` bytes long, what is new being zeros.
fn extend(tx: &mut Tx<'_>, blob: Off<Blob>, end: u64) -> Result<(), OutOfMemory> {
    let record = tx.read(blob);
    let old = record.len.get().to_native();
    if end > PART {
        let parts = end.div_ceil(PART);
        if record.is_flat() {
            to_parts(tx, blob, parts)?;
        } else if parts > u64::from(record.room.get().to_native()) {
            grow_directory(tx, blob, parts)?;
        }
        zero_rest_of_part(tx, blob, old, end)?;
    } else {
        grow_flat(tx, blob, end)?;
    }
    tx.set(field!(blob, Blob.len), U64::from_native(end))
}

fn grow_flat(tx: &mut Tx<'_>, blob: Off<Blob>, end: u64) -> Result<(), OutOfMemory> {
    let record = tx.read(blob);
    let (old, data) = (record.len.get().to_native(), record.data.get());
    let room = if data.is_null() { 0 } else { crate::alloc::block_size(tx, data) };
    if end <= room {
        tx.zero_unreachable(data.byte_add(old), end - old);
        return Ok(());
    }
    // Room for as much again, so that a value that grows by little steps is copied seldom.
    let fresh = tx.alloc((end + old.min(end / 2)).min(PART))?;
    if old > 0 {
        tx.init_copy(&fresh, 0, data, old);
    }
    let size = fresh.size();
    tx.init_fill(&fresh, old, 0, size - old);
    tx.set(field!(blob, Blob.data), fresh.off())?;
    if !data.is_null() {
        tx.free(data)?;
    }
    Ok(())
}

/// Turns the one block into the first part of a directory.
fn to_parts(tx: &mut Tx<'_>, blob: Off<Blob>, parts: u64) -> Result<(), OutOfMemory> {
    let record = tx.read(blob);
    let (old, data) = (record.len.get().to_native(), record.data.get());
    let room = parts.next_power_of_two().max(8);
    let directory = tx.alloc(room * 8)?;
    tx.init_fill(&directory, 0, 0, room * 8);
    if old > 0 {
        let first = tx.alloc(PART)?;
        tx.init_copy(&first, 0, data, old);
        tx.init_fill(&first, old, 0, PART - old);
        tx.init(&directory, 0, first.off());
    }
    tx.set(field!(blob, Blob.data), directory.off())?;
    tx.set(field!(blob, Blob.room), U32::from_native(room as u32))?;
    if !data.is_null() {
        tx.free(data)?;
    }
    Ok(())
}

fn grow_directory(tx: &mut Tx<'_>, blob: Off<Blob>, parts: u64) -> Result<(), OutOfMemory> {
    let record = tx.read(blob);
    let old_room = u64::from(record.room.get().to_native());
    let room = parts.next_power_of_two();
    let fresh = tx.alloc(room * 8)?;
    tx.init_copy(&fresh, 0, record.data.get(), old_room * 8);
    tx.init_fill(&fresh, old_room * 8, 0, (room - old_room) * 8);
    tx.set(field!(blob, Blob.data), fresh.off())?;
    tx.set(field!(blob, Blob.room), U32::from_native(room as u32))?;
    tx.free(record.data.get())
}

/// Zeros what lies behind the old end in its part; missing parts read as zeros anyway.
fn zero_rest_of_part(
    tx: &mut Tx<'_>,
    blob: Off<Blob>,
    old: u64,
    end: u64,
) -> Result<(), OutOfMemory> {
    if old.is_multiple_of(PART) {
        return Ok(());
    }
    let record = tx.read(blob);
    let part = tx.read(record.directory().nth(old / PART));
    if !part.is_null() {
        let length = (PART - old % PART).min(end - old);
        tx.zero_unreachable(part.byte_add(old % PART), length);
    }
    Ok(())
}
