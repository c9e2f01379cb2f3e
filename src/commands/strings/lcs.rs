//! `LCS`: the longest common subsequence of two strings.

use crate::commands::not_implemented;
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("lcs", -3, lcs)
    .flags(flag::READONLY)
    .acl(acl::STRING)
    .keys(&[at(1).to(1, 1, 0).flags(key::RO | key::ACCESS)])];

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]`: find longest common substring.
fn lcs(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
