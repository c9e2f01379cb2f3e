//! Loaded before a server that callgrind counts (`LD_PRELOAD`): valgrind 3.19, Debian 12's, does not know `pidfd_open`,
//! without which no generation hands over. What it gives instead of a handle on a process says of it that it lives, for
//! ever: enough for an upgrade in which nobody dies.

use std::ffi::{c_char, c_int, c_long, c_void};

const PIDFD_OPEN: c_long = 434;
const CLOSE_ON_EXEC: c_int = 0o2000000;
const NEXT: *mut c_void = -1isize as *mut c_void;

type Syscall =
    unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn eventfd(count: u32, flags: c_int) -> c_int;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == PIDFD_OPEN {
        // SAFETY: the call of the system, which touches no memory of the process.
        return unsafe { eventfd(0, CLOSE_ON_EXEC) }.into();
    }
    // SAFETY: the C library has a `syscall`, and it takes what it was called with; so many words are passed in registers
    // or behind the others, where one that takes fewer does not look.
    unsafe {
        let next: Syscall = std::mem::transmute(dlsym(NEXT, c"syscall".as_ptr()));
        next(number, a, b, c, d, e, f)
    }
}
