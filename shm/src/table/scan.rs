//! Walking a table, all at once or with a cursor that stays valid whatever happens in between.

use super::change::each_entry;
use super::*;

/// Bits of a cursor that hold a prefix of the hash; the home bucket stands above them.
const PREFIX_BITS: u32 = 40;

/// What a step of a scan gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Where to go on; 0 when the scan is complete.
    pub cursor: u64,
    /// Entries that the step visited.
    pub visited: u64,
}

/// Visits the entries of one home bucket of one segment, and says where to go on.
///
/// A cursor is a point in a fixed order of all hashes: by home bucket, then by the top 40 bits.
/// Neither splits nor merges nor the directory's growth change an entry's place in that order, so
/// an entry that is there from the first step to the last is visited at least once, whatever else
/// happens. Any number is accepted as a cursor.
pub fn scan_step(
    view: &View,
    table: Off<Table>,
    cursor: u64,
    mut each: impl FnMut(&View, Off<u8>),
) -> Scan {
    let (home, prefix) = (cursor >> PREFIX_BITS, cursor & ((1 << PREFIX_BITS) - 1));
    let hash = prefix << (64 - PREFIX_BITS);
    let segment = segment_of(view, table, hash);
    if segment.is_null() || home >= BUCKETS {
        return Scan { cursor: 0, visited: 0 };
    }
    let mut visited = 0;
    let mut bucket = home;
    for displacement in 0..=MAX_DISPLACEMENT {
        for slot in &view.get(bucket_at(segment, bucket)).slots {
            let slot = slot.get().to_native();
            let content = SlotContent::decode(slot);
            if slot != 0 && content.displacement == displacement {
                visited += 1;
                each(view, content.entry);
            }
        }
        bucket = next_bucket(bucket);
    }
    let depth = view.get(segment).depth.to_native();
    let size = 1u64 << (PREFIX_BITS - depth);
    let next = (prefix & !(size - 1)) + size;
    let cursor = if next < 1 << PREFIX_BITS {
        home << PREFIX_BITS | next
    } else if home + 1 < BUCKETS {
        (home + 1) << PREFIX_BITS
    } else {
        0
    };
    Scan { cursor, visited }
}

/// Calls `each` with the first hash of every segment, its header and the number of top bits that
/// its entries share, in the order of the hashes.
pub fn segments(
    view: &View,
    table: Off<Table>,
    mut each: impl FnMut(u64, Off<SegmentHeader>, u32),
) {
    let table_depth = view.get(table).depth.get().to_native();
    walk(view, table, |index, segment| {
        let depth = view.get(segment).depth.to_native();
        let hash = index.checked_shl(64 - table_depth).unwrap_or(0);
        each(hash, segment, depth);
        Some(depth)
    });
}

/// Goes through the directory: calls `each` with every segment and the index of its first entry.
/// `each` gives the segment's depth, by which the next one is found, or `None` to stop. Entries that
/// a table being drained has lost are passed over.
pub(super) fn walk(
    view: &View,
    table: Off<Table>,
    mut each: impl FnMut(u64, Off<SegmentHeader>) -> Option<u32>,
) {
    let record = view.read(table);
    let directory = record.directory.get();
    if directory.is_null() {
        return;
    }
    let table_depth = record.depth.get().to_native();
    let mut index = 0;
    while index < 1 << table_depth {
        let segment = view.read(directory.nth(index));
        if segment.is_null() {
            index += 1;
            continue;
        }
        let Some(depth) = each(index, segment) else { return };
        index += 1 << (table_depth - depth);
    }
}

/// Calls `each` with every entry.
pub fn for_each(view: &View, table: Off<Table>, mut each: impl FnMut(&View, Off<u8>)) {
    entries(view, table).for_each(|entry| each(view, entry));
}

/// All entries, in no particular order.
pub fn entries(view: &View, table: Off<Table>) -> impl Iterator<Item = Off<u8>> + use<'_> {
    let record = view.read(table);
    let directory = record.directory.get();
    let depth = record.depth.get().to_native();
    let end = if directory.is_null() { 0 } else { 1u64 << depth };
    let mut index = 0;
    let segments = std::iter::from_fn(move || {
        while index < end {
            let segment = view.read(directory.nth(index));
            // What a table being drained has lost is passed over.
            index += match segment.is_null() {
                true => 1,
                false => 1 << (depth - view.get(segment).depth.to_native()),
            };
            if !segment.is_null() {
                return Some(segment);
            }
        }
        None
    });
    let slots = move |bucket| view.get::<Bucket>(bucket).slots.iter();
    segments
        .flat_map(move |segment| (0..BUCKETS).map(move |bucket| ahead(view, segment, bucket)))
        .flat_map(slots)
        .map(|slot| slot.get().to_native())
        .filter(|slot| *slot != 0)
        .map(|slot| SlotContent::decode(slot).entry)
}

/// Gives a bucket, and has the processor fetch the entries of the next one, which will be wanted soon.
#[inline]
fn ahead(view: &View, segment: Off<SegmentHeader>, bucket: u64) -> Off<Bucket> {
    if bucket + 1 < BUCKETS {
        for slot in &view.get(bucket_at(segment, bucket + 1)).slots {
            // Of an empty slot the start of the arena is fetched, which is there already.
            view.prefetch(SlotContent::decode(slot.get().to_native()).entry);
        }
    }
    bucket_at(segment, bucket)
}

/// An entry chosen at random, each with the same chance as long as the table is not very sparse. `None`
/// if the table is empty.
pub fn random_entry(
    view: &View,
    table: Off<Table>,
    mut random: impl FnMut() -> u64,
) -> Option<Off<u8>> {
    const TRIES: usize = 64;
    if len(view, table) == 0 {
        return None;
    }
    let depth = view.get(table).depth.get().to_native();
    for _ in 0..TRIES {
        let segment = segment_of(view, table, random());
        // A slot of any segment is as likely as any other one: a segment that has more entries in the
        // directory is refused as much more often.
        let choice = random();
        let (luck, choice) = (choice >> 32, choice & 0xffff_ffff);
        let excess = depth - view.get(segment).depth.to_native();
        if luck & ((1 << excess) - 1) != 0 {
            continue;
        }
        let (bucket, slot) = (choice % BUCKETS, (choice / BUCKETS) as usize % SLOTS);
        let slot = view.get(bucket_at(segment, bucket)).slots[slot].get().to_native();
        if slot != 0 {
            return Some(SlotContent::decode(slot).entry);
        }
    }
    if depth == 0 {
        let chosen = random() % len(view, table);
        let mut entries = Vec::new();
        for_each(view, table, |_, entry| entries.push(entry));
        return entries.get(chosen as usize).copied();
    }
    // Sparse: the first entry behind a random point, round to the start if need be.
    let mut cursor = (random() % BUCKETS) << PREFIX_BITS | random() >> (64 - PREFIX_BITS);
    loop {
        let mut found = Vec::new();
        let step = scan_step(view, table, cursor, |_, entry| found.push(entry));
        if !found.is_empty() {
            return Some(found[random() as usize % found.len()]);
        }
        cursor = step.cursor;
    }
}

/// Calls `each` with every entry of a segment.
pub(crate) fn for_each_in(view: &View, segment: Off<SegmentHeader>, mut each: impl FnMut(Off<u8>)) {
    each_entry(view, segment, |_, _, _, content| each(content.entry));
}

/// What is wrong with a segment whose entries' hashes all begin with `prefix` (as many bits of it as
/// the segment is deep): its counts of displaced entries, its entries' tags.
pub(crate) fn check_segment(view: &View, segment: Off<SegmentHeader>, prefix: u64) -> Vec<String> {
    let mut displaced = [0; BUCKETS as usize];
    let depth = view.get(segment).depth.to_native().min(TAG_BITS);
    let mut strays = 0;
    each_entry(view, segment, |_, _, home, content| {
        displaced[home as usize] += u64::from(content.displacement > 0);
        strays += u64::from(content.tag >> (TAG_BITS - depth) != prefix);
    });
    let wrong = |bucket: &u64| {
        let meta = view.get(bucket_at(segment, *bucket)).meta.get().to_native();
        meta & DISPLACED_MASK != displaced[*bucket as usize]
    };
    let miscounts =
        |bucket| format!("bucket {bucket} of segment {segment:?} miscounts displaced entries");
    let mut problems: Vec<String> = (0..BUCKETS).filter(wrong).map(miscounts).collect();
    if strays > 0 {
        problems.push(format!("{strays} entries of segment {segment:?} belong to another one"));
    }
    problems
}

/// Calls `each` with every entry of the segment that a hash belongs to.
pub fn for_each_of(
    view: &View,
    table: Off<Table>,
    hash: u64,
    mut each: impl FnMut(&View, Off<u8>),
) {
    let segment = segment_of(view, table, hash);
    if !segment.is_null() {
        each_entry(view, segment, |_, _, _, content| each(view, content.entry));
    }
}

/// The first hash behind the segment that a hash belongs to; `None` if it is the last.
pub fn segment_end(view: &View, table: Off<Table>, hash: u64) -> Option<u64> {
    let segment = segment_of(view, table, hash);
    if segment.is_null() {
        return None;
    }
    let depth = view.get(segment).depth.to_native();
    if depth == 0 {
        return None;
    }
    (directory_index(hash, depth) + 1).checked_mul(1 << (64 - depth))
}
