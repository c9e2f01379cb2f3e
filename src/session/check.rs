//! The checker's walk over sessions.

use std::collections::{BTreeMap, BTreeSet};

use shm::check::{Checker, mark_table};
use shm::table::Table;
use shm::{Off, field};

use super::members::{Member, Topic};
use super::output::{Chunk, Message};
use super::pubsub::Kind;
use super::queue::{self, Queued};
use super::tracking::{Reader, Tracked};
use super::{Directory, Session, directory, flag};
use crate::root::Root;

/// Marks every session with its buffers, and proves the counts of shared messages.
///
/// Subscriptions, watches and queues are marked by whoever knows them.
pub fn mark_sessions(checker: &mut Checker<'_>, root: Off<Root>) -> Vec<Off<Session>> {
    let view = checker.view();
    let record: Directory = view.get(root).sessions;
    let capacity = record.capacity.get().to_native();
    if capacity > 0 {
        checker.mark(record.slots.get(), u64::from(capacity) * 8, "sessions");
    }
    let mut sessions = Vec::new();
    directory::for_each(view, root, |session| sessions.push(session));
    if sessions.len() as u32 != record.len.get().to_native() {
        let noted = record.len.get().to_native();
        checker.finding(format!("sessions: {} counted, {noted} noted", sessions.len()));
    }
    let mut messages: BTreeMap<Off<Message>, u64> = BTreeMap::new();
    for &session in &sessions {
        if !checker.mark(session, size_of::<Session>() as u64, "session") {
            continue;
        }
        let record = view.read(session);
        let blocks = [
            (record.input.get(), u64::from(record.input_len.get().to_native())),
            (record.cold.get(), u64::from(record.cold_len.get().to_native())),
        ];
        for (block, len) in blocks {
            if !block.is_null() {
                checker.mark(block, len, "session");
            }
        }
        mark_output(checker, session, &mut messages);
        if !record.queue_head.get().is_null() && !record.is(flag::MULTI) {
            checker.finding(format!("session {session:?} has a queue outside of MULTI"));
        }
    }
    for (message, references) in messages {
        let size = size_of::<Message>() as u64;
        if checker.mark(message, size, "message") {
            let noted = view.get(message).references.get().to_native();
            if noted != references {
                checker.finding(format!(
                    "message {message:?}: {references} references, {noted} noted"
                ));
            }
        }
    }
    sessions
}

fn mark_output(
    checker: &mut Checker<'_>,
    session: Off<Session>,
    messages: &mut BTreeMap<Off<Message>, u64>,
) {
    let view = checker.view();
    let record = view.read(session);
    let mut bytes = 0;
    let mut last = Off::NULL;
    let mut chunk = record.out_head.get();
    while !chunk.is_null() {
        if !checker.mark(chunk, size_of::<Chunk>() as u64, "output") {
            return;
        }
        let piece = view.get(chunk);
        bytes += piece.len.get().to_native();
        if !piece.shared.is_null() {
            *messages.entry(piece.shared).or_default() += 1;
        }
        last = chunk;
        chunk = piece.next.get();
    }
    let noted = record.out_bytes.get().to_native() + record.out_sent.get().to_native();
    if bytes != noted || last != record.out_tail.get() {
        checker.finding(format!("session {session:?}: output of {bytes} bytes, {noted} noted"));
    }
}

/// Members that were found from the topics, by session.
type Found = BTreeMap<Off<Session>, BTreeSet<Off<Member>>>;

/// Marks queues and everything that the indexes over sessions consist of, and proves that each index
/// and the sessions say the same.
pub fn mark_indexes(checker: &mut Checker<'_>, root: Off<Root>, sessions: &[Off<Session>]) {
    for kind in Kind::ALL {
        let what = format!("{kind:?} subscriptions");
        let mut found = mark_index(checker, kind.index(root), &what);
        for &session in sessions {
            let members = found.remove(&session).unwrap_or_default();
            mark_own(checker, kind.own(session), members, &what);
        }
        no_others(checker, &found, &what);
    }
    mark_lists(checker, field!(root, Root.watched), sessions, "watched keys", |record| {
        record.watches.get()
    });
    mark_lists(checker, field!(root, Root.prefixes), sessions, "prefixes", |record| {
        record.tracking_prefixes.get()
    });
    mark_monitors(checker, root, sessions);
    mark_tracking(checker, root, sessions);
    super::check_waits::mark_waits(checker, root, sessions);
    sessions.iter().for_each(|session| mark_queue(checker, *session));
    sessions.iter().for_each(|session| check_flags(checker, *session));
}

/// Marks an index whose members form lists, which begin at `first` of each session.
fn mark_lists(
    checker: &mut Checker<'_>,
    index: Off<Table>,
    sessions: &[Off<Session>],
    what: &str,
    first: fn(&Session) -> Off<Member>,
) {
    let mut found = mark_index(checker, index, what);
    for &session in sessions {
        let members = found.remove(&session).unwrap_or_default();
        let first = first(checker.view().get(session));
        check_list(checker, first, members, what);
    }
    no_others(checker, &found, what);
}

fn mark_index(checker: &mut Checker<'_>, index: Off<Table>, what: &str) -> Found {
    let mut found = Found::new();
    mark_table(checker, index, what, |checker, block| {
        mark_topic(checker, block.cast(), &mut found, what);
    });
    found
}

fn mark_topic(checker: &mut Checker<'_>, topic: Off<Topic>, found: &mut Found, what: &str) {
    const SIZE: u64 = size_of::<Topic>() as u64;
    if !checker.mark(topic, SIZE, what) {
        return;
    }
    let view = checker.view();
    let record = view.read(topic);
    let (len, room) = (record.len.get().to_native(), record.room.get().to_native());
    let size = SIZE + u64::from(record.name_len.to_native());
    if size > shm::alloc::block_size(view, topic.cast()) {
        checker.finding(format!("{what}: the name of {topic:?} leaves its block"));
    }
    if len == 0 || len > room {
        checker.finding(format!("{what}: {topic:?} has {len} members, and room for {room}"));
    }
    if !checker.mark(record.members.get(), u64::from(room) * 8, what) {
        return;
    }
    for position in 0..len.min(room) {
        let member = view.read(record.members.get().nth(u64::from(position))).get();
        if !checker.mark(member, size_of::<Member>() as u64, what) {
            continue;
        }
        let noted = view.read(member);
        if noted.topic != topic || noted.position.get().to_native() != position {
            checker.finding(format!("{what}: {member:?} does not lead back to {topic:?}"));
        }
        found.entry(noted.session).or_default().insert(member);
    }
}

/// Marks a session's own table, which must hold just the members found.
fn mark_own(
    checker: &mut Checker<'_>,
    own: Off<Table>,
    mut members: BTreeSet<Off<Member>>,
    what: &str,
) {
    mark_table(checker, own, what, |checker, block| {
        if !members.remove(&block.cast()) {
            checker.finding(format!("{what}: a session has {block:?}, which is in no topic"));
        }
    });
    for member in members {
        checker.finding(format!("{what}: the session of {member:?} does not know of it"));
    }
}

/// Checks a session's list, which must hold just the members found.
fn check_list(
    checker: &mut Checker<'_>,
    mut at: Off<Member>,
    mut members: BTreeSet<Off<Member>>,
    what: &str,
) {
    while !at.is_null() {
        if !members.remove(&at) {
            checker.finding(format!("{what}: a session has {at:?}, which is in no topic"));
            return;
        }
        at = checker.view().get(at).next.get();
    }
    for member in members {
        checker.finding(format!("{what}: the session of {member:?} does not know of it"));
    }
}

fn no_others(checker: &mut Checker<'_>, found: &Found, what: &str) {
    for (session, members) in found {
        checker.finding(format!("{what}: {} members of no session {session:?}", members.len()));
    }
}

fn mark_monitors(checker: &mut Checker<'_>, root: Off<Root>, sessions: &[Off<Session>]) {
    const WHAT: &str = "monitors";
    let (topic, noted) = {
        let record = checker.view().get(root);
        (record.monitor_topic.get(), record.monitors.get().to_native())
    };
    let mut found = Found::new();
    if !topic.is_null() {
        mark_topic(checker, topic, &mut found, WHAT);
    }
    if found.len() != noted as usize {
        checker.finding(format!("{WHAT}: {} counted, {noted} noted", found.len()));
    }
    for &session in sessions {
        let members = found.remove(&session).unwrap_or_default();
        let first = checker.view().get(session).monitor.get();
        check_list(checker, first, members, WHAT);
    }
    no_others(checker, &found, WHAT);
}

fn mark_tracking(checker: &mut Checker<'_>, root: Off<Root>, sessions: &[Off<Session>]) {
    let view = checker.view();
    let mut items = 0;
    mark_table(checker, field!(root, Root.tracked), "tracked keys", |checker, block| {
        items += u64::from(view.get(block.cast::<Tracked>()).len.get().to_native());
        mark_tracked(checker, block);
    });
    let noted = view.get(root).tracked_items.get().to_native();
    if items != noted {
        checker.finding(format!("tracked keys: {items} readers counted, {noted} noted"));
    }
    let tracking = sessions.iter().filter(|session| view.get(**session).is(flag::TRACKING)).count();
    let noted = view.get(root).trackers.get().to_native();
    if tracking != noted as usize {
        checker.finding(format!("tracking: {tracking} sessions counted, {noted} noted"));
    }
}

/// Marks a tracked key with its readers.
pub fn mark_tracked(checker: &mut Checker<'_>, block: Off<u8>) {
    const WHAT: &str = "tracked keys";
    let view = checker.view();
    let tracked: Off<Tracked> = block.cast();
    if !checker.mark(tracked, size_of::<Tracked>() as u64, WHAT) {
        return;
    }
    let record = view.read(tracked);
    let (len, room) = (record.len.get().to_native(), record.room.get().to_native());
    let bytes = u64::from(room) * size_of::<Reader>() as u64;
    if len == 0 || len > room || !checker.mark(record.readers.get(), bytes, WHAT) {
        checker.finding(format!("{WHAT}: {tracked:?} has {len} readers, and room for {room}"));
        return;
    }
    let ids = view.array(record.readers.get(), len as usize).iter().map(|r| r.id.to_native());
    if !ids.is_sorted() {
        checker.finding(format!("{WHAT}: the readers of {tracked:?} are not in order"));
    }
}

fn mark_queue(checker: &mut Checker<'_>, session: Off<Session>) {
    let view = checker.view();
    let record = view.read(session);
    let (mut count, mut bytes, mut last) = (0, 0, Off::NULL);
    let mut at: Off<Queued> = record.queue_head.get();
    while !at.is_null() {
        if !checker.mark(at, size_of::<Queued>() as u64, "queue") {
            return;
        }
        if queue::size(view, at) > shm::alloc::block_size(view, at.cast()) {
            checker.finding(format!("queue: the command {at:?} leaves its block"));
        }
        (count, bytes) = (count + 1, bytes + view.get(at).bytes.to_native());
        last = at;
        at = view.get(at).next.get();
    }
    let noted = (record.queue_len.get().to_native(), record.queue_bytes.get().to_native());
    if (count, bytes) != noted || last != record.queue_tail.get() {
        checker.finding(format!("queue of {session:?}: {count} of {bytes} bytes, noted {noted:?}"));
    }
}

fn check_flags(checker: &mut Checker<'_>, session: Off<Session>) {
    let record = checker.view().read(session);
    let tables = [record.channels, record.patterns, record.shard_channels];
    let pairs = [
        ("SUBSCRIBER", flag::SUBSCRIBER, tables.iter().any(|table| table.len.get() != 0)),
        ("WATCHING", flag::WATCHING, !record.watches.get().is_null()),
        ("MONITOR", flag::MONITOR, !record.monitor.get().is_null()),
        ("TRACKING_BCAST", flag::TRACKING_BCAST, !record.tracking_prefixes.get().is_null()),
    ];
    for (name, bit, is) in pairs {
        if record.is(bit) != is {
            checker.finding(format!("session {session:?}: {name} is {}, should be {is}", !is));
        }
    }
}
