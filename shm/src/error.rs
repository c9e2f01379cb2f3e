//! What can go wrong with an arena.

use std::path::PathBuf;

/// The arena cannot grow: the cap or the system refused.
///
/// It is the error of the one command that asked. Nothing of the transaction has to be undone by
/// hand: the caller rolls back to its savepoint and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the arena cannot grow: its cap is reached or the system refuses memory; free data or raise the cap"
)]
pub struct OutOfMemory;

/// Why an arena could not be created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused a call.
    #[error("{what} failed for the arena{}: {source}", at(path))]
    System {
        /// Which call.
        what: &'static str,
        /// The file, if it has a name.
        path: Option<PathBuf>,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is in use by another process.
    #[error("the arena {path} is in use by another server; stop that one or choose another file")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The content is not an arena, or not a whole one. The file was left untouched.
    #[error("this is no usable arena: {why}; it was left untouched")]
    Damaged {
        /// What was found.
        why: String,
    },
    /// The arena was written by a build with other layouts. The file was left untouched.
    #[error(
        "the arena has fingerprint {found:016x}, this build reads {expected:016x}; start a build that knows it"
    )]
    Fingerprint {
        /// The fingerprint in the header.
        found: u64,
        /// The fingerprint of this build.
        expected: u64,
    },
}

fn at(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default()
}

impl OpenError {
    pub(crate) fn system(what: &'static str, source: impl Into<std::io::Error>) -> Self {
        OpenError::System { what, path: None, source: source.into() }
    }
}
