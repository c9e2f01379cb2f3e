//! Making sorted sets as a whole: for what is stored, restored or converted.

use shm::{Fresh, Off, OutOfMemory, Tx, pack, table, tree};

use super::score::{encode, sort_key};
use super::{Limits, Reader, Zset, new_element};
use crate::keyspace::entry::{self, Entry, EntryView, Identity, Kind};
use crate::values::packed;

/// Elements of a sorted set that is to be made.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    elements: Vec<(Box<[u8]>, f64)>,
}

impl Builder {
    /// Adds an element. The caller sees to it that no member comes twice.
    pub fn push(&mut self, member: &[u8], score: f64) {
        debug_assert!(!score.is_nan());
        self.elements.push((member.into(), score));
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none. A key cannot be made of that.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements, in order.
    pub fn sorted(&mut self) -> &[(Box<[u8]>, f64)] {
        let key = |score: f64| sort_key(score);
        if !self.elements.is_sorted_by(|a, b| (key(a.1), &a.0) <= (key(b.1), &b.0)) {
            self.elements.sort_unstable_by(|a, b| (key(a.1), &a.0).cmp(&(key(b.1), &b.0)));
        }
        &self.elements
    }

    /// Makes an entry with these elements, in the form that the limits say.
    pub fn create(
        &mut self,
        tx: &mut Tx<'_>,
        key: &[u8],
        expiry: Option<i64>,
        limits: &Limits,
    ) -> Result<Fresh, OutOfMemory> {
        let longest = self.elements.iter().map(|it| it.0.len()).max().unwrap_or(0);
        let elements = self.elements.len();
        let bytes = |it: &(Box<[u8]>, f64)| pack::encoded_len(&it.0) + 11;
        let fits = elements as u64 <= limits.entries || elements <= super::SMALL_ELEMENTS;
        let most = if fits { self.elements.iter().map(bytes).sum() } else { usize::MAX };
        let kind = limits.kind(Kind::ZsetPacked, elements, longest, most);
        let sorted = self.sorted();
        let Some(kind) = kind.filter(|_| fits) else {
            return create_tree(tx, key, expiry, sorted);
        };
        let mut run = Vec::with_capacity(most);
        for (member, score) in sorted {
            pack::encode(&mut run, member);
            encode(&mut run, *score, kind == Kind::ZsetSmall);
        }
        packed::create(tx, key, kind, expiry, elements * 2, &run)
    }
}

/// Makes an entry with one element.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    member: &[u8],
    score: f64,
    limits: &Limits,
) -> Result<Fresh, OutOfMemory> {
    let mut builder = Builder::default();
    builder.push(member, score);
    builder.create(tx, key, None, limits)
}

fn create_tree(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    sorted: &[(Box<[u8]>, f64)],
) -> Result<Fresh, OutOfMemory> {
    let mut made = Made::with_capacity(sorted.len());
    for (member, score) in sorted {
        let block = new_element(tx, member, *score)?;
        made.push(tx.hash(member), sort_key(*score), block);
    }
    let zset = made.finish(tx)?;
    Ok(entry::create_record(tx, key, Kind::ZsetTree, expiry, zset)?.0)
}

/// Elements in order, of which a table and a tree are to be made.
pub(super) struct Made {
    hashed: Vec<(u64, Off<u8>)>,
    pairs: Vec<(u64, Off<u8>)>,
}

impl Made {
    pub(super) fn with_capacity(elements: usize) -> Made {
        Made { hashed: Vec::with_capacity(elements), pairs: Vec::with_capacity(elements) }
    }

    /// Adds an element's block, which comes behind those before.
    pub(super) fn push(&mut self, hash: u64, sort: u64, block: Off<u8>) {
        self.hashed.push((hash, block));
        self.pairs.push((sort, block));
    }

    pub(super) fn finish(mut self, tx: &mut Tx<'_>) -> Result<Zset, OutOfMemory> {
        let members = table::build(tx, &mut self.hashed)?;
        Ok(Zset { members, order: tree::build(tx, &self.pairs)? })
    }
}

/// Makes an entry with the elements of a packed one in a tree, which is to take its place.
pub(super) fn to_tree(tx: &mut Tx<'_>, off: Off<Entry>) -> Result<Off<Entry>, OutOfMemory> {
    let (identity, elements) = {
        let entry = EntryView::new(tx, off);
        let elements: Vec<(Box<[u8]>, f64)> = Reader::of(&entry)
            .into_iter()
            .flat_map(|reader| reader.elements(0))
            .map(|element| (element.member.to_vec().into(), element.score))
            .collect();
        (Identity::of(&entry), elements)
    };
    let fresh = create_tree(tx, &identity.key, identity.expiry, &elements)?;
    Ok(identity.hand_over(tx, &fresh))
}
