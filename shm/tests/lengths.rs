//! What stands behind a length is nobody's: arrays that grow and shrink within transactions, with savepoints,
//! against plain ones. What they gain is not logged, so what they lose must be.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shm::{Arena, Off, Options, OutOfMemory, Record, Slot, Tx, U32, field, record};

record! {
    /// The head of an array, whose elements follow.
    pub struct Head {
        /// Elements.
        pub len: Slot<U32>,
        /// A word that is logged beside the length.
        pub reserved: U32,
    }
}

const HEAD: u64 = size_of::<Head>() as u64;
/// Elements that there is room for: of 16 bytes they are more than one entry of the log takes at once.
const ROOM: usize = 100;

/// One change; numbers are reduced when used.
#[derive(Debug, Clone)]
enum Change {
    Insert {
        at: usize,
        count: usize,
        fill: u8,
        counted: bool,
    },
    Remove {
        from: usize,
        count: usize,
    },
    Abandon {
        count: usize,
    },
    Append {
        count: usize,
        fill: u8,
    },
    Splice {
        at: usize,
        removed: usize,
        count: usize,
        fill: u8,
    },
    Set {
        at: usize,
        fill: u8,
    },
    /// So much that the log is a long one, which holds a place once if it can.
    Much {
        fill: u8,
    },
    /// Into a large block, which this transaction allocates.
    Renew,
    Savepoint,
    Rollback {
        which: usize,
    },
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Drop,
    /// By a death: the next owner recovers.
    Death,
    /// By taking everything back and going on.
    Anew,
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<usize>();
    let count = || 1..6usize;
    prop_oneof![
        6 => (at(), count(), any::<u8>(), any::<bool>())
            .prop_map(|(at, count, fill, counted)| Change::Insert { at, count, fill, counted }),
        4 => (at(), count()).prop_map(|(from, count)| Change::Remove { from, count }),
        3 => count().prop_map(|count| Change::Abandon { count }),
        3 => (count(), any::<u8>()).prop_map(|(count, fill)| Change::Append { count, fill }),
        4 => (at(), 0..6usize, 0..6usize, any::<u8>())
            .prop_map(|(at, removed, count, fill)| Change::Splice { at, removed, count, fill }),
        2 => (at(), any::<u8>()).prop_map(|(at, fill)| Change::Set { at, fill }),
        1 => any::<u8>().prop_map(|fill| Change::Much { fill }),
        1 => Just(Change::Renew),
        4 => Just(Change::Savepoint),
        3 => at().prop_map(|which| Change::Rollback { which }),
    ]
}

/// An array of elements of `N` bytes, and what it should be.
struct Array<const N: usize> {
    elements: Vec<[u8; N]>,
}

fn head(tx: &Tx<'_>) -> Off<Head> {
    tx.root().cast()
}

fn first<const N: usize>(tx: &Tx<'_>) -> Off<[u8; N]>
where
    [u8; N]: Record,
{
    head(tx).byte_add(HEAD)
}

impl<const N: usize> Array<N>
where
    [u8; N]: Record,
{
    fn set_len(&self, tx: &mut Tx<'_>) -> Result<(), OutOfMemory> {
        let len = U32::from_native(self.elements.len() as u32);
        tx.set(field!(head(tx), Head.len), len)
    }

    fn insert(&mut self, tx: &mut Tx<'_>, at: usize, new: &[[u8; N]], counted: bool) {
        let (array, len) = (first::<N>(tx), self.elements.len());
        self.elements.splice(at..at, new.iter().copied());
        if counted {
            let len_slot = field!(head(tx), Head.len);
            let count = U32::from_native(self.elements.len() as u32);
            tx.insert_counted(array, (len_slot, count), len, at, new).unwrap();
        } else {
            tx.insert(array, len, at, new).unwrap();
            self.set_len(tx).unwrap();
        }
    }

    fn change(&mut self, tx: &mut Tx<'_>, scratch: Off<u8>, change: &Change) {
        let (array, len) = (first::<N>(tx), self.elements.len());
        let room = |count: usize| count.min(ROOM - len);
        match *change {
            Change::Insert { at, count, fill, counted } => {
                self.insert(tx, at % (len + 1), &vec![[fill; N]; room(count)], counted);
            }
            Change::Remove { from, count } => {
                let from = from % (len + 1);
                let to = (from + count).min(len);
                tx.remove(array, len, from, to).unwrap();
                self.elements.drain(from..to);
                self.set_len(tx).unwrap();
            }
            Change::Abandon { count } => {
                let kept = len.saturating_sub(count);
                tx.abandon(array.nth(kept as u64).cast(), (len - kept) * N).unwrap();
                self.elements.truncate(kept);
                self.set_len(tx).unwrap();
            }
            Change::Append { count, fill } => {
                let new = vec![fill; room(count) * N];
                tx.write_unreachable(array.nth(len as u64).cast(), &new);
                self.elements.resize(len + room(count), [fill; N]);
                self.set_len(tx).unwrap();
            }
            Change::Splice { at, removed, count, fill } => {
                let at = at % (len + 1);
                let removed = removed.min(len - at);
                let count = count.min(ROOM - (len - removed));
                let new = vec![fill; count * N];
                tx.splice(array.cast(), len * N, at * N, removed * N, &new).unwrap();
                self.elements.splice(at..at + removed, vec![[fill; N]; count]);
                self.set_len(tx).unwrap();
            }
            Change::Set { at, fill } if len > 0 => {
                let place = array.nth((at % len) as u64).cast::<Slot<[u8; N]>>();
                tx.set(place, [fill; N]).unwrap();
                self.elements[at % len] = [fill; N];
            }
            Change::Much { fill } => tx.fill(scratch, fill, 5_000).unwrap(),
            Change::Renew => {
                let fresh = tx.alloc(40_000).unwrap();
                let old = head(tx);
                tx.init_copy(&fresh, 0, old.cast(), HEAD + (len * N) as u64);
                tx.set_root(fresh.off()).unwrap();
                tx.free(old).unwrap();
            }
            _ => {}
        }
    }

    fn check(&self, view: &shm::View) {
        let head: Off<Head> = view.root().cast();
        let len = view.get(head).len.get().to_native() as usize;
        assert_eq!(view.array(head.byte_add::<[u8; N]>(HEAD), len), &self.elements[..]);
    }

    fn play(&mut self, tx: &mut Tx<'_>, scratch: Off<u8>, changes: &[Change]) {
        let mut points = Vec::new();
        for change in changes {
            match change {
                Change::Savepoint => points.push((tx.savepoint(), self.elements.clone())),
                Change::Rollback { which } if !points.is_empty() => {
                    points.truncate(which % points.len() + 1);
                    let (point, then) = points.last().unwrap();
                    tx.rollback_to(*point);
                    self.elements.clone_from(then);
                }
                change => self.change(tx, scratch, change),
            }
            self.check(tx);
        }
    }
}

fn founded(arena: &mut Arena, bytes: usize) -> Off<u8> {
    let found = |tx: &mut Tx<'_>| {
        let fresh = tx.alloc(HEAD + (ROOM * bytes) as u64)?;
        tx.init_fill(&fresh, 0, 0, fresh.size());
        tx.init(&fresh, 0, U32::from_native(80));
        tx.set_root(fresh.off())?;
        let scratch = tx.alloc(5_000)?;
        tx.init_fill(&scratch, 0, 0, 5_000);
        Ok(scratch.off())
    };
    arena.transact(found).unwrap()
}

/// Bytes in use, counted anew.
fn counted(arena: &Arena) -> u64 {
    let small: u64 = arena.class_usage().iter().map(|class| class.size * class.live).sum();
    let heap = arena.get(shm::header::HEAP);
    small + heap.large_spans.get().to_native() * shm::layout::SPAN
}

fn grows_and_shrinks<const N: usize>(transactions: &[(Vec<Change>, End)])
where
    [u8; N]: Record,
{
    let mut arena = Arena::create(&Options { reserve: 0, ..Options::default() }).unwrap().0;
    let scratch = founded(&mut arena, N);
    let mut array = Array { elements: vec![[0; N]; 80] };
    for (changes, end) in transactions {
        let before = array.elements.clone();
        let mut tx = arena.begin();
        array.play(&mut tx, scratch, changes);
        match end {
            End::Commit => tx.commit(&[0; 4]),
            End::Drop => drop(tx),
            End::Death => {
                std::mem::forget(tx);
                arena.recover();
            }
            End::Anew => {
                tx.rollback_all();
                array.elements.clone_from(&before);
                array.check(&tx);
                array.play(&mut tx, scratch, changes);
                tx.commit_first(1);
            }
        }
        if matches!(end, End::Drop | End::Death) {
            array.elements = before;
        }
        array.check(&arena);
        assert_eq!(arena.used_bytes(), counted(&arena));
    }
}

#[test]
fn what_grows_and_shrinks_is_taken_back_whole() {
    let end = prop::sample::select(vec![End::Commit, End::Drop, End::Death, End::Anew]);
    let transactions = prop::collection::vec((prop::collection::vec(change(), 1..40), end), 1..6);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(500);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng)
        .run(&transactions, |transactions| {
            // Bytes, what the log holds as less than a word, a word, and records as those of trees.
            grows_and_shrinks::<1>(&transactions);
            grows_and_shrinks::<3>(&transactions);
            grows_and_shrinks::<8>(&transactions);
            grows_and_shrinks::<16>(&transactions);
            Ok(())
        })
        .unwrap();
}
