//! Streams.
//!
//! | file | commands |
//! | --- | --- |
//! | `entries` | `XADD`, `XDEL`, `XTRIM`, `XSETID`, `XLEN`, `XRANGE`, `XREVRANGE` |
//! | [`read`] | `XREAD`, `XREADGROUP` |
//! | `groups` | `XGROUP` |
//! | `pending` | `XACK`, `XPENDING`, `XCLAIM`, `XAUTOCLAIM` |
//! | `info` | `XINFO` |
//! | `arguments` | ids, intervals, how to trim |
//! | [`reply`] | ids and entries as replies |

mod arguments;
mod entries;
mod groups;
mod info;
mod pending;
pub mod read;
pub mod reply;

use shm::Off;

use super::spec::{CommandSpec, acl, after, at, cmd, container, flag, key};
use crate::executor::{Cx, Fail, Key, error};
use crate::values::stream::group::{self, Group};
use crate::values::stream::{self, Stream};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("xack", -4, pending::xack)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("xadd", -5, entries::xadd)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1)
            .flags(key::RW | key::UPDATE)
            .notes("UPDATE instead of INSERT because of the optional trimming feature")])
        .tips(&["nondeterministic_output"]),
    cmd("xautoclaim", -6, pending::xautoclaim)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RW | key::DELETE)])
        .tips(&["nondeterministic_output"]),
    cmd("xclaim", -6, pending::xclaim)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RW | key::UPDATE)])
        .tips(&["nondeterministic_output"]),
    cmd("xdel", -3, entries::xdel)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RW | key::DELETE)]),
    container("xgroup", -2).subcommands(&[
        cmd("xgroup|create", -5, groups::create)
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RW | key::INSERT)]),
        cmd("xgroup|createconsumer", 5, groups::createconsumer)
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RW | key::INSERT)]),
        cmd("xgroup|delconsumer", 5, groups::delconsumer)
            .flags(flag::WRITE)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RW | key::DELETE)]),
        cmd("xgroup|destroy", 4, groups::destroy)
            .flags(flag::WRITE)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RW | key::DELETE)]),
        cmd("xgroup|help", 2, groups::help).flags(flag::LOADING | flag::STALE).acl(acl::STREAM),
        cmd("xgroup|setid", -5, groups::setid)
            .flags(flag::WRITE)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RW | key::UPDATE)]),
    ]),
    container("xinfo", -2).subcommands(&[
        cmd("xinfo|consumers", 4, info::consumers)
            .flags(flag::READONLY)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RO | key::ACCESS)])
            .tips(&["nondeterministic_output"]),
        cmd("xinfo|groups", 3, info::groups)
            .flags(flag::READONLY)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RO | key::ACCESS)]),
        cmd("xinfo|help", 2, info::help).flags(flag::LOADING | flag::STALE).acl(acl::STREAM),
        cmd("xinfo|stream", -3, info::stream)
            .flags(flag::READONLY)
            .acl(acl::STREAM)
            .keys(&[at(2).flags(key::RO | key::ACCESS)]),
    ]),
    cmd("xlen", 2, entries::xlen)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RO)]),
    cmd("xpending", -3, pending::xpending)
        .flags(flag::READONLY)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
    cmd("xrange", -4, entries::xrange)
        .flags(flag::READONLY)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("xread", -4, read::xread)
        .flags(flag::READONLY | flag::BLOCKING)
        .acl(acl::STREAM)
        .keys(&[after("STREAMS", 1).to(-1, 1, 2).flags(key::RO | key::ACCESS)]),
    cmd("xreadgroup", -7, read::xreadgroup)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::STREAM)
        .keys(&[after("STREAMS", 4).to(-1, 1, 2).flags(key::RO | key::ACCESS)]),
    cmd("xrevrange", -4, entries::xrevrange)
        .flags(flag::READONLY)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("xsetid", -3, entries::xsetid)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("xtrim", -4, entries::xtrim)
        .flags(flag::WRITE)
        .acl(acl::STREAM)
        .keys(&[at(1).flags(key::RW | key::DELETE)])
        .tips(&["nondeterministic_output"]),
];

/// The stream of a key; `None` if the key is not there.
#[inline]
fn stream_of(cx: &Cx<'_>, key: &Key<'_>) -> Result<Option<Off<Stream>>, Fail> {
    match &key.found {
        None => Ok(None),
        Some(found) => stream::of(&cx.entry(found)).map(Some).ok_or(error::WRONG_TYPE),
    }
}

/// A stream, and one of its groups.
type OfGroup = (Off<Stream>, Off<Group>);

/// The group of that name in the stream of a key; `None` if one of them is not there.
fn group_of(cx: &Cx<'_>, key: &Key<'_>, name: &[u8]) -> Result<Option<OfGroup>, Fail> {
    let Some(stream) = stream_of(cx, key)? else { return Ok(None) };
    Ok(group::find(&cx.tx, stream, name).map(|group| (stream, group)))
}

/// An error text that quotes the client's words at the places of `%s`, as C would.
fn quoting(text: &str, words: &[&[u8]]) -> Fail {
    let mut message = Vec::with_capacity(text.len());
    for (i, part) in text.split("%s").enumerate() {
        if let Some(word) = i.checked_sub(1).and_then(|i| words.get(i)) {
            message.extend_from_slice(super::errors::c_string(word, usize::MAX));
        }
        message.extend_from_slice(part.as_bytes());
    }
    Fail::Bytes(message)
}

/// There is no such key or group.
fn no_group(key: &[u8], group: &[u8]) -> Fail {
    quoting("NOGROUP No such key '%s' or consumer group '%s'", &[key, group])
}

#[cfg(test)]
mod set_back_tests;
#[cfg(test)]
mod tests;
