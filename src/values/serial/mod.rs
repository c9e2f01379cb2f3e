//! Values in Redis's serialised form: [`dump`] writes one, [`load`] makes an entry of one.
//!
//! What is packed in Redis is packed in the same bytes here, so that such values have the same dump;
//! of tables the order differs.

pub mod digest;
mod load;

use shm::blob;

pub use load::load;

use super::set::Set;
use super::string::{self, Content};
use crate::keyspace::entry::{EntryView, Kind, Type};
use crate::rdb::kind;
use crate::rdb::writer::Writer;

/// The serialised form of an entry's value, without version and checksum. `compress` is
/// `rdbcompression`.
pub fn dump(entry: &EntryView<'_>, compress: bool) -> Vec<u8> {
    match entry.kind().value_type() {
        Type::String => dump_string(entry, compress),
        Type::Set => dump_set(entry, compress),
        _ => Vec::new(),
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
