//! A small world in an arena, operations on it, and the plain model that says what they mean.
//!
//! Everything that tests need to drive the whole crate with random transactions and compare: a root
//! record with tables, blobs, words, trees, deques and a packed run; operations that are data; the
//! model; and reading the world back out of an arena, with the checker.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod chunked;
pub mod evacuated;
pub mod ordered;
pub mod packed;

pub use evacuated::Part;

use std::collections::BTreeMap;

use shm::blob::{self, Blob};
use shm::check::{Checker, mark_blob, mark_table};
use shm::table::{self, Drained, Table};
use shm::{Arena, Off, Options, OutOfMemory, Record, Slot, Tx, U64, View, field, record};

record! {
    /// Everything that the world holds hangs on this record, the arena's root.
    pub struct Root {
        /// The table in use.
        pub table: Table,
        /// A table that is being taken apart.
        pub dead: Table,
        /// Two byte strings.
        pub blobs: [Blob; 2],
        /// A few words.
        pub words: [Slot<U64>; 4],
        /// Ordered trees.
        pub trees: ordered::Trees,
        /// Deques of packed chunks.
        pub deques: chunked::Deques,
        /// A packed run.
        pub packed: Slot<Off<packed::Head>>,
    }
}

record! {
    /// The head of a table's entry; the value's bytes follow.
    pub struct Entry {
        /// The key.
        pub key: U64,
        /// Bytes of the value.
        pub len: U64,
    }
}

/// The world without an arena.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub entries: BTreeMap<u64, Vec<u8>>,
    pub dead: BTreeMap<u64, Vec<u8>>,
    pub blobs: [Vec<u8>; 2],
    pub words: [u64; 4],
    pub trees: ordered::Model,
    pub deques: chunked::Model,
    pub packed: packed::Model,
}

/// One change of the world. Keys, indexes and sizes may be anything; they are reduced when used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Adds or replaces an entry; its block has `room` bytes more than the value needs.
    Put { key: u64, value: Vec<u8>, room: u64 },
    /// Removes an entry if it is there.
    Remove { key: u64 },
    /// Overwrites a part of a blob, extending it as needed.
    Write { blob: usize, at: u64, content: Vec<u8> },
    /// Extends a blob.
    Append { blob: usize, content: Vec<u8> },
    /// Empties a blob, in steps of `limit` parts within the transaction.
    Clear { blob: usize, limit: usize },
    /// Makes a blob anew.
    Create { blob: usize, content: Vec<u8> },
    /// Changes a word.
    SetWord { index: usize, value: u64 },
    /// Lets the table become the dead one, if that is empty.
    Swing,
    /// Takes up to so many entries and segments out of the dead table.
    Drain { limit: usize },
    /// Joins segments from this hash on, so many steps.
    Shrink { hash: u64, steps: usize },
    /// Changes the trees.
    Tree(ordered::Op),
    /// Changes the deques.
    Deque(chunked::Op),
    /// Changes the packed run.
    Packed(packed::Op),
    /// Several changes in a row.
    Several(Vec<Op>),
    /// Changes that are taken back to a savepoint.
    Failing(Vec<Op>),
    /// Changes that are rolled back with the whole transaction.
    Abandoned(Vec<Op>),
    /// Gives unused memory back to the system.
    Maintain,
    /// A part of an evacuation: marks spans, moves blocks, or ends it.
    Evacuate(Part),
    /// Breaks the rule of logging first: for tests of the tests.
    Broken,
}

/// How many keys there are.
pub const KEYS: u64 = 240;
/// Blobs stay below this size.
pub const BLOB_LIMIT: u64 = 3 * blob::PART;

/// A hash that lets few entries fill a segment: two home buckets only, and random top bits.
pub fn hash_of(key: u64) -> u64 {
    let mut mixed = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    (mixed & !0xffff_ffff) | (mixed & 1) << 31
}

/// Makes an arena with an empty world.
pub fn new_world(options: &Options) -> Arena {
    let mut arena = Arena::create(options).expect("an arena").0;
    found_world(&mut arena);
    arena
}

/// Puts an empty world into an arena.
pub fn found_world(arena: &mut Arena) {
    let empty = Root {
        table: Table::EMPTY,
        dead: Table::EMPTY,
        blobs: [Blob::EMPTY; 2],
        words: [Slot::new(U64::from_native(0)); 4],
        trees: ordered::Trees::EMPTY,
        deques: chunked::Deques::EMPTY,
        packed: Slot::new(Off::NULL),
    };
    arena
        .transact(|tx| {
            let root = tx.alloc_record(empty)?;
            tx.set_root(root.cast())
        })
        .expect("room for the root");
}

/// The root record.
pub fn root(view: &View) -> Off<Root> {
    view.root().cast()
}

/// How large what is in use has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Depth of the table's directory.
    pub depth: u32,
    /// Height of the tree.
    pub height: u64,
    /// Chunks of the deque.
    pub chunks: u64,
}

/// What shape the world has.
pub fn shape(view: &View) -> Shape {
    let root = view.get(root(view));
    Shape {
        depth: root.table.depth.get().to_native(),
        height: root.trees.live.height.get().to_native(),
        chunks: root.deques.live.chunks.get().to_native(),
    }
}

fn blob_at(root: Off<Root>, index: usize) -> Off<Blob> {
    field!(root, Root.blobs).cast::<Blob>().nth((index % 2) as u64)
}

fn word_at(root: Off<Root>, index: usize) -> Off<Slot<U64>> {
    field!(root, Root.words).cast::<Slot<U64>>().nth((index % 4) as u64)
}

fn value_of(view: &View, entry: Off<u8>) -> (u64, Vec<u8>) {
    let head = view.read(entry.cast::<Entry>());
    let len = head.len.to_native() as usize;
    (head.key.to_native(), view.bytes(entry.byte_add(size_of::<Entry>() as u64), len).to_vec())
}

fn find(view: &View, table: Off<Table>, key: u64) -> Option<table::Place> {
    let same = |v: &View, e: Off<u8>| v.get(e.cast::<Entry>()).key == key;
    table::find(view, table, hash_of(key), same)
}

/// Where a write to a blob begins and how much of it is done, so that blobs stay small.
fn clamp(at: u64, content: &[u8]) -> (u64, &[u8]) {
    let at = at % BLOB_LIMIT;
    (at, &content[..content.len().min((BLOB_LIMIT - at) as usize)])
}

/// Does an operation in a transaction and, if there is one, in the model as well.
pub fn apply(tx: &mut Tx<'_>, op: &Op, mut model: Option<&mut Model>) -> Result<(), OutOfMemory> {
    let root = root(tx);
    match op {
        Op::Tree(op) => {
            let model = model.map(|model| &mut model.trees);
            ordered::apply(tx, field!(root, Root.trees), op, model)
        }
        Op::Deque(op) => {
            let model = model.map(|model| &mut model.deques);
            chunked::apply(tx, field!(root, Root.deques), op, model)
        }
        Op::Packed(op) => {
            let model = model.map(|model| &mut model.packed);
            packed::apply(tx, field!(root, Root.packed), op, model)
        }
        Op::Drain { limit } => drain(tx, field!(root, Root.dead), *limit, model),
        Op::Several(ops) => ops.iter().try_for_each(|op| apply(tx, op, model.as_deref_mut())),
        Op::Failing(ops) => {
            let point = tx.savepoint();
            let mut forgotten = model.map(|model| model.clone());
            for op in ops {
                if apply(tx, op, forgotten.as_mut()).is_err() {
                    break;
                }
            }
            tx.rollback_to(point);
            Ok(())
        }
        _ => {
            change(tx, root, op)?;
            if let Some(model) = model {
                follow(model, op);
            }
            Ok(())
        }
    }
}

/// Takes entries out of the dead table. Which ones go first is the table's business: the model follows.
fn drain(
    tx: &mut Tx<'_>,
    dead: Off<Table>,
    limit: usize,
    mut model: Option<&mut Model>,
) -> Result<(), OutOfMemory> {
    let done = table::drain_step(tx, dead, limit.max(1), |tx, entry| {
        let key = tx.get(entry.cast::<Entry>()).key.to_native();
        if let Some(model) = model.as_mut() {
            assert!(model.dead.remove(&key).is_some(), "key {key} was drained twice");
        }
        tx.free(entry)
    })?;
    assert!(done == Drained::More || model.is_none_or(|model| model.dead.is_empty()));
    Ok(())
}

/// Does an operation on the table, a blob or a word.
fn change(tx: &mut Tx<'_>, root: Off<Root>, op: &Op) -> Result<(), OutOfMemory> {
    let (table, dead) = (field!(root, Root.table), field!(root, Root.dead));
    match op {
        Op::Put { key, value, room } => put(tx, table, key % KEYS, value, *room)?,
        Op::Remove { key } => {
            if let Some(place) = find(tx, table, key % KEYS) {
                table::remove(tx, table, &place)?;
                tx.free(place.entry)?;
            }
        }
        Op::Write { blob, at, content } => {
            let (at, content) = clamp(*at, content);
            blob::write(tx, blob_at(root, *blob), at, content)?;
        }
        Op::Append { blob, content } => {
            let at = blob_at(root, *blob);
            let room = BLOB_LIMIT.saturating_sub(blob::len(tx, at)) as usize;
            blob::append(tx, at, &content[..content.len().min(room)])?;
        }
        Op::Clear { blob, limit } => {
            while !blob::free_step(tx, blob_at(root, *blob), (*limit).max(1))? {}
        }
        Op::Create { blob, content } => {
            let at = blob_at(root, *blob);
            blob::free(tx, at)?;
            let made = blob::create(tx, &content[..content.len().min(BLOB_LIMIT as usize)])?;
            set_record(tx, at, made)?;
        }
        Op::SetWord { index, value } => {
            tx.set(word_at(root, *index), U64::from_native(*value))?;
        }
        Op::Swing => {
            if table::len(tx, dead) == 0 {
                // An empty table may still have its directory and segments.
                while table::drain_step(tx, dead, 1000, |_, _| Ok(()))? == Drained::More {}
                let record = tx.read(table);
                set_record(tx, dead, record)?;
                set_record(tx, table, Table::EMPTY)?;
            }
        }
        Op::Shrink { hash, steps } => {
            let mut hash = *hash;
            for _ in 0..*steps {
                match table::shrink_step(tx, table, hash)? {
                    Some(next) => hash = next,
                    None => break,
                }
            }
        }
        Op::Broken => break_the_rule(tx, word_at(root, 0))?,
        Op::Tree(_) | Op::Deque(_) | Op::Packed(_) | Op::Drain { .. } => unreachable!("in apply"),
        Op::Several(_) | Op::Failing(_) => unreachable!("in apply"),
        Op::Abandoned(_) | Op::Maintain | Op::Evacuate(_) => {
            unreachable!("not within a transaction")
        }
    }
    Ok(())
}

/// What an operation on the table, a blob or a word means.
fn follow(model: &mut Model, op: &Op) {
    match op {
        Op::Put { key, value, .. } => {
            model.entries.insert(key % KEYS, value.clone());
        }
        Op::Remove { key } => {
            model.entries.remove(&(key % KEYS));
        }
        Op::Write { blob, at, content } => {
            let (at, content) = clamp(*at, content);
            let model = &mut model.blobs[blob % 2];
            let end = at as usize + content.len();
            model.resize(model.len().max(end), 0);
            model[at as usize..end].copy_from_slice(content);
        }
        Op::Append { blob, content } => {
            let model = &mut model.blobs[blob % 2];
            let room = (BLOB_LIMIT as usize).saturating_sub(model.len());
            model.extend_from_slice(&content[..content.len().min(room)]);
        }
        Op::Clear { blob, .. } => model.blobs[blob % 2].clear(),
        Op::Create { blob, content } => {
            model.blobs[blob % 2] = content[..content.len().min(BLOB_LIMIT as usize)].to_vec();
        }
        Op::SetWord { index, value } => model.words[index % 4] = *value,
        Op::Swing if model.dead.is_empty() => model.dead = std::mem::take(&mut model.entries),
        Op::Broken => model.words[0] = 77,
        _ => {}
    }
}

/// Writes first and logs then.
fn break_the_rule(tx: &mut Tx<'_>, place: Off<Slot<U64>>) -> Result<(), OutOfMemory> {
    // SAFETY: a word of the arena, which nobody else accesses; the breach is on purpose.
    unsafe {
        let base = tx.bytes(Off::new(0), 0).as_ptr().cast_mut();
        base.add(place.raw() as usize).cast::<u64>().write_unaligned(77);
    }
    tx.set(place, U64::from_native(77))
}

fn put(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    key: u64,
    value: &[u8],
    room: u64,
) -> Result<(), OutOfMemory> {
    let head = Entry { key: U64::from_native(key), len: U64::from_native(value.len() as u64) };
    let block = tx.alloc(size_of::<Entry>() as u64 + value.len() as u64 + room)?;
    tx.init(&block, 0, head);
    tx.init_bytes(&block, size_of::<Entry>() as u64, value);
    match find(tx, table, key) {
        Some(place) => {
            table::replace(tx, &place, block.off())?;
            tx.free(place.entry)
        }
        None => table::insert(tx, table, hash_of(key), block.off()),
    }
}

fn set_record<T: Record>(tx: &mut Tx<'_>, at: Off<T>, value: T) -> Result<(), OutOfMemory> {
    tx.set(at.cast::<Slot<T>>(), value)
}

/// Does an operation as one transaction whose payload is `number`; gives the error of one that could
/// not be done, which then has changed nothing.
pub fn run(
    arena: &mut Arena,
    op: &Op,
    number: u64,
    mut model: Option<&mut Model>,
) -> Result<(), OutOfMemory> {
    let payload = [number, !number, 0, 0];
    match op {
        Op::Maintain => {
            arena.maintain(0, 64);
        }
        Op::Evacuate(part) => evacuated::evacuate(arena, *part)?,
        Op::Abandoned(ops) => {
            let mut forgotten = model.as_deref().cloned();
            let mut tx = arena.begin();
            for op in ops {
                if apply(&mut tx, op, forgotten.as_mut()).is_err() {
                    break;
                }
            }
            drop(tx);
        }
        _ => {
            let mut changed = model.as_deref().cloned();
            let mut tx = arena.begin();
            apply(&mut tx, op, changed.as_mut())?;
            tx.commit(&payload);
            if let (Some(model), Some(changed)) = (model.as_mut(), changed) {
                **model = changed;
            }
            return Ok(());
        }
    }
    arena.begin().commit(&payload);
    Ok(())
}

/// Reads the world out of an arena and has the checker look at it; an error says what is wrong.
pub fn read(arena: &Arena) -> Result<Model, String> {
    let root = root(arena);
    let mut model = Model::default();
    let record = arena.read(root);
    for (table, entries) in
        [(field!(root, Root.table), &mut model.entries), (field!(root, Root.dead), &mut model.dead)]
    {
        let mut twice = 0;
        table::for_each(arena, table, |view, entry| {
            let (key, value) = value_of(view, entry);
            twice += u64::from(entries.insert(key, value).is_some());
        });
        if twice > 0 {
            return Err(format!("{twice} keys stand in the table twice"));
        }
    }
    let table = field!(root, Root.table);
    if let Some(key) = model.entries.keys().find(|key| find(arena, table, **key).is_none()) {
        return Err(format!("key {key} is in the table but not found"));
    }
    for (i, content) in model.blobs.iter_mut().enumerate() {
        *content = blob::to_vec(arena, blob_at(root, i), 0, u64::MAX);
    }
    model.words = record.words.map(|word| word.get().to_native());
    model.trees = ordered::read(arena, field!(root, Root.trees))?;
    model.deques = chunked::read(arena, field!(root, Root.deques))?;
    model.packed = packed::read(arena, field!(root, Root.packed))?;
    check(arena)?;
    Ok(model)
}

/// Has the checker look at the world.
pub fn check(arena: &Arena) -> Result<(), String> {
    let root = root(arena);
    let mut checker = Checker::new(arena);
    if !checker.mark(root, size_of::<Root>() as u64, "root") {
        return Err(checker.finish().findings.join("; "));
    }
    for table in [field!(root, Root.table), field!(root, Root.dead)] {
        mark_table(&mut checker, table, "table", |checker, entry| {
            checker.mark(entry, size_of::<Entry>() as u64, "entry");
        });
    }
    for i in 0..2 {
        mark_blob(&mut checker, blob_at(root, i), "blob");
    }
    ordered::mark(&mut checker, field!(root, Root.trees));
    chunked::mark(&mut checker, field!(root, Root.deques));
    packed::mark(&mut checker, field!(root, Root.packed));
    let report = checker.finish();
    if report.is_clean() { Ok(()) } else { Err(report.findings.join("; ")) }
}

/// A small generator of random numbers (SplitMix64): the same everywhere and for ever.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn content(&mut self, most: u64) -> Vec<u8> {
        let fill = self.next() as u8;
        vec![fill; self.below(most + 1) as usize]
    }

    /// An item of a packed run: often one of a few, or an integer; seldom longer than a chunk.
    fn value(&mut self) -> Vec<u8> {
        match self.below(24) {
            0..=5 => vec![b'a'; 1 + self.below(3) as usize],
            6..=9 => (self.next() as i64 >> self.below(64)).to_string().into_bytes(),
            10 => self.content(300),
            11 if self.below(3) == 0 => self.content(700),
            _ => self.content(40),
        }
    }
}

/// A random operation. `large` is the size that contents may reach now and then.
pub fn random_op(random: &mut Random, large: u64, depth: u32) -> Op {
    let most = if random.below(12) == 0 { large } else { 60 };
    let few = |random: &mut Random| {
        (0..1 + random.below(6)).map(|_| random_op(random, large, depth + 1)).collect()
    };
    match random.below(if depth == 0 { 47 } else { 37 }) {
        0..=8 => {
            let room = if random.below(40) == 0 { random.below(200_000) } else { 0 };
            Op::Put { key: random.next(), value: random.content(most), room }
        }
        9..=12 => Op::Remove { key: random.next() },
        13 => Op::Write {
            blob: random.below(2) as usize,
            at: if random.below(6) == 0 { random.below(BLOB_LIMIT) } else { random.below(200) },
            content: random.content(most),
        },
        14 | 15 => Op::Append { blob: random.below(2) as usize, content: random.content(most) },
        16 => Op::Clear { blob: random.below(2) as usize, limit: 1 + random.below(3) as usize },
        17 => Op::Create { blob: random.below(2) as usize, content: random.content(most) },
        18 => Op::SetWord { index: random.below(4) as usize, value: random.next() },
        19 => match random.below(4) {
            0 => Op::Swing,
            _ => Op::Drain { limit: 1 + random.below(20) as usize },
        },
        20 => Op::Drain { limit: 1 + random.below(60) as usize },
        21 => Op::Shrink { hash: random.next(), steps: random.below(4) as usize },
        22..=26 => Op::Tree(ordered::random_op(random)),
        27..=32 => Op::Deque(chunked::random_op(random)),
        33..=36 => Op::Packed(packed::random_op(random)),
        37..=39 => Op::Several(few(random)),
        40 | 41 => Op::Several(vec![
            Op::Several(few(random)),
            Op::Failing(few(random)),
            Op::Several(few(random)),
        ]),
        42 => Op::Abandoned(few(random)),
        43 => Op::Several(
            (0..40)
                .map(|_| Op::Put { key: random.next(), value: random.content(20), room: 0 })
                .collect(),
        ),
        44 | 45 => Op::Evacuate(evacuated::random_part(random)),
        _ => Op::Maintain,
    }
}
