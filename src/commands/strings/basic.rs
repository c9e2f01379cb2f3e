//! Reading and writing whole strings.

use super::expiry_options::{Of, Options, deadline, invalid_expire_time, option};
use super::{
    check_length, content, content_of, expiry_of, reply_value, reply_value_or_null, store,
};
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::commands::{errors, key_search};
use crate::executor::{Cx, Key, Outcome, class};
use crate::proto::reply::shared;
use crate::values::string::Encoded;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("append", 3, append)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("get", 2, get)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("getdel", 2, getdel)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::DELETE)]),
    cmd("getex", -2, getex).flags(flag::WRITE | flag::FAST).acl(acl::STRING).keys(&[at(1)
        .flags(key::RW | key::ACCESS | key::UPDATE)
        .notes("RW and UPDATE because it changes the TTL")]),
    cmd("getset", 3, getset)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("mget", -2, mget)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RO | key::ACCESS)])
        .tips(&["request_policy:multi_shard"]),
    cmd("mset", -3, mset)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1).to(-1, 2, 0).flags(key::OW | key::UPDATE)])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    cmd("msetnx", -3, msetnx)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1).to(-1, 2, 0).flags(key::OW | key::INSERT)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"]),
    cmd("psetex", 4, psetex)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::OW | key::UPDATE)]),
    cmd("set", -3, set)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1)
            .flags(key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS)
            .notes("RW and ACCESS due to the optional `GET` argument")])
        .get_keys(key_search::of_set),
    cmd("setex", 4, setex)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::OW | key::UPDATE)]),
    cmd("setnx", 3, setnx)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::OW | key::INSERT)]),
    cmd("strlen", 2, strlen)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RO)]),
];

/// `APPEND key value`: append a value to a key.
fn append(cx: &mut Cx<'_>) -> Outcome {
    let more = cx.arg(2);
    let key = cx.open(cx.arg(1))?;
    let length = match content_of(cx, &key)? {
        None => {
            store(cx, &key, Encoded::of(more), None)?;
            more.len() as u64
        }
        Some(old) => {
            let length = old.len();
            check_length(cx, length as i64, more.len() as i64)?;
            super::write_at(cx, &key, length, more)?;
            length + more.len() as u64
        }
    };
    cx.notify(class::STRING, "append", key.name)?;
    cx.reply.integer(length as i64);
    Ok(())
}

/// `GET key`: get the value of a key.
fn get(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    reply_value_or_null(cx, &key)
}

/// `GETDEL key`: get the value of a key and delete the key.
fn getdel(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    reply_value_or_null(cx, &key)?;
    if let Some(found) = &key.found {
        cx.delete(found)?;
        cx.changed(key.name)?;
        cx.notify(class::GENERIC, "del", key.name)?;
    }
    Ok(())
}

/// `GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds
/// | PERSIST]`: get the value of a key and optionally set its expiration.
fn getex(cx: &mut Cx<'_>) -> Outcome {
    let options = Options::parse(cx, 2, Of::GetEx)?;
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.null();
        return Ok(());
    };
    content(cx, found)?;
    let expiry = options.expiry(cx)?;
    reply_value(cx, found)?;
    let is_past = expiry.is_some_and(|at| at <= cx.now_ms());
    let event = if is_past && options.has(option::EXAT | option::PXAT) {
        cx.delete(found)?;
        "del"
    } else if expiry.is_some() {
        cx.set_expiry(&key, expiry)?;
        "expire"
    } else if options.has(option::PERSIST) && expiry_of(cx, &key).is_some() {
        cx.set_expiry(&key, None)?;
        "persist"
    } else {
        return Ok(());
    };
    cx.changed(key.name)?;
    cx.notify(class::GENERIC, event, key.name)
}

/// `GETSET key value`: set the string value of a key and return its old value.
fn getset(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    reply_value_or_null(cx, &key)?;
    set_to(cx, &key, cx.arg(2))
}

/// Makes a key a string that does not expire.
#[inline]
fn set_to(cx: &mut Cx<'_>, key: &Key<'_>, value: &[u8]) -> Outcome {
    store(cx, key, Encoded::of(value), None)?;
    cx.notify(class::STRING, "set", key.name)
}

/// `MGET key [key ...]`: get the values of all the given keys.
fn mget(cx: &mut Cx<'_>) -> Outcome {
    cx.reply.array(cx.args.len() - 1);
    cx.each_key(1, 1, |cx, _, name| {
        let key = cx.read(name)?;
        match &key.found {
            Some(found) if cx.entry(found).kind().is_string() => reply_value(cx, found)?,
            _ => cx.reply.null(),
        }
        Ok(())
    })
}

/// `MSET key value [key value ...]`: set multiple keys to multiple values.
fn mset(cx: &mut Cx<'_>) -> Outcome {
    set_all(cx)?;
    cx.reply.ok();
    Ok(())
}

/// `MSETNX key value [key value ...]`: set multiple keys to multiple values, only if none of the
/// keys exist.
fn msetnx(cx: &mut Cx<'_>) -> Outcome {
    check_pairs(cx)?;
    for name in cx.args.from(1).step_by(2) {
        if cx.open(name)?.exists() {
            cx.reply.integer(0);
            return Ok(());
        }
    }
    set_all(cx)?;
    cx.reply.integer(1);
    Ok(())
}

/// Fails unless every key has a value.
fn check_pairs(cx: &Cx<'_>) -> Outcome {
    if cx.args.len().is_multiple_of(2) {
        return Err(errors::wrong_arity(cx.command).into());
    }
    Ok(())
}

fn set_all(cx: &mut Cx<'_>) -> Outcome {
    check_pairs(cx)?;
    cx.each_key(1, 2, |cx, at, name| {
        let key = cx.open(name)?;
        set_to(cx, &key, cx.arg(at + 1))
    })
}

/// `PSETEX key milliseconds value`: set the value and expiration in milliseconds of a key.
fn psetex(cx: &mut Cx<'_>) -> Outcome {
    set_for(cx, false)
}

/// `SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT
/// unix-time-milliseconds | KEEPTTL]`: set the string value of a key.
fn set(cx: &mut Cx<'_>) -> Outcome {
    if cx.args.len() > 3 {
        return set_with_options(cx);
    }
    let key = cx.open(cx.arg(1))?;
    set_to(cx, &key, cx.arg(2))?;
    cx.reply.ok();
    Ok(())
}

fn set_with_options(cx: &mut Cx<'_>) -> Outcome {
    let options = Options::parse(cx, 3, Of::Set)?;
    let mut expiry = options.expiry(cx)?;
    let get = options.has(option::GET);
    let key = if get { cx.read(cx.arg(1))? } else { cx.open(cx.arg(1))? };
    if get {
        reply_value_or_null(cx, &key)?;
    }
    let unwanted = if key.exists() { option::NX } else { option::XX };
    if options.has(unwanted) {
        if !get {
            cx.reply.null();
        }
        return Ok(());
    }
    if options.has(option::KEEPTTL) {
        expiry = expiry_of(cx, &key);
    }
    store(cx, &key, Encoded::of(cx.arg(2)), expiry)?;
    cx.notify(class::STRING, "set", key.name)?;
    if options.time.is_some() {
        cx.notify(class::GENERIC, "expire", key.name)?;
    }
    if !get {
        cx.reply.ok();
    }
    Ok(())
}

/// `SETEX key seconds value`: set the value and expiration of a key.
fn setex(cx: &mut Cx<'_>) -> Outcome {
    set_for(cx, true)
}

/// `SETEX` and `PSETEX`.
fn set_for(cx: &mut Cx<'_>, seconds: bool) -> Outcome {
    let time = cx.int_arg(2)?;
    let expiry = deadline(time, seconds, cx.now_ms()).ok_or_else(|| invalid_expire_time(cx))?;
    let key = cx.open(cx.arg(1))?;
    store(cx, &key, Encoded::of(cx.arg(3)), Some(expiry))?;
    cx.notify(class::STRING, "set", key.name)?;
    cx.notify(class::GENERIC, "expire", key.name)?;
    cx.reply.ok();
    Ok(())
}

/// `SETNX key value`: set the value of a key, only if the key does not exist.
fn setnx(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.open(cx.arg(1))?;
    if key.exists() {
        cx.reply.raw(shared::ZERO);
        return Ok(());
    }
    set_to(cx, &key, cx.arg(2))?;
    cx.reply.raw(shared::ONE);
    Ok(())
}

/// `STRLEN key`: get the length of the value stored in a key.
fn strlen(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let length = content_of(cx, &key)?.map_or(0, |content| content.len());
    cx.reply.integer(length as i64);
    Ok(())
}
