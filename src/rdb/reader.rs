//! Reading.

use std::borrow::Cow;

use super::writer::encoding;
use super::{Malformed, Result, lzf};
use crate::util::numbers::string2d;

/// Bytes that are read from the front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

const SHORT: Malformed = Malformed("it ends too early");

/// What stands where a length may stand.
enum Length {
    Plain(u64),
    /// How a string is encoded, as the low six bits say.
    Encoded(u8),
}

impl<'a> Reader<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// So many bytes as they are.
    pub fn raw(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len());
        let (taken, rest) = self.rest.split_at(count.ok_or(SHORT)?);
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn any_length(&mut self) -> Result<Length> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Ok(match first {
            0..0x40 => Length::Plain(low),
            0x40..0x80 => Length::Plain(low << 8 | u64::from(self.byte()?)),
            0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            0xc0.. => Length::Encoded(first & 0x3f),
            _ => return Err(Malformed("unknown encoding of a length")),
        })
    }

    /// A number of 64 bits as lengths are written.
    pub fn number(&mut self) -> Result<u64> {
        // Where no string follows, Redis takes the number of an encoding for a length.
        Ok(match self.any_length()? {
            Length::Plain(length) => length,
            Length::Encoded(number) => u64::from(number),
        })
    }

    /// A length. The greatest number is none.
    pub fn length(&mut self) -> Result<u64> {
        self.number().and_then(|length| match length {
            u64::MAX => Err(Malformed("a length is out of range")),
            length => Ok(length),
        })
    }

    /// A string.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        let number = |number: i64| Cow::Owned(number.to_string().into_bytes());
        Ok(match self.any_length()? {
            Length::Plain(length) => Cow::Borrowed(self.raw(length)?),
            Length::Encoded(low) => match low | 0xc0 {
                encoding::INT8 => number(i8::from_le_bytes(self.array()?).into()),
                encoding::INT16 => number(i16::from_le_bytes(self.array()?).into()),
                encoding::INT32 => number(i32::from_le_bytes(self.array()?).into()),
                encoding::LZF => {
                    let (compressed, length) = (self.length()?, self.length()?);
                    Cow::Owned(lzf::decompress(self.raw(compressed)?, length)?)
                }
                _ => return Err(Malformed("unknown encoding of a string")),
            },
        })
    }

    /// A double in binary.
    pub fn double(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A double as text, as before Redis 4.
    pub fn text_double(&mut self) -> Result<f64> {
        Ok(match self.byte()? {
            255 => f64::NEG_INFINITY,
            254 => f64::INFINITY,
            253 => f64::NAN,
            length => {
                let text = self.raw(length.into())?;
                leading_double(text).ok_or(Malformed("a score is no number"))?
            }
        })
    }

    /// A time, in milliseconds since the epoch.
    pub fn time(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

/// The double that the longest part of a text from its start on reads as, as C's `strtod` does.
pub(super) fn leading_double(text: &[u8]) -> Option<f64> {
    const LONGEST: usize = 256;
    // C's white space, which has one more byte than Rust's.
    let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let text = &text[text.iter().take_while(|byte| space(byte)).count()..];
    let text = &text[..text.len().min(LONGEST)];
    (1..=text.len()).rev().find_map(|end| string2d(&text[..end]))
}
