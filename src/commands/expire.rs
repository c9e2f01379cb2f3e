//! Commands on the time to live of keys.

use super::not_implemented;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

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

/// `EXPIRE key seconds [NX | XX | GT | LT]`: set a key's time to live in seconds.
fn expire(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`: set the expiration for a key as a UNIX
/// timestamp.
fn expireat(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `EXPIRETIME key`: get the expiration Unix timestamp for a key.
fn expiretime(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PERSIST key`: remove the expiration from a key.
fn persist(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`: set a key's time to live in milliseconds.
fn pexpire(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`: set the expiration for a key as a
/// UNIX timestamp specified in milliseconds.
fn pexpireat(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PEXPIRETIME key`: get the expiration Unix timestamp for a key in milliseconds.
fn pexpiretime(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PTTL key`: get the time to live for a key in milliseconds.
fn pttl(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `TTL key`: get the time to live for a key in seconds.
fn ttl(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
