//! `LOLWUT`: computer art.

use super::not_implemented;
use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] =
    &[cmd("lolwut", -1, lolwut).flags(flag::READONLY | flag::FAST)];

/// `LOLWUT [VERSION version]`: display some computer art and the Redis version.
fn lolwut(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
