//! Descriptors that pass from a process to the one that it starts, by number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes over a descriptor that this process was started with; it is close-on-exec from now on.
///
/// # Errors
/// If no descriptor of that number is open, or it is one of the first three.
///
/// To be called once for each number.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::other(format!("descriptor {number} is not for this")));
    }
    // SAFETY: only asked whether it is open, which does no harm to whoever owns it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|errno| io::Error::other(format!("descriptor {number} is not open: {errno}")))?;
    // SAFETY: it is open and was inherited, by a number that the starting process has named for this
    // process alone, so nothing here owns it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has a descriptor stay open in a process that is started.
///
/// # Errors
/// If the system refuses.
pub fn keep_over_exec(fd: impl AsFd) -> io::Result<()> {
    Ok(fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)?)
}

/// Has a descriptor close in a process that is started, as all are by default.
///
/// # Errors
/// If the system refuses.
pub fn close_on_exec(fd: impl AsFd) -> io::Result<()> {
    Ok(fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn what_is_not_open_cannot_be_adopted() {
        let number = File::open("/dev/null").unwrap().into_raw_fd();
        let adopted = adopt(number).unwrap();
        keep_over_exec(&adopted).unwrap();
        close_on_exec(&adopted).unwrap();
        // No process has that many.
        assert!(adopt(RawFd::MAX).unwrap_err().to_string().contains("not open"));
        assert!(adopt(1).is_err());
    }
}
