//! Setting, getting and removing fields.

use shm::pack::Item;

use super::{hash_of, reply_item, reply_value, store};
use crate::commands::errors;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome, Output, class};
use crate::keyspace::{EntryView, Type};
use crate::proto::reply::Reply;
use crate::values::hash::{self, Hash, Removed};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("hset", -4, hset)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("hmset", -4, hmset)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("hsetnx", 4, hsetnx)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("hget", 3, hget)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("hmget", -3, hmget)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("hdel", -3, hdel)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    cmd("hexists", 3, hexists)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO)]),
    cmd("hlen", 2, hlen)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO)]),
    cmd("hstrlen", 3, hstrlen)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO)]),
    cmd("hkeys", 2, hkeys)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"]),
    cmd("hvals", 2, hvals)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"]),
    cmd("hgetall", 2, hgetall)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"]),
];

/// `HSET key field value [field value ...]`: set the string value of a hash field.
fn hset(cx: &mut Cx<'_>) -> Outcome {
    set_pairs(cx, |reply, created| reply.integer(created as i64))
}

/// `HMSET key field value [field value ...]`: set multiple hash fields to multiple values.
fn hmset(cx: &mut Cx<'_>) -> Outcome {
    set_pairs(cx, |reply, _| reply.ok())
}

/// Sets the fields, and has `answer` write the reply from the number of those that are new: before the
/// event, which the client itself may have subscribed to.
fn set_pairs(cx: &mut Cx<'_>, answer: fn(&mut Reply<'_, Output>, usize)) -> Outcome {
    if !cx.args.len().is_multiple_of(2) {
        return Err(errors::wrong_arity(cx.command).into());
    }
    let args = cx.args;
    let pairs = (2..args.len()).step_by(2).map(move |i| (args.at(i), args.at(i + 1)));
    let mut key = cx.open_as(cx.arg(1), Type::Hash)?;
    let created = store(cx, &mut key, pairs)?;
    cx.dirty += (args.len() as u64 - 2) / 2 - 1;
    answer(&mut cx.reply, created);
    cx.notify(class::HASH, "hset", key.name)
}

/// `HSETNX key field value`: set the value of a hash field, only if the field does not exist.
fn hsetnx(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open_as(cx.arg(1), Type::Hash)?;
    let field = cx.arg(2);
    if key.found.is_some_and(|found| hash_of(cx, &found).get(field).is_some()) {
        cx.reply.integer(0);
        return Ok(());
    }
    let pair = (field, cx.arg(3));
    store(cx, &mut key, std::iter::once(pair))?;
    cx.reply.integer(1);
    cx.notify(class::HASH, "hset", key.name)
}

/// `HGET key field`: get the value of a hash field.
fn hget(cx: &mut Cx<'_>) -> Outcome {
    match cx.read_as(cx.arg(1), Type::Hash)? {
        Some(found) => reply_value(cx, &found, cx.arg(2)),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `HMGET key field [field ...]`: get the values of all the given hash fields.
fn hmget(cx: &mut Cx<'_>) -> Outcome {
    let found = cx.read_as(cx.arg(1), Type::Hash)?;
    let fields = cx.args.from(2);
    cx.reply.array(fields.len());
    for field in fields {
        match &found {
            Some(found) => reply_value(cx, found, field),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// `HDEL key field [field ...]`: delete one or more hash fields.
fn hdel(cx: &mut Cx<'_>) -> Outcome {
    let mut key = cx.open_as(cx.arg(1), Type::Hash)?;
    let Some(found) = key.found else {
        cx.reply.integer(0);
        return Ok(());
    };
    let (removed, all) = match hash::remove(&mut cx.tx, found.entry, cx.args.from(2))? {
        Removed::Some(removed, moved) => {
            if let Some(moved) = moved {
                cx.exchange(&mut key, moved)?;
            }
            (removed, false)
        }
        Removed::All(removed) => {
            cx.delete(&found)?;
            (removed, true)
        }
    };
    if removed > 0 {
        cx.changed(key.name)?;
        cx.dirty += removed as u64 - 1;
        cx.notify(class::HASH, "hdel", key.name)?;
        if all {
            cx.notify(class::GENERIC, "del", key.name)?;
        }
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

/// `HEXISTS key field`: determine if a hash field exists.
fn hexists(cx: &mut Cx<'_>) -> Outcome {
    let found = cx.read_as(cx.arg(1), Type::Hash)?;
    let exists = found.is_some_and(|found| hash_of(cx, &found).get(cx.arg(2)).is_some());
    cx.reply.integer(i64::from(exists));
    Ok(())
}

/// `HLEN key`: get the number of fields in a hash.
fn hlen(cx: &mut Cx<'_>) -> Outcome {
    let found = cx.read_as(cx.arg(1), Type::Hash)?;
    let len = found.map_or(0, |found| hash_of(cx, &found).len());
    cx.reply.integer(len as i64);
    Ok(())
}

/// `HSTRLEN key field`: get the length of the value of a hash field.
fn hstrlen(cx: &mut Cx<'_>) -> Outcome {
    let found = cx.read_as(cx.arg(1), Type::Hash)?;
    let value = found.as_ref().and_then(|found| hash_of(cx, found).get(cx.arg(2)));
    let len = value.map_or(0, |value| value.text_len());
    cx.reply.integer(len as i64);
    Ok(())
}

/// `HKEYS key`: get all the fields in a hash.
fn hkeys(cx: &mut Cx<'_>) -> Outcome {
    reply_one_of_each(cx, |field, _| field)
}

/// `HVALS key`: get all the values in a hash.
fn hvals(cx: &mut Cx<'_>) -> Outcome {
    reply_one_of_each(cx, |_, value| value)
}

fn reply_one_of_each(
    cx: &mut Cx<'_>,
    choose: impl for<'i> Fn(Item<'i>, Item<'i>) -> Item<'i>,
) -> Outcome {
    let Some(found) = cx.read_as(cx.arg(1), Type::Hash)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let hash = Hash::of(&EntryView::new(&cx.tx, found.entry));
    let reply = &mut cx.reply;
    reply.array(hash.len());
    hash.each(|field, value| reply_item(reply, choose(field, value)));
    Ok(())
}

/// `HGETALL key`: get all the fields and values in a hash.
fn hgetall(cx: &mut Cx<'_>) -> Outcome {
    let Some(found) = cx.read_as(cx.arg(1), Type::Hash)? else {
        cx.reply.map(0);
        return Ok(());
    };
    let hash = Hash::of(&EntryView::new(&cx.tx, found.entry));
    let reply = &mut cx.reply;
    reply.map(hash.len());
    hash.each(|field, value| {
        reply_item(reply, field);
        reply_item(reply, value);
    });
    Ok(())
}
