//! Setting and removing fields, and the conversions that come of it.

use shm::pack;
use shm::table::{self, Table};
use shm::{Fresh, Off, OutOfMemory, Slot, Tx, U32};

use super::{Field, SMALL_BYTES, SMALL_FIELDS, elements};
use crate::keyspace::entry::{self, Entry, EntryView, Identity, Kind};
use crate::values::packed::{self, Packed, Splice};
use crate::values::table::Element;

/// How large a hash may become before Redis makes a hash table of it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most fields (`hash-max-listpack-entries`).
    pub fields: u64,
    /// Most bytes of a field or a value (`hash-max-listpack-value`).
    pub bytes: u64,
}

impl Limits {
    fn allow(&self, field: &[u8], value: &[u8]) -> bool {
        field.len().max(value.len()) as u64 <= self.bytes
    }
}

/// What came of setting fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// How many of them are new.
    pub created: usize,
    /// The entry that has to take the place of the old one, if it is another one; it has taken over what
    /// hung on that (`Cx::exchange`).
    pub moved: Option<Off<Entry>>,
}

/// What came of removing fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// So many were there, and others are left. The entry is that of [`Changed::moved`].
    Some(usize, Option<Off<Entry>>),
    /// So many were there, and none is left. The key has to be deleted, whatever the entry still holds.
    All(usize),
}

/// Redis refuses listpacks that would become larger.
const LISTPACK_BYTES: usize = 1 << 30;

/// The run of a packed hash, taken out of the arena to be changed in many places.
struct Draft {
    run: Vec<u8>,
    fields: usize,
    /// Whether Redis would still have a listpack.
    listpack: bool,
}

impl Draft {
    const EMPTY: Draft = Draft { run: Vec::new(), fields: 0, listpack: true };

    fn of(entry: &EntryView<'_>) -> Draft {
        let packed = Packed::of(entry);
        let listpack = entry.kind() == Kind::HashPacked;
        Draft { run: packed.run.to_vec(), fields: packed.count / 2, listpack }
    }

    /// Sets fields as long as the hash may stay packed; what `pairs` then still has is for a table.
    fn fill<'p>(
        &mut self,
        pairs: &mut (impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone),
        limits: &Limits,
    ) -> usize {
        let mut created = 0;
        let mut bytes = self.run.len();
        // Redis looks at all of them before it sets the first.
        self.listpack &= pairs.clone().all(|(field, value)| {
            bytes = bytes.saturating_add(field.len() + value.len());
            limits.allow(field, value)
        });
        self.listpack &= bytes <= LISTPACK_BYTES;
        while self.is_packed()
            && let Some((field, value)) = pairs.next()
        {
            created += usize::from(self.set(field, value));
            self.listpack &= self.fields as u64 <= limits.fields;
        }
        created
    }

    fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        match pack::find(&self.run, 0, field, 1) {
            Some(at) => {
                let mut bytes = Vec::new();
                pack::encode(&mut bytes, value);
                let start = pack::skip(&self.run, at);
                let end = pack::skip(&self.run, start);
                self.run.splice(start..end, bytes);
                false
            }
            None => {
                pack::encode(&mut self.run, field);
                pack::encode(&mut self.run, value);
                self.fields += 1;
                true
            }
        }
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let Some(at) = pack::find(&self.run, 0, field, 1) else { return false };
        let end = pack::skip(&self.run, pack::skip(&self.run, at));
        self.run.drain(at..end);
        self.fields -= 1;
        true
    }

    fn is_packed(&self) -> bool {
        self.listpack || is_small(self.fields, self.run.len())
    }

    fn kind(&self) -> Kind {
        if self.listpack { Kind::HashPacked } else { Kind::HashSmall }
    }

    /// Makes a hash of it in a table, to which `rest` is added; says how many of those were new.
    fn into_table<'p>(
        self,
        tx: &mut Tx<'_>,
        key: &[u8],
        expiry: Option<i64>,
        rest: impl Iterator<Item = (&'p [u8], &'p [u8])>,
    ) -> Result<(Fresh, usize), OutOfMemory> {
        let (fresh, table) = entry::create_record(tx, key, Kind::HashTable, expiry, Table::EMPTY)?;
        let mut items = pack::items(&self.run);
        let (mut one, mut other) = (pack::Digits::new(), pack::Digits::new());
        while let (Some(field), Some(value)) = (items.next(), items.next()) {
            let field = field.text(&mut one);
            insert(tx, table, tx.hash(field), field, value.text(&mut other))?;
        }
        let mut created = 0;
        for (field, value) in rest {
            created += usize::from(set_in_table(tx, table, field, value)?);
        }
        Ok((fresh, created))
    }
}

/// Whether a hash is small enough to be packed although Redis would make a hash table of it.
fn is_small(fields: usize, run: usize) -> bool {
    fields <= SMALL_FIELDS && run <= SMALL_BYTES
}

/// Makes an entry with a hash of these fields, one at least; of equal ones the last one counts. Gives
/// also how many differ.
pub fn create<'p>(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    mut pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
    limits: &Limits,
) -> Result<(Fresh, usize), OutOfMemory> {
    let mut draft = Draft::EMPTY;
    let created = draft.fill(&mut pairs, limits);
    if draft.is_packed() {
        let fresh = packed::create(tx, key, draft.kind(), expiry, draft.fields * 2, &draft.run)?;
        return Ok((fresh, created));
    }
    let (fresh, more) = draft.into_table(tx, key, expiry, pairs)?;
    Ok((fresh, created + more))
}

/// Sets fields of a hash.
pub fn set<'p>(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    mut pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
    limits: &Limits,
) -> Result<Changed, OutOfMemory> {
    let (kind, at) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off())
    };
    if kind == Kind::HashTable {
        let mut created = 0;
        for (field, value) in pairs {
            created += usize::from(set_in_table(tx, at.cast(), field, value)?);
        }
        return Ok(Changed { created, moved: None });
    }
    let mut one = pairs.clone();
    if let (Some((field, value)), None) = (one.next(), one.next())
        && let Some(changed) = set_one(tx, off, field, value, limits)?
    {
        return Ok(changed);
    }
    let mut draft = Draft::of(&EntryView::new(tx, off));
    let created = draft.fill(&mut pairs, limits);
    if draft.is_packed() {
        let moved = packed::rewrite(tx, off, draft.kind(), draft.fields * 2, &draft.run)?;
        return Ok(Changed { created, moved });
    }
    let identity = Identity::of(&EntryView::new(tx, off));
    let (fresh, more) = draft.into_table(tx, &identity.key, identity.expiry, pairs)?;
    let moved = identity.hand_over(tx, &fresh);
    Ok(Changed { created: created + more, moved: Some(moved) })
}

/// Sets one field of a packed hash, without taking the others out of the arena. `None`, and nothing
/// done, if it does not stay packed.
fn set_one(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    field: &[u8],
    value: &[u8],
    limits: &Limits,
) -> Result<Option<Changed>, OutOfMemory> {
    let entry = EntryView::new(tx, off);
    let kind = entry.kind();
    let Packed { count, run } = Packed::of(&entry);
    let mut bytes = Vec::with_capacity(field.len() + value.len() + 20);
    let (at, removed, items) = match pack::find(run, 0, field, 1) {
        Some(at) => {
            let start = pack::skip(run, at);
            (start, pack::skip(run, start) - start, 0)
        }
        None => {
            pack::encode(&mut bytes, field);
            (run.len(), 0, 2)
        }
    };
    pack::encode(&mut bytes, value);
    let fields = count / 2 + usize::from(items > 0);
    let len = run.len() - removed + bytes.len();
    let listpack = kind == Kind::HashPacked
        && limits.allow(field, value)
        && len <= LISTPACK_BYTES
        && fields as u64 <= limits.fields;
    if !listpack && !is_small(fields, len) {
        return Ok(None);
    }
    let moved = packed::splice(tx, off, Splice { at, removed, bytes: &bytes, items })?;
    if !listpack && kind == Kind::HashPacked {
        let len = packed::value_len(len) as u32;
        entry::set_kind(tx, moved.unwrap_or(off), Kind::HashSmall, len)?;
    }
    Ok(Some(Changed { created: usize::from(items > 0), moved }))
}

/// Sets a field of a table; says whether it is new.
fn set_in_table(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    field: &[u8],
    value: &[u8],
) -> Result<bool, OutOfMemory> {
    let hash = tx.hash(field);
    let Some(place) = elements::find_hashed::<Field>(tx, table, hash, field) else {
        insert(tx, table, hash, field, value)?;
        return Ok(true);
    };
    let block = place.entry;
    let room = shm::alloc::block_size(tx, block) - Field::HEADER - field.len() as u64;
    let old_len = Field::value(tx, block).len();
    // It has to fit, and not to waste more than half of the block.
    if value.len() as u64 <= room && room <= 64 + 2 * value.len() as u64 {
        let at = Field::value_at(tx, block);
        tx.splice(at, old_len, 0, old_len, value)?;
        if value.len() != old_len {
            let len = U32::from_native(value.len() as u32);
            let slot: Off<Slot<U32>> = shm::field!(block.cast::<Field>(), Field.value_len);
            tx.set(slot, len)?;
        }
    } else {
        let other = make(tx, field, value)?;
        table::replace(tx, &place, other)?;
        tx.free(block)?;
    }
    Ok(false)
}

fn insert(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    field: &[u8],
    value: &[u8],
) -> Result<(), OutOfMemory> {
    let block = make(tx, field, value)?;
    table::insert(tx, table, hash, block)
}

/// Makes a field's block.
fn make(tx: &mut Tx<'_>, field: &[u8], value: &[u8]) -> Result<Off<u8>, OutOfMemory> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| OutOfMemory);
    let header = Field {
        field_len: U32::from_native(len(field)?),
        value_len: Slot::new(U32::from_native(len(value)?)),
    };
    let fresh = tx.alloc(Field::HEADER + (field.len() + value.len()) as u64)?;
    tx.init(&fresh, 0, header);
    tx.init_bytes(&fresh, Field::HEADER, field);
    tx.init_bytes(&fresh, Field::HEADER + field.len() as u64, value);
    Ok(fresh.off())
}

/// Removes fields of a hash.
pub fn remove<'p>(
    tx: &mut Tx<'_>,
    off: Off<Entry>,
    fields: impl Iterator<Item = &'p [u8]> + Clone,
) -> Result<Removed, OutOfMemory> {
    let (kind, at) = {
        let entry = EntryView::new(tx, off);
        (entry.kind(), entry.value_off())
    };
    if kind == Kind::HashTable {
        return remove_from_table(tx, at.cast(), fields);
    }
    let mut one = fields.clone();
    if let (Some(field), None) = (one.next(), one.next()) {
        return remove_one(tx, off, field);
    }
    let mut draft = Draft::of(&EntryView::new(tx, off));
    let removed = fields.filter(|field| draft.remove(field)).count();
    if removed == 0 {
        return Ok(Removed::Some(0, None));
    }
    if draft.fields == 0 {
        return Ok(Removed::All(removed));
    }
    let moved = packed::rewrite(tx, off, kind, draft.fields * 2, &draft.run)?;
    Ok(Removed::Some(removed, moved))
}

fn remove_one(tx: &mut Tx<'_>, off: Off<Entry>, field: &[u8]) -> Result<Removed, OutOfMemory> {
    let Packed { count, run } = Packed::of(&EntryView::new(tx, off));
    let Some(at) = pack::find(run, 0, field, 1) else { return Ok(Removed::Some(0, None)) };
    if count == 2 {
        return Ok(Removed::All(1));
    }
    let removed = pack::skip(run, pack::skip(run, at)) - at;
    let moved = packed::splice(tx, off, Splice { at, removed, bytes: &[], items: -2 })?;
    Ok(Removed::Some(1, moved))
}

fn remove_from_table<'p>(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    fields: impl Iterator<Item = &'p [u8]>,
) -> Result<Removed, OutOfMemory> {
    let mut removed = 0;
    for field in fields {
        let hash = tx.hash(field);
        if let Some(place) = elements::find_hashed::<Field>(tx, table, hash, field) {
            elements::remove(tx, table, hash, &place)?;
            removed += 1;
        }
    }
    let left = table::len(tx, table);
    Ok(if left == 0 { Removed::All(removed) } else { Removed::Some(removed, None) })
}
