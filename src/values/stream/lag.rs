//! How far a group has got in its stream: Redis's counters, and its guesses where entries were
//! deleted.

use shm::{Off, View};

use super::group::{Group, position};
use super::{Id, Stream, counts, first_id, max_deleted};

/// Number of entries that were added up to that of this id, as far as it can be told: it cannot if
/// entries were deleted in between.
pub fn entries_read(view: &View, stream: Off<Stream>, id: Id) -> Option<u64> {
    let counts = counts(view, stream);
    if counts.added == 0 {
        return Some(0);
    }
    if counts.len == 0 && id <= counts.last || id == counts.last {
        return Some(counts.added);
    }
    if id > counts.last {
        return None;
    }
    let (first, deleted) = (first_id(view, stream), max_deleted(view, stream));
    let whole = deleted == Id::MIN || deleted < first;
    // Redis's numbers may be set to anything, and wrap.
    let before_first = counts.added.wrapping_sub(counts.len);
    match id.cmp(&first) {
        std::cmp::Ordering::Less if whole => Some(before_first),
        std::cmp::Ordering::Equal if whole => Some(before_first.wrapping_add(1)),
        _ => None,
    }
}

/// Whether an entry from `start` on was deleted by name, as far as is known; what was deleted before
/// the first entry that is there does not count.
fn has_gap_from(view: &View, stream: Off<Stream>, start: Id) -> bool {
    let deleted = max_deleted(view, stream);
    let from = start.max(first_id(view, stream));
    counts(view, stream).len > 0 && deleted != Id::MIN && from <= deleted
}

/// Entries that the group has yet to be given; `None` if that cannot be told.
pub fn of(view: &View, stream: Off<Stream>, group: Off<Group>) -> Option<i64> {
    let (added, position) = (counts(view, stream).added, position(view, group));
    if added == 0 {
        return Some(0);
    }
    let read = match position.read {
        Some(read) if !has_gap_from(view, stream, position.last) => read,
        _ => entries_read(view, stream, position.last)? as i64,
    };
    Some((added as i64).wrapping_sub(read))
}

/// The counter of a group that had read up to `last` and now is given the entry `id`.
pub fn advance(view: &View, stream: Off<Stream>, read: Option<i64>, id: Id) -> Option<i64> {
    match read {
        Some(read) if !has_gap_from(view, stream, id) => Some(read.wrapping_add(1)),
        _ if counts(view, stream).added > 0 => {
            entries_read(view, stream, id).map(|read| read as i64)
        }
        other => other,
    }
}
