//! Finding clients by their ids: a cache in private memory, made anew when it is asked first.

use std::collections::HashMap;

use shm::{Off, View};

use crate::root::Root;
use crate::session::{Session, directory};

/// The slots of sessions by the ids of their clients.
#[derive(Debug, Default)]
pub struct ClientIndex {
    slots: HashMap<u64, u32>,
    /// Every session whose id is below this is in `slots`. Those that are gone may be too.
    complete_below: u64,
}

impl ClientIndex {
    /// Notes a new session.
    pub fn note(&mut self, id: u64, slot: u32) {
        // One that came without a note, by an earlier generation say, is looked for when it is wanted.
        if self.complete_below == id {
            self.slots.insert(id, slot);
            self.complete_below = id + 1;
        }
    }

    /// The session of a client. Takes as long for many sessions as for few, but for the first time, and
    /// now and then to forget those that are gone.
    pub fn find(&mut self, view: &View, root: Off<Root>, id: u64) -> Option<Off<Session>> {
        let next = view.get(root).next_client_id.get().to_native();
        let stale = self.slots.len() > 2 * directory::len(view, root) as usize + 64;
        if id < next && (id >= self.complete_below || stale) {
            self.slots.clear();
            directory::for_each(view, root, |session| {
                let record = view.get(session);
                self.slots.insert(record.id.to_native(), record.slot.to_native());
            });
            self.complete_below = next;
        }
        let session = directory::get(view, root, *self.slots.get(&id)?)?;
        // The slot may be another one's by now.
        (view.get(session).id.to_native() == id).then_some(session)
    }
}
