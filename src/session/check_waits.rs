//! The checker's walk over blocked sessions.

use std::collections::BTreeSet;

use shm::check::{Checker, mark_table, mark_tree};
use shm::{Off, field};

use super::waits::{self, Place, Queue, Wait};
use super::{Session, deadlines, flag, queue};
use crate::root::Root;

const WHAT: &str = "blocked clients";

/// Marks waits, queues and deadlines, and proves that each blocked session has one wait, that each
/// place in a queue is a wait's, and that the deadlines are just those of the waits that have one.
pub fn mark_waits(checker: &mut Checker<'_>, root: Off<Root>, sessions: &[Off<Session>]) {
    let (mut waits, mut timed) = (BTreeSet::new(), BTreeSet::new());
    let (mut places, mut counted) = (BTreeSet::new(), [0; 4]);
    for &session in sessions {
        let record = checker.view().get(session);
        let wait = record.wait.get();
        if record.is(flag::BLOCKED) == wait.is_null() {
            checker.finding(format!("{WHAT}: {session:?} is blocked without a wait, or waits"));
        }
        if !wait.is_null() && mark_wait(checker, session, wait) {
            waits.insert(wait);
            let record = checker.view().get(wait);
            match waits::Kind::from_number(record.kind) {
                waits::Kind::List => counted[1] += 1,
                waits::Kind::Zset => counted[2] += 1,
                waits::Kind::Stream | waits::Kind::Group => counted[3] += 1,
                waits::Kind::Replicas => {}
            }
            (0..record.places.to_native()).for_each(|number| {
                places.insert(waits::place(wait, number));
            });
            if record.deadline_ms.to_native() != 0 {
                timed.insert(wait);
            }
        }
    }
    let (noted, ready) = {
        let record = checker.view().get(root);
        let noted = [
            &record.blocked,
            &record.blocked_lists,
            &record.blocked_zsets,
            &record.blocked_streams,
        ];
        (noted.map(|count| count.get().to_native()), record.ready_first.get())
    };
    counted[0] = waits.len() as u32;
    if counted != noted {
        checker.finding(format!(
            "{WHAT}: all, and those of lists, sorted sets and streams: {counted:?} counted, \
             {noted:?} noted"
        ));
    }
    if !ready.is_null() {
        checker.finding(format!("{WHAT}: keys are ready between transactions"));
    }
    mark_table(checker, field!(root, Root.waiting), WHAT, |checker, block| {
        mark_queue(checker, block.cast(), &mut places);
    });
    for place in places {
        checker.finding(format!("{WHAT}: the place {place:?} is in no queue"));
    }
    mark_tree(checker, deadlines::tree(root), WHAT, deadlines::compare, |checker, sort, item| {
        let wait: Off<Wait> = item.cast();
        if !timed.remove(&wait) {
            checker.finding(format!("{WHAT}: the deadline {sort} is of no wait {wait:?}"));
            return false;
        }
        if checker.view().get(wait).deadline_ms.to_native() as u64 != sort {
            checker.finding(format!("{WHAT}: the deadline of {wait:?} is noted as {sort}"));
        }
        true
    });
    for wait in timed {
        checker.finding(format!("{WHAT}: the deadline of {wait:?} is not noted"));
    }
}

/// Marks a wait and its command; says whether its places can be looked at.
fn mark_wait(checker: &mut Checker<'_>, session: Off<Session>, wait: Off<Wait>) -> bool {
    if !checker.mark(wait, size_of::<Wait>() as u64, WHAT) {
        return false;
    }
    let view = checker.view();
    let record = view.read(wait);
    if record.session != session {
        checker.finding(format!("{WHAT}: {wait:?} does not lead back to {session:?}"));
    }
    if waits::size(view, wait) > shm::alloc::block_size(view, wait.cast()) {
        checker.finding(format!("{WHAT}: the places of {wait:?} leave its block"));
        return false;
    }
    if checker.mark(record.command, size_of::<queue::Queued>() as u64, WHAT)
        && queue::size(view, record.command) > shm::alloc::block_size(view, record.command.cast())
    {
        checker.finding(format!("{WHAT}: the command of {wait:?} leaves its block"));
    }
    true
}

/// Marks a queue, whose places are taken out of `places`.
fn mark_queue(checker: &mut Checker<'_>, queue: Off<Queue>, places: &mut BTreeSet<Off<Place>>) {
    if !checker.mark(queue, size_of::<Queue>() as u64, WHAT) {
        return;
    }
    let view = checker.view();
    let record = view.read(queue);
    if waits::queue_size(view, queue) > shm::alloc::block_size(view, queue.cast()) {
        checker.finding(format!("{WHAT}: the key of {queue:?} leaves its block"));
    }
    if record.first.get().is_null() || record.ready.get() != 0 {
        checker.finding(format!("{WHAT}: {queue:?} is empty, or on the list of ready keys"));
    }
    let (mut at, mut previous) = (record.first.get(), Off::NULL);
    while !at.is_null() {
        if !places.remove(&at) {
            checker.finding(format!("{WHAT}: the place {at:?} in {queue:?} is of no wait"));
            return;
        }
        let place = view.read(at);
        if place.queue != queue || place.previous.get() != previous {
            checker.finding(format!("{WHAT}: the place {at:?} does not lead back"));
        }
        (previous, at) = (at, place.next.get());
    }
    if record.last.get() != previous {
        checker.finding(format!("{WHAT}: {queue:?} ends in the wrong place"));
    }
}
