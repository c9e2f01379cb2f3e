//! Nodes: an array of entries in order, behind a header. All that a node's entries can be is read,
//! put in, cut out and moved here.

use crate::arena::View;
use crate::error::OutOfMemory;
use crate::field;
use crate::off::Off;
use crate::record;
use crate::record::{Record, Slot, U16, U32, U64};
use crate::tx::{Fresh, Tx};

/// Entries that a node has room for, unless it is a lone leaf.
pub const ROOM: usize = 31;
/// Levels of branches that a tree may have: far more than fit into an arena.
pub const MAX_HEIGHT: usize = 12;

record! {
    /// The header of a node; its entries follow: pairs in a leaf, branches above.
    pub struct Node {
        /// Entries in use.
        pub len: Slot<U16>,
        /// Entries that there is room for.
        pub room: U16,
        /// Unused.
        pub reserved: U32,
    }
}

record! {
    /// An entry of a leaf; changed as a whole, like a slot.
    pub struct Pair {
        /// What the tree is ordered by first.
        pub sort: U64,
        /// The block.
        pub item: Off<u8>,
    }
}

record! {
    /// An entry of any other node; changed like a slot.
    pub struct Branch {
        /// A copy of the child's first pair.
        pub first: Slot<Pair>,
        /// Pairs below.
        pub count: Slot<U64>,
        /// The node below.
        pub child: Off<Node>,
    }
}

const HEAD: u64 = size_of::<Node>() as u64;

/// Bytes that a leaf (or a node of branches) needs for so many entries.
pub(crate) fn bytes(leaf: bool, room: usize) -> u64 {
    HEAD + (room * if leaf { size_of::<Pair>() } else { size_of::<Branch>() }) as u64
}

/// What nodes hold.
pub(crate) trait Entry: Record {
    /// Where an entry comes to stand that is added in front of all others: a pair before the first,
    /// a branch behind it, since the first child then keeps its branch.
    const FRONT: usize;

    /// Pairs below.
    fn count(&self) -> u64;
}

impl Entry for Pair {
    const FRONT: usize = 0;

    #[inline(always)]
    fn count(&self) -> u64 {
        1
    }
}

impl Entry for Branch {
    const FRONT: usize = 1;

    #[inline(always)]
    fn count(&self) -> u64 {
        self.count.get().to_native()
    }
}

/// Entries in a node.
#[inline(always)]
pub(super) fn len(view: &View, node: Off<Node>) -> usize {
    usize::from(view.get(node).len.get().to_native())
}

/// Entries that a node has room for.
#[inline(always)]
pub(super) fn room(view: &View, node: Off<Node>) -> usize {
    usize::from(view.get(node).room.to_native())
}

#[inline(always)]
fn place<E: Entry>(node: Off<Node>, index: usize) -> Off<E> {
    node.byte_add::<E>(HEAD).nth(index as u64)
}

/// Where a branch stands.
#[inline(always)]
pub(super) fn branch_at(node: Off<Node>, index: usize) -> Off<Branch> {
    place(node, index)
}

#[inline(always)]
pub(crate) fn entries<E: Entry>(view: &View, node: Off<Node>) -> &[E] {
    view.array(place::<E>(node, 0), len(view, node))
}

#[inline(always)]
pub(super) fn entry<E: Entry>(view: &View, node: Off<Node>, index: usize) -> E {
    view.read(place::<E>(node, index))
}

/// The first pair in or below a node, whichever it holds: branches begin with theirs.
#[inline(always)]
pub(crate) fn first_pair(view: &View, node: Off<Node>) -> Pair {
    view.read(place::<Pair>(node, 0))
}

/// Allocates a node without entries.
pub(super) fn new<E: Entry>(tx: &mut Tx<'_>, room: usize) -> Result<Fresh, OutOfMemory> {
    let fresh = tx.alloc(HEAD + (room * size_of::<E>()) as u64)?;
    let len = Slot::new(U16::from_native(0));
    let room = U16::from_native(room as u16);
    tx.init(&fresh, 0, Node { len, room, reserved: U32::from_native(0) });
    Ok(fresh)
}

/// Allocates a node that begins with a copy of another's entries from `from` on.
pub(super) fn new_copy<E: Entry>(
    tx: &mut Tx<'_>,
    room: usize,
    node: Off<Node>,
    from: usize,
) -> Result<Off<Node>, OutOfMemory> {
    let fresh = new::<E>(tx, room)?;
    let count = len(tx, node) - from;
    tx.init(&fresh, 0, U16::from_native(count as u16));
    let source = place::<E>(node, from).cast();
    tx.init_copy(&fresh, HEAD, source, (count * size_of::<E>()) as u64);
    Ok(fresh.off().cast())
}

/// Allocates a node with these entries.
pub(super) fn new_with<E: Entry>(
    tx: &mut Tx<'_>,
    room: usize,
    entries: &[E],
) -> Result<Off<Node>, OutOfMemory> {
    let fresh = new::<E>(tx, room)?;
    tx.init(&fresh, 0, U16::from_native(entries.len() as u16));
    for (i, entry) in entries.iter().enumerate() {
        tx.init(&fresh, HEAD + (i * size_of::<E>()) as u64, *entry);
    }
    Ok(fresh.off().cast())
}

fn set_len(tx: &mut Tx<'_>, node: Off<Node>, len: usize) -> Result<(), OutOfMemory> {
    tx.set(field!(node, Node.len), U16::from_native(len as u16))
}

/// Changes an entry.
#[inline(always)]
pub(super) fn set<E: Entry>(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    index: usize,
    entry: E,
) -> Result<(), OutOfMemory> {
    tx.set(place::<E>(node, index).cast::<Slot<E>>(), entry)
}

/// Puts an entry in before the one at `index`; there is room.
#[inline(always)]
pub(super) fn put<E: Entry>(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    index: usize,
    entry: E,
) -> Result<(), OutOfMemory> {
    put_all(tx, node, index, &[entry])
}

/// Puts entries in before the one at `index`; there is room.
#[inline(always)]
fn put_all<E: Entry>(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    index: usize,
    entries: &[E],
) -> Result<(), OutOfMemory> {
    let len = len(tx, node);
    let count = U16::from_native((len + entries.len()) as u16);
    let slot = field!(node, Node.len);
    tx.insert_counted(place(node, 0), (slot, count), len, index, entries)
}

/// Cuts the entries `from..to` out.
pub(super) fn cut<E: Entry>(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    from: usize,
    to: usize,
) -> Result<(), OutOfMemory> {
    let len = len(tx, node);
    tx.remove(place::<E>(node, 0), len, from, to)?;
    set_len(tx, node, len - (to - from))
}

/// Puts other entries, not more, in the place of those from `from` on.
pub(super) fn replace_end<E: Entry>(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    from: usize,
    entries: &[E],
) -> Result<(), OutOfMemory> {
    let len = len(tx, node);
    debug_assert!(from + entries.len() <= len);
    cut::<E>(tx, node, from, len)?;
    put_all(tx, node, from, entries)
}

/// Moves the first `count` entries of a node to the end of the one before it.
pub(super) fn move_back<E: Entry>(
    tx: &mut Tx<'_>,
    left: Off<Node>,
    right: Off<Node>,
    count: usize,
) -> Result<(), OutOfMemory> {
    let moved = entries::<E>(tx, right)[..count].to_vec();
    let end = len(tx, left);
    put_all(tx, left, end, &moved)?;
    cut::<E>(tx, right, 0, count)
}

/// Moves the last `count` entries of a node to the front of the one behind it.
pub(super) fn move_on<E: Entry>(
    tx: &mut Tx<'_>,
    left: Off<Node>,
    right: Off<Node>,
    count: usize,
) -> Result<(), OutOfMemory> {
    let len = len(tx, left);
    let moved = entries::<E>(tx, left)[len - count..].to_vec();
    put_all(tx, right, 0, &moved)?;
    cut::<E>(tx, left, len - count, len)
}
