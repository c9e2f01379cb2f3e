//! Sets.
//!
//! | kind | what the entry holds |
//! | --- | --- |
//! | [`Kind::SetInt`] | sorted integers ([`shm::intset`]) |
//! | [`Kind::SetPacked`] | the number of members (4 bytes), and a canonical run of them ([`shm::pack`]) |
//! | [`Kind::SetTable`] | the root of a table of blocks, each a [`SetMember`] and its text |
//!
//! No member is there twice, and no set is empty while its key is there. Members are told apart by
//! their text; one that is the text of an integer is always looked at as an [`Item::Int`].

mod change;
mod table;

use shm::check::Checker;
use shm::intset::{self, IntSet};
use shm::pack::{self, Digits, Item};
use shm::table::Table;
use shm::{Fresh, Off, OutOfMemory, Tx, View};

pub use self::change::{Added, Content, Removed, add, create, pop, remove};
use self::table::Members as Blocks;
pub use self::table::SetMember;

use crate::keyspace::entry::{EntryView, Kind};
use crate::values::packed::{self, Packed};
use crate::values::table::{self as elements, Element};

/// Most members of a set in its entry that are not all integers.
pub const PACKED_MEMBERS: usize = 64;
/// Most bytes of the members of such a set.
pub const PACKED_BYTES: usize = 2048;
/// Most integers of a set in its entry, whatever the configuration says: changing one costs what
/// moving all of them does.
pub const INTS_MAX: u64 = 1 << 20;

/// A look at a set.
#[derive(Clone, Copy)]
pub enum Set<'a> {
    /// Integers in the entry.
    Ints(IntSet<'a>),
    /// Members in the entry.
    Packed(Packed<'a>),
    /// A table of members.
    Table(&'a View, Off<Table>),
}

impl<'a> Set<'a> {
    /// A look at an entry; `None` if it is no set.
    #[inline]
    pub fn of(entry: &EntryView<'a>) -> Option<Set<'a>> {
        Some(match entry.kind() {
            Kind::SetInt => Set::Ints(IntSet::new(entry.value())),
            Kind::SetPacked => Set::Packed(Packed::of(entry)),
            Kind::SetTable => Set::Table(entry.view(), entry.value_off().cast()),
            _ => return None,
        })
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            Set::Ints(ints) => ints.len() as u64,
            Set::Packed(packed) => packed.count as u64,
            Set::Table(view, table) => shm::table::len(view, *table),
        }
    }

    /// Whether there are none, which is true of no set in a database.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether that is a member.
    #[inline]
    pub fn contains(&self, member: Item<'_>) -> bool {
        match (self, member) {
            (Set::Ints(ints), Item::Int(number)) => ints.contains(number),
            (Set::Ints(_), Item::Bytes(_)) => false,
            (Set::Packed(packed), member) => {
                pack::find(packed.run, 0, member.text(&mut Digits::new()), 0).is_some()
            }
            (Set::Table(view, table), member) => {
                elements::find::<Blocks>(view, *table, member.text(&mut Digits::new())).is_some()
            }
        }
    }

    /// All members; integers in the entry ascend, everything else is in no particular order.
    pub fn members(&self) -> Members<'a> {
        match *self {
            Set::Ints(ints) => Members::Ints(ints, 0),
            Set::Packed(packed) => Members::Packed(packed.items()),
            Set::Table(view, table) => Members::Table(Box::new(
                shm::table::entries(view, table).map(|block| Item::of(Blocks::key(view, block))),
            )),
        }
    }

    /// A member chosen at random: each has a chance, though in a table not exactly the same one.
    /// `None` if there are none.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Item<'a>> {
        match *self {
            Set::Ints(ints) => ints.get(below(random(), self.len()) as usize).map(Item::Int),
            Set::Packed(packed) => {
                let index = below(random(), self.len()) as usize;
                let at = pack::nth(packed.run, packed.count, index);
                pack::next(packed.run, at).map(|(item, _)| item)
            }
            Set::Table(view, table) => {
                let block = shm::table::random_entry(view, table, random)?;
                Some(Item::of(Blocks::key(view, block)))
            }
        }
    }

    /// About `count` members, those behind a cursor of `SSCAN`, and the next cursor, 0 at the end.
    /// Sets in an entry are given as a whole.
    pub fn scan(&self, cursor: u64, count: u64) -> (u64, Vec<Item<'a>>) {
        let Set::Table(view, table) = *self else { return (0, self.members().collect()) };
        let mut blocks = Vec::new();
        let next = elements::scan(view, table, cursor, count, |_, block| blocks.push(block));
        (next, blocks.into_iter().map(|block| Item::of(Blocks::key(view, block))).collect())
    }
}

/// A number below `bound` that follows from a random one; 0 if the bound is 0.
#[inline]
pub fn below(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// The members of a set.
pub enum Members<'a> {
    /// Integers, from that position on.
    Ints(IntSet<'a>, usize),
    /// Items of a run.
    Packed(pack::Items<'a>),
    /// Blocks of a table.
    Table(Box<dyn Iterator<Item = Item<'a>> + 'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Members::Ints(ints, at) => {
                let number = ints.get(*at)?;
                *at += 1;
                Some(Item::Int(number))
            }
            Members::Packed(items) => items.next(),
            Members::Table(blocks) => blocks.next(),
        }
    }
}

/// Frees up to about `limit` blocks of what hangs on a root record. True when nothing is left.
pub fn free_step(tx: &mut Tx<'_>, at: Off<u8>, limit: usize) -> Result<bool, OutOfMemory> {
    elements::free_step(tx, at.cast(), limit)
}

/// Marks the blocks of a value and proves what holds of it.
pub fn mark(checker: &mut Checker<'_>, kind: Kind, at: Off<u8>, len: usize, what: &str) {
    match kind {
        Kind::SetInt => {
            if let Err(why) = intset::validate(checker.view().bytes(at, len)) {
                checker.finding(format!("{what}: {why}"));
            }
        }
        Kind::SetPacked => {
            let Some(packed) = packed::check(checker, at, len, what) else { return };
            let mut members: Vec<Vec<u8>> = packed.items().map(|item| item.to_vec()).collect();
            members.sort_unstable();
            if members.windows(2).any(|pair| pair[0] == pair[1]) {
                checker.finding(format!("{what}: a member is there twice"));
            }
        }
        _ => {
            // What was set aside to be freed has no length.
            if len > 0 && shm::table::len(checker.view(), at.cast()) == 0 {
                checker.finding(format!("{what}: a set without members"));
            }
            elements::mark::<Blocks>(checker, at.cast(), what, |_, _| {});
        }
    }
}

/// Bytes of what hangs on a root record.
pub fn memory(view: &View, at: Off<u8>, samples: u64) -> u64 {
    elements::memory(view, at.cast(), samples)
}

/// Copies what hangs on a root record; the copy's record goes to `start` in the fresh entry.
pub fn copy(tx: &mut Tx<'_>, from: Off<u8>, fresh: &Fresh, start: u64) -> Result<(), OutOfMemory> {
    elements::copy::<Blocks>(tx, from.cast(), fresh, start)
}

#[cfg(test)]
mod tests;
