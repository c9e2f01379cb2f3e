//! Digests of values as `DEBUG DIGEST` tells them: the same for the same content, in whatever form it
//! is, here and in Redis.
//!
//! What is in order is *mixed*: the digest becomes the digest of itself and of what comes next. What
//! is in no order is added by exclusive or.

use sha1::{Digest as _, Sha1};
use shm::pack::Digits;

use crate::keyspace::entry::{EntryView, Type};
use crate::util::numbers::write_g17;
use crate::values::hash::Hash;
use crate::values::list::List;
use crate::values::set::Set;
use crate::values::string;
use crate::values::{stream, zset};

/// A digest under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Digest {
        Digest::default()
    }

    /// Adds bytes whatever their place.
    pub fn add(&mut self, bytes: &[u8]) {
        let other = Sha1::digest(bytes);
        self.0.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    }

    /// Adds bytes that come next.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds another digest whatever its place.
    pub fn add_digest(&mut self, other: &Digest) {
        self.add(&other.0);
    }

    /// Adds the value of an entry and whether it expires, but not its key.
    pub fn mix_value(&mut self, entry: &EntryView<'_>) {
        let kind = entry.kind().value_type();
        self.mix(&type_number(kind).to_be_bytes());
        let mut digits = Digits::new();
        match kind {
            Type::String => {
                let mut digits = itoa::Buffer::new();
                if let Some(content) = string::content(entry) {
                    self.mix(&content.bytes(&mut digits));
                }
            }
            Type::List => {
                let items = List::of(entry).into_iter().flat_map(|list| list.items());
                items.for_each(|item| self.mix(item.text(&mut digits)));
            }
            Type::Set => {
                let members = Set::of(entry).into_iter().flat_map(|set| set.members());
                members.for_each(|member| self.add(member.text(&mut digits)));
            }
            Type::Zset => {
                let elements =
                    zset::Reader::of(entry).into_iter().flat_map(|zset| zset.elements(0));
                for element in elements {
                    let mut one = Digest::new();
                    one.mix(element.member.text(&mut digits));
                    let mut score = Vec::new();
                    write_g17(&mut score, element.score);
                    one.mix(&score);
                    self.add_digest(&one);
                }
            }
            Type::Hash => Hash::of(entry).each(|field, value| {
                let mut pair = Digest::new();
                pair.mix(field.text(&mut digits));
                pair.mix(value.text(&mut digits));
                self.add_digest(&pair);
            }),
            Type::Stream => self.mix_stream(entry),
        }
        if entry.expiry().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn mix_stream(&mut self, entry: &EntryView<'_>) {
        let Some(at) = stream::of(entry) else { return };
        let mut digits = Digits::new();
        for entry in stream::entries::forward(entry.view(), at, stream::Id::MIN, stream::Id::MAX) {
            self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
            for (field, value) in entry.pairs() {
                self.mix(field.text(&mut digits));
                self.mix(value.text(&mut digits));
            }
        }
    }

    /// The digest in hexadecimal.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The number that Redis has for a type.
fn type_number(of: Type) -> u32 {
    match of {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::Zset => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}
