//! Output that is not in the executor's buffer: what a slow client has not taken, and what others
//! send to a client (messages, invalidations).
//!
//! Chunks form a list. A chunk holds bytes of its own, or refers to a message that several sessions
//! share and that counts its references. Sessions with chunks form a list too, so that a new
//! generation finds them without looking at all sessions.

use shm::{Off, OutOfMemory, Slot, Tx, U64, View, field, record};

use super::Session;
use crate::root::Root;

record! {
    /// A piece of output; bytes of its own follow.
    pub struct Chunk {
        /// The next piece.
        pub next: Slot<Off<Chunk>>,
        /// Bytes of output.
        pub len: Slot<U64>,
        /// Where they are if not behind this record.
        pub shared: Off<Message>,
    }
}

record! {
    /// Bytes that several sessions are to be sent; they follow.
    pub struct Message {
        /// Chunks that refer to it.
        pub references: Slot<U64>,
        /// Bytes.
        pub len: U64,
    }
}

const CHUNK: u64 = size_of::<Chunk>() as u64;
const MESSAGE: u64 = size_of::<Message>() as u64;
/// Small pieces are joined in chunks of about this size.
const JOIN: u64 = 16 << 10;

/// Appends bytes to a session's unsent output.
pub fn append(tx: &mut Tx<'_>, session: Off<Session>, bytes: &[u8]) -> Result<(), OutOfMemory> {
    if bytes.is_empty() {
        return Ok(());
    }
    let rest = fill_tail(tx, session, bytes)?;
    if rest.is_empty() {
        return add_bytes(tx, session, bytes.len() as u64);
    }
    let size = if bytes.len() as u64 + CHUNK > 1024 { rest.len() as u64 + CHUNK } else { 1024 };
    let chunk = tx.alloc(size)?;
    tx.init(
        &chunk,
        0,
        Chunk {
            next: Slot::new(Off::NULL),
            len: Slot::new(U64::from_native(rest.len() as u64)),
            shared: Off::NULL,
        },
    );
    tx.init_bytes(&chunk, CHUNK, rest);
    link(tx, session, chunk.off().cast())?;
    add_bytes(tx, session, bytes.len() as u64)
}

/// Puts bytes before a session's unsent output, of which nothing was sent yet: the rest of replies
/// that are older than what others have sent to it since.
pub fn prepend(tx: &mut Tx<'_>, session: Off<Session>, bytes: &[u8]) -> Result<(), OutOfMemory> {
    let head = tx.get(session).out_head.get();
    if head.is_null() {
        return append(tx, session, bytes);
    }
    debug_assert_eq!(tx.get(session).out_sent.get().to_native(), 0);
    let chunk = tx.alloc(bytes.len() as u64 + CHUNK)?;
    tx.init(
        &chunk,
        0,
        Chunk {
            next: Slot::new(head),
            len: Slot::new(U64::from_native(bytes.len() as u64)),
            shared: Off::NULL,
        },
    );
    tx.init_bytes(&chunk, CHUNK, bytes);
    tx.set(field!(session, Session.out_head), chunk.off().cast())?;
    add_bytes(tx, session, bytes.len() as u64)
}

/// Puts as much as fits behind what the last chunk holds; gives the rest.
fn fill_tail<'b>(
    tx: &mut Tx<'_>,
    session: Off<Session>,
    bytes: &'b [u8],
) -> Result<&'b [u8], OutOfMemory> {
    let tail = tx.get(session).out_tail.get();
    if tail.is_null() || !tx.get(tail).shared.is_null() {
        return Ok(bytes);
    }
    let len = tx.get(tail).len.get().to_native();
    let block = shm::alloc::block_size(tx, tail.cast());
    let room = (block - CHUNK - len).min(JOIN) as usize;
    let (now, rest) = bytes.split_at(room.min(bytes.len()));
    if !now.is_empty() {
        // Behind the chunk's length nothing is reachable, so only the length is logged.
        tx.write_unreachable(tail.byte_add(CHUNK + len), now);
        tx.set(field!(tail, Chunk.len), U64::from_native(len + now.len() as u64))?;
    }
    Ok(rest)
}

/// Makes a message that sessions can share; it lives as long as chunks refer to it, so the caller
/// adds at least one with [`append_shared`].
pub fn share(tx: &mut Tx<'_>, bytes: &[u8]) -> Result<Off<Message>, OutOfMemory> {
    let message = tx.alloc(MESSAGE + bytes.len() as u64)?;
    tx.init(
        &message,
        0,
        Message {
            references: Slot::new(U64::from_native(0)),
            len: U64::from_native(bytes.len() as u64),
        },
    );
    tx.init_bytes(&message, MESSAGE, bytes);
    Ok(message.off().cast())
}

/// Appends a shared message to a session's unsent output.
pub fn append_shared(
    tx: &mut Tx<'_>,
    session: Off<Session>,
    message: Off<Message>,
) -> Result<(), OutOfMemory> {
    let record = tx.read(message);
    let references = record.references.get().to_native() + 1;
    tx.set(field!(message, Message.references), U64::from_native(references))?;
    let chunk = Chunk { next: Slot::new(Off::NULL), len: Slot::new(record.len), shared: message };
    let off = tx.alloc_record(chunk)?;
    link(tx, session, off)?;
    add_bytes(tx, session, record.len.to_native())
}

fn link(tx: &mut Tx<'_>, session: Off<Session>, chunk: Off<Chunk>) -> Result<(), OutOfMemory> {
    let tail = tx.get(session).out_tail.get();
    if tail.is_null() {
        tx.set(field!(session, Session.out_head), chunk)?;
        list_insert(tx, session)?;
    } else {
        tx.set(field!(tail, Chunk.next), chunk)?;
    }
    tx.set(field!(session, Session.out_tail), chunk)
}

fn add_bytes(tx: &mut Tx<'_>, session: Off<Session>, bytes: u64) -> Result<(), OutOfMemory> {
    let total = tx.get(session).out_bytes.get().to_native() + bytes;
    tx.set(field!(session, Session.out_bytes), U64::from_native(total))
}

/// Whether the session has unsent output outside of the executor's buffer.
#[inline(always)]
pub fn is_pending(view: &View, session: Off<Session>) -> bool {
    !view.get(session).out_head.get().is_null()
}

/// The unsent bytes, at most `limit` pieces of them, in order.
pub fn pieces(view: &View, session: Off<Session>, limit: usize) -> Vec<&[u8]> {
    let record = view.get(session);
    let mut chunk = record.out_head.get();
    let mut skip = record.out_sent.get().to_native();
    let mut pieces = Vec::new();
    while !chunk.is_null() && pieces.len() < limit {
        let bytes = chunk_bytes(view, chunk);
        pieces.push(&bytes[skip as usize..]);
        skip = 0;
        chunk = view.get(chunk).next.get();
    }
    pieces
}

fn chunk_bytes(view: &View, chunk: Off<Chunk>) -> &[u8] {
    let record = view.get(chunk);
    let start: Off<u8> = if record.shared.is_null() {
        chunk.byte_add(CHUNK)
    } else {
        record.shared.byte_add(MESSAGE)
    };
    view.bytes(start, record.len.get().to_native() as usize)
}

/// Bytes of unsent output.
pub fn len(view: &View, session: Off<Session>) -> u64 {
    view.get(session).out_bytes.get().to_native()
}

/// Notes that `bytes` of the unsent output were sent; frees what is done with.
pub fn advance(tx: &mut Tx<'_>, session: Off<Session>, bytes: u64) -> Result<(), OutOfMemory> {
    let record = tx.read(session);
    let mut sent = record.out_sent.get().to_native() + bytes;
    let mut chunk = record.out_head.get();
    while !chunk.is_null() {
        let len = tx.get(chunk).len.get().to_native();
        if sent < len {
            break;
        }
        sent -= len;
        let next = tx.get(chunk).next.get();
        free_chunk(tx, chunk)?;
        chunk = next;
    }
    let left = record.out_bytes.get().to_native() - bytes;
    tx.set(field!(session, Session.out_bytes), U64::from_native(left))?;
    tx.set(field!(session, Session.out_sent), U64::from_native(sent))?;
    if chunk != record.out_head.get() {
        tx.set(field!(session, Session.out_head), chunk)?;
    }
    if chunk.is_null() {
        tx.set(field!(session, Session.out_tail), Off::NULL)?;
        list_remove(tx, session)?;
    }
    Ok(())
}

/// Drops all unsent output.
pub fn clear(tx: &mut Tx<'_>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let left = tx.get(session).out_bytes.get().to_native();
    if is_pending(tx, session) {
        advance(tx, session, left)?;
    }
    Ok(())
}

fn free_chunk(tx: &mut Tx<'_>, chunk: Off<Chunk>) -> Result<(), OutOfMemory> {
    let message = tx.get(chunk).shared;
    if !message.is_null() {
        let references = tx.get(message).references.get().to_native() - 1;
        tx.set(field!(message, Message.references), U64::from_native(references))?;
        if references == 0 {
            tx.free(message)?;
        }
    }
    tx.free(chunk)
}

fn list_insert(tx: &mut Tx<'_>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let root = crate::root::of(tx);
    let first = tx.get(root).pending_output.get();
    tx.set(field!(session, Session.out_next), first)?;
    if !first.is_null() {
        tx.set(field!(first, Session.out_previous), session)?;
    }
    tx.set(field!(root, Root.pending_output), session)
}

fn list_remove(tx: &mut Tx<'_>, session: Off<Session>) -> Result<(), OutOfMemory> {
    let root = crate::root::of(tx);
    let (next, previous) = {
        let record = tx.get(session);
        (record.out_next.get(), record.out_previous.get())
    };
    if previous.is_null() {
        tx.set(field!(root, Root.pending_output), next)?;
    } else {
        tx.set(field!(previous, Session.out_next), next)?;
    }
    if !next.is_null() {
        tx.set(field!(next, Session.out_previous), previous)?;
    }
    tx.set(field!(session, Session.out_next), Off::NULL)?;
    tx.set(field!(session, Session.out_previous), Off::NULL)
}
