//! Databases: tables of entries, expiry, and the deletion of what may be large.
//!
//! Nothing here knows commands or replies. Every function works within the caller's transaction.

pub mod access;
pub mod check;
pub mod entry;
pub mod expire;
pub mod relocate;
pub mod trash;

use shm::table::{self, Place, Table};
use shm::{Off, OutOfMemory, Slot, Tx, U64, View, field, record};

pub use entry::{Entry, EntryView, Kind, Type};

record! {
    /// One database.
    pub struct Database {
        /// Its entries.
        pub keys: Table,
        /// Entries that have an expiry.
        pub volatile: Slot<U64>,
    }
}

impl Database {
    /// A database without keys.
    pub const EMPTY: Database =
        Database { keys: Table::EMPTY, volatile: Slot::new(U64::from_native(0)) };
}

/// An entry and its place in the database's table; valid until the table changes.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The entry.
    pub entry: Off<Entry>,
    place: Place,
}

/// The table of a database.
#[inline(always)]
pub fn keys(database: Off<Database>) -> Off<Table> {
    field!(database, Database.keys)
}

/// Looks a key up, expired or not.
#[inline]
pub fn find(view: &View, database: Off<Database>, hash: u64, key: &[u8]) -> Option<Found> {
    let matches = |view: &View, block: Off<u8>| EntryView::new(view, block.cast()).key() == key;
    let place = table::find(view, keys(database), hash, matches)?;
    Some(Found { entry: place.entry.cast(), place })
}

/// Number of keys.
pub fn len(view: &View, database: Off<Database>) -> u64 {
    table::len(view, keys(database))
}

/// Number of keys that have an expiry.
pub fn volatile(view: &View, database: Off<Database>) -> u64 {
    view.get(database).volatile.get().to_native()
}

fn change_volatile(tx: &mut Tx<'_>, database: Off<Database>, by: i64) -> Result<(), OutOfMemory> {
    let count = volatile(tx, database).wrapping_add_signed(by);
    tx.set(field!(database, Database.volatile), U64::from_native(count))
}

/// Adds an entry whose key is not there.
pub fn insert(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    hash: u64,
    entry: Off<Entry>,
) -> Result<(), OutOfMemory> {
    table::insert(tx, keys(database), hash, entry.cast())?;
    if let Some(at) = EntryView::new(tx, entry).expiry() {
        change_volatile(tx, database, 1)?;
        expire::note(tx, database, hash, at);
    }
    Ok(())
}

/// Puts another entry of the same key in the place of one, which is freed with its value.
pub fn replace(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    hash: u64,
    found: &Found,
    entry: Off<Entry>,
) -> Result<(), OutOfMemory> {
    swap_in(tx, database, hash, found, entry)?;
    trash::free_entry(tx, found.entry)
}

/// As [`replace`], but the new entry has taken over what hangs on the old one's value
/// ([`entry::reshape`]), so only the old block is freed. Gives the new entry with its place.
pub fn replace_reshaped(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    hash: u64,
    found: &Found,
    entry: Off<Entry>,
) -> Result<Found, OutOfMemory> {
    let place = swap_in(tx, database, hash, found, entry)?;
    tx.free(found.entry)?;
    Ok(Found { entry, place })
}

fn swap_in(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    hash: u64,
    found: &Found,
    entry: Off<Entry>,
) -> Result<Place, OutOfMemory> {
    let place = table::replace(tx, &found.place, entry.cast())?;
    let old = EntryView::new(tx, found.entry).expiry();
    let new = EntryView::new(tx, entry).expiry();
    match (old.is_some(), new.is_some()) {
        (false, true) => change_volatile(tx, database, 1)?,
        (true, false) => change_volatile(tx, database, -1)?,
        _ => {}
    }
    if let Some(at) = new {
        expire::note(tx, database, hash, at);
    }
    Ok(place)
}

/// Removes an entry and frees it with its value.
pub fn remove(tx: &mut Tx<'_>, database: Off<Database>, found: &Found) -> Result<(), OutOfMemory> {
    take(tx, database, found)?;
    trash::free_entry(tx, found.entry)
}

/// Takes an entry out of its database without freeing it.
pub fn take(tx: &mut Tx<'_>, database: Off<Database>, found: &Found) -> Result<(), OutOfMemory> {
    if EntryView::new(tx, found.entry).expiry().is_some() {
        change_volatile(tx, database, -1)?;
    }
    table::remove(tx, keys(database), &found.place)
}

/// Sets or removes the expiry of an entry; gives the entry, which may have moved.
pub fn set_expiry(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    hash: u64,
    found: &Found,
    at: Option<i64>,
) -> Result<Off<Entry>, OutOfMemory> {
    let (old, has_slot) = {
        let entry = EntryView::new(tx, found.entry);
        (entry.expiry(), entry.has_expiry_slot())
    };
    if old == at {
        return Ok(found.entry);
    }
    if !has_slot {
        let entry = entry::reshape(tx, found.entry, at)?;
        replace_reshaped(tx, database, hash, found, entry)?;
        return Ok(entry);
    }
    entry::set_expiry(tx, found.entry, at)?;
    match (old.is_some(), at) {
        (true, None) => change_volatile(tx, database, -1)?,
        (false, Some(_)) => change_volatile(tx, database, 1)?,
        _ => {}
    }
    if let Some(at) = at {
        expire::note(tx, database, hash, at);
    }
    Ok(found.entry)
}

/// Empties a database: its table is set aside, to be taken apart in small steps.
pub fn clear(tx: &mut Tx<'_>, database: Off<Database>) -> Result<(), OutOfMemory> {
    if !tx.get(database).keys.directory.get().is_null() {
        trash::add_table(tx, keys(database))?;
    }
    tx.set(keys(database).cast::<Slot<Table>>(), Table::EMPTY)?;
    tx.set(field!(database, Database.volatile), U64::from_native(0))
}

/// Exchanges the contents of two databases.
pub fn swap(
    tx: &mut Tx<'_>,
    first: Off<Database>,
    second: Off<Database>,
) -> Result<(), OutOfMemory> {
    const SIZE: usize = size_of::<Database>();
    let one: [u8; SIZE] = tx.read(first.cast());
    let two: [u8; SIZE] = tx.read(second.cast());
    tx.set(first.cast::<Slot<[u8; SIZE]>>(), two)?;
    tx.set(second.cast::<Slot<[u8; SIZE]>>(), one)
}
