//! Inserting, replacing, removing; splitting segments and doubling the directory.

use super::*;
use crate::error::OutOfMemory;
use crate::tx::Tx;

/// The one place where a slot of a bucket changes.
#[inline(always)]
pub(super) fn set_slot(
    tx: &mut Tx<'_>,
    slot: Off<Slot<U64>>,
    content: u64,
) -> Result<(), OutOfMemory> {
    tx.set(slot, U64::from_native(content))
}

#[inline(always)]
pub(super) fn change_displaced(
    tx: &mut Tx<'_>,
    home: Off<Bucket>,
    by: i64,
) -> Result<(), OutOfMemory> {
    let meta = tx.get(home).meta.get().to_native();
    tx.set(field!(home, Bucket.meta), U64::from_native(meta.wrapping_add_signed(by)))
}

#[inline(always)]
pub(super) fn change_len(tx: &mut Tx<'_>, table: Off<Table>, by: i64) -> Result<(), OutOfMemory> {
    let len = len(tx, table).wrapping_add_signed(by);
    tx.set(field!(table, Table.len), U64::from_native(len))
}

/// Adds an entry. The caller knows that no entry with an equal key is there.
///
/// # Errors
///
/// [`OutOfMemory`] if the table cannot grow, be it that the arena is full or that more entries than
/// a segment holds share the first 22 bits of their hashes and their home (which a keyed hash makes
/// impossible in practice).
pub fn insert(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    entry: Off<u8>,
) -> Result<(), OutOfMemory> {
    debug_assert!(entry.raw().is_multiple_of(8) && !entry.is_null());
    if tx.get(table).directory.get().is_null() {
        first_segment(tx, table)?;
    }
    loop {
        let segment = segment_of(tx, table, hash);
        let home = home_of(hash);
        let free = match free_place(slots_of(tx, segment), home) {
            None => make_room(tx, segment, home)?,
            free => free,
        };
        if let Some(At { bucket, slot, displacement }) = free {
            let content = SlotContent { entry, displacement, tag: hash >> (64 - TAG_BITS) };
            set_slot(tx, slot_at(bucket_at(segment, bucket), slot), content.encode())?;
            if displacement > 0 {
                change_displaced(tx, bucket_at(segment, home), 1)?;
            }
            return change_len(tx, table, 1);
        }
        split(tx, table, hash, segment)?;
    }
}

/// Makes another block the entry at a place: same key, same hash. Gives the place as it is then.
pub fn replace(tx: &mut Tx<'_>, place: &Place, entry: Off<u8>) -> Result<Place, OutOfMemory> {
    let old = still_there(tx, place);
    set_slot(tx, place.slot, SlotContent { entry, ..old }.encode())?;
    Ok(Place { entry, ..*place })
}

/// Takes the entry at a place out of the table. Its block is the caller's to free.
pub fn remove(tx: &mut Tx<'_>, table: Off<Table>, place: &Place) -> Result<(), OutOfMemory> {
    still_there(tx, place);
    set_slot(tx, place.slot, 0)?;
    if place.displacement > 0 {
        change_displaced(tx, place.home, -1)?;
    }
    change_len(tx, table, -1)
}

/// Panics if the table changed since the entry was found: better one command lost than the table.
#[inline(always)]
fn still_there(view: &View, place: &Place) -> SlotContent {
    let content = SlotContent::decode(view.get(place.slot).get().to_native());
    assert!(
        content.entry == place.entry && content.displacement == place.displacement,
        "the table has changed since the entry was found"
    );
    content
}

/// Frees a slot for a home whose buckets are all full, if one of their entries can move on.
#[cold]
fn make_room(
    tx: &mut Tx<'_>,
    segment: Off<SegmentHeader>,
    home: u64,
) -> Result<Option<At>, OutOfMemory> {
    let Some(Move { from, to, content, its_home, change }) = movable(slots_of(tx, segment), home)
    else {
        return Ok(None);
    };
    set_slot(tx, slot_at(bucket_at(segment, to.bucket), to.slot), content.encode())?;
    if change != 0 {
        change_displaced(tx, bucket_at(segment, its_home), change)?;
    }
    Ok(Some(from))
}

#[inline(always)]
fn slots_of(view: &View, segment: Off<SegmentHeader>) -> impl Fn(u64, usize) -> u64 {
    move |bucket, i| view.get(slot_at(bucket_at(segment, bucket), i)).get().to_native()
}

/// A slot of a segment, seen from a home.
#[derive(Clone, Copy)]
struct At {
    bucket: u64,
    slot: usize,
    displacement: u64,
}

/// The first free slot for a home, given what each slot (of a bucket, with an index) holds.
#[inline(always)]
fn free_place(slots: impl Fn(u64, usize) -> u64, home: u64) -> Option<At> {
    let mut bucket = home;
    for displacement in 0..=MAX_DISPLACEMENT {
        if let Some(slot) = (0..SLOTS).find(|&slot| slots(bucket, slot) == 0) {
            return Some(At { bucket, slot, displacement });
        }
        bucket = next_bucket(bucket);
    }
    None
}

/// How one entry makes room for another.
struct Move {
    /// Where it is, seen from the home of the other.
    from: At,
    /// Where it can go, seen from its own.
    to: At,
    /// What it is there.
    content: SlotContent,
    its_home: u64,
    /// By how much the displaced entries of its home change.
    change: i64,
}

/// An entry of the buckets for a home, all of which are full, that can move on to another bucket of its
/// own. Without such moves a segment would be split at 73 hundredths of its slots, with them at 82; one is
/// wanted for an entry in a hundred.
fn movable(slots: impl Fn(u64, usize) -> u64, home: u64) -> Option<Move> {
    for displacement in 0..=MAX_DISPLACEMENT {
        let bucket = (home + displacement) % BUCKETS;
        for slot in 0..SLOTS {
            let content = SlotContent::decode(slots(bucket, slot));
            let its_home = (bucket + BUCKETS - content.displacement) % BUCKETS;
            if let Some(to) = free_place(&slots, its_home) {
                let from = At { bucket, slot, displacement };
                let change = i64::from(to.displacement > 0) - i64::from(content.displacement > 0);
                let content = SlotContent { displacement: to.displacement, ..content };
                return Some(Move { from, to, content, its_home, change });
            }
        }
    }
    None
}

fn first_segment(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let segment = new_segment(tx, &Image::EMPTY, 0, U64::from_native(0))?;
    let directory = tx.alloc(size_of::<Off<SegmentHeader>>() as u64)?;
    tx.init(&directory, 0, segment);
    tx.set(field!(table, Table.directory), directory.off().cast())?;
    tx.set(field!(table, Table.depth), U32::from_native(0))?;
    tx.set(field!(table, Table.deepest), U32::from_native(1))
}

/// Keeps count of the segments as deep as the directory.
pub(super) fn change_deepest(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    by: i32,
) -> Result<(), OutOfMemory> {
    let deepest = tx.get(table).deepest.get().to_native().wrapping_add_signed(by);
    tx.set(field!(table, Table.deepest), U32::from_native(deepest))
}

/// The buckets of a segment under construction, outside of the arena.
pub(super) struct Image {
    buckets: [[u64; SLOTS + 1]; BUCKETS as usize],
}

impl Image {
    pub(super) const EMPTY: Image = Image { buckets: [[0; SLOTS + 1]; BUCKETS as usize] };

    /// Puts an entry as near to its home as there is room, or can be made.
    pub(super) fn place(&mut self, home: u64, content: SlotContent) -> bool {
        let Some(at) = free_place(self.slots(), home).or_else(|| self.make_room(home)) else {
            return false;
        };
        self.buckets[at.bucket as usize][at.slot + 1] =
            SlotContent { displacement: at.displacement, ..content }.encode();
        self.buckets[home as usize][0] += u64::from(at.displacement > 0);
        true
    }

    fn make_room(&mut self, home: u64) -> Option<At> {
        let Move { from, to, content, its_home, change } = movable(self.slots(), home)?;
        self.buckets[to.bucket as usize][to.slot + 1] = content.encode();
        let displaced = &mut self.buckets[its_home as usize][0];
        *displaced = displaced.wrapping_add_signed(change);
        Some(from)
    }

    fn slots(&self) -> impl Fn(u64, usize) -> u64 {
        |bucket, slot| self.buckets[bucket as usize][slot + 1]
    }

    /// Puts an entry just where it was in the segment it comes from.
    pub(super) fn place_as_before(
        &mut self,
        bucket: u64,
        slot: usize,
        home: u64,
        content: SlotContent,
    ) {
        self.buckets[bucket as usize][slot + 1] = content.encode();
        if content.displacement > 0 {
            self.buckets[home as usize][0] += 1;
        }
    }
}

pub(super) fn new_segment(
    tx: &mut Tx<'_>,
    image: &Image,
    depth: u32,
    hint: U64,
) -> Result<Off<SegmentHeader>, OutOfMemory> {
    let fresh = tx.alloc(SEGMENT_BYTES)?;
    let header = SegmentHeader {
        depth: U32::from_native(depth),
        reserved: U32::from_native(0),
        hint: Hint::new(hint),
        rest: [0; 48],
    };
    tx.init(&fresh, 0, header);
    for (i, bucket) in image.buckets.iter().enumerate() {
        tx.init(&fresh, 64 + i as u64 * 64, bucket.map(U64::from_native));
    }
    Ok(fresh.off().cast())
}

/// Calls `each` with (bucket, slot, home, content) of every entry of a segment.
pub(super) fn each_entry(
    view: &View,
    segment: Off<SegmentHeader>,
    mut each: impl FnMut(u64, usize, u64, SlotContent),
) {
    for bucket in 0..BUCKETS {
        for (i, slot) in view.get(bucket_at(segment, bucket)).slots.iter().enumerate() {
            let slot = slot.get().to_native();
            if slot != 0 {
                let content = SlotContent::decode(slot);
                let home = (bucket + BUCKETS - content.displacement) % BUCKETS;
                each(bucket, i, home, content);
            }
        }
    }
}

/// Splits a segment in two by the next bit of the hash.
fn split(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    segment: Off<SegmentHeader>,
) -> Result<(), OutOfMemory> {
    let header = tx.read(segment);
    let depth = header.depth.to_native();
    if depth == TAG_BITS {
        return Err(OutOfMemory);
    }
    if depth == tx.get(table).depth.get().to_native() {
        double_directory(tx, table)?;
    }
    let side = |content: &SlotContent| (content.tag >> (TAG_BITS - 1 - depth) & 1) as usize;
    let mut halves = [Image::EMPTY, Image::EMPTY];
    let mut fits = true;
    each_entry(tx, segment, |_, _, home, content| {
        fits &= halves[side(&content)].place(home, content);
    });
    if !fits {
        // Another order of insertion can, rarely, leave an entry without room. The old places
        // always do.
        halves = [Image::EMPTY, Image::EMPTY];
        each_entry(tx, segment, |bucket, slot, home, content| {
            halves[side(&content)].place_as_before(bucket, slot, home, content);
        });
    }
    let low = new_segment(tx, &halves[0], depth + 1, header.hint.get())?;
    let high = new_segment(tx, &halves[1], depth + 1, header.hint.get())?;
    point_directory(tx, table, hash, depth, [low, high])?;
    if depth + 1 == tx.get(table).depth.get().to_native() {
        change_deepest(tx, table, 2)?;
    }
    tx.free(segment)
}

/// Lets the directory's entries for the first `depth` bits of the hash lead to two segments, half
/// each.
pub(super) fn point_directory(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    depth: u32,
    halves: [Off<SegmentHeader>; 2],
) -> Result<(), OutOfMemory> {
    let record = tx.read(table);
    let entries = 1u64 << (record.depth.get().to_native() - depth);
    let first = record.directory.get().nth(directory_index(hash, depth) * entries);
    if entries <= 2 {
        tx.set(first.cast::<Slot<Off<SegmentHeader>>>(), halves[0])?;
        return match entries {
            1 => Ok(()),
            _ => tx.set(first.nth(1).cast::<Slot<Off<SegmentHeader>>>(), halves[1]),
        };
    }
    // A segment much shallower than the directory: one entry of the log for all.
    let half = |half: Off<SegmentHeader>| half.raw().to_le_bytes().repeat(entries as usize / 2);
    tx.write(first.cast(), &[half(halves[0]), half(halves[1])].concat())
}

fn double_directory(tx: &mut Tx<'_>, table: Off<Table>) -> Result<(), OutOfMemory> {
    let record = tx.read(table);
    let (old, depth) = (record.directory.get(), record.depth.get().to_native());
    let entries = 1u64 << depth;
    let fresh = tx.alloc(entries * 2 * 8)?;
    for i in 0..entries {
        let segment = tx.read(old.nth(i));
        tx.init(&fresh, i * 16, [segment, segment]);
    }
    tx.set(field!(table, Table.directory), fresh.off().cast())?;
    tx.set(field!(table, Table.depth), U32::from_native(depth + 1))?;
    tx.set(field!(table, Table.deepest), U32::from_native(0))?;
    tx.free(old)
}
