//! What outlives a generation: the keeper's duplicates of its descriptors, and the words by which it
//! can be told that somebody owns the arena.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use handoff::custody::Custody;
use handoff::error::HandoffError;
use handoff::link::Link;
use tracing::{debug, warn};

use crate::words::HandoffWords;

/// Descriptors, and the links over which generations tell of them.
#[derive(Default)]
pub struct Holding {
    custody: Custody,
    /// Those whose other end may still be open, with the number of the generation.
    links: Vec<(u64, Link)>,
    words: Option<HandoffWords>,
}

impl Holding {
    /// Opens a holding link. Returns the end for that generation.
    ///
    /// # Errors
    /// If there are no descriptors for it.
    pub fn open(&mut self, generation: u64) -> Result<OwnedFd, String> {
        let (ours, theirs) = Link::pair().map_err(|error| error.to_string())?;
        let link = Link::new(ours).map_err(|error| error.to_string())?;
        self.links.push((generation, link));
        Ok(theirs)
    }

    /// What somebody else has held, and the keeper's ends of holding links.
    pub fn of(custody: Custody, links: Vec<(u64, Link)>) -> Self {
        Self { custody, links, words: None }
    }

    /// The links, to be polled for reading, with the numbers of the generations.
    pub fn links(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.links.iter().map(|(generation, link)| (*generation, link.as_fd()))
    }

    /// Takes up everything that has been told.
    pub fn receive(&mut self) {
        let custody = &mut self.custody;
        self.links.retain_mut(|(generation, link)| {
            loop {
                match custody.receive(link) {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(HandoffError::Link { source, .. }) if source.is_closed() => {
                        debug!("generation {generation} tells nothing more");
                        return false;
                    }
                    Err(error) => {
                        warn!(
                            "generation {generation}: {error}: its new connections would be lost \
                             if it died"
                        );
                        return false;
                    }
                }
            }
        });
    }

    /// The words of the arena, once there is one. The reason if they cannot be had.
    pub fn words(&mut self) -> Result<HandoffWords, String> {
        if let Some(words) = self.words {
            return Ok(words);
        }
        let fd = self.custody.arena().first().ok_or("no generation has told of its arena")?;
        let arena = fd.try_clone().map(File::from).map_err(|error| error.to_string())?;
        let words = HandoffWords::map(&arena).map_err(|error| error.to_string())?;
        self.words = Some(words);
        Ok(words)
    }

    /// The descriptors.
    pub fn custody(&self) -> &Custody {
        &self.custody
    }

    /// The descriptors, to let go of some.
    pub fn custody_mut(&mut self) -> &mut Custody {
        &mut self.custody
    }
}
