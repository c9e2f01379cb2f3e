//! Spans of the world's arena that are emptied: blocks of every container are moved.

use shm::alloc::{Ending, Evacuation, Survey};
use shm::{Arena, Mover, OutOfMemory, blob, deque, field, table, tree};

use super::chunked::Deques;
use super::ordered::Trees;
use super::{Random, Root, blob_at, root};

/// A part of an evacuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Marks every span with a free block.
    Mark,
    /// Moves what lies in marked spans, so much in a transaction.
    Move(u64),
    /// Takes the marks off.
    End,
}

/// Does a part of an evacuation, in transactions of its own.
pub fn evacuate(arena: &mut Arena, part: Part) -> Result<(), OutOfMemory> {
    match part {
        Part::Mark => {
            let mut survey = Survey::of_all();
            while survey.look(arena, 3) == Evacuation::More {}
            while survey.mark(arena, 3)? == Evacuation::More {}
        }
        Part::Move(looks) => relocate(arena, looks)?,
        Part::End => {
            let mut ending = Ending::default();
            while ending.step(arena, 3)? == Evacuation::More {}
        }
    }
    Ok(())
}

/// Moves what lies in spans that are to be emptied, so much in a transaction.
pub fn relocate(arena: &mut Arena, looks: u64) -> Result<(), OutOfMemory> {
    let root = root(arena);
    let (table, mut next) = (field!(root, Root.table), Some(table::Position::default()));
    while let Some(at) = next {
        next = arena.transact(|tx| {
            table::relocate_step(tx, table, at, &mut Mover::new(looks), |tx, mover, entry| {
                mover.relocate(tx, entry)
            })
        })?;
    }
    for blob in 0..2 {
        let mut next = Some(0);
        while let Some(part) = next {
            let blob = blob_at(root, blob);
            next =
                arena.transact(|tx| blob::relocate_step(tx, blob, part, &mut Mover::new(looks)))?;
        }
    }
    let (tree, mut next) = (field!(field!(root, Root.trees), Trees.live), Some(0));
    while let Some(rank) = next {
        next = arena.transact(|tx| {
            tree::relocate_step(tx, tree, rank, &mut Mover::new(looks), |tx, mover, _, item| {
                mover.relocate(tx, item)
            })
        })?;
    }
    let (deque, mut begins) = (field!(field!(root, Root.deques), Deques.live), true);
    while arena.transact(|tx| deque::relocate_step(tx, deque, begins, &mut Mover::new(looks)))? {
        begins = false;
    }
    Ok(())
}

/// A random part.
pub fn random_part(random: &mut Random) -> Part {
    match random.below(3) {
        0 => Part::Mark,
        1 => Part::Move(1 + random.below(90)),
        _ => Part::End,
    }
}
