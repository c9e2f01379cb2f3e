//! The world's ordered trees: one in use and one that is being taken apart, against sorted sets.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use shm::check::{Checker, mark_tree};
use shm::table::Drained;
use shm::tree::{self, Tree};
use shm::{Off, OutOfMemory, Slot, Tx, U64, View, field, record};

use super::Random;

record! {
    /// The trees. The block of a pair holds a number that decides among equal sort keys.
    pub struct Trees {
        /// The tree in use.
        pub live: Tree,
        /// A tree that is being taken apart.
        pub dead: Tree,
    }
}

impl Trees {
    /// Trees without pairs.
    pub const EMPTY: Trees = Trees { live: Tree::EMPTY, dead: Tree::EMPTY };
}

/// The trees without an arena: their pairs' keys, from which sort key and number follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub live: BTreeSet<u64>,
    pub dead: BTreeSet<u64>,
}

/// One change of the trees. Keys and ranks may be anything; they are reduced when used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Adds so many pairs, whose keys are `by` apart; one that is there gets another block.
    Insert { key: u64, count: u64, by: i64 },
    /// Removes a pair if it is there.
    Remove { key: u64 },
    /// Removes up to so many pairs from that rank on.
    RemoveRanks { rank: u64, count: u64 },
    /// Gives a pair, if it is there, the sort key of another one, unless that makes two of a kind.
    Resort { key: u64, to: u64 },
    /// Lets the tree become the dead one, if that is empty.
    Swing,
    /// Takes up to so many pairs out of the dead tree.
    Drain { limit: usize },
}

/// How many keys there are: enough for a tree of height two.
pub const KEYS: u64 = 1 << 11;
/// How many pairs may have the same sort key.
const EQUAL: u64 = 4;

fn sort_and_number(key: u64) -> (u64, u64) {
    (key / EQUAL, key % EQUAL)
}

fn number(view: &View, item: Off<u8>) -> u64 {
    view.read(item.cast::<U64>()).to_native()
}

fn compare(wanted: u64) -> impl Fn(&View, Off<u8>) -> Ordering {
    move |view, item| number(view, item).cmp(&wanted)
}

/// Does an operation in a transaction and, if there is one, in the model as well.
pub fn apply(
    tx: &mut Tx<'_>,
    at: Off<Trees>,
    op: &Op,
    model: Option<&mut Model>,
) -> Result<(), OutOfMemory> {
    let (live, dead) = (field!(at, Trees.live), field!(at, Trees.dead));
    let mut removed = Vec::new();
    let mut take_out = |tx: &mut Tx<'_>, sort: u64, item: Off<u8>| {
        removed.push(sort * EQUAL + number(tx, item));
        tx.free(item)
    };
    match op {
        Op::Insert { key, count, by } => {
            for key in keys(*key, *count, *by) {
                insert(tx, live, key)?;
            }
        }
        Op::Remove { key } => {
            let (sort, number) = sort_and_number(key % KEYS);
            if let Some(item) = tree::remove(tx, live, sort, compare(number))? {
                tx.free(item)?;
            }
        }
        Op::RemoveRanks { rank, count } => {
            let rank = rank % (tree::len(tx, live) + 1);
            tree::remove_ranks(tx, live, rank, *count, &mut take_out)?;
        }
        Op::Resort { key, to } => {
            let (old, number) = sort_and_number(key % KEYS);
            let (new, _) = sort_and_number(to % KEYS);
            let is_free = tree::find(tx, live, new, compare(number)).is_none();
            if let Some(place) = tree::find(tx, live, old, compare(number)).filter(|_| is_free) {
                tree::resort(tx, live, &place, new, compare(number))?;
            }
        }
        Op::Swing => {
            if tree::len(tx, dead) == 0 {
                let record = tx.read(live);
                tx.set(dead.cast::<Slot<Tree>>(), record)?;
                tx.set(live.cast::<Slot<Tree>>(), Tree::EMPTY)?;
            }
        }
        Op::Drain { limit } => {
            let done = tree::drain_step(tx, dead, *limit, &mut take_out)?;
            assert_eq!(done == Drained::All, tree::len(tx, dead) == 0);
        }
    }
    if let Some(model) = model {
        model.follow(op, &removed);
    }
    Ok(())
}

fn keys(from: u64, count: u64, by: i64) -> impl Iterator<Item = u64> {
    (0..count as i64).map(move |i| from.wrapping_add_signed(by * i) % KEYS)
}

fn insert(tx: &mut Tx<'_>, tree: Off<Tree>, key: u64) -> Result<(), OutOfMemory> {
    let (sort, number) = sort_and_number(key);
    let item = tx.alloc_record(U64::from_native(number))?.cast();
    let Some(place) = tree::find(tx, tree, sort, compare(number)) else {
        return tree::insert(tx, tree, sort, item, compare(number));
    };
    let (_, old) = place.pair(tx).expect("a pair was found");
    tree::replace(tx, tree, &place, sort, item)?;
    tx.free(old)
}

impl Model {
    /// What an operation means; `removed` are the keys that left a tree by their rank.
    fn follow(&mut self, op: &Op, removed: &[u64]) {
        match op {
            Op::Insert { key, count, by } => self.live.extend(keys(*key, *count, *by)),
            Op::Remove { key } => {
                self.live.remove(&(key % KEYS));
            }
            Op::RemoveRanks { rank, count } => {
                let rank = rank % (self.live.len() as u64 + 1);
                let goes = self.live.iter().skip(rank as usize).take(*count as usize);
                assert!(goes.eq(removed), "{op:?} took {removed:?}");
                self.live.retain(|key| removed.binary_search(key).is_err());
            }
            Op::Resort { key, to } => {
                let (old, new) = (key % KEYS, to % KEYS / EQUAL * EQUAL + key % EQUAL);
                if self.live.contains(&old) && !self.live.contains(&new) {
                    self.live.remove(&old);
                    self.live.insert(new);
                }
            }
            Op::Swing if self.dead.is_empty() => self.dead = std::mem::take(&mut self.live),
            Op::Swing => {}
            Op::Drain { limit } => {
                let goes = self.dead.iter().skip(self.dead.len().saturating_sub(*limit));
                assert!(goes.eq(removed), "{op:?} took {removed:?}");
                self.dead.retain(|key| removed.binary_search(key).is_err());
            }
        }
    }
}

/// Reads the trees out of an arena; an error says which cannot be right.
pub fn read(view: &View, at: Off<Trees>) -> Result<Model, String> {
    let mut model = Model::default();
    for (tree, keys) in
        [(field!(at, Trees.live), &mut model.live), (field!(at, Trees.dead), &mut model.dead)]
    {
        let mut count = 0;
        tree::for_each(view, tree, |view, sort, item| {
            count += 1;
            keys.insert(sort * EQUAL + number(view, item));
        });
        if count != keys.len() {
            return Err(format!("{count} pairs stand in a tree, of which {} differ", keys.len()));
        }
        let is_found = |rank: usize, key: u64| {
            let (sort, number) = sort_and_number(key);
            let place = tree::find(view, tree, sort, compare(number));
            place.is_some_and(|place| place.rank(view) == rank as u64)
        };
        // Some of them, since this is done after every store.
        let step = 1 + keys.len() / 16;
        if let Some((rank, key)) =
            keys.iter().enumerate().step_by(step).find(|(rank, key)| !is_found(*rank, **key))
        {
            return Err(format!("key {key} is in the tree, but not found at rank {rank}"));
        }
    }
    Ok(model)
}

/// Marks all that hangs on the trees.
pub fn mark(checker: &mut Checker<'_>, at: Off<Trees>) {
    let order = |view: &View, a, b| number(view, a).cmp(&number(view, b));
    for (tree, what) in [(field!(at, Trees.live), "tree"), (field!(at, Trees.dead), "dead tree")] {
        mark_tree(checker, tree, what, order, |checker, _, item| {
            checker.mark(item, size_of::<U64>() as u64, what)
        });
    }
}

/// A random operation.
pub fn random_op(random: &mut Random) -> Op {
    match random.below(12) {
        0..=3 => Op::Insert { key: random.next(), count: 1 + random.below(4), by: 1 },
        4 => Op::Insert { key: random.next(), count: random.below(40), by: 1 },
        5 => Op::Insert { key: random.next(), count: random.below(40), by: -3 },
        6 => Op::Remove { key: random.next() },
        7 | 8 => Op::RemoveRanks { rank: random.next(), count: random.below(30) },
        9 => Op::Resort { key: random.next(), to: random.next() },
        10 if random.below(3) == 0 => Op::Swing,
        _ => Op::Drain { limit: 1 + random.below(30) as usize },
    }
}
