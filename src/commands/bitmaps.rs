//! Bitmap commands: strings seen as arrays of bits.

use super::bitfields::{bitfield, bitfield_ro};
use super::key_search;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use super::strings::{content, content_of, store, write_silently_at};
use crate::executor::{Cx, Fail, Key, Outcome, class, error};
use crate::keyspace::Kind;
use crate::proto::reply::shared;
use crate::util::numbers::string2ll;
use crate::values::bitmap::{self, Bits, Operation};
use crate::values::string::Encoded;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("setbit", 4, setbit)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("getbit", 3, getbit)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("bitcount", -2, bitcount)
        .flags(flag::READONLY)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("bitpos", -3, bitpos)
        .flags(flag::READONLY)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("bitop", -4, bitop).flags(flag::WRITE | flag::DENYOOM).acl(acl::BITMAP).keys(&[
        at(2).flags(key::OW | key::UPDATE),
        at(3).to(-1, 1, 0).flags(key::RO | key::ACCESS),
    ]),
    cmd("bitfield", -2, bitfield)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[at(1)
            .flags(key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS)
            .notes("This command allows both access and modification of the key")])
        .get_keys(key_search::of_bitfield),
    cmd("bitfield_ro", -2, bitfield_ro)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
];

/// Reads the position of a bit, which has to be within the longest string that is allowed.
pub(super) fn parse_offset(cx: &Cx<'_>, text: &[u8]) -> Result<u64, Fail> {
    string2ll(text).and_then(|offset| check_offset(cx, offset)).ok_or_else(invalid_offset)
}

/// The position, if it is allowed.
pub(super) fn check_offset(cx: &Cx<'_>, offset: i64) -> Option<u64> {
    let offset = u64::try_from(offset).ok()?;
    (offset / 8 < cx.state.config.proto_max_bulk_len()).then_some(offset)
}

/// The error about a position that is out of range.
pub(super) fn invalid_offset() -> Fail {
    "ERR bit offset is not an integer or out of range".into()
}

/// Makes the string of a key `raw` and at least so long that it has the bit at `last`. Gives the
/// key anew and whether the string has grown.
pub(super) fn make_room<'a>(
    cx: &mut Cx<'a>,
    name: &'a [u8],
    last: u64,
) -> Result<(Key<'a>, bool), Fail> {
    let key = cx.open(name)?;
    let length = content_of(cx, &key)?.map_or(0, |content| content.len());
    let grows = last / 8 >= length;
    if grows {
        write_silently_at(cx, &key, last / 8, &[0])?;
    } else if !is_raw(cx, &key) {
        let first = content_of(cx, &key)?.and_then(|content| content.byte(0)).unwrap_or(0);
        write_silently_at(cx, &key, 0, &[first])?;
    } else {
        return Ok((key, false));
    }
    Ok((cx.peek(name)?, grows))
}

fn is_raw(cx: &Cx<'_>, key: &Key<'_>) -> bool {
    key.found.is_some_and(|found| matches!(cx.entry(&found).kind(), Kind::Inline | Kind::Blob))
}

/// `SETBIT key offset value`: sets or clears the bit at offset in the string value stored at key.
fn setbit(cx: &mut Cx<'_>) -> Outcome {
    const WRONG_BIT: &str = "ERR bit is not an integer or out of range";
    let at = parse_offset(cx, cx.arg(2))?;
    let bit = match string2ll(cx.arg(3)) {
        Some(bit @ (0 | 1)) => bit == 1,
        _ => return Err(WRONG_BIT.into()),
    };
    let (key, grown) = make_room(cx, cx.arg(1), at)?;
    let byte = content_of(cx, &key)?.and_then(|content| content.byte(at / 8)).unwrap_or(0);
    let mask = bitmap::mask(at);
    let old = byte & mask != 0;
    if old != bit {
        write_silently_at(cx, &key, at / 8, &[byte ^ mask])?;
    }
    if grown || old != bit {
        cx.changed(key.name)?;
        cx.notify(class::STRING, "setbit", key.name)?;
    }
    cx.reply.integer(i64::from(old));
    Ok(())
}

/// `GETBIT key offset`: returns the bit value at offset in the string value stored at key.
fn getbit(cx: &mut Cx<'_>) -> Outcome {
    let at = parse_offset(cx, cx.arg(2))?;
    let key = cx.read(cx.arg(1))?;
    let bit = content_of(cx, &key)?.is_some_and(|content| bitmap::get(&content, at));
    cx.reply.integer(i64::from(bit));
    Ok(())
}

/// The unit of positions in a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(cx: &Cx<'_>, index: usize) -> Result<Unit, Fail> {
        if cx.args.is(index, "BIT") {
            Ok(Unit::Bit)
        } else if cx.args.is(index, "BYTE") {
            Ok(Unit::Byte)
        } else {
            Err(error::SYNTAX)
        }
    }
}

/// Turns positions that may count from the end into a range of bits, which may be empty.
fn range(start: i64, end: i64, unit: Unit, length: u64) -> Bits {
    let size = if unit == Unit::Bit { 1 } else { 8 };
    let total = length as i64 * 8 / size;
    let from_end = |at: i64| if at < 0 { (total + at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(total - 1));
    if start > end {
        return Bits { start: 0, end: 0 };
    }
    Bits { start: (start * size) as u64, end: ((end + 1) * size) as u64 }
}

/// `BITCOUNT key [start end [BYTE | BIT]]`: count set bits in a string.
fn bitcount(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.raw(shared::ZERO);
        return Ok(());
    };
    let content = content(cx, found)?;
    let bits = match cx.args.len() {
        2 => Bits { start: 0, end: content.len() * 8 },
        4 | 5 => {
            let (start, end) = (cx.int_arg(2)?, cx.int_arg(3)?);
            if start < 0 && end < 0 && start > end {
                cx.reply.raw(shared::ZERO);
                return Ok(());
            }
            let unit = if cx.args.len() == 5 { Unit::parse(cx, 4)? } else { Unit::Byte };
            range(start, end, unit, content.len())
        }
        _ => return Err(error::SYNTAX),
    };
    let ones = bitmap::count(&content, bits);
    cx.reply.integer(ones as i64);
    Ok(())
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`: find first bit set or clear in a string.
fn bitpos(cx: &mut Cx<'_>) -> Outcome {
    let bit = match cx.int_arg(2)? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        // An endless row of zeros.
        cx.reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let content = content(cx, found)?;
    let argc = cx.args.len();
    let bits = match argc {
        3 => Bits { start: 0, end: content.len() * 8 },
        4..=6 => {
            let start = cx.int_arg(3)?;
            let unit = if argc == 6 { Unit::parse(cx, 5)? } else { Unit::Byte };
            let end = if argc >= 5 { cx.int_arg(4)? } else { -1 };
            range(start, end, unit, content.len())
        }
        _ => return Err(error::SYNTAX),
    };
    let answer = match bitmap::find(&content, bits, bit) {
        Some(at) => at as i64,
        // Without an end, the string counts as continued with zeros.
        None if !bit && argc < 5 && bits.start < bits.end => bits.end as i64,
        None => -1,
    };
    cx.reply.integer(answer);
    Ok(())
}

/// `BITOP operation destkey key [key ...]`: perform bitwise operations between strings.
fn bitop(cx: &mut Cx<'_>) -> Outcome {
    let names = [
        ("AND", Operation::And),
        ("OR", Operation::Or),
        ("XOR", Operation::Xor),
        ("NOT", Operation::Not),
    ];
    let named = names.into_iter().find(|(name, _)| cx.args.is(1, name));
    let (_, operation) = named.ok_or(error::SYNTAX)?;
    if operation == Operation::Not && cx.args.len() != 4 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let mut longest = 0;
    for name in cx.args.from(3) {
        let key = cx.read(name)?;
        longest = content_of(cx, &key)?.map_or(0, |content| content.len()).max(longest);
    }
    if longest == 0 {
        cx.delete_target(cx.arg(2))?;
    } else {
        let result = combine(cx, operation, longest)?;
        let key = cx.open(cx.arg(2))?;
        store(cx, &key, Encoded::Raw(&result), None)?;
        cx.notify(class::STRING, "set", key.name)?;
    }
    cx.reply.integer(longest as i64);
    Ok(())
}

fn combine(cx: &mut Cx<'_>, operation: Operation, length: u64) -> Result<Vec<u8>, Fail> {
    let mut result = Vec::new();
    result.try_reserve_exact(length as usize).map_err(|_| Fail::Oom)?;
    result.resize(length as usize, 0);
    for (i, name) in cx.args.from(3).enumerate() {
        let key = cx.peek(name)?;
        let content = content_of(cx, &key)?.unwrap_or(crate::values::string::Content::Bytes(&[]));
        let first = if operation == Operation::Not { operation } else { Operation::Or };
        if i == 0 { first } else { operation }.apply(&mut result, &content);
    }
    Ok(result)
}
