//! Streams as `DUMP` writes them: nodes as listpacks; and back from bytes that nobody vouches for.

use shm::pack::{self, Item};
use shm::tree;
use shm::{Off, OutOfMemory, Tx, View, field};

use super::check::inspect;
use super::node::{self, NodeView};
use super::{Counts, Id, Stream, change};

pub use super::node::to_listpack;

/// Calls `each` with every node, in order; [`to_listpack`] makes a listpack of it.
pub fn for_each_node(view: &View, stream: Off<Stream>, mut each: impl FnMut(&NodeView<'_>)) {
    tree::for_each(view, field!(stream, Stream.nodes), |view, _, node| {
        each(&NodeView::new(view, node.cast()));
    });
}

/// Why no stream could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The bytes are no stream.
    Damaged,
    /// There is no memory left.
    Oom,
}

impl From<OutOfMemory> for Refused {
    fn from(_: OutOfMemory) -> Refused {
        Refused::Oom
    }
}

/// A stream that is being made; groups are added to [`stream`](Builder::stream) by the functions of
/// [`group`](super::group). Nothing leads to it until [`create_with`](super::create_with); it is lost if
/// the transaction is not rolled back then.
#[derive(Debug)]
pub struct Builder {
    stream: Off<Stream>,
    len: u64,
    first: Option<Id>,
    last: Option<Id>,
}

impl Builder {
    /// An empty stream.
    pub fn new(tx: &mut Tx<'_>) -> Result<Builder, OutOfMemory> {
        let stream = tx.alloc_record(Stream::empty())?;
        Ok(Builder { stream, len: 0, first: None, last: None })
    }

    /// The stream.
    pub fn stream(&self) -> Off<Stream> {
        self.stream
    }

    /// Adds a node, behind the others: its id, and its listpack with header and end.
    ///
    /// # Errors
    ///
    /// If that is no such listpack, or the ids do not ascend.
    pub fn node(&mut self, tx: &mut Tx<'_>, master: Id, listpack: &[u8]) -> Result<(), Refused> {
        let run = unframe(listpack).ok_or(Refused::Damaged)?;
        pack::check(run).ok_or(Refused::Damaged)?;
        let (live, next) = integer(run, 0).ok_or(Refused::Damaged)?;
        let (deleted, next) = integer(run, next).ok_or(Refused::Damaged)?;
        let run = &run[next..];
        let found = inspect(run, master).ok_or(Refused::Damaged)?;
        if (i64::from(found.live), i64::from(found.deleted)) != (live, deleted)
            || self.last.is_some_and(|last| last >= master)
        {
            return Err(Refused::Damaged);
        }
        // A node without entries that are there is of no use, and nothing but trimming leaves one.
        let Some((first, last)) = found.ids else { return Ok(()) };
        let node = node::create(tx, master, &[run], (found.live, found.deleted), 0)?;
        change::add_node(tx, self.stream, node)?;
        self.len += u64::from(found.live);
        self.first = self.first.or(Some(first));
        self.last = Some(last);
        Ok(())
    }

    /// Ends the entries with the numbers that go with them.
    ///
    /// # Errors
    ///
    /// If they do not agree with the nodes.
    pub fn totals(&self, tx: &mut Tx<'_>, counts: Counts, max_deleted: Id) -> Result<(), Refused> {
        if counts.len != self.len || self.last.is_some_and(|last| last > counts.last) {
            return Err(Refused::Damaged);
        }
        change::set_counts(tx, self.stream, counts)?;
        change::set_max_deleted(tx, self.stream, max_deleted)?;
        change::set_first(tx, self.stream, self.first.unwrap_or(Id::MIN))?;
        Ok(())
    }
}

fn integer(run: &[u8], at: usize) -> Option<(i64, usize)> {
    match pack::next(run, at)? {
        (Item::Int(number), next) => Some((number, next)),
        _ => None,
    }
}

/// The items of a listpack, without header and end.
fn unframe(listpack: &[u8]) -> Option<&[u8]> {
    let (header, rest) = listpack.split_at_checked(6)?;
    let size = u32::from_le_bytes(header[..4].try_into().ok()?);
    let (end, run) = rest.split_last()?;
    (size as usize == listpack.len() && *end == 0xff).then_some(run)
}
