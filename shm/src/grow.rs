//! The thread that allocates memory ahead of need.
//!
//! Touching a page for the first time costs microseconds, so it happens here and not in the
//! executor: the thread backs the range behind the heap's frontier and enters it into the page
//! table, then moves the header's word `READY_END`, and `HUGE_PAGES` if it was granted one. It writes nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::header;
use crate::layout;
use crate::mapping::Mapping;

/// Smallest stretch that is allocated ahead, in bytes.
const MIN_AHEAD: u64 = 4 << 20;
/// Largest, reached when the arena is large.
const MAX_AHEAD: u64 = 64 << 20;
/// A stretch is backed in steps of this size, so that the executor sees progress.
const STEP: u64 = 1 << 20;

/// Handle of the thread; dropping it stops the thread.
pub struct Grower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    mapping: Arc<Mapping>,
    stop: AtomicBool,
    wanted: AtomicBool,
}

impl Grower {
    /// Starts the thread; `None` if the system has no thread to give, and then growth waits.
    pub fn start(mapping: Arc<Mapping>) -> Option<Grower> {
        let shared = Arc::new(Shared {
            mapping,
            stop: AtomicBool::new(false),
            wanted: AtomicBool::new(true),
        });
        let theirs = shared.clone();
        let run = move || {
            while !theirs.stop.load(Ordering::Acquire) {
                if theirs.wanted.swap(false, Ordering::AcqRel) {
                    theirs.grow();
                } else {
                    thread::park();
                }
            }
        };
        let thread = thread::Builder::new().name("grower".into()).spawn(run).ok()?;
        Some(Grower { shared, thread: Some(thread) })
    }

    /// Has the thread look whether enough is ready. Cheap when it was woken already.
    pub fn wake(&self) {
        if self.shared.needs_growth() && !self.shared.wanted.swap(true, Ordering::AcqRel) {
            self.thread.as_ref().inspect(|t| t.thread().unpark());
        }
    }
}

impl Drop for Grower {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn word(&self, index: usize) -> &std::sync::atomic::AtomicU64 {
        let at = header::WORDS as usize + index * 8;
        // SAFETY: a word of the header, which is always backed; aligned; accessed as an atomic.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(self.mapping.base().add(at).cast()) }
    }

    /// About where the heap's frontier is: an old value only means that less or more than intended
    /// is ready.
    fn frontier(&self) -> u64 {
        let word = self.word(header::FRONTIER).load(Ordering::Relaxed);
        word.clamp(layout::HEAP, self.mapping.len())
    }

    fn target(&self) -> u64 {
        let frontier = self.frontier();
        let ahead = ((frontier - layout::HEAP) / 32).clamp(MIN_AHEAD, MAX_AHEAD);
        (frontier + ahead).next_multiple_of(self.step()).min(self.mapping.len())
    }

    /// Bytes that are backed at a time; a step ends at a multiple of it.
    fn step(&self) -> u64 {
        if self.mapping.wants_huge_pages() { layout::HUGE_PAGE } else { STEP }
    }

    fn needs_growth(&self) -> bool {
        // Half of the stretch may be used up before the thread is woken.
        let frontier = self.frontier();
        let ready = self.word(header::READY_END).load(Ordering::Relaxed);
        ready.saturating_sub(frontier) < self.target().saturating_sub(frontier) / 2
    }

    fn grow(&self) {
        loop {
            let ready = self.word(header::READY_END).load(Ordering::Relaxed);
            let cap = self.word(header::CAP).load(Ordering::Relaxed);
            if ready >= self.target() || self.stop.load(Ordering::Acquire) {
                return;
            }
            let unit = self.step();
            let step = unit - ready % unit;
            // The executor may move the word meanwhile, since it backs what it needs by itself if
            // this thread lags: then both back the same range, which is harmless, and the word
            // takes the larger value. (Should it even have freed and punched that range since, up
            // to a step of holes stays backed without being counted.)
            //
            // Holes are not counted here, so this stops early rather than late; the executor, which
            // counts exactly, goes on by itself.
            if ready + step - layout::HEAP > cap {
                return;
            }
            if step == layout::HUGE_PAGE && self.mapping.back_huge(ready) {
                self.word(header::HUGE_PAGES).fetch_add(step, Ordering::Relaxed);
            }
            // All of it if no huge page was granted, nothing if one was.
            if self.mapping.back(ready, step).is_err() {
                return;
            }
            self.mapping.populate(ready, step);
            self.word(header::READY_END).fetch_max(ready + step, Ordering::Relaxed);
        }
    }
}
