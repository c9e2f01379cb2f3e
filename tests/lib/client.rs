//! A small blocking RESP client for tests.
//!
//! It does what a test says and nothing else: no reconnects, no handshake, no interpretation of
//! replies. Methods named `try_*` return errors; their short forms panic with what was sent and
//! what happened, which is what a test wants.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;

use crate::value::{Value, quoted};

/// How long a blocking read or write may take before the test fails.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An IPv4 or IPv6 address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    input: Vec<u8>,
    /// Bytes of `input` that were decoded already.
    used: usize,
    closed: bool,
}

/// The bytes of a request in the form every client library sends (an array of bulk strings).
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Arguments as one would type them into `redis-cli`.
pub fn command_line<A: AsRef<[u8]>>(args: &[A]) -> String {
    args.iter().map(|a| quoted(a.as_ref())).collect::<Vec<_>>().join(" ")
}

impl Client {
    /// Connects, with `TIMEOUT` on all later reads and writes.
    pub fn try_connect(endpoint: &Endpoint) -> io::Result<Self> {
        let stream = match endpoint {
            Endpoint::Tcp(addr) => {
                let stream = TcpStream::connect_timeout(addr, TIMEOUT)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        let client = Self { stream, input: Vec::new(), used: 0, closed: false };
        client.set_timeout(TIMEOUT)?;
        Ok(client)
    }

    /// Connects.
    ///
    /// # Panics
    /// If the server refuses.
    #[track_caller]
    pub fn connect(endpoint: &Endpoint) -> Self {
        Self::try_connect(endpoint)
            .unwrap_or_else(|e| panic!("cannot connect to {endpoint:?}: {e}"))
    }

    /// Sets the timeout of blocking reads and writes.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => {
                s.set_read_timeout(Some(timeout))?;
                s.set_write_timeout(Some(timeout))
            }
            Stream::Unix(s) => {
                s.set_read_timeout(Some(timeout))?;
                s.set_write_timeout(Some(timeout))
            }
        }
    }

    /// This end's address as `ip:port`, as `CLIENT LIST` shows it; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(s) => s.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    /// The socket, for options and polls of a test's own.
    pub fn fd(&self) -> RawFd {
        match &self.stream {
            Stream::Tcp(s) => s.as_raw_fd(),
            Stream::Unix(s) => s.as_raw_fd(),
        }
    }

    /// Sends bytes as they are.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(s) => s.write_all(bytes),
            Stream::Unix(s) => s.write_all(bytes),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the connection does not take them within the timeout.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(e) = self.try_send_raw(bytes) {
            panic!("sending {} failed: {e}", quoted(&bytes[..bytes.len().min(200)]));
        }
    }

    /// Sends one request without waiting for its reply.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_raw(&encode(args));
    }

    /// Closes the sending half: the server sees end of file.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => s.shutdown(std::net::Shutdown::Write),
            Stream::Unix(s) => s.shutdown(std::net::Shutdown::Write),
        }
    }

    /// Ends the connection with a reset: what has not been read or sent is thrown away on both sides.
    pub fn reset(self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => SockRef::from(s).set_linger(Some(Duration::ZERO)),
            Stream::Unix(s) => SockRef::from(s).set_linger(Some(Duration::ZERO)),
        }
    }

    /// The next value that is complete in the buffer.
    fn buffered(&mut self) -> io::Result<Option<Value>> {
        let decoded = Value::decode(&self.input[self.used..]).map_err(|e| {
            let near = &self.input[self.used..];
            let near = quoted(&near[..near.len().min(120)]);
            io::Error::new(ErrorKind::InvalidData, format!("{e}, in {near}"))
        })?;
        let Some((value, len)) = decoded else { return Ok(None) };
        self.used += len;
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        } else if self.used > 1 << 20 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        Ok(Some(value))
    }

    /// The next reply or push. `UnexpectedEof` when the server closed the connection,
    /// `InvalidData` when what it sent is no RESP, `TimedOut` or `WouldBlock` after the timeout.
    pub fn try_receive(&mut self) -> io::Result<Value> {
        loop {
            if let Some(value) = self.buffered()? {
                return Ok(value);
            }
            let mut chunk = [0; 64 * 1024];
            let n = match &mut self.stream {
                Stream::Tcp(s) => s.read(&mut chunk)?,
                Stream::Unix(s) => s.read(&mut chunk)?,
            };
            if n == 0 {
                self.closed = true;
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&chunk[..n]);
        }
    }

    /// The next reply or push.
    ///
    /// # Panics
    /// If none comes within the timeout, the connection is closed or the bytes are no RESP.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        self.try_receive().unwrap_or_else(|e| panic!("no reply: {e}"))
    }

    /// Sends a request and returns the next value received.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.try_send_raw(&encode(args))?;
        self.try_receive()
    }

    /// Sends a request and returns the next value received.
    ///
    /// # Panics
    /// As `receive`.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.try_call(args).unwrap_or_else(|e| panic!("{}: {e}", command_line(args)))
    }

    /// Sends all requests at once and returns as many values.
    ///
    /// # Panics
    /// As `receive`.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Value> {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        self.send_raw(&bytes);
        commands.iter().map(|_| self.receive()).collect()
    }

    /// Values that have arrived by now, without waiting. Sees the end of the connection too:
    /// `is_closed` says so afterwards.
    pub fn try_drain(&mut self) -> io::Result<Vec<Value>> {
        let mut chunk = [0; 64 * 1024];
        while !self.closed {
            match recv(self.fd(), &mut chunk, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::ECONNRESET) => self.closed = true,
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let mut all = Vec::new();
        while let Some(value) = self.buffered()? {
            all.push(value);
        }
        Ok(all)
    }

    /// Bytes received that are no complete value yet.
    pub fn incomplete(&self) -> usize {
        self.input.len() - self.used
    }

    /// Whether a read has seen the end of the connection.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Waits until the server closes the connection; the values that came before the end.
    ///
    /// # Panics
    /// If it does not close it within the timeout, or sends something that is no RESP.
    #[track_caller]
    pub fn receive_until_closed(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.try_receive() {
                Ok(value) => all.push(value),
                Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof) => return all,
                Err(e)
                    if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
                {
                    self.closed = true;
                    return all;
                }
                Err(e) => panic!("the connection was not closed: {e}; received {all:?}"),
            }
            assert!(Instant::now() < deadline, "the server keeps talking; received {all:?}");
        }
    }
}
