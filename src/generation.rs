//! Joins handoff, arena and network: the serving process.

use std::process::ExitCode;

use handoff::keeper_channel::{GenerationEnd, StartFailed};
use handoff::message::{PROTOCOL_MAX, PROTOCOL_MIN};

use crate::identity::Identity;
use crate::role::Role;

/// SEAM: serves until told to stop or replaced. Still to be written.
pub fn run(channel: GenerationEnd, _role: Role) -> ExitCode {
    let reason = "this build has no server in it yet".to_string();
    // The exit tells as much if the keeper cannot be told.
    let _ = channel.send(&StartFailed { reason }.into());
    ExitCode::FAILURE
}

/// SEAM: handoff versions and arena fingerprints of this build. The fingerprints are still to be
/// filled in.
pub fn identity() -> Identity {
    Identity::of_this_build((PROTOCOL_MIN, PROTOCOL_MAX), Vec::new())
}
