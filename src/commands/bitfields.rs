//! `BITFIELD`: integers of any width at any bit of a string.

use super::bitmaps::{check_offset, invalid_offset, make_room, parse_offset};
use super::strings::{content_of, write_silently_at};
use crate::executor::{Cx, Fail, Key, Outcome, class, error};
use crate::util::numbers::string2ll;
use crate::values::bitmap::{FieldType, Overflow, Window};

/// What is done with one field.
#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    overflow: Overflow,
    of_type: FieldType,
    at: u64,
}

impl Operation {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    fn last_bit(&self) -> u64 {
        self.at + u64::from(self.of_type.bits) - 1
    }
}

/// `BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value |
/// INCRBY encoding offset increment> ...]`: perform arbitrary bitfield integer operations on
/// strings.
pub(super) fn bitfield(cx: &mut Cx<'_>) -> Outcome {
    let operations = parse(cx)?;
    run(cx, &operations)
}

/// `BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]`: read-only variant of
/// `BITFIELD`.
pub(super) fn bitfield_ro(cx: &mut Cx<'_>) -> Outcome {
    let operations = parse(cx)?;
    if operations.iter().any(Operation::writes) {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    run(cx, &operations)
}

fn parse(cx: &Cx<'_>) -> Result<Vec<Operation>, Fail> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < cx.args.len() {
        let left = cx.args.len() - at - 1;
        if cx.args.is(at, "OVERFLOW") && left >= 1 {
            overflow = parse_overflow(cx, at + 1)?;
            at += 2;
            continue;
        }
        let get = cx.args.is(at, "GET") && left >= 2;
        let set = cx.args.is(at, "SET") && left >= 3;
        let add = cx.args.is(at, "INCRBY") && left >= 3;
        if !(get || set || add) {
            return Err(error::SYNTAX);
        }
        let of_type = parse_type(cx.arg(at + 1)).ok_or(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        )?;
        let offset = parse_field_offset(cx, cx.arg(at + 2), of_type.bits)?;
        let action = if get {
            Action::Get
        } else {
            let number = cx.int_arg(at + 3)?;
            if set { Action::Set(number) } else { Action::Add(number) }
        };
        operations.push(Operation { action, overflow, of_type, at: offset });
        at += if get { 3 } else { 4 };
    }
    Ok(operations)
}

fn parse_overflow(cx: &Cx<'_>, index: usize) -> Result<Overflow, Fail> {
    if cx.args.is(index, "WRAP") {
        Ok(Overflow::Wrap)
    } else if cx.args.is(index, "SAT") {
        Ok(Overflow::Saturate)
    } else if cx.args.is(index, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err("ERR Invalid OVERFLOW type specified".into())
    }
}

fn parse_type(text: &[u8]) -> Option<FieldType> {
    let (signed, most) = match text.first()? {
        b'i' => (true, 64),
        b'u' => (false, 63),
        _ => return None,
    };
    let bits = string2ll(&text[1..]).filter(|bits| (1..=most).contains(bits))?;
    Some(FieldType { signed, bits: bits as u32 })
}

/// The position of a field: a bit, or with a `#` before it a number of fields.
fn parse_field_offset(cx: &Cx<'_>, text: &[u8], bits: u32) -> Result<u64, Fail> {
    let Some(number) = text.strip_prefix(b"#") else { return parse_offset(cx, text) };
    // Redis's product wraps, too.
    string2ll(number)
        .map(|number| number.wrapping_mul(i64::from(bits)))
        .and_then(|offset| check_offset(cx, offset))
        .ok_or_else(invalid_offset)
}

fn run(cx: &mut Cx<'_>, operations: &[Operation]) -> Outcome {
    let name = cx.arg(1);
    let last = operations.iter().filter(|it| it.writes()).map(Operation::last_bit).max();
    let (key, grown) = match last {
        Some(last) => make_room(cx, name, last)?,
        None => {
            let key = cx.read(name)?;
            content_of(cx, &key)?;
            (key, false)
        }
    };
    cx.reply.array(operations.len());
    let mut changes = 0;
    for operation in operations {
        changes += u64::from(run_one(cx, &key, operation, grown)?);
    }
    if changes > 0 {
        cx.changed(name)?;
        cx.dirty += changes - 1;
        cx.notify(class::STRING, "setbit", name)?;
    }
    Ok(())
}

/// Runs one operation and replies; says whether it changed something.
fn run_one(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    operation: &Operation,
    grown: bool,
) -> Result<bool, Fail> {
    let Operation { of_type, overflow, at, action } = *operation;
    let (first, shift) = (at / 8, (at % 8) as u32);
    let mut window: Window = [0; 9];
    if let Some(content) = content_of(cx, key)? {
        let mut filled = 0;
        content.pieces(first, first + 9, |piece| {
            window[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        });
    }
    let old = of_type.get(&window, shift);
    let (new, answer) = match action {
        Action::Get => (Some(old), Some(old)),
        Action::Set(value) => {
            let new = of_type.add(value, 0, overflow);
            (new, new.map(|_| old))
        }
        Action::Add(increment) => {
            let new = of_type.add(old, increment, overflow);
            (new, new)
        }
    };
    match answer {
        Some(answer) => cx.reply.integer(answer),
        None => cx.reply.null(),
    }
    let Some(new) = new.filter(|_| operation.writes()) else { return Ok(false) };
    if new != old {
        of_type.set(&mut window, shift, new);
        let bytes = (operation.last_bit() / 8 - first + 1) as usize;
        write_silently_at(cx, key, first, &window[..bytes])?;
    }
    Ok(grown || new != old)
}
