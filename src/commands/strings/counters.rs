//! Strings as numbers.

use crate::commands::not_implemented;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

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
fn decr(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `DECRBY key decrement`: decrement the integer value of a key by the given number.
fn decrby(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `INCR key`: increment the integer value of a key by one.
fn incr(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `INCRBY key increment`: increment the integer value of a key by the given amount.
fn incrby(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `INCRBYFLOAT key increment`: increment the float value of a key by the given amount.
fn incrbyfloat(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
