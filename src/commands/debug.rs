//! `DEBUG`: for tests only, off unless `enable-debug-command` allows it.

use super::not_implemented;
use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("debug", -2, debug)
    .flags(flag::ADMIN | flag::PROTECTED | flag::NOSCRIPT | flag::LOADING | flag::STALE)];

/// `DEBUG`: a container for debugging commands.
fn debug(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// Whether `enable-debug-command` allows the session's client to use `DEBUG`.
pub fn allow(cx: &mut Cx<'_>) -> Outcome {
    let _ = cx;
    Ok(())
}
