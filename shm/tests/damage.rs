//! The checker on damaged arenas: it finds what is wrong, and neither panics nor loops.

#[path = "common/world.rs"]
mod world;

use std::mem::offset_of;

use shm::deque::End;
use shm::layout::{HEAP, SPAN, SPANS_PER_REGION};
use shm::table::Table;
use shm::{Arena, Off, Options, U64, header};
use world::{Model, Op, Random, Root, chunked, ordered, packed};

fn world_with_everything() -> Arena {
    let mut arena = world::new_world(&Options { reserve: 0, ..Options::default() });
    let mut model = Model::default();
    let mut run = |op: Op| world::run(&mut arena, &op, 1, Some(&mut model)).unwrap();
    for key in 0..world::KEYS {
        let room = if key % 50 == 0 { 100_000 } else { 0 };
        run(Op::Put { key, value: vec![key as u8; key as usize], room });
    }
    run(Op::Swing);
    run(Op::Drain { limit: 120 });
    for key in 0..world::KEYS {
        run(Op::Put { key, value: vec![key as u8; 30], room: 0 });
    }
    run(Op::Create { blob: 0, content: vec![3; 40_000] });
    run(Op::Create { blob: 1, content: vec![3; 100] });
    for (count, swings) in [(300, true), (200, false)] {
        run(Op::Tree(ordered::Op::Insert { key: 9, count, by: 3 }));
        run(Op::Deque(chunked::Op::Push { end: End::Back, value: vec![b'x'; 30], count: 100 }));
        if swings {
            run(Op::Tree(ordered::Op::Swing));
            run(Op::Deque(chunked::Op::Swing));
        }
    }
    let values = vec![vec![b'y'; 20]; 20];
    run(Op::Packed(packed::Op { index: 0, removed: 0, values, how: packed::How::Splice }));
    run(Op::Put { key: 3, value: Vec::new(), room: 150_000 });
    run(Op::Remove { key: 3 });
    run(Op::Maintain);
    world::check(&arena).unwrap();
    arena
}

fn peek(arena: &Arena, at: u64) -> u64 {
    arena.read(Off::<U64>::new(at)).to_native()
}

fn poke(arena: &mut Arena, at: u64, value: u64) {
    // SAFETY: within the mapping; `arena` is borrowed exclusively.
    unsafe { arena.mapping().base().add(at as usize).cast::<u64>().write_unaligned(value) }
}

/// Changes one word, expects the checker to say `what`, and changes it back.
fn found(arena: &mut Arena, at: u64, change: impl FnOnce(u64) -> u64, what: &str) {
    let old = peek(arena, at);
    poke(arena, at, change(old));
    assert_ne!(peek(arena, at), old, "nothing changed for {what}");
    let findings = world::check(arena).expect_err(what);
    assert!(findings.contains(what), "{findings:.400}; instead of {what}");
    poke(arena, at, old);
    world::check(arena).unwrap();
}

#[test]
fn every_kind_of_damage_is_found() {
    let mut arena = world_with_everything();
    let root = world::root(&arena).raw();
    let span = root & !(SPAN - 1);
    let arena = &mut arena;
    // A block in use that nobody reaches; a block reached that is not in use.
    found(arena, span + 72, |w| w | 1 << 20, "in use but unreachable");
    found(arena, span + 64, |w| w & !1, "is no block in use");
    // Counts: of blocks, a class, the heap.
    let used = header::LOG.raw() + 96 + (peek(arena, header::LOG.raw()) >> 62 & 1) * 64;
    found(arena, used, |w| w + 8, "bytes in use");
    let heap = header::HEAP.raw();
    for (word, what) in [
        (0, "large block"),
        (1, "used spans"),
        (2, "holes"),
        (3, "spans of large blocks"),
        (4, "large blocks"),
        (5, "spans to be emptied"),
        (7, "spans of blocks of 16 bytes"),
    ] {
        // A frontier that is too low cuts spans off; the other counts just disagree.
        let change = |w: u64| if word == 0 { w - 12 } else { w + 1 };
        let old = peek(arena, heap + word * 8);
        poke(arena, heap + word * 8, change(old));
        let findings = world::check(arena).expect_err(what);
        assert!(word == 0 || findings.contains(what), "{findings}; instead of {what}");
        poke(arena, heap + word * 8, old);
    }
    found(arena, heap, |_| u64::MAX >> 1, "spans were used, but the heap is ready to");
    // The lists of spans with free blocks.
    let list =
        (0..42).map(|class| heap + 48 + class * 16).find(|at| peek(arena, *at) != 0).unwrap();
    found(arena, list, |w| w + SPAN * 1000, "leads to");
    found(arena, list, |w| w + 8, "leads to");
    found(arena, list, |_| 0, "in a list: false");
    let listed = peek(arena, list);
    found(arena, listed + 8, |_| listed, "has a loop");
    found(arena, listed + 16, |_| listed, "does not lead back");
    // Spans and regions.
    found(arena, span, |w| w & !0xff | 9, "of kind 9");
    found(arena, span, |w| w | 0xff00, "of kind 1");
    found(arena, HEAP, |w| w & !0xff, "has no header");
    found(arena, HEAP, |w| w + (1 << 32), "free spans of region 0");
    let beyond = HEAP + 8 + SPANS_PER_REGION / 8 - 8;
    found(arena, beyond, |w| w | 1 << 63, "in use beyond the frontier");
    found(arena, HEAP + 8 + SPANS_PER_REGION / 8, |w| w | 2, "in use and a hole");
    // The words of the header, the log.
    let refused = header::WORDS + 8 * header::REFUSED_FREES as u64;
    found(arena, refused, |_| 1, "freed twice");
    found(arena, header::LOG.raw(), |w| w | 5, "a transaction is unfinished");
    tables_and_blobs(arena, root);
}

fn tables_and_blobs(arena: &mut Arena, root: u64) {
    let (directory, depth) = (peek(arena, root), peek(arena, root + 16));
    assert!(depth as u32 > 0);
    found(arena, root + 8, |w| w + 1, "entries");
    found(arena, root + 16, |w| w + 40, "a directory of depth");
    found(arena, root + 16, |w| w + 1, "are needed");
    found(arena, root + 20, |w| w + 1, "deepest segments");
    found(arena, root, |w| w + 8, "is no block in use");
    found(arena, root, |_| u64::MAX, "is no block in use");
    found(arena, directory, |w| w + (1 << 50), "is no block in use");
    let second = peek(arena, directory + 8);
    found(arena, directory, |_| second, "");
    let segment = peek(arena, directory);
    found(arena, segment, |w| w | 0xff, "has depth");
    // A bucket with entries: its first slot.
    let slot = (0..62 * 8)
        .map(|i| segment + 64 + i * 8)
        .find(|at| !(at - segment).is_multiple_of(64) && peek(arena, *at) != 0)
        .unwrap();
    let content = peek(arena, slot);
    found(arena, slot, |_| 0, "in use but unreachable");
    found(arena, slot, |w| w ^ 1, "is no block in use");
    found(arena, slot, |w| w ^ 1 << 63, "belong to another one");
    let bucket = segment + (slot - segment) / 64 * 64;
    found(arena, bucket, |w| w + 1, "miscounts displaced");
    let empty = (1..8).map(|i| segment + 64 + 61 * 64 + i * 8).find(|at| peek(arena, *at) == 0);
    found(arena, empty.unwrap(), |_| content, "reached twice");
    // The blobs stand behind the two tables.
    let blob = root + 2 * size_of::<Table>() as u64;
    assert_eq!(peek(arena, blob), 40_000);
    found(arena, blob, |w| w + 1_000_000, "parts");
    found(arena, blob, |w| w - 30_000, "lies behind");
    found(arena, blob + 8, |_| 0, "without memory");
    let parts = peek(arena, blob + 8);
    found(arena, parts + 8, |_| 0, "in use but unreachable");
    let part = peek(arena, parts);
    found(arena, parts + 8, |_| part, "reached twice");
    found(arena, blob + 16, |w| w + 1_000_000, "are needed");
}

#[test]
fn no_damage_makes_the_checker_panic_or_loop() {
    let mut arena = world_with_everything();
    let root = world::root(&arena).raw();
    let frontier = peek(&arena, header::HEAP.raw());
    let mut places: Vec<(u64, u64)> = vec![
        (1024, 512),
        (2048, 192),
        (4096, 800),
        (root, size_of::<Root>() as u64),
        (HEAP, 64),
        (HEAP + 2056, 64),
    ];
    places.extend((1..frontier).map(|span| (HEAP + span * SPAN, 192)));
    let directory = peek(&arena, root);
    places.push((directory, 64));
    places.extend((0..4).map(|i| (peek(&arena, directory + i * 8), 4032)));
    let at = |offset: usize| root + offset as u64;
    let tree = peek(&arena, at(offset_of!(Root, trees)));
    // The pair of the first leaf of a tree with a node of branches.
    let leaf = peek(&arena, tree + 8 + 24);
    let chunk = peek(&arena, at(offset_of!(Root, deques)));
    let run = peek(&arena, at(offset_of!(Root, packed)));
    places.extend([(tree, 200), (leaf, 504), (chunk, 512), (run, 400)]);
    let mut random = Random(99);
    let mut unnoticed = 0;
    const ROUNDS: u64 = 3_000;
    for _ in 0..ROUNDS {
        let mut old = Vec::new();
        for _ in 0..1 + random.below(4) {
            let (start, length) = places[random.below(places.len() as u64) as usize];
            let at = start + random.below(length / 8) * 8;
            old.push((at, peek(&arena, at)));
            let value = match random.below(4) {
                0 => random.next(),
                1 => peek(&arena, at) ^ 1 << random.below(64),
                2 => HEAP + random.below(frontier) * SPAN,
                _ => peek(&arena, at).wrapping_add(random.below(3)).wrapping_sub(1),
            };
            poke(&mut arena, at, value);
        }
        unnoticed += u64::from(world::check(&arena).is_ok());
        old.into_iter().rev().for_each(|(at, value)| poke(&mut arena, at, value));
    }
    world::check(&arena).unwrap();
    println!("{unnoticed} of {ROUNDS} hit nothing that matters (unused words, contents, hints)");
    assert!(unnoticed < ROUNDS * 2 / 3);
}
