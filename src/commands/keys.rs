//! Commands on keys of any type.

use super::not_implemented;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

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

/// `COPY source destination [DB destination-db] [REPLACE]`: copy a key.
fn copy(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `DEL key [key ...]`: delete a key.
fn del(cx: &mut Cx<'_>) -> Outcome {
    let mut deleted = 0;
    for name in cx.args.from(1) {
        let key = cx.peek(name)?;
        if let Some(found) = &key.found {
            cx.delete(found)?;
            cx.changed(name)?;
            deleted += 1;
        }
    }
    cx.reply.integer(deleted);
    Ok(())
}

/// `EXISTS key [key ...]`: determine if a key exists.
fn exists(cx: &mut Cx<'_>) -> Outcome {
    let mut there = 0;
    for name in cx.args.from(1) {
        there += i64::from(cx.look(name)?.exists());
    }
    cx.reply.integer(there);
    Ok(())
}

/// `MOVE key db`: move a key to another database.
fn move_key(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `RANDOMKEY`: return a random key from the keyspace.
fn randomkey(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `RENAME key newkey`: rename a key.
fn rename(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `RENAMENX key newkey`: rename a key, only if the new key does not exist.
fn renamenx(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `TOUCH key [key ...]`: alters the last access time of a key(s). Returns the number of existing
/// keys specified.
fn touch(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `TYPE key`: determine the type stored at key.
fn key_type(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `UNLINK key [key ...]`: delete a key asynchronously in another thread. Otherwise it is just as
/// DEL, but non blocking.
fn unlink(cx: &mut Cx<'_>) -> Outcome {
    // Freeing what is large is never done within the command.
    del(cx)
}
