//! Taking up what an owner left that died between two commits, or within one.
//!
//! Its unfinished transaction is rolled back. What had been committed stands in the payload (see
//! [`super::turn`]): replies that were not written yet, and the turn under way. Both are put into
//! their sessions, as a turn's end does. Only a session whose socket was just being read or written
//! is in doubt: nobody knows how far that came.

use shm::{Off, OutOfMemory, header};

use std::sync::atomic::Ordering;

use super::replies::Batch;
use super::turn::{Turn, between};
use super::{Executor, InFlight, background};
use crate::session::{Session, output};

impl Executor {
    /// After another process has died while it owned the arena: rolls back what it left unfinished,
    /// keeps what it had done, and rebuilds what this process keeps outside. Gives the slot of the
    /// session that is in doubt, which has to be closed.
    ///
    /// # Errors
    /// If the buffers cannot be had again: then there is no serving on.
    pub fn recover(&mut self) -> Result<Option<u32>, OutOfMemory> {
        self.arena.recover();
        self.state.forget_command();
        self.background = background::Background::default();
        self.batch = Batch::default();
        self.input.restore()?;
        let payload = self.arena.payload();
        let (first, segments) = ((payload[3] >> 48) as usize, (payload[3] >> 32 & 0xffff) as usize);
        let (start, end) = ((payload[2] >> 32) as usize, (payload[2] & 0xffff_ffff) as usize);
        self.output.adopt(segments, start, end)?;
        let doubt = self.socket_in_flight();
        self.landed();
        for index in first..segments {
            self.keep_segment(index, doubt);
        }
        if let Some(turn) = Turn::left(&self.arena, &payload)
            && Some(turn.session) != doubt
        {
            self.end_turn(turn);
        }
        self.output.clear();
        self.arena.begin().commit(&between(0, 0));
        Ok(doubt.map(|session| self.arena.get(session).slot.to_native()))
    }

    /// The session whose socket was being read or written.
    fn socket_in_flight(&self) -> Option<Off<Session>> {
        let word = self.arena.word(header::IN_FLIGHT).load(Ordering::Relaxed);
        let what = word & InFlight::MASK;
        let socket = what == InFlight::Read as u64 || what == InFlight::Write as u64;
        socket.then(|| Off::new(word & !InFlight::MASK))
    }

    /// Puts a reply that was not written into its session's own output, before what others have sent
    /// to it since.
    fn keep_segment(&mut self, index: usize, doubt: Option<Off<Session>>) {
        let segment = self.output.segment(index);
        let session = Off::<Session>::new(segment.session);
        if Some(session) == doubt {
            return;
        }
        let bytes = self.output.segment_bytes(segment);
        if self.arena.transact(|tx| output::prepend(tx, session, bytes)).is_err() {
            self.give_up(session, self.arena.payload());
        }
    }

    /// Ends the turn that was under way.
    fn end_turn(&mut self, turn: Turn) {
        let session = turn.session;
        let ended = self.set_aside(&turn).and_then(|()| self.save_rest(&turn));
        if ended.is_err() {
            self.give_up(session, between(0, 0));
        }
    }
}
