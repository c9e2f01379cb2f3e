//! Server commands that have no file of their own.

use super::not_implemented;
use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("time", 1, time)
    .flags(flag::LOADING | flag::STALE | flag::FAST)
    .tips(&["nondeterministic_output"])];

/// `TIME`: return the current server time.
fn time(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
