//! Encoder of replies, in RESP2 or RESP3.
//!
//! A [`Reply`] joins a [`Sink`] with the protocol version of the client, so that a command says what
//! it answers and not how. What RESP2 lacks is written as Redis does it: a map as an array of keys
//! and values, a double as a bulk string, and so on.
//!
//! Lengths come first: a command that does not know one yet counts before it writes.

use crate::util::numbers;

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, which every connection starts with.
    #[default]
    Resp2,
    /// RESP3, chosen with `HELLO 3`.
    Resp3,
}

/// Where replies go.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends several pieces that belong together; a sink that pays for each call overrides it.
    #[inline]
    fn put_all(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.put(piece);
        }
    }

    /// Appends a bulk string: its header, the bytes, the line's end.
    #[inline]
    fn put_bulk(&mut self, bytes: &[u8]) {
        let mut line = [0; HEADER];
        let line = header_line(&mut line, b'$', bytes.len() as i64);
        self.put_all(&[line, bytes, CRLF]);
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_all(&mut self, pieces: &[&[u8]]) {
        self.reserve(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.extend_from_slice(piece);
        }
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }

    #[inline]
    fn put_all(&mut self, pieces: &[&[u8]]) {
        (**self).put_all(pieces);
    }

    #[inline]
    fn put_bulk(&mut self, bytes: &[u8]) {
        (**self).put_bulk(bytes);
    }
}

/// Replies that are the same every time, ready to be sent.
pub mod shared {
    /// `+OK`.
    pub const OK: &[u8] = b"+OK\r\n";
    /// `+PONG`.
    pub const PONG: &[u8] = b"+PONG\r\n";
    /// `+QUEUED`.
    pub const QUEUED: &[u8] = b"+QUEUED\r\n";
    /// The integer 0.
    pub const ZERO: &[u8] = b":0\r\n";
    /// The integer 1.
    pub const ONE: &[u8] = b":1\r\n";
    /// A string of no bytes.
    pub const EMPTY_BULK: &[u8] = b"$0\r\n\r\n";
    /// A value of the wrong type.
    pub const WRONG_TYPE: &[u8] =
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    /// There is no such key.
    pub const NO_KEY: &[u8] = b"-ERR no such key\r\n";
    /// The client must authenticate first.
    pub const NO_AUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
}

/// The format of a verbatim string, three letters on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Plain text, `txt`.
    Text,
    /// Markdown, `mkd`.
    Markdown,
}

/// Writes replies for one client.
#[derive(Debug)]
pub struct Reply<'a, S: Sink + ?Sized> {
    sink: &'a mut S,
    protocol: Protocol,
}

const CRLF: &[u8] = b"\r\n";

impl<'a, S: Sink + ?Sized> Reply<'a, S> {
    /// Replies to `sink` in the given version.
    #[inline]
    pub fn new(sink: &'a mut S, protocol: Protocol) -> Self {
        Self { sink, protocol }
    }

    /// Where the replies go.
    #[inline]
    pub fn sink(&mut self) -> &mut S {
        self.sink
    }

    /// Speaks another version from now on (`HELLO`).
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The version in use.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes bytes that are a reply already, such as those of [`shared`].
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.sink.put(encoded);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.sink.put(shared::OK);
    }

    /// A simple string. Line ends in it become blanks; text of any bytes goes into [`Self::bulk`].
    #[inline]
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b"+", text.as_ref());
    }

    /// An error. A message that starts with `-` brings its own code (`-WRONGTYPE ...`), any other is
    /// given `ERR`. As in Redis, line ends around the message are dropped, and those inside become
    /// blanks, so a message may quote what the client sent.
    pub fn error(&mut self, message: impl AsRef<[u8]>) {
        let message = trim_line_ends(message.as_ref());
        let prefix: &[u8] = if message.first() == Some(&b'-') { b"" } else { b"-ERR " };
        self.line(prefix, message);
    }

    /// [`Self::error`] with a message that begins with its code, without the `-` before it.
    pub fn coded_error(&mut self, message: impl AsRef<[u8]>) {
        self.line(b"-", trim_line_ends(message.as_ref()));
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.sink.put(shared::ZERO),
            1 => self.sink.put(shared::ONE),
            _ => self.header(b':', value),
        }
    }

    /// A bulk string of any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.sink.put_bulk(bytes);
    }

    /// The header of a bulk string whose `len` bytes the caller puts in pieces with [`Self::raw`],
    /// followed by [`Self::bulk_end`].
    #[inline]
    pub fn bulk_start(&mut self, len: usize) {
        self.header(b'$', len as i64);
    }

    /// Ends what [`Self::bulk_start`] began.
    #[inline]
    pub fn bulk_end(&mut self) {
        self.sink.put(CRLF);
    }

    /// An integer as a bulk string, as a value that counts is stored.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.sink.put(self.pick(b"$-1\r\n", b"_\r\n"));
    }

    /// No value, where RESP2 has a null array (an aborted `EXEC`, a blocking pop that timed out).
    #[inline]
    pub fn null_array(&mut self) {
        self.sink.put(self.pick(b"*-1\r\n", b"_\r\n"));
    }

    /// Begins an array of `len` elements.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// Begins a map of `len` pairs: in RESP2 an array of twice as many elements.
    #[inline]
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64 * 2),
            Protocol::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// Begins a set of `len` elements: in RESP2 an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        let kind = self.pick(b'*', b'~');
        self.header(kind, len as i64);
    }

    /// Begins an out-of-band message of `len` elements: in RESP2 an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        let kind = self.pick(b'*', b'>');
        self.header(kind, len as i64);
    }

    /// Begins `len` pairs of attributes of the value that follows them. RESP2 has none: false is
    /// returned then, nothing is written, and the pairs must not be written either.
    #[must_use = "without attributes, their pairs must not be written"]
    pub fn attribute(&mut self, len: usize) -> bool {
        if self.protocol == Protocol::Resp3 {
            self.header(b'|', len as i64);
        }
        self.protocol == Protocol::Resp3
    }

    /// A double, with 17 significant digits: in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(32);
        // The sign of NaN means nothing, and RESP3 has one spelling for it.
        numbers::write_g17(&mut text, if value.is_nan() { f64::NAN.abs() } else { value });
        self.human_double(&text);
    }

    /// A double that is text already, such as the result of `INCRBYFLOAT` in long double.
    pub fn human_double(&mut self, text: &[u8]) {
        self.scalar(b',', text);
    }

    /// A truth value: in RESP2 the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        let (resp2, resp3): (&[u8], &[u8]) =
            if value { (shared::ONE, b"#t\r\n") } else { (shared::ZERO, b"#f\r\n") };
        self.sink.put(self.pick(resp2, resp3));
    }

    /// An integer of any size, in decimal: in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &[u8]) {
        self.scalar(b'(', digits);
    }

    /// A text with a format: in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: Format, text: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        let format: &[u8] = match format {
            Format::Text => b"txt:",
            Format::Markdown => b"mkd:",
        };
        let mut line = [0; HEADER];
        let line = header_line(&mut line, b'=', (format.len() + text.len()) as i64);
        self.sink.put_all(&[line, format, text, CRLF]);
    }

    /// A line in RESP3, a bulk string in RESP2.
    fn scalar(&mut self, kind: u8, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => self.sink.put_all(&[&[kind], text, CRLF]),
        }
    }

    /// Writes one line, whatever the text holds.
    fn line(&mut self, prefix: &[u8], text: &[u8]) {
        if memchr::memchr2(b'\r', b'\n', text).is_none() {
            return self.sink.put_all(&[prefix, text, CRLF]);
        }
        let blank = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        let text: Vec<u8> = text.iter().map(blank).collect();
        self.sink.put_all(&[prefix, &text, CRLF]);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        let mut line = [0; HEADER];
        self.sink.put(header_line(&mut line, kind, value));
    }

    #[inline]
    fn pick<T>(&self, resp2: T, resp3: T) -> T {
        match self.protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        }
    }
}

/// Room for a type byte, an `i64` and the line end.
pub(crate) const HEADER: usize = 1 + 20 + 2;

#[inline]
pub(crate) fn header_line(line: &mut [u8; HEADER], kind: u8, value: i64) -> &[u8] {
    line[0] = kind;
    if (0..10).contains(&value) {
        line[1..4].copy_from_slice(&[b'0' + value as u8, b'\r', b'\n']);
        return &line[..4];
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    let end = 1 + digits.len();
    line[1..end].copy_from_slice(digits);
    line[end..end + 2].copy_from_slice(CRLF);
    &line[..end + 2]
}

fn trim_line_ends(mut text: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
