//! `CLIENT`: what a connection can ask and change about itself and others.

use super::not_implemented;
use super::spec::{CommandSpec, acl, cmd, container, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("client", -2).subcommands(&[
    cmd("client|caching", 3, caching)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|getname", 2, getname)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|getredir", 2, getredir)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|help", 2, help).flags(flag::LOADING | flag::STALE).acl(acl::CONNECTION),
    cmd("client|id", 2, id)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|info", 2, info)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION)
        .tips(&["nondeterministic_output"]),
    cmd("client|kill", -3, kill)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|list", -2, list)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION)
        .tips(&["nondeterministic_output"]),
    cmd("client|no-evict", 3, no_evict)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|pause", -3, pause)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|reply", 3, reply)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|setname", 3, setname)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|tracking", -3, tracking)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|trackinginfo", 2, trackinginfo)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|unblock", -3, unblock)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
    cmd("client|unpause", 2, unpause)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(acl::CONNECTION),
])];

/// `CLIENT CACHING <YES | NO>`: instruct the server about tracking or not keys in the next request.
fn caching(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT GETNAME`: get the current connection name.
fn getname(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT GETREDIR`: get tracking notifications redirection client ID if any.
fn getredir(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT HELP`: show helpful text about the different subcommands.
fn help(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT ID`: returns the client ID for the current connection.
fn id(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT INFO`: returns information about the current client connection.
fn info(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT KILL <ip:port | [ID client-id] [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] [USER
/// username] [ADDR ip:port] [LADDR ip:port] [SKIPME yes/no]>`: kill the connection of a client.
fn kill(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]`: get
/// the list of client connections.
fn list(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT NO-EVICT <ON | OFF>`: set client eviction mode for the current connection.
fn no_evict(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT PAUSE timeout [WRITE | ALL]`: stop processing commands from clients for some time.
fn pause(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT REPLY <ON | OFF | SKIP>`: instruct the server whether to reply to commands.
fn reply(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT SETNAME connection-name`: set the current connection name.
fn setname(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST]
/// [OPTIN] [OPTOUT] [NOLOOP]`: enable or disable server assisted client side caching support.
fn tracking(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT TRACKINGINFO`: return information about server assisted client side caching for the
/// current connection.
fn trackinginfo(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT UNBLOCK client-id [TIMEOUT | ERROR]`: unblock a client blocked in a blocking command
/// from a different connection.
fn unblock(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT UNPAUSE`: resume processing of clients that were paused.
fn unpause(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
