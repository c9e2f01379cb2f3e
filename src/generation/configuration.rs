//! The configuration as it passes from one generation to the next: in the arena, and foretold in the
//! pre-copy, so that the freeze has no archive to read.

use shm::Arena;
use tracing::error;

use crate::config::ConfigValues;
use crate::root;

/// The configuration that was in the arena when the upgrade began.
pub(super) struct Foretold {
    archive: Vec<u8>,
    values: ConfigValues,
    unknown: Vec<String>,
}

impl Foretold {
    /// Reads what the predecessor has sent. `None` if it sent nothing (other builds may not) or
    /// nothing that can be read: what counts is in the arena.
    pub(super) fn read(archive: &[u8]) -> Option<Foretold> {
        let (values, unknown) = ConfigValues::from_archive(archive).ok()?;
        Some(Foretold { archive: archive.to_vec(), values, unknown })
    }
}

/// The configuration in the arena, and what of it this build does not know. `CONFIG SET` may have
/// changed it since it was foretold.
pub(super) fn load(arena: &Arena, foretold: Option<Foretold>) -> (ConfigValues, Vec<String>) {
    let Some(archive) = root::stored_archive(arena, root::of(arena)) else {
        return Default::default();
    };
    if let Some(foretold) = foretold.filter(|foretold| foretold.archive == archive) {
        return (foretold.values, foretold.unknown);
    }
    ConfigValues::from_archive(archive).unwrap_or_else(|error| {
        error!("the configuration in the arena cannot be read: {error}; defaults are in force");
        Default::default()
    })
}
