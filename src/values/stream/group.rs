//! Groups of consumers, and the entries that were delivered to them and not acknowledged.

use std::cmp::Ordering;

use shm::tree::{self, Cursor, Tree};
use shm::{I64, Mover, Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use super::id::{Id, StoredId};
use super::{Stream, whole};

record! {
    /// A consumer; its name stands behind the record.
    pub struct Consumer {
        /// When it was last heard of, in milliseconds since the epoch.
        pub seen: Slot<I64>,
        /// Its pending entries by id.
        pub pending: Tree,
        /// Bytes of the name.
        pub name_len: U32,
    }
}

record! {
    /// A group; its name stands behind the record.
    pub struct Group {
        /// How far it has got.
        pub progress: Slot<Progress>,
        /// Pending entries by id; it is their referrer.
        pub pending: Tree,
        /// Consumers by name.
        pub consumers: Tree,
        /// Bytes of the name.
        pub name_len: U32,
    }
}

record! {
    /// How far a group has got.
    pub struct Progress {
        /// The last entry that was delivered.
        pub last: StoredId,
        /// Entries that were delivered; -1 if that is not known.
        pub read: I64,
    }
}

record! {
    /// A pending entry. The milliseconds of its id are the sort key of the two trees that it is in.
    pub struct Pending {
        /// Sequence number of the id.
        pub seq: U64,
        /// The last delivery.
        pub delivery: Slot<Delivery>,
    }
}

record! {
    /// What was delivered, at last.
    pub struct Delivery {
        /// When, in milliseconds since the epoch.
        pub time: I64,
        /// How often.
        pub count: U64,
        /// To whom.
        pub consumer: Off<Consumer>,
    }
}

/// [`Progress`] as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last entry that was delivered.
    pub last: Id,
    /// Entries that were delivered, if that is known.
    pub read: Option<i64>,
}

impl From<Position> for Progress {
    fn from(position: Position) -> Progress {
        let read = I64::from_native(position.read.unwrap_or(-1));
        Progress { last: position.last.into(), read }
    }
}

/// A record that a name stands behind.
trait Named: shm::Record {
    fn name_len(&self) -> u32;
}

impl Named for Group {
    fn name_len(&self) -> u32 {
        self.name_len.to_native()
    }
}

impl Named for Consumer {
    fn name_len(&self) -> u32 {
        self.name_len.to_native()
    }
}

fn name_of<T: Named>(view: &View, at: Off<T>) -> &[u8] {
    view.bytes(at.byte_add(size_of::<T>() as u64), view.get(at).name_len() as usize)
}

/// The first eight bytes, so that names are in the order of their bytes.
pub(super) fn sort_key(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = name.len().min(8);
    bytes[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(bytes)
}

fn find_named<T: Named>(view: &View, tree: Off<Tree>, name: &[u8]) -> Option<Cursor> {
    tree::find(view, tree, sort_key(name), |view, item| name_of::<T>(view, item.cast()).cmp(name))
}

fn insert_named<T: Named>(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    record: T,
    name: &[u8],
) -> Result<Off<T>, OutOfMemory> {
    let fresh = tx.alloc((size_of::<T>() + name.len()) as u64)?;
    tx.init(&fresh, 0, record);
    tx.init_bytes(&fresh, size_of::<T>() as u64, name);
    tree::insert(tx, tree, sort_key(name), fresh.off(), |view, item| {
        name_of::<T>(view, item.cast()).cmp(name)
    })?;
    Ok(fresh.off().cast())
}

/// How the names of two groups that begin alike compare.
pub(super) fn compare_groups(view: &View, a: Off<u8>, b: Off<u8>) -> Ordering {
    name_of::<Group>(view, a.cast()).cmp(name_of::<Group>(view, b.cast()))
}

/// How the names of two consumers that begin alike compare.
pub(super) fn compare_consumers(view: &View, a: Off<u8>, b: Off<u8>) -> Ordering {
    name_of::<Consumer>(view, a.cast()).cmp(name_of::<Consumer>(view, b.cast()))
}

/// What stands in a tree, in order.
fn items<T>(view: &View, tree: Off<Tree>) -> impl Iterator<Item = Off<T>> + use<'_, T> {
    let mut at = tree::select(view, tree, 0);
    std::iter::from_fn(move || {
        let (_, item) = at.pair(view)?;
        at.advance(view);
        Some(item.cast())
    })
}

/// Number of groups.
pub fn count(view: &View, stream: Off<Stream>) -> u64 {
    tree::len(view, field!(stream, Stream.groups))
}

/// All groups, in the order of their names.
pub fn all(view: &View, stream: Off<Stream>) -> impl Iterator<Item = Off<Group>> + use<'_> {
    items(view, field!(stream, Stream.groups))
}

/// The group of that name.
pub fn find(view: &View, stream: Off<Stream>, name: &[u8]) -> Option<Off<Group>> {
    let at = find_named::<Group>(view, field!(stream, Stream.groups), name)?;
    at.pair(view).map(|(_, group)| group.cast())
}

/// Makes a group, whose name is not there yet.
pub fn create(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    name: &[u8],
    position: Position,
) -> Result<Off<Group>, OutOfMemory> {
    let record = Group {
        progress: Slot::new(position.into()),
        pending: Tree::EMPTY,
        consumers: Tree::EMPTY,
        name_len: U32::from_native(name.len() as u32),
    };
    insert_named(tx, field!(stream, Stream.groups), record, name)
}

/// Removes a group with all that belongs to it; says whether it was there. What is much is set aside to
/// be freed later.
pub fn remove(tx: &mut Tx<'_>, stream: Off<Stream>, name: &[u8]) -> Result<bool, OutOfMemory> {
    let groups = field!(stream, Stream.groups);
    let Some(at) = find_named::<Group>(tx, groups, name) else { return Ok(false) };
    let group = tree::remove_at(tx, groups, &at)?;
    whole::discard_group(tx, group.cast(), sort_key(name))?;
    Ok(true)
}

/// The group's name.
pub fn name(view: &View, group: Off<Group>) -> &[u8] {
    name_of(view, group)
}

/// How far it has got.
pub fn position(view: &View, group: Off<Group>) -> Position {
    let progress = view.get(group).progress.get();
    let read = progress.read.to_native();
    Position { last: progress.last.into(), read: (read != -1).then_some(read) }
}

/// Says how far it has got.
pub fn set_position(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    position: Position,
) -> Result<(), OutOfMemory> {
    tx.set(field!(group, Group.progress), position.into())
}

/// Number of consumers.
pub fn consumer_count(view: &View, group: Off<Group>) -> u64 {
    tree::len(view, field!(group, Group.consumers))
}

/// All consumers, in the order of their names.
pub fn consumers(view: &View, group: Off<Group>) -> impl Iterator<Item = Off<Consumer>> + use<'_> {
    items(view, field!(group, Group.consumers))
}

/// The consumer of that name.
pub fn find_consumer(view: &View, group: Off<Group>, name: &[u8]) -> Option<Off<Consumer>> {
    let at = find_named::<Consumer>(view, field!(group, Group.consumers), name)?;
    at.pair(view).map(|(_, consumer)| consumer.cast())
}

/// Makes a consumer, whose name is not there yet.
pub fn create_consumer(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    name: &[u8],
    seen: i64,
) -> Result<Off<Consumer>, OutOfMemory> {
    let record = Consumer {
        seen: Slot::new(I64::from_native(seen)),
        pending: Tree::EMPTY,
        name_len: U32::from_native(name.len() as u32),
    };
    insert_named(tx, field!(group, Group.consumers), record, name)
}

/// Removes a consumer with its pending entries; says how many those were, or that it is not there.
pub fn remove_consumer(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    name: &[u8],
) -> Result<Option<u64>, OutOfMemory> {
    let consumers = field!(group, Group.consumers);
    let Some(at) = find_named::<Consumer>(tx, consumers, name) else { return Ok(None) };
    let consumer: Off<Consumer> = tree::remove_at(tx, consumers, &at)?.cast();
    let own = pending_of(consumer);
    let count = tree::len(tx, own);
    forget_pending(tx, group, consumer)?;
    tree::free(tx, own)?;
    tx.free(consumer)?;
    Ok(Some(count))
}

/// Takes what is pending of a consumer out of its group's tree and frees it; the consumer's own tree
/// stays as it was.
fn forget_pending(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    consumer: Off<Consumer>,
) -> Result<(), OutOfMemory> {
    let (all, own) = (pending(group), pending_of(consumer));
    let is_own = |view: &View, item: Off<u8>| {
        view.get(item.cast::<Pending>()).delivery.get().consumer == consumer
    };
    let mut left = tree::select(tx, own, 0);
    while let Some((ms, item)) = left.pair(tx) {
        let seq = tx.get(item.cast::<Pending>()).seq.to_native();
        let at = tree::find(tx, all, ms, |view, item| compare_pending(view, item, seq));
        let at = at.expect("what is pending of a consumer is pending in its group");
        // What comes next of the consumer's is often in the same leaf.
        for _ in 0..tree::remove_in_leaf(tx, all, &at, is_own)? {
            let Some((_, item)) = left.pair(tx) else { break };
            tx.free(item)?;
            left.advance(tx);
        }
    }
    Ok(())
}

/// The consumer's name.
pub fn consumer_name(view: &View, consumer: Off<Consumer>) -> &[u8] {
    name_of(view, consumer)
}

/// When the consumer was last heard of, in milliseconds since the epoch.
pub fn seen(view: &View, consumer: Off<Consumer>) -> i64 {
    view.get(consumer).seen.get().to_native()
}

/// Notes that a consumer was heard of.
pub fn set_seen(tx: &mut Tx<'_>, consumer: Off<Consumer>, at: i64) -> Result<(), OutOfMemory> {
    tx.set(field!(consumer, Consumer.seen), I64::from_native(at))
}

/// The group's tree of pending entries.
pub fn pending(group: Off<Group>) -> Off<Tree> {
    field!(group, Group.pending)
}

/// The consumer's tree of pending entries.
pub fn pending_of(consumer: Off<Consumer>) -> Off<Tree> {
    field!(consumer, Consumer.pending)
}

/// How a pending entry compares with a sequence number of the same milliseconds.
pub(super) fn compare_pending(view: &View, item: Off<u8>, seq: u64) -> Ordering {
    view.get(item.cast::<Pending>()).seq.to_native().cmp(&seq)
}

/// A pending entry that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its id.
    pub id: Id,
    /// Its record.
    pub at: Off<Pending>,
    /// When it was last delivered, in milliseconds since the epoch.
    pub time: i64,
    /// How often it was delivered.
    pub count: u64,
    /// To whom.
    pub consumer: Off<Consumer>,
}

impl Claim {
    fn read(view: &View, ms: u64, item: Off<u8>) -> Claim {
        let at: Off<Pending> = item.cast();
        let record = view.get(at);
        let delivery = record.delivery.get();
        Claim {
            id: Id { ms, seq: record.seq.to_native() },
            at,
            time: delivery.time.to_native(),
            count: delivery.count.to_native(),
            consumer: delivery.consumer,
        }
    }
}

/// Entries of a tree of pending ones from that id on, in order.
pub fn pending_from(
    view: &View,
    pending: Off<Tree>,
    start: Id,
) -> impl Iterator<Item = Claim> + use<'_> {
    let order = |view: &View, item| compare_pending(view, item, start.seq);
    let mut at = tree::lower_bound(view, pending, start.ms, order);
    std::iter::from_fn(move || {
        let (ms, item) = at.pair(view)?;
        at.advance(view);
        Some(Claim::read(view, ms, item))
    })
}

/// The last entry of a tree of pending ones.
pub fn last_pending(view: &View, pending: Off<Tree>) -> Option<Claim> {
    tree::last(view, pending).map(|(ms, item)| Claim::read(view, ms, item))
}

/// The pending entry of that id.
pub fn find_pending(view: &View, group: Off<Group>, id: Id) -> Option<Claim> {
    let order = |view: &View, item| compare_pending(view, item, id.seq);
    let at = tree::find(view, pending(group), id.ms, order)?;
    at.pair(view).map(|(ms, item)| Claim::read(view, ms, item))
}

/// Notes that an entry was delivered, which is not pending yet.
pub fn add_pending(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    consumer: Off<Consumer>,
    id: Id,
    time: i64,
    count: u64,
) -> Result<(), OutOfMemory> {
    let delivery = Slot::new(delivery(time, count, consumer));
    let record = Pending { seq: U64::from_native(id.seq), delivery };
    let at = tx.alloc_record(record)?;
    for tree in [pending(group), pending_of(consumer)] {
        insert_pending(tx, tree, id, at)?;
    }
    Ok(())
}

fn delivery(time: i64, count: u64, consumer: Off<Consumer>) -> Delivery {
    Delivery { time: I64::from_native(time), count: U64::from_native(count), consumer }
}

fn insert_pending(
    tx: &mut Tx<'_>,
    tree: Off<Tree>,
    id: Id,
    at: Off<Pending>,
) -> Result<(), OutOfMemory> {
    tree::insert(tx, tree, id.ms, at.cast(), |view, item| compare_pending(view, item, id.seq))
}

fn take_pending(tx: &mut Tx<'_>, tree: Off<Tree>, id: Id) -> Result<(), OutOfMemory> {
    tree::remove(tx, tree, id.ms, |view, item| compare_pending(view, item, id.seq)).map(|_| ())
}

/// Notes that a pending entry was delivered again, maybe to another consumer.
pub fn deliver_again(
    tx: &mut Tx<'_>,
    claim: &Claim,
    consumer: Off<Consumer>,
    time: i64,
    count: u64,
) -> Result<(), OutOfMemory> {
    if claim.consumer != consumer {
        take_pending(tx, pending_of(claim.consumer), claim.id)?;
        insert_pending(tx, pending_of(consumer), claim.id, claim.at)?;
    }
    tx.set(field!(claim.at, Pending.delivery), delivery(time, count, consumer))
}

/// Removes a pending entry.
pub fn drop_pending(tx: &mut Tx<'_>, group: Off<Group>, claim: &Claim) -> Result<(), OutOfMemory> {
    take_pending(tx, pending(group), claim.id)?;
    take_pending(tx, pending_of(claim.consumer), claim.id)?;
    tx.free(claim.at)
}

/// Moves a group's pending entries out of spans that are to be emptied, from a rank on; gives that to go on with.
pub(super) fn relocate_pending(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    rank: u64,
    mover: &mut Mover,
) -> Result<Option<u64>, OutOfMemory> {
    tree::relocate_step(tx, pending(group), rank, mover, |tx, mover, ms, item| {
        let record = tx.read(item.cast::<Pending>());
        let Some(moved) = mover.relocate(tx, item)? else { return Ok(None) };
        let own = pending_of(record.delivery.get().consumer);
        let seq = record.seq.to_native();
        let at = tree::find(tx, own, ms, |view, item| compare_pending(view, item, seq));
        let at = at.expect("what is pending in a group is pending for its consumer");
        tree::replace(tx, own, &at, ms, moved)?;
        Ok(Some(moved))
    })
}

/// The same with its consumers: those to which few entries lead back.
pub(super) fn relocate_consumers(
    tx: &mut Tx<'_>,
    group: Off<Group>,
    rank: u64,
    mover: &mut Mover,
) -> Result<Option<u64>, OutOfMemory> {
    const FEW: u64 = 128;
    tree::relocate_step(tx, field!(group, Group.consumers), rank, mover, |tx, mover, _, item| {
        let own = tree::len(tx, pending_of(item.cast()));
        if own > FEW {
            mover.charge(1);
            return Ok(None);
        }
        let Some(moved) = mover.relocate(tx, item)? else { return Ok(None) };
        mover.charge(2 * own);
        let consumer: Off<Consumer> = moved.cast();
        let claims: Vec<Claim> = pending_from(tx, pending_of(consumer), Id::MIN).collect();
        for Claim { at, time, count, .. } in claims {
            tx.set(field!(at, Pending.delivery), delivery(time, count, consumer))?;
        }
        Ok(Some(moved))
    })
}
