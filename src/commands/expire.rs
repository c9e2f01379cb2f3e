//! Commands on the time to live of keys.

use super::errors;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use super::strings::expiry_options::invalid_expire_time;
use crate::executor::{Cx, Fail, Outcome, class};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("expire", -3, expire)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("expireat", -3, expireat)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("expiretime", 2, expiretime)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("persist", 2, persist)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("pexpire", -3, pexpire)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("pexpireat", -3, pexpireat)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("pexpiretime", 2, pexpiretime)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("pttl", 2, pttl)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
    cmd("ttl", 2, ttl)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
];

/// The unit of a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// What a time is counted from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Now,
    Epoch,
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`: set a key's time to live in seconds.
fn expire(cx: &mut Cx<'_>) -> Outcome {
    set_expiry(cx, Unit::Seconds, Base::Now)
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`: set the expiration for a key as a UNIX
/// timestamp.
fn expireat(cx: &mut Cx<'_>) -> Outcome {
    set_expiry(cx, Unit::Seconds, Base::Epoch)
}

/// `EXPIRETIME key`: get the expiration Unix timestamp for a key.
fn expiretime(cx: &mut Cx<'_>) -> Outcome {
    reply_expiry(cx, Unit::Seconds, Base::Epoch)
}

/// `PERSIST key`: remove the expiration from a key.
fn persist(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.open(cx.arg(1))?;
    let expires = key.found.is_some_and(|found| cx.entry(&found).expiry().is_some());
    if expires {
        cx.set_expiry(&key, None)?;
        cx.changed(key.name)?;
        cx.notify(class::GENERIC, "persist", key.name)?;
    }
    cx.reply.integer(i64::from(expires));
    Ok(())
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`: set a key's time to live in milliseconds.
fn pexpire(cx: &mut Cx<'_>) -> Outcome {
    set_expiry(cx, Unit::Milliseconds, Base::Now)
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`: set the expiration for a key as a
/// UNIX timestamp specified in milliseconds.
fn pexpireat(cx: &mut Cx<'_>) -> Outcome {
    set_expiry(cx, Unit::Milliseconds, Base::Epoch)
}

/// `PEXPIRETIME key`: get the expiration Unix timestamp for a key in milliseconds.
fn pexpiretime(cx: &mut Cx<'_>) -> Outcome {
    reply_expiry(cx, Unit::Milliseconds, Base::Epoch)
}

/// `PTTL key`: get the time to live for a key in milliseconds.
fn pttl(cx: &mut Cx<'_>) -> Outcome {
    reply_expiry(cx, Unit::Milliseconds, Base::Now)
}

/// `TTL key`: get the time to live for a key in seconds.
fn ttl(cx: &mut Cx<'_>) -> Outcome {
    reply_expiry(cx, Unit::Seconds, Base::Now)
}

/// Under which conditions the expiry is set.
#[derive(Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(cx: &Cx<'_>) -> Result<Conditions, Fail> {
        let mut conditions = Conditions::default();
        for at in 3..cx.args.len() {
            if cx.args.is(at, "NX") {
                conditions.nx = true;
            } else if cx.args.is(at, "XX") {
                conditions.xx = true;
            } else if cx.args.is(at, "GT") {
                conditions.gt = true;
            } else if cx.args.is(at, "LT") {
                conditions.lt = true;
            } else {
                let option = errors::c_string(cx.arg(at), usize::MAX);
                return Err(Fail::Bytes([b"ERR Unsupported option ", option].concat()));
            }
        }
        if conditions.nx && (conditions.xx || conditions.gt || conditions.lt) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".into()
            );
        }
        if conditions.gt && conditions.lt {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Whether an expiry may be replaced by `new`. A key without one expires never.
    fn allow(self, old: Option<i64>, new: i64) -> bool {
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

/// The `EXPIRE` family.
fn set_expiry(cx: &mut Cx<'_>, unit: Unit, base: Base) -> Outcome {
    let conditions = Conditions::parse(cx)?;
    let time = cx.int_arg(2)?;
    let factor = if unit == Unit::Seconds { 1000 } else { 1 };
    let start = if base == Base::Now { cx.now_ms() } else { 0 };
    let at = time.checked_mul(factor).and_then(|time| time.checked_add(start));
    let at = at.ok_or_else(|| invalid_expire_time(cx))?;
    let key = cx.open(cx.arg(1))?;
    let old = key.found.and_then(|found| cx.entry(&found).expiry());
    let Some(found) = key.found.filter(|_| conditions.allow(old, at)) else {
        cx.reply.integer(0);
        return Ok(());
    };
    if at <= cx.now_ms() {
        cx.delete(&found)?;
        cx.changed(key.name)?;
        cx.notify(class::GENERIC, "del", key.name)?;
        cx.reply.integer(1);
    } else {
        cx.set_expiry(&key, Some(at))?;
        cx.reply.integer(1);
        cx.changed(key.name)?;
        cx.notify(class::GENERIC, "expire", key.name)?;
    }
    Ok(())
}

/// The `TTL` family: -2 if the key is not there, -1 if it does not expire.
fn reply_expiry(cx: &mut Cx<'_>, unit: Unit, base: Base) -> Outcome {
    let key = cx.look(cx.arg(1))?;
    let now = if base == Base::Now { cx.now_ms() } else { 0 };
    let answer = match key.found.map(|found| cx.entry(&found).expiry()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let left = (at - now).max(0);
            if unit == Unit::Seconds { ((left as u64 + 500) / 1000) as i64 } else { left }
        }
    };
    cx.reply.integer(answer);
    Ok(())
}
