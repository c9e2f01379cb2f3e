//! One client's socket.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use handoff::counts::{ByteCounts, byte_counts};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};

use crate::executor::{Carried, Stream};

/// A stream socket of either kind.
#[derive(Debug)]
pub enum Socket {
    /// TCP, IPv4 or IPv6.
    Tcp(TcpStream),
    /// The Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// What the poll watches.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(stream) => stream,
            Socket::Unix(stream) => stream,
        }
    }

    /// Takes over a descriptor that another process accepted: non-blocking already.
    ///
    /// # Errors
    /// If it is no stream socket of a kind that clients come over.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Socket> {
        use std::os::fd::AsRawFd;
        let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
        match address.family() {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                Ok(Socket::Tcp(TcpStream::from_std(fd.into())))
            }
            Some(AddressFamily::Unix) => Ok(Socket::Unix(UnixStream::from_std(fd.into()))),
            other => Err(io::Error::other(format!("a client's socket is of family {other:?}"))),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write_vectored(pieces),
            Socket::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection: its socket, and how it stands with the poll.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub socket: Socket,
    /// `SO_COOKIE` of the socket, by which its session knows it.
    pub cookie: u64,
    /// Whether it is registered for writing too.
    pub wants_write: bool,
    /// Whether it stands in the queue of those that may have more to read.
    pub queued: bool,
    /// The peer has closed its side: read to the end.
    pub peer_closed: bool,
}

impl Connection {
    /// A connection that is not registered yet.
    pub fn new(socket: Socket, cookie: u64) -> Connection {
        Connection { socket, cookie, wants_write: false, queued: false, peer_closed: false }
    }

    /// Ends both directions, so that no duplicate of the descriptor keeps the connection open.
    pub fn shutdown(&self) {
        // It may be gone already.
        let _ = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Stream for Connection {
    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }

    #[inline]
    fn transmit(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn transmit_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        self.socket.write_vectored(&slices)
    }

    fn carried(&self) -> Option<Carried> {
        let ByteCounts { read, written } = byte_counts(self.socket.as_fd()).ok()??;
        Some(Carried { read, written })
    }
}
