//! How many bytes a connection has carried, as the kernel counts them.
//!
//! Whoever dies within `read` or `write` leaves it open how far the call came. For TCP the kernel
//! keeps what settles it: written is what was acknowledged (`tcpi_bytes_acked`) and what still
//! waits in the socket (`SIOCOUTQ`); read is what has arrived (`tcpi_bytes_received`) less what
//! waits to be read (`SIOCINQ`). Both are 0 when a connection is accepted. What to know:
//!
//! - The two halves of each sum are read one after the other while the network goes on, so they are
//!   read until nothing has changed in between.
//! - The peer's FIN counts as one byte received that nobody reads.
//! - An urgent byte is received but not read, unless `SO_OOBINLINE` is set before it comes: it is to
//!   be set on the listener, from which connections inherit it.
//! - After our own `shutdown`, or a reset, the counts say nothing. Nor are there any of a Unix
//!   socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What a connection has carried since it was accepted, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCounts {
    /// Taken out of the socket by reading.
    pub read: u64,
    /// Put into it by writing.
    pub written: u64,
}

/// The kernel's `struct tcp_info` (`linux/tcp.h`), as far as it is used here.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpInfo {
    state: u8,
    _before: [u8; 119],
    bytes_acked: u64,
    bytes_received: u64,
}

// The states in which both directions can be settled, from the kernel's `tcp_states.h`.
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;

/// Readings after which a connection that never stands still is given up. Two in a row agree
/// unless bytes arrive or are acknowledged within a microsecond of each other, time after time.
const MOST_READINGS: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Reading {
    state: u8,
    acked: u64,
    received: u64,
    unsent: u64,
    unread: u64,
}

/// What a connection has carried; `None` if that cannot be known: it is no TCP connection, or it
/// has been shut down or reset.
///
/// # Errors
/// What the system says of the descriptor.
pub fn byte_counts(socket: BorrowedFd<'_>) -> io::Result<Option<ByteCounts>> {
    let Some(mut last) = reading(socket)? else { return Ok(None) };
    for _ in 0..MOST_READINGS {
        let Some(next) = reading(socket)? else { return Ok(None) };
        if next == last {
            return Ok(settle(next));
        }
        last = next;
    }
    Ok(None)
}

fn settle(reading: Reading) -> Option<ByteCounts> {
    let fin = match reading.state {
        ESTABLISHED => 0,
        CLOSE_WAIT => 1,
        _ => return None,
    };
    let read = reading.received.checked_sub(reading.unread + fin)?;
    Some(ByteCounts { read, written: reading.acked + reading.unsent })
}

fn reading(socket: BorrowedFd<'_>) -> io::Result<Option<Reading>> {
    let Some(info) = tcp_info(socket)? else { return Ok(None) };
    let unread = queued(socket, libc::FIONREAD)?;
    let unsent = queued(socket, libc::TIOCOUTQ)?;
    let TcpInfo { state, bytes_acked: acked, bytes_received: received, .. } = info;
    Ok(Some(Reading { state, acked, received, unsent, unread }))
}

/// `None` if the socket is not TCP, or the kernel older than the counts (4.2).
fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<Option<TcpInfo>> {
    let mut info = MaybeUninit::<TcpInfo>::zeroed();
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: `info` and `length` are valid for writes during the call, and `length` is the size of
    // `info`, beyond which the kernel writes nothing.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        let other = [libc::EOPNOTSUPP, libc::ENOPROTOOPT];
        let is_other = error.raw_os_error().is_some_and(|code| other.contains(&code));
        return if is_other { Ok(None) } else { Err(error) };
    }
    // SAFETY: it was zeroed, and every bit pattern is a valid value of each of its fields.
    let info = unsafe { info.assume_init() };
    Ok((length as usize == size_of::<TcpInfo>()).then_some(info))
}

/// Bytes in one of a socket's queues.
fn queued(socket: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int to where the third argument points, which is valid for
    // that during the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    if result == 0 { Ok(bytes.max(0) as u64) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{ByteCounts, byte_counts};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        client.set_nonblocking(true).unwrap();
        (client, server)
    }

    fn moved(result: std::io::Result<usize>) -> u64 {
        match result {
            Ok(bytes) => bytes as u64,
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn they_are_what_was_read_and_written_at_every_step() {
        const SEED: u64 = 20;
        let mut rng = StdRng::seed_from_u64(SEED);
        for round in 0..20 {
            let (mut client, mut server) = pair();
            let mut expected = ByteCounts { read: 0, written: 0 };
            let mut buffer = vec![7; 200_000];
            let mut finished = false;
            for step in 0..500 {
                let most = rng.random_range(1..=buffer.len());
                match rng.random_range(0..4) {
                    0 if !finished => drop(client.write(&buffer[..most])),
                    1 => drop(client.read(&mut buffer[..most])),
                    2 => expected.written += moved(server.write(&buffer[..most])),
                    _ => expected.read += moved(server.read(&mut buffer[..most])),
                }
                if step == 250 && round % 2 == 1 {
                    client.shutdown(Shutdown::Write).unwrap();
                    finished = true;
                }
                let found = byte_counts(server.as_fd()).unwrap();
                assert_eq!(found, Some(expected), "seed {SEED}, round {round}, step {step}");
            }
        }
    }

    #[test]
    fn they_are_zero_whatever_waited_before_the_accept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"early").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // The FIN may take its time.
        let mut byte = [0; 5];
        server.peek(&mut byte).unwrap();
        let zero = ByteCounts { read: 0, written: 0 };
        assert_eq!(byte_counts(server.as_fd()).unwrap(), Some(zero));
        server.read_exact(&mut byte).unwrap();
        assert_eq!(server.read(&mut byte).unwrap(), 0);
        assert_eq!(byte_counts(server.as_fd()).unwrap(), Some(ByteCounts { read: 5, ..zero }));
    }

    #[test]
    fn there_are_none_of_what_cannot_be_known() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(byte_counts(one.as_fd()).unwrap(), None);
        let (_client, server) = pair();
        server.shutdown(Shutdown::Both).unwrap();
        assert_eq!(byte_counts(server.as_fd()).unwrap(), None);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(byte_counts(file.as_fd()).is_err());
    }
}
