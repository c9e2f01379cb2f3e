//! A RESP2/RESP3 reply and its strict decoder.
//!
//! This decoder shares nothing with the server's: it is what the tests trust. It accepts only
//! what Redis emits (no `+1` integers, no leading zeros, no stray bytes), so that a sloppy frame
//! from the server is an error here rather than something that is silently understood.

use std::fmt;

/// One reply. Each wire type has its own variant, so comparing values compares types too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`
    Error(Vec<u8>),
    /// `!len text`
    BlobError(Vec<u8>),
    /// `:number`
    Integer(i64),
    /// `$len bytes`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `#t` or `#f`
    Boolean(bool),
    /// `,text`, kept as text: replies are compared byte for byte
    Double(Vec<u8>),
    /// `(digits`, kept as text
    BigNumber(Vec<u8>),
    /// `=len fmt:bytes`
    Verbatim([u8; 3], Vec<u8>),
    /// `*count`
    Array(Vec<Value>),
    /// `%count`
    Map(Vec<(Value, Value)>),
    /// `~count`
    Set(Vec<Value>),
    /// `>count`
    Push(Vec<Value>),
    /// `|count`, and the value it speaks about
    Attributed(Vec<(Value, Value)>, Box<Value>),
}

/// Bytes that are no RESP, and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Position in the buffer that was decoded.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed reply at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for DecodeError {}

/// Aggregates nest no deeper than this in any reply of Redis.
const MAX_DEPTH: usize = 32;
/// No reply in the tests is longer; a larger length is taken for garbage.
const MAX_LEN: i64 = 1 << 30;

impl Value {
    /// `+OK`
    pub fn ok() -> Self {
        Self::Simple(b"OK".to_vec())
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// An error reply with this text (without the leading `-`).
    pub fn error(text: impl AsRef<[u8]>) -> Self {
        Self::Error(text.as_ref().to_vec())
    }

    /// The bytes of any string-like value.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(b) | Self::Error(b) | Self::BlobError(b) | Self::Bulk(b) => Some(b),
            Self::Double(b) | Self::BigNumber(b) | Self::Verbatim(_, b) => Some(b),
            _ => None,
        }
    }

    /// The text of any string-like value.
    ///
    /// # Panics
    /// If this is no string-like value or not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        let bytes = self.as_bytes().unwrap_or_else(|| panic!("expected a string, got {self:?}"));
        std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("expected UTF-8, got {self:?}"))
    }

    /// The number of an integer reply.
    ///
    /// # Panics
    /// If this is something else.
    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(n) => *n,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// The elements of an array, set or push.
    ///
    /// # Panics
    /// If this is something else.
    #[track_caller]
    pub fn elements(&self) -> &[Value] {
        match self {
            Self::Array(v) | Self::Set(v) | Self::Push(v) => v,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_) | Self::BlobError(_))
    }

    /// Whether this is any of the three nulls.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::NullBulk | Self::NullArray | Self::Null)
    }

    /// Decodes the value at the start of `input`: the value and its length in bytes, or `None`
    /// if more bytes are needed.
    pub fn decode(input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
        let mut cursor = Cursor { input, at: 0 };
        Ok(cursor.value(0)?.map(|value| (value, cursor.at)))
    }
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

/// `return Ok(None)` where the input ends early.
macro_rules! ready {
    ($e:expr) => {
        match $e? {
            Some(v) => v,
            None => return Ok(None),
        }
    };
}

type Decoded<T> = Result<Option<T>, DecodeError>;

impl<'a> Cursor<'a> {
    fn fail<T>(&self, what: &'static str) -> Decoded<T> {
        Err(DecodeError { at: self.at, what })
    }

    /// The bytes up to CRLF, which is consumed.
    fn line(&mut self) -> Decoded<&'a [u8]> {
        let rest = &self.input[self.at..];
        let Some(end) = rest.iter().position(|b| *b == b'\r' || *b == b'\n') else {
            return Ok(None);
        };
        match rest.get(end..end + 2) {
            Some(b"\r\n") => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            Some(_) => self.fail("a line ends in something else than CRLF"),
            None if rest[end] == b'\n' => self.fail("a bare LF"),
            None => Ok(None),
        }
    }

    fn number(&mut self) -> Decoded<i64> {
        let line = ready!(self.line());
        match canonical_integer(line) {
            Some(n) => Ok(Some(n)),
            None => self.fail("not a canonical integer"),
        }
    }

    /// A length; `None` inside stands for -1.
    fn length(&mut self, nullable: bool) -> Decoded<Option<usize>> {
        match ready!(self.number()) {
            -1 if nullable => Ok(Some(None)),
            n @ 0..=MAX_LEN => Ok(Some(Some(n as usize))),
            _ => self.fail("length out of range"),
        }
    }

    fn payload(&mut self, len: usize) -> Decoded<Vec<u8>> {
        let Some(bytes) = self.input.get(self.at..self.at + len + 2) else { return Ok(None) };
        if &bytes[len..] != b"\r\n" {
            return self.fail("a string is not followed by CRLF");
        }
        self.at += len + 2;
        Ok(Some(bytes[..len].to_vec()))
    }

    fn elements(&mut self, count: usize, depth: usize) -> Decoded<Vec<Value>> {
        let mut all = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            all.push(ready!(self.value(depth + 1)));
        }
        Ok(Some(all))
    }

    fn pairs(&mut self, depth: usize) -> Decoded<Vec<(Value, Value)>> {
        let Some(count) = ready!(self.length(false)) else { return self.fail("a null map") };
        let flat = ready!(self.elements(count * 2, depth));
        let mut flat = flat.into_iter();
        let mut pairs = Vec::with_capacity(count.min(1024));
        while let (Some(k), Some(v)) = (flat.next(), flat.next()) {
            pairs.push((k, v));
        }
        Ok(Some(pairs))
    }

    fn value(&mut self, depth: usize) -> Decoded<Value> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        let Some(kind) = self.input.get(self.at) else { return Ok(None) };
        self.at += 1;
        let value = match kind {
            b'+' => Value::Simple(ready!(self.line()).to_vec()),
            b'-' => Value::Error(ready!(self.line()).to_vec()),
            b':' => Value::Integer(ready!(self.number())),
            b'$' => match ready!(self.length(true)) {
                None => Value::NullBulk,
                Some(len) => Value::Bulk(ready!(self.payload(len))),
            },
            b'!' => match ready!(self.length(false)) {
                None => return self.fail("a null blob error"),
                Some(len) => Value::BlobError(ready!(self.payload(len))),
            },
            b'=' => match ready!(self.length(false)) {
                None => return self.fail("a null verbatim string"),
                Some(len) => match ready!(self.payload(len)).as_slice() {
                    [a, b, c, b':', text @ ..] => Value::Verbatim([*a, *b, *c], text.to_vec()),
                    _ => return self.fail("a verbatim string without its format"),
                },
            },
            b'*' => match ready!(self.length(true)) {
                None => Value::NullArray,
                Some(count) => Value::Array(ready!(self.elements(count, depth))),
            },
            b'~' | b'>' => {
                let Some(count) = ready!(self.length(false)) else {
                    return self.fail("a null set or push");
                };
                let all = ready!(self.elements(count, depth));
                if *kind == b'~' { Value::Set(all) } else { Value::Push(all) }
            }
            b'%' => Value::Map(ready!(self.pairs(depth))),
            b'|' => {
                let attributes = ready!(self.pairs(depth));
                Value::Attributed(attributes, Box::new(ready!(self.value(depth + 1))))
            }
            b'_' => match ready!(self.line()) {
                b"" => Value::Null,
                _ => return self.fail("a null with content"),
            },
            b'#' => match ready!(self.line()) {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return self.fail("a boolean that is neither t nor f"),
            },
            b',' => {
                let text = ready!(self.line());
                if !is_double(text) {
                    return self.fail("not a double");
                }
                Value::Double(text.to_vec())
            }
            b'(' => {
                let text = ready!(self.line());
                let digits = text.strip_prefix(b"-").unwrap_or(text);
                if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                    return self.fail("not a big number");
                }
                Value::BigNumber(text.to_vec())
            }
            _ => {
                self.at -= 1;
                return self.fail("unknown type byte");
            }
        };
        Ok(Some(value))
    }
}

fn canonical_integer(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
}

fn is_double(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    matches!(text, "inf" | "-inf" | "nan")
        || (text.parse::<f64>().is_ok()
            && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)))
}

/// `bytes` in the double quotes that `redis-cli` understands.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for b in bytes {
        match b {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(*b as char);
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x20..=0x7e => out.push(*b as char),
            _ => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push('"');
    out
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longer strings are cut in messages.
        const SHOWN: usize = 600;
        let q = |b: &[u8]| match b.get(..SHOWN) {
            Some(head) if b.len() > SHOWN => format!("{}... ({} bytes)", quoted(head), b.len()),
            _ => quoted(b),
        };
        match self {
            Self::Simple(b) => write!(f, "+{}", q(b)),
            Self::Error(b) => write!(f, "-{}", q(b)),
            Self::BlobError(b) => write!(f, "!{}", q(b)),
            Self::Integer(n) => write!(f, ":{n}"),
            Self::Bulk(b) => write!(f, "${}", q(b)),
            Self::NullBulk => f.write_str("$-1"),
            Self::NullArray => f.write_str("*-1"),
            Self::Null => f.write_str("_"),
            Self::Boolean(b) => write!(f, "#{}", if *b { 't' } else { 'f' }),
            Self::Double(b) => write!(f, ",{}", q(b)),
            Self::BigNumber(b) => write!(f, "({}", q(b)),
            Self::Verbatim(kind, b) => write!(f, "={}:{}", q(kind), q(b)),
            Self::Array(v) => f.write_str("*").and_then(|()| f.debug_list().entries(v).finish()),
            Self::Set(v) => f.write_str("~").and_then(|()| f.debug_list().entries(v).finish()),
            Self::Push(v) => f.write_str(">").and_then(|()| f.debug_list().entries(v).finish()),
            Self::Map(v) => f
                .write_str("%")
                .and_then(|()| f.debug_map().entries(v.iter().map(|(k, v)| (k, v))).finish()),
            Self::Attributed(a, v) => write!(f, "|{a:?} {v:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_decodes_and_every_prefix_asks_for_more() {
        let wire =
            b"*17\r\n+OK\r\n-ERR x\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,3.5\r\n\
            ,inf\r\n(123456789012345678901234567890\r\n=7\r\ntxt:abc\r\n*0\r\n%1\r\n+k\r\n:1\r\n\
            ~1\r\n:2\r\n!3\r\nERR\r\n|1\r\n+a\r\n:1\r\n>1\r\n+p\r\n";
        let (value, used) = Value::decode(wire).unwrap().unwrap();
        assert_eq!(used, wire.len());
        assert_eq!(value.elements().len(), 17);
        for cut in 0..wire.len() {
            assert_eq!(Value::decode(&wire[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn sloppy_frames_are_refused() {
        for bad in [
            &b":+1\r\n"[..],
            b":01\r\n",
            b":-0\r\n",
            b"$-2\r\n",
            b"$1\r\nabc\r\n",
            b"+a\nb\r\n",
            b"+a\rb\r\n",
            b"_x\r\n",
            b"#y\r\n",
            b",abc\r\n",
            b",+inf\r\n",
            b"(1a\r\n",
            b"=2\r\nab\r\n",
            b"%-1\r\n",
            b"x\r\n",
            b"\r\n",
        ] {
            assert!(Value::decode(bad).is_err(), "{} was accepted", quoted(bad));
        }
    }
}
