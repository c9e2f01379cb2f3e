//! Connections as plain files, for tests that care for bytes rather than for replies, and bytes of which
//! each place is known.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use hotredis_tests::client::{Endpoint, TIMEOUT};
use hotredis_tests::rng::Rng;
use hotredis_tests::value::Value;

/// A connection on which no call takes longer than a test may wait.
pub fn connect(endpoint: &Endpoint) -> File {
    let fd: OwnedFd = match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).expect("the server accepts");
            stream.set_nodelay(true).expect("a socket");
            stream.set_read_timeout(Some(TIMEOUT)).expect("a socket");
            stream.set_write_timeout(Some(TIMEOUT)).expect("a socket");
            stream.into()
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).expect("the server accepts");
            stream.set_read_timeout(Some(TIMEOUT)).expect("a socket");
            stream.set_write_timeout(Some(TIMEOUT)).expect("a socket");
            stream.into()
        }
    };
    fd.into()
}

/// Bytes that are nowhere alike, so that a gap or a repetition shows.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let words = (0..length.div_ceil(8)).flat_map(|_| rng.next_u64().to_ne_bytes());
    words.take(length).collect()
}

/// Reads as many bytes and compares them, piece by piece.
#[track_caller]
pub fn expect_bytes(from: &mut File, expected: &[u8], about: &str) {
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < expected.len() {
        let end = piece.len().min(expected.len() - at);
        let read =
            from.read(&mut piece[..end]).unwrap_or_else(|e| panic!("{about}, byte {at}: {e}"));
        assert!(read > 0, "{about}: the connection ended at byte {at}");
        // Not by assert_eq, which would print megabytes.
        assert!(piece[..read] == expected[at..at + read], "{about}: from byte {at} on it is wrong");
        at += read;
    }
}

/// Sends a request of words.
pub fn send(to: &mut File, request: &[u8]) {
    to.write_all(request).unwrap_or_else(|e| panic!("{} bytes cannot be sent: {e}", request.len()));
}

/// Reads the replies of a connection.
pub struct Replies {
    from: File,
    input: Vec<u8>,
    used: usize,
}

impl Replies {
    pub fn new(from: File) -> Self {
        Self { from, input: Vec::new(), used: 0 }
    }

    /// The next one.
    pub fn next(&mut self) -> Value {
        loop {
            let decoded = Value::decode(&self.input[self.used..]).expect("replies are RESP");
            if let Some((value, length)) = decoded {
                self.used += length;
                return value;
            }
            self.input.drain(..std::mem::take(&mut self.used));
            let mut piece = [0; 1 << 16];
            let read = self.from.read(&mut piece).expect("the connection can be read");
            assert!(read > 0, "the connection ended");
            self.input.extend_from_slice(&piece[..read]);
        }
    }
}
