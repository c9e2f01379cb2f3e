//! `MONITOR`.

use super::not_implemented;
use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] =
    &[cmd("monitor", 1, monitor).flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)];

/// `MONITOR`: listen for all requests received by the server in real time.
fn monitor(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// Tells the monitors of the command that ran.
pub fn feed(cx: &mut Cx<'_>) -> Outcome {
    let _ = cx;
    Ok(())
}
