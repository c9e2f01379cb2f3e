//! The arena: bytes become operations on tables, blobs, words and memory, with deaths and successors
//! in between, and the plain model says what must be there afterwards.

#![no_main]

#[path = "../../shm/tests/common/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use shm::{Arena, Options};
use world::{Model, Op};

/// Takes numbers from the input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first)
    }

    fn number(&mut self) -> u64 {
        self.byte() << 8 | self.byte()
    }

    fn content(&mut self) -> Vec<u8> {
        let (fill, size) = (self.byte() as u8, self.number());
        // Mostly small; some around the size of a part.
        let size =
            if size & 0xe000 == 0xe000 { shm::blob::PART - 4 + size % 9 } else { size % 300 };
        vec![fill; size as usize]
    }

    fn op(&mut self, depth: u32) -> Op {
        let blob = self.byte() as usize;
        match self.byte() % if depth < 2 { 14 } else { 11 } {
            0..=2 => Op::Put { key: self.byte(), value: self.content(), room: 0 },
            3 => Op::Put { key: self.byte(), value: self.content(), room: self.number() * 8 },
            4 => Op::Remove { key: self.byte() },
            5 => Op::Write { blob, at: self.number(), content: self.content() },
            6 => Op::Append { blob, content: self.content() },
            7 => Op::Clear { blob, limit: self.byte() as usize },
            8 => Op::Create { blob, content: self.content() },
            9 => Op::Shrink { hash: self.byte() << 56, steps: self.byte() as usize },
            10 if depth == 0 => Op::Maintain,
            10 => Op::SetWord { index: blob, value: self.number() },
            11 => Op::Swing,
            12 => Op::Drain { limit: self.byte() as usize },
            _ => {
                let several = (0..self.byte() % 8).map(|_| self.op(depth + 1)).collect();
                match (blob % 3, depth) {
                    (0, _) => Op::Several(several),
                    (1, 0) => Op::Abandoned(several),
                    _ => Op::Failing(several),
                }
            }
        }
    }
}

fn agree(arena: &Arena, model: &Model) {
    let found = world::read(arena).unwrap_or_else(|why| panic!("{why}"));
    assert!(found == *model, "the arena does not hold what the model holds");
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let cap = if input.byte() % 4 == 0 { 12 << 16 } else { u64::MAX };
    let mut arena = world::new_world(&Options { reserve: 0, cap, ..Options::default() });
    let mut model = Model::default();
    let mut number = 0;
    while !input.0.is_empty() {
        number += 1;
        match input.byte() {
            // A death amid a transaction, and a successor, which maps the arena elsewhere.
            0..=15 => {
                let op = input.op(1);
                let mut tx = arena.begin();
                let _ = world::apply(&mut tx, &op, None);
                std::mem::forget(tx);
                let fd = arena.mapping().fd().try_clone_to_owned().expect("a descriptor");
                arena = Arena::from_fd(fd, 0).expect("the same arena");
                arena.recover();
                agree(&arena, &model);
            }
            16..=23 => agree(&arena, &model),
            _ => {
                // Under the cap, an operation may fail; then the model is as it was, too.
                let _ = world::run(&mut arena, &input.op(0), number, Some(&mut model));
            }
        }
    }
    agree(&arena, &model);
});
