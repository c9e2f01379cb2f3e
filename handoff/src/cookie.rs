//! `SO_COOKIE`: the kernel's own name of a socket.
//!
//! Descriptor numbers differ from process to process; the cookie belongs to the socket itself and
//! is never given to another one while the host is up. Sockets and sessions are matched by it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Returns the cookie of a socket.
///
/// # Errors
/// What `getsockopt(2)` says, `ENOTSOCK` for what is no socket.
pub fn socket_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `cookie` and `length` are valid for writes during the call and `length` holds the
    // size of `cookie`, which is the 8 bytes that SO_COOKIE writes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::socket_cookie;

    #[test]
    fn a_duplicate_has_the_same_cookie_and_another_socket_another() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let two = TcpListener::bind("127.0.0.1:0").unwrap();
        let copy = one.try_clone().unwrap();
        let cookie = socket_cookie(one.as_fd()).unwrap();
        assert_ne!(cookie, 0);
        assert_eq!(cookie, socket_cookie(copy.as_fd()).unwrap());
        assert_ne!(cookie, socket_cookie(two.as_fd()).unwrap());
    }

    #[test]
    fn a_file_has_none() {
        let file = File::open("/dev/null").unwrap();
        let error = socket_cookie(file.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    }
}
