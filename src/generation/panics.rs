//! What becomes of a panic: if a command was running it unwinds to the end of its client's turn, and is
//! that client's error. Anywhere else it ends the process at once, for the next one to take over: nobody
//! knows what it has left half done.

use std::any::Any;
use std::panic::PanicHookInfo;

use tracing::error;

use crate::util::panics::text_of;
use crate::words::HandoffWords;

/// From now on panics of this process are treated so. The calling thread is the executor of the arena
/// that the words belong to.
pub(super) fn settle(words: HandoffWords) {
    let executor = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let at = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        error!("panicked{at}: {}", message(info.payload()));
        if std::thread::current().id() != executor || !words.runs_command() {
            std::process::abort();
        }
    }));
}

/// What a panic says.
pub(super) fn message(payload: &(dyn Any + Send)) -> &str {
    text_of(payload).unwrap_or("no message")
}

/// While it lives, a panic ends the process: what is being mended cannot be mended again.
pub(super) struct NoUnwinding;

impl Drop for NoUnwinding {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
