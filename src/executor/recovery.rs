//! Taking up what an owner left that died between two commits, or within one.
//!
//! Its unfinished transaction is rolled back. What had been committed stands in the payload (see
//! [`super::turn`]): replies that were not written yet, and the turn under way. Both are put into
//! their sessions, as a turn's end does.
//!
//! Only the one session whose socket was just being read or written is in doubt, since nobody has
//! noted how far that came. What the connection has carried, as the system counts it, less what the
//! session has noted, is what that last call moved: bytes read stand in the arena already, behind
//! the input, and bytes written are not written again. Where nothing counts, the session has to be
//! closed.
//!
//! A command in which processes die is stopped here too ([`super::culprit`]), and one that has panicked
//! in this process is answered.
//!
//! Whoever takes it up may die too: each step's commit says how far it has come, and the in-flight
//! word stands until the last.

use shm::{Off, OutOfMemory, Tx, U64, field, header};

use std::sync::atomic::Ordering;

use super::culprit::{Left, note_crash};
use super::replies::{Batch, Streams};
use super::turn::{Turn, between};
use super::{Carried, Executor, InFlight, Stream, background};
use crate::session::{Session, output};

/// The session that was being read from or written to.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    session: Off<Session>,
    what: InFlight,
    /// What its connection has carried.
    carried: Option<Carried>,
}

impl Executor {
    /// After another process has owned the arena, or a handler has panicked in this one: rolls back what
    /// was left unfinished, keeps what was done, and rebuilds what this process keeps outside. Gives the slot of the
    /// session that stays in doubt and has to be closed, if there is one.
    ///
    /// # Errors
    /// If the buffers cannot be had again: then there is no serving on.
    pub fn recover<S: Stream>(
        &mut self,
        streams: &mut impl Streams<S>,
        left: &Left,
    ) -> Result<Option<u32>, OutOfMemory> {
        self.arena.recover();
        self.state.forget_command();
        self.background = background::Background::default();
        self.state.defrag = Default::default();
        self.batch = Batch::default();
        self.input.restore()?;
        let payload = self.arena.payload();
        let (first, segments) = ((payload[3] >> 48) as usize, (payload[3] >> 32 & 0xffff) as usize);
        let [start, end] = [payload[2], payload[0]].map(|word| (word & 0xffff_ffff) as usize);
        self.output.adopt(segments, start, end)?;
        let mut turn = Turn::left(&self.arena, &payload);
        self.note_suspect(turn.as_ref(), left);
        let mut written = 0;
        let doubt = self.socket_in_flight(streams);
        let lost = doubt.filter(|doubt| match self.settle(*doubt, turn.as_mut(), first) {
            Some(of_segment) => {
                written = of_segment;
                false
            }
            None => true,
        });
        let lost = lost.map(|doubt| doubt.session);
        if let Some(session) = lost {
            self.give_up(session, payload);
        }
        for index in first..segments {
            self.keep_segment(index, std::mem::take(&mut written), lost);
        }
        self.output.forget_segments();
        if let Some(turn) = turn
            && Some(turn.session) != lost
        {
            self.end_turn(turn, left);
        }
        self.output.clear();
        let mut tx = self.arena.begin();
        if note_crash(&mut tx, self.root, left).is_err() {
            tx.rollback_all();
        }
        tx.commit(&between(0, 0));
        self.landed();
        Ok(lost.map(|session| self.arena.get(session).slot.to_native()))
    }

    /// The session whose socket was being read or written.
    fn socket_in_flight<S: Stream>(&self, streams: &mut impl Streams<S>) -> Option<Doubt> {
        let word = self.arena.word(header::IN_FLIGHT).load(Ordering::Relaxed);
        let session = Off::<Session>::new(word & !InFlight::MASK);
        let what = [InFlight::Read, InFlight::Write]
            .into_iter()
            .find(|what| *what as u64 == word & InFlight::MASK)?;
        let slot = self.arena.get(session).slot.to_native();
        let carried = streams.stream(slot).and_then(|stream| stream.carried());
        Some(Doubt { session, what, carried })
    }

    /// Notes what the last call has moved, unless it was written of the first segment that waits:
    /// then it gives the number of bytes. `None` if nobody knows.
    fn settle(&mut self, doubt: Doubt, turn: Option<&mut Turn>, first: usize) -> Option<usize> {
        let Doubt { session, what, carried: Some(carried) } = doubt else { return None };
        let record = self.arena.get(session);
        let total_out = record.total_out.get().to_native();
        let mut noted = record.total_in.get().to_native();
        match (what, turn.filter(|turn| turn.session == session)) {
            (InFlight::Read, Some(turn)) => {
                noted += turn.read_bytes;
                let read = carried.read.checked_sub(noted)?;
                self.take_up_read(turn, read).ok()?.then_some(0)
            }
            // The turn was ended by one who has died in doing so.
            (InFlight::Read, None) => (carried.read == noted).then_some(0),
            _ => self.settle_write(session, carried.written.checked_sub(total_out)?, first),
        }
    }

    fn settle_write(&mut self, session: Off<Session>, written: u64, first: usize) -> Option<usize> {
        if first < self.output.segments() {
            let segment = self.output.segment(first);
            if segment.session == session.raw() {
                let length = segment.end - segment.start;
                return usize::try_from(written).ok().filter(|written| *written <= length);
            }
        }
        if written > output::len(&self.arena, session) {
            return None;
        }
        let noted = self.arena.transact(|tx| {
            count_written(tx, session, written)?;
            if written > 0 { output::advance(tx, session, written) } else { Ok(()) }
        });
        noted.ok().map(|()| 0)
    }

    /// Puts what was not written of a reply into its session's own output, before what others have
    /// sent to it since. With the same commit the segment is done with.
    fn keep_segment(&mut self, index: usize, written: usize, lost: Option<Off<Session>>) {
        let segment = self.output.segment(index);
        let session = Off::<Session>::new(segment.session);
        let mut payload = self.arena.payload();
        payload[3] = (index as u64 + 1) << 48 | payload[3] & ((1 << 48) - 1);
        let mut tx = self.arena.begin();
        let kept = if Some(session) == lost {
            Ok(())
        } else {
            let rest = &self.output.segment_bytes(segment)[written..];
            count_written(&mut tx, session, written as u64).and_then(|()| match rest {
                [] => Ok(()),
                rest => output::prepend(&mut tx, session, rest),
            })
        };
        if kept.is_ok() {
            return tx.commit(&payload);
        }
        tx.rollback_all();
        drop(tx);
        self.give_up(session, payload);
    }

    /// Ends the turn that was under way.
    fn end_turn(&mut self, mut turn: Turn, left: &Left) {
        let session = turn.session;
        let ended = self
            .judge(&mut turn, left)
            .and_then(|()| self.set_aside(&turn))
            .and_then(|()| self.save_rest(&turn));
        if ended.is_err() {
            self.give_up(session, between(0, 0));
        }
    }
}

fn count_written(tx: &mut Tx<'_>, session: Off<Session>, bytes: u64) -> Result<(), OutOfMemory> {
    let total = tx.get(session).total_out.get().to_native() + bytes;
    tx.set(field!(session, Session.total_out), U64::from_native(total))
}
