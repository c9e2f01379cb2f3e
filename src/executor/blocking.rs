//! Blocked clients: blocking one, serving those whose keys are ready, and letting them go.
//!
//! Who feeds a key serves those who wait for it within the same transaction, behind the command (or
//! the whole `EXEC`): so there is no instant at which an element is gone and its receiver has no
//! reply. A client that was let go has its reply in its own output, and goes on with what it had sent
//! behind its command in a turn of its own.

use shm::{I64, Off, OutOfMemory, Tx, field};

use super::args::Args;
use super::cx::{Cx, Fail, Outcome};
use super::state::{Action, State};
use super::{Executor, dispatch, limits};
use crate::commands::table::{self, Command, Lookup};
use crate::commands::{blocking as commands, errors};
use crate::keyspace::{Entry, EntryView, Type};
use crate::proto::reply::{Protocol, Reply};
use crate::root::{Counters, Root};
use crate::session::waits::{self, Kind, Place, Queue, Request, Wait, Wanted};
use crate::session::{self, Session, deadlines, flag, output, queue};
use crate::statistics;

/// A command at work for a blocked client, while another's transaction is open.
#[derive(Debug, Default)]
pub struct Serving {
    /// Where the client's reply begins in the output buffer.
    from: usize,
    /// Messages meanwhile to the session whose turn it is.
    meanwhile: Vec<u8>,
}

/// An XREADGROUP waits for a stream that is gone, or is something else.
const STREAM_GONE: &[u8] = b"UNBLOCKED the stream key no longer exists";

impl<'a> Cx<'a> {
    /// Blocks the session on keys of its database until it is served, or until the deadline
    /// (milliseconds since the epoch). The handler that calls this writes no reply, and is not
    /// within `EXEC`.
    pub fn block(&mut self, kind: Kind, keys: &[Wanted<'a>], deadline_ms: Option<i64>) -> Outcome {
        debug_assert!(!self.in_exec, "a queued command blocks");
        let request = Request { kind, database: self.database_index, keys, deadline_ms };
        Ok(waits::enter(&mut self.tx, self.root, self.session, &self.args, &request)?)
    }

    /// Notes that there may be something for those who wait for a key of the session's database: a
    /// stream has an entry more, or a group less. New keys are noted by [`add_in`](Cx::add_in).
    #[inline(always)]
    pub fn key_ready(&mut self, name: &[u8]) -> Outcome {
        self.key_ready_in(self.database_index, name)
    }

    /// [`key_ready`](Cx::key_ready) for a key of another database.
    #[inline(always)]
    pub fn key_ready_in(&mut self, index: u32, name: &[u8]) -> Outcome {
        if self.somebody_waits_for(Type::Stream) {
            make_ready(&mut self.tx, self.root, index, name)?;
        }
        Ok(())
    }

    /// Whether any client waits for a value of that type, whatever its key. As in Redis this is what
    /// makes a key ready; when it is looked at, at the end of the command or of the `EXEC`, it may hold a
    /// value of another type, and then those are served who wait for that.
    fn somebody_waits_for(&self, value: Type) -> bool {
        let root = self.tx.get(self.root);
        let count = match value {
            Type::List => &root.blocked_lists,
            Type::Zset => &root.blocked_zsets,
            Type::Stream => &root.blocked_streams,
            _ => return false,
        };
        count.get().to_native() != 0
    }

    /// Whether any client waits for any key.
    #[inline(always)]
    pub fn somebody_waits(&self) -> bool {
        self.tx.get(self.root).waiting.len.get().to_native() != 0
    }

    /// Notes that an entry has become a key's: whoever waits for a value of its type is served.
    #[cold]
    pub(super) fn note_new(&mut self, index: u32, name: &[u8], entry: Off<Entry>) -> Outcome {
        let value = EntryView::new(&self.tx, entry).kind().value_type();
        if self.somebody_waits_for(value) {
            make_ready(&mut self.tx, self.root, index, name)?;
        }
        Ok(())
    }

    /// Notes that an entry is about to be taken from its key: who waits for a group of the stream
    /// waits in vain.
    #[inline(always)]
    pub fn note_gone(&mut self, index: u32, entry: Off<Entry>) -> Outcome {
        // Only those who wait for streams hear of it, but then all who wait for the key are looked at, as
        // in Redis.
        let waits = self.tx.get(self.root).blocked_streams.get().to_native() != 0;
        if waits { self.note_end(index, entry) } else { Ok(()) }
    }

    #[cold]
    fn note_end(&mut self, index: u32, entry: Off<Entry>) -> Outcome {
        let entry = EntryView::new(&self.tx, entry);
        if entry.kind().value_type() == Type::Stream {
            let name = entry.key().to_vec();
            make_ready(&mut self.tx, self.root, index, &name)?;
        }
        Ok(())
    }

    /// Notes that a database is about to be emptied, or replaced by another: keys of streams that
    /// somebody waits for are ready if they will be none any more.
    pub fn note_replaced(&mut self, index: u32, by: Option<u32>) -> Outcome {
        let is_stream =
            |cx: &Self, index: u32, name: &[u8]| type_in(cx, index, name) == Some(Type::Stream);
        self.ready_where(index, |cx, name| {
            is_stream(cx, index, name) && !by.is_some_and(|by| is_stream(cx, by, name))
        })
    }

    /// Notes that a database has got another content.
    pub fn note_filled(&mut self, index: u32) -> Outcome {
        self.ready_where(index, |cx, name| {
            type_in(cx, index, name).is_some_and(|value| cx.somebody_waits_for(value))
        })
    }

    fn ready_where(&mut self, index: u32, wanted: impl Fn(&Self, &[u8]) -> bool) -> Outcome {
        let mut found = Vec::new();
        waits::for_each(&self.tx, self.root, |queue| {
            let own = self.tx.get(queue).database.to_native() == index;
            if own && wanted(self, waits::name(&self.tx, queue)) {
                found.push(queue);
            }
        });
        for queue in found {
            waits::make_ready(&mut self.tx, self.root, queue)?;
        }
        Ok(())
    }
}

/// The type of a key's value, whether it has expired or not.
fn type_in(cx: &Cx<'_>, index: u32, name: &[u8]) -> Option<Type> {
    let database = crate::root::database(&cx.tx, cx.root, index);
    let found = crate::keyspace::find(&cx.tx, database, cx.tx.hash(name), name)?;
    Some(EntryView::new(&cx.tx, found.entry).kind().value_type())
}

fn make_ready(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    index: u32,
    name: &[u8],
) -> Result<(), OutOfMemory> {
    match waits::find(tx, root, index, name) {
        Some(queue) => waits::make_ready(tx, root, queue),
        None => Ok(()),
    }
}

/// Who a command is run for.
struct Seat<'a> {
    session: Off<Session>,
    args: Args<'a>,
    command: &'static Command,
    database_index: u32,
    protocol: Protocol,
    muted: bool,
}

impl<'a> Seat<'a> {
    fn of(cx: &mut Cx<'a>) -> Seat<'a> {
        Seat {
            session: cx.session,
            args: cx.args,
            command: cx.command,
            database_index: cx.database_index,
            protocol: cx.reply.protocol(),
            muted: cx.reply.sink().is_muted(),
        }
    }

    /// The seat of a blocked session. None if this build does not know its command.
    fn of_blocked(cx: &Cx<'_>, wait: Off<Wait>) -> Option<Seat<'a>> {
        let record = cx.tx.read(wait);
        let session = cx.tx.get(record.session);
        let (name, subcommand) = queue::name(&cx.tx, record.command);
        let Lookup::Found(command) = table::lookup(name, subcommand) else { return None };
        Some(Seat {
            session: record.session,
            // SAFETY: `serve_ready` gives the feeder's arguments back before the transaction ends.
            args: unsafe { queue::pinned(&cx.tx, record.command) },
            command,
            database_index: session.database.get().to_native(),
            protocol: dispatch::protocol_of(session.protocol.get()),
            muted: is_muted(session),
        })
    }

    fn take(self, cx: &mut Cx<'a>) {
        cx.session = self.session;
        cx.args = self.args;
        cx.command = self.command;
        cx.database_index = self.database_index;
        cx.database = crate::root::database(&cx.tx, cx.root, self.database_index);
        cx.reply.set_protocol(self.protocol);
        cx.reply.sink().mute(self.muted);
    }
}

fn is_muted(session: &Session) -> bool {
    session.is(flag::REPLY_OFF | flag::REPLY_SKIP)
}

/// Serves everybody for whom there is something: to be called behind the command that fed a key, in
/// its transaction. Keys become ready in the order in which they were fed; those that are fed by
/// serving others (`BLMOVE`) come behind.
#[cold]
pub fn serve_ready(cx: &mut Cx<'_>) -> Outcome {
    let feeder = Seat::of(cx);
    cx.state.serving = Some(Serving::default());
    let outcome = serve_all(cx);
    let serving = cx.state.serving.take();
    feeder.take(cx);
    outcome?;
    cx.push_raw(&serving.unwrap_or_default().meanwhile);
    Ok(cx.reply.sink().check()?)
}

fn serve_all(cx: &mut Cx<'_>) -> Outcome {
    while let Some(queue) = waits::take_ready(&mut cx.tx, cx.root)? {
        // SAFETY: the name is used for this queue only, within the transaction.
        let key = unsafe { waits::pinned_name(&cx.tx, queue) };
        serve_queue(cx, queue, key)?;
    }
    Ok(())
}

fn serve_queue<'a>(cx: &mut Cx<'a>, queue: Off<Queue>, key: &'a [u8]) -> Outcome {
    cx.database_index = cx.tx.get(queue).database.to_native();
    cx.database = crate::root::database(&cx.tx, cx.root, cx.database_index);
    let index = cx.database_index;
    let value = type_of(cx, key)?;
    let mut at = cx.tx.get(queue).first.get();
    while !at.is_null() {
        let record = cx.tx.read(at);
        let kind = Kind::from_number(cx.tx.get(record.wait).kind);
        if waits_for(kind) == value {
            serve_place(cx, at, kind, key)?;
            if value.is_some() && type_of(cx, key)? != value {
                break;
            }
        }
        at = record.next.get();
    }
    if value != Some(Type::Stream) {
        let root = cx.root;
        end_groups(&mut cx.tx, cx.state, root, index, key)?;
    }
    Ok(())
}

/// The type of what a key of the present database holds.
fn type_of<'a>(cx: &mut Cx<'a>, key: &'a [u8]) -> Result<Option<Type>, Fail> {
    Ok(cx.peek(key)?.found.map(|found| cx.entry(&found).kind().value_type()))
}

fn waits_for(kind: Kind) -> Option<Type> {
    match kind {
        Kind::List => Some(Type::List),
        Kind::Zset => Some(Type::Zset),
        Kind::Stream | Kind::Group => Some(Type::Stream),
        Kind::Replicas => None,
    }
}

/// Runs what a blocked session waits to have done to a key, unless there is nothing for it; its
/// reply goes to the session's output, and it waits no more.
fn serve_place<'a>(cx: &mut Cx<'a>, at: Off<Place>, kind: Kind, key: &'a [u8]) -> Outcome {
    let place = cx.tx.read(at);
    let session = cx.tx.get(place.wait).session;
    if cx.tx.get(session).is(flag::CLOSE_AFTER_REPLY | flag::CLOSE_ASAP) {
        return Ok(());
    }
    match Seat::of_blocked(cx, place.wait) {
        Some(seat) => seat.take(cx),
        // Only its deadline can end this wait.
        None => return Ok(()),
    }
    let (point, state) = (cx.tx.savepoint(), cx.state.point());
    let from = cx.reply.sink().len();
    let told = cx.state.serving.as_mut().map_or(0, |serving| {
        serving.from = from;
        serving.meanwhile.len()
    });
    let dirty = cx.dirty;
    let after = place.after.map(|part| part.to_native());
    let outcome = commands::serve(cx, kind, key, (after[0], after[1]));
    let outcome = outcome.and_then(|served| {
        cx.reply.sink().check()?;
        Ok(served)
    });
    match outcome {
        Ok(false) => return Ok(()),
        // Of single elements of lists that are given to who waits Redis counts no change.
        Ok(true) if kind == Kind::List && cx.command.full_name != "blmpop" => {}
        Ok(true) => {
            let counter = field!(field!(cx.root, Root.counters), Counters.dirty);
            cx.count(counter, cx.dirty.saturating_sub(dirty));
        }
        Err(Fail::Oom) => return Err(Fail::Oom),
        Err(fail) => {
            cx.tx.rollback_to(point);
            cx.reply.sink().truncate(from);
            cx.state.take_back(&cx.tx, cx.root, &state);
            if let Some(serving) = &mut cx.state.serving {
                serving.meanwhile.truncate(told);
            }
            dispatch::reply_error(cx, &fail);
        }
    }
    cx.dirty = dirty;
    cx.state.ledger.unblocked(&mut cx.tx, cx.root, cx.command);
    deliver(cx)?;
    let root = cx.root;
    Ok(let_go(&mut cx.tx, cx.state, root, session)?)
}

/// Moves what a served client has been replied so far to its session's output.
fn deliver(cx: &mut Cx<'_>) -> Outcome {
    let Some(serving) = &cx.state.serving else { return Ok(()) };
    if cx.session == cx.state.current {
        return Ok(());
    }
    let from = serving.from;
    cx.reply.sink().check()?;
    output::append(&mut cx.tx, cx.session, cx.reply.sink().since(from))?;
    cx.reply.sink().truncate(from);
    Ok(limits::check(&mut cx.tx, cx.state, cx.session)?)
}

/// While a client is being served: makes way for a message, which comes behind what was replied so
/// far.
pub(super) fn before_message(cx: &mut Cx<'_>) -> Outcome {
    if cx.state.serving.is_some() { deliver(cx) } else { Ok(()) }
}

/// Sends messages to the session whose turn it is: at once, or behind the clients being served.
pub(super) fn own_messages(cx: &mut Cx<'_>, messages: &[u8]) {
    match &mut cx.state.serving {
        Some(serving) => serving.meanwhile.extend_from_slice(messages),
        None => cx.push_raw(messages),
    }
}

/// Ends the wait of a session whose reply is in its output: it goes on with what it has sent since.
fn let_go(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    session: Off<Session>,
) -> Result<(), OutOfMemory> {
    waits::leave(tx, root, session)?;
    session::step_reply_mode(tx, session)?;
    // The client has not been idle: it waited for the server.
    tx.hint(field!(session, Session.active_ms), I64::from_native(state.now_ms));
    if session == state.current {
        return Ok(());
    }
    let record = tx.get(session);
    let (slot, input) = (record.slot.to_native(), record.input_len.get().to_native());
    if output::is_pending(tx, session) {
        state.actions.push(Action::Flush(slot));
    }
    if input > 0 {
        session::change_flags(tx, session, 0, flag::RESUMED)?;
        state.actions.push(Action::Resume(slot));
    }
    Ok(())
}

/// Replies to a blocked session, and ends its wait.
fn dismiss(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    session: Off<Session>,
    encode: impl FnOnce(&mut Reply<'_, Vec<u8>>),
) -> Result<(), OutOfMemory> {
    let record = tx.get(session);
    let protocol = dispatch::protocol_of(record.protocol.get());
    if !is_muted(record) {
        let mut bytes = Vec::new();
        encode(&mut Reply::new(&mut bytes, protocol));
        output::append(tx, session, &bytes)?;
        limits::check(tx, state, session)?;
    }
    let_go(tx, state, root, session)
}

/// Fails a blocked session's command.
fn fail(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    session: Off<Session>,
    error: &[u8],
) -> Result<(), OutOfMemory> {
    let wait = tx.get(session).wait.get();
    let (name, subcommand) = queue::name(tx, tx.get(wait).command);
    if let Lookup::Found(command) = table::lookup(name, subcommand) {
        state.ledger.failed = true;
        state.ledger.unblocked(tx, root, command);
    }
    statistics::count_error(tx, root, error);
    dismiss(tx, state, root, session, |reply| reply.coded_error(error))
}

/// Replies to a blocked session as when its time is up, and ends its wait.
fn time_out(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    session: Off<Session>,
) -> Result<(), OutOfMemory> {
    let kind = Kind::from_number(tx.get(tx.get(session).wait.get()).kind);
    dismiss(tx, state, root, session, |reply| match kind {
        Kind::Replicas => reply.integer(0),
        _ => reply.null_array(),
    })
}

/// Fails every XREADGROUP that waits for a key, which is no stream any more.
pub(super) fn end_groups(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    index: u32,
    key: &[u8],
) -> Result<(), OutOfMemory> {
    if tx.get(root).blocked_streams.get() == 0 {
        return Ok(());
    }
    let Some(queue) = waits::find(tx, root, index, key) else { return Ok(()) };
    let mut at = tx.get(queue).first.get();
    while !at.is_null() {
        let place = tx.read(at);
        let wait = tx.read(place.wait);
        if Kind::from_number(wait.kind) == Kind::Group {
            fail(tx, state, root, wait.session, STREAM_GONE)?;
        }
        at = place.next.get();
    }
    Ok(())
}

/// `CLIENT UNBLOCK`: has a session wait no more, as if its time were up or with an error. False if
/// it is not blocked.
pub fn unblock(cx: &mut Cx<'_>, session: Off<Session>, error: bool) -> Result<bool, Fail> {
    if !cx.tx.get(session).is(flag::BLOCKED) {
        return Ok(false);
    }
    let (root, state) = (cx.root, &mut *cx.state);
    if error {
        fail(&mut cx.tx, state, root, session, errors::UNBLOCKED.as_bytes())?;
    } else {
        time_out(&mut cx.tx, state, root, session)?;
    }
    // What failed was not the command that runs.
    cx.state.ledger.failed = false;
    Ok(true)
}

impl Executor {
    /// When the next blocked client's time is up, milliseconds since the epoch.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let (deadline, _) = deadlines::first(&self.arena, self.root)?;
        // A client's time is up when the deadline is past.
        Some(deadline.saturating_add(1).max(self.time_outs_from_ms))
    }

    /// Lets blocked clients go whose time is up, some of them. Between turns.
    pub fn time_out_blocked(&mut self) {
        const AT_ONCE: usize = 256;
        const RETRY_MS: i64 = 100;
        debug_assert!(self.state.current.is_null(), "a turn is open");
        for _ in 0..AT_ONCE {
            let now = self.state.now_ms;
            let Some((deadline, wait)) = deadlines::first(&self.arena, self.root) else { return };
            if deadline >= now || self.time_outs_from_ms > now {
                return;
            }
            let (root, session) = (self.root, self.arena.get(wait).session);
            let (point, state) = (self.state.point(), &mut self.state);
            let done = self.arena.transact(|tx| time_out(tx, state, root, session));
            if done.is_err() {
                // No memory for the reply: there may be some later.
                self.state.take_back(&self.arena, root, &point);
                self.time_outs_from_ms = now + RETRY_MS;
            }
        }
    }

    /// Whether a session was blocked and has input to go on with, of which no poll tells.
    pub fn has_to_go_on(&self, slot: u32) -> bool {
        self.session(slot).is_some_and(|session| self.arena.get(session).is(flag::RESUMED))
    }
}
