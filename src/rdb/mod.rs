//! Values as Redis serialises them: what stands in RDB files, and what `DUMP` and `RESTORE` carry.
//!
//! Pure functions over bytes: they know no arena, no keys and no commands.
//!
//! | module | what |
//! | --- | --- |
//! | [`lzf`] | the compression of byte strings |
//! | [`writer`] | lengths, strings, integers and times, written |
//! | [`reader`] | the same, read |
//! | [`strings`] | many byte strings in one buffer |
//! | [`listpack`], [`ziplist`], [`zipmap`] | the packed encodings, of which Redis 7 still writes the first |
//! | [`object`] | any value, read into [`object::Object`] |
//! | [`stream`] | streams, read |
//!
//! Whatever is read is proved to be sound as a whole, as Redis does with `sanitize-dump-payload yes`:
//! what comes out of here can be put into the arena. No input makes the readers panic, or allocate
//! more than a constant times its own length (LZF makes up to 88 bytes of one).

pub mod listpack;
pub mod lzf;
pub mod object;
pub mod reader;
pub mod stream;
pub mod strings;
pub mod writer;
pub mod ziplist;
pub mod zipmap;

use crc::{CRC_64_REDIS, Crc, Table};

/// The version of the format that is written, and the newest that is read.
pub const VERSION: u16 = 10;

/// Bytes behind a dumped value: the version and the checksum.
const TRAILER: usize = 10;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// How a value is written: the first byte of a dump.
pub mod kind {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list of strings.
    pub const LIST: u8 = 1;
    /// A set of strings.
    pub const SET: u8 = 2;
    /// A sorted set with scores as text.
    pub const ZSET: u8 = 3;
    /// A hash of strings.
    pub const HASH: u8 = 4;
    /// A sorted set with scores as doubles.
    pub const ZSET_2: u8 = 5;
    /// A hash as a zipmap.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list as a ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set of integers.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set as a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A hash as a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list of ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream, before Redis 7.
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A hash as a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set as a listpack.
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list of listpacks.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream.
    pub const STREAM_LISTPACKS_2: u8 = 19;
}

/// Bytes are not what they ought to be; says in which respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad data format: {0}")]
pub struct Malformed(pub &'static str);

/// What a reader gives.
pub type Result<T> = std::result::Result<T, Malformed>;

/// Adds version and checksum to a dumped value.
pub fn seal(dump: &mut Vec<u8>) {
    dump.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = CRC.checksum(dump);
    dump.extend_from_slice(&checksum.to_le_bytes());
}

/// Whether version and checksum at the end of a dump are right. The value stands before them, but as
/// Redis does, readers get the whole of it.
pub fn is_sealed(dump: &[u8]) -> bool {
    let Some(at) = dump.len().checked_sub(TRAILER) else { return false };
    let (content, checksum) = dump.split_at(at + 2);
    let version = u16::from_le_bytes([content[at], content[at + 1]]);
    version <= VERSION && CRC.checksum(content).to_le_bytes() == checksum
}

#[cfg(test)]
mod tests;
