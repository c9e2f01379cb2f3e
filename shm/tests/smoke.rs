//! The crate's parts together, once through.

use shm::table::{self, Table};
use shm::{Arena, Off, Options};

fn small() -> Arena {
    let options = Options { reserve: 0, ..Options::default() };
    Arena::create(&options).unwrap().0
}

#[test]
fn a_table_of_many_entries_is_found_scanned_and_drained() {
    let mut arena = small();
    let root: Off<Table> = arena.transact(|tx| tx.alloc_record(Table::EMPTY)).unwrap();
    let key = |n: u64| n.to_le_bytes();
    for n in 0..100_000u64 {
        let hash = arena.hash(&key(n));
        arena
            .transact(|tx| {
                let entry = tx.alloc(16)?;
                tx.init_bytes(&entry, 0, &key(n));
                table::insert(tx, root, hash, entry.off())
            })
            .unwrap();
    }
    for n in 0..100_000u64 {
        let hash = arena.hash(&key(n));
        let found = table::find(&arena, root, hash, |v, e| v.bytes(e, 8) == key(n));
        assert!(found.is_some(), "{n}");
    }
    let mut seen = 0;
    let mut cursor = 0;
    loop {
        let step = table::scan_step(&arena, root, cursor, |_, _| seen += 1);
        cursor = step.cursor;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, 100_000);
    let check = |arena: &Arena| {
        let mut checker = shm::check::Checker::new(arena);
        checker.mark(root, size_of::<Table>() as u64, "root");
        shm::check::mark_table(&mut checker, root, "table", |c, e| {
            c.mark(e, 8, "entry");
        });
        let report = checker.finish();
        assert!(report.is_clean(), "{:?}", report.findings);
    };
    check(&arena);
    println!("{:?}", arena.stats());
    while arena.transact(|tx| table::drain_step(tx, root, 100, |tx, e| tx.free(e))).unwrap()
        == table::Drained::More
    {}
    check(&arena);
    println!("{:?}", arena.stats());
}
