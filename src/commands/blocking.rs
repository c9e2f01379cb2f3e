//! Blocking.

use super::spec::CommandSpec;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[];
