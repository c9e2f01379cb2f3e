//! Watched keys (`WATCH`): who is to fail when a key changes.
//!
//! A key that had expired already when it was watched counts as missing: that it is removed later
//! is no change.

use shm::table::{self, Table};
use shm::{Off, OutOfMemory, Tx, U32, View, field};

use super::members::{self, Member, Topic};
use super::{Session, change_flags, flag};
use crate::keyspace::{self, Database, EntryView};
use crate::root::Root;

fn index(root: Off<Root>) -> Off<Table> {
    field!(root, Root.watched)
}

/// The session's first watched key; they form a list.
fn first(view: &View, session: Off<Session>) -> Off<Member> {
    view.get(session).watches.get()
}

/// The session's watches.
pub fn of_session(view: &View, session: Off<Session>) -> impl Iterator<Item = Off<Member>> {
    let mut at = first(view, session);
    std::iter::from_fn(move || {
        let member = (!at.is_null()).then_some(at)?;
        at = view.get(member).next.get();
        Some(member)
    })
}

/// What a database holds under a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Expired,
    Present,
}

fn state_of(view: &View, database: Off<Database>, key: &[u8], now_ms: i64) -> State {
    match keyspace::find(view, database, view.hash(key), key) {
        None => State::Missing,
        Some(found) => match EntryView::new(view, found.entry).expiry() {
            Some(at) if at <= now_ms => State::Expired,
            _ => State::Present,
        },
    }
}

/// Has a session watch a key, unless it does already.
pub fn add(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    database: u32,
    key: &[u8],
    now_ms: i64,
) -> Result<(), OutOfMemory> {
    if let Some(topic) = members::find(tx, index(root), database, key)
        && of_session(tx, session).any(|member| tx.get(member).topic == topic)
    {
        return Ok(());
    }
    let member = members::join(tx, index(root), database, key, session)?;
    let expired = state_of(tx, crate::root::database(tx, root, database), key, now_ms);
    if expired == State::Expired {
        tx.set(field!(member, Member.expired), U32::from_native(1))?;
    }
    let head = first(tx, session);
    tx.set(field!(member, Member.next), head)?;
    tx.set(field!(session, Session.watches), member)?;
    change_flags(tx, session, 0, flag::WATCHING)
}

/// Forgets all keys that a session watches.
pub fn clear(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let mut member = first(tx, session);
    if member.is_null() {
        return Ok(());
    }
    while !member.is_null() {
        let next = tx.get(member).next.get();
        members::leave(tx, index(root), member)?;
        member = next;
    }
    tx.set(field!(session, Session.watches), Off::NULL)?;
    change_flags(tx, session, flag::WATCHING, 0)
}

/// Whether a watched key has expired since it was watched.
pub fn has_expired(view: &View, root: Off<Root>, session: Off<Session>, now_ms: i64) -> bool {
    of_session(view, session).any(|member| {
        let record = view.get(member);
        let database = view.get(record.topic).database.to_native();
        let database = crate::root::database(view, root, database);
        let key = members::name(view, record.topic);
        record.expired.get().to_native() == 0
            && state_of(view, database, key, now_ms) == State::Expired
    })
}

/// Notes that a key was changed: the transactions of its watchers fail.
pub fn key_changed(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    database: u32,
    key: &[u8],
) -> Result<(), OutOfMemory> {
    match members::find(tx, index(root), database, key) {
        Some(topic) => fail_watchers(tx, root, topic),
        None => Ok(()),
    }
}

/// Notes that a key was removed because it has expired. For those who watched it while it was alive
/// this is a change; to the others it was missing before and is missing now.
pub fn key_expired(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    database: u32,
    key: &[u8],
) -> Result<(), OutOfMemory> {
    let Some(topic) = members::find(tx, index(root), database, key) else { return Ok(()) };
    let watchers = members::members(tx, topic);
    let (dead, alive): (Vec<_>, Vec<_>) =
        watchers.into_iter().partition(|member| member.expired.get().to_native() == 1);
    for member in dead {
        set_expired(tx, &member, false)?;
    }
    for member in alive {
        fail(tx, root, member.session)?;
    }
    Ok(())
}

fn fail_watchers(tx: &mut Tx<'_>, root: Off<Root>, topic: Off<Topic>) -> Result<(), OutOfMemory> {
    for member in members::members(tx, topic) {
        fail(tx, root, member.session)?;
    }
    Ok(())
}

/// The session's `EXEC` will fail; what else it watches does not matter any more.
fn fail(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<(), OutOfMemory> {
    change_flags(tx, session, 0, flag::DIRTY_CAS)?;
    clear(tx, root, session)
}

/// Changes the mark of a member, which was read before.
fn set_expired(tx: &mut Tx<'_>, member: &Member, expired: bool) -> Result<(), OutOfMemory> {
    let array = tx.get(member.topic).members.get();
    let at = tx.read(array.nth(u64::from(member.position.get().to_native()))).get();
    tx.set(field!(at, Member.expired), U32::from_native(u32::from(expired)))
}

/// Notes that a database is about to be emptied: to be called while its keys are still there.
pub fn database_flushed(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    database: u32,
) -> Result<(), OutOfMemory> {
    replaced(tx, root, database, None)
}

/// Notes that two databases are about to be exchanged: to be called while they are as before.
pub fn databases_swapped(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    first: u32,
    second: u32,
) -> Result<(), OutOfMemory> {
    replaced(tx, root, first, Some(second))?;
    replaced(tx, root, second, Some(first))
}

/// The content of a database is about to be replaced by that of another, or by nothing: touches the
/// watched keys that are in either.
fn replaced(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    old: u32,
    new: Option<u32>,
) -> Result<(), OutOfMemory> {
    if table::len(tx, index(root)) == 0 {
        return Ok(());
    }
    let now_ms = crate::util::time::unix_time_ms();
    let database = crate::root::database(tx, root, old);
    let replacement = new.map(|new| crate::root::database(tx, root, new));
    let mut topics: Vec<Off<Topic>> = Vec::new();
    table::for_each(tx, index(root), |view, block| {
        let topic: Off<Topic> = block.cast();
        if view.get(topic).database.to_native() == old {
            topics.push(topic);
        }
    });
    let mut failed = Vec::new();
    for topic in topics {
        let key = members::name(tx, topic);
        let before = state_of(tx, database, key, now_ms);
        let after = replacement.map_or(State::Missing, |other| state_of(tx, other, key, now_ms));
        if before == State::Missing && after == State::Missing {
            continue;
        }
        for member in members::members(tx, topic) {
            match (member.expired.get().to_native() == 1, after) {
                (true, State::Missing) => set_expired(tx, &member, false)?,
                (true, State::Expired) => {}
                (false, State::Expired) if before == State::Missing => {
                    set_expired(tx, &member, true)?;
                }
                _ => failed.push(member.session),
            }
        }
    }
    // Only now: a session that fails leaves topics, which end with their last member.
    failed.into_iter().try_for_each(|session| fail(tx, root, session))
}
