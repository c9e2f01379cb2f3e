//! Changing sets, and making them.

use shm::intset::{self, Insertion, IntSet};
use shm::pack::{self, Item};
use shm::{Fresh, Off, OutOfMemory, Tx};

use super::{PACKED_BYTES, PACKED_MEMBERS, Set, below, table};
use crate::keyspace::entry::{self, Entry, EntryView, Identity, Kind};
use crate::values::packed::{self, Splice};
use crate::values::table::Element;

/// What came of adding a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It was there.
    Present,
    /// It is there now.
    InPlace,
    /// It is in this entry, which the caller puts in the place of the old one
    /// ([`replace_reshaped`](crate::keyspace::replace_reshaped)).
    Moved(Off<Entry>),
}

/// What came of removing a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Removed {
    /// It was not there.
    Absent,
    /// It was the only one: nothing has changed, and the caller removes the key.
    Last,
    /// It is gone.
    InPlace,
    /// It is not in this entry, which the caller puts in the place of the old one.
    Moved(Off<Entry>),
}

impl Removed {
    fn of(moved: Option<Off<Entry>>) -> Removed {
        moved.map_or(Removed::InPlace, Removed::Moved)
    }
}

/// Members that differ, of which a set is to be made.
#[derive(Debug, Default, Clone)]
pub struct Content {
    run: Vec<u8>,
    count: usize,
    /// Members that there were at most.
    peak: usize,
    /// Whether any of them was no integer.
    texts: bool,
}

impl Content {
    /// Adds a member that is not there.
    pub fn push(&mut self, member: Item<'_>) {
        pack::encode_item(&mut self.run, member);
        self.count += 1;
        self.peak = self.peak.max(self.count);
        self.texts |= matches!(member, Item::Bytes(_));
    }

    /// Notes that it is what is left of so many members, some of them texts perhaps: that decides of
    /// the encoding, which never goes back.
    pub fn is_left_of(&mut self, members: usize, texts: bool) {
        self.peak = self.peak.max(members);
        self.texts |= texts;
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn fits_packed(&self) -> bool {
        self.count <= PACKED_MEMBERS && self.run.len() <= PACKED_BYTES
    }
}

impl<'a> FromIterator<Item<'a>> for Content {
    fn from_iter<I: IntoIterator<Item = Item<'a>>>(members: I) -> Content {
        let mut content = Content::default();
        members.into_iter().for_each(|member| content.push(member));
        content
    }
}

/// Makes an entry with a set: of sorted integers if all members are integers, `most_ints` at most.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    content: &Content,
    most_ints: u64,
) -> Result<Fresh, OutOfMemory> {
    if !content.texts && content.peak as u64 <= most_ints {
        let mut ints: Vec<i64> =
            pack::items(&content.run).filter_map(|item| item.as_integer()).collect();
        ints.sort_unstable();
        return create_ints(tx, key, expiry, &intset::from_sorted(&ints));
    }
    if content.fits_packed() {
        return packed::create(tx, key, Kind::SetPacked, expiry, content.count, &content.run);
    }
    let mut digits = pack::Digits::new();
    let mut blocks = Vec::with_capacity(content.count);
    for member in pack::items(&content.run) {
        let text = member.text(&mut digits);
        blocks.push((tx.hash(text), table::make(tx, text)?));
    }
    let members = shm::table::build(tx, &mut blocks)?;
    Ok(entry::create_record(tx, key, Kind::SetTable, expiry, members)?.0)
}

fn create_ints(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    ints: &[u8],
) -> Result<Fresh, OutOfMemory> {
    let length = u32::try_from(ints.len()).map_err(|_| OutOfMemory)?;
    let fresh = entry::create(tx, key, Kind::SetInt, expiry, length)?;
    tx.init_bytes(&fresh, entry::value_at(key.len(), expiry.is_some()), ints);
    Ok(fresh)
}

/// Adds a member to the set that is an entry's value, which stays one of integers while it has
/// `most_ints` members at most.
///
/// # Panics
///
/// If the entry is no set.
#[inline]
pub fn add(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    member: &[u8],
    most_ints: u64,
) -> Result<Added, OutOfMemory> {
    match set_in(&EntryView::new(tx, off)) {
        Set::Table(_, root) => Ok(match table::add(tx, root, member)? {
            true => Added::InPlace,
            false => Added::Present,
        }),
        Set::Ints(ints) => match Item::of(member) {
            Item::Int(number) => {
                let (insertion, full) = (ints.insert(number), ints.len() as u64 >= most_ints);
                add_int(tx, off, number, insertion, full)
            }
            text => convert(tx, off, text).map(Added::Moved),
        },
        Set::Packed(packed) => {
            if pack::find(packed.run, 0, member, 0).is_some() {
                return Ok(Added::Present);
            }
            let (count, at) = (packed.count, packed.run.len());
            if count >= PACKED_MEMBERS || at + pack::encoded_len(member) > PACKED_BYTES {
                return convert(tx, off, Item::of(member)).map(Added::Moved);
            }
            let mut bytes = Vec::with_capacity(pack::encoded_len(member));
            pack::encode(&mut bytes, member);
            let moved =
                packed::splice(tx, off, Splice { at, removed: 0, bytes: &bytes, items: 1 })?;
            Ok(moved.map_or(Added::InPlace, Added::Moved))
        }
    }
}

fn set_in<'a>(entry: &EntryView<'a>) -> Set<'a> {
    Set::of(entry).expect("the caller knows that the entry is a set")
}

/// Adds an integer to a set of such, which may be full.
fn add_int(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    number: i64,
    insertion: Insertion,
    full: bool,
) -> Result<Added, OutOfMemory> {
    let moved = match insertion {
        Insertion::Present => return Ok(Added::Present),
        _ if full => Some(convert(tx, off, Item::Int(number))?),
        Insertion::Splice { at, integer } => splice_ints(tx, off, at, 0, integer.bytes(), 1)?,
        Insertion::Widened(ints) => {
            let identity = Identity::of(&EntryView::new(tx, off));
            let fresh = create_ints(tx, &identity.key, identity.expiry, &ints)?;
            Some(identity.hand_over(tx, &fresh))
        }
    };
    Ok(moved.map_or(Added::InPlace, Added::Moved))
}

fn splice_ints(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    at: usize,
    removed: usize,
    bytes: &[u8],
    items: isize,
) -> Result<Option<Off<Entry>>, OutOfMemory> {
    let splice = Splice { at: at - intset::HEADER, removed, bytes, items };
    packed::splice_counted(tx, off, intset::COUNT_AT, splice)
}

/// Makes an entry of what a set in its entry has, and a member that it has not. It is none of
/// integers.
fn convert(tx: &mut Tx<'_>, off: Off<Entry>, member: Item<'_>) -> Result<Off<Entry>, OutOfMemory> {
    let (identity, content) = {
        let entry = EntryView::new(tx, off);
        let mut content: Content = set_in(&entry).members().collect();
        content.push(member);
        (Identity::of(&entry), content)
    };
    let fresh = create(tx, &identity.key, identity.expiry, &content, 0)?;
    Ok(identity.hand_over(tx, &fresh))
}

/// Removes a member from the set that is an entry's value.
///
/// # Panics
///
/// If the entry is no set.
#[inline]
pub fn remove(tx: &mut Tx<'_>, off: Off<Entry>, member: &[u8]) -> Result<Removed, OutOfMemory> {
    let set = set_in(&EntryView::new(tx, off));
    if set.len() == 1 {
        let is_last = set.contains(Item::of(member));
        return Ok(if is_last { Removed::Last } else { Removed::Absent });
    }
    match set {
        Set::Table(_, root) => Ok(match table::remove(tx, root, member)? {
            true => Removed::InPlace,
            false => Removed::Absent,
        }),
        Set::Ints(ints) => {
            let number = Item::of(member).as_integer();
            match number.and_then(|number| ints.search(number).ok()) {
                Some(index) => remove_int(tx, off, index),
                None => Ok(Removed::Absent),
            }
        }
        Set::Packed(packed) => match pack::find(packed.run, 0, member, 0) {
            Some(at) => remove_packed(tx, off, at),
            None => Ok(Removed::Absent),
        },
    }
}

fn remove_int(tx: &mut Tx<'_>, off: Off<Entry>, index: usize) -> Result<Removed, OutOfMemory> {
    let removal = IntSet::new(EntryView::new(tx, off).value()).removal(index);
    splice_ints(tx, off, removal.at, removal.length, &[], -1).map(Removed::of)
}

fn remove_packed(tx: &mut Tx<'_>, off: Off<Entry>, at: usize) -> Result<Removed, OutOfMemory> {
    let run = packed::Packed::of(&EntryView::new(tx, off)).run;
    let removed = pack::skip(run, at) - at;
    packed::splice(tx, off, Splice { at, removed, bytes: &[], items: -1 }).map(Removed::of)
}

/// Removes a member chosen at random, after giving it to `tell`.
///
/// # Panics
///
/// If the entry is no set.
pub fn pop(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    mut random: impl FnMut() -> u64,
    tell: impl FnOnce(Item<'_>),
) -> Result<Removed, OutOfMemory> {
    let set = set_in(&EntryView::new(tx, off));
    if set.len() <= 1 {
        if let Some(member) = set.members().next() {
            tell(member);
        }
        return Ok(Removed::Last);
    }
    let members = set.len();
    match set {
        Set::Ints(ints) => {
            let index = below(random(), members) as usize;
            if let Some(number) = ints.get(index) {
                tell(Item::Int(number));
            }
            remove_int(tx, off, index)
        }
        Set::Packed(packed) => {
            let at = pack::nth(packed.run, packed.count, below(random(), members) as usize);
            if let Some((item, _)) = pack::next(packed.run, at) {
                tell(item);
            }
            remove_packed(tx, off, at)
        }
        Set::Table(view, root) => {
            if let Some(block) = shm::table::random_entry(view, root, random) {
                tell(Item::of(table::Members::key(view, block)));
                table::remove_block(tx, root, block)?;
            }
            Ok(Removed::InPlace)
        }
    }
}
