//! The checker's walk over the keyspace.

use shm::Off;
use shm::check::{Checker, mark_table};

use super::entry::{Entry, EntryView};
use super::trash::{self, Dead, Trash};
use super::{Database, keys};
use crate::root::Root;
use crate::session::check::mark_tracked;
use crate::values;

/// Marks every block of a database, and proves its counts.
pub fn mark_database(checker: &mut Checker<'_>, database: Off<Database>, what: &str) {
    let mut volatile = 0;
    mark_table(checker, keys(database), what, |checker, block| {
        volatile += u64::from(mark_entry(checker, block.cast(), what));
    });
    let noted = super::volatile(checker.view(), database);
    if noted != volatile {
        checker.finding(format!("{what}: {volatile} keys have an expiry, {noted} are noted"));
    }
}

/// Marks an entry and what hangs on it; says whether it has an expiry.
fn mark_entry(checker: &mut Checker<'_>, off: Off<Entry>, what: &str) -> bool {
    if !checker.mark(off, size_of::<Entry>() as u64, what) {
        return false;
    }
    let entry = EntryView::new(checker.view(), off);
    if entry.value_room() < entry.value_len() as u64 {
        checker.finding(format!("{what}: the value of {off:?} leaves its block"));
        return false;
    }
    values::mark(checker, entry.kind(), entry.value_off(), entry.value_len(), what);
    entry.expiry().is_some()
}

/// Marks what was set aside to be freed.
pub fn mark_trash(checker: &mut Checker<'_>, root: Off<Root>) {
    let mut found = Vec::new();
    trash::for_each(checker.view(), root, |off, kind| found.push((off, kind)));
    for (off, kind) in found {
        if !checker.mark(off, size_of::<Trash>() as u64, "trash") {
            return;
        }
        let body: Off<u8> = shm::field!(off, Trash.body).cast();
        match kind {
            Dead::Keys => mark_table(checker, body.cast(), "trash", |checker, block| {
                mark_entry(checker, block.cast(), "trash");
            }),
            Dead::Tracked => mark_table(checker, body.cast(), "trash", mark_tracked),
            Dead::Value(kind) => values::mark(checker, kind, body, 0, "trash"),
        }
    }
}
