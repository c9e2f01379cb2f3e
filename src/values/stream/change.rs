//! Adding, deleting and trimming entries.

use shm::layout::SPAN;
use shm::tree;
use shm::{Off, OutOfMemory, Tx, View, field};

use super::entries::{self, compare_node, node_of};
use super::id::Given;
use super::node::{self, HEADER, Limits, Node, NodeView};
use super::{Counts, Id, Stream, counts, max_deleted};

/// Changes numbers of entries and last id.
pub fn set_counts(tx: &mut Tx<'_>, stream: Off<Stream>, counts: Counts) -> Result<(), OutOfMemory> {
    tx.set(field!(stream, Stream.totals), counts.into())
}

/// Notes the greatest id that was deleted.
pub fn set_max_deleted(tx: &mut Tx<'_>, stream: Off<Stream>, id: Id) -> Result<(), OutOfMemory> {
    tx.set(field!(stream, Stream.max_deleted), id.into())
}

pub(super) fn set_first(tx: &mut Tx<'_>, stream: Off<Stream>, id: Id) -> Result<(), OutOfMemory> {
    tx.set(field!(stream, Stream.first), id.into())
}

/// The id that an entry gets that is added now, at `now_ms`; `None` if there is none, or the one that
/// is given is not greater than the last one.
pub fn next_id(last: Id, given: Option<Given>, now_ms: u64) -> Option<Id> {
    let id = match given {
        Some(Given::Full(id)) => id,
        Some(Given::Milliseconds(ms)) if ms == last.ms => Id { ms, seq: last.seq.checked_add(1)? },
        Some(Given::Milliseconds(ms)) => Id { ms, seq: 0 },
        None if now_ms > last.ms => Id { ms: now_ms, seq: 0 },
        None => last.next()?,
    };
    (id > last).then_some(id)
}

/// Adds an entry with these fields and values, alternating, and an id greater than the last one.
pub fn append<'f>(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    limits: Limits,
    id: Id,
    args: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
) -> Result<(), OutOfMemory> {
    let old = counts(tx, stream);
    let mut tail = tx.get(stream).tail.get();
    if old.len == 0 && !tail.is_null() && id <= Id::from(tx.get(tail).master) {
        drop_deleted(tx, stream)?;
        tail = Off::NULL;
    }
    let text: u64 = args.clone().map(|arg| arg.len() as u64).sum();
    let entry = (!tail.is_null()).then(|| NodeView::new(tx, tail)).and_then(|node| {
        node.takes(text, limits).then(|| node::encode_for(&node, id, args.clone()))
    });
    match entry {
        Some(entry) => append_to(tx, stream, tail, &entry)?,
        None => {
            if !tail.is_null() {
                close(tx, stream, tail)?;
            }
            let mut run = Vec::with_capacity(128);
            node::encode_fields(&mut run, args.clone());
            node::encode_entry(&mut run, id, id, true, args);
            let node = node::create(tx, id, &[&run], (1, 0), 0)?;
            add_node(tx, stream, node)?;
        }
    }
    if old.len == 0 {
        set_first(tx, stream, id)?;
    }
    let Counts { len, added, .. } = old;
    set_counts(tx, stream, Counts { len: len + 1, added: added + 1, last: id })
}

/// Drops all nodes of a stream of which everything was deleted: trimming leaves one with entries that are
/// flagged, behind whose id those that are added from now on need not be if the last id was set back.
fn drop_deleted(tx: &mut Tx<'_>, stream: Off<Stream>) -> Result<(), OutOfMemory> {
    let nodes = field!(stream, Stream.nodes);
    tree::drain_step(tx, nodes, usize::MAX, |tx, _, node| tx.free(node))?;
    find_tail(tx, stream)
}

/// Makes a node the last one of its stream.
pub(super) fn add_node(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    node: Off<Node>,
) -> Result<(), OutOfMemory> {
    let id: Id = tx.get(node).master.into();
    let nodes = field!(stream, Stream.nodes);
    tree::insert(tx, nodes, id.ms, node.cast(), |view, node| compare_node(view, node, id))?;
    tx.set(field!(stream, Stream.tail), node)
}

fn append_to(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    tail: Off<Node>,
    entry: &[u8],
) -> Result<(), OutOfMemory> {
    let fill = tx.read(tail).fill.get();
    let used = fill.bytes.to_native() as usize;
    let (need, mut node) = (used + entry.len(), tail);
    if HEADER + need as u64 > shm::alloc::block_size(tx, tail.cast()) {
        // Half as much again, so that a node that grows by little steps is copied seldom.
        node = node::copy(tx, tail, need as u64 + need as u64 / 2)?;
        replace_tail(tx, stream, tail, node)?;
    }
    tx.write_unreachable(node.byte_add(HEADER + used as u64), entry);
    node::set_fill(tx, node, need, fill.live.to_native() + 1, fill.deleted.to_native())
}

/// Gives back what a node has to spare that nothing is added to any more.
fn close(tx: &mut Tx<'_>, stream: Off<Stream>, tail: Off<Node>) -> Result<(), OutOfMemory> {
    let used = HEADER + u64::from(tx.read(tail).fill.get().bytes.to_native());
    let fitting = shm::alloc::class_of(used).map_or(used, shm::alloc::class_size);
    // A large block is a whole number of spans, which may be more than is asked for.
    let spare = shm::alloc::block_size(tx, tail.cast()) - fitting;
    if spare > 0 && (spare >= SPAN || shm::alloc::class_of(used).is_some()) {
        let node = node::copy(tx, tail, 0)?;
        replace_tail(tx, stream, tail, node)?;
    }
    Ok(())
}

fn replace_tail(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    old: Off<Node>,
    node: Off<Node>,
) -> Result<(), OutOfMemory> {
    let nodes = field!(stream, Stream.nodes);
    let last = tree::select(tx, nodes, tree::len(tx, nodes) - 1);
    let id: Id = tx.get(node).master.into();
    tree::replace(tx, nodes, &last, id.ms, node.cast())?;
    tx.set(field!(stream, Stream.tail), node)?;
    tx.free(old)
}

/// Notes which node is the last one, after nodes were removed.
fn find_tail(tx: &mut Tx<'_>, stream: Off<Stream>) -> Result<(), OutOfMemory> {
    let tail = tree::last(tx, field!(stream, Stream.nodes)).map_or(Off::NULL, |(_, node)| node);
    tx.set(field!(stream, Stream.tail), tail.cast())
}

/// Notes which entry is the first one.
fn find_first(tx: &mut Tx<'_>, stream: Off<Stream>) -> Result<(), OutOfMemory> {
    let first = entries::first(tx, stream).map_or(Id::MIN, |entry| entry.id);
    set_first(tx, stream, first)
}

/// Deletes entries by their ids; says how many were there.
pub fn delete(tx: &mut Tx<'_>, stream: Off<Stream>, ids: &[Id]) -> Result<u64, OutOfMemory> {
    let (mut deleted, mut greatest) = (0, max_deleted(tx, stream));
    let (first, mut is_first) = (super::first_id(tx, stream), false);
    for &id in ids {
        if delete_one(tx, stream, id)? {
            deleted += 1;
            greatest = greatest.max(id);
            is_first |= id == first;
        }
    }
    if deleted > 0 {
        let old = counts(tx, stream);
        set_counts(tx, stream, Counts { len: old.len - deleted, ..old })?;
        set_max_deleted(tx, stream, greatest)?;
        if is_first || old.len == deleted {
            find_first(tx, stream)?;
        }
    }
    Ok(deleted)
}

fn delete_one(tx: &mut Tx<'_>, stream: Off<Stream>, id: Id) -> Result<bool, OutOfMemory> {
    let Some(at) = node_of(tx, stream, id) else { return Ok(false) };
    let Some(entry) = entries::find(tx, stream, id) else { return Ok(false) };
    let NodeView { off, live, deleted, run, .. } = entry.node;
    if live == 1 {
        tree::remove_at(tx, field!(stream, Stream.nodes), &at)?;
        tx.free(off)?;
        if tx.get(stream).tail.get() == off {
            find_tail(tx, stream)?;
        }
        return Ok(true);
    }
    let (bytes, (place, flags)) = (run.len(), entry.flagged());
    tx.write(place, &[flags])?;
    node::set_fill(tx, off, bytes, live - 1, deleted + 1)?;
    Ok(true)
}

/// What to keep of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many entries, the last ones.
    Length(u64),
    /// Entries from that id on.
    From(Id),
}

/// How a stream is to be trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What to keep.
    pub keep: Keep,
    /// Whether only whole nodes are removed.
    pub whole_nodes: bool,
    /// Most entries to remove; 0 for any number.
    pub limit: u64,
}

/// Removes entries from the front; says how many.
pub fn trim(tx: &mut Tx<'_>, stream: Off<Stream>, trim: Trim) -> Result<u64, OutOfMemory> {
    let old = counts(tx, stream);
    let Front { nodes, entries, more } = removable(tx, stream, trim, old.len);
    let tree = field!(stream, Stream.nodes);
    tree::remove_ranks(tx, tree, 0, nodes, |tx, _, node| tx.free(node))?;
    if nodes > 0 && tree::len(tx, tree) == 0 {
        find_tail(tx, stream)?;
    }
    let mut removed = entries;
    if more && !trim.whole_nodes {
        removed += trim_first_node(tx, stream, trim.keep, old.len - entries)?;
    }
    if removed > 0 {
        set_counts(tx, stream, Counts { len: old.len - removed, ..old })?;
        find_first(tx, stream)?;
    }
    Ok(removed)
}

/// What can be removed at the front of a stream as a whole.
struct Front {
    nodes: u64,
    entries: u64,
    /// Whether something of the next node is to be removed too.
    more: bool,
}

fn removable(view: &View, stream: Off<Stream>, trim: Trim, len: u64) -> Front {
    let mut front = Front { nodes: 0, entries: 0, more: false };
    let mut at = tree::select(view, field!(stream, Stream.nodes), 0);
    while let Some((_, node)) = at.pair(view) {
        if matches!(trim.keep, Keep::Length(keep) if len - front.entries <= keep) {
            break;
        }
        let live = u64::from(view.get(node.cast::<Node>()).fill.get().live.to_native());
        if trim.limit != 0 && front.entries + live > trim.limit {
            break;
        }
        let whole = match trim.keep {
            Keep::Length(keep) => len - front.entries - live >= keep,
            Keep::From(id) => {
                let node = NodeView::new(view, node.cast());
                node.last().is_none_or(|last| last.id < id)
            }
        };
        if !whole {
            front.more = true;
            break;
        }
        front.nodes += 1;
        front.entries += live;
        at.advance(view);
    }
    front
}

/// Deletes entries of the first node, of a stream with `len` entries, that are not to be kept.
fn trim_first_node(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    keep: Keep,
    len: u64,
) -> Result<u64, OutOfMemory> {
    let Some((_, node)) = tree::first(tx, field!(stream, Stream.nodes)) else { return Ok(0) };
    let node = NodeView::new(tx, node.cast());
    let NodeView { off, live, deleted, run, .. } = node;
    let bytes = run.len();
    let mut flags = Vec::new();
    let mut next = node.first();
    while let Some(entry) = next {
        let stop = match keep {
            Keep::Length(keep) => len - flags.len() as u64 <= keep,
            Keep::From(id) => entry.id >= id,
        };
        if stop {
            break;
        }
        if !entry.deleted {
            flags.push(entry.flagged());
        }
        next = entry.next();
    }
    let removed = flags.len() as u32;
    for (place, flags) in flags {
        tx.write(place, &[flags])?;
    }
    if removed > 0 {
        node::set_fill(tx, off, bytes, live - removed, deleted + removed)?;
    }
    Ok(u64::from(removed))
}
