//! Other servers, as commands see them: `MIGRATE` talks to one while everything else waits.
//!
//! Commands touch no socket. What a generation serves with knows how to have connections; tests have
//! peers that are no servers at all.

use std::io;
use std::time::Duration;

/// Where another server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// Name or address of its host.
    pub host: &'a str,
    /// Its TCP port.
    pub port: u16,
}

/// A connection to another server. A call that takes longer than its time-out fails with
/// [`TimedOut`](io::ErrorKind::TimedOut); after any error the connection is of no use.
pub trait Peer {
    /// Sends bytes. The time-out is for each 64 KiB of them.
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<()>;

    /// Receives a line, without what ends it. An end of the stream is an
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    fn receive_line(&mut self, timeout: Duration) -> io::Result<Vec<u8>>;

    /// The database that was selected last, if that is known. The caller keeps it here, since the
    /// connection may be used again.
    fn selected(&mut self) -> &mut Option<i64>;
}

/// Connections to other servers.
pub trait Peers {
    /// A connection to a server: one that was used before, or a new one.
    fn open(&mut self, address: Address<'_>, timeout: Duration) -> io::Result<&mut dyn Peer>;

    /// Closes the connection to a server.
    fn close(&mut self, address: Address<'_>);

    /// Closes connections that have not been used for a while.
    fn close_idle(&mut self);
}

/// No other server can be reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Peers for Nobody {
    fn open(&mut self, _address: Address<'_>, _timeout: Duration) -> io::Result<&mut dyn Peer> {
        Err(io::ErrorKind::NetworkUnreachable.into())
    }

    fn close(&mut self, _address: Address<'_>) {}

    fn close_idle(&mut self) {}
}
