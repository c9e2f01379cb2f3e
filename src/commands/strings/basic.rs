//! Reading and writing whole strings.

use crate::commands::key_search;
use crate::commands::not_implemented;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

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
fn append(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `GET key`: get the value of a key.
fn get(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `GETDEL key`: get the value of a key and delete the key.
fn getdel(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds
/// | PERSIST]`: get the value of a key and optionally set its expiration.
fn getex(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `GETSET key value`: set the string value of a key and return its old value.
fn getset(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MGET key [key ...]`: get the values of all the given keys.
fn mget(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MSET key value [key value ...]`: set multiple keys to multiple values.
fn mset(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `MSETNX key value [key value ...]`: set multiple keys to multiple values, only if none of the
/// keys exist.
fn msetnx(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PSETEX key milliseconds value`: set the value and expiration in milliseconds of a key.
fn psetex(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT
/// unix-time-milliseconds | KEEPTTL]`: set the string value of a key.
fn set(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SETEX key seconds value`: set the value and expiration of a key.
fn setex(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SETNX key value`: set the value of a key, only if the key does not exist.
fn setnx(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `STRLEN key`: get the length of the value stored in a key.
fn strlen(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
