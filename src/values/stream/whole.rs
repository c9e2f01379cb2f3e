//! Streams as a whole: what they take, copies of them, and freeing them.

use std::collections::HashMap;

use shm::table::Drained;
use shm::tree::{self, Tree};
use shm::{Fresh, Off, OutOfMemory, Tx, View, field};

use super::group::{self, Claim, Consumer, Group, Position};
use super::{Id, Stream, change, counts, max_deleted, node};
use crate::keyspace::entry::Kind;
use crate::keyspace::trash;

/// Frees up to about `limit` blocks of a stream that nobody uses any more; its offset is at `at`. True
/// when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, at: Off<u8>, limit: usize) -> Result<bool, OutOfMemory> {
    let stream: Off<Stream> = tx.read(at.cast());
    let mut left = limit;
    if take_apart(tx, stream, &mut left)? {
        tx.free(stream)?;
        return Ok(true);
    }
    if tx.get(stream).dying.get() == 0 {
        tx.set(field!(stream, Stream.dying), 1)?;
    }
    Ok(false)
}

fn take_apart(tx: &mut Tx<'_>, stream: Off<Stream>, left: &mut usize) -> Result<bool, OutOfMemory> {
    let nodes = field!(stream, Stream.nodes);
    if !drain(tx, nodes, left, |tx, node| tx.free(node))? {
        return Ok(false);
    }
    let groups = field!(stream, Stream.groups);
    while let Some((_, group)) = tree::last(tx, groups) {
        if !take_group_apart(tx, group.cast(), left)? {
            return Ok(false);
        }
        drain_one(tx, groups)?;
        tx.free(group)?;
    }
    Ok(true)
}

/// Consumers go first, so that none has entries that are gone.
fn take_group_apart(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    left: &mut usize,
) -> Result<bool, OutOfMemory> {
    let consumers = field!(group, Group.consumers);
    while let Some((_, consumer)) = tree::last(tx, consumers) {
        let pending = group::pending_of(consumer.cast());
        if !drain(tx, pending, left, |_, _| Ok(()))? {
            return Ok(false);
        }
        drain_one(tx, consumers)?;
        tx.free(consumer)?;
    }
    drain(tx, group::pending(group), left, |tx, pending| tx.free(pending))
}

/// Takes as many pairs out of a tree as are left to be taken; says whether it is empty and something
/// is left.
fn drain(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    left: &mut usize,
    mut each: impl FnMut(&mut Tx<'_>, Off<u8>) -> Result<(), OutOfMemory>,
) -> Result<bool, OutOfMemory> {
    let len = tree::len(tx, tree) as usize;
    if len > 0 && tree::drain_step(tx, tree, *left, |tx, _, item| each(tx, item))? == Drained::More
    {
        *left = 0;
        return Ok(false);
    }
    // One more for whoever has the tree.
    *left = left.saturating_sub(len + 1);
    Ok(*left > 0)
}

fn drain_one(tx: &mut Tx<'_>, tree: Off<Tree>) -> Result<(), OutOfMemory> {
    tree::drain_step(tx, tree, 1, |_, _, _| Ok(())).map(|_| ())
}

/// Frees a group that was taken out of its stream; if it is large, as part of a stream that is set
/// aside.
pub(super) fn discard_group(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    sort: u64,
) -> Result<(), OutOfMemory> {
    let stream = tx.alloc_record(Stream::empty())?;
    tree::insert(tx, field!(stream, Stream.groups), sort, group.cast(), |_, _| {
        std::cmp::Ordering::Less
    })?;
    let value = tx.alloc_record(stream)?;
    trash::free_value(tx, Kind::Stream, value.cast(), size_of::<Off<Stream>>())?;
    tx.free(value)
}

/// Bytes of what a stream takes beside its key's entry. Of nodes and pending entries `samples` are
/// looked at; all if it is 0.
pub fn memory(view: &View, at: Off<u8>, samples: u64) -> u64 {
    let stream: Off<Stream> = view.read(at.cast());
    let size = |block: Off<u8>| shm::alloc::block_size(view, block);
    let mut total = size(stream.cast());
    let nodes = field!(stream, Stream.nodes);
    total += tree::memory(view, nodes, samples) + blocks(view, nodes, samples);
    total += tree::memory(view, field!(stream, Stream.groups), samples);
    for group in group::all(view, stream) {
        let pending = group::pending(group);
        total += size(group.cast())
            + tree::memory(view, pending, samples)
            + blocks(view, pending, samples);
        total += tree::memory(view, field!(group, Group.consumers), samples);
        for consumer in group::consumers(view, group) {
            total +=
                size(consumer.cast()) + tree::memory(view, group::pending_of(consumer), samples);
        }
    }
    total
}

/// Bytes of the blocks that a tree leads to, judged by some of them.
fn blocks(view: &View, tree: Off<Tree>, samples: u64) -> u64 {
    let len = tree::len(view, tree);
    let looked_at = if samples == 0 { len } else { len.min(samples) };
    let (mut at, mut bytes) = (tree::select(view, tree, 0), 0);
    for _ in 0..looked_at {
        let Some((_, block)) = at.pair(view) else { break };
        bytes += shm::alloc::block_size(view, block);
        at.advance(view);
    }
    if looked_at == 0 {
        0
    } else {
        (u128::from(bytes) * u128::from(len) / u128::from(looked_at)) as u64
    }
}

/// Copies a stream with its groups; the copy's offset goes to `start` in the fresh entry.
pub fn copy(tx: &mut Tx<'_>, from: Off<u8>, fresh: &Fresh, start: u64) -> Result<(), OutOfMemory> {
    let old: Off<Stream> = tx.read(from.cast());
    let new = tx.alloc_record(Stream::empty())?;
    tx.init(fresh, start, new);
    let counts = counts(tx, old);
    change::set_counts(tx, new, counts)?;
    let (first, deleted) = (tx.get(old).first.get(), max_deleted(tx, old));
    tx.set(field!(new, Stream.first), first)?;
    change::set_max_deleted(tx, new, deleted)?;
    let mut at = tree::select(tx, field!(old, Stream.nodes), 0);
    while let Some((_, node)) = at.pair(tx) {
        let copied = node::copy(tx, node.cast(), 0)?;
        change::add_node(tx, new, copied)?;
        at.advance(tx);
    }
    let groups: Vec<_> = group::all(tx, old).collect();
    for group in groups {
        copy_group(tx, group, new)?;
    }
    Ok(())
}

fn copy_group(tx: &mut Tx<'_>, old: Off<Group>, to: Off<Stream>) -> Result<(), OutOfMemory> {
    let (name, position): (_, Position) = (group::name(tx, old).to_vec(), group::position(tx, old));
    let new = group::create(tx, to, &name, position)?;
    let mut copies: HashMap<Off<Consumer>, Off<Consumer>> = HashMap::new();
    let consumers: Vec<_> = group::consumers(tx, old).collect();
    for consumer in consumers {
        let name = group::consumer_name(tx, consumer).to_vec();
        let seen = group::seen(tx, consumer);
        copies.insert(consumer, group::create_consumer(tx, new, &name, seen)?);
    }
    let claims: Vec<Claim> = group::pending_from(tx, group::pending(old), Id::MIN).collect();
    for claim in claims {
        let consumer = copies[&claim.consumer];
        group::add_pending(tx, new, consumer, claim.id, claim.time, claim.count)?;
    }
    Ok(())
}
