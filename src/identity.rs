//! What a binary says about itself before it is let near an arena: the one line that `hotredis
//! preflight` prints.

use serde::{Deserialize, Serialize};

use crate::version;

/// First field of the line, by which a keeper knows that it ran a hotredis.
pub const MAGIC: &str = "hotredis";

/// Longest line in bytes that a keeper reads.
pub const MAX_LINE: usize = 4096;

/// A binary's versions and what it can serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`MAGIC`].
    pub magic: String,
    /// The version of the package.
    pub version: String,
    /// The mark of the build, empty if it has none.
    pub build: String,
    /// The version of the keeper channel that it speaks.
    pub keeper_protocol: u16,
    /// Lowest and highest version of the handoff protocol that it speaks.
    pub handoff_versions: (u16, u16),
    /// Fingerprints of the arenas that it can serve, in hexadecimal; the first is that of the
    /// arenas it makes.
    pub fingerprints: Vec<String>,
}

impl Identity {
    /// The identity of a binary of this source with the given handoff versions and fingerprints.
    pub fn of_this_build(handoff_versions: (u16, u16), fingerprints: Vec<String>) -> Self {
        Self {
            magic: MAGIC.into(),
            version: version::VERSION.into(),
            build: version::build().into(),
            keeper_protocol: handoff::keeper_channel::KEEPER_PROTOCOL,
            handoff_versions,
            fingerprints,
        }
    }
}
