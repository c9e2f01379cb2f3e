//! What the checker proves of streams.

use std::cmp::Ordering;
use std::collections::HashMap;

use shm::check::{Checker, mark_tree};
use shm::pack::{self, Item};
use shm::{Off, View, field};

use super::group::{self, Consumer, Group, Pending, compare_consumers, compare_groups};
use super::node::{HEADER, Node};
use super::{Id, Stream, counts, first_id};

/// What the entries of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// Entries that are there.
    pub live: u32,
    /// Entries that were deleted.
    pub deleted: u32,
    /// The first and the last id of those that are there.
    pub ids: Option<(Id, Id)>,
}

/// A place in a run that is not trusted, behind [`pack::check`].
struct Scan<'a> {
    run: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn integer(&mut self) -> Option<i64> {
        match pack::next(self.run, self.at)? {
            (Item::Int(number), next) => {
                self.at = next;
                Some(number)
            }
            _ => None,
        }
    }

    fn skip(&mut self, items: u64) -> Option<()> {
        for _ in 0..items {
            (_, self.at) = pack::next(self.run, self.at)?;
        }
        Some(())
    }

    /// A number of things, each of which takes a byte at least.
    fn count(&mut self) -> Option<u64> {
        let count = u64::try_from(self.integer()?).ok()?;
        (count <= self.run.len() as u64).then_some(count)
    }
}

/// Proves that a run is a node's with that id, and that what is there of its entries ascends; `None` if
/// not. Any bytes will do.
///
/// Deleted entries need not be in order: `XSETID` may set the last id back to before them.
pub fn inspect(run: &[u8], master: Id) -> Option<Inspected> {
    pack::check(run)?;
    let mut scan = Scan { run, at: 0 };
    let fields = scan.count()?;
    scan.skip(fields)?;
    if scan.integer()? != 0 {
        return None;
    }
    let mut found = Inspected { live: 0, deleted: 0, ids: None };
    while scan.at < run.len() {
        // The flags are overwritten in place, so they must be one byte.
        let flags = Some(run[scan.at]).filter(|flags| *flags < 4)?;
        scan.integer()?;
        let (ms, seq) = (scan.integer()? as u64, scan.integer()? as u64);
        let id = Id { ms: master.ms.wrapping_add(ms), seq: master.seq.wrapping_add(seq) };
        let items = match flags & 2 != 0 {
            true => 3 + fields,
            false => 4 + 2 * scan.count()?,
        };
        let skipped = if flags & 2 != 0 { 3 } else { 4 };
        scan.skip(items - skipped)?;
        if scan.integer()? as u64 != items {
            return None;
        }
        if id < master {
            return None;
        }
        if flags & 1 != 0 {
            found.deleted += 1;
            continue;
        }
        found.live += 1;
        found.ids = match found.ids {
            None => Some((id, id)),
            Some((first, last)) if id > last => Some((first, id)),
            _ => return None,
        };
    }
    Some(found)
}

/// Marks the blocks of a stream whose offset is at `at`, and proves what holds of it.
pub fn mark(checker: &mut Checker<'_>, at: Off<u8>, what: &str) {
    let stream: Off<Stream> = checker.view().read(at.cast());
    if !checker.mark(stream, size_of::<Stream>() as u64, what) {
        return;
    }
    let record = checker.view().read(stream);
    let dying = record.dying.get() != 0;
    mark_nodes(checker, stream, dying, what);
    let mut groups = Vec::new();
    mark_tree(
        checker,
        field!(stream, Stream.groups),
        what,
        compare_groups,
        |checker, sort, item| {
            let group: Off<Group> = item.cast();
            if !checker.mark(group, size_of::<Group>() as u64, what) {
                return false;
            }
            groups.push(group);
            mark_name(checker, group::name(checker.view(), group), group, sort, what)
        },
    );
    for group in groups {
        mark_group(checker, group, dying, what);
    }
}

/// Proves that a name lies within its block and has that sort key.
fn mark_name<T>(
    checker: &mut Checker<'_>,
    name: &[u8],
    block: Off<T>,
    sort: u64,
    what: &str,
) -> bool {
    let room = shm::alloc::block_size(checker.view(), block.cast());
    if (size_of::<T>() + name.len()) as u64 > room {
        checker.finding(format!("{what}: the name of {block:?} leaves its block"));
        return false;
    }
    if group::sort_key(name) != sort {
        checker.finding(format!("{what}: {block:?} stands under another name"));
    }
    true
}

fn compare_nodes(view: &View, a: Off<u8>, b: Off<u8>) -> Ordering {
    let master = |node: Off<u8>| Id::from(view.get(node.cast::<Node>()).master);
    master(a).cmp(&master(b))
}

fn mark_nodes(checker: &mut Checker<'_>, stream: Off<Stream>, dying: bool, what: &str) {
    let (mut live, mut first, mut last, mut tail) = (0, None, None, Off::<Node>::NULL);
    let nodes = field!(stream, Stream.nodes);
    mark_tree(checker, nodes, what, compare_nodes, |checker, sort, item| {
        let node: Off<Node> = item.cast();
        tail = node;
        if !checker.mark(node, HEADER, what) {
            return false;
        }
        let Some(found) = mark_node(checker, node, sort, what) else { return true };
        live += u64::from(found.live);
        first = first.or(found.ids.map(|(first, _)| first));
        if let Some((from, to)) = found.ids {
            if last.is_some_and(|last| last >= from) {
                checker.finding(format!("{what}: {node:?} begins before the last one ends"));
            }
            last = Some(to);
        }
        true
    });
    if dying {
        return;
    }
    let view = checker.view();
    let (noted, noted_first) = (counts(view, stream), first_id(view, stream));
    let noted_tail = view.get(stream).tail.get();
    if noted.len != live {
        checker.finding(format!("{what}: {live} entries, {} are noted", noted.len));
    }
    if noted_first != first.unwrap_or(Id::MIN) {
        checker.finding(format!("{what}: begins with {first:?}, {noted_first} is noted"));
    }
    if last.is_some_and(|last| last > noted.last) {
        checker.finding(format!("{what}: ends with {last:?}, {} is noted", noted.last));
    }
    if noted_tail != tail {
        checker.finding(format!("{what}: the last node is {tail:?}, {noted_tail:?} is noted"));
    }
}

fn mark_node(
    checker: &mut Checker<'_>,
    node: Off<Node>,
    sort: u64,
    what: &str,
) -> Option<Inspected> {
    let view = checker.view();
    let record = view.read(node);
    let (fill, master) = (record.fill.get(), Id::from(record.master));
    let bytes = fill.bytes.to_native() as usize;
    if HEADER + bytes as u64 > shm::alloc::block_size(view, node.cast()) {
        checker.finding(format!("{what}: {bytes} bytes leave the block of {node:?}"));
        return None;
    }
    if master.ms != sort {
        checker.finding(format!("{what}: {node:?} of {master} stands at {sort}"));
    }
    let Some(found) = inspect(view.bytes(node.byte_add(HEADER), bytes), master) else {
        checker.finding(format!("{what}: {node:?} does not parse"));
        return None;
    };
    if found.live + found.deleted == 0 {
        checker.finding(format!("{what}: {node:?} has no entries"));
    }
    if (found.live, found.deleted) != (fill.live.to_native(), fill.deleted.to_native()) {
        checker.finding(format!("{what}: {node:?} notes {fill:?}, it has {found:?}"));
    }
    Some(found)
}

fn compare_pending(view: &View, a: Off<u8>, b: Off<u8>) -> Ordering {
    let seq = |item: Off<u8>| view.get(item.cast::<Pending>()).seq.to_native();
    seq(a).cmp(&seq(b))
}

/// Marks what hangs on a group: each pending entry is that of the consumer that it names, once.
fn mark_group(checker: &mut Checker<'_>, group: Off<Group>, dying: bool, what: &str) {
    let mut owners: HashMap<u64, (u64, Off<Consumer>)> = HashMap::new();
    let pending = group::pending(group);
    mark_tree(checker, pending, what, compare_pending, |checker, sort, item| {
        if !checker.mark(item, size_of::<Pending>() as u64, what) {
            return false;
        }
        let delivery = checker.view().get(item.cast::<Pending>()).delivery.get();
        owners.insert(item.raw(), (sort, delivery.consumer));
        true
    });
    let mut consumers = Vec::new();
    let tree = field!(group, Group.consumers);
    mark_tree(checker, tree, what, compare_consumers, |checker, sort, item| {
        let consumer: Off<Consumer> = item.cast();
        if !checker.mark(consumer, size_of::<Consumer>() as u64, what) {
            return false;
        }
        consumers.push(consumer);
        let name = group::consumer_name(checker.view(), consumer);
        mark_name(checker, name, consumer, sort, what)
    });
    for consumer in consumers {
        let pending = group::pending_of(consumer);
        mark_tree(checker, pending, what, compare_pending, |checker, sort, item| {
            let owned = owners.remove(&item.raw());
            if owned != Some((sort, consumer)) {
                checker.finding(format!("{what}: {item:?} is not pending for {consumer:?}"));
            }
            owned.is_some()
        });
    }
    if !dying && !owners.is_empty() {
        checker.finding(format!("{what}: {} pending entries have no consumer", owners.len()));
    }
}
