//! The world's packed run in a block, changed in place as values of entries are.

use shm::check::Checker;
use shm::{Off, OutOfMemory, Slot, Tx, U32, View, alloc, field, pack, record};

use super::Random;

record! {
    /// The head of the block; the run follows, and behind it is nobody's.
    pub struct Head {
        /// Bytes of the run.
        pub len: Slot<U32>,
        /// Items in it.
        pub items: Slot<U32>,
    }
}

/// Where the block is noted; null while there are no items.
pub type Place = Off<Slot<Off<Head>>>;

/// The items.
pub type Model = Vec<Vec<u8>>;

/// How a run is changed in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By [`Tx::splice`].
    Splice,
    /// By [`Tx::remove`] and [`Tx::insert`].
    TwoMoves,
}

/// Replaces some items by others. Indexes may be anything; they are reduced when used, and values that
/// would make the run too long are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    pub index: usize,
    pub removed: usize,
    pub values: Vec<Vec<u8>>,
    pub how: How,
}

/// Most bytes of a run.
const MOST: usize = 2_000;
const HEAD: usize = size_of::<Head>();

fn word(number: usize) -> U32 {
    U32::from_native(number as u32)
}

/// The run and the number of its items.
fn run_of(view: &View, block: Off<Head>) -> (&[u8], usize) {
    if block.is_null() {
        return (&[], 0);
    }
    let head = view.get(block);
    let len = head.len.get().to_native() as usize;
    (view.bytes(block.byte_add(HEAD as u64), len), head.items.get().to_native() as usize)
}

/// Does an operation in a transaction and, if there is one, in the model as well.
pub fn apply(
    tx: &mut Tx<'_>,
    at: Place,
    op: &Op,
    model: Option<&mut Model>,
) -> Result<(), OutOfMemory> {
    let block = tx.get(at).get();
    let (run, items) = run_of(tx, block);
    let old_len = run.len();
    let index = op.index % (items + 1);
    let removed = op.removed.min(items - index);
    let [start, stop] = [index, index + removed].map(|index| pack::nth(run, items, index));
    let (mut bytes, mut added) = (Vec::new(), 0);
    for value in &op.values {
        if old_len - (stop - start) + bytes.len() + pack::encoded_len(value) > MOST {
            break;
        }
        pack::encode(&mut bytes, value);
        added += 1;
    }
    let (len, items) = (old_len - (stop - start) + bytes.len(), items - removed + added);
    if items == 0 {
        if !block.is_null() {
            tx.set(at, Off::NULL)?;
            tx.free(block)?;
        }
    } else if !block.is_null() && fits(alloc::block_size(tx, block.cast()) as usize, HEAD + len) {
        let string = block.byte_add(HEAD as u64);
        match op.how {
            How::Splice => tx.splice(string, old_len, start, stop - start, &bytes)?,
            How::TwoMoves => move_twice(tx, string, old_len, start..stop, &bytes)?,
        }
        tx.set(field!(block, Head.len), word(len))?;
        tx.set(field!(block, Head.items), word(items))?;
    } else {
        let run = [&run[..start], &bytes, &run[stop..]].concat();
        let fresh = tx.alloc((HEAD + len + len / 2) as u64)?;
        tx.init(&fresh, 0, Head { len: Slot::new(word(len)), items: Slot::new(word(items)) });
        tx.init_bytes(&fresh, HEAD as u64, &run);
        tx.set(at, fresh.off().cast())?;
        if !block.is_null() {
            tx.free(block)?;
        }
    }
    if let Some(model) = model {
        model.splice(index..index + removed, op.values[..added].iter().cloned());
    }
    Ok(())
}

/// Whether so many bytes fit into a block and do not waste most of it.
fn fits(room: usize, bytes: usize) -> bool {
    bytes <= room && bytes >= room / 4
}

/// What [`Tx::splice`] does, in two steps.
fn move_twice(
    tx: &mut Tx<'_>,
    string: Off<u8>,
    length: usize,
    range: std::ops::Range<usize>,
    bytes: &[u8],
) -> Result<(), OutOfMemory> {
    tx.remove(string, length, range.start, range.end)?;
    tx.insert(string, length - range.len(), range.start, bytes)
}

/// Reads the items out of an arena; an error says what cannot be right.
pub fn read(view: &View, at: Place) -> Result<Model, String> {
    let (run, items) = run_of(view, view.get(at).get());
    match pack::validate(run) {
        Some(found) if found == items => Ok(pack::items(run).map(|item| item.to_vec()).collect()),
        found => Err(format!("a run of {items} items is found to have {found:?}")),
    }
}

/// Marks the block, and proves that it holds a run.
pub fn mark(checker: &mut Checker<'_>, at: Place) {
    let block = checker.view().get(at).get();
    if block.is_null() || !checker.mark(block, HEAD as u64, "packed run") {
        return;
    }
    let head = checker.view().read(block);
    let room = alloc::block_size(checker.view(), block.cast());
    let [len, items] = [head.len, head.items].map(|word| u64::from(word.get().to_native()));
    if HEAD as u64 + len > room {
        checker.finding(format!("packed run: {len} bytes in a block of {room}"));
    } else if pack::validate(run_of(checker.view(), block).0) != Some(items as usize) {
        checker.finding(format!("packed run: not the {items} items that are noted"));
    }
}

/// A random operation.
pub fn random_op(random: &mut Random) -> Op {
    let index = random.next() as usize;
    let removed = if random.below(3) == 0 { random.below(10) } else { random.below(2) } as usize;
    let values = (0..random.below(3)).map(|_| random.value()).collect();
    let how = if random.below(3) == 0 { How::TwoMoves } else { How::Splice };
    Op { index, removed, values, how }
}
