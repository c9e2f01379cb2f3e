//! The format does not change by accident: golden layouts and fingerprint, and an arena written by an
//! earlier build.

#[path = "common/world.rs"]
mod world;

use std::path::PathBuf;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use shm::arena::combined_fingerprint;
use shm::record::TypeLayout;
use shm::{Arena, Options, Record};
use world::{Model, Op, chunked, ordered, packed};

const ADVICE: &str = "The stored format has changed. If that was not the intention, take the change \
    back. If it was: raise `header::FORMAT` (or the version that covers it), describe the change in \
    the history at the end of docs/arena-format.md, put the new value here, and write a new fixture \
    with HOTREDIS_WRITE_FIXTURE=1 beside the old ones, of which those that can still be served stay \
    under test. Arenas of the two formats cannot be handed over to each other.";

#[test]
fn the_fingerprint_is_the_golden_one() {
    assert_eq!(format!("{:016x}", combined_fingerprint(0)), "fab7084082f6093a", "{ADVICE}");
}

/// Name, size and offsets of the fields of every record that is stored.
macro_rules! layouts {
    ($($ty:path { $($field:ident: $offset:expr),* $(,)? } = $size:expr;)*) => {
        #[test]
        fn every_record_lies_where_it_did() {
            $(
                $( assert_eq!(
                    std::mem::offset_of!($ty, $field), $offset,
                    "{}.{}: {ADVICE}", stringify!($ty), stringify!($field)
                ); )*
                assert_eq!(size_of::<$ty>(), $size, "{}: {ADVICE}", stringify!($ty));
                assert_eq!(align_of::<$ty>(), 1);
            )*
        }
    };
}

layouts! {
    shm::header::Header {
        magic: 0, format: 8, complete: 12, fingerprint: 16, id: 24, reserve: 40, created_ns: 48,
        hash_key: 56, root: 72,
    } = 80;
    shm::alloc::ClassHeader { partial: 0, spans: 8 } = 16;
    shm::alloc::HeapHeader {
        frontier: 0, used_spans: 8, holes: 16, large_spans: 24, large_live: 32, evacuating: 40, classes: 48,
    } = 1408;
    shm::alloc::RegionHeader { kind: 0, reserved: 1, free: 4, used: 8, holes: 2056 } = 4104;
    shm::alloc::SpanHeader {
        kind: 0, class: 1, evacuating: 2, reserved: 3, next: 8, previous: 16, search: 24, spans: 28,
        rest: 32,
    } = 64;
    shm::table::Table { directory: 0, len: 8, depth: 16, deepest: 20 } = 24;
    shm::table::SegmentHeader { depth: 0, reserved: 4, hint: 8, rest: 16 } = 64;
    shm::table::Bucket { meta: 0, slots: 8 } = 64;
    shm::tree::Tree { root: 0, height: 8 } = 16;
    shm::tree::Node { len: 0, room: 2, reserved: 4 } = 8;
    shm::tree::Pair { sort: 0, item: 8 } = 16;
    shm::tree::Branch { first: 0, count: 16, child: 24 } = 32;
    shm::blob::Blob { len: 0, data: 8, room: 16 } = 20;
    shm::deque::Deque { head: 0, tail: 8, len: 16, chunks: 24 } = 32;
    shm::deque::Bounds { start: 0, end: 4, len: 8 } = 12;
    shm::deque::Chunk { next: 0, previous: 8, bounds: 16, size: 28 } = 32;
}

#[test]
fn fixed_places_are_where_they_were() {
    use shm::{header, layout};
    let places = [
        (header::WORDS, 1024),
        (header::LOG.raw(), 2048),
        (header::HEAP.raw(), 4096),
        (layout::HEADER_SIZE, 64 << 10),
        (layout::UNDO, 1 << 30),
        (layout::FREES, 2 << 30),
        (layout::INPUT, 3 << 30),
        (layout::OUTPUT, 4 << 30),
        (layout::HEAP, 8 << 30),
        (layout::REGION, 1 << 30),
        (layout::SPAN, 64 << 10),
        (shm::undo::LogHeader::LAYOUT.size as u64, 192),
        (shm::table::SEGMENT_BYTES, 4032),
        (shm::blob::PART, 16320),
    ];
    places.iter().for_each(|(now, then)| assert_eq!(now, then, "{ADVICE}"));
}

mod other {
    shm::record! {
        pub struct A {
            pub x: shm::U64,
        }
    }
    shm::record! {
        pub struct HoldsA {
            pub inner: A,
        }
    }
}

/// The fingerprint sees a change inside of a nested record, of an array's length, and of names.
#[test]
fn different_records_have_different_fingerprints() {
    shm::record! { struct A { x: shm::U32, y: shm::U32 } }
    shm::record! { struct B { x: shm::U32, z: shm::U32 } }
    shm::record! { struct C { x: shm::U16, y: shm::U16, z: shm::U32 } }
    shm::record! { struct HoldsA { inner: A } }
    let all: [TypeLayout; 9] = [
        A::LAYOUT,
        B::LAYOUT,
        C::LAYOUT,
        other::A::LAYOUT,
        HoldsA::LAYOUT,
        other::HoldsA::LAYOUT,
        <[A; 2]>::LAYOUT,
        <[A; 3]>::LAYOUT,
        <[shm::U32; 4]>::LAYOUT,
    ];
    let hashes: std::collections::HashSet<u64> = all.iter().map(|layout| layout.hash).collect();
    assert_eq!(hashes.len(), all.len());
    assert_ne!(combined_fingerprint(0), combined_fingerprint(1));
}

/// What the fixture's transactions did, and one that was not finished.
fn ops() -> (Vec<Op>, Op) {
    let put = |key: u64| Op::Put { key, value: vec![key as u8; 20 + key as usize % 60], room: 0 };
    let mut ops: Vec<Op> = (0..70).map(put).collect();
    ops.push(Op::Swing);
    ops.push(Op::Drain { limit: 30 });
    ops.extend((40..60).map(put));
    ops.push(Op::Remove { key: 41 });
    ops.push(Op::Put { key: 7, value: vec![9; 10], room: 40_000 });
    ops.push(Op::Create { blob: 0, content: vec![1; 100] });
    ops.push(Op::Write { blob: 1, at: 20_000, content: vec![2; 50] });
    ops.push(Op::SetWord { index: 2, value: 0x0123_4567_89ab_cdef });
    let push = |value: &[u8], count| {
        let (end, value) = (shm::deque::End::Back, value.to_vec());
        Op::Deque(chunked::Op::Push { end, value, count })
    };
    let splice = |index, removed, values: &[&[u8]]| {
        let values = values.iter().map(|value| value.to_vec()).collect();
        Op::Packed(packed::Op { index, removed, values, how: packed::How::Splice })
    };
    ops.push(Op::Tree(ordered::Op::Insert { key: 5, count: 50, by: 1 }));
    ops.push(Op::Tree(ordered::Op::Swing));
    ops.push(Op::Tree(ordered::Op::Insert { key: 100, count: 70, by: 7 }));
    ops.push(Op::Tree(ordered::Op::RemoveRanks { rank: 20, count: 15 }));
    ops.extend([push(b"an item", 60), Op::Deque(chunked::Op::Swing), push(b"-70000", 40)]);
    ops.push(splice(0, 0, &[b"one", b"2", b"-3000", b"four", b"9223372036854775807", &[4; 90]]));
    ops.push(splice(2, 1, &[b"three"]));
    let unfinished = Op::Several(vec![
        Op::Remove { key: 50 },
        Op::SetWord { index: 2, value: 5 },
        Op::Append { blob: 0, content: vec![3; 200] },
        put(100),
        Op::Tree(ordered::Op::RemoveRanks { rank: 3, count: 40 }),
        push(b"more", 30),
        splice(1, 3, &[b"less"]),
    ]);
    (ops, unfinished)
}

fn fixture() -> PathBuf {
    let name = format!("arena-{}.bin", shm::header::FORMAT);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

const GRANULE: usize = 64;

/// The pieces of an arena that are not zero: offset, number of bytes, bytes, again and again.
fn pack(arena: &Arena) -> Vec<u8> {
    let mut packed = Vec::new();
    let areas = [(0, 64 << 10), (shm::layout::UNDO, 64 << 10), (shm::layout::FREES, 4096)];
    let heap = (shm::layout::HEAP, arena.heap_bytes());
    for (start, length) in areas.into_iter().chain([heap]) {
        for at in (start..start + length).step_by(GRANULE) {
            let bytes = arena.bytes(shm::Off::new(at), GRANULE);
            if bytes.iter().any(|byte| *byte != 0) {
                packed.extend_from_slice(&at.to_le_bytes());
                packed.extend_from_slice(bytes);
            }
        }
    }
    packed
}

fn unpack(packed: &[u8]) -> std::os::fd::OwnedFd {
    let fd = memfd_create(c"fixture", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let file = std::fs::File::from(fd);
    let reserve = u64::from_le_bytes(packed[8 + 40..8 + 48].try_into().unwrap());
    file.set_len(reserve).unwrap();
    for piece in packed.chunks(8 + GRANULE) {
        let at = u64::from_le_bytes(piece[..8].try_into().unwrap());
        std::os::unix::fs::FileExt::write_all_at(&file, &piece[8..], at).unwrap();
    }
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    file.into()
}

#[test]
fn an_arena_of_an_earlier_build_is_served() {
    let (ops, unfinished) = ops();
    let mut arena = world::new_world(&Options { reserve: 0, ..Options::default() });
    let mut model = Model::default();
    for (i, op) in ops.iter().enumerate() {
        world::run(&mut arena, op, i as u64, Some(&mut model)).unwrap();
    }
    if std::env::var_os("HOTREDIS_WRITE_FIXTURE").is_some() {
        let mut tx = arena.begin();
        world::apply(&mut tx, &unfinished, None).unwrap();
        std::mem::forget(tx);
        std::fs::write(fixture(), pack(&arena)).unwrap();
    }
    let packed = std::fs::read(fixture()).expect("the fixture of this format");
    let mut arena = Arena::from_fd(unpack(&packed), 0).unwrap_or_else(|e| panic!("{e}; {ADVICE}"));
    arena.recover();
    assert_eq!(arena.payload()[0], ops.len() as u64 - 1);
    assert!(world::read(&arena).unwrap() == model, "{ADVICE}");
    // And it goes on.
    for (i, op) in [unfinished, Op::Drain { limit: 500 }, Op::Maintain].iter().enumerate() {
        world::run(&mut arena, op, i as u64, Some(&mut model)).unwrap();
    }
    assert!(world::read(&arena).unwrap() == model);
}

/// The hash of a key under a given hash key: a table is useless to a build that hashes otherwise.
#[test]
fn the_hash_function_is_sip_hash_1_3() {
    let packed = std::fs::read(fixture()).expect("the fixture of this format");
    let arena = Arena::from_fd(unpack(&packed), 0).unwrap();
    let expected = siphasher::sip::SipHasher13::new_with_key(&arena.header().hash_key).hash(b"key");
    assert_eq!(arena.hash(b"key"), expected);
    let known = siphasher::sip::SipHasher13::new_with_key(&[0; 16]).hash(b"key");
    assert_eq!(known, 16_096_343_404_774_037_440, "{ADVICE}");
}
