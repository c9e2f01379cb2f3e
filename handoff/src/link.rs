//! The link: the `SOCK_SEQPACKET` socket pair between a predecessor and its successor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt,
    socketpair, sockopt,
};

use crate::error::{FdError, LinkError};
use crate::fds::{ControlBuffer, receive_message, send_message};
use crate::message::Message;
use crate::wire::{self, MAX_MESSAGE_BYTES};

/// One end of a link. It never blocks by itself; see [`wait`](Self::wait).
#[derive(Debug)]
pub struct Link {
    /// Not really a datagram socket: the type of the standard library that sendfd can use.
    socket: UnixDatagram,
    buffer: Box<[u8]>,
    control: ControlBuffer,
}

/// A message and the descriptors that came with it, as many as its header announced.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// Its descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// What to wait for on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// A message, or the end of the stream.
    Readable,
    /// Room for a message.
    Writable,
}

impl Link {
    /// Makes the two ends of a link, both close-on-exec. The keeper gives one to the successor
    /// that it spawns, the other to the predecessor, and must close both, so that the end of one
    /// side is seen by the other.
    ///
    /// # Errors
    /// What `socketpair(2)` says.
    pub fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
        Ok(socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )?)
    }

    /// Takes one end of a link into use.
    ///
    /// # Errors
    /// [`LinkError::NotALink`] if `fd` is anything else.
    pub fn new(fd: OwnedFd) -> Result<Self, LinkError> {
        let number = fd.as_raw_fd();
        let not_a_link = |why: String| LinkError::NotALink { fd: number, why };
        let kind = getsockopt(&fd, sockopt::SockType)
            .map_err(|errno| not_a_link(format!("getsockopt: {errno}")))?;
        if kind != SockType::SeqPacket {
            return Err(not_a_link(format!("its type is {kind:?}")));
        }
        let family = getsockname::<SockaddrStorage>(number).ok().and_then(|name| name.family());
        if family != Some(AddressFamily::Unix) {
            return Err(not_a_link(format!("its family is {family:?}")));
        }
        // The descriptor may have been inherited through an exec without the flag, and its file
        // description belongs to this end alone.
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .and_then(|_| fcntl(&fd, FcntlArg::F_GETFL))
            .and_then(|flags| {
                let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
                fcntl(&fd, FcntlArg::F_SETFL(flags))
            })
            .map_err(|errno| not_a_link(format!("fcntl: {errno}")))?;
        Ok(Self {
            socket: UnixDatagram::from(fd),
            buffer: vec![0; MAX_MESSAGE_BYTES].into_boxed_slice(),
            control: ControlBuffer::default(),
        })
    }

    /// Sends a message with its descriptors: all of it or nothing, without blocking.
    ///
    /// # Errors
    /// A [`LinkError`]; [`LinkError::would_block`] if it has to be tried again later.
    pub fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let frame = wire::encode(message, fds.len())?;
        Ok(send_message(&self.socket, &frame, fds)?)
    }

    /// Receives the next message, `None` if there is none now.
    ///
    /// # Errors
    /// A [`LinkError`]; [`LinkError::is_closed`] at the end of the stream.
    pub fn receive(&mut self) -> Result<Option<Received>, LinkError> {
        match receive_message(&self.socket, &mut self.buffer, &mut self.control) {
            Ok((length, fds)) => {
                let message = wire::decode(&self.buffer[..length], fds.len())?;
                Ok(Some(Received { message, fds }))
            }
            Err(FdError::WouldBlock) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sleeps until the link is ready or `timeout` is over. Returns whether it is ready.
    ///
    /// # Errors
    /// [`FdError::Os`] if `poll(2)` fails.
    pub fn wait(&self, readiness: Readiness, timeout: Duration) -> Result<bool, LinkError> {
        let flags = match readiness {
            Readiness::Readable => PollFlags::POLLIN,
            Readiness::Writable => PollFlags::POLLOUT,
        };
        // Rounded up: a wait that ends early would turn into a spin.
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.socket.as_fd(), flags)];
        match poll(&mut fds, timeout) {
            Ok(count) => Ok(count > 0),
            // The caller looks at its deadline and comes again.
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(FdError::Os { call: "poll", source: errno.into() }.into()),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}
