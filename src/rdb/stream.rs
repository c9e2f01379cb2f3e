//! Streams, read.
//!
//! A stream is written as its nodes, each a listpack under the id that the others in it are told
//! relative to, then what is known of it as a whole, then the groups with their pending entries.

use std::collections::{BTreeMap, HashSet};

use shm::pack::{self, Item, Items};

use super::reader::Reader;
use super::{Malformed, Result, listpack};

/// The id of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Milliseconds.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl Id {
    /// The bytes as which keys and pending entries have it: big-endian, so that they sort.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Id> {
        let number = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Id { ms: (number >> 64) as u64, seq: number as u64 })
    }
}

/// An entry's flags: it was deleted.
const DELETED: i64 = 1;
/// An entry's flags: its fields are those of the node.
const SAME_FIELDS: i64 = 2;

/// A stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The nodes by ids that ascend, each a listpack that was proved.
    pub nodes: Vec<(Id, Vec<u8>)>,
    /// Entries that are there.
    pub length: u64,
    /// The last id that was ever given; none of an entry is greater.
    pub last_id: Id,
    /// The id of the first entry, or zero.
    pub first_id: Id,
    /// The greatest id that was ever deleted from the midst.
    pub max_deleted_id: Id,
    /// Entries that were ever added.
    pub entries_added: u64,
    /// The groups; their names differ.
    pub groups: Vec<Group>,
}

/// A group of consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// The last id that it was given.
    pub last_id: Id,
    /// Entries that it has read, or -1 if that is not known.
    pub entries_read: i64,
    /// What was delivered and not acknowledged, ascending.
    pub pending: Vec<Pending>,
    /// Its consumers; their names differ.
    pub consumers: Vec<Consumer>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its id; the entry itself may be gone.
    pub id: Id,
    /// When it was delivered last, in milliseconds since the epoch.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// To whom: an index into [`Group::consumers`].
    pub consumer: usize,
}

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Vec<u8>,
    /// When it was seen last, in milliseconds since the epoch.
    pub seen_ms: i64,
}

/// Reads a stream: as Redis 7 writes it if `full`, else as it did before.
pub(super) fn read(reader: &mut Reader<'_>, full: bool) -> Result<Stream> {
    let mut stream = Stream::default();
    let found = read_nodes(reader, &mut stream.nodes)?;
    stream.length = reader.number()?;
    if stream.length != found.count {
        return Err(Malformed("a stream has not so many entries as it says"));
    }
    stream.last_id = read_id(reader)?;
    if found.last.is_some_and(|last| last > stream.last_id) {
        return Err(Malformed("an entry is behind the last id of its stream"));
    }
    stream.first_id = found.first.unwrap_or_default();
    stream.entries_added = stream.length;
    if full {
        // Where the first entry is has been seen.
        read_id(reader)?;
        stream.max_deleted_id = read_id(reader)?;
        stream.entries_added = reader.number()?;
    }
    let mut names = HashSet::new();
    for _ in 0..reader.length()? {
        let group = read_group(reader, &stream, full)?;
        if !names.insert(group.name.clone()) {
            return Err(Malformed("a group is repeated"));
        }
        stream.groups.push(group);
    }
    Ok(stream)
}

fn read_id(reader: &mut Reader<'_>) -> Result<Id> {
    Ok(Id { ms: reader.number()?, seq: reader.number()? })
}

/// What was seen of the entries of all nodes.
#[derive(Default)]
struct Found {
    /// Those that are there.
    count: u64,
    /// The first that is there.
    first: Option<Id>,
    /// The last that is there.
    last: Option<Id>,
}

/// Reads the nodes, in whatever order they come.
fn read_nodes(reader: &mut Reader<'_>, sorted: &mut Vec<(Id, Vec<u8>)>) -> Result<Found> {
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.length()? {
        let key = Id::from_bytes(&reader.string()?).ok_or(Malformed("the id of a node"))?;
        if nodes.insert(key, reader.string()?.into_owned()).is_some() {
            return Err(Malformed("a node is repeated"));
        }
    }
    let mut found = Found::default();
    for (key, bytes) in &nodes {
        read_node(*key, listpack::unwrap(bytes)?.0, &mut found)?;
    }
    sorted.extend(nodes);
    Ok(found)
}

const NODE: Malformed = Malformed("a node of a stream");

fn number(items: &mut Items<'_>) -> Result<i64> {
    match items.next() {
        Some(Item::Int(number)) => Ok(number),
        _ => Err(NODE),
    }
}

/// A number of fields; there cannot be more than there are bytes.
fn count(items: &mut Items<'_>) -> Result<usize> {
    usize::try_from(number(items)?).map_err(|_| NODE)
}

/// Reads a node's listpack:
///
/// ```text
/// entries | deleted | fields | field ... | 0
/// flags | ms | seq | [fields | field value ...] or [value ...] | items of the entry
/// ```
fn read_node(key: Id, run: &[u8], found: &mut Found) -> Result<()> {
    let mut items = pack::items(run);
    let skip = |items: &mut Items<'_>, count: usize| {
        (0..count).try_for_each(|_| items.next().map(drop)).ok_or(NODE)
    };
    let (entries, deleted) = (number(&mut items)?, number(&mut items)?);
    let fields = count(&mut items)?;
    skip(&mut items, fields)?;
    if number(&mut items)? != 0 {
        return Err(NODE);
    }
    let (mut seen, mut gone) = (0i64, 0i64);
    while items.position() < run.len() {
        let flags = number(&mut items)?;
        let (ms, seq) = (number(&mut items)?, number(&mut items)?);
        let id = Id { ms: key.ms.wrapping_add_signed(ms), seq: key.seq.wrapping_add_signed(seq) };
        let is_deleted = flags & DELETED != 0;
        // Deleted ones may have greater ids than those behind them, if the last id was set back since.
        if id < key || !is_deleted && found.last.is_some_and(|last| last >= id) {
            return Err(Malformed("ids of entries do not ascend"));
        }
        let pairs = if flags & SAME_FIELDS != 0 { fields } else { count(&mut items)? };
        let length = if flags & SAME_FIELDS != 0 {
            skip(&mut items, pairs)?;
            pairs + 3
        } else {
            skip(&mut items, pairs.saturating_mul(2))?;
            pairs * 2 + 4
        };
        if number(&mut items)? != length as i64 || pairs == 0 {
            return Err(NODE);
        }
        if is_deleted {
            gone += 1;
        } else {
            seen += 1;
            found.first = found.first.or(Some(id));
            found.last = Some(id);
        }
    }
    found.count += seen as u64;
    if (seen, gone) == (entries, deleted) { Ok(()) } else { Err(NODE) }
}

fn read_group(reader: &mut Reader<'_>, stream: &Stream, full: bool) -> Result<Group> {
    let name = reader.string()?.into_owned();
    let last_id = read_id(reader)?;
    let entries_read =
        if full { reader.number()? as i64 } else { estimate_entries_read(stream, last_id) };
    let mut pending = BTreeMap::new();
    for _ in 0..reader.length()? {
        let id = read_raw_id(reader)?;
        let (delivered_ms, deliveries) = (reader.time()?, reader.number()?);
        let entry = Pending { id, delivered_ms, deliveries, consumer: usize::MAX };
        if pending.insert(id, entry).is_some() {
            return Err(Malformed("a pending entry is repeated"));
        }
    }
    let (mut consumers, mut names) = (Vec::new(), HashSet::new());
    for consumer in 0..reader.length()? as usize {
        let name = reader.string()?.into_owned();
        if !names.insert(name.clone()) {
            return Err(Malformed("a consumer is repeated"));
        }
        consumers.push(Consumer { name, seen_ms: reader.time()? });
        for _ in 0..reader.length()? {
            let entry = pending.get_mut(&read_raw_id(reader)?);
            let entry = entry.ok_or(Malformed("a consumer has what is not pending"))?;
            if entry.consumer != usize::MAX {
                return Err(Malformed("two consumers have one entry"));
            }
            entry.consumer = consumer;
        }
    }
    let pending: Vec<Pending> = pending.into_values().collect();
    if pending.iter().any(|entry| entry.consumer == usize::MAX) {
        return Err(Malformed("no consumer has a pending entry"));
    }
    Ok(Group { name, last_id, entries_read, pending, consumers })
}

fn read_raw_id(reader: &mut Reader<'_>) -> Result<Id> {
    Id::from_bytes(reader.raw(16)?).ok_or(Malformed("an id"))
}

/// How many entries a group has read that was written before Redis 7 counted, or -1.
fn estimate_entries_read(stream: &Stream, last: Id) -> i64 {
    let length = stream.length as i64;
    if length == 0 {
        return 0;
    }
    match (last.cmp(&stream.last_id), last.cmp(&stream.first_id)) {
        (std::cmp::Ordering::Equal, _) => length,
        (std::cmp::Ordering::Greater, _) => -1,
        (_, std::cmp::Ordering::Less) => 0,
        (_, std::cmp::Ordering::Equal) => 1,
        _ => -1,
    }
}
