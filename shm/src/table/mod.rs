//! A hash table that grows without a stall: extendible hashing in segments of fixed size.
//!
//! The table maps 64-bit hashes to blocks ("entries"); it knows nothing of their content, so
//! look-ups take a closure that compares keys.
//!
//! ```text
//! Table ──▶ directory: 2^depth offsets, indexed by the top bits of the hash
//!             └─▶ segment (4032 bytes): header, 62 buckets
//!                   └─ bucket (64 bytes): meta word, 7 slots
//!                        └─ slot: tag (22 top bits of the hash) | displacement (2) | offset / 8 (40)
//! ```
//!
//! - The home bucket comes from the low 32 bits of the hash. An entry that finds it full goes to
//!   one of the next three (its displacement); the home's meta word counts those, so that a look-up
//!   goes on only where needed: usually it touches one line of the directory, one bucket, one entry.
//!   If all four are full, one of their entries moves on to make room.
//! - A segment with no room is split in two by the next bit of the hash, which the tags hold, so no
//!   entry is touched. The halves are new blocks, the old one is freed at the commit: the log stays
//!   small. Only the directory's doubling costs more than a segment: a copy of 8 bytes a segment.
//! - Every change of a slot goes through [`set_slot`], which knows the bucket: the hook for
//!   versions (snapshots).
//!
//! After Fagin, Nievergelt, Pippenger and Strong, "Extendible hashing" (1979); fixed segments of
//! cache-line buckets as in Lu et al., "Dash" (2020).

mod build;
mod change;
mod copy;
mod drain;
mod relocate;
mod scan;

pub use build::build;
pub use change::{insert, remove, replace};
pub use copy::copy;
pub use drain::{Drained, drain_step, shrink_step};
pub use relocate::{Position, relocate_step};
pub use scan::{
    Scan, entries, for_each, for_each_of, random_entry, scan_step, segment_end, segments,
};
pub(crate) use scan::{check_segment, for_each_in};

use crate::arena::View;
use crate::field;
use crate::off::Off;
use crate::record;
use crate::record::{Hint, Slot, U32, U64};

/// Changes whenever the hash function or the meaning of its bits changes. SipHash-1-3 with the
/// header's key.
pub const HASH_VERSION: u64 = 1;

/// Buckets in a segment.
pub const BUCKETS: u64 = 62;
/// Slots in a bucket.
pub const SLOTS: usize = 7;
/// How far from its home bucket an entry may lie.
pub const MAX_DISPLACEMENT: u64 = 3;
/// Top bits of the hash that a slot holds; the deepest that a segment can be.
pub const TAG_BITS: u32 = 22;

const OFFSET_BITS: u32 = 40;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
/// The part of a meta word that counts entries displaced from this bucket.
const DISPLACED_MASK: u64 = 0xff;

record! {
    /// A table; stands inside its owner's record.
    pub struct Table {
        /// The directory, null while the table has never held anything.
        pub directory: Slot<Off<Off<SegmentHeader>>>,
        /// Entries in the table.
        pub len: Slot<U64>,
        /// The directory has 2^depth entries.
        pub depth: Slot<U32>,
        /// Segments whose depth is the directory's. Without any the directory is halved.
        pub deepest: Slot<U32>,
    }
}

record! {
    /// The first line of a segment.
    pub struct SegmentHeader {
        /// Top bits of the hash that all entries share.
        pub depth: U32,
        /// Unused.
        pub reserved: U32,
        /// A word for the table's owner, carried over to both halves of a split. Of two segments that are joined
        /// the lesser one stays, but 0 says nothing.
        pub hint: Hint<U64>,
        /// Unused.
        pub rest: [u8; 48],
    }
}

record! {
    /// One cache line of slots.
    pub struct Bucket {
        /// Low byte: entries displaced from here to the next buckets. The rest is for versions.
        pub meta: Slot<U64>,
        /// Entries; zero is an empty slot.
        pub slots: [Slot<U64>; SLOTS],
    }
}

/// Bytes of a segment.
pub const SEGMENT_BYTES: u64 = 64 + BUCKETS * 64;

const _: () = assert!(size_of::<SegmentHeader>() == 64 && size_of::<Bucket>() == 64);

impl Table {
    /// A table without entries; takes no memory beside its record.
    pub const EMPTY: Table = Table {
        directory: Slot::new(Off::NULL),
        len: Slot::new(U64::from_native(0)),
        depth: Slot::new(U32::from_native(0)),
        deepest: Slot::new(U32::from_native(0)),
    };
}

/// Where an entry was found; valid until the table changes.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The entry's block.
    pub entry: Off<u8>,
    slot: Off<Slot<U64>>,
    home: Off<Bucket>,
    displacement: u64,
}

/// A decoded slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SlotContent {
    entry: Off<u8>,
    displacement: u64,
    /// Top bits of the hash.
    tag: u64,
}

impl SlotContent {
    #[inline(always)]
    fn decode(slot: u64) -> SlotContent {
        SlotContent {
            entry: Off::new((slot & OFFSET_MASK) << 3),
            displacement: slot >> OFFSET_BITS & MAX_DISPLACEMENT,
            tag: slot >> (64 - TAG_BITS),
        }
    }

    #[inline(always)]
    fn encode(self) -> u64 {
        self.tag << (64 - TAG_BITS) | self.displacement << OFFSET_BITS | self.entry.raw() >> 3
    }
}

#[inline(always)]
fn home_of(hash: u64) -> u64 {
    (u64::from(hash as u32) * BUCKETS) >> 32
}

#[inline(always)]
fn directory_index(hash: u64, depth: u32) -> u64 {
    // A shift by 64 is the empty prefix.
    hash.checked_shr(64 - depth).unwrap_or(0)
}

#[inline(always)]
fn bucket_at(segment: Off<SegmentHeader>, bucket: u64) -> Off<Bucket> {
    segment.byte_add::<Bucket>(64).nth(bucket)
}

#[inline(always)]
fn next_bucket(bucket: u64) -> u64 {
    if bucket + 1 == BUCKETS { 0 } else { bucket + 1 }
}

#[inline(always)]
fn slot_at(bucket: Off<Bucket>, slot: usize) -> Off<Slot<U64>> {
    field!(bucket, Bucket.slots).cast::<Slot<U64>>().nth(slot as u64)
}

/// The segment that a hash belongs to; null in a table that has never held anything.
#[inline(always)]
fn segment_of(view: &View, table: Off<Table>, hash: u64) -> Off<SegmentHeader> {
    let record = view.get(table);
    let directory = record.directory.get();
    if directory.is_null() {
        return Off::NULL;
    }
    let index = directory_index(hash, record.depth.get().to_native());
    view.read(directory.nth(index))
}

impl View {
    /// The hash of a key: SipHash-1-3 with this arena's random key, so that nobody outside can
    /// choose keys that collide.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        siphasher::sip::SipHasher13::new_with_key(&self.header().hash_key).hash(key)
    }
}

/// Fetches the bucket of a hash into the cache ahead of a look-up.
#[inline]
pub fn prefetch(view: &View, table: Off<Table>, hash: u64) {
    let segment = segment_of(view, table, hash);
    if !segment.is_null() {
        view.prefetch(bucket_at(segment, home_of(hash)));
    }
}

/// Fetches the entry of a hash into the cache ahead of a look-up, if it lies in its home bucket as most do. The
/// bucket should have been [fetched](prefetch) before.
#[inline]
pub fn prefetch_entry(view: &View, table: Off<Table>, hash: u64) {
    let segment = segment_of(view, table, hash);
    if segment.is_null() {
        return;
    }
    let tag = hash >> (64 - TAG_BITS);
    for slot in &view.get(bucket_at(segment, home_of(hash))).slots {
        let content = SlotContent::decode(slot.get().to_native());
        if content.tag == tag {
            view.prefetch(content.entry);
        }
    }
}

/// Looks an entry up: the one with this hash for whose block `matches` says yes.
#[inline]
pub fn find(
    view: &View,
    table: Off<Table>,
    hash: u64,
    mut matches: impl FnMut(&View, Off<u8>) -> bool,
) -> Option<Place> {
    let segment = segment_of(view, table, hash);
    if segment.is_null() {
        return None;
    }
    let mut bucket = home_of(hash);
    let home = bucket_at(segment, bucket);
    let tag = hash >> (64 - TAG_BITS);
    for displacement in 0..=MAX_DISPLACEMENT {
        let at = bucket_at(segment, bucket);
        let want = tag << 2 | displacement;
        for (i, slot) in view.get(at).slots.iter().enumerate() {
            let slot = slot.get().to_native();
            // The offset 0 is no entry, so an empty slot never passes.
            if slot >> OFFSET_BITS == want && slot & OFFSET_MASK != 0 {
                let entry = SlotContent::decode(slot).entry;
                if matches(view, entry) {
                    return Some(Place { entry, slot: slot_at(at, i), home, displacement });
                }
            }
        }
        if displacement == 0 && view.get(home).meta.get().to_native() & DISPLACED_MASK == 0 {
            return None;
        }
        bucket = next_bucket(bucket);
    }
    None
}

/// Number of entries.
#[inline(always)]
pub fn len(view: &View, table: Off<Table>) -> u64 {
    view.get(table).len.get().to_native()
}

/// Bytes of the table's directory and segments, as allocated. Of many segments some are looked at, about
/// `samples`, and the rest is taken to be like them; all if it is 0.
pub fn memory(view: &View, table: Off<Table>, samples: u64) -> u64 {
    let record = view.read(table);
    let directory = record.directory.get();
    if directory.is_null() {
        return 0;
    }
    let entries = 1u64 << record.depth.get().to_native();
    let looked_at = if samples == 0 { entries } else { samples.max(64).min(entries) };
    let mut shares = 0.0;
    for i in 0..looked_at {
        let segment = view.read(directory.nth(i * entries / looked_at));
        if !segment.is_null() {
            // So many entries of the directory lead to the segment.
            let excess = record.depth.get().to_native() - view.get(segment).depth.to_native();
            shares += 1.0 / f64::from(1 << excess);
        }
    }
    let segments = (shares * entries as f64 / looked_at as f64).round() as u64;
    let class = crate::alloc::class_of(SEGMENT_BYTES).expect("a segment is small");
    crate::alloc::block_size(view, directory.cast()) + segments * crate::alloc::class_size(class)
}

/// The header of the segment that a hash belongs to, for the owner's hint.
pub fn segment_hint(view: &View, table: Off<Table>, hash: u64) -> Option<Off<Hint<U64>>> {
    let segment = segment_of(view, table, hash);
    (!segment.is_null()).then(|| field!(segment, SegmentHeader.hint))
}

#[cfg(test)]
mod tests {
    use super::change::Image;
    use super::*;

    fn content(n: u64, tag: u64) -> SlotContent {
        SlotContent { entry: Off::new(block(n)), displacement: 0, tag }
    }

    fn block(n: u64) -> u64 {
        crate::layout::HEAP + n * 8
    }

    #[test]
    fn a_slot_holds_any_entry() {
        for offset in [8, crate::layout::HEAP, crate::layout::MAX_RESERVE - 8] {
            for displacement in 0..=MAX_DISPLACEMENT {
                for tag in [0, 1, (1 << TAG_BITS) - 1] {
                    let content = SlotContent { entry: Off::new(offset), displacement, tag };
                    assert_eq!(SlotContent::decode(content.encode()), content);
                    assert_ne!(content.encode(), 0);
                }
            }
        }
    }

    #[test]
    fn homes_and_indexes_stay_in_bounds() {
        for hash in [0, 1, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 63, 0x1234_5678_9abc_def0] {
            assert!(home_of(hash) < BUCKETS);
            for depth in 0..=TAG_BITS {
                assert!(directory_index(hash, depth) < 1 << depth);
                let deeper = directory_index(hash, depth + 1);
                assert_eq!(deeper >> 1, directory_index(hash, depth));
            }
        }
        assert_eq!(next_bucket(BUCKETS - 1), 0);
    }

    #[test]
    fn a_home_and_its_neighbours_take_as_many_entries_as_they_have_slots() {
        for home in [0, 30, BUCKETS - 1] {
            let mut image = Image::EMPTY;
            let room = SLOTS as u64 * (MAX_DISPLACEMENT + 1);
            for n in 0..room {
                assert!(image.place(home, content(n, n)), "entry {n} of home {home}");
            }
            assert!(!image.place(home, content(room, 0)));
            assert!(image.place((home + 5) % BUCKETS, content(room, 0)));
        }
    }
}
