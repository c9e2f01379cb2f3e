//! Commands that wait: those that `MULTI` has queued, and those of blocked sessions.
//!
//! A queued command is one block: a header, where each argument stands, and the arguments' bytes.
//! Those of `MULTI` form a list from the session on.

use shm::{Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use super::Session;
use crate::executor::Args;
use crate::proto::request::ArgRange;

record! {
    /// A queued command. Its [`ArgRange`]s follow, then the bytes they refer to.
    pub struct Queued {
        /// The next command.
        pub next: Slot<Off<Queued>>,
        /// Number of arguments, the command's name among them.
        pub count: U32,
        /// Unused.
        pub reserved: U32,
        /// Bytes of all arguments.
        pub bytes: U64,
    }
}

const HEADER: u64 = size_of::<Queued>() as u64;
const RANGE: u64 = size_of::<ArgRange>() as u64;

// What stands in the arena must be the same in every build.
const _: () = assert!(size_of::<usize>() == 8 && RANGE == 16 && HEADER.is_multiple_of(8));

fn bytes_at(count: u64) -> u64 {
    HEADER + count * RANGE
}

/// Bytes of a command's block.
pub fn size(view: &View, command: Off<Queued>) -> u64 {
    let record = view.get(command);
    bytes_at(record.count.to_native().into()) + record.bytes.to_native()
}

/// Adds a command at the end of a session's queue.
pub fn push(tx: &mut Tx<'_>, session: Off<Session>, args: &Args<'_>) -> Result<(), OutOfMemory> {
    let command = store(tx, args)?;
    let bytes = tx.get(command).bytes.to_native();
    link(tx, session, command, bytes)
}

/// Makes a command that stands in no queue.
pub fn store(tx: &mut Tx<'_>, args: &Args<'_>) -> Result<Off<Queued>, OutOfMemory> {
    let count = args.len() as u64;
    let bytes: u64 = args.from(0).map(|arg| arg.len() as u64).sum();
    let block = tx.alloc(bytes_at(count) + bytes)?;
    let record = Queued {
        next: Slot::new(Off::NULL),
        count: U32::from_native(count as u32),
        reserved: U32::from_native(0),
        bytes: U64::from_native(bytes),
    };
    tx.init(&block, 0, record);
    let mut start = 0;
    for (number, arg) in args.from(0).enumerate() {
        let range = [start, arg.len() as u64].map(U64::from_native);
        tx.init(&block, HEADER + number as u64 * RANGE, range);
        tx.init_bytes(&block, bytes_at(count) + start, arg);
        start += arg.len() as u64;
    }
    Ok(block.off().cast())
}

fn link(
    tx: &mut Tx<'_>,
    session: Off<Session>,
    command: Off<Queued>,
    bytes: u64,
) -> Result<(), OutOfMemory> {
    let record = tx.read(session);
    let tail: Off<Queued> = record.queue_tail.get();
    if tail.is_null() {
        tx.set(field!(session, Session.queue_head), command)?;
    } else {
        tx.set(field!(tail, Queued.next), command)?;
    }
    tx.set(field!(session, Session.queue_tail), command)?;
    let len = record.queue_len.get().to_native() + 1;
    tx.set(field!(session, Session.queue_len), U32::from_native(len))?;
    let total = record.queue_bytes.get().to_native() + bytes;
    tx.set(field!(session, Session.queue_bytes), U64::from_native(total))
}

/// The queued commands, in order.
pub fn commands(view: &View, session: Off<Session>) -> Vec<Off<Queued>> {
    let mut commands = Vec::with_capacity(view.get(session).queue_len.get().to_native() as usize);
    let mut at: Off<Queued> = view.get(session).queue_head.get();
    while !at.is_null() {
        commands.push(at);
        at = view.get(at).next.get();
    }
    commands
}

/// The first two words of a queued command, by which it is looked up.
pub fn name(view: &View, command: Off<Queued>) -> (&[u8], Option<&[u8]>) {
    let count = view.get(command).count.to_native();
    (argument(view, command, 0), (count > 1).then(|| argument(view, command, 1)))
}

fn argument(view: &View, command: Off<Queued>, number: u64) -> &[u8] {
    let count = u64::from(view.get(command).count.to_native());
    let [start, len]: [U64; 2] = view.read(command.byte_add(HEADER + number * RANGE));
    view.bytes(command.byte_add(bytes_at(count) + start.to_native()), len.to_native() as usize)
}

/// The arguments of a queued command, which stay readable while `EXEC` changes the arena.
///
/// # Safety
///
/// The arguments are not used beyond the transaction in which they were taken out.
pub unsafe fn pinned<'b>(view: &View, command: Off<Queued>) -> Args<'b> {
    let record = view.read(command);
    let count = u64::from(record.count.to_native());
    // SAFETY: the block is the session's alone. Its content was written before it was linked, and
    // nothing writes it ever after; it is freed by a transaction of the session's own (`EXEC`,
    // `DISCARD`, the session's end), and a block that a transaction frees stays as it is until the
    // commit, behind which the caller does not use it.
    let (ranges, bytes) = unsafe {
        (
            view.pinned(command.byte_add(HEADER), count * RANGE),
            view.pinned(command.byte_add(bytes_at(count)), record.bytes.to_native()),
        )
    };
    let place = ranges.as_ptr().cast::<ArgRange>();
    assert!(place.is_aligned(), "a queued command is not where blocks are");
    // SAFETY: aligned (just checked; blocks and the header are multiples of 8 bytes), `count` ranges
    // were written there as pairs of 64-bit numbers, which is what `ArgRange` is, and they live as
    // long as `ranges`. That they lie within `bytes` is checked whenever one is used.
    let ranges = unsafe { std::slice::from_raw_parts(place, count as usize) };
    Args::new(bytes, ranges)
}

/// Empties the queue.
pub fn clear(tx: &mut Tx<'_>, session: Off<Session>) -> Result<(), OutOfMemory> {
    if tx.get(session).queue_head.get().is_null() {
        return Ok(());
    }
    for command in commands(tx, session) {
        tx.free(command)?;
    }
    tx.set(field!(session, Session.queue_head), Off::NULL)?;
    tx.set(field!(session, Session.queue_tail), Off::NULL)?;
    tx.set(field!(session, Session.queue_len), U32::from_native(0))?;
    tx.set(field!(session, Session.queue_bytes), U64::from_native(0))
}
