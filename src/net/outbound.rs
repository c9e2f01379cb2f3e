//! Connections to other servers, made for a command and kept for the next one.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::executor::peers::{Address, Peer, Peers};

/// Connections that are kept at most.
const KEPT: usize = 64;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(10);
/// What is written at once.
const PIECE: usize = 64 << 10;
/// The longest line that is read, in bytes.
const LINE: usize = 64 << 10;

/// Connections by the address that they were asked for.
#[derive(Debug, Default)]
pub struct Outbound {
    kept: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    host: String,
    port: u16,
    socket: TcpStream,
    used: Instant,
    selected: Option<i64>,
    /// Bytes that were received behind the last line.
    received: Vec<u8>,
}

impl Outbound {
    fn position(&self, address: Address<'_>) -> Option<usize> {
        self.kept.iter().position(|kept| kept.host == address.host && kept.port == address.port)
    }
}

impl Peers for Outbound {
    fn open(&mut self, address: Address<'_>, timeout: Duration) -> io::Result<&mut dyn Peer> {
        let at = match self.position(address) {
            Some(at) => at,
            None => {
                let connection = Connection::new(address, timeout)?;
                if self.kept.len() >= KEPT {
                    let oldest = self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.used);
                    let oldest = oldest.map_or(0, |(at, _)| at);
                    self.kept.swap_remove(oldest);
                }
                self.kept.push(connection);
                self.kept.len() - 1
            }
        };
        let connection = &mut self.kept[at];
        connection.used = Instant::now();
        Ok(connection)
    }

    fn close(&mut self, address: Address<'_>) {
        if let Some(at) = self.position(address) {
            self.kept.swap_remove(at);
        }
    }

    fn close_idle(&mut self) {
        self.kept.retain(|kept| kept.used.elapsed() < IDLE);
    }
}

/// What is left of a time-out; an error if that is nothing.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket with a time-out says that it would block when that has passed.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Connection {
    fn new(address: Address<'_>, timeout: Duration) -> io::Result<Connection> {
        let deadline = Instant::now() + timeout;
        let mut failed = io::ErrorKind::NotFound.into();
        // Resolving a name takes as long as it takes, in Redis too.
        for target in (address.host, address.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&target, left(deadline)?) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(Connection {
                        host: address.host.to_owned(),
                        port: address.port,
                        socket,
                        used: Instant::now(),
                        selected: None,
                        received: Vec::new(),
                    });
                }
                Err(e) => failed = e,
            }
        }
        Err(failed)
    }
}

impl Peer for Connection {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            let deadline = Instant::now() + timeout;
            let mut rest = piece;
            while !rest.is_empty() {
                self.socket.set_write_timeout(Some(left(deadline)?))?;
                match self.socket.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => rest = &rest[written..],
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(timed_out(e)),
                }
            }
        }
        Ok(())
    }

    fn receive_line(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.received[searched..]) {
                let rest = self.received.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.received, rest);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            searched = self.received.len();
            if searched > LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut buffer = [0; 4096];
            self.socket.set_read_timeout(Some(left(deadline)?))?;
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
    }

    fn selected(&mut self) -> &mut Option<i64> {
        &mut self.selected
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn connections_are_kept_until_they_are_closed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let address = Address { host: "127.0.0.1", port };
        let mut outbound = Outbound::default();
        *outbound.open(address, SOON).expect("a connection").selected() = Some(3);
        let (mut other, _) = listener.accept().expect("the same connection");
        other.write_all(b"+OK\r\n-ERR no\n").expect("written");
        let again = outbound.open(address, SOON).expect("the same connection");
        assert_eq!(*again.selected(), Some(3));
        again.send(b"PING\r\n", SOON).expect("sent");
        assert_eq!(again.receive_line(SOON).expect("a line"), b"+OK");
        assert_eq!(again.receive_line(SOON).expect("a line"), b"-ERR no");
        let late = again.receive_line(Duration::from_millis(1)).expect_err("nothing there");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let mut sent = [0; 6];
        other.read_exact(&mut sent).expect("received");
        assert_eq!(&sent, b"PING\r\n");
        outbound.close_idle();
        assert_eq!(outbound.kept.len(), 1);
        outbound.close(address);
        assert_eq!(other.read(&mut sent).expect("the end"), 0);
        *outbound.open(address, SOON).expect("a new one").selected() = None;
    }

    #[test]
    fn no_more_are_kept_than_is_good() {
        let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let mut outbound = Outbound::default();
        for last in 1..=KEPT + 8 {
            let host = format!("127.0.0.{last}");
            outbound.open(Address { host: &host, port }, SOON).expect("a connection");
        }
        assert_eq!(outbound.kept.len(), KEPT);
        assert!(outbound.kept.iter().all(|kept| kept.host != "127.0.0.1"));
    }
}
