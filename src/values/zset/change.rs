//! Changing sorted sets. What changes the entry's block gives the entry that the caller has to put in
//! its place, with [`keyspace::replace_reshaped`](crate::keyspace::replace_reshaped).

use shm::table::{self, Place};
use shm::{Off, OutOfMemory, Tx, U64, View, field, pack, tree};

use super::reader::element_at;
use super::score::{encode, sort_key};
use super::{
    Limits, Zset, ZsetMember, build, by_member, is_packed, member_of, members, new_element, order,
    score_of,
};
use crate::keyspace::entry::{self, Entry, EntryView, Kind};
use crate::values::packed::{self, Packed, Splice};
use crate::values::table::{find_hashed, take};

/// Where a member stands, or that it is not there; valid until the value changes.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    /// The member's score.
    pub score: Option<f64>,
    found: Found,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    /// Where the element starts in the run.
    Packed(usize),
    /// The member's hash, and where the table has its element.
    Tree(u64, Option<Place>),
}

/// Looks a member up in an entry that holds a sorted set.
#[inline]
pub fn locate(view: &View, off: Off<Entry>, member: &[u8]) -> Spot {
    let entry = EntryView::new(view, off);
    if is_packed(entry.kind()) {
        let run = Packed::of(&entry).run;
        let at = pack::find(run, 0, member, 1).unwrap_or(run.len());
        let score = element_at(run, at).map(|(element, _)| element.score);
        return Spot { score, found: Found::Packed(at) };
    }
    let hash = view.hash(member);
    let zset = entry.value_off().cast();
    let place = find_hashed::<ZsetMember>(view, members(zset), hash, member);
    let score = place.map(|place| score_of(view, place.entry));
    Spot { score, found: Found::Tree(hash, place) }
}

fn root(view: &View, off: Off<Entry>) -> Off<Zset> {
    EntryView::new(view, off).value_off().cast()
}

/// Adds an element whose member was located and is not there.
#[inline]
pub fn add(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    spot: &Spot,
    member: &[u8],
    score: f64,
    limits: &Limits,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let Found::Tree(hash, _) = spot.found else {
        return add_packed(tx, off, member, score, limits);
    };
    let zset = root(tx, off);
    let block = new_element(tx, member, score)?;
    table::insert(tx, members(zset), hash, block)?;
    tree::insert(tx, order(zset), sort_key(score), block, by_member(member))?;
    Ok(None)
}

fn add_packed(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    member: &[u8],
    score: f64,
    limits: &Limits,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let (old_kind, kind, at, bytes) = {
        let entry = EntryView::new(tx, off);
        let packed = Packed::of(&entry);
        let old = entry.kind();
        let elements = packed.count / 2 + 1;
        // What is there is within the limits, if it ever was.
        let length = packed.run.len() + pack::encoded_len(member) + 16;
        let kind = limits.kind(old, elements, member.len(), length);
        let mut bytes = Vec::with_capacity(member.len() + 32);
        encode_element(&mut bytes, member, score, kind == Some(Kind::ZsetSmall));
        (old, kind, insertion_point(packed.run, member, score), bytes)
    };
    let Some(kind) = kind else {
        let moved = build::to_tree(tx, off)?;
        let spot = locate(tx, moved, member);
        add(tx, moved, &spot, member, score, limits)?;
        return Ok(Some(moved));
    };
    if kind != old_kind {
        let len = EntryView::new(tx, off).value_len();
        entry::set_kind(tx, off, kind, len as u32)?;
    }
    packed::splice(tx, off, Splice { at, removed: 0, bytes: &bytes, items: 2 })
}

fn encode_element(bytes: &mut Vec<u8>, member: &[u8], score: f64, keep_sign: bool) {
    pack::encode(bytes, member);
    encode(bytes, score, keep_sign);
}

/// Where in a packed run an element belongs.
fn insertion_point(run: &[u8], member: &[u8], score: f64) -> usize {
    let is_before = |element: &super::Element<'_>| {
        element.score < score
            || element.score == score && element.member.text(&mut pack::Digits::new()) < member
    };
    // What comes in order belongs to the end.
    let last = pack::before(run, run.len()).and_then(|at| pack::before(run, at));
    if last.and_then(|at| element_at(run, at)).is_some_and(|(last, _)| is_before(&last)) {
        return run.len();
    }
    let mut at = 0;
    while let Some((element, behind)) = element_at(run, at)
        && is_before(&element)
    {
        at = behind;
    }
    at
}

/// Gives the member that was located another score.
#[inline]
pub fn rescore(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    spot: &Spot,
    member: &[u8],
    score: f64,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    match spot.found {
        Found::Packed(at) => rescore_packed(tx, off, at, member, score),
        Found::Tree(_, None) => Ok(None),
        Found::Tree(_, Some(place)) => {
            let tree = order(root(tx, off));
            let old = score_of(tx, place.entry);
            let block = place.entry.cast::<ZsetMember>();
            if sort_key(old) != sort_key(score) {
                let at = tree::find(tx, tree, sort_key(old), by_member(member));
                let at = at.expect("an element of the table is in the tree");
                tree::resort(tx, tree, &at, sort_key(score), by_member(member))?;
            }
            tx.set(field!(block, ZsetMember.score), U64::from_native(score.to_bits()))?;
            Ok(None)
        }
    }
}

fn rescore_packed(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    at: usize,
    member: &[u8],
    score: f64,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let (from, removed, bytes) = {
        let entry = EntryView::new(tx, off);
        let run = Packed::of(&entry).run;
        let behind = pack::skip(run, pack::skip(run, at));
        let rest = [&run[..at], &run[behind..]].concat();
        let to = insertion_point(&rest, member, score);
        let mut element = Vec::with_capacity(member.len() + 32);
        encode_element(&mut element, member, score, entry.kind() == Kind::ZsetSmall);
        // What lies between the old place and the new one changes sides with the element.
        if to <= at {
            (to, behind - to, [&element[..], &run[to..at]].concat())
        } else {
            let end = to + (behind - at);
            (at, end - at, [&run[behind..end], &element[..]].concat())
        }
    };
    packed::splice(tx, off, Splice { at: from, removed, bytes: &bytes, items: 0 })
}

/// Removes the member that was located. The caller removes a key whose last element went.
#[inline]
pub fn remove(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    spot: &Spot,
    member: &[u8],
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    match spot.found {
        Found::Packed(at) => {
            let entry = EntryView::new(tx, off);
            let run = Packed::of(&entry).run;
            let removed = pack::skip(run, pack::skip(run, at)) - at;
            packed::splice(tx, off, Splice { at, removed, bytes: &[], items: -2 })
        }
        Found::Tree(_, None) => Ok(None),
        Found::Tree(hash, Some(place)) => {
            let zset = root(tx, off);
            let sort = sort_key(score_of(tx, place.entry));
            tree::remove(tx, order(zset), sort, by_member(member))?;
            take(tx, members(zset), hash, &place)?;
            tx.free(place.entry)?;
            Ok(None)
        }
    }
}

/// Removes `count` elements from a rank on. The caller removes a key whose last element went.
pub fn remove_ranks(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    rank: u64,
    count: u64,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let entry = EntryView::new(tx, off);
    if is_packed(entry.kind()) {
        let packed = Packed::of(&entry);
        let elements = packed.count / 2;
        let from = (rank as usize).min(elements);
        let to = from.saturating_add(count as usize).min(elements);
        let at = pack::nth(packed.run, packed.count, from * 2);
        let removed = pack::nth(packed.run, packed.count, to * 2) - at;
        let items = -2 * (to - from) as isize;
        return packed::splice(tx, off, Splice { at, removed, bytes: &[], items });
    }
    let zset: Off<Zset> = entry.value_off().cast();
    tree::remove_ranks(tx, order(zset), rank, count, |tx, _, block| {
        let hash = tx.hash(member_of(tx, block));
        let place = table::find(tx, members(zset), hash, |_, other| other == block);
        let place = place.expect("an element of the tree is in the table");
        take(tx, members(zset), hash, &place)?;
        tx.free(block)
    })?;
    Ok(None)
}
