//! Hashes: fields and their values, packed in the entry or in a table.
//!
//! | kind | what the entry holds |
//! | --- | --- |
//! | [`Kind::HashPacked`] | a packed list of field, value, field, value, as long as Redis would keep a listpack |
//! | [`Kind::HashSmall`] | the same beyond those limits, but small all the same ([`SMALL_FIELDS`], [`SMALL_BYTES`]) |
//! | [`Kind::HashTable`] | the record of a table, with one block for each field |
//!
//! A block of the table is a [`Field`]: it begins with both lengths, so that another value that fits is
//! written over the old one.

mod change;

use std::collections::HashSet;

use shm::check::Checker;
use shm::pack::{self, Item};
use shm::table::{self, Table};
use shm::{Fresh, Off, OutOfMemory, Slot, Tx, U32, View, record};

use super::packed::{self, Packed};
use super::table as elements;
use crate::keyspace::entry::{EntryView, Kind};

pub use change::{Changed, Limits, Removed, create, remove, set};

/// Most fields of a [`Kind::HashSmall`].
pub const SMALL_FIELDS: usize = 64;
/// Most bytes of the run of a [`Kind::HashSmall`].
pub const SMALL_BYTES: usize = 2048;

record! {
    /// One field in a table; its bytes follow, then those of its value.
    pub struct Field {
        /// Bytes of the field.
        pub field_len: U32,
        /// Bytes of the value.
        pub value_len: Slot<U32>,
    }
}

impl Field {
    fn value_at(view: &View, block: Off<u8>) -> Off<u8> {
        let field = view.get(block.cast::<Field>()).field_len.to_native();
        block.byte_add(<Field as elements::Element>::HEADER + u64::from(field))
    }

    fn value(view: &View, block: Off<u8>) -> &[u8] {
        let len = view.get(block.cast::<Field>()).value_len.get().to_native();
        view.bytes(Field::value_at(view, block), len as usize)
    }
}

impl elements::Element for Field {
    const HEADER: u64 = size_of::<Field>() as u64;

    fn len(view: &View, block: Off<u8>) -> u64 {
        let field = view.get(block.cast::<Field>());
        let value = field.value_len.get().to_native();
        Self::HEADER + u64::from(field.field_len.to_native()) + u64::from(value)
    }

    #[inline(always)]
    fn key(view: &View, block: Off<u8>) -> &[u8] {
        let len = view.get(block.cast::<Field>()).field_len.to_native();
        view.bytes(block.byte_add(Self::HEADER), len as usize)
    }
}

/// A hash, to be read.
#[derive(Clone, Copy)]
pub enum Hash<'a> {
    /// Packed.
    Packed(Packed<'a>),
    /// In a table.
    Table(&'a View, Off<Table>),
}

/// A field and its value.
pub type Pair<'a> = (Item<'a>, Item<'a>);

impl<'a> Hash<'a> {
    /// The value of an entry that holds a hash.
    #[inline]
    pub fn of(entry: &EntryView<'a>) -> Hash<'a> {
        match entry.kind() {
            Kind::HashTable => Hash::Table(entry.view(), entry.value_off().cast()),
            _ => Hash::Packed(Packed::of(entry)),
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match self {
            Hash::Packed(packed) => packed.count / 2,
            Hash::Table(view, table) => table::len(view, *table) as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Item<'a>> {
        match *self {
            Hash::Packed(packed) => {
                let at = pack::find(packed.run, 0, field, 1)?;
                pack::next(packed.run, pack::skip(packed.run, at)).map(|(value, _)| value)
            }
            Hash::Table(view, table) => {
                let place = elements::find::<Field>(view, table, field)?;
                Some(Item::Bytes(Field::value(view, place.entry)))
            }
        }
    }

    /// Calls `each` with every field and its value.
    pub fn each(&self, mut each: impl FnMut(Item<'_>, Item<'_>)) {
        match self {
            Hash::Packed(packed) => pairs(packed).for_each(|(field, value)| each(field, value)),
            Hash::Table(view, table) => table::for_each(view, *table, |view, block| {
                let (field, value) = pair_in(view, block);
                each(field, value);
            }),
        }
    }

    /// Visits fields from a cursor on, about `count` of them, and gives the next cursor; a packed hash
    /// is visited as a whole.
    pub fn scan(&self, cursor: u64, count: u64, mut each: impl FnMut(Item<'_>, Item<'_>)) -> u64 {
        match self {
            Hash::Packed(_) => {
                self.each(each);
                0
            }
            Hash::Table(view, table) => {
                elements::scan(view, *table, cursor, count, |view, block| {
                    let (field, value) = pair_in(view, block);
                    each(field, value);
                })
            }
        }
    }

    /// A field chosen at random, each with the same chance; `None` if there are none.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Pair<'a>> {
        match *self {
            Hash::Packed(packed) => {
                let index = random() % (packed.count as u64 / 2).max(1);
                let at = pack::nth(packed.run, packed.count, index as usize * 2);
                pair_at(packed.run, at)
            }
            Hash::Table(view, table) => {
                table::random_entry(view, table, random).map(|block| pair_in(view, block))
            }
        }
    }

    /// Calls `each` with so many fields chosen at random, each with the same chance every time.
    pub fn draw(
        &self,
        count: usize,
        mut random: impl FnMut() -> u64,
        mut each: impl FnMut(Pair<'a>),
    ) {
        match *self {
            Hash::Packed(packed) => {
                let pairs: Vec<Pair<'a>> = pairs(&packed).collect();
                for _ in 0..count {
                    let index = random() % pairs.len().max(1) as u64;
                    pairs.get(index as usize).copied().into_iter().for_each(&mut each);
                }
            }
            Hash::Table(view, table) => {
                for _ in 0..count {
                    let block = table::random_entry(view, table, &mut random);
                    block.map(|block| pair_in(view, block)).into_iter().for_each(&mut each);
                }
            }
        }
    }

    /// So many different fields chosen at random, each with the same chance; all, if there are not more.
    pub fn sample(&self, count: usize, mut random: impl FnMut() -> u64) -> Vec<Pair<'a>> {
        match *self {
            Hash::Packed(packed) => {
                // Each pair with a chance of those wanted still to those still to come.
                let mut left = packed.count / 2;
                let mut wanted = count;
                let chosen = pairs(&packed).filter(|_| {
                    let take = ((random() % left.max(1) as u64) as usize) < wanted;
                    left -= 1;
                    wanted -= usize::from(take);
                    take
                });
                chosen.collect()
            }
            Hash::Table(view, table) => {
                let blocks = elements::sample(view, table, count, random);
                blocks.into_iter().map(|block| pair_in(view, block)).collect()
            }
        }
    }
}

fn pair_in(view: &View, block: Off<u8>) -> Pair<'_> {
    let field = <Field as elements::Element>::key(view, block);
    (Item::Bytes(field), Item::Bytes(Field::value(view, block)))
}

fn pair_at(run: &[u8], at: usize) -> Option<Pair<'_>> {
    let (field, behind) = pack::next(run, at)?;
    let (value, _) = pack::next(run, behind)?;
    Some((field, value))
}

fn pairs<'a>(packed: &Packed<'a>) -> impl Iterator<Item = Pair<'a>> + use<'a> {
    let mut items = packed.items();
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

/// Frees up to about `limit` blocks of what hangs on a root record. True when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, at: Off<u8>, limit: usize) -> Result<bool, OutOfMemory> {
    elements::free_step(tx, at.cast(), limit)
}

/// Marks the blocks of a value and proves what holds of it.
pub fn mark(checker: &mut Checker<'_>, kind: Kind, at: Off<u8>, len: usize, what: &str) {
    if kind == Kind::HashTable {
        elements::mark::<Field>(checker, at.cast(), what, |_, _| {});
        if len > 0 && table::len(checker.view(), at.cast()) == 0 {
            checker.finding(format!("{what}: the hash at {at:?} is empty"));
        }
        return;
    }
    let Some(packed) = packed::check(checker, at, len, what) else { return };
    let mut fields = HashSet::new();
    let same = pairs(&packed).filter(|(field, _)| !fields.insert(field.to_vec())).count();
    if !packed.count.is_multiple_of(2) || same > 0 {
        let count = packed.count;
        checker.finding(format!("{what}: {same} fields twice among {count} items at {at:?}"));
    }
}

/// Bytes of what hangs on a root record.
pub fn memory(view: &View, at: Off<u8>, samples: u64) -> u64 {
    elements::memory(view, at.cast(), samples)
}

/// Copies what hangs on a root record; the copy's record goes to `start` in the fresh entry.
pub fn copy(tx: &mut Tx<'_>, from: Off<u8>, fresh: &Fresh, start: u64) -> Result<(), OutOfMemory> {
    elements::copy::<Field>(tx, from.cast(), fresh, start)
}

#[cfg(test)]
mod tests;
