//! Commands on keys of any type.

use super::arguments;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome, class, error};
use crate::keyspace::{self, EntryView, entry};
use crate::values;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("copy", -3, copy)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO | key::ACCESS), at(2).flags(key::OW | key::UPDATE)]),
    cmd("del", -2, del)
        .flags(flag::WRITE)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RM | key::DELETE)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    cmd("exists", -2, exists)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RO)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    cmd("move", 3, move_key)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("randomkey", 1, randomkey)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    cmd("rename", 3, rename).flags(flag::WRITE).acl(acl::KEYSPACE).keys(&[
        at(1).flags(key::RW | key::ACCESS | key::DELETE),
        at(2).flags(key::OW | key::UPDATE),
    ]),
    cmd("renamenx", 3, renamenx).flags(flag::WRITE | flag::FAST).acl(acl::KEYSPACE).keys(&[
        at(1).flags(key::RW | key::ACCESS | key::DELETE),
        at(2).flags(key::OW | key::INSERT),
    ]),
    cmd("touch", -2, touch)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RO)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    cmd("type", 2, key_type)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO)]),
    cmd("unlink", -2, unlink)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RM | key::DELETE)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
];

const SAME_OBJECT: &str = "ERR source and destination objects are the same";

/// `COPY source destination [DB destination-db] [REPLACE]`: copy a key.
fn copy(cx: &mut Cx<'_>) -> Outcome {
    let (source, target) = (cx.arg(1), cx.arg(2));
    let (mut index, mut database, mut replace) = (cx.database_index, cx.database, false);
    let mut at = 3;
    while at < cx.args.len() {
        if cx.args.is(at, "REPLACE") {
            replace = true;
        } else if cx.args.is(at, "DB") && at + 1 < cx.args.len() {
            at += 1;
            (index, database) = arguments::database(cx, at)?;
        } else {
            return Err(error::SYNTAX);
        }
        at += 1;
    }
    if database == cx.database && source == target {
        return Err(SAME_OBJECT.into());
    }
    if !cx.read(source)?.exists() {
        cx.reply.integer(0);
        return Ok(());
    }
    let old = cx.peek_in(database, index, target)?;
    if let Some(found) = &old.found {
        if !replace {
            cx.reply.integer(0);
            return Ok(());
        }
        cx.note_gone(index, found.entry)?;
        keyspace::remove(&mut cx.tx, database, found)?;
    }
    // Looked up again, since removing the target has changed a table.
    let Some(found) = cx.peek(source)?.found else { return Err(error::NO_KEY) };
    let expiry = cx.entry(&found).expiry();
    let fresh = values::copy(&mut cx.tx, found.entry, target, expiry)?;
    let copied = fresh.off().cast();
    cx.touch_first(copied);
    cx.add_in(database, index, &old, copied)?;
    cx.changed_in(index, target)?;
    cx.notify_in(index, class::GENERIC, "copy_to", target)?;
    cx.reply.integer(1);
    Ok(())
}

/// `DEL key [key ...]`: delete a key.
fn del(cx: &mut Cx<'_>) -> Outcome {
    let mut deleted = 0;
    cx.each_key(1, 1, |cx, _, name| {
        let key = cx.peek(name)?;
        if let Some(found) = &key.found {
            cx.delete(found)?;
            cx.changed(name)?;
            cx.notify(class::GENERIC, "del", name)?;
            deleted += 1;
        }
        Ok(())
    })?;
    cx.reply.integer(deleted);
    Ok(())
}

/// `EXISTS key [key ...]`: determine if a key exists.
fn exists(cx: &mut Cx<'_>) -> Outcome {
    let mut there = 0;
    cx.each_key(1, 1, |cx, _, name| {
        there += i64::from(cx.look(name)?.exists());
        Ok(())
    })?;
    cx.reply.integer(there);
    Ok(())
}

/// `MOVE key db`: move a key to another database.
fn move_key(cx: &mut Cx<'_>) -> Outcome {
    let name = cx.arg(1);
    let (index, database) = arguments::database(cx, 2)?;
    if database == cx.database {
        return Err(SAME_OBJECT.into());
    }
    let there = cx.open(name)?.exists() && !cx.peek_in(database, index, name)?.exists();
    // Looked up again, since a target that had expired was removed.
    let key = cx.peek(name)?;
    let Some(found) = key.found.filter(|_| there) else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.note_gone(cx.database_index, found.entry)?;
    keyspace::take(&mut cx.tx, cx.database, &found)?;
    cx.add_in(database, index, &key, found.entry)?;
    cx.changed(name)?;
    cx.changed_in(index, name)?;
    cx.notify(class::GENERIC, "move_from", name)?;
    cx.notify_in(index, class::GENERIC, "move_to", name)?;
    // Redis counts one change.
    cx.dirty -= 1;
    cx.reply.integer(1);
    Ok(())
}

/// `RANDOMKEY`: return a random key from the keyspace.
fn randomkey(cx: &mut Cx<'_>) -> Outcome {
    loop {
        let random = || cx.state.random();
        let chosen = shm::table::random_entry(&cx.tx, keyspace::keys(cx.database), random);
        let Some(block) = chosen else {
            cx.reply.null();
            return Ok(());
        };
        let entry = EntryView::new(&cx.tx, block.cast());
        if entry.expiry().is_none_or(|at| at > cx.state.now_ms) {
            cx.reply.bulk(entry.key());
            return Ok(());
        }
        let name = entry.key().to_vec();
        cx.remove_if_expired(&name)?;
    }
}

/// `RENAME key newkey`: rename a key.
fn rename(cx: &mut Cx<'_>) -> Outcome {
    rename_unless(cx, false)?;
    cx.reply.ok();
    Ok(())
}

/// `RENAMENX key newkey`: rename a key, only if the new key does not exist.
fn renamenx(cx: &mut Cx<'_>) -> Outcome {
    let renamed = rename_unless(cx, true)?;
    cx.reply.integer(i64::from(renamed));
    Ok(())
}

/// Renames a key, unless the other one is there and `new_only` is set. Says whether it did.
fn rename_unless(cx: &mut Cx<'_>, new_only: bool) -> Result<bool, crate::executor::Fail> {
    let (from, to) = (cx.arg(1), cx.arg(2));
    if !cx.open(from)?.exists() {
        return Err(error::NO_KEY);
    }
    if from == to {
        return Ok(false);
    }
    let target = cx.open(to)?;
    if let Some(found) = &target.found {
        if new_only {
            return Ok(false);
        }
        cx.delete(found)?;
    }
    // Looked up again, since removing the target has changed the table.
    let Some(found) = cx.peek(from)?.found else { return Err(error::NO_KEY) };
    let expiry = cx.entry(&found).expiry();
    let renamed = entry::rename(&mut cx.tx, found.entry, to, expiry)?;
    cx.note_gone(cx.database_index, found.entry)?;
    keyspace::take(&mut cx.tx, cx.database, &found)?;
    cx.tx.free(found.entry)?;
    cx.add_in(cx.database, cx.database_index, &target, renamed)?;
    cx.changed(from)?;
    cx.changed(to)?;
    cx.notify(class::GENERIC, "rename_from", from)?;
    cx.notify(class::GENERIC, "rename_to", to)?;
    // Redis counts one change.
    cx.dirty -= 1;
    Ok(true)
}

/// `TOUCH key [key ...]`: alters the last access time of a key(s). Returns the number of existing
/// keys specified.
fn touch(cx: &mut Cx<'_>) -> Outcome {
    let mut there = 0;
    cx.each_key(1, 1, |cx, _, name| {
        there += i64::from(cx.read(name)?.exists());
        Ok(())
    })?;
    cx.reply.integer(there);
    Ok(())
}

/// `TYPE key`: determine the type stored at key.
fn key_type(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.look(cx.arg(1))?;
    let name = key.found.map_or("none", |found| cx.entry(&found).kind().value_type().name());
    cx.reply.simple(name);
    Ok(())
}

/// `UNLINK key [key ...]`: delete a key asynchronously in another thread. Otherwise it is just as
/// DEL, but non blocking.
fn unlink(cx: &mut Cx<'_>) -> Outcome {
    // Freeing what is large is never done within the command.
    del(cx)
}
