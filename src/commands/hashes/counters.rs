//! Values of fields as numbers.

use shm::pack::Item;

use super::{hash_of, store};
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome, class, error};
use crate::keyspace::Type;
use crate::util::extended::Extended;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("hincrby", 4, hincrby)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("hincrbyfloat", 4, hincrbyfloat)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
];

/// `HINCRBY key field increment`: increment the integer value of a hash field by the given number.
fn hincrby(cx: &mut Cx<'_>) -> Outcome {
    let more = cx.int_arg(3)?;
    let mut key = cx.open_as(cx.arg(1), Type::Hash)?;
    let field = cx.arg(2);
    let old = match key.found.as_ref().and_then(|found| hash_of(cx, found).get(field)) {
        Some(value) => value.as_integer().ok_or("ERR hash value is not an integer")?,
        None => 0,
    };
    let sum = old.checked_add(more).ok_or("ERR increment or decrement would overflow")?;
    let mut digits = itoa::Buffer::new();
    let pair = (field, digits.format(sum).as_bytes());
    store(cx, &mut key, std::iter::once(pair))?;
    cx.reply.integer(sum);
    cx.notify(class::HASH, "hincrby", key.name)
}

/// `HINCRBYFLOAT key field increment`: increment the float value of a hash field by the given
/// amount.
fn hincrbyfloat(cx: &mut Cx<'_>) -> Outcome {
    let more = Extended::parse(cx.arg(3)).ok_or(error::NOT_FLOAT)?;
    if more.is_infinite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    let mut key = cx.open_as(cx.arg(1), Type::Hash)?;
    let field = cx.arg(2);
    let old = match key.found.as_ref().and_then(|found| hash_of(cx, found).get(field)) {
        Some(Item::Int(number)) => Extended::from(number),
        Some(Item::Bytes(text)) => Extended::parse(text).ok_or("ERR hash value is not a float")?,
        None => Extended::ZERO,
    };
    let sum = old.checked_add(more).filter(|sum| !sum.is_infinite());
    let sum = sum.ok_or("ERR increment would produce NaN or Infinity")?.to_human();
    let pair = (field, sum.as_bytes());
    store(cx, &mut key, std::iter::once(pair))?;
    cx.reply.bulk(sum.as_bytes());
    cx.notify(class::HASH, "hincrbyfloat", key.name)
}
