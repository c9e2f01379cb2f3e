//! A packed list as the value of an entry: the number of its items (4 bytes), then a run of them
//! ([`shm::pack`]).
//!
//! Every change is a [`splice`]: bytes at a place of the run give way to others. While the result fits
//! into the block and does not waste half of it, that happens in place, and the log gets what stood
//! from there on; at the end of the run nothing, since what lies behind it is nobody's. Otherwise the
//! entry is made anew.

use shm::check::Checker;
use shm::{Fresh, Off, OutOfMemory, Slot, Tx, U32, View, pack};

use crate::keyspace::entry::{self, Entry, EntryView, Identity, Kind};

/// Bytes in front of the run.
pub const HEADER: usize = size_of::<U32>();

/// A packed list, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// Number of items.
    pub count: usize,
    /// The items.
    pub run: &'a [u8],
}

impl<'a> Packed<'a> {
    /// The value of an entry of a packed kind.
    #[inline]
    pub fn of(entry: &EntryView<'a>) -> Packed<'a> {
        Packed::read(entry.view(), entry.value_off(), entry.value_len())
    }

    /// The packed list whose `len` bytes are at `at`.
    #[inline]
    pub fn read(view: &'a View, at: Off<u8>, len: usize) -> Packed<'a> {
        let count = view.read(at.cast::<U32>()).to_native() as usize;
        Packed { count, run: view.bytes(at.byte_add(HEADER as u64), len - HEADER) }
    }

    /// The items, from whichever end.
    pub fn items(&self) -> pack::Items<'a> {
        pack::items(self.run)
    }
}

/// Bytes of a value with a run of so many bytes.
pub fn value_len(run: usize) -> usize {
    HEADER + run
}

/// Makes an entry with a run of `count` items.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    kind: Kind,
    expiry: Option<i64>,
    count: usize,
    run: &[u8],
) -> Result<Fresh, OutOfMemory> {
    let fresh = entry::create(tx, key, kind, expiry, length(value_len(run.len()))?)?;
    let at = entry::value_at(key.len(), expiry.is_some());
    tx.init(&fresh, at, U32::from_native(length(count)?));
    tx.init_bytes(&fresh, at + HEADER as u64, run);
    Ok(fresh)
}

/// A number of bytes or items of a value; no run comes near to what is refused.
fn length(number: usize) -> Result<u32, OutOfMemory> {
    u32::try_from(number).map_err(|_| OutOfMemory)
}

/// One change of a packed list.
#[derive(Debug, Clone, Copy)]
pub struct Splice<'b> {
    /// Where in the run.
    pub at: usize,
    /// Bytes that go.
    pub removed: usize,
    /// Bytes that come.
    pub bytes: &'b [u8],
    /// Items that come, less those that go.
    pub items: isize,
}

/// Changes a packed list. If that needs another block, gives its entry: the caller puts it in place of
/// the old one (`Cx::splice` does), with [`keyspace::replace_reshaped`].
///
/// [`keyspace::replace_reshaped`]: crate::keyspace::replace_reshaped
///
/// # Panics
///
/// If the bytes that go do not lie within the run.
#[inline]
pub fn splice(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    splice: Splice<'_>,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    splice_counted(tx, off, 0, splice)
}

/// [`splice`] for a value whose number of items does not stand at its start, but `count_at` bytes
/// behind it; the items follow.
pub fn splice_counted(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    count_at: usize,
    splice: Splice<'_>,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let Splice { at, removed, bytes, items } = splice;
    let split = count_at + HEADER + at;
    let (kind, place, old_len, room) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off(), entry.value_len(), entry.value_room())
    };
    let counter = place.byte_add::<U32>(count_at as u64);
    let old_count = tx.read(counter).to_native() as usize;
    let len = old_len - removed + bytes.len();
    let count =
        length(old_count.checked_add_signed(items).expect("no more items go than there are"))?;
    let moved = if removed == bytes.len() { removed } else { old_len - split };
    if fits(room, len) && !is_crowding(tx, place.byte_add(split as u64), moved) {
        tx.splice(place, old_len, split, removed, bytes)?;
        if items != 0 {
            tx.set(counter.cast::<Slot<U32>>(), U32::from_native(count))?;
        }
        entry::set_kind(tx, off, kind, length(len)?)?;
        return Ok(None);
    }
    let identity = Identity::of(&EntryView::new(tx, off));
    let (key, expiry) = (&identity.key, identity.expiry);
    // What has grown will grow again.
    let slack = if len > old_len { len / 16 } else { 0 };
    let fresh = entry::create(tx, key, kind, expiry, length(len + slack)?)?;
    let start = entry::value_at(key.len(), expiry.is_some());
    tx.init_copy(&fresh, start, place, split as u64);
    tx.init(&fresh, start + count_at as u64, U32::from_native(count));
    tx.init_bytes(&fresh, start + split as u64, bytes);
    let behind = (split + removed) as u64;
    let to = start + (split + bytes.len()) as u64;
    tx.init_copy(&fresh, to, place.byte_add(behind), old_len as u64 - behind);
    let off = identity.hand_over(tx, &fresh);
    entry::set_kind(tx, off, kind, length(len)?)?;
    Ok(Some(off))
}

/// Whether a change that has so many bytes to log would crowd the log: there have been many such
/// before in this transaction. A copy needs no log, nor do further changes of the copy.
fn is_crowding(tx: &Tx<'_>, at: Off<u8>, bytes: usize) -> bool {
    const LARGE: usize = 64 << 10;
    const MANY: u64 = 16 << 20;
    bytes > LARGE && tx.logged_bytes() > MANY && !tx.needs_no_log(at, bytes)
}

/// Gives a packed list another kind, number of items and run: only what differs is spliced in. If that
/// needs another block, gives its entry, as [`splice`] does.
pub fn rewrite(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    kind: Kind,
    count: usize,
    run: &[u8],
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let old = Packed::of(&EntryView::new(tx, off));
    let same = old.run.iter().zip(run).take_while(|(old, new)| old == new).count();
    let change = Splice {
        at: same,
        removed: old.run.len() - same,
        bytes: &run[same..],
        items: count as isize - old.count as isize,
    };
    let moved = splice(tx, off, change)?;
    entry::set_kind(tx, moved.unwrap_or(off), kind, length(value_len(run.len()))?)?;
    Ok(moved)
}

/// Whether a value may be changed within a block with so much room for it: it has to fit, and not to
/// waste more than half of it.
#[inline(always)]
fn fits(room: u64, len: usize) -> bool {
    let len = len as u64;
    len <= room && room <= 64 + 2 * len
}

/// Proves that the `len` bytes at `at` are a packed list with at least one item, noted right; gives it
/// for further proofs if so.
pub fn check<'a>(
    checker: &mut Checker<'a>,
    at: Off<u8>,
    len: usize,
    what: &str,
) -> Option<Packed<'a>> {
    if len < HEADER {
        checker.finding(format!("{what}: a packed value of {len} bytes at {at:?}"));
        return None;
    }
    let packed = Packed::read(checker.view(), at, len);
    match pack::validate(packed.run) {
        Some(count) if count == packed.count && count > 0 => return Some(packed),
        Some(count) => {
            let noted = packed.count;
            checker.finding(format!("{what}: {count} items at {at:?}, {noted} are noted"));
        }
        None => checker.finding(format!("{what}: the bytes at {at:?} are no canonical run")),
    }
    None
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
