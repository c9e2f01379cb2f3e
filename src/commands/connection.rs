//! Connection commands other than `CLIENT`.

use super::not_implemented;
use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("auth", -2, auth)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("echo", 2, echo).flags(flag::LOADING | flag::STALE | flag::FAST).acl(acl::CONNECTION),
    cmd("hello", -1, hello)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("ping", -1, ping)
        .flags(flag::FAST)
        .acl(acl::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    cmd("quit", -1, quit)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("reset", 1, reset)
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(acl::CONNECTION),
    cmd("select", 2, select).flags(flag::LOADING | flag::STALE | flag::FAST).acl(acl::CONNECTION),
];

/// `AUTH [username] password`: authenticate to the server.
fn auth(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `ECHO message`: echo the given string.
fn echo(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`: handshake with Redis.
fn hello(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PING [message]`: ping the server.
fn ping(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `QUIT`: close the connection.
fn quit(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `RESET`: reset the connection.
fn reset(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SELECT index`: change the selected database for the current connection.
fn select(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
