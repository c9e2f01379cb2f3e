//! Sending and receiving descriptors with `SCM_RIGHTS`.
//!
//! Sending is sendfd's job. Receiving is done with nix's `recvmsg`, because sendfd hides
//! `MSG_CTRUNC`; and the control buffer is read here, because nix hands out no descriptors at all
//! once that flag is set, which would leak those that did arrive.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, cmsg_space, recvmsg, send};
use sendfd::SendWithFd;

use crate::error::FdError;

/// Descriptors in one message at most. The kernel's own limit is 253.
pub const MAX_FDS_PER_MESSAGE: usize = 128;

/// Room for the control data of one message, and nothing more: what does not fit is reported by
/// the kernel as `MSG_CTRUNC`.
const CONTROL_BYTES: usize = cmsg_space::<[RawFd; MAX_FDS_PER_MESSAGE]>();

/// The control buffer of a receiver, kept from call to call.
#[derive(Debug)]
pub struct ControlBuffer(Box<[u64; CONTROL_BYTES.div_ceil(8)]>);

impl Default for ControlBuffer {
    fn default() -> Self {
        Self(Box::new([0; CONTROL_BYTES.div_ceil(8)]))
    }
}

/// Sends one message with its descriptors: all of it or nothing.
///
/// The process must ignore `SIGPIPE`, as Rust programs do unless told otherwise: sendfd passes no
/// `MSG_NOSIGNAL`.
///
/// # Errors
/// [`FdError::WouldBlock`] if the socket is non-blocking and full, or if the kernel has too many
/// descriptors of this user in flight (`ETOOMANYREFS`): try again when the peer has received.
/// [`FdError::Closed`] if the peer is gone. [`FdError::TooManyFds`] beyond
/// [`MAX_FDS_PER_MESSAGE`].
pub fn send_message(
    socket: &UnixDatagram,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), FdError> {
    if fds.len() > MAX_FDS_PER_MESSAGE {
        return Err(FdError::TooManyFds { count: fds.len() });
    }
    let sent = if fds.is_empty() {
        retry(|| Ok(send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?))
    } else {
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        retry(|| socket.send_with_fd(bytes, &raw))
    };
    match sent {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => Err(FdError::ShortSend { sent: count, length: bytes.len() }),
        Err(error) => Err(match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EAGAIN | Errno::ETOOMANYREFS | Errno::ENOBUFS => FdError::WouldBlock,
            Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN => FdError::Closed,
            _ => FdError::Os { call: "sendmsg", source: error },
        }),
    }
}

/// Receives one message into `buffer`, with its descriptors, all close-on-exec.
///
/// Never blocks.
///
/// # Errors
/// [`FdError::WouldBlock`] if there is nothing now, [`FdError::Closed`] at the end of the stream,
/// [`FdError::FdsTruncated`] or [`FdError::BytesTruncated`] if the kernel dropped a part. The
/// descriptors that came with a message that is refused are closed.
pub fn receive_message(
    socket: &UnixDatagram,
    buffer: &mut [u8],
    control: &mut ControlBuffer,
) -> Result<(usize, Vec<OwnedFd>), FdError> {
    // The walk below stops at a header of length zero, so nothing stale may stand there.
    control.0.fill(0);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let mut reset_seen = false;
    let received = retry(|| {
        let control_bytes = control_bytes(control);
        let mut vector = [IoSliceMut::new(buffer)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut vector, Some(control_bytes), flags) {
            Ok(message) => Ok((message.bytes, message.flags)),
            // A peer that ends with something unread leaves this error, once, in front of what it
            // had sent before: its last words would be lost.
            Err(Errno::ECONNRESET) if !reset_seen => {
                reset_seen = true;
                Err(io::ErrorKind::Interrupted.into())
            }
            Err(errno) => Err(errno.into()),
        }
    });
    let (count, flags) =
        received.map_err(|error| match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EAGAIN => FdError::WouldBlock,
            Errno::ECONNRESET => FdError::Closed,
            _ => FdError::Os { call: "recvmsg", source: error },
        })?;
    let fds = take_fds(control);
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(FdError::FdsTruncated { arrived: fds.len() });
    }
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(FdError::BytesTruncated { limit: buffer.len() });
    }
    // No message of ours is empty, so an empty one is the end of the stream.
    if count == 0 { Err(FdError::Closed) } else { Ok((count, fds)) }
}

fn control_bytes(control: &mut ControlBuffer) -> &mut [u8] {
    let words: &mut [u64] = control.0.as_mut_slice();
    // SAFETY: the words are initialised, u8 has no alignment and no invalid value, the length is
    // within the allocation (CONTROL_BYTES rounded up), and the borrow is passed on.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), CONTROL_BYTES) }
}

/// Takes every descriptor that stands in the control buffer, also where the kernel set
/// `MSG_CTRUNC`: it has installed exactly those that the header's length counts.
fn take_fds(control: &mut ControlBuffer) -> Vec<OwnedFd> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let bytes = control_bytes(control);
    let mut fds = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + HEADER) {
        let length = read_usize(&header[..size_of::<usize>()]);
        let level = read_i32(&header[HEADER - 8..HEADER - 4]);
        let kind = read_i32(&header[HEADER - 4..]);
        if length < HEADER {
            break;
        }
        let end = (at + length).min(bytes.len());
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            for raw in bytes[at + HEADER..end].chunks_exact(size_of::<RawFd>()) {
                // SAFETY: the kernel has just installed this descriptor for this message, nobody
                // else knows its number, and the buffer is cleared before it is walked again.
                fds.push(unsafe { OwnedFd::from_raw_fd(read_i32(raw)) });
            }
        }
        at += length.next_multiple_of(size_of::<usize>());
    }
    control.0.fill(0);
    fds
}

fn read_i32(bytes: &[u8]) -> i32 {
    bytes.try_into().map_or(-1, i32::from_ne_bytes)
}

fn read_usize(bytes: &[u8]) -> usize {
    bytes.try_into().map_or(0, usize::from_ne_bytes)
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "fds_tests.rs"]
mod tests;
