//! Any value, read.

use std::borrow::Cow;

use shm::{intset, pack};

use super::reader::Reader;
use super::stream::{self, Stream};
use super::strings::Strings;
use super::{Malformed, Result, kind, listpack, ziplist, zipmap};

/// A value, with what Redis's loading goes by when it chooses an encoding.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A string.
    String(Vec<u8>),
    /// A list with at least one element.
    List(Strings),
    /// A set of at least one member; all differ.
    Set(Strings),
    /// A sorted set.
    Zset(Zset),
    /// A hash.
    Hash(Hash),
    /// A stream.
    Stream(Stream),
}

/// A sorted set with at least one member; members differ, in whatever order they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Zset {
    /// The members.
    pub members: Strings,
    /// Their scores; none is NaN.
    pub scores: Vec<f64>,
    /// Whether it was written as one packed list, so that only the number of its members decides
    /// whether it becomes one again.
    pub packed: bool,
}

/// A hash with at least one field; fields differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// Fields and values in turn.
    pub pairs: Strings,
    /// As [`Zset::packed`].
    pub packed: bool,
}

const EMPTY: Malformed = Malformed("a collection is empty");
const REPEATED: Malformed = Malformed("an element is repeated");
const ODD: Malformed = Malformed("the last element has no partner");
const NAN: Malformed = Malformed("a score is not a number");

/// Reads the value of a dump: its kind and what follows. What stands behind it is not looked at, as
/// Redis does not.
pub fn read(dump: &[u8]) -> Result<Object> {
    let mut reader = Reader::new(dump);
    let kind = reader.byte()?;
    let reader = &mut reader;
    Ok(match kind {
        kind::STRING => Object::String(reader.string()?.into_owned()),
        kind::LIST => Object::List(elements(reader, 1)?),
        kind::SET => Object::Set(differing(elements(reader, 1)?, 1)?),
        kind::ZSET => Object::Zset(zset(reader, |reader| reader.text_double())?),
        kind::ZSET_2 => Object::Zset(zset(reader, |reader| reader.double())?),
        kind::HASH => Object::Hash(hash(elements(reader, 2)?, false)?),
        kind::HASH_ZIPMAP => Object::Hash(hash(zipmap::pairs(&reader.string()?)?, false)?),
        kind::LIST_ZIPLIST => Object::List(filled(ziplist::entries(&reader.string()?)?)?),
        kind::SET_INTSET => Object::Set(integers(&reader.string()?)?),
        kind::ZSET_ZIPLIST => Object::Zset(packed_zset(ziplist::entries(&reader.string()?)?)?),
        kind::ZSET_LISTPACK => Object::Zset(packed_zset(packed(&reader.string()?)?)?),
        kind::HASH_ZIPLIST => Object::Hash(hash(ziplist::entries(&reader.string()?)?, true)?),
        kind::HASH_LISTPACK => Object::Hash(hash(packed(&reader.string()?)?, true)?),
        kind::LIST_QUICKLIST => Object::List(quicklist(reader, false)?),
        kind::LIST_QUICKLIST_2 => Object::List(quicklist(reader, true)?),
        kind::STREAM_LISTPACKS => Object::Stream(stream::read(reader, false)?),
        kind::STREAM_LISTPACKS_2 => Object::Stream(stream::read(reader, true)?),
        _ => return Err(Malformed("unknown kind of a value")),
    })
}

fn filled(strings: Strings) -> Result<Strings> {
    if strings.is_empty() { Err(EMPTY) } else { Ok(strings) }
}

fn differing(strings: Strings, step: usize) -> Result<Strings> {
    if strings.repeats(step) { Err(REPEATED) } else { Ok(strings) }
}

/// A number, and so many elements of `each` strings; at least one.
fn elements(reader: &mut Reader<'_>, each: u64) -> Result<Strings> {
    let mut strings = Strings::new();
    for _ in 0..reader.length()? {
        for _ in 0..each {
            strings.push(&reader.string()?);
        }
    }
    filled(strings)
}

fn hash(pairs: Strings, packed: bool) -> Result<Hash> {
    if !pairs.len().is_multiple_of(2) {
        return Err(ODD);
    }
    Ok(Hash { pairs: differing(filled(pairs)?, 2)?, packed })
}

fn zset(reader: &mut Reader<'_>, score: impl Fn(&mut Reader<'_>) -> Result<f64>) -> Result<Zset> {
    let (mut members, mut scores) = (Strings::new(), Vec::new());
    for _ in 0..reader.length()? {
        members.push(&reader.string()?);
        let score = score(reader)?;
        if score.is_nan() {
            return Err(NAN);
        }
        scores.push(score);
    }
    Ok(Zset { members: differing(filled(members)?, 1)?, scores, packed: false })
}

/// The items of a listpack.
fn packed(bytes: &[u8]) -> Result<Strings> {
    let (run, _) = listpack::unwrap(bytes)?;
    let mut strings = Strings::new();
    append(&mut strings, run);
    Ok(strings)
}

fn append(strings: &mut Strings, run: &[u8]) {
    let mut digits = pack::Digits::new();
    pack::items(run).for_each(|item| strings.push(item.text(&mut digits)));
}

fn packed_zset(pairs: Strings) -> Result<Zset> {
    if !pairs.len().is_multiple_of(2) {
        return Err(ODD);
    }
    let (mut members, mut scores) = (Strings::new(), Vec::with_capacity(pairs.len() / 2));
    for (at, text) in pairs.iter().enumerate() {
        if at % 2 == 0 {
            members.push(text);
        } else {
            scores.push(listpack::score(text).ok_or(NAN)?);
        }
    }
    Ok(Zset { members: differing(filled(members)?, 1)?, scores, packed: true })
}

fn integers(bytes: &[u8]) -> Result<Strings> {
    let set = intset::validate(bytes).map_err(|_| Malformed("set of integers"))?;
    let mut digits = itoa::Buffer::new();
    let mut strings = Strings::new();
    set.iter().for_each(|number| strings.push(digits.format(number).as_bytes()));
    Ok(strings)
}

/// A list in nodes: ziplists, or listpacks and single elements.
fn quicklist(reader: &mut Reader<'_>, listpacks: bool) -> Result<Strings> {
    /// A node that is one element.
    const PLAIN: u64 = 1;
    /// A node that is a listpack.
    const PACKED: u64 = 2;
    let mut strings = Strings::new();
    for _ in 0..reader.length()? {
        let container = if listpacks { reader.length()? } else { PACKED };
        if !matches!(container, PLAIN | PACKED) {
            return Err(Malformed("unknown container of a node"));
        }
        let node: Cow<'_, [u8]> = reader.string()?;
        if node.is_empty() {
            return Err(Malformed("a node is empty"));
        }
        match (container, listpacks) {
            (PLAIN, _) => strings.push(&node),
            (_, true) => append(&mut strings, listpack::unwrap(&node)?.0),
            (_, false) => ziplist::entries(&node)?.iter().for_each(|entry| strings.push(entry)),
        }
    }
    filled(strings)
}
