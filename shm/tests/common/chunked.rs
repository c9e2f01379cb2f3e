//! The world's deques of packed chunks: one in use and one that is freed step by step.

use std::collections::VecDeque;

use shm::check::{Checker, mark_deque};
use shm::deque::{self, Deque, Direction, End, Limits};
use shm::{Off, OutOfMemory, Slot, Tx, View, field, pack, record};

use super::Random;

record! {
    /// The deques.
    pub struct Deques {
        /// The deque in use.
        pub live: Deque,
        /// A deque that is being freed.
        pub dead: Deque,
    }
}

impl Deques {
    /// Deques without items.
    pub const EMPTY: Deques = Deques { live: Deque::EMPTY, dead: Deque::EMPTY };
}

/// The deques without an arena.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub live: VecDeque<Vec<u8>>,
    pub dead: VecDeque<Vec<u8>>,
}

/// One change of the deques. Indexes may be anything; they are reduced when used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Adds an item so many times at one end, while the deque is not full.
    Push { end: End, value: Vec<u8>, count: usize },
    /// Removes up to so many items at one end.
    Pop { end: End, count: usize },
    /// Inserts an item before or behind another one, if there is any.
    Insert { index: usize, value: Vec<u8>, behind: bool },
    /// Replaces an item, if there is any.
    Replace { index: usize, value: Vec<u8> },
    /// Removes up to so many items; whole chunks become the dead deque if there is none.
    RemoveRange { start: usize, count: usize },
    /// Removes up to so many items that are equal to a value.
    RemoveEqual { value: Vec<u8>, direction: Direction, most: u64 },
    /// Puts all items into new chunks.
    Refound,
    /// Lets a copy of the deque become the dead one, if there is none.
    Copy,
    /// Lets the deque become the dead one, if there is none.
    Swing,
    /// Frees up to so many chunks of the dead deque.
    Free { limit: usize },
}

/// Deques have no more items.
const MOST: usize = 400;
/// So small that there soon are several chunks.
const LIMITS: Limits = Limits::new(512, 24);

fn encoded(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack::encode(&mut bytes, value);
    bytes
}

/// Does an operation in a transaction and, if there is one, in the model as well.
pub fn apply(
    tx: &mut Tx<'_>,
    at: Off<Deques>,
    op: &Op,
    model: Option<&mut Model>,
) -> Result<(), OutOfMemory> {
    change(tx, at, op)?;
    if let Some(model) = model {
        model.follow(op, &items(tx, field!(at, Deques.dead)));
    }
    Ok(())
}

fn change(tx: &mut Tx<'_>, at: Off<Deques>, op: &Op) -> Result<(), OutOfMemory> {
    let (live, dead) = (field!(at, Deques.live), field!(at, Deques.dead));
    let len = deque::len(tx, live) as usize;
    let has_dead = deque::len(tx, dead) > 0;
    let place = |tx: &Tx<'_>, index: usize| deque::locate(tx, live, (index % len) as u64);
    match op {
        Op::Push { end, value, count } => {
            for _ in 0..(*count).min(MOST.saturating_sub(len)) {
                deque::push(tx, live, *end, &encoded(value), &LIMITS)?;
            }
        }
        Op::Pop { end, count } => {
            for _ in 0..(*count).min(len) {
                deque::pop(tx, live, *end)?;
            }
        }
        Op::Insert { index, value, behind } if (1..MOST).contains(&len) => {
            let mut place = place(tx, *index).expect("an item of that number");
            if *behind {
                place = deque::after(tx, place);
            }
            deque::insert(tx, live, place, &encoded(value), &LIMITS)?;
        }
        Op::Replace { index, value } if len > 0 => {
            let place = place(tx, *index).expect("an item of that number");
            deque::replace(tx, live, place, &encoded(value), &LIMITS)?;
        }
        Op::Insert { .. } | Op::Replace { .. } => {}
        Op::RemoveRange { start, count } => {
            let start = start % (len + 1);
            let cut = deque::remove(tx, live, start as u64..(start + count) as u64, &LIMITS)?;
            if has_dead {
                deque::free(tx, cut)?;
            } else {
                tx.set(dead.cast::<Slot<Deque>>(), cut)?;
            }
        }
        Op::RemoveEqual { value, direction, most } => {
            deque::remove_equal(tx, live, value, *direction, *most, &LIMITS)?;
        }
        Op::Refound => {
            let items = items(tx, live);
            let run: Vec<u8> = items.iter().flat_map(|value| encoded(value)).collect();
            while !deque::free_step(tx, live, 3)? {}
            deque::found(tx, live, &run, items.len(), &LIMITS)?;
        }
        Op::Copy if !has_dead => {
            let copied = deque::copy(tx, live)?;
            tx.set(dead.cast::<Slot<Deque>>(), copied)?;
        }
        Op::Swing if !has_dead => {
            let record = tx.read(live);
            tx.set(dead.cast::<Slot<Deque>>(), record)?;
            tx.set(live.cast::<Slot<Deque>>(), Deque::EMPTY)?;
        }
        Op::Copy | Op::Swing => {}
        Op::Free { limit } => {
            let done = deque::free_step(tx, dead, *limit)?;
            assert_eq!(done, deque::len(tx, dead) == 0);
        }
    }
    Ok(())
}

fn items(view: &View, deque: Off<Deque>) -> VecDeque<Vec<u8>> {
    deque::walk(view, deque, 0, Direction::Forward).map(|item| item.to_vec()).collect()
}

impl Model {
    /// What an operation means. `dead` is what the arena's dead deque holds then: which items share a
    /// chunk is the deque's business, and the model follows.
    fn follow(&mut self, op: &Op, dead: &VecDeque<Vec<u8>>) {
        let len = self.live.len();
        match op {
            Op::Push { end, value, count } => {
                for _ in 0..(*count).min(MOST.saturating_sub(len)) {
                    match end {
                        End::Front => self.live.push_front(value.clone()),
                        End::Back => self.live.push_back(value.clone()),
                    }
                }
            }
            Op::Pop { end: End::Front, count } => drop(self.live.drain(..(*count).min(len))),
            Op::Pop { end: End::Back, count } => self.live.truncate(len.saturating_sub(*count)),
            Op::Insert { index, value, behind } if (1..MOST).contains(&len) => {
                self.live.insert(index % len + usize::from(*behind), value.clone());
            }
            Op::Replace { index, value } if len > 0 => self.live[index % len] = value.clone(),
            Op::Insert { .. } | Op::Replace { .. } | Op::Refound => {}
            Op::RemoveRange { start, count } => {
                let start = start % (len + 1);
                let removed: Vec<_> = self.live.drain(start..(start + count).min(len)).collect();
                if self.dead.is_empty() && !dead.is_empty() {
                    let is_part = removed.windows(dead.len()).any(|part| dead.iter().eq(part));
                    assert!(is_part, "{op:?} cut off what was not removed");
                    self.dead = dead.clone();
                }
            }
            Op::RemoveEqual { value, direction, most } => {
                self.remove_equal(value, *direction, *most);
            }
            Op::Copy if self.dead.is_empty() => self.dead = self.live.clone(),
            Op::Swing if self.dead.is_empty() => self.dead = std::mem::take(&mut self.live),
            Op::Copy | Op::Swing => {}
            Op::Free { limit } => {
                let freed = self.dead.len().checked_sub(dead.len()).expect("nothing is added");
                assert!(freed >= (*limit).min(self.dead.len()), "{freed} items were freed");
                self.dead.drain(..freed);
            }
        }
        assert!(self.dead == *dead, "{op:?} left the dead deque with other items");
    }

    fn remove_equal(&mut self, value: &[u8], direction: Direction, most: u64) {
        if direction == Direction::Backward {
            self.live.make_contiguous().reverse();
        }
        let mut left = most;
        self.live.retain(|item| {
            let goes = left > 0 && item == value;
            left -= u64::from(goes);
            !goes
        });
        if direction == Direction::Backward {
            self.live.make_contiguous().reverse();
        }
    }
}

/// Reads the deques out of an arena, in both directions; an error says what cannot be right.
pub fn read(view: &View, at: Off<Deques>) -> Result<Model, String> {
    let (live, dead) = (field!(at, Deques.live), field!(at, Deques.dead));
    let model = Model { live: items(view, live), dead: items(view, dead) };
    for (deque, items) in [(live, &model.live), (dead, &model.dead)] {
        let last = items.len().saturating_sub(1) as u64;
        let backward = deque::walk(view, deque, last, Direction::Backward);
        if !backward.map(|item| item.to_vec()).eq(items.iter().rev().cloned()) {
            return Err("a deque reads differently from its end".to_owned());
        }
    }
    Ok(model)
}

/// Marks all that hangs on the deques.
pub fn mark(checker: &mut Checker<'_>, at: Off<Deques>) {
    mark_deque(checker, field!(at, Deques.live), "deque");
    mark_deque(checker, field!(at, Deques.dead), "dead deque");
}

fn random_end(random: &mut Random) -> End {
    if random.below(2) == 0 { End::Front } else { End::Back }
}

/// A random operation.
pub fn random_op(random: &mut Random) -> Op {
    match random.below(15) {
        0..=2 => Op::Push { end: random_end(random), value: random.value(), count: 1 },
        3 => {
            let count = random.below(20) as usize;
            Op::Push { end: random_end(random), value: random.value(), count }
        }
        4 => Op::Pop { end: random_end(random), count: 1 },
        5 => Op::Pop { end: random_end(random), count: random.below(25) as usize },
        6 | 7 => Op::Insert {
            index: random.next() as usize,
            value: random.value(),
            behind: random.below(2) == 0,
        },
        8 | 9 => Op::Replace { index: random.next() as usize, value: random.value() },
        10 => Op::RemoveRange { start: random.next() as usize, count: random.below(60) as usize },
        11 => Op::RemoveEqual {
            value: random.value(),
            direction: [Direction::Forward, Direction::Backward][random.below(2) as usize],
            most: 1 + random.below(6),
        },
        12 => Op::Refound,
        13 => [Op::Copy, Op::Swing][random.below(2) as usize].clone(),
        _ => Op::Free { limit: 1 + random.below(4) as usize },
    }
}
