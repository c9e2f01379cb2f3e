//! Nodes: some entries of a stream in one block, packed as Redis packs them.
//!
//! ```text
//! Node (28 bytes) | run: n | field × n | 0 | entry | entry | ... | slack
//!
//! entry with the fields of the node:  flags | ms | seq | value × n | items before this one
//! any other entry:                    flags | ms | seq | m | (field, value) × m | items before this one
//! ```
//!
//! Each part is an item of a run ([`shm::pack`]); `ms` and `seq` are what the entry's id is ahead of the
//! node's. With the two numbers of entries before it, the run is what Redis has in a listpack. An entry
//! is deleted by a flag. What lies behind the run is nobody's, so an entry is added without a log of its
//! bytes.

use shm::pack::{self, Item};
use shm::{Off, Slot, Tx, U32, View, field, record};

use super::id::{Id, StoredId};

record! {
    /// The fixed part of a node.
    pub struct Node {
        /// The id that the entries' ids are noted relative to: that of the first one ever.
        pub master: StoredId,
        /// How full it is.
        pub fill: Slot<Fill>,
    }
}

record! {
    /// How full a node is; changes as a whole.
    pub struct Fill {
        /// Bytes of the run.
        pub bytes: U32,
        /// Entries that are there.
        pub live: U32,
        /// Entries that were deleted.
        pub deleted: U32,
    }
}

/// Bytes from the start of a node to its run.
pub const HEADER: u64 = size_of::<Node>() as u64;
/// The flag of an entry that was deleted.
const DELETED: i64 = 1;
/// The flag of an entry that has the node's fields.
const SAME_FIELDS: i64 = 2;
/// Header and end of a listpack, in bytes.
const LISTPACK_FRAME: u64 = 7;
/// No node's listpack grows beyond this by another entry, whatever is configured: Redis's limit, in
/// bytes. Nor may an entry have more bytes.
pub const BYTES_MAX: u64 = 1 << 30;

/// When nodes are full: `stream-node-max-bytes` and `stream-node-max-entries`, 0 for no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the listpack.
    pub bytes: u64,
    /// Entries, deleted ones too.
    pub entries: u64,
}

impl Fill {
    /// A node with so many bytes and entries.
    pub fn new(bytes: usize, live: u32, deleted: u32) -> Fill {
        let [bytes, live, deleted] = [bytes as u32, live, deleted].map(U32::from_native);
        Fill { bytes, live, deleted }
    }
}

/// A read-only look at a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    /// Where it is.
    pub off: Off<Node>,
    /// The id that entries are noted relative to.
    pub master: Id,
    /// Number of entries that are there.
    pub live: u32,
    /// Number of entries that were deleted.
    pub deleted: u32,
    /// Its packed items.
    pub run: &'a [u8],
    fields: usize,
    /// Where the fields start in the run, and where the entries do.
    fields_at: usize,
    entries_at: usize,
}

/// The integer that stands at a place of a run, and where the next item starts.
///
/// # Panics
///
/// If none does: the arena is damaged.
#[inline]
fn integer(run: &[u8], at: usize) -> (i64, usize) {
    match pack::next(run, at) {
        Some((Item::Int(number), next)) => (number, next),
        other => panic!("an integer in a stream's node at {at}, not {other:?}"),
    }
}

impl<'a> NodeView<'a> {
    /// Looks at a node.
    #[inline]
    pub fn new(view: &'a View, off: Off<Node>) -> NodeView<'a> {
        let record = view.read(off);
        let fill = record.fill.get();
        let run = view.bytes(off.byte_add(HEADER), fill.bytes.to_native() as usize);
        let (fields, fields_at) = integer(run, 0);
        let mut at = fields_at;
        for _ in 0..fields {
            at = pack::skip(run, at);
        }
        // Behind the fields stands a zero, where other entries have the number of their items.
        let entries_at = pack::skip(run, at);
        NodeView {
            off,
            master: record.master.into(),
            live: fill.live.to_native(),
            deleted: fill.deleted.to_native(),
            run,
            fields: fields as usize,
            fields_at,
            entries_at,
        }
    }

    /// Bytes that the node would take as a listpack of Redis's.
    #[inline]
    pub fn listpack_bytes(&self) -> u64 {
        let number = |number: u32| pack::encoded_len_of(Item::Int(i64::from(number))) as u64;
        LISTPACK_FRAME + number(self.live) + number(self.deleted) + self.run.len() as u64
    }

    /// Whether an entry with `text` bytes of fields and values may still be added.
    #[inline]
    pub fn takes(&self, text: u64, limits: Limits) -> bool {
        let bytes = match limits.bytes {
            0 => BYTES_MAX,
            bytes => bytes.min(BYTES_MAX),
        };
        let entries = u64::from(self.live) + u64::from(self.deleted);
        self.listpack_bytes() + text < bytes && (limits.entries == 0 || entries < limits.entries)
    }

    /// Whether these are the node's fields.
    #[inline]
    fn has_fields<'f>(&self, fields: impl ExactSizeIterator<Item = &'f [u8]>) -> bool {
        if fields.len() != self.fields {
            return false;
        }
        let mut at = self.fields_at;
        for field in fields {
            let Some((item, next)) = pack::next(self.run, at) else { return false };
            if !item.is(field) {
                return false;
            }
            at = next;
        }
        true
    }

    /// The first entry, deleted or not.
    #[inline]
    pub fn first(&self) -> Option<Entry<'a>> {
        self.entry_at(self.entries_at)
    }

    /// The last entry, deleted or not.
    #[inline]
    pub fn last(&self) -> Option<Entry<'a>> {
        self.entry_before(self.run.len())
    }

    #[inline]
    fn entry_at(&self, at: usize) -> Option<Entry<'a>> {
        if at >= self.run.len() {
            return None;
        }
        let (flags, ms_at) = integer(self.run, at);
        let (ms, seq_at) = integer(self.run, ms_at);
        let (seq, mut body_at) = integer(self.run, seq_at);
        let same_fields = flags & SAME_FIELDS != 0;
        let mut fields = self.fields;
        if !same_fields {
            let (count, next) = integer(self.run, body_at);
            (fields, body_at) = (count as usize, next);
        }
        let Id { ms: master_ms, seq: master_seq } = self.master;
        let id =
            Id { ms: master_ms.wrapping_add(ms as u64), seq: master_seq.wrapping_add(seq as u64) };
        let deleted = flags & DELETED != 0;
        Some(Entry { node: *self, id, deleted, fields, at, body_at, same_fields })
    }

    fn entry_before(&self, end: usize) -> Option<Entry<'a>> {
        if end <= self.entries_at {
            return None;
        }
        let (count, mut at) = match pack::previous(self.run, end)? {
            (Item::Int(count), at) => (count, at),
            (other, _) => {
                panic!("a number of items in a stream's node before {end}, not {other:?}")
            }
        };
        for _ in 0..count {
            at = pack::before(self.run, at)?;
        }
        self.entry_at(at)
    }
}

/// An entry of a node.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The node that it is in.
    pub node: NodeView<'a>,
    /// Its id.
    pub id: Id,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Number of fields.
    pub fields: usize,
    at: usize,
    body_at: usize,
    same_fields: bool,
}

impl<'a> Entry<'a> {
    /// The next entry of the node.
    #[inline]
    pub fn next(&self) -> Option<Entry<'a>> {
        let items = if self.same_fields { self.fields } else { self.fields * 2 };
        // One more is the number of items.
        let end = (0..=items).fold(self.body_at, |at, _| pack::skip(self.node.run, at));
        self.node.entry_at(end)
    }

    /// The entry before in the node.
    pub fn previous(&self) -> Option<Entry<'a>> {
        self.node.entry_before(self.at)
    }

    /// Its fields with their values.
    #[inline]
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs {
            run: self.node.run,
            left: self.fields,
            field_at: self.same_fields.then_some(self.node.fields_at),
            at: self.body_at,
        }
    }

    /// Flags the entry as deleted. The numbers of entries are the caller's business.
    pub(super) fn flagged(&self) -> (Off<u8>, u8) {
        let flags = DELETED | if self.same_fields { SAME_FIELDS } else { 0 };
        // Numbers up to 127 are their own encoding, so the item's size stays.
        (self.node.off.byte_add(HEADER + self.at as u64), flags as u8)
    }
}

/// Fields and values of an entry.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    run: &'a [u8],
    left: usize,
    /// Where the next field of the node is, if they are the entry's.
    field_at: Option<usize>,
    at: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, Item<'a>);
    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, Item<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let (field, next) = pack::next(self.run, self.field_at.unwrap_or(self.at))?;
        match &mut self.field_at {
            Some(at) => *at = next,
            None => self.at = next,
        }
        let (value, next) = pack::next(self.run, self.at)?;
        self.at = next;
        Some((field, value))
    }
}

/// The start of a node's run: its fields, which are the even ones of `args`.
pub(super) fn encode_fields<'f>(
    out: &mut Vec<u8>,
    args: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
) {
    pack::encode_int(out, args.len() as i64 / 2);
    args.step_by(2).for_each(|field| pack::encode(out, field));
    pack::encode_int(out, 0);
}

/// An entry with these fields and values, alternating, for a node that has this id and, if
/// `same_fields`, the same fields.
pub(super) fn encode_entry<'f>(
    out: &mut Vec<u8>,
    master: Id,
    id: Id,
    same_fields: bool,
    args: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
) {
    let fields = args.len() as i64 / 2;
    pack::encode_int(out, if same_fields { SAME_FIELDS } else { 0 });
    pack::encode_int(out, id.ms.wrapping_sub(master.ms) as i64);
    pack::encode_int(out, id.seq.wrapping_sub(master.seq) as i64);
    if same_fields {
        args.skip(1).step_by(2).for_each(|value| pack::encode(out, value));
        pack::encode_int(out, 3 + fields);
    } else {
        pack::encode_int(out, fields);
        args.for_each(|text| pack::encode(out, text));
        pack::encode_int(out, 4 + 2 * fields);
    }
}

/// An entry for this node; see [`encode_entry`].
#[inline]
pub(super) fn encode_for<'f>(
    node: &NodeView<'_>,
    id: Id,
    args: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
) -> Vec<u8> {
    let same_fields = node.has_fields(args.clone().step_by(2));
    let mut out = Vec::with_capacity(128);
    encode_entry(&mut out, node.master, id, same_fields, args);
    out
}

/// Makes a node with this content and room for `room` bytes of it.
pub(super) fn create(
    tx: &mut Tx<'_>,
    master: Id,
    run: &[&[u8]],
    entries: (u32, u32),
    room: u64,
) -> Result<Off<Node>, shm::OutOfMemory> {
    let bytes: usize = run.iter().map(|part| part.len()).sum();
    let fresh = tx.alloc(HEADER + room.max(bytes as u64))?;
    let fill = Slot::new(Fill::new(bytes, entries.0, entries.1));
    tx.init(&fresh, 0, Node { master: master.into(), fill });
    let mut at = HEADER;
    for part in run {
        tx.init_bytes(&fresh, at, part);
        at += part.len() as u64;
    }
    Ok(fresh.off().cast())
}

/// Copies a node into a block with room for `room` bytes of its run.
pub(super) fn copy(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    room: u64,
) -> Result<Off<Node>, shm::OutOfMemory> {
    let used = HEADER + u64::from(tx.read(node).fill.get().bytes.to_native());
    let fresh = tx.alloc(used.max(HEADER + room))?;
    tx.init_copy(&fresh, 0, node.cast(), used);
    Ok(fresh.off().cast())
}

/// Changes how full a node is.
#[inline]
pub(super) fn set_fill(
    tx: &mut Tx<'_>,
    node: Off<Node>,
    bytes: usize,
    live: u32,
    deleted: u32,
) -> Result<(), shm::OutOfMemory> {
    tx.set(field!(node, Node.fill), Fill::new(bytes, live, deleted))
}

/// Appends the node as a listpack of Redis's, with header and end.
pub fn to_listpack(node: &NodeView<'_>, out: &mut Vec<u8>) {
    // The number of items; 65535 says that it has to be counted.
    let items = pack::items(node.run).count() + 2;
    out.extend_from_slice(&(node.listpack_bytes() as u32).to_le_bytes());
    out.extend_from_slice(&u16::try_from(items).unwrap_or(u16::MAX).to_le_bytes());
    pack::encode_int(out, i64::from(node.live));
    pack::encode_int(out, i64::from(node.deleted));
    out.extend_from_slice(node.run);
    out.push(0xff);
}
