//! Parts of strings.

use crate::commands::not_implemented;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("getrange", 4, getrange)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("setrange", 4, setrange)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("substr", 4, substr)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
];

/// `GETRANGE key start end`: get a substring of the string stored at a key.
fn getrange(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SETRANGE key offset value`: overwrite part of a string at key starting at the specified offset.
fn setrange(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SUBSTR key start end`: get a substring of the string stored at a key.
fn substr(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
