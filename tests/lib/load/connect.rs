//! Opening many connections from one machine: descriptors and source ports both run out otherwise.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use mio::net::TcpStream;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one source address, which has some 28,000 ephemeral ports. The addresses after
/// the first are other ones than 127.0.0.1, which a server in protected mode refuses.
const PER_SOURCE: usize = 20_000;

/// Descriptors beside the connections: poll, standard streams, files.
const SPARE: u64 = 64;

/// Raises this process's descriptor limit so that `connections` fit, beyond the hard limit too
/// where that is allowed.
pub fn raise_descriptor_limit(connections: usize) -> anyhow::Result<()> {
    let wanted = connections as u64 + SPARE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return Ok(());
    }
    if hard < wanted {
        bail!(
            "{connections} connections need {wanted} descriptors, the hard limit is {hard}: raise it"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("raising the descriptor limit")
}

/// Opens the `index`th connection to `addr`, from a loopback address of its own if the server is on
/// 127.0.0.1.
pub fn open(addr: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    let block = index / PER_SOURCE;
    if addr.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && block > 0 {
        // Without the option the kernel takes a port for good at bind, whatever the destination.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        let source = Ipv4Addr::new(127, 0, 1, 1 + (block % 250) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    // Reset when closed: left in TIME_WAIT, the ports of two runs within a minute would be all
    // there are.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&addr.into(), Duration::from_secs(10))?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}
