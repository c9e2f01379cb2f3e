//! Active expiry: finding keys whose time has come without looking at all of them.
//!
//! Each segment of a database's table carries, as its hint, the earliest expiry of any entry in it
//! (or earlier). A cycle walks the segments' headers and opens only those whose time has come; it
//! then finds the exact earliest expiry anew.

use shm::table::{self, Table};
use shm::{Hint, Off, OutOfMemory, Tx, U64, View};

use super::{Database, Entry, EntryView, find, keys, remove};

/// Notes that an entry with this hash expires at `at` (milliseconds since the epoch).
#[inline]
pub(super) fn note(tx: &mut Tx<'_>, database: Off<Database>, hash: u64, at: i64) {
    let Some(hint) = table::segment_hint(tx, keys(database), hash) else { return };
    // Zero means that nothing in the segment expires.
    let at = at.max(1) as u64;
    let earliest = tx.read(hint).get().to_native();
    if earliest == 0 || at < earliest {
        tx.hint(hint, U64::from_native(at));
    }
}

/// Where an expiry cycle stands; private to a process, since starting over costs little.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor {
    /// Hash at which the next segment begins.
    hash: u64,
}

/// What a slice of a cycle did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// There is more to look at in this database.
    More,
    /// The cycle through this database is complete.
    Complete,
}

/// Looks at the next `segments` segments; collects up to `limit` keys that have expired into
/// `expired`, as (hash, key).
pub fn collect(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    cursor: &mut Cursor,
    now: i64,
    segments: usize,
    limit: usize,
    expired: &mut Vec<(u64, Vec<u8>)>,
) -> Slice {
    let table = keys(database);
    for _ in 0..segments {
        let Some((hint, next)) = segment_after(tx, table, cursor.hash) else {
            cursor.hash = 0;
            return Slice::Complete;
        };
        let earliest = tx.read(hint).get().to_native();
        if earliest != 0 && earliest <= now as u64 {
            let room = limit - expired.len();
            let Some(rest) = open_segment(tx, table, cursor.hash, now, room, expired) else {
                // More has expired than fits: the segment comes again.
                return Slice::More;
            };
            tx.hint(hint, U64::from_native(rest));
        }
        match next {
            Some(hash) => cursor.hash = hash,
            None => {
                cursor.hash = 0;
                return Slice::Complete;
            }
        }
    }
    Slice::More
}

/// The hint of the segment of a hash, and the first hash behind the segment.
fn segment_after(
    view: &View,
    table: Off<Table>,
    hash: u64,
) -> Option<(Off<Hint<U64>>, Option<u64>)> {
    let hint = table::segment_hint(view, table, hash)?;
    Some((hint, table::segment_end(view, table, hash)))
}

/// Collects what has expired in a segment, at most `room` keys; gives the earliest expiry of the
/// rest (0 for none), or `None` if there was more than room.
fn open_segment(
    view: &View,
    table: Off<Table>,
    hash: u64,
    now: i64,
    room: usize,
    expired: &mut Vec<(u64, Vec<u8>)>,
) -> Option<u64> {
    let mut earliest = 0u64;
    let mut left = room;
    let mut overflow = false;
    table::for_each_of(view, table, hash, |view, block: Off<u8>| {
        let entry = EntryView::new(view, block.cast::<Entry>());
        let Some(at) = entry.expiry() else { return };
        if at > now {
            let at = at as u64;
            earliest = if earliest == 0 { at } else { earliest.min(at) };
        } else if left > 0 {
            left -= 1;
            expired.push((view.hash(entry.key()), entry.key().to_vec()));
        } else {
            overflow = true;
        }
    });
    (!overflow).then_some(earliest)
}

/// Removes a key if it is there and has expired; says whether it did.
pub fn remove_expired(
    tx: &mut Tx<'_>,
    database: Off<Database>,
    hash: u64,
    key: &[u8],
    now: i64,
) -> Result<bool, OutOfMemory> {
    let Some(found) = find(tx, database, hash, key) else { return Ok(false) };
    let due = EntryView::new(tx, found.entry).expiry().is_some_and(|at| at <= now);
    if due {
        remove(tx, database, &found)?;
    }
    Ok(due)
}
