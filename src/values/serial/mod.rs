//! Values in Redis's serialised form: [`dump`] writes one, [`load`] makes an entry of one.
//!
//! What is packed in Redis is packed in the same bytes here, so that such values have the same dump;
//! of tables the order differs.

pub mod digest;
mod load;
pub mod nodes;

use shm::{Off, View, blob, tree};

pub use load::{Refused, load};

use super::hash::Hash;
use super::list::List;
use super::packed::Packed;
use super::set::Set;
use super::stream::{self, group};
use super::string::{self, Content};
use super::zset;
use crate::config::ConfigValues;
use crate::keyspace::entry::{EntryView, Kind, Type};
use crate::rdb::writer::Writer;
use crate::rdb::{self, kind, listpack};

/// The serialised form of an entry's value, without version and checksum. What of the
/// configuration counts is in it.
pub fn dump(entry: &EntryView<'_>, config: &ConfigValues) -> Vec<u8> {
    let (compress, fill) = (config.rdbcompression(), config.list_max_listpack_size());
    match entry.kind().value_type() {
        Type::String => dump_string(entry, compress),
        Type::List => dump_list(entry, compress, fill),
        Type::Set => dump_set(entry, compress),
        Type::Zset => dump_zset(entry, compress),
        Type::Hash => dump_hash(entry, compress),
        Type::Stream => dump_stream(entry, compress),
    }
}

fn dump_string(entry: &EntryView<'_>, compress: bool) -> Vec<u8> {
    let mut writer = Writer::new(kind::STRING, compress);
    match string::content(entry) {
        Some(Content::Int(number)) => writer.integer(number),
        Some(Content::Bytes(bytes)) => writer.string(bytes),
        Some(Content::Blob(view, at)) => match blob::flat(view, at) {
            Some(bytes) => writer.string(bytes),
            None => writer.string(&blob::to_vec(view, at, 0, u64::MAX)),
        },
        None => {}
    }
    writer.finish()
}

fn dump_list(entry: &EntryView<'_>, compress: bool, fill: i32) -> Vec<u8> {
    /// A node that is a listpack.
    const PACKED: u64 = 2;
    let mut writer = Writer::new(kind::LIST_QUICKLIST_2, compress);
    let Some(list) = List::of(entry) else { return writer.finish() };
    let mut count = 0;
    nodes::each(&list, fill, |_| count += 1);
    writer.length(count);
    nodes::each(&list, fill, |node| {
        writer.length(PACKED);
        writer.string(&listpack::wrap(&node.run, node.count as u64));
    });
    writer.finish()
}

fn dump_set(entry: &EntryView<'_>, compress: bool) -> Vec<u8> {
    if entry.kind() == Kind::SetInt {
        let mut writer = Writer::new(kind::SET_INTSET, compress);
        writer.string(entry.value());
        return writer.finish();
    }
    let mut writer = Writer::new(kind::SET, compress);
    if let Some(set) = Set::of(entry) {
        writer.length(set.len());
        set.members().for_each(|member| writer.item(member));
    }
    writer.finish()
}

/// A packed list as a listpack.
fn dump_packed(entry: &EntryView<'_>, kind: u8, compress: bool) -> Vec<u8> {
    let packed = Packed::of(entry);
    let mut writer = Writer::new(kind, compress);
    writer.string(&listpack::wrap(packed.run, packed.count as u64));
    writer.finish()
}

fn dump_zset(entry: &EntryView<'_>, compress: bool) -> Vec<u8> {
    if entry.kind() == Kind::ZsetPacked {
        return dump_packed(entry, kind::ZSET_LISTPACK, compress);
    }
    let mut writer = Writer::new(kind::ZSET_2, compress);
    if let Some(zset) = zset::Reader::of(entry) {
        writer.length(zset.len());
        // The last one first, so that whoever reads it always inserts at the front.
        for element in zset.elements_back(zset.len()) {
            writer.item(element.member);
            writer.double(element.score);
        }
    }
    writer.finish()
}

fn dump_hash(entry: &EntryView<'_>, compress: bool) -> Vec<u8> {
    if entry.kind() == Kind::HashPacked {
        return dump_packed(entry, kind::HASH_LISTPACK, compress);
    }
    let mut writer = Writer::new(kind::HASH, compress);
    let hash = Hash::of(entry);
    writer.length(hash.len() as u64);
    hash.each(|field, value| {
        writer.item(field);
        writer.item(value);
    });
    writer.finish()
}

fn dump_stream(entry: &EntryView<'_>, compress: bool) -> Vec<u8> {
    let mut writer = Writer::new(kind::STREAM_LISTPACKS_2, compress);
    let Some(stream) = stream::of(entry) else { return writer.finish() };
    let view = entry.view();
    writer.length(stream::nodes(view, stream));
    stream::serial::for_each_node(view, stream, |node| {
        let mut listpack = Vec::new();
        stream::serial::to_listpack(node, &mut listpack);
        writer.string(&id_bytes(node.master));
        writer.string(&listpack);
    });
    let counts = stream::counts(view, stream);
    let ids = [counts.last, stream::first_id(view, stream), stream::max_deleted(view, stream)];
    writer.length(counts.len);
    for id in ids {
        writer.length(id.ms);
        writer.length(id.seq);
    }
    writer.length(counts.added);
    writer.length(group::count(view, stream));
    for one in group::all(view, stream) {
        dump_group(&mut writer, view, one);
    }
    writer.finish()
}

fn dump_group(writer: &mut Writer, view: &View, group: Off<group::Group>) {
    let position = group::position(view, group);
    writer.string(group::name(view, group));
    writer.length(position.last.ms);
    writer.length(position.last.seq);
    writer.length(position.read.unwrap_or(-1) as u64);
    let pending = group::pending(group);
    writer.length(tree::len(view, pending));
    for claim in group::pending_from(view, pending, stream::Id::MIN) {
        writer.raw(&id_bytes(claim.id));
        writer.time(claim.time);
        writer.length(claim.count);
    }
    writer.length(group::consumer_count(view, group));
    for consumer in group::consumers(view, group) {
        writer.string(group::consumer_name(view, consumer));
        writer.time(group::seen(view, consumer));
        let pending = group::pending_of(consumer);
        writer.length(tree::len(view, pending));
        for claim in group::pending_from(view, pending, stream::Id::MIN) {
            writer.raw(&id_bytes(claim.id));
        }
    }
}

/// An id as it sorts: big-endian.
fn id_bytes(id: stream::Id) -> [u8; 16] {
    rdb::stream::Id { ms: id.ms, seq: id.seq }.to_bytes()
}
