//! The keeper's side of the control socket: takes request lines, queues reply lines, never waits
//! for a client.
//!
//! At most [`MAX_CLIENTS`] clients of the same user (or root) at a time, one request of each at a
//! time. A client that says nothing, or does not read, for [`PATIENCE`] is dropped; so is one that
//! sends too long a line or lets more than [`MAX_QUEUE`] bytes of replies pile up. What a dropped
//! client had asked for goes on.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use tracing::{info, warn};

use super::protocol::{MAX_REPLY, MAX_REQUEST, Reply, Request};
use super::runtime_dir;

/// Most clients at a time; further ones are closed at once.
pub const MAX_CLIENTS: usize = 32;

/// How long a client may be silent before its request, or leave a reply unread.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of replies that wait for a client.
pub const MAX_QUEUE: usize = MAX_REPLY + 64 * 1024;

/// Which client; never used twice.
pub type ClientId = u64;

/// What reading from a client brought.
#[derive(Debug)]
pub enum Incoming {
    /// Nothing to do.
    Nothing,
    /// A request to be answered by [`ControlSocket::finish`].
    Request(Request),
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// A request of this client is being worked on: nothing is read meanwhile.
    busy: bool,
    /// The last time that this client, or the keeper towards it, got on.
    moved: Instant,
}

impl Client {
    /// Whether a request is here already, sent behind the one that was just answered.
    fn has_line(&self) -> bool {
        !self.busy && memchr::memchr(b'\n', &self.input).is_some()
    }

    fn interest(&self) -> PollFlags {
        let read = if self.busy { PollFlags::empty() } else { PollFlags::POLLIN };
        // A line that is here already makes no socket readable: being writable serves to come back
        // to it.
        let write = !self.output.is_empty() || self.has_line();
        if write { read | PollFlags::POLLOUT } else { read }
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.busy || !self.output.is_empty()).then(|| self.moved + PATIENCE)
    }
}

/// The listening socket and its clients. Removes its file when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
    clients: BTreeMap<ClientId, Client>,
    next_id: ClientId,
    /// After an `accept` that failed, for want of descriptors say: the socket stays readable, the
    /// loop must not spin.
    paused_until: Option<Instant>,
}

impl ControlSocket {
    /// Listens, under a name that nobody looks for until [`publish`](Self::publish).
    pub fn bind(directory: &Path) -> io::Result<Self> {
        let path = directory.join(format!(".{}.new", std::process::id()));
        // Only a dead keeper with this pid can have left it.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Self::of(listener, path)
    }

    /// A socket that listens at that path already.
    pub fn of(listener: UnixListener, path: PathBuf) -> io::Result<Self> {
        let found = fs::symlink_metadata(&path)?;
        Ok(Self {
            listener,
            path,
            identity: (found.dev(), found.ino()),
            clients: BTreeMap::new(),
            next_id: 0,
            paused_until: None,
        })
    }

    /// The listening socket, to be passed on.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Whether nobody is connected.
    pub fn is_alone(&self) -> bool {
        self.clients.is_empty()
    }

    /// Gives the socket its final name, replacing what a dead keeper with this pid may have left.
    pub fn publish(&mut self, directory: &Path) -> io::Result<()> {
        let path = runtime_dir::own_socket(directory);
        fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listening socket, to be polled for reading; `None` while it is left alone after an
    /// error.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.paused_until.is_none().then(|| self.listener.as_fd())
    }

    /// Each client with what to poll it for.
    pub fn watched(&self) -> impl Iterator<Item = (ClientId, BorrowedFd<'_>, PollFlags)> {
        self.clients.iter().map(|(id, client)| (*id, client.stream.as_fd(), client.interest()))
    }

    /// When the next client's patience is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.clients.values().filter_map(Client::deadline).chain(self.paused_until).min()
    }

    /// Drops clients whose time is over.
    pub fn expire(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|end| now < *end);
        self.clients.retain(|_, client| client.deadline().is_none_or(|deadline| now < deadline));
    }

    /// Takes new clients of the same user or root; closes those that are too many or of other
    /// users.
    pub fn accept(&mut self) {
        // Bounded, so that clients that come and go without end leave the loop its other work.
        for _ in 0..MAX_CLIENTS {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    warn!("cannot accept a control client: {error}");
                    self.paused_until = Some(Instant::now() + Duration::from_secs(1));
                    return;
                }
            };
            if self.clients.len() >= MAX_CLIENTS || !is_permitted(&stream) {
                continue;
            }
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let moved = Instant::now();
            let client =
                Client { stream, input: Vec::new(), output: Vec::new(), busy: false, moved };
            self.clients.insert(self.next_id, client);
            self.next_id += 1;
        }
    }

    /// Serves what the poll found about a client.
    pub fn ready(&mut self, id: ClientId, found: PollFlags) -> Incoming {
        if found.contains(PollFlags::POLLOUT) && self.flush(id).is_err() {
            self.clients.remove(&id);
            return Incoming::Nothing;
        }
        let gone = found.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        let Some(client) = self.clients.get_mut(&id) else { return Incoming::Nothing };
        if client.busy || !(gone || found.contains(PollFlags::POLLIN) || client.has_line()) {
            if gone {
                self.clients.remove(&id);
            }
            return Incoming::Nothing;
        }
        match read_request(client) {
            Ok(None) => Incoming::Nothing,
            Ok(Some(Ok(request))) => {
                client.busy = true;
                Incoming::Request(request)
            }
            Ok(Some(Err(reason))) => {
                self.finish(id, &Reply::Error { reason });
                Incoming::Nothing
            }
            Err(_) => {
                self.clients.remove(&id);
                Incoming::Nothing
            }
        }
    }

    /// Sends a line that is not the last one of its request. Left out if the client does not read.
    pub fn progress(&mut self, id: ClientId, reply: &Reply) {
        if self.clients.get(&id).is_some_and(|client| client.output.len() < 64 * 1024) {
            self.queue(id, reply);
        }
    }

    /// Sends the last line of a request; the client may then ask the next.
    pub fn finish(&mut self, id: ClientId, reply: &Reply) {
        self.queue(id, reply);
        if let Some(client) = self.clients.get_mut(&id) {
            client.busy = false;
            client.moved = Instant::now();
        }
    }

    fn queue(&mut self, id: ClientId, reply: &Reply) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        match serde_json::to_vec(reply) {
            Ok(line) if client.output.len() + line.len() < MAX_QUEUE => {
                if client.output.is_empty() {
                    client.moved = Instant::now();
                }
                client.output.extend_from_slice(&line);
                client.output.push(b'\n');
                if self.flush(id).is_ok() {
                    return;
                }
            }
            Ok(_) => warn!("a control client does not read its replies: dropped"),
            Err(error) => warn!("a reply cannot be written: {error}"),
        }
        self.clients.remove(&id);
    }

    fn flush(&mut self, id: ClientId) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        while !client.output.is_empty() {
            match client.stream.write(&client.output) {
                Ok(written) => {
                    client.output.drain(..written);
                    client.moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        client.output.shrink_to(4096);
        Ok(())
    }

    /// Writes out what clients have not been sent yet, for at most `limit` in all: before the
    /// keeper exits.
    pub fn drain(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        for client in self.clients.values_mut().filter(|client| !client.output.is_empty()) {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let _ = client.stream.set_nonblocking(false);
            let _ = client.stream.set_write_timeout(Some(left));
            let _ = client.stream.write_all(&client.output);
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        runtime_dir::remove_if_same(&self.path, self.identity);
    }
}

fn is_permitted(stream: &UnixStream) -> bool {
    match getsockopt(stream, sockopt::PeerCredentials) {
        Ok(peer) if peer.uid() == 0 || peer.uid() == geteuid().as_raw() => true,
        Ok(peer) => {
            info!("refused a control client of user {}", peer.uid());
            false
        }
        Err(error) => {
            warn!("cannot tell whose a control client is: {error}");
            false
        }
    }
}

/// Reads what is there: `None` while the line is not complete, an error if the client is to be
/// dropped.
fn read_request(client: &mut Client) -> io::Result<Option<Result<Request, String>>> {
    let mut chunk = [0u8; 2048];
    loop {
        if let Some(end) = memchr::memchr(b'\n', &client.input) {
            let line: Vec<u8> = client.input.drain(..=end).collect();
            let request =
                serde_json::from_slice(&line).map_err(|error| format!("no such request: {error}"));
            return Ok(Some(request));
        }
        if client.input.len() >= MAX_REQUEST {
            return Err(ErrorKind::InvalidData.into());
        }
        match client.stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                client.input.extend_from_slice(&chunk[..length]);
                // Only a whole request counts as getting on: one byte now and then does not.
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
