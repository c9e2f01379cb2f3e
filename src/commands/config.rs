//! `CONFIG`: reading and changing directives.

use shm::{U64, field};

use super::errors::NO_CONFIG_FILE;
use super::spec::{CommandSpec, cmd, container, flag};
use crate::config::{ConfigError, ConfigValues, Update};
use crate::executor::{Action, Cx, Outcome, error};
use crate::proto::reply::{Reply, Sink};
use crate::root::{Counters, Root};
use crate::statistics;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("config", -2).subcommands(&[
    cmd("config|get", -3, get).flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("config|help", 2, help).flags(flag::LOADING | flag::STALE),
    cmd("config|resetstat", 2, resetstat)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("config|rewrite", 2, rewrite)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("config|set", -4, set)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
])];

/// `CONFIG GET parameter [parameter ...]`: get the values of configuration parameters.
fn get(cx: &mut Cx<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = cx.args.from(2).collect();
    reply_matching(&mut cx.reply, &cx.state.config, &patterns);
    Ok(())
}

/// `CONFIG HELP`: show helpful text about the different subcommands.
fn help(cx: &mut Cx<'_>) -> Outcome {
    super::help::reply(&mut cx.reply, "config");
    Ok(())
}

/// `CONFIG RESETSTAT`: reset the stats returned by INFO.
fn resetstat(cx: &mut Cx<'_>) -> Outcome {
    let counters = field!(cx.root, Root.counters);
    for counter in [
        field!(counters, Counters.commands),
        field!(counters, Counters.connections),
        field!(counters, Counters.rejected),
        field!(counters, Counters.input_bytes),
        field!(counters, Counters.output_bytes),
        field!(counters, Counters.expired),
        field!(counters, Counters.hits),
        field!(counters, Counters.misses),
        field!(counters, Counters.errors),
        field!(counters, Counters.defrag_hits),
        field!(counters, Counters.defrag_misses),
        field!(counters, Counters.defrag_key_hits),
        field!(counters, Counters.defrag_key_misses),
        field!(counters, Counters.defrag_us),
    ] {
        cx.tx.hint(counter, U64::from_native(0));
    }
    statistics::reset(&mut cx.tx, cx.root);
    cx.state.ledger.forget_time();
    cx.reply.ok();
    Ok(())
}

/// `CONFIG REWRITE`: rewrite the configuration file with the in memory configuration.
///
/// The keeper has read the file, if there was one, and given what it said; the server has none.
fn rewrite(_cx: &mut Cx<'_>) -> Outcome {
    Err(NO_CONFIG_FILE.into())
}

/// `CONFIG SET parameter value [parameter value ...]`: set configuration parameters to the given
/// values.
///
/// The values are in force at once, and stand in the arena with the same transaction. If that is
/// taken back, [`crate::executor::State::take_back`] reads them from there again.
fn set(cx: &mut Cx<'_>) -> Outcome {
    if !cx.args.len().is_multiple_of(2) {
        return Err(error::SYNTAX);
    }
    let words: Vec<&[u8]> = cx.args.from(2).collect();
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let authority = cx.state.config.authority_of(super::debug::is_local(cx));
    let update = cx.state.config.prepare(&pairs, authority).map_err(|e| format!("ERR {e}"))?;
    if !update.changed.is_empty() {
        can_have(&update, cx.state.allow_clients).map_err(|e| format!("ERR {e}"))?;
        crate::root::store_config(&mut cx.tx, cx.root, &update.values)?;
        cx.state.config = update.values;
        cx.state.apply_config();
        cx.after_commit(Action::Reconfigured(update.changed));
    }
    cx.reply.ok();
    Ok(())
}

/// Whether the system lets the new values take effect.
fn can_have(update: &Update, allow_clients: fn(u32) -> Result<(), u64>) -> Result<(), ConfigError> {
    for id in &update.changed {
        let directive = id.directive();
        match directive.name {
            // Listeners stay as they are while the server runs: see docs/differences.md.
            "port" => {
                let reason = "Unable to listen on this port. Check server logs.";
                return Err(ConfigError::failed(directive, reason));
            }
            "bind" => {
                let reason = "Failed to bind to specified addresses.";
                return Err(ConfigError::failed(directive, reason));
            }
            "maxclients" => {
                if let Err(most) = allow_clients(update.values.maxclients()) {
                    let reason = format!(
                        "The operating system is not able to handle the specified number of \
                         clients, try with {most}"
                    );
                    return Err(ConfigError::failed(directive, reason));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Answers `CONFIG GET pattern ...`.
pub fn reply_matching<S: Sink + ?Sized>(
    reply: &mut Reply<'_, S>,
    values: &ConfigValues,
    patterns: &[&[u8]],
) {
    let found = values.matching(patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
}
