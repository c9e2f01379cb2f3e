//! Sessions in `MONITOR` mode.

use shm::{Off, OutOfMemory, Tx, U32, View, field};

use super::{Session, change_flags, flag, members};
use crate::root::Root;

/// Adds a session, which is none yet.
pub fn add(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let mut topic = tx.get(root).monitor_topic.get();
    if topic.is_null() {
        topic = members::new_topic(tx, 0, b"")?;
        tx.set(field!(root, Root.monitor_topic), topic)?;
    }
    let member = members::add(tx, topic, session)?;
    tx.set(field!(session, Session.monitor), member)?;
    change_count(tx, root, 1)?;
    change_flags(tx, session, 0, flag::MONITOR)
}

/// Removes a session, if it is one.
pub fn remove(tx: &mut Tx<'_>, root: Off<Root>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let member = tx.get(session).monitor.get();
    if member.is_null() {
        return Ok(());
    }
    let topic = tx.get(member).topic;
    if members::remove(tx, member)? {
        tx.set(field!(root, Root.monitor_topic), Off::NULL)?;
        members::free_topic(tx, topic)?;
    }
    tx.set(field!(session, Session.monitor), Off::NULL)?;
    change_count(tx, root, -1)?;
    change_flags(tx, session, flag::MONITOR, 0)
}

fn change_count(tx: &mut Tx<'_>, root: Off<Root>, by: i32) -> Result<(), OutOfMemory> {
    let count = tx.get(root).monitors.get().to_native().wrapping_add_signed(by);
    tx.set(field!(root, Root.monitors), U32::from_native(count))
}

/// All of them.
pub fn all(view: &View, root: Off<Root>) -> Vec<Off<Session>> {
    let topic = view.get(root).monitor_topic.get();
    if topic.is_null() {
        return Vec::new();
    }
    members::members(view, topic).iter().map(|member| member.session).collect()
}
