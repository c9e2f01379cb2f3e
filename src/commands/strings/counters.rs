//! Strings as numbers.

use super::{content_of, expiry_of, store};
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Outcome, class, error};
use crate::util::extended::Extended;
use crate::values::string::{Content, Encoded};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("decr", 2, decr)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("decrby", 3, decrby)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("incr", 2, incr)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("incrby", 3, incrby)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("incrbyfloat", 3, incrbyfloat)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
];

/// `DECR key`: decrement the integer value of a key by one.
fn decr(cx: &mut Cx<'_>) -> Outcome {
    add(cx, -1)
}

/// `DECRBY key decrement`: decrement the integer value of a key by the given number.
fn decrby(cx: &mut Cx<'_>) -> Outcome {
    let less = cx.int_arg(2)?;
    let more = less.checked_neg().ok_or("ERR decrement would overflow")?;
    add(cx, more)
}

/// `INCR key`: increment the integer value of a key by one.
fn incr(cx: &mut Cx<'_>) -> Outcome {
    add(cx, 1)
}

/// `INCRBY key increment`: increment the integer value of a key by the given amount.
fn incrby(cx: &mut Cx<'_>) -> Outcome {
    let more = cx.int_arg(2)?;
    add(cx, more)
}

fn add(cx: &mut Cx<'_>, more: i64) -> Outcome {
    let key = cx.open(cx.arg(1))?;
    let old = match content_of(cx, &key)? {
        Some(content) => content.as_integer().ok_or(error::NOT_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(more).ok_or("ERR increment or decrement would overflow")?;
    let expiry = expiry_of(cx, &key);
    store(cx, &key, Encoded::Int(sum), expiry)?;
    cx.notify(class::STRING, "incrby", key.name)?;
    cx.reply.integer(sum);
    Ok(())
}

/// `INCRBYFLOAT key increment`: increment the float value of a key by the given amount.
fn incrbyfloat(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.open(cx.arg(1))?;
    let old = match content_of(cx, &key)? {
        Some(content) => as_extended(content)?,
        None => Extended::ZERO,
    };
    let more = Extended::parse(cx.arg(2)).ok_or(error::NOT_FLOAT)?;
    let sum = old.checked_add(more).filter(|sum| !sum.is_infinite());
    let sum = sum.ok_or("ERR increment would produce NaN or Infinity")?.to_human();
    let expiry = expiry_of(cx, &key);
    store(cx, &key, Encoded::text(sum.as_bytes()), expiry)?;
    cx.notify(class::STRING, "incrbyfloat", key.name)?;
    cx.reply.bulk(sum.as_bytes());
    Ok(())
}

fn as_extended(content: Content<'_>) -> Result<Extended, Fail> {
    match content {
        Content::Int(number) => Ok(Extended::from(number)),
        _ => {
            let mut digits = itoa::Buffer::new();
            Extended::parse(&content.bytes(&mut digits)).ok_or(error::NOT_FLOAT)
        }
    }
}
