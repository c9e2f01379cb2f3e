//! Changing lists.
//!
//! What changes an entry may need another block for it: then the entry made anew is given back, and the
//! caller puts it in the place of the old one (`Cx::exchange`). No function here leaves a list empty:
//! whoever removes the last item removes the key instead.

use std::ops::Range;

use shm::deque::{self, Deque, Direction, End};
use shm::{Fresh, Off, OutOfMemory, Tx, pack};

use super::{List, PACKED_MAX, Place};
use crate::keyspace::entry::{self, Entry, EntryView, Identity, Kind};
use crate::keyspace::trash;
use crate::values::packed::{self, Packed, Splice};

/// The entry that a change made anew, if it did.
pub type Moved = Result<Option<Off<Entry>>, OutOfMemory>;

/// How large lists and their chunks may become, by `list-max-listpack-size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    packed_items: usize,
    chunk: deque::Limits,
}

/// Most bytes of a node whose limit is a number of items.
const SAFETY_LIMIT: u64 = 8192;

impl Limits {
    /// The limits that a value of `list-max-listpack-size` stands for: so many items if it is positive,
    /// 4 to 64 KiB if it is -1 to -5. As in Redis, 0 means 1, and what is below -5 means -5.
    #[inline]
    pub fn of(fill: i32) -> Limits {
        const BY_SIZE: [deque::Limits; 5] = [
            deque::Limits::new(4 << 10, u32::MAX),
            deque::Limits::new(8 << 10, u32::MAX),
            deque::Limits::new(16 << 10, u32::MAX),
            deque::Limits::new(32 << 10, u32::MAX),
            deque::Limits::new(64 << 10, u32::MAX),
        ];
        if fill < 0 {
            let class = fill.unsigned_abs().min(BY_SIZE.len() as u32) as usize - 1;
            return Limits { packed_items: usize::MAX, chunk: BY_SIZE[class] };
        }
        let items = fill.max(1).unsigned_abs();
        Limits { packed_items: items as usize, chunk: deque::Limits::new(SAFETY_LIMIT, items) }
    }

    /// Whether a list of a run of so many bytes and items is packed in its entry.
    #[inline(always)]
    fn packs(&self, run: usize, items: usize) -> bool {
        packed::value_len(run) <= PACKED_MAX && items <= self.packed_items
    }
}

/// Makes an entry with a list of `count` items.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    run: &[u8],
    count: usize,
    limits: &Limits,
) -> Result<Fresh, OutOfMemory> {
    if limits.packs(run.len(), count) {
        return packed::create(tx, key, Kind::ListPacked, expiry, count, run);
    }
    let (fresh, at) = entry::create_record(tx, key, Kind::ListDeque, expiry, Deque::EMPTY)?;
    deque::found(tx, at, run, count, &limits.chunk)?;
    Ok(fresh)
}

/// Where the deque of an entry is; `None` if its list is packed.
#[inline(always)]
fn deque_of(tx: &Tx<'_>, off: Off<Entry>) -> Option<Off<Deque>> {
    let entry = EntryView::new(tx, off);
    (entry.kind() == Kind::ListDeque).then(|| entry.value_off().cast())
}

/// Makes an entry with a deque out of one whose list is packed.
fn unpack(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    limits: &Limits,
) -> Result<(Off<Entry>, Off<Deque>), OutOfMemory> {
    let entry = EntryView::new(tx, off);
    let identity = Identity::of(&entry);
    let Packed { count, run } = Packed::of(&entry);
    let run = run.to_vec();
    let Identity { key, expiry, .. } = &identity;
    let (fresh, at) = entry::create_record(tx, key, Kind::ListDeque, *expiry, Deque::EMPTY)?;
    deque::found(tx, at, &run, count, &limits.chunk)?;
    Ok((identity.hand_over(tx, &fresh), at))
}

/// Adds `count` items at one end. The run has them in the order in which the list will.
#[inline]
pub fn extend(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    end: End,
    run: &[u8],
    count: usize,
    limits: &Limits,
) -> Moved {
    let (moved, at) = match deque_of(tx, off) {
        Some(at) => (None, at),
        None => {
            let packed = Packed::of(&EntryView::new(tx, off));
            if limits.packs(packed.run.len() + run.len(), packed.count + count) {
                let at = if end == End::Front { 0 } else { packed.run.len() };
                let items = count as isize;
                return packed::splice(tx, off, Splice { at, removed: 0, bytes: run, items });
            }
            let (moved, at) = unpack(tx, off, limits)?;
            (Some(moved), at)
        }
    };
    if count == 1 {
        deque::push(tx, at, end, run, &limits.chunk)?;
        return Ok(moved);
    }
    match end {
        End::Back => {
            let mut start = 0;
            while start < run.len() {
                let next = pack::skip(run, start);
                deque::push(tx, at, end, &run[start..next], &limits.chunk)?;
                start = next;
            }
        }
        End::Front => {
            let mut stop = run.len();
            while let Some(start) = pack::before(run, stop) {
                deque::push(tx, at, end, &run[start..stop], &limits.chunk)?;
                stop = start;
            }
        }
    }
    Ok(moved)
}

/// Removes the item at one end of a list that has others.
#[inline]
pub fn pop(tx: &mut Tx<'_>, off: Off<Entry>, end: End) -> Moved {
    let Some(at) = deque_of(tx, off) else {
        let run = Packed::of(&EntryView::new(tx, off)).run;
        let item = match end {
            End::Front => 0..pack::skip(run, 0),
            End::Back => pack::before(run, run.len()).unwrap_or(0)..run.len(),
        };
        return cut(tx, off, item, 1);
    };
    deque::pop(tx, at, end)?;
    Ok(None)
}

/// Removes bytes of a packed list that are so many items.
fn cut(tx: &mut Tx<'_>, off: Off<Entry>, bytes: Range<usize>, items: usize) -> Moved {
    let (at, removed) = (bytes.start, bytes.len());
    packed::splice(tx, off, Splice { at, removed, bytes: &[], items: -(items as isize) })
}

/// Removes the items of these numbers, which there are, of a list that has others.
pub fn remove(tx: &mut Tx<'_>, off: Off<Entry>, items: Range<u64>, limits: &Limits) -> Moved {
    if items.is_empty() {
        return Ok(None);
    }
    let Some(at) = deque_of(tx, off) else {
        let Packed { count, run } = Packed::of(&EntryView::new(tx, off));
        let (start, end) = (items.start as usize, items.end as usize);
        let bytes = pack::nth(run, count, start)..pack::nth(run, count, end);
        return cut(tx, off, bytes, end - start);
    };
    let cut = deque::remove(tx, at, items, &limits.chunk)?;
    trash::free_cut(tx, cut)?;
    Ok(None)
}

/// Inserts an item, encoded, before the one at a place, or [after](List::after) one.
pub fn insert(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    place: Place,
    item: &[u8],
    limits: &Limits,
) -> Moved {
    change_at(tx, off, place, item, limits, Change::Insert)
}

/// Replaces the item at a place by another one, encoded.
pub fn replace(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    place: Place,
    item: &[u8],
    limits: &Limits,
) -> Moved {
    change_at(tx, off, place, item, limits, Change::Replace)
}

/// What happens to the item at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Another one comes before it.
    Insert,
    /// Another one takes its place.
    Replace,
}

fn change_at(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    place: Place,
    item: &[u8],
    limits: &Limits,
    change: Change,
) -> Moved {
    let in_deque = |tx: &mut Tx<'_>, at, place| match change {
        Change::Insert => deque::insert(tx, at, place, item, &limits.chunk),
        Change::Replace => deque::replace(tx, at, place, item, &limits.chunk),
    };
    let at = match place {
        Place::Packed(at) => at,
        Place::Deque(place) => {
            let at = EntryView::new(tx, off).value_off().cast();
            in_deque(tx, at, place)?;
            return Ok(None);
        }
    };
    let Packed { count, run } = Packed::of(&EntryView::new(tx, off));
    let (removed, items) = match change {
        Change::Insert => (0, 1),
        Change::Replace => (pack::skip(run, at) - at, 0),
    };
    if limits.packs(run.len() - removed + item.len(), count + items) {
        let items = items as isize;
        return packed::splice(tx, off, Splice { at, removed, bytes: item, items });
    }
    let number = pack::items(&run[..at]).count() as u64;
    let (moved, at) = unpack(tx, off, limits)?;
    match deque::locate(tx, at, number) {
        Some(place) => in_deque(tx, at, place)?,
        None => deque::push(tx, at, End::Back, item, &limits.chunk)?,
    }
    Ok(Some(moved))
}

/// Removes up to `most` items that are equal to a value, in the order of that direction; gives how many,
/// and the entry if it was made anew. If these are all there are, the list is of no use any more, and the
/// caller removes the key.
pub fn remove_equal(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    value: &[u8],
    direction: Direction,
    most: u64,
    limits: &Limits,
) -> Result<(u64, Option<Off<Entry>>), OutOfMemory> {
    let Some(at) = deque_of(tx, off) else {
        return remove_packed(tx, off, value, direction, most);
    };
    let removed = deque::remove_equal(tx, at, value, direction, most, &limits.chunk)?;
    Ok((removed, None))
}

fn remove_packed(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    value: &[u8],
    direction: Direction,
    most: u64,
) -> Result<(u64, Option<Off<Entry>>), OutOfMemory> {
    let Packed { count, run } = Packed::of(&EntryView::new(tx, off));
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = pack::find(run, from, value, 0) {
        from = pack::skip(run, at);
        found.push(at..from);
    }
    let wanted = found.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    let gone = match direction {
        Direction::Forward => &found[..wanted],
        Direction::Backward => &found[found.len() - wanted..],
    };
    let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return Ok((0, None)) };
    if wanted == count {
        return Ok((wanted as u64, None));
    }
    // What lies between the first and the last of them is written anew, in one splice.
    let mut kept = Vec::with_capacity(last.end - first.start);
    for pair in gone.windows(2) {
        kept.extend_from_slice(&run[pair[0].end..pair[1].start]);
    }
    let (at, removed) = (first.start, last.end - first.start);
    let items = -(wanted as isize);
    let moved = packed::splice(tx, off, Splice { at, removed, bytes: &kept, items })?;
    Ok((wanted as u64, moved))
}

/// The number of items that a list has; 0 if the entry holds none.
pub fn len(tx: &Tx<'_>, off: Off<Entry>) -> u64 {
    List::of(&EntryView::new(tx, off)).map_or(0, |list| list.len())
}
