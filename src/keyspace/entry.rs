//! One key with its value: a single block of the arena.
//!
//! ```text
//! Entry (16 bytes) | expiry (8, if flagged) | key | value
//! ```
//!
//! What the value is depends on [`Kind`]: the integer or the bytes themselves, or the root record of
//! something larger (a blob, a table) whose blocks have this entry as their one referrer.

use shm::{Fresh, Hint, I64, Off, OutOfMemory, Record, Slot, Tx, U32, View, field, record};

record! {
    /// The fixed part of an entry.
    pub struct Entry {
        /// [`Kind`] as a number.
        pub kind: Slot<u8>,
        /// Bit 0: an expiry stands behind this record.
        pub flags: u8,
        /// Unused.
        pub reserved: [u8; 2],
        /// What is noted of its use: see [`access`](super::access).
        pub access: Hint<U32>,
        /// Bytes of the key.
        pub key_len: U32,
        /// Bytes of the value within this block.
        pub value_len: Slot<U32>,
    }
}

const HAS_EXPIRY: u8 = 1;
/// An expiry slot that holds this has no expiry.
const NO_EXPIRY: i64 = i64::MIN;
const HEADER: u64 = size_of::<Entry>() as u64;

/// Type and encoding of a value. The numbers are part of the arena's format; `docs/values.md` says what
/// stands in the entry for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string that is a 64-bit integer, kept as such (`int`).
    Int = 0x01,
    /// A string of at most 44 bytes that was never modified in place (`embstr`).
    Embedded = 0x02,
    /// Any other string whose bytes stand in the entry (`raw`).
    Inline = 0x03,
    /// A string in a blob (`raw`).
    Blob = 0x04,
    /// A list in the entry itself, packed (`quicklist`).
    ListPacked = 0x10,
    /// A list in a deque of packed chunks (`quicklist`).
    ListDeque = 0x11,
    /// A set of integers in the entry itself, sorted (`intset`).
    SetInt = 0x20,
    /// A set in the entry itself, packed (`hashtable`).
    SetPacked = 0x21,
    /// A set in a table (`hashtable`).
    SetTable = 0x22,
    /// A sorted set in the entry itself, packed, within Redis's limits (`listpack`).
    ZsetPacked = 0x30,
    /// A sorted set in the entry itself, packed, beyond Redis's limits (`skiplist`).
    ZsetSmall = 0x31,
    /// A sorted set in a table and an ordered tree (`skiplist`).
    ZsetTree = 0x32,
    /// A hash in the entry itself, packed, within Redis's limits (`listpack`).
    HashPacked = 0x40,
    /// A hash in the entry itself, packed, beyond Redis's limits (`hashtable`).
    HashSmall = 0x41,
    /// A hash in a table (`hashtable`).
    HashTable = 0x42,
    /// A stream (`stream`).
    Stream = 0x50,
}

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A string, bitmaps and HyperLogLogs among them.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
}

impl Type {
    /// The name, as `TYPE` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Zset => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 16] = [
        Kind::Int,
        Kind::Embedded,
        Kind::Inline,
        Kind::Blob,
        Kind::ListPacked,
        Kind::ListDeque,
        Kind::SetInt,
        Kind::SetPacked,
        Kind::SetTable,
        Kind::ZsetPacked,
        Kind::ZsetSmall,
        Kind::ZsetTree,
        Kind::HashPacked,
        Kind::HashSmall,
        Kind::HashTable,
        Kind::Stream,
    ];

    const BY_NUMBER: [Option<Kind>; 256] = {
        let mut kinds = [None; 256];
        let mut i = 0;
        while i < Kind::ALL.len() {
            kinds[Kind::ALL[i] as usize] = Some(Kind::ALL[i]);
            i += 1;
        }
        kinds
    };

    /// The kind of that number.
    ///
    /// # Panics
    ///
    /// If there is none: the arena is damaged.
    #[inline(always)]
    pub fn from_number(number: u8) -> Kind {
        match Kind::BY_NUMBER[usize::from(number)] {
            Some(kind) => kind,
            None => no_kind(number),
        }
    }

    /// The type of the value.
    #[inline(always)]
    pub fn value_type(self) -> Type {
        match self as u8 >> 4 {
            0 => Type::String,
            1 => Type::List,
            2 => Type::Set,
            3 => Type::Zset,
            4 => Type::Hash,
            _ => Type::Stream,
        }
    }

    /// The name of the encoding, as `OBJECT ENCODING` gives it.
    pub fn encoding(self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Embedded => "embstr",
            Kind::Inline | Kind::Blob => "raw",
            Kind::ListPacked | Kind::ListDeque => "quicklist",
            Kind::SetInt => "intset",
            Kind::SetPacked | Kind::SetTable | Kind::HashSmall | Kind::HashTable => "hashtable",
            Kind::ZsetPacked | Kind::HashPacked => "listpack",
            Kind::ZsetSmall | Kind::ZsetTree => "skiplist",
            Kind::Stream => "stream",
        }
    }

    /// Whether the value is a string.
    #[inline(always)]
    pub fn is_string(self) -> bool {
        self as u8 <= Kind::Blob as u8
    }
}

#[cold]
#[inline(never)]
fn no_kind(number: u8) -> ! {
    panic!("an entry is of kind {number:#x}: the arena is damaged")
}

/// Makes an entry with room for `value_len` bytes of value behind the key; the caller fills them at
/// [`value_at`] of the fresh block.
pub fn create(
    tx: &mut Tx<'_>,
    key: &[u8],
    kind: Kind,
    expiry: Option<i64>,
    value_len: u32,
) -> Result<Fresh, OutOfMemory> {
    let expiry_len = if expiry.is_some() { 8 } else { 0 };
    let fresh = tx.alloc(HEADER + expiry_len + key.len() as u64 + u64::from(value_len))?;
    let header = Entry {
        kind: Slot::new(kind as u8),
        flags: expiry.is_some() as u8,
        reserved: [0; 2],
        access: Hint::new(U32::from_native(0)),
        key_len: U32::from_native(key.len() as u32),
        value_len: Slot::new(U32::from_native(value_len)),
    };
    tx.init(&fresh, 0, header);
    if let Some(at) = expiry {
        tx.init(&fresh, HEADER, I64::from_native(at));
    }
    tx.init_bytes(&fresh, HEADER + expiry_len, key);
    Ok(fresh)
}

/// Makes an entry whose value is a record; gives also where that is.
pub fn create_record<T: Record>(
    tx: &mut Tx<'_>,
    key: &[u8],
    kind: Kind,
    expiry: Option<i64>,
    value: T,
) -> Result<(Fresh, Off<T>), OutOfMemory> {
    let fresh = create(tx, key, kind, expiry, size_of::<T>() as u32)?;
    let start = value_at(key.len(), expiry.is_some());
    tx.init(&fresh, start, value);
    let at = fresh.off().byte_add(start);
    Ok((fresh, at))
}

/// Bytes from the start of an entry to its value.
#[inline(always)]
pub fn value_at(key_len: usize, has_expiry: bool) -> u64 {
    HEADER + if has_expiry { 8 } else { 0 } + key_len as u64
}

/// A read-only look at an entry.
#[derive(Clone, Copy)]
pub struct EntryView<'a> {
    view: &'a View,
    off: Off<Entry>,
    header: &'a Entry,
}

impl<'a> EntryView<'a> {
    /// Looks at an entry.
    #[inline(always)]
    pub fn new(view: &'a View, off: Off<Entry>) -> EntryView<'a> {
        EntryView { view, off, header: view.get(off) }
    }

    /// What the entry is part of.
    #[inline(always)]
    pub fn view(&self) -> &'a View {
        self.view
    }

    /// Where the entry is.
    pub fn off(&self) -> Off<Entry> {
        self.off
    }

    /// Type and encoding.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        Kind::from_number(self.header.kind.get())
    }

    /// Whether the entry has room for an expiry (it may hold none).
    #[inline(always)]
    pub fn has_expiry_slot(&self) -> bool {
        self.header.flags & HAS_EXPIRY != 0
    }

    /// When the key expires, in milliseconds since the epoch.
    #[inline(always)]
    pub fn expiry(&self) -> Option<i64> {
        if !self.has_expiry_slot() {
            return None;
        }
        let at = self.view.read(expiry_slot(self.off)).get().to_native();
        (at != NO_EXPIRY).then_some(at)
    }

    #[inline(always)]
    fn key_start(&self) -> u64 {
        HEADER + if self.has_expiry_slot() { 8 } else { 0 }
    }

    /// The key.
    #[inline(always)]
    pub fn key(&self) -> &'a [u8] {
        let length = self.header.key_len.to_native() as usize;
        self.view.bytes(self.off.byte_add(self.key_start()), length)
    }

    /// Where the value starts.
    #[inline(always)]
    pub fn value_off(&self) -> Off<u8> {
        self.off.byte_add(self.key_start() + u64::from(self.header.key_len.to_native()))
    }

    /// Bytes of the value within the entry's block.
    #[inline(always)]
    pub fn value_len(&self) -> usize {
        self.header.value_len.get().to_native() as usize
    }

    /// The value's bytes within the entry's block.
    #[inline(always)]
    pub fn value(&self) -> &'a [u8] {
        self.view.bytes(self.value_off(), self.value_len())
    }

    /// Bytes that the value may have without a new block.
    #[inline(always)]
    pub fn value_room(&self) -> u64 {
        let block = shm::alloc::block_size(self.view, self.off.cast());
        block - self.key_start() - u64::from(self.header.key_len.to_native())
    }

    /// What is noted of the entry's use: see [`access`](super::access).
    pub fn access(&self) -> u32 {
        self.header.access.get().to_native()
    }
}

fn expiry_slot(entry: Off<Entry>) -> Off<Slot<I64>> {
    entry.byte_add(HEADER)
}

/// Changes the expiry of an entry that has room for one.
pub fn set_expiry(tx: &mut Tx<'_>, entry: Off<Entry>, at: Option<i64>) -> Result<(), OutOfMemory> {
    debug_assert!(EntryView::new(tx, entry).has_expiry_slot());
    tx.set(expiry_slot(entry), I64::from_native(at.unwrap_or(NO_EXPIRY)))
}

/// Changes the kind and the number of value bytes in the block.
pub fn set_kind(
    tx: &mut Tx<'_>,
    entry: Off<Entry>,
    kind: Kind,
    value_len: u32,
) -> Result<(), OutOfMemory> {
    let header = tx.read(entry);
    if header.kind.get() != kind as u8 {
        tx.set(field!(entry, Entry.kind), kind as u8)?;
    }
    if header.value_len.get().to_native() != value_len {
        tx.set(field!(entry, Entry.value_len), U32::from_native(value_len))?;
    }
    Ok(())
}

/// Notes something else of the entry's use: see [`access`](super::access).
#[inline(always)]
pub fn touch(tx: &mut Tx<'_>, entry: Off<Entry>, word: u32) {
    tx.hint(field!(entry, Entry.access), U32::from_native(word));
}

/// What another entry of the same key takes over when a value is made anew in another form. It is taken
/// out of the arena, which changes meanwhile.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The key.
    pub key: Vec<u8>,
    /// When it expires, in milliseconds since the epoch.
    pub expiry: Option<i64>,
    access: u32,
}

impl Identity {
    /// That of an entry.
    pub fn of(entry: &EntryView<'_>) -> Identity {
        Identity { key: entry.key().to_vec(), expiry: entry.expiry(), access: entry.access() }
    }

    /// Notes in an entry, which was made with this key and expiry, how the old one was used.
    pub fn hand_over(&self, tx: &mut Tx<'_>, fresh: &Fresh) -> Off<Entry> {
        let off = fresh.off().cast();
        touch(tx, off, self.access);
        off
    }
}

/// Copies an entry, with another expiry slot, without what hangs on its value: the new block takes
/// over the old one's references. The caller replaces the old one and frees its block only.
pub fn reshape(
    tx: &mut Tx<'_>,
    old: Off<Entry>,
    expiry: Option<i64>,
) -> Result<Off<Entry>, OutOfMemory> {
    let key = EntryView::new(tx, old).key().to_vec();
    rename(tx, old, &key, expiry)
}

/// [`reshape`], and another key.
pub fn rename(
    tx: &mut Tx<'_>,
    old: Off<Entry>,
    key: &[u8],
    expiry: Option<i64>,
) -> Result<Off<Entry>, OutOfMemory> {
    let (kind, value_off, value_len, access) = {
        let entry = EntryView::new(tx, old);
        (entry.kind(), entry.value_off(), entry.value_len(), entry.access())
    };
    let fresh = create(tx, key, kind, expiry, value_len as u32)?;
    tx.init_copy(&fresh, value_at(key.len(), expiry.is_some()), value_off, value_len as u64);
    let off = fresh.off().cast();
    touch(tx, off, access);
    Ok(off)
}
