//! `OBJECT`: how a value is stored.

use super::not_implemented;
use super::spec::{CommandSpec, acl, at, cmd, container, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("object", -2).subcommands(&[
    cmd("object|encoding", 3, encoding)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
    cmd("object|freq", 3, freq)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
    cmd("object|help", 2, help).flags(flag::LOADING | flag::STALE).acl(acl::KEYSPACE),
    cmd("object|idletime", 3, idletime)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
    cmd("object|refcount", 3, refcount)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
])];

/// `OBJECT ENCODING key`: inspect the internal encoding of a Redis object.
fn encoding(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `OBJECT FREQ key`: get the logarithmic access frequency counter of a Redis object.
fn freq(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `OBJECT HELP`: show helpful text about the different subcommands.
fn help(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `OBJECT IDLETIME key`: get the time since a Redis object was last accessed.
fn idletime(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `OBJECT REFCOUNT key`: get the number of references to the value of the key.
fn refcount(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
