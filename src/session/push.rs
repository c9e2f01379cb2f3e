//! Sending messages to sessions other than by replying to them.

use shm::{Off, OutOfMemory, Tx};

use super::output::{self, Message};
use super::{Session, flag};
use crate::executor::{Action, State, limits};
use crate::proto::reply::{Protocol, Reply};

/// A message for any number of sessions; stored once for each version of the protocol that its
/// receivers speak.
pub struct Push<F> {
    encode: F,
    stored: [Option<Off<Message>>; 2],
}

impl<F: Fn(&mut Reply<'_, Vec<u8>>)> Push<F> {
    /// A message that `encode` writes.
    pub fn new(encode: F) -> Push<F> {
        Push { encode, stored: [None; 2] }
    }

    /// The message's bytes.
    pub fn bytes(&self, protocol: Protocol) -> Vec<u8> {
        let mut bytes = Vec::new();
        (self.encode)(&mut Reply::new(&mut bytes, protocol));
        bytes
    }

    /// Appends the message to a session's output, unless it is about to be closed. Not for the
    /// session whose turn it is: its replies are not in the output yet.
    pub fn send(
        &mut self,
        tx: &mut Tx<'_>,
        state: &mut State,
        session: Off<Session>,
    ) -> Result<(), OutOfMemory> {
        debug_assert!(session != state.current, "the message would overtake replies");
        let record = tx.get(session);
        if record.is(flag::CLOSE_AFTER_REPLY | flag::CLOSE_ASAP) {
            return Ok(());
        }
        let (version, slot) = (record.protocol.get(), record.slot.to_native());
        let was_pending = output::is_pending(tx, session);
        let which = usize::from(version == 3);
        let message = match self.stored[which] {
            Some(message) => message,
            None => {
                let protocol = if which == 1 { Protocol::Resp3 } else { Protocol::Resp2 };
                let message = output::share(tx, &self.bytes(protocol))?;
                *self.stored[which].insert(message)
            }
        };
        output::append_shared(tx, session, message)?;
        limits::check(tx, state, session)?;
        if !was_pending {
            // Otherwise it is being written already, or will be after this transaction.
            state.actions.push(Action::Flush(slot));
        }
        Ok(())
    }
}
