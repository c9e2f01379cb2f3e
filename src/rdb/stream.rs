//! Streams, read.
//!
//! A stream is written as its nodes, each a listpack under the id that the others in it are told
//! relative to, then what is known of it as a whole, then the groups with their pending entries.

use std::collections::{BTreeMap, HashSet};

use shm::pack::{self, Item, Items};

use super::reader::Reader;
use super::strings::Strings;
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
    /// The least id, which no entry has.
    pub const ZERO: Id = Id { ms: 0, seq: 0 };
    /// The bytes as which keys and pending entries have it: big-endian, so that they sort.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Id> {
        let number = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Id { ms: (number >> 64) as u64, seq: number as u64 })
    }
}

/// Bits of an entry's flags.
pub mod flag {
    /// It was deleted.
    pub const DELETED: i64 = 1;
    /// Its fields are those of the node.
    pub const SAME_FIELDS: i64 = 2;
}

/// A stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The entries, by ids that ascend.
    pub entries: Vec<Entry>,
    /// Fields and values of all entries. Entries share fields, as they do in their nodes.
    strings: Strings,
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

/// An entry: its id, and which of the strings are its fields and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: Id,
    /// How many fields it has; at least one.
    pub pairs: usize,
    fields: usize,
    values: usize,
    /// From one field, and one value, to the next.
    step: usize,
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

impl Stream {
    /// Fields and values of one of the entries.
    pub fn pairs(
        &self,
        entry: &Entry,
    ) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone + use<'_> {
        let Entry { pairs, fields, values, step, .. } = *entry;
        (0..pairs).map(move |at| {
            (self.strings.get(fields + at * step), self.strings.get(values + at * step))
        })
    }
}

/// Reads a stream: as Redis 7 writes it if `full`, else as it did before.
pub(super) fn read(reader: &mut Reader<'_>, full: bool) -> Result<Stream> {
    let mut stream = Stream::default();
    read_nodes(reader, &mut stream)?;
    let length = reader.number()?;
    if length != stream.entries.len() as u64 {
        return Err(Malformed("a stream has not so many entries as it says"));
    }
    stream.last_id = read_id(reader)?;
    let (first, last) = (stream.entries.first(), stream.entries.last());
    if last.is_some_and(|entry| entry.id > stream.last_id) {
        return Err(Malformed("an entry is behind the last id of its stream"));
    }
    stream.first_id = first.map_or(Id::ZERO, |entry| entry.id);
    stream.entries_added = length;
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

/// Reads the nodes, in whatever order they come.
fn read_nodes(reader: &mut Reader<'_>, stream: &mut Stream) -> Result<()> {
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.length()? {
        let key = Id::from_bytes(&reader.string()?).ok_or(Malformed("the id of a node"))?;
        if nodes.insert(key, reader.string()?).is_some() {
            return Err(Malformed("a node is repeated"));
        }
    }
    for (key, bytes) in nodes {
        read_node(key, listpack::unwrap(&bytes)?.0, stream)?;
    }
    let ascend = stream.entries.is_sorted_by(|one, other| one.id < other.id);
    if ascend { Ok(()) } else { Err(Malformed("ids of entries do not ascend")) }
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
fn read_node(key: Id, run: &[u8], stream: &mut Stream) -> Result<()> {
    let mut items = pack::items(run);
    let (entries, deleted) = (number(&mut items)?, number(&mut items)?);
    let fields = count(&mut items)?;
    let mut digits = pack::Digits::new();
    let mut push = |strings: &mut Strings, items: &mut Items<'_>, count: usize| {
        for _ in 0..count {
            strings.push(items.next().ok_or(NODE)?.text(&mut digits));
        }
        Ok(())
    };
    let strings = &mut stream.strings;
    let master = strings.len();
    push(strings, &mut items, fields)?;
    if number(&mut items)? != 0 {
        return Err(NODE);
    }
    let (mut seen, mut gone) = (0i64, 0i64);
    while items.position() < run.len() {
        let flags = number(&mut items)?;
        let (ms, seq) = (number(&mut items)?, number(&mut items)?);
        let id = Id { ms: key.ms.wrapping_add_signed(ms), seq: key.seq.wrapping_add_signed(seq) };
        let start = strings.len();
        let (entry, length) = if flags & flag::SAME_FIELDS != 0 {
            push(strings, &mut items, fields)?;
            (Entry { id, pairs: fields, fields: master, values: start, step: 1 }, fields + 3)
        } else {
            let pairs = count(&mut items)?;
            push(strings, &mut items, pairs.saturating_mul(2))?;
            (Entry { id, pairs, fields: start, values: start + 1, step: 2 }, pairs * 2 + 4)
        };
        if number(&mut items)? != length as i64 || entry.pairs == 0 {
            return Err(NODE);
        }
        if flags & flag::DELETED == 0 {
            seen += 1;
            stream.entries.push(entry);
        } else {
            gone += 1;
            strings.truncate(start);
        }
    }
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
    let length = stream.entries.len() as i64;
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
