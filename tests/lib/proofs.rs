//! What has to hold of any bytes that somebody may send as a packed value: driven by random bytes in the
//! tests, and by libFuzzer from `fuzz/`.

use hotredis::check::check_arena;
use hotredis::config::ConfigValues;
use hotredis::keyspace::{self, EntryView};
use hotredis::rdb;
use hotredis::root;
use hotredis::values::serial::{self, Refused};
use shm::pack::{self, Digits};
use shm::{Arena, Options, intset};

/// What is accepted as a packed run is read alike from both ends, and made again of its items.
///
/// # Panics
/// If that is not so.
pub fn packed_run(bytes: &[u8]) {
    let Some(checked) = pack::check(bytes) else { return };
    let items: Vec<_> = pack::items(bytes).collect();
    assert_eq!(items.len(), checked.count);
    assert!(pack::items(bytes).rev().eq(items.iter().rev().copied()));
    let (mut run, mut digits) = (Vec::new(), Digits::new());
    items.iter().for_each(|item| pack::encode(&mut run, item.text(&mut digits)));
    assert_eq!(run == bytes, checked.canonical);
    assert_eq!(pack::validate(&run), Some(items.len()));
    for (index, item) in items.iter().enumerate() {
        let at = pack::nth(&run, items.len(), index);
        let text = item.text(&mut digits);
        let first = items.iter().position(|other| other.is(text));
        let found = pack::find(&run, 0, text, 0);
        assert_eq!(found == Some(at), first == Some(index));
    }
}

/// What is accepted as a set of integers is sorted, and knows its own; other bytes are read as some set
/// all the same.
///
/// # Panics
/// If that is not so.
pub fn integers(bytes: &[u8]) {
    let any = intset::IntSet::new(bytes);
    assert_eq!(any.iter().count(), any.len());
    let Ok(set) = intset::validate(bytes) else { return };
    let integers: Vec<i64> = set.iter().collect();
    assert!(integers.is_sorted_by(|one, next| one < next) && !integers.is_empty());
    for (index, integer) in integers.iter().enumerate() {
        assert_eq!((set.search(*integer), set.get(index)), (Ok(index), Some(*integer)));
    }
    let narrow = intset::from_sorted(&integers);
    assert!(intset::validate(&narrow).is_ok_and(|set| set.iter().eq(integers.iter().copied())));
}

/// An arena into which values are restored.
pub struct Restorer {
    arena: Arena,
    config: ConfigValues,
}

impl Restorer {
    /// With an empty arena.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn new() -> Restorer {
        let (mut arena, _) =
            Arena::create(&Options { reserve: 0, ..Options::default() }).expect("an arena");
        let made = arena.transact(|tx| root::create(tx, 1, 0, [b'0'; 40], [0; 16]));
        made.expect("memory for the root");
        Restorer { arena, config: ConfigValues::default() }
    }

    /// What is read out of a dump (without version and checksum) stands soundly in the arena, and what is
    /// dumped of it then is the same value.
    ///
    /// # Panics
    /// If that is not so.
    pub fn dump(&mut self, bytes: &[u8]) {
        let Ok(object) = rdb::object::read(bytes) else { return };
        let config = &self.config;
        let database = root::database(&self.arena, root::of(&self.arena), 0);
        let mut tx = self.arena.begin();
        let fresh = match serial::load(&mut tx, b"key", None, &object, config) {
            Ok(fresh) => fresh,
            // Dropped, the transaction is rolled back.
            Err(Refused::Unsound) => return,
            Err(Refused::Oom) => panic!("a value of {} bytes does not fit", bytes.len()),
        };
        let entry = fresh.off().cast();
        let hash = tx.hash(b"key");
        keyspace::insert(&mut tx, database, hash, entry).expect("memory");
        let again = serial::dump(&EntryView::new(&tx, entry), config);
        let digest = digest(&EntryView::new(&tx, entry));
        let object = rdb::object::read(&again).expect("what was dumped is sound");
        let other = serial::load(&mut tx, b"key", None, &object, config);
        let other = other.unwrap_or_else(|why| panic!("what was dumped is refused: {why:?}"));
        let copied = EntryView::new(&tx, other.off().cast());
        assert_eq!(self::digest(&copied), digest, "what was dumped is another value");
        let found = keyspace::find(&tx, database, hash, b"key").expect("it was put there");
        keyspace::replace(&mut tx, database, hash, &found, other.off().cast()).expect("memory");
        tx.commit(&[0; 4]);
        let report = check_arena(&self.arena);
        assert!(report.clean, "{}", report.text);
        self.clear();
    }

    fn clear(&mut self) {
        let root = root::of(&self.arena);
        let cleared = self.arena.transact(|tx| {
            let database = root::database(tx, root, 0);
            keyspace::clear(tx, database)?;
            while keyspace::trash::step(tx, root, 64)? {}
            Ok(())
        });
        cleared.expect("memory");
    }
}

impl Default for Restorer {
    fn default() -> Self {
        Restorer::new()
    }
}

fn digest(entry: &EntryView<'_>) -> String {
    let mut digest = serial::digest::Digest::new();
    digest.mix_value(entry);
    digest.to_hex()
}
