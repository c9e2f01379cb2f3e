//! Writing.

use shm::pack::{self, Item};

use super::lzf;

/// A string is compressed only if it is longer than this, in bytes.
const COMPRESSED_FROM: usize = 20;
/// Longest text that is looked at as an integer of 32 bits, in bytes.
const INTEGER_MAX: usize = 11;

/// The first byte of a string that is no plain one.
pub(super) mod encoding {
    /// An integer of 8 bits.
    pub const INT8: u8 = 0xc0;
    /// An integer of 16 bits.
    pub const INT16: u8 = 0xc1;
    /// An integer of 32 bits.
    pub const INT32: u8 = 0xc2;
    /// Compressed bytes.
    pub const LZF: u8 = 0xc3;
}

/// A serialised value as it comes into being.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    compress: bool,
}

impl Writer {
    /// Begins a value of a [`kind`](super::kind). `compress` is `rdbcompression`.
    pub fn new(kind: u8, compress: bool) -> Writer {
        Writer { out: vec![kind], compress }
    }

    /// What was written, without version and checksum.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// A length, or any number that is mostly small.
    pub fn length(&mut self, length: u64) {
        match length {
            0..0x40 => self.out.push(length as u8),
            0x40..0x4000 => self.out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
            0x4000..=0xffff_ffff => {
                self.out.push(0x80);
                self.out.extend_from_slice(&(length as u32).to_be_bytes());
            }
            _ => {
                self.out.push(0x81);
                self.out.extend_from_slice(&length.to_be_bytes());
            }
        }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A double, in binary.
    pub fn double(&mut self, value: f64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A time, in milliseconds since the epoch.
    pub fn time(&mut self, milliseconds: i64) {
        self.out.extend_from_slice(&milliseconds.to_le_bytes());
    }

    /// A string: as an integer or compressed, if that pays.
    pub fn string(&mut self, bytes: &[u8]) {
        let number = (bytes.len() <= INTEGER_MAX).then(|| pack::integer(bytes)).flatten();
        if number.is_some_and(|number| self.small_integer(number)) {
            return;
        }
        let compressed = (self.compress && bytes.len() > COMPRESSED_FROM)
            .then(|| lzf::compress(bytes, bytes.len() - 4))
            .flatten();
        if let Some(compressed) = compressed {
            self.out.push(encoding::LZF);
            self.length(compressed.len() as u64);
            self.length(bytes.len() as u64);
            self.out.extend_from_slice(&compressed);
            return;
        }
        self.length(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A string that is the text of an integer.
    pub fn integer(&mut self, number: i64) {
        if !self.small_integer(number) {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(number).as_bytes();
            self.length(digits.len() as u64);
            self.out.extend_from_slice(digits);
        }
    }

    /// A string that is an item of a run.
    pub fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Int(number) => self.integer(number),
            Item::Bytes(bytes) => self.string(bytes),
        }
    }

    /// Writes an integer of 32 bits at most.
    fn small_integer(&mut self, number: i64) -> bool {
        let bytes = number.to_le_bytes();
        let (encoding, length) = match number {
            -0x80..=0x7f => (encoding::INT8, 1),
            -0x8000..=0x7fff => (encoding::INT16, 2),
            -0x8000_0000..=0x7fff_ffff => (encoding::INT32, 4),
            _ => return false,
        };
        self.out.push(encoding);
        self.out.extend_from_slice(&bytes[..length]);
        true
    }
}
