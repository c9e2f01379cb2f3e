//! Notices the death of a generation's executor at once.
//!
//! That a process can be reaped is known only when the kernel has taken its memory apart, which takes about
//! 70 ms for each GiB that it had mapped. The executor's lock says 0.1 ms after its death that it
//! will never again write the arena. Nothing but a thread can wait for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use handoff::fence::await_death;
use handoff::owner::Generation;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2, read, write};

use crate::words::HandoffWords;

/// Threads that wait, each for one executor, and the pipe into which they write.
#[derive(Debug)]
pub struct Watcher {
    deaths: OwnedFd,
    news: Arc<OwnedFd>,
}

impl Watcher {
    /// # Errors
    /// If there are no descriptors for it.
    pub fn new() -> nix::Result<Self> {
        let (deaths, news) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { deaths, news: Arc::new(news) })
    }

    /// Has the death of a generation's executor [noticed](Self::next), which holds its lock. If there is no
    /// thread for it, the exit of its process will have to do.
    pub fn watch(&self, words: HandoffWords, generation: Generation, pid: Pid) {
        let news = self.news.clone();
        let wait = move || {
            if await_death(words.executor(generation)).is_ok() {
                // A pipe that is full has told enough already.
                let _ = write(&*news, &pid.as_raw().to_ne_bytes());
            }
        };
        if let Err(error) = std::thread::Builder::new().name("watcher".into()).spawn(wait) {
            tracing::warn!("the death of generation {generation} will be noticed late: {error}");
        }
    }

    /// The process of the next generation whose executor is gone.
    pub fn next(&self) -> Option<Pid> {
        let mut number = [0; size_of::<i32>()];
        match read(&self.deaths, &mut number) {
            Ok(length) if length == number.len() => Some(Pid::from_raw(i32::from_ne_bytes(number))),
            _ => None,
        }
    }
}

impl AsFd for Watcher {
    /// To be polled for reading.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deaths.as_fd()
    }
}
