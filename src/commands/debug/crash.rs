//! The subcommands of `DEBUG` that crash: `PANIC`, `SEGFAULT`.

use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// `DEBUG PANIC`: what a handler does that finds what cannot be.
pub(super) fn panic() {
    panic!("DEBUG PANIC was called");
}

/// `DEBUG SEGFAULT`: writes to a page that cannot be written, as Redis does.
pub(super) fn segfault() {
    let page = NonZeroUsize::MIN;
    // SAFETY: a mapping of its own; nothing that exists is touched.
    let page = unsafe { mmap_anonymous(None, page, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE) };
    if let Ok(page) = page {
        // SAFETY: this is meant to end the process: the page exists and cannot be written, so that the
        // kernel answers the store with SIGSEGV, and nothing else happens.
        unsafe { page.cast::<u8>().write_volatile(0) };
    }
}
