//! Entries made of what was read.

use shm::pack::{self, Item};
use shm::{Fresh, OutOfMemory, Tx};

use crate::config::ConfigValues;
use crate::rdb::object::{self, Object};
use crate::rdb::stream::Stream;
use crate::values::stream::group::{self, Position};
use crate::values::stream::serial::{self, Builder};
use crate::values::stream::{self, Counts, Id};
use crate::values::string::{self, Encoded};
use crate::values::{hash, list, set, zset};

/// Why no entry could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The value is not sound after all.
    Unsound,
    /// There is no memory left.
    Oom,
}

impl From<OutOfMemory> for Refused {
    fn from(_: OutOfMemory) -> Refused {
        Refused::Oom
    }
}

impl From<serial::Refused> for Refused {
    fn from(refused: serial::Refused) -> Refused {
        match refused {
            serial::Refused::Damaged => Refused::Unsound,
            serial::Refused::Oom => Refused::Oom,
        }
    }
}

/// Makes an entry with a value that was read, in the form that the limits in force ask for.
pub fn load(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    object: &Object,
    config: &ConfigValues,
) -> Result<Fresh, Refused> {
    Ok(match object {
        Object::String(text) => string::create(tx, key, Encoded::of(text), expiry)?,
        Object::List(elements) => {
            let mut run = Vec::new();
            elements.iter().for_each(|element| pack::encode(&mut run, element));
            let limits = list::Limits::of(config.list_max_listpack_size());
            list::create(tx, key, expiry, &run, elements.len(), &limits)?
        }
        Object::Set(members) => {
            let content: set::Content = members.iter().map(Item::of).collect();
            let most_ints = config.set_max_intset_entries().min(set::INTS_MAX);
            set::create(tx, key, expiry, &content, most_ints)?
        }
        Object::Zset(zset) => load_zset(tx, key, expiry, zset, config)?,
        Object::Hash(hash) => load_hash(tx, key, expiry, hash, config)?,
        Object::Stream(stream) => load_stream(tx, key, expiry, stream)?,
    })
}

fn load_zset(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    from: &object::Zset,
    config: &ConfigValues,
) -> Result<Fresh, OutOfMemory> {
    let value = if from.packed { u64::MAX } else { config.zset_max_listpack_value() };
    let limits = zset::Limits { entries: config.zset_max_listpack_entries(), value };
    let mut builder = zset::Builder::default();
    for (member, score) in from.members.iter().zip(&from.scores) {
        builder.push(member, *score);
    }
    builder.create(tx, key, expiry, &limits)
}

fn load_hash(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    hash: &object::Hash,
    config: &ConfigValues,
) -> Result<Fresh, OutOfMemory> {
    let bytes = if hash.packed { u64::MAX } else { config.hash_max_listpack_value() };
    let limits = hash::Limits { fields: config.hash_max_listpack_entries(), bytes };
    let pairs =
        (0..hash.pairs.len() / 2).map(|at| (hash.pairs.get(at * 2), hash.pairs.get(at * 2 + 1)));
    hash::create(tx, key, expiry, pairs, &limits).map(|(fresh, _)| fresh)
}

fn load_stream(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    from: &Stream,
) -> Result<Fresh, Refused> {
    let id = |id: crate::rdb::stream::Id| Id { ms: id.ms, seq: id.seq };
    let mut builder = Builder::new(tx)?;
    for (master, listpack) in &from.nodes {
        builder.node(tx, id(*master), listpack)?;
    }
    let counts = Counts { len: from.length, added: from.entries_added, last: id(from.last_id) };
    builder.totals(tx, counts, id(from.max_deleted_id))?;
    for group in &from.groups {
        let read = (group.entries_read != -1).then_some(group.entries_read);
        let position = Position { last: id(group.last_id), read };
        let made = group::create(tx, builder.stream(), &group.name, position)?;
        let mut consumers = Vec::with_capacity(group.consumers.len());
        for consumer in &group.consumers {
            consumers.push(group::create_consumer(tx, made, &consumer.name, consumer.seen_ms)?);
        }
        for entry in &group.pending {
            let consumer = consumers[entry.consumer];
            let (time, count) = (entry.delivered_ms, entry.deliveries);
            group::add_pending(tx, made, consumer, id(entry.id), time, count)?;
        }
    }
    Ok(stream::create_with(tx, key, expiry, builder.stream())?)
}
