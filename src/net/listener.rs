//! Listening sockets: binding them as Redis's directives say, and accepting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket as Raw, TcpKeepalive, Type};

use super::connection::Socket;

/// A socket that clients connect to.
#[derive(Debug)]
pub enum Listener {
    /// TCP on one address.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket: its path, and device and inode by which it is known to be ours.
    Unix(UnixListener, PathBuf, (u64, u64)),
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// An address that cannot be read.
    #[error("'{0}' is no address to bind to: give an IPv4 or IPv6 address, or '*'")]
    Address(String),
    /// The system refuses.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    System {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// There is a file at the path that is no socket.
    #[error(
        "cannot listen on {0}: there is a file of another kind; remove it or choose another path"
    )]
    Occupied(PathBuf),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another server has it: stop that one or choose another port)"
        }
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need privileges)",
        _ => "",
    }
}

/// Listens on every address of the `bind` directive.
///
/// # Errors
/// The first address that fails, unless it is optional (`-` in front) and this machine lacks it.
pub fn bind_all(bind: &str, port: u16, backlog: u32) -> Result<Vec<Listener>, ListenerError> {
    let mut listeners = Vec::new();
    for word in bind.split_ascii_whitespace() {
        let (name, optional) = match word.strip_prefix('-') {
            Some(name) => (name, true),
            None => (word, false),
        };
        match bind_tcp(address_of(name)?, port, backlog) {
            Ok(listener) => listeners.push(listener),
            Err(ListenerError::System { source, .. }) if optional && is_missing(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

fn is_missing(error: &io::Error) -> bool {
    let missing = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL, libc::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|code| missing.contains(&code))
}

fn address_of(name: &str) -> Result<IpAddr, ListenerError> {
    match name {
        "*" => Ok(Ipv4Addr::UNSPECIFIED.into()),
        "::*" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        other => other.parse().map_err(|_| ListenerError::Address(other.to_owned())),
    }
}

fn bind_tcp(ip: IpAddr, port: u16, backlog: u32) -> Result<Listener, ListenerError> {
    let address = SocketAddr::new(ip, port);
    let failed = |source| ListenerError::System { address: address.to_string(), source };
    let make = || {
        let socket = Raw::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if ip.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        // For connections, which inherit it: a byte sent as urgent is read as any other, so that
        // what was read can be counted.
        socket.set_out_of_band_inline(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket)
    };
    let listener = TcpListener::from_std(make().map_err(failed)?.into());
    let bound = listener.local_addr().map_err(failed)?;
    Ok(Listener::Tcp(listener, bound))
}

/// Listens on a Unix socket. A socket that a dead server left at the path is removed.
///
/// # Errors
/// If the path is taken or the system refuses.
pub fn bind_unix(path: &Path, mode: u32, backlog: u32) -> Result<Listener, ListenerError> {
    let failed = |source| ListenerError::System { address: path.display().to_string(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenerError::Occupied(path.to_owned()));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(failed(io::Error::from(io::ErrorKind::AddrInUse)));
        }
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(_) => {}
    }
    let make = || {
        let socket = Raw::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if mode != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket)
    };
    let fd: OwnedFd = make().map_err(failed)?.into();
    let identity = inode_of(path).map_err(failed)?;
    Ok(Listener::Unix(UnixListener::from_std(fd.into()), path.to_owned(), identity))
}

fn inode_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// A connection just accepted.
#[derive(Debug)]
pub struct Arrival {
    /// Its socket, non-blocking and close-on-exec.
    pub socket: Socket,
    /// The peer's address, as `CLIENT LIST` shows it.
    pub peer: String,
    /// Our address, as `CLIENT LIST` shows it.
    pub local: String,
    /// Whether the peer is on this machine.
    pub is_local: bool,
}

impl Listener {
    /// Takes over a listener that another process made, as [`describe`](Listener::describe) said.
    ///
    /// # Errors
    /// If the description cannot be read or the descriptor is none of its kind.
    pub fn from_parts(description: &[u8], fd: OwnedFd) -> io::Result<Listener> {
        let broken = || io::Error::other("a listener's description cannot be read");
        if SockRef::from(&fd).is_listener()? {
            let text = std::str::from_utf8(description).map_err(|_| broken())?;
            if let Some(path) = text.strip_prefix("unix:") {
                let (numbers, path) = path.split_once('/').ok_or_else(broken)?;
                let (device, inode) = numbers.split_once(':').ok_or_else(broken)?;
                let identity =
                    (device.parse().map_err(|_| broken())?, inode.parse().map_err(|_| broken())?);
                let path = PathBuf::from(path.strip_prefix("./").unwrap_or(path));
                return Ok(Listener::Unix(UnixListener::from_std(fd.into()), path, identity));
            }
            let listener = TcpListener::from_std(fd.into());
            let address = listener.local_addr()?;
            return Ok(Listener::Tcp(listener, address));
        }
        Err(io::Error::other("a descriptor that was passed as a listener does not listen"))
    }

    /// What a successor has to know beside the descriptor.
    pub fn describe(&self) -> Vec<u8> {
        match self {
            Listener::Tcp(_, address) => format!("tcp:{address}").into_bytes(),
            Listener::Unix(_, path, (device, inode)) => {
                format!("unix:{device}:{inode}/{}", path.display()).into_bytes()
            }
        }
    }

    /// The address as shown to people.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(_, address) => address.to_string(),
            Listener::Unix(_, path, _) => path.display().to_string(),
        }
    }

    /// Accepts a connection. `keepalive` is in seconds, 0 for none.
    pub fn accept(&self, keepalive: u32) -> io::Result<Arrival> {
        match self {
            Listener::Tcp(listener, local) => {
                let (stream, peer) = listener.accept()?;
                // A client that has gone already shows itself at the first read.
                let _ = prepare(&stream, keepalive);
                let local = stream.local_addr().unwrap_or(*local);
                Ok(Arrival {
                    socket: Socket::Tcp(stream),
                    peer: peer.to_string(),
                    local: local.to_string(),
                    is_local: is_loopback(peer.ip()),
                })
            }
            Listener::Unix(listener, path, _) => {
                let (stream, _) = listener.accept()?;
                let name = format!("{}:0", path.display());
                Ok(Arrival {
                    socket: Socket::Unix(stream),
                    peer: name.clone(),
                    local: name,
                    is_local: true,
                })
            }
        }
    }

    /// Removes the file of a Unix socket, if it is still ours.
    pub fn remove_file(&self) {
        if let Listener::Unix(_, path, identity) = self
            && inode_of(path).is_ok_and(|found| found == *identity)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}

fn prepare(stream: &mio::net::TcpStream, keepalive: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // Out-of-band bytes would be counted by the kernel and never read.
    socket.set_out_of_band_inline(true)?;
    if keepalive > 0 {
        // As Redis divides it: the time to the first probe, then a third of it between probes.
        let interval = (keepalive / 3).max(1);
        let settings = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive.into()))
            .with_interval(Duration::from_secs(interval.into()))
            .with_retries(3);
        socket.set_tcp_keepalive(&settings)?;
    }
    Ok(())
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener, _) => listener.as_fd(),
            Listener::Unix(listener, _, _) => listener.as_fd(),
        }
    }
}
