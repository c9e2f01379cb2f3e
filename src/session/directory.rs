//! All sessions by slot. Slots are used again; ids are not.

use shm::{Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use super::Session;
use crate::root::Root;

record! {
    /// An array of slots, and the list of those that are free.
    pub struct Directory {
        /// The array: each entry an offset of a session, or an odd number that continues the list of
        /// free slots.
        pub slots: Slot<Off<Slot<U64>>>,
        /// Entries in the array.
        pub capacity: Slot<U32>,
        /// First free slot plus one; 0 for none.
        pub first_free: Slot<U32>,
        /// Sessions.
        pub len: Slot<U32>,
    }
}

const FIRST_CAPACITY: u32 = 64;

/// The encoding of a free slot: the next free slot plus one, made odd so that it is no offset.
fn free_entry(next: u32) -> U64 {
    U64::from_native(u64::from(next) << 1 | 1)
}

fn directory(root: Off<Root>) -> Off<Directory> {
    field!(root, Root.sessions)
}

/// Number of sessions.
#[inline]
pub fn len(view: &View, root: Off<Root>) -> u32 {
    view.get(directory(root)).len.get().to_native()
}

/// Slots in use or free: one more than the highest slot.
pub fn capacity(view: &View, root: Off<Root>) -> u32 {
    view.get(directory(root)).capacity.get().to_native()
}

/// The session in a slot, if there is one.
#[inline(always)]
pub fn get(view: &View, root: Off<Root>, slot: u32) -> Option<Off<Session>> {
    let record = view.get(directory(root));
    if slot >= record.capacity.get().to_native() {
        return None;
    }
    let entry = view.read(record.slots.get().nth(u64::from(slot))).get().to_native();
    (entry & 1 == 0).then(|| Off::new(entry))
}

/// Gives a session a slot.
pub fn insert(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<u32, OutOfMemory> {
    let at = directory(root);
    if tx.get(at).first_free.get().to_native() == 0 {
        grow(tx, at)?;
    }
    let record = tx.read(at);
    let slot = record.first_free.get().to_native() - 1;
    let entry = record.slots.get().nth(u64::from(slot));
    let next = (tx.read(entry).get().to_native() >> 1) as u32;
    tx.set(entry, U64::from_native(session.raw()))?;
    tx.set(field!(at, Directory.first_free), U32::from_native(next))?;
    let len = record.len.get().to_native() + 1;
    tx.set(field!(at, Directory.len), U32::from_native(len))?;
    Ok(slot)
}

/// Frees a slot.
pub fn remove(tx: &mut Tx<'_>, root: Off<Root>, slot: u32) -> Result<(), OutOfMemory> {
    let at = directory(root);
    let record = tx.read(at);
    let entry = record.slots.get().nth(u64::from(slot));
    tx.set(entry, free_entry(record.first_free.get().to_native()))?;
    tx.set(field!(at, Directory.first_free), U32::from_native(slot + 1))?;
    let len = record.len.get().to_native() - 1;
    tx.set(field!(at, Directory.len), U32::from_native(len))
}

fn grow(tx: &mut Tx<'_>, at: Off<Directory>) -> Result<(), OutOfMemory> {
    let record = tx.read(at);
    let (old, slots) = (record.capacity.get().to_native(), record.slots.get());
    let capacity = (old * 2).max(FIRST_CAPACITY);
    let fresh = tx.alloc(u64::from(capacity) * 8)?;
    if old > 0 {
        tx.init_copy(&fresh, 0, slots.cast(), u64::from(old) * 8);
        tx.free(slots)?;
    }
    for slot in old..capacity {
        let next = if slot + 1 < capacity { slot + 2 } else { 0 };
        tx.init(&fresh, u64::from(slot) * 8, free_entry(next));
    }
    tx.set(field!(at, Directory.slots), fresh.off().cast())?;
    tx.set(field!(at, Directory.capacity), U32::from_native(capacity))?;
    tx.set(field!(at, Directory.first_free), U32::from_native(old + 1))
}

/// Calls `each` with every session, in the order of slots.
pub fn for_each(view: &View, root: Off<Root>, mut each: impl FnMut(Off<Session>)) {
    for slot in 0..capacity(view, root) {
        if let Some(session) = get(view, root, slot) {
            each(session);
        }
    }
}
