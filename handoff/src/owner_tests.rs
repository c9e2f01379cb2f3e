use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use proptest::prelude::*;

use super::{Generation, Owner, OwnerWord};
use crate::error::OwnerError;
use crate::fence::{ExecutorLock, Fenced};

const ONE: Generation = Generation::FIRST;

fn two() -> Generation {
    ONE.next().unwrap()
}

/// Another build reads what this one writes: these values never change.
#[test]
fn the_encoding_is_golden() {
    let last = Generation::new(0x7fff_ffff).unwrap();
    let golden = [
        (Owner::Nobody, 0),
        (Owner::Serving(ONE), 0x4000_0000_0000_0001),
        (Owner::Serving(two()), 0x4000_0000_0000_0002),
        (Owner::Serving(last), 0x4000_0000_7fff_ffff),
        (Owner::Offered { from: ONE, to: two() }, 0x8000_0001_0000_0001),
        (Owner::Offered { from: last, to: last }, 0xbfff_ffff_ffff_ffff),
    ];
    for (owner, word) in golden {
        assert_eq!(owner.encode(), word, "{owner}");
        assert_eq!(Owner::decode(word), Ok(owner));
    }
}

#[test]
fn what_is_never_written_is_damage() {
    for word in [1, 1 << 31, 1 << 62, 0b11 << 62, 1 << 63, 0x8000_0000_0000_0001, u64::MAX] {
        assert_eq!(Owner::decode(word), Err(OwnerError::Invalid { word }), "{word:#x}");
    }
}

proptest! {
    #[test]
    fn a_word_means_one_state_or_none(word: u64) {
        if let Ok(owner) = Owner::decode(word) {
            prop_assert_eq!(owner.encode(), word);
        }
    }

    #[test]
    fn every_state_survives_the_word(from in 1_u32..1 << 31, to in 1_u32..1 << 31) {
        let (from, to) = (Generation::new(from).unwrap(), Generation::new(to).unwrap());
        for owner in [Owner::Serving(from), Owner::Offered { from, to }] {
            prop_assert_eq!(Owner::decode(owner.encode()), Ok(owner));
        }
    }
}

#[test]
fn generations_have_bounds_and_parities() {
    assert_eq!(Generation::new(0), None);
    assert_eq!(Generation::new(1 << 31), None);
    assert_eq!(Generation::new(0x7fff_ffff).unwrap().next(), None);
    assert_ne!(ONE.lock_index(), two().lock_index());
}

#[test]
fn an_offer_is_taken_once() {
    let (word, first, second) = (AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let owner = OwnerWord::new(&word);
    let lock_one = ExecutorLock::acquire(&first, ONE).unwrap();
    owner.found(&lock_one).unwrap();
    assert!(matches!(owner.found(&lock_one), Err(OwnerError::Changed { .. })));
    drop(lock_one);
    let lock_two = ExecutorLock::acquire(&second, two()).unwrap();
    assert!(owner.take(ONE, two(), &lock_two).is_err(), "nothing is offered");
    owner.offer(ONE, two()).unwrap();
    assert!(owner.offer(ONE, two()).is_err());
    owner.take(ONE, two(), &lock_two).unwrap();
    assert_eq!(
        owner.withdraw(ONE, two()),
        Err(OwnerError::Changed {
            expected: Owner::Offered { from: ONE, to: two() },
            found: Owner::Serving(two()),
        })
    );
    assert!(owner.take(ONE, two(), &lock_two).is_err());
}

#[test]
fn a_withdrawn_offer_cannot_be_taken() {
    let (word, second) = (AtomicU64::new(Owner::Serving(ONE).encode()), AtomicU32::new(0));
    let owner = OwnerWord::new(&word);
    let lock = ExecutorLock::acquire(&second, two()).unwrap();
    owner.offer(ONE, two()).unwrap();
    owner.withdraw(ONE, two()).unwrap();
    assert!(owner.take(ONE, two(), &lock).is_err());
    assert_eq!(owner.read(), Ok(Owner::Serving(ONE)));
}

#[test]
fn a_foreign_lock_takes_nothing() {
    let offered = Owner::Offered { from: ONE, to: two() }.encode();
    let (word, lock_word) = (AtomicU64::new(offered), AtomicU32::new(0));
    let lock = ExecutorLock::acquire(&lock_word, ONE).unwrap();
    assert_eq!(
        OwnerWord::new(&word).take(ONE, two(), &lock),
        Err(OwnerError::WrongLock { taker: two(), holder: ONE })
    );
    assert_eq!(word.load(Ordering::Relaxed), offered);
}

#[test]
fn nothing_is_retaken_from_whoever_is_not_proved_dead() {
    let (word, dead) = (AtomicU64::new(0), AtomicU32::new(libc::FUTEX_OWNER_DIED));
    let owner = OwnerWord::new(&word);
    let (fenced_one, fenced_two) =
        (Fenced::observe(&dead, ONE).unwrap(), Fenced::observe(&dead, two()).unwrap());
    word.store(Owner::Serving(two()).encode(), Ordering::Relaxed);
    assert_eq!(
        owner.retake_after_fence(&[&fenced_one], ONE),
        Err(OwnerError::NotFenced { generation: two() })
    );
    assert_eq!(owner.retake_after_fence(&[&fenced_two], ONE), Ok(Owner::Serving(two())));
    // Both could still act on an offer.
    let offered = Owner::Offered { from: ONE, to: two() };
    word.store(offered.encode(), Ordering::Relaxed);
    assert!(owner.retake_after_fence(&[&fenced_two], ONE).is_err());
    assert!(owner.retake_after_fence(&[&fenced_one], ONE).is_err());
    assert_eq!(owner.retake_after_fence(&[&fenced_one, &fenced_two], ONE), Ok(offered));
}

/// Everything that two processes can do with the word, as steps of one store or load each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    word: u64,
    giver: Giver,
    taker: Taker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Giver {
    Serves,
    Offered,
    /// Found its withdrawal too late; waits for SERVING or fences.
    SeesTaken,
    Killed,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Taker {
    Waits,
    Serves,
    /// Its compare-and-swap failed.
    GaveUp,
    Dead,
}

/// Plays every interleaving of one offer with withdrawal, take, death of the successor at any
/// point and fence, each step on the real word, and looks at every state that can be reached.
#[test]
fn no_interleaving_has_two_owners_or_loses_the_arena() {
    let start =
        World { word: Owner::Serving(ONE).encode(), giver: Giver::Serves, taker: Taker::Waits };
    let (mut seen, mut todo) = (HashSet::from([start]), vec![start]);
    let mut ends = HashSet::new();
    while let Some(world) = todo.pop() {
        check(world);
        let next = successors(world);
        if next.is_empty() {
            ends.insert((world.giver, world.taker));
        }
        todo.extend(next.into_iter().filter(|world| seen.insert(*world)));
    }
    assert!(seen.len() > 10, "the model has shrunk to {} states", seen.len());
    let wanted = HashSet::from([(Giver::Done, Taker::Serves)]);
    assert!(ends.is_superset(&wanted), "a plain upgrade is not among {ends:?}");
}

fn check(world: World) {
    let giver_may_write = world.giver == Giver::Serves;
    let taker_may_write = world.taker == Taker::Serves;
    assert!(!(giver_may_write && taker_may_write), "two owners: {world:?}");
    let owner = Owner::decode(world.word).unwrap();
    assert_eq!(giver_may_write, owner == Owner::Serving(ONE), "{world:?}");
    if taker_may_write {
        assert_eq!(owner, Owner::Serving(two()), "{world:?}");
    }
    // Whoever is still there can always bring it to an end: nobody is stuck without an owner.
    let stuck = successors(world).is_empty()
        && world.giver != Giver::Serves
        && (world.giver, world.taker) != (Giver::Done, Taker::Serves);
    assert!(!stuck, "nobody can go on: {world:?}");
}

fn successors(world: World) -> Vec<World> {
    let mut next = Vec::new();
    let mut step = |change: &dyn Fn(&mut World, OwnerWord<'_>)| {
        let mut new = world;
        let word = AtomicU64::new(world.word);
        change(&mut new, OwnerWord::new(&word));
        new.word = word.into_inner();
        next.push(new);
    };
    match world.giver {
        Giver::Serves if world.taker == Taker::Waits => step(&|new, word| {
            word.offer(ONE, two()).unwrap();
            new.giver = Giver::Offered;
        }),
        Giver::Offered => step(&|new, word| {
            new.giver = match word.withdraw(ONE, two()) {
                Ok(()) => Giver::Serves,
                Err(_) => Giver::SeesTaken,
            };
        }),
        Giver::SeesTaken if world.taker == Taker::Serves => {
            step(&|new, _| new.giver = Giver::Done);
            step(&|new, _| {
                new.giver = Giver::Killed;
                new.taker = Taker::Dead;
            });
        }
        Giver::SeesTaken | Giver::Killed if world.taker == Taker::Dead => step(&|new, word| {
            let dead = AtomicU32::new(libc::FUTEX_OWNER_DIED);
            let fenced = Fenced::observe(&dead, two()).unwrap();
            word.retake_after_fence(&[&fenced], ONE).unwrap();
            new.giver = Giver::Serves;
        }),
        _ => {}
    }
    if world.taker == Taker::Waits {
        // It may try at any time: a message that came early or late must not matter.
        step(&|new, word| {
            let lock_word = AtomicU32::new(0);
            let lock = ExecutorLock::acquire(&lock_word, two()).unwrap();
            new.taker = match word.take(ONE, two(), &lock) {
                Ok(()) => Taker::Serves,
                Err(_) => Taker::GaveUp,
            };
        });
    }
    if matches!(world.taker, Taker::Waits)
        || world.taker == Taker::Serves && world.giver != Giver::Done
    {
        step(&|new, _| new.taker = Taker::Dead);
    }
    next
}
