//! The generation that a server with `--spare` keeps ready.

use crate::server::Server;

/// A generation as the keeper shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spare {
    /// The number that it would have.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// It could take over at once.
    pub ready: bool,
}

impl Spare {
    /// That of a server, if it has one now.
    ///
    /// # Panics
    /// If the keeper does not answer.
    #[track_caller]
    pub fn of(server: &Server) -> Option<Self> {
        let status = server.status();
        let shown = status["spare"].as_object()?;
        Some(Self {
            generation: shown["generation"].as_u64()?,
            pid: u32::try_from(shown["generation_pid"].as_u64()?).ok()?,
            ready: shown["ready"].as_bool()?,
        })
    }
}
