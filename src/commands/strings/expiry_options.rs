//! The options of `SET` and `GETEX`.

use crate::executor::{Cx, Fail, error};
use crate::util::numbers::string2ll;

/// Bits of [`Options::flags`].
pub mod option {
    /// Only if the key is not there.
    pub const NX: u32 = 1 << 0;
    /// Only if the key is there.
    pub const XX: u32 = 1 << 1;
    /// Reply with the old value.
    pub const GET: u32 = 1 << 2;
    /// Keep the expiry.
    pub const KEEPTTL: u32 = 1 << 3;
    /// Remove the expiry.
    pub const PERSIST: u32 = 1 << 4;
    /// In so many seconds.
    pub const EX: u32 = 1 << 5;
    /// In so many milliseconds.
    pub const PX: u32 = 1 << 6;
    /// At a time in seconds.
    pub const EXAT: u32 = 1 << 7;
    /// At a time in milliseconds.
    pub const PXAT: u32 = 1 << 8;
}
use option::*;

const TIMES: u32 = EX | PX | EXAT | PXAT;

/// The options of one command.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// [`option`] bits.
    pub flags: u32,
    /// The argument of the last of `EX`, `PX`, `EXAT`, `PXAT`.
    pub time: Option<&'a [u8]>,
}

/// Which command's options are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// `SET`.
    Set,
    /// `GETEX`.
    GetEx,
}

impl<'a> Options<'a> {
    /// Reads the options from argument `from` on.
    pub fn parse(cx: &Cx<'a>, from: usize, of: Of) -> Result<Options<'a>, Fail> {
        let mut options = Options::default();
        let mut at = from;
        while at < cx.args.len() {
            let (bit, excluded) = known(cx.arg(at), of).ok_or(error::SYNTAX)?;
            if options.flags & excluded != 0 {
                return Err(error::SYNTAX);
            }
            if bit & TIMES != 0 {
                at += 1;
                options.time = Some(cx.args.get(at).ok_or(error::SYNTAX)?);
            }
            options.flags |= bit;
            at += 1;
        }
        Ok(options)
    }

    /// Whether any of these [`option`] bits is set.
    #[inline(always)]
    pub fn has(&self, bits: u32) -> bool {
        self.flags & bits != 0
    }

    /// When the key is to expire, in milliseconds since the epoch, if an option says so.
    pub fn expiry(&self, cx: &Cx<'_>) -> Result<Option<i64>, Fail> {
        let Some(time) = self.time else { return Ok(None) };
        let time = string2ll(time).ok_or(error::NOT_INTEGER)?;
        let seconds = self.has(EX | EXAT);
        let base = if self.has(EX | PX) { cx.now_ms() } else { 0 };
        deadline(time, seconds, base).map(Some).ok_or_else(|| invalid_expire_time(cx))
    }
}

/// The bit of a word, and the bits that may not be set with it (itself not among them: an option
/// may be given twice).
fn known(word: &[u8], of: Of) -> Option<(u32, u32)> {
    let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
    let set = of == Of::Set;
    let bit = match word.len() {
        2 if set && is("NX") => NX,
        2 if set && is("XX") => XX,
        3 if set && is("GET") => GET,
        7 if set && is("KEEPTTL") => KEEPTTL,
        7 if !set && is("PERSIST") => PERSIST,
        2 if is("EX") => EX,
        2 if is("PX") => PX,
        4 if is("EXAT") => EXAT,
        4 if is("PXAT") => PXAT,
        _ => return None,
    };
    let excluded = match bit {
        NX => XX,
        XX => NX,
        GET => 0,
        bit => (TIMES | KEEPTTL | PERSIST) & !bit,
    };
    Some((bit, excluded))
}

/// A positive time, since `base` (milliseconds), as a point in time in milliseconds; `None` if it is
/// not positive or beyond all time.
pub fn deadline(time: i64, seconds: bool, base: i64) -> Option<i64> {
    if time <= 0 {
        return None;
    }
    let milliseconds = if seconds { time.checked_mul(1000)? } else { time };
    milliseconds.checked_add(base).filter(|at| *at > 0)
}

/// The error about a time that is out of range.
pub fn invalid_expire_time(cx: &Cx<'_>) -> Fail {
    format!("ERR invalid expire time in '{}' command", cx.command.full_name).into()
}
