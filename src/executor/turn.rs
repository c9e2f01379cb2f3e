//! One client's turn: read what is there and run the requests in it. The replies of all turns of a
//! tick are written at its end ([`super::replies`]).
//!
//! During a turn the client's input and output are in the executor's own buffers, where reading and
//! writing costs no allocation. What counts of them is published with every commit, as the arena's
//! payload, so that at any instant a request has either not happened, or has happened and its reply
//! is there:
//!
//! ```text
//! word 0   position of the next request << 32 | where the turn's replies end in the output buffer
//! word 1   offset of the session | LARGE if its input is in a block of its own; 0 between turns
//! word 2   bytes of input << 32 | where the turn's replies start in the output buffer
//! word 3   first segment that is not written yet << 48 | segments << 32 | bytes read in this turn
//! ```
//!
//! A request that has run changes the first word only.
//!
//! At the end of a turn its replies become a segment ([`super::output`]), and what is left of the
//! input goes to a block of the session. Most turns leave nothing.

use std::io::ErrorKind;
use std::ops::ControlFlow;

use shm::{Arena, I64, Off, OutOfMemory, Tx, U64, field};

use super::args::Args;
use super::cx::{Cx, Fail};
use super::dispatch::{self, Done};
use super::input::{LARGE_INPUT, LARGEST_BLOCK, save_input};
use super::output::Output;
use super::{Executor, InFlight, Stream, bump, limits};
use crate::commands::table;
use crate::proto::reply::{Protocol, Reply};
use crate::proto::request::{Decoded, Decoder, Limits};
use crate::root::{Counters, Root};
use crate::session::{self, Session, flag, output};
use crate::statistics;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// All that was there is read; wait for more.
    Drained,
    /// There may be more to read: give the client another turn soon.
    More,
    /// `CLIENT PAUSE` holds its command back.
    Postponed,
    /// It has output waiting or is closing: look at it once the replies are written.
    LookAt {
        /// As [`Served::More`].
        more: bool,
    },
    /// The connection is to be closed now.
    Close,
}

/// Bit of payload word 1: the input stands in the session's own block.
const LARGE: u64 = 1;
/// Replies beyond this are set aside in the midst of a turn.
const SET_ASIDE_AT: usize = 1 << 20;
/// The longest argument that fits into such a block with a little beside it.
pub(super) const LARGEST_BULK: i64 = (LARGEST_BLOCK - (1 << 20)) as i64;
/// A turn under way.
pub(super) struct Turn {
    pub(super) session: Off<Session>,
    /// The input stands in a block of the session.
    pub(super) large: bool,
    /// Where the next request starts in it.
    pub(super) position: usize,
    /// Bytes of input.
    pub(super) length: usize,
    /// Bytes that were read in this turn; the session's total does not count them yet.
    pub(super) read_bytes: u64,
    pub(super) decoder: Decoder,
    /// The session had a block of input at the start, to be freed at the end.
    pub(super) had_block: bool,
    closing: bool,
    postponed: bool,
}

impl Turn {
    /// The turn that the payload of an owner tells of that has died. Where its decoder stood is
    /// forgotten: a request that had begun is read from its start again.
    pub(super) fn left(arena: &Arena, payload: &[u64; 4]) -> Option<Turn> {
        let session = Off::<Session>::new(payload[1] & !LARGE);
        if session.is_null() {
            return None;
        }
        let record = arena.get(session);
        Some(Turn {
            session,
            large: payload[1] & LARGE != 0,
            position: (payload[0] >> 32) as usize,
            length: (payload[2] >> 32) as usize,
            read_bytes: payload[3] & 0xffff_ffff,
            decoder: Decoder::new(),
            had_block: !record.input.get().is_null(),
            closing: false,
            postponed: record.is(flag::POSTPONED),
        })
    }

    #[inline(always)]
    pub(super) fn payload(&self, output: &Output) -> [u64; 4] {
        self.payload_at(output.start(), output.len(), output.segments())
    }

    /// The payload's first word.
    #[inline(always)]
    fn progress(&self, end: usize) -> u64 {
        (self.position as u64) << 32 | end as u64
    }

    #[inline(always)]
    fn payload_at(&self, start: usize, end: usize, segments: usize) -> [u64; 4] {
        [
            self.progress(end),
            self.session.raw() | if self.large { LARGE } else { 0 },
            (self.length as u64) << 32 | start as u64,
            (segments as u64) << 32 | self.read_bytes,
        ]
    }
}

/// The payload between turns, while segments from `first` on are to be written.
pub(super) fn between(first: usize, segments: usize) -> [u64; 4] {
    [0, 0, 0, (first as u64) << 48 | (segments as u64) << 32]
}

impl Executor {
    /// Gives a client its turn: one read at most, every complete request in what is there. The
    /// replies wait for [`write_replies`](Executor::write_replies), without which no session may be
    /// closed or flushed.
    pub fn serve<S: Stream>(&mut self, slot: u32, stream: &mut S) -> Served {
        let Some(session) = self.session(slot) else { return Served::Close };
        let record = self.arena.get(session);
        if record.is(flag::CLOSE_AFTER_REPLY | flag::CLOSE_ASAP) {
            // Nothing is read any more, but its peer may have gone meanwhile.
            return Served::LookAt { more: false };
        }
        let (blocked, postponed) = (record.is(flag::BLOCKED), record.is(flag::POSTPONED));
        // One that is held back is read from all the same: if it has gone, its command must not run.
        let goes_on = record.is(flag::RESUMED) && !postponed;
        let mut turn = self.attach(session);
        let served = if goes_on {
            // A command waits in the input; there is nothing to read before it has run.
            self.state.advance_clock();
            Ok(Served::More)
        } else {
            self.read(&mut turn, stream)
        };
        let served = served.and_then(|served| {
            let waits = blocked || postponed;
            if waits && self.exceeds_input_limit(&turn, turn.length as u64) {
                return Ok(Served::Close);
            }
            // What a blocked client sends waits until it is blocked no more.
            if served != Served::Close && !blocked {
                self.in_flight(turn.session, InFlight::Execute);
                self.run(&mut turn)?;
                self.landed();
                self.charge_time();
            }
            Ok(served)
        });
        self.state.current = Off::NULL;
        match served.and_then(|served| self.detach(turn, served)) {
            Ok(served) => served,
            // Not even the client's own buffers can be kept: it is the one that has to go.
            Err(_) => {
                self.abandon();
                Served::Close
            }
        }
    }

    /// Has the commands that ran in a turn share its time: one reading of the clock for all.
    #[inline(always)]
    fn charge_time(&mut self) {
        if self.state.ledger.owes_time() {
            let elapsed = self.state.elapsed_ns();
            self.state.ledger.charge(&mut self.arena, elapsed);
        }
    }

    /// Commits an empty transaction that only publishes where the turn stands.
    #[inline(always)]
    pub(super) fn publish(&mut self, turn: &Turn) {
        if !shm::CRASH_SAFE {
            return;
        }
        let payload = turn.payload(&self.output);
        self.arena.begin().commit(&payload);
    }

    /// Forgets a turn whose session is about to be closed.
    fn abandon(&mut self) {
        self.landed();
        self.output.truncate(self.output.start());
        let payload = between(0, self.output.segments());
        self.arena.begin().commit(&payload);
    }

    fn attach(&mut self, session: Off<Session>) -> Turn {
        let record = self.arena.get(session);
        let (block, length) = (record.input.get(), record.input_len.get().to_native());
        let mut turn = Turn {
            session,
            large: false,
            position: 0,
            length: 0,
            read_bytes: 0,
            decoder: Decoder::new(),
            had_block: !block.is_null(),
            closing: false,
            postponed: false,
        };
        if turn.had_block {
            turn.decoder = Decoder::from_words(record.decoder.get().map(|word| word.to_native()));
            turn.length = length as usize;
            turn.large = length >= LARGE_INPUT;
            if !turn.large {
                let bytes = self.arena.bytes(block, length as usize);
                self.input.bytes_mut()[..length as usize].copy_from_slice(bytes);
            }
        }
        self.publish(&turn);
        self.state.current = session;
        turn
    }

    fn read<S: Stream>(&mut self, turn: &mut Turn, stream: &mut S) -> Result<Served, OutOfMemory> {
        self.in_flight(turn.session, InFlight::Read);
        let (result, room) = if turn.large {
            let room = self.grow_block(turn)?;
            let block = self.arena.get(turn.session).input.get();
            let from = turn.length as u64;
            let buffer = self.arena.spare_bytes(block, from, from + room as u64);
            (stream.receive(buffer), room)
        } else {
            let buffer = &mut self.input.bytes_mut()[turn.length..];
            let room = buffer.len();
            (stream.receive(buffer), room)
        };
        self.state.advance_clock();
        let read = match result {
            Ok(0) => {
                self.landed();
                return Ok(Served::Close);
            }
            Ok(read) => read,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.landed();
                return Ok(Served::Drained);
            }
            Err(_) => {
                self.landed();
                return Ok(Served::Close);
            }
        };
        self.note_read(turn, read)?;
        self.landed();
        if turn.large && self.exceeds_input_limit(turn, turn.decoder.waiting(turn.length as u64)) {
            return Ok(Served::Close);
        }
        let root = self.root;
        bump(
            &mut self.arena,
            field!(field!(root, Root.counters), Counters.input_bytes),
            read as u64,
        );
        let active = field!(turn.session, Session.active_ms);
        self.arena.hint(active, I64::from_native(self.state.now_ms));
        Ok(if read == room { Served::More } else { Served::Drained })
    }

    /// Whether more input waits (for the end of its request, or for a blocked client) than
    /// `client-query-buffer-limit` allows, which only input in a block of its own can.
    fn exceeds_input_limit(&self, turn: &Turn, waiting: u64) -> bool {
        let exceeds = waiting > self.state.config.client_query_buffer_limit();
        if exceeds {
            tracing::warn!(
                client = self.arena.get(turn.session).id.to_native(),
                bytes = waiting,
                "closing a client: its unread input exceeds client-query-buffer-limit"
            );
        }
        exceeds
    }

    /// Runs every complete request.
    fn run(&mut self, turn: &mut Turn) -> Result<(), OutOfMemory> {
        let mut looked_at = 0;
        loop {
            debug_assert!(!shm::CRASH_SAFE || self.arena.payload() == turn.payload(&self.output));
            if turn.position == turn.length {
                return Ok(());
            }
            // Not before a first request: it may be the only one.
            if turn.position > looked_at {
                looked_at = self.look_ahead(turn);
            }
            let limits = Limits {
                max_bulk_len: (self.state.config.proto_max_bulk_len() as i64).min(LARGEST_BULK),
                auth_required: self.state.password
                    && !self.arena.get(turn.session).is(flag::AUTHENTICATED),
            };
            let bytes = &input_of(&self.arena, &self.input, turn)[turn.position..turn.length];
            match turn.decoder.decode(bytes, &limits, &mut self.argv) {
                Decoded::Complete { consumed } => {
                    if self.run_one(turn, consumed, dispatch::process)?.is_break() {
                        return Ok(());
                    }
                }
                Decoded::Incomplete { .. } => return Ok(()),
                Decoded::Error(error) => {
                    let message = [b"ERR ".as_slice(), &error.message()].concat();
                    return self.refuse(turn, &message);
                }
            }
            if self.output.bytes().len() >= SET_ASIDE_AT {
                self.set_aside(turn)?;
                if self.arena.get(turn.session).is(flag::CLOSE_ASAP) {
                    // It has more unsent than it may: nothing more is run for it.
                    turn.closing = true;
                    turn.position = turn.length;
                    return Ok(());
                }
            }
        }
    }

    /// Replies with an error after which the connection is closed, and drops the rest of the input.
    pub(super) fn refuse(&mut self, turn: &mut Turn, message: &[u8]) -> Result<(), OutOfMemory> {
        let silent = flag::REPLY_OFF | flag::REPLY_SKIP;
        self.output.mute(self.arena.get(turn.session).is(silent));
        Reply::new(&mut self.output, Protocol::Resp2).coded_error(message);
        turn.closing = true;
        turn.position = turn.length;
        let (session, root) = (turn.session, self.root);
        let payload = turn.payload(&self.output);
        let mut tx = self.arena.begin();
        statistics::count_error(&mut tx, root, message);
        session::change_flags(&mut tx, session, 0, flag::CLOSE_AFTER_REPLY)?;
        tx.commit(&payload);
        Ok(())
    }

    /// Runs the request whose arguments were decoded, by `process`.
    #[inline]
    pub(super) fn run_one(
        &mut self,
        turn: &mut Turn,
        consumed: usize,
        process: impl FnOnce(&mut Cx<'_>) -> Result<Done, Fail>,
    ) -> Result<ControlFlow<()>, OutOfMemory> {
        if self.argv.is_empty() {
            turn.position += consumed;
            self.publish(turn);
            return Ok(ControlFlow::Continue(()));
        }
        let bytes = &input_of(&self.arena, &self.input, turn)[turn.position..turn.length];
        let (source, ranges) = self.argv.parts(bytes);
        let record = self.arena.get(turn.session);
        let flags = record.flags.get().to_native();
        let protocol = dispatch::protocol_of(record.protocol.get());
        let index = record.database.get().to_native();
        let database = crate::root::database(&self.arena, self.root, index);
        self.output.mute(flags & (flag::REPLY_OFF | flag::REPLY_SKIP) != 0);
        let mut cx = Cx {
            args: Args::new(source, ranges),
            tx: self.arena.begin(),
            reply: Reply::new(&mut self.output, protocol),
            state: &mut self.state,
            command: &table::all()[0],
            root: self.root,
            session: turn.session,
            database,
            database_index: index,
            in_exec: false,
            dirty: 0,
        };
        let written = cx.reply.sink().len();
        let point = cx.state.point();
        let done = match process(&mut cx) {
            Ok(done) => done,
            Err(fail) => {
                cx.tx.rollback_all();
                cx.state.take_back(&cx.tx, cx.root, &point);
                cx.reply.sink().truncate(written);
                dispatch::fail_whole(&mut cx, &fail)?;
                Done::Replied
            }
        };
        if done == Done::Postponed {
            cx.tx.rollback_all();
            turn.postponed = true;
            return Ok(ControlFlow::Break(()));
        }
        // A reply that was cut short would shift all that follow.
        cx.reply.sink().check()?;
        let flags = next_reply_mode(&mut cx)?;
        let end = cx.reply.sink().len();
        let tx = cx.tx;
        turn.position += consumed;
        turn.closing = flags & (flag::CLOSE_AFTER_REPLY | flag::CLOSE_ASAP) != 0;
        if turn.closing {
            turn.position = turn.length;
        }
        tx.commit_first(turn.progress(end));
        let ends = turn.closing || flags & flag::BLOCKED != 0;
        Ok(if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Moves what the turn has replied so far to the session's own output: there is much of it, or
    /// older output waits there.
    pub(super) fn set_aside(&mut self, turn: &Turn) -> Result<(), OutOfMemory> {
        let (start, segments) = (self.output.start(), self.output.segments());
        let mut tx = self.arena.begin();
        output::append(&mut tx, turn.session, self.output.bytes())?;
        limits::check(&mut tx, &mut self.state, turn.session)?;
        tx.commit(&turn.payload_at(start, start, segments));
        self.output.truncate(start);
        if segments == 0 {
            self.output.clear();
        }
        Ok(())
    }

    /// Ends the turn: its replies become a segment, and what is left of the input goes to a block of
    /// the session.
    fn detach(&mut self, turn: Turn, served: Served) -> Result<Served, OutOfMemory> {
        let session = turn.session;
        if self.arena.get(session).is(flag::CLOSE_ASAP) {
            // Closed without another word: what the turn has replied is dropped.
            self.output.truncate(self.output.start());
        }
        let slot = self.arena.get(session).slot.to_native();
        // Behind an older segment of its own there can be no second one: what the client does not
        // take of the first has to come before it.
        let queued = output::is_pending(&self.arena, session) || self.batch.holds(slot);
        if !self.output.is_empty() && queued {
            self.set_aside(&turn)?;
        }
        let mut tx = self.arena.begin();
        let waited = flag::POSTPONED | flag::RESUMED;
        let had_to_go_on = tx.get(session).is(waited);
        save_input(&mut tx, &self.input, &turn)?;
        if turn.postponed {
            postpone(&mut tx, session, self.state.read_at_ns())?;
        } else if had_to_go_on {
            session::change_flags(&mut tx, session, waited, 0)?;
            // It was not idle while it waited, although nothing was read from it.
            let active = field!(session, Session.active_ms);
            tx.hint(active, I64::from_native(self.state.now_ms));
        }
        let close = tx.get(session).is(flag::CLOSE_ASAP);
        let look = turn.closing || output::is_pending(&tx, session);
        let replied = !self.output.is_empty();
        if replied {
            self.output.push_segment(session.raw());
            self.batch.note(slot);
        }
        tx.commit(&between(0, self.output.segments()));
        Ok(match served {
            _ if close => Served::Close,
            served if look => {
                Served::LookAt { more: served == Served::More && !turn.closing && !turn.postponed }
            }
            _ if turn.postponed => Served::Postponed,
            served => served,
        })
    }
}

/// The bytes that a turn works on.
///
/// They stay readable while commands write the arena: the input buffer is no block, and a session's
/// own block of input is freed at the end of the turn at the earliest.
pub(super) fn input_of<'b>(arena: &Arena, input: &'b shm::io::IoBuffer, turn: &Turn) -> &'b [u8] {
    if !turn.large {
        return input.bytes();
    }
    let block = arena.get(turn.session).input.get();
    // SAFETY: the block belongs to the session alone; nothing but this turn's read and its end
    // writes or frees it, and the slice is used for one request in between. A session that closes
    // itself meanwhile is only flagged.
    unsafe { arena.pinned(block, turn.length as u64) }
}

/// Notes that a session's command is held back, and since when if it was not before.
#[cold]
fn postpone(tx: &mut Tx<'_>, session: Off<Session>, now_ns: u64) -> Result<(), OutOfMemory> {
    if !tx.get(session).is(flag::POSTPONED) {
        tx.set(field!(session, Session.postponed_ns), U64::from_native(now_ns))?;
    }
    session::change_flags(tx, session, flag::RESUMED, flag::POSTPONED)
}

/// `CLIENT REPLY SKIP` holds for one command, which for a blocked client is not over; gives the
/// session's flags.
#[inline(always)]
fn next_reply_mode(cx: &mut Cx<'_>) -> Result<u64, OutOfMemory> {
    let flags = cx.session_record().flags.get().to_native();
    let skips = flag::REPLY_SKIP | flag::REPLY_SKIP_NEXT;
    if flags & skips != 0 && flags & flag::BLOCKED == 0 {
        session::step_reply_mode(&mut cx.tx, cx.session)?;
    }
    Ok(flags)
}
