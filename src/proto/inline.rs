//! Inline commands: a line of words, with quotes, as a person types it into `telnet`.
//!
//! The splitting rules are [`crate::util::quote::split_args`]'s; this file finds the line.

use super::request::{Argv, Decoded, ProtocolError};

/// Longest line without an end that is waited for (Redis's `PROTO_INLINE_MAX_SIZE`), in bytes.
///
/// A longer line is served if its end is already there when it is looked at, as in Redis.
pub const INLINE_MAX_SIZE: usize = 64 * 1024;

/// Decodes the inline request at the start of `buf`.
///
/// `scanned` is how much of `buf` is known to hold no end of line; it is moved on so that a line
/// that arrives byte by byte is searched once. A NUL stops the search for good, because Redis
/// searches with `strchr`: such a line is never complete and ends as "too big".
pub(super) fn decode(buf: &[u8], scanned: &mut usize, argv: &mut Argv) -> Decoded {
    let newline = match memchr::memchr2(b'\n', 0, &buf[*scanned..]) {
        Some(found) => {
            *scanned += found;
            (buf[*scanned] == b'\n').then_some(*scanned)
        }
        None => {
            *scanned = buf.len();
            None
        }
    };
    let Some(newline) = newline else {
        return if buf.len() > INLINE_MAX_SIZE {
            Decoded::Error(ProtocolError::InlineTooBig)
        } else {
            Decoded::Incomplete { need: buf.len() + 1 }
        };
    };
    let line = &buf[..newline];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if argv.fill_from_line(line) {
        Decoded::Complete { consumed: newline + 1 }
    } else {
        Decoded::Error(ProtocolError::UnbalancedQuotes)
    }
}
