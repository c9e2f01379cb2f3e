//! Reading sorted sets of every form.

use std::ops::Range;

use shm::pack::{self, Digits, Item};
use shm::table;
use shm::tree::{self, Cursor, ROOM};
use shm::{Off, View};

use super::score::{decode, sort_key};
use super::{
    LexRange, ScoreRange, Zset, by_member, find_member, member_of, members, order, score_of,
};
use crate::keyspace::entry::{EntryView, Kind};
use crate::values::packed::Packed;
use crate::values::table::{sample, scan};

/// A sorted set, to be read.
#[derive(Clone, Copy)]
pub enum Reader<'a> {
    /// One in its entry.
    Packed(Packed<'a>),
    /// One in a table and a tree.
    Tree(&'a View, Off<Zset>),
}

/// A member with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element<'a> {
    /// The member; an integer stands for its decimal text.
    pub member: Item<'a>,
    /// The score.
    pub score: f64,
}

impl<'a> Element<'a> {
    #[inline]
    fn of(view: &'a View, block: Off<u8>) -> Element<'a> {
        Element { member: Item::Bytes(member_of(view, block)), score: score_of(view, block) }
    }
}

impl<'a> Reader<'a> {
    /// The sorted set of an entry; `None` if it is something else.
    #[inline]
    pub fn of(entry: &EntryView<'a>) -> Option<Reader<'a>> {
        match entry.kind() {
            Kind::ZsetPacked | Kind::ZsetSmall => Some(Reader::Packed(Packed::of(entry))),
            Kind::ZsetTree => Some(Reader::Tree(entry.view(), entry.value_off().cast())),
            _ => None,
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            Reader::Packed(packed) => packed.count as u64 / 2,
            Reader::Tree(view, zset) => tree::len(view, order(*zset)),
        }
    }

    /// Whether there are none; then the key is about to go.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Reader::Packed(packed) => {
                let at = pack::find(packed.run, 0, member, 1)?;
                Some(element_at(packed.run, at)?.0.score)
            }
            Reader::Tree(view, zset) => Some(score_of(view, find_member(view, *zset, member)?)),
        }
    }

    /// Number of elements before a member, if it is there.
    pub fn rank(&self, member: &[u8]) -> Option<u64> {
        match self {
            Reader::Packed(packed) => {
                let at = pack::find(packed.run, 0, member, 1)?;
                Some(pack::items(&packed.run[..at]).count() as u64 / 2)
            }
            Reader::Tree(view, zset) => {
                let score = score_of(view, find_member(view, *zset, member)?);
                let at = tree::find(view, order(*zset), sort_key(score), by_member(member));
                at.map(|at| at.rank(view))
            }
        }
    }

    /// The ranks of the elements with scores in a range.
    pub fn by_score(&self, range: &ScoreRange) -> Range<u64> {
        match self {
            Reader::Packed(_) => self.scan_range(
                |element| range.begins_behind(element.score),
                |element| range.ends_behind(element.score),
            ),
            Reader::Tree(view, zset) => {
                let rank = |key: Option<u64>| match key {
                    Some(key) => tree::partition_point(view, order(*zset), |_, sort, _| sort < key)
                        .rank(view),
                    None => self.len(),
                };
                let (start, end) = range.sort_keys();
                let start = rank(start);
                start..rank(end).max(start)
            }
        }
    }

    /// The ranks of the elements with members in a range. If the scores differ the result means
    /// nothing, but is one.
    pub fn by_member(&self, range: &LexRange<'_>) -> Range<u64> {
        match self {
            Reader::Packed(_) => self.scan_range(
                |element| range.begins_behind(element.member.text(&mut Digits::new())),
                |element| range.ends_behind(element.member.text(&mut Digits::new())),
            ),
            Reader::Tree(view, zset) => {
                let start = tree::partition_point(view, order(*zset), |view, _, block| {
                    range.begins_behind(member_of(view, block))
                });
                let end = tree::partition_point(view, order(*zset), |view, _, block| {
                    range.ends_behind(member_of(view, block))
                });
                let start = start.rank(view);
                start..end.rank(view).max(start)
            }
        }
    }

    /// The ranks between the first elements for which the two say no.
    fn scan_range(
        &self,
        begins_behind: impl Fn(&Element<'_>) -> bool,
        ends_behind: impl Fn(&Element<'_>) -> bool,
    ) -> Range<u64> {
        let mut elements = self.elements(0).peekable();
        let mut start = 0;
        while elements.next_if(&begins_behind).is_some() {
            start += 1;
        }
        let mut end = start;
        while elements.next_if(&ends_behind).is_some() {
            end += 1;
        }
        start..end
    }

    /// The elements from a rank on, in ascending order.
    #[inline]
    pub fn elements(&self, rank: u64) -> Elements<'a> {
        match *self {
            Reader::Packed(packed) => {
                let index = (rank as usize).saturating_mul(2).min(packed.count);
                let at = pack::nth(packed.run, packed.count, index);
                Elements::Packed(packed.run, at)
            }
            Reader::Tree(view, zset) => Elements::Tree(view, tree::select(view, order(zset), rank)),
        }
    }

    /// The elements before a rank, in descending order.
    #[inline]
    pub fn elements_back(&self, rank: u64) -> Elements<'a> {
        match self.elements(rank) {
            Elements::Packed(run, at) => Elements::PackedBack(run, at),
            Elements::Tree(view, cursor) => Elements::TreeBack(view, cursor),
            other => other,
        }
    }

    /// The elements of a range of ranks, in one direction or the other.
    pub fn slice(&self, ranks: Range<u64>, reverse: bool) -> std::iter::Take<Elements<'a>> {
        let count = ranks.end.saturating_sub(ranks.start) as usize;
        let elements = match reverse {
            false => self.elements(ranks.start),
            true => self.elements_back(ranks.end),
        };
        if let Elements::Tree(view, cursor) | Elements::TreeBack(view, cursor) = &elements {
            cursor.prefetch(view, count, !reverse);
        }
        elements.take(count)
    }

    /// So many different elements chosen at random; all if there are not so many. `random` gives
    /// random numbers.
    pub fn sample(&self, count: usize, mut random: impl FnMut() -> u64) -> Vec<Element<'a>> {
        match *self {
            Reader::Packed(_) => {
                let mut all: Vec<Element<'a>> = self.elements(0).collect();
                for i in 0..count.min(all.len()) {
                    let other = i + random() as usize % (all.len() - i);
                    all.swap(i, other);
                }
                all.truncate(count);
                all
            }
            Reader::Tree(view, zset) => {
                let blocks = sample(view, members(zset), count, random);
                blocks.into_iter().map(|block| Element::of(view, block)).collect()
            }
        }
    }

    /// One element chosen at random, each with the same chance.
    pub fn random(&self, random: u64) -> Option<Element<'a>> {
        self.elements(random % self.len().max(1)).next()
    }

    /// Visits about `count` elements, those behind a cursor of `ZSCAN`; gives the next cursor, 0 at the
    /// end. Of a packed value all are visited at once.
    pub fn scan(&self, cursor: u64, count: u64, mut each: impl FnMut(Element<'_>)) -> u64 {
        match *self {
            Reader::Packed(_) => {
                self.elements(0).for_each(each);
                0
            }
            Reader::Tree(view, zset) => scan(view, members(zset), cursor, count, |view, block| {
                each(Element::of(view, block));
            }),
        }
    }

    /// Calls `each` with every element, in no order, without following the tree: for those who gather
    /// all of them.
    pub fn for_each(&self, mut each: impl FnMut(Element<'a>)) {
        match *self {
            Reader::Packed(_) => self.elements(0).for_each(each),
            Reader::Tree(view, zset) => {
                table::for_each(view, members(zset), |_, block| each(Element::of(view, block)));
            }
        }
    }
}

/// The element whose member starts at `at`, and where the next one does.
#[inline]
pub(super) fn element_at(run: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let (member, at) = pack::next(run, at)?;
    let (score, at) = pack::next(run, at)?;
    Some((Element { member, score: decode(score) }, at))
}

/// Elements in order, or in the opposite order.
#[derive(Clone)]
pub enum Elements<'a> {
    /// Of a packed run, from a position on.
    Packed(&'a [u8], usize),
    /// Of a packed run, backwards from a position.
    PackedBack(&'a [u8], usize),
    /// Of a tree, from a place on.
    Tree(&'a View, Cursor),
    /// Of a tree, backwards from a place.
    TreeBack(&'a View, Cursor),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Elements::Packed(run, at) => {
                let (element, behind) = element_at(run, *at)?;
                *at = behind;
                Some(element)
            }
            Elements::PackedBack(run, at) => {
                let (score, middle) = pack::previous(run, *at)?;
                let (member, start) = pack::previous(run, middle)?;
                *at = start;
                Some(Element { member, score: decode(score) })
            }
            Elements::Tree(view, cursor) => {
                let view = *view;
                let (_, block) = cursor.pair(view)?;
                cursor.advance(view);
                if cursor.begins_leaf() {
                    cursor.prefetch(view, ROOM, true);
                }
                Some(Element::of(view, block))
            }
            Elements::TreeBack(view, cursor) => {
                let view = *view;
                let was_first = cursor.begins_leaf();
                if !cursor.retreat(view) {
                    return None;
                }
                if was_first {
                    cursor.prefetch(view, ROOM, false);
                }
                let (_, block) = cursor.pair(view)?;
                Some(Element::of(view, block))
            }
        }
    }
}
