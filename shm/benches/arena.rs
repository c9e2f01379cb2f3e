//! What the arena's operations cost: `cargo bench -p shm`, or with `-- NAME` those whose names hold
//! it. The best of several rounds is printed, since other load on the machine only ever adds.
//! `HOTREDIS_BENCH_MILLIONS` sets the entries of the large table (10).

use std::hint::black_box;
use std::time::{Duration, Instant};

use shm::check::{Checker, mark_table};
use shm::deque::{self, Deque, Direction, End, Limits};
use shm::table::{self, Table};
use shm::tree::{self, Tree};
use shm::{Arena, Off, Options, Slot, U64, pack};

const ROUNDS: usize = 7;

fn arena() -> Arena {
    Arena::create(&Options { grow_ahead: true, ..Options::default() }).unwrap().0
}

fn wanted(name: &str) -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    named.is_empty() || named.iter().any(|n| name.contains(n.as_str()))
}

fn report(name: &str, time: Duration, count: u64) {
    println!("{name:<44} {:>10.1} ns", time.as_nanos() as f64 / count as f64);
}

/// Times `count` operations, several rounds of them.
fn bench(name: &str, count: u64, mut round: impl FnMut()) {
    if !wanted(name) {
        return;
    }
    let timed = |_| {
        let begun = Instant::now();
        round();
        begun.elapsed()
    };
    let best = (0..ROUNDS).map(timed).min().unwrap_or_default();
    report(name, best, count);
}

fn transactions() {
    const N: u64 = 1_000_000;
    let mut arena = arena();
    bench("begin and commit, nothing changed", N, || {
        for i in 0..N {
            arena.begin().commit(&[i; 4]);
        }
    });
    let words: Off<Slot<U64>> = arena.transact(|tx| Ok(tx.alloc(1024)?.off().cast())).unwrap();
    bench("set of a word (100 a transaction)", N, || {
        for i in 0..N / 100 {
            let mut tx = arena.begin();
            for word in 0..100 {
                tx.set(words.nth(word), U64::from_native(i)).unwrap();
            }
            tx.commit(&[i; 4]);
        }
    });
    bench("write of 100 bytes (10 a transaction)", N, || {
        for i in 0..N / 10 {
            let mut tx = arena.begin();
            for _ in 0..10 {
                tx.write(words.cast(), black_box(&[7; 100])).unwrap();
            }
            tx.commit(&[i; 4]);
        }
    });
    bench("begin, one set, commit", N, || {
        for i in 0..N {
            let mut tx = arena.begin();
            tx.set(words, U64::from_native(i)).unwrap();
            tx.commit(&[i; 4]);
        }
    });
}

fn allocator() {
    const N: u64 = 1_000_000;
    let mut arena = arena();
    for size in [16, 48, 200, 4032] {
        let name = format!("alloc and free of {size} bytes, a transaction each");
        bench(&name, N, || {
            for i in 0..N {
                let mut tx = arena.begin();
                let block = tx.alloc(black_box(size)).unwrap();
                tx.commit(&[i; 4]);
                let mut tx = arena.begin();
                tx.free(block.off()).unwrap();
                tx.commit(&[i; 4]);
            }
        });
    }
    let mut blocks = Vec::with_capacity(N as usize);
    bench("alloc of a million blocks, then free", N, || {
        blocks.clear();
        for i in 0..N {
            let mut tx = arena.begin();
            blocks.push(tx.alloc(24 + i % 40).unwrap().off());
            tx.commit(&[i; 4]);
        }
        for block in &blocks {
            let mut tx = arena.begin();
            tx.free(*block).unwrap();
            tx.commit(&[0; 4]);
        }
    });
    bench("alloc and free of 1 MiB", 1_000, || {
        for _ in 0..1_000 {
            let block = arena.transact(|tx| tx.alloc(1 << 20).map(|fresh| fresh.off())).unwrap();
            arena.transact(|tx| tx.free(block)).unwrap();
        }
    });
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (n ^ n >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}

fn insert(arena: &mut Arena, table: Off<Table>, n: u64) {
    let mut tx = arena.begin();
    let entry = tx.alloc(24).unwrap();
    tx.init(&entry, 0, U64::from_native(n));
    table::insert(&mut tx, table, mixed(n), entry.off()).unwrap();
    tx.commit(&[n; 4]);
}

fn tables() {
    const N: u64 = 1_000_000;
    let mut arena = arena();
    let table: Off<Table> = arena.transact(|tx| tx.alloc_record(Table::EMPTY)).unwrap();
    if !["find", "random", "scan"].iter().any(|name| wanted(name)) {
        return;
    }
    (0..N).for_each(|n| insert(&mut arena, table, n));
    let find = |n: u64| {
        table::find(&arena, table, mixed(n), |v, e| v.read(e.cast::<U64>()).to_native() == n)
    };
    bench("find, hit, 1 M entries, in random order", N, || {
        for i in 0..N {
            assert!(black_box(find(mixed(i) % N)).is_some());
        }
    });
    bench("find, miss, 1 M entries", N, || {
        for i in 0..N {
            assert!(black_box(find(N + i)).is_none());
        }
    });
    let mut state = 0;
    bench("random entry, 1 M entries", N / 10, || {
        for _ in 0..N / 10 {
            let random = || {
                state += 1;
                mixed(state)
            };
            black_box(table::random_entry(&arena, table, random));
        }
    });
    bench("scan, by entry", N, || {
        let (mut cursor, mut seen) = (0, 0);
        loop {
            let step = table::scan_step(&arena, table, cursor, |_, _| seen += 1);
            cursor = step.cursor;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, N);
    });
}

/// A tree of a million pairs: in order, at random, and what finds its way through it.
fn trees() {
    const N: u64 = 1_000_000;
    if !wanted("tree") {
        return;
    }
    for (name, key) in [("in order", (|n| n) as fn(u64) -> u64), ("at random", mixed)] {
        let mut arena = arena();
        let tree: Off<Tree> = arena.transact(|tx| tx.alloc_record(Tree::EMPTY)).unwrap();
        let begun = Instant::now();
        for n in 0..N {
            let mut tx = arena.begin();
            // Any offset will do, as no two keys are equal.
            tree::insert(&mut tx, tree, key(n), Off::new(8), |_, _| std::cmp::Ordering::Less)
                .unwrap();
            tx.commit(&[n; 4]);
        }
        report(&format!("tree insert {name}, mean of {N}"), begun.elapsed(), N);
        let bytes = tree::memory(&arena, tree, 0) as f64 / N as f64;
        println!("{:<44} {bytes:>10.1} bytes", format!("tree memory by pair, {name}"));
        let find = |n: u64| tree::find(&arena, tree, key(n), |_, _| std::cmp::Ordering::Equal);
        bench(&format!("tree find, inserted {name}"), N, || {
            for i in 0..N {
                assert!(black_box(find(mixed(i) % N)).is_some());
            }
        });
        bench(&format!("tree select and rank, inserted {name}"), N, || {
            for i in 0..N {
                let rank = mixed(i) % N;
                assert_eq!(tree::select(&arena, tree, rank).rank(&arena), rank);
            }
        });
        bench(&format!("tree walk, by pair, inserted {name}"), N, || {
            let mut sum = 0u64;
            tree::for_each(&arena, tree, |_, sort, _| sum = sum.wrapping_add(sort));
            black_box(sum);
        });
        let begun = Instant::now();
        for n in 0..N {
            let mut tx = arena.begin();
            tree::remove_ranks(&mut tx, tree, 0, 1, |_, _, _| Ok(())).unwrap();
            tx.commit(&[n; 4]);
        }
        report(&format!("tree removal of the first, inserted {name}"), begun.elapsed(), N);
    }
}

/// A deque of a million small items in chunks of 8 KiB: filled, walked over and emptied.
fn deques() {
    const N: u64 = 1_000_000;
    if !wanted("deque") {
        return;
    }
    let limits = Limits::new(8 << 10, u32::MAX);
    let mut item = Vec::new();
    pack::encode(&mut item, b"an item");
    let mut arena = arena();
    let deque: Off<Deque> = arena.transact(|tx| tx.alloc_record(Deque::EMPTY)).unwrap();
    for (name, end) in [("front", End::Front), ("back", End::Back)] {
        bench(&format!("deque push and pop at the {name}, empty"), N, || {
            for i in 0..N {
                let mut tx = arena.begin();
                deque::push(&mut tx, deque, end, black_box(&item), &limits).unwrap();
                tx.commit(&[i; 4]);
                let mut tx = arena.begin();
                deque::pop(&mut tx, deque, end).unwrap();
                tx.commit(&[i; 4]);
            }
        });
    }
    let begun = Instant::now();
    for i in 0..N {
        let mut tx = arena.begin();
        deque::push(&mut tx, deque, End::Front, black_box(&item), &limits).unwrap();
        tx.commit(&[i; 4]);
    }
    report(&format!("deque push, mean of {N}"), begun.elapsed(), N);
    let bytes = deque::memory(&arena, deque, 0) as f64 / N as f64;
    println!("{:<44} {bytes:>10.1} bytes", format!("deque memory by item of {}", item.len()));
    bench("deque walk, by item", N, || {
        assert_eq!(deque::walk(&arena, deque, 0, Direction::Forward).count() as u64, N);
    });
    bench("deque item by its number, in random order", 10_000, || {
        for i in 0..10_000 {
            assert!(black_box(deque::locate(&arena, deque, mixed(i) % N)).is_some());
        }
    });
    let begun = Instant::now();
    for i in 0..N {
        let mut tx = arena.begin();
        deque::pop(&mut tx, deque, End::Back).unwrap();
        tx.commit(&[i; 4]);
    }
    report(&format!("deque pop, mean of {N}"), begun.elapsed(), N);
}

/// Inserts one by one into a table that grows: the mean, and the longest that one took.
fn growth() {
    if !wanted("insert") {
        return;
    }
    let millions = std::env::var("HOTREDIS_BENCH_MILLIONS").ok().and_then(|m| m.parse().ok());
    let n = millions.unwrap_or(10) * 1_000_000;
    let mut arena = arena();
    let table: Off<Table> = arena.transact(|tx| tx.alloc_record(Table::EMPTY)).unwrap();
    let (begun, mut times) = (Instant::now(), Vec::with_capacity(n as usize));
    let mut last = Instant::now();
    for i in 0..n {
        insert(&mut arena, table, i);
        let now = Instant::now();
        times.push((now - last).as_nanos() as u32);
        last = now;
    }
    report(&format!("insert, mean of {n}, with allocation"), begun.elapsed(), n);
    times.sort_unstable();
    for (name, share) in [("99 %", 0.99), ("99.99 %", 0.9999), ("99.9999 %", 0.999_999)] {
        let at = (times.len() as f64 * share) as usize;
        println!("{:<44} {:>10} ns", format!("insert, {name} took at most"), times[at]);
    }
    println!("{:<44} {:>10} ns", "insert, the slowest", times[times.len() - 1]);
    let used = arena.used_bytes() as f64 / n as f64;
    println!("{:<44} {used:>10.1} bytes", "memory by entry (24 of them its own)");
    check(&arena, table, n);
}

fn check(arena: &Arena, table: Off<Table>, n: u64) {
    let begun = Instant::now();
    let mut checker = Checker::new(arena);
    checker.mark(table, size_of::<Table>() as u64, "table");
    mark_table(&mut checker, table, "table", |checker, entry| {
        checker.mark(entry, 24, "entry");
    });
    let report = checker.finish();
    assert!(report.is_clean(), "{:?}", report.findings);
    println!(
        "{:<44} {:>10.1} ms",
        format!("check of {n} blocks"),
        begun.elapsed().as_secs_f64() * 1e3
    );
}

fn main() {
    transactions();
    allocator();
    tables();
    trees();
    deques();
    growth();
}
