//! Server commands that have no file of their own.

use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("time", 1, time)
    .flags(flag::LOADING | flag::STALE | flag::FAST)
    .tips(&["nondeterministic_output"])];

/// `TIME`: return the current server time.
fn time(cx: &mut Cx<'_>) -> Outcome {
    let now = cx.state.now_us;
    cx.reply.array(2);
    cx.reply.bulk_integer(now / 1_000_000);
    cx.reply.bulk_integer(now % 1_000_000);
    Ok(())
}
