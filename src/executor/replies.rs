//! Writing replies: those of a tick at its end, and what a client did not take then once it can.
//!
//! A reply is in one of three places, in the order in which the client gets them: a segment of the
//! executor's output buffer, the session's own output (chunks), the buffer's part of the turn under
//! way. A session has one segment at most, so that the rest of it can be put before its chunks.

use std::io::ErrorKind;

use shm::{I64, Off, OutOfMemory, U64, field};

use super::output::Segment;
use super::turn::between;
use super::{Executor, InFlight, Stream, bump, limits};
use crate::root::{Counters, Root};
use crate::session::{self, Session, flag, output};

/// How the replies of the turns so far stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyState {
    /// There are none.
    None,
    /// There are some, and room for more.
    Some,
    /// They have to be written before another turn.
    Full,
}

/// What came of writing a session's unsent output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// All is written.
    All,
    /// The client takes no more for now: the poll will say when it does.
    Blocked,
    /// There is more, and the client may take it: nothing will say so, so it has to be tried again.
    More,
    /// The connection is to be closed.
    Close,
}

/// Where the executor finds the connection of a session.
pub trait Streams<S> {
    /// The connection in a slot.
    fn stream(&mut self, slot: u32) -> Option<&mut S>;
}

/// Which sessions have a segment in the output buffer.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By slot, the number of the batch in which it last had one.
    last: Vec<u64>,
    /// The present batch, less one.
    number: u64,
}

impl Batch {
    /// Whether the session in a slot has a segment.
    #[inline(always)]
    pub fn holds(&self, slot: u32) -> bool {
        self.last.get(slot as usize).is_some_and(|last| *last == self.number + 1)
    }

    /// Notes that it has.
    #[inline(always)]
    pub fn note(&mut self, slot: u32) {
        let slot = slot as usize;
        if slot >= self.last.len() {
            self.last.resize((slot + 1).next_power_of_two(), 0);
        }
        self.last[slot] = self.number + 1;
    }

    /// None has any more.
    pub fn end(&mut self) {
        self.number += 1;
    }
}

/// Bytes that one session's unsent output may take of one tick.
const FLUSH_AT_ONCE: usize = 1 << 20;

impl Executor {
    /// Whether there are replies to be written, or so many of them that it should be done before
    /// the next turn.
    #[inline(always)]
    pub fn replies_wait(&self) -> ReplyState {
        if self.output.segments() == 0 {
            ReplyState::None
        } else if self.output.has_room() {
            ReplyState::Some
        } else {
            ReplyState::Full
        }
    }

    /// Writes the replies of all turns since the last call. What a client does not take goes to its
    /// session's own output. `done` is told of every session whose connection has to be looked at:
    /// it has output waiting, or is to be closed.
    pub fn write_replies<S: Stream>(&mut self, streams: &mut impl Streams<S>, done: &mut Vec<u32>) {
        let segments = self.output.segments();
        let mut written = 0;
        for index in 0..segments {
            let segment = self.output.segment(index);
            let session = Off::<Session>::new(segment.session);
            let slot = self.arena.get(session).slot.to_native();
            let (sent, failed) = match streams.stream(slot) {
                Some(stream) => self.write_segment(session, segment, stream),
                None => (0, true),
            };
            written += sent as u64;
            let payload = between(index + 1, segments);
            if self.keep_rest(session, segment, sent, failed, payload).is_err() {
                self.give_up(session, payload);
            }
            self.landed();
            let record = self.arena.get(session);
            let closing = record.is(flag::CLOSE_AFTER_REPLY | flag::CLOSE_ASAP);
            if closing || output::is_pending(&self.arena, session) {
                done.push(slot);
            }
        }
        self.output.clear();
        self.batch.end();
        self.arena.begin().commit(&between(0, 0));
        self.count_written(written);
    }

    fn count_written(&mut self, bytes: u64) {
        let counter = field!(field!(self.root, Root.counters), Counters.output_bytes);
        bump(&mut self.arena, counter, bytes);
    }

    /// Writes as much of a segment as the client takes; says how much, and whether the connection
    /// is broken.
    fn write_segment<S: Stream>(
        &self,
        session: Off<Session>,
        segment: Segment,
        stream: &mut S,
    ) -> (usize, bool) {
        let bytes = self.output.segment_bytes(segment);
        self.in_flight(session, InFlight::Write);
        let mut sent = 0;
        while sent < bytes.len() {
            match stream.transmit(&bytes[sent..]) {
                Ok(0) => return (sent, true),
                Ok(written) => sent += written,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return (sent, e.kind() != ErrorKind::WouldBlock),
            }
        }
        (sent, false)
    }

    /// Notes what was written of a segment, and keeps the rest: before whatever was sent to the
    /// session since.
    fn keep_rest(
        &mut self,
        session: Off<Session>,
        segment: Segment,
        sent: usize,
        failed: bool,
        payload: [u64; 4],
    ) -> Result<(), OutOfMemory> {
        let rest = &self.output.segment_bytes(segment)[sent..];
        let mut tx = self.arena.begin();
        // For the settlement after a crash.
        if shm::CRASH_SAFE {
            let total = tx.get(session).total_out.get().to_native() + sent as u64;
            tx.set(field!(session, Session.total_out), U64::from_native(total))?;
        }
        if failed {
            session::change_flags(&mut tx, session, 0, flag::CLOSE_ASAP)?;
        } else if !rest.is_empty() {
            output::prepend(&mut tx, session, rest)?;
            limits::check(&mut tx, &mut self.state, session)?;
        }
        tx.commit(&payload);
        Ok(())
    }

    /// The rest of a reply cannot be kept, and nothing may be sent behind the gap: the session has
    /// to be closed. That much fits into the part of the undo log that is always there.
    pub(super) fn give_up(&mut self, session: Off<Session>, payload: [u64; 4]) {
        let mut tx = self.arena.begin();
        let flagged = session::change_flags(&mut tx, session, 0, flag::CLOSE_ASAP);
        debug_assert!(flagged.is_ok());
        tx.commit(&payload);
    }

    /// Writes as much of a session's unsent output as the client takes.
    pub fn flush_pending<S: Stream>(&mut self, slot: u32, stream: &mut S) -> Flushed {
        const PIECES: usize = 64;
        debug_assert_eq!(self.output.segments(), 0, "the replies of turns come first");
        let Some(session) = self.session(slot) else { return Flushed::Close };
        let mut left = FLUSH_AT_ONCE;
        loop {
            let record = self.arena.get(session);
            if record.is(flag::CLOSE_ASAP) {
                return Flushed::Close;
            }
            if !output::is_pending(&self.arena, session) {
                let done = record.is(flag::CLOSE_AFTER_REPLY);
                return if done { Flushed::Close } else { Flushed::All };
            }
            if left == 0 {
                return Flushed::More;
            }
            self.in_flight(session, InFlight::Write);
            let pieces = output::pieces(&self.arena, session, PIECES);
            let result = stream.transmit_pieces(&pieces);
            let written = match result {
                Ok(written) if written > 0 => written,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.landed();
                    return Flushed::Blocked;
                }
                Ok(_) | Err(_) => {
                    self.landed();
                    return Flushed::Close;
                }
            };
            left = left.saturating_sub(written);
            let advanced = self.arena.transact(|tx| {
                let total = tx.get(session).total_out.get().to_native() + written as u64;
                tx.set(field!(session, Session.total_out), U64::from_native(total))?;
                output::advance(tx, session, written as u64)
            });
            self.landed();
            // A client that takes a long time to read is not idle.
            let active = field!(session, Session.active_ms);
            self.arena.hint(active, I64::from_native(self.state.now_ms));
            self.count_written(written as u64);
            if advanced.is_err() {
                return Flushed::Close;
            }
        }
    }
}
