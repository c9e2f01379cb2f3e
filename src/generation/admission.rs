//! Accepting connections, and closing them.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;

use handoff::cookie::socket_cookie;
use handoff::predecessor::Predecessor;
use handoff::rlimit::{DESCRIPTOR_RESERVE, descriptor_limit, ensure_descriptor_limit};
use shm::field;
use tracing::{debug, warn};

use super::serving::Generation;
use crate::executor::bump;
use crate::net::connection::{Connection, Socket};
use crate::net::listener::Arrival;
use crate::root::{Counters, Root};
use crate::session::{Accepted, TCP, UNIX};

/// Connections accepted from one listener in one tick; as in Redis.
const ACCEPTS_PER_TICK: usize = 1000;

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const NO_MEMORY: &[u8] = b"-OOM the arena is full\r\n";

/// Redis 7.0.15's own words.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";

/// Raises the limit of open files for so many clients; if the system refuses, says how many it has
/// room for.
pub(super) fn allow_clients(clients: u32) -> Result<(), u64> {
    if ensure_descriptor_limit(u64::from(clients) + DESCRIPTOR_RESERVE).is_ok() {
        return Ok(());
    }
    Err(descriptor_limit().unwrap_or(0).saturating_sub(DESCRIPTOR_RESERVE))
}

impl Generation {
    /// Accepts what waits at a listener. False if more may be waiting that cannot be accepted now
    /// (or that another tick should take), so that it has to be tried again.
    pub(super) fn accept(&mut self, number: usize) -> bool {
        for _ in 0..self.acceptable(ACCEPTS_PER_TICK) {
            let keepalive = self.executor.state.config.tcp_keepalive();
            let Some(listener) = self.poller.listeners().get(number) else { return true };
            match listener.accept(keepalive) {
                Ok(arrival) => self.admit(arrival),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(e) => {
                    // Out of descriptors or memory: those who wait stay in the queue.
                    if !std::mem::replace(&mut self.accept_warned, true) {
                        warn!("cannot accept a connection: {e}; trying again");
                    }
                    self.accept_failed = true;
                    return false;
                }
            }
        }
        false
    }

    /// Makes a session for a connection, or refuses it with Redis's words.
    fn admit(&mut self, arrival: Arrival) {
        (self.accept_failed, self.accept_warned) = (false, false);
        let config = &self.executor.state.config;
        if self.executor.session_count() >= config.maxclients() {
            let counter = field!(field!(self.executor.root(), Root.counters), Counters.rejected);
            bump(&mut self.executor.arena, counter, 1);
            return refuse(arrival.socket, TOO_MANY);
        }
        let open = config.requirepass().is_empty();
        if config.protected_mode() && open && !arrival.is_local {
            return refuse(arrival.socket, PROTECTED);
        }
        let transport = match &arrival.socket {
            Socket::Tcp(_) => TCP,
            Socket::Unix(_) => UNIX,
        };
        let cookie = match socket_cookie(arrival.socket.as_fd()) {
            Ok(cookie) => cookie,
            Err(e) => {
                warn!("closing a new connection: its cookie cannot be read: {e}");
                return;
            }
        };
        let accepted = Accepted {
            cookie,
            transport,
            peer: arrival.peer,
            local: arrival.local,
            now_ms: self.executor.state.now_ms,
            authenticated: open,
        };
        let Ok(slot) = self.executor.accept(&accepted) else {
            return refuse(arrival.socket, NO_MEMORY);
        };
        let connection = Connection::new(arrival.socket, cookie);
        if let Err(e) = self.poller.insert(slot, connection) {
            warn!("closing a new connection: it cannot be watched: {e}");
            let _ = self.executor.close(slot);
            self.poller.remove(slot);
            return;
        }
        if let Some(ticket) = self.poller.ticket(slot) {
            self.tellers().for_each(|machine| machine.accepted(ticket));
        }
        debug!(slot, "accepted a connection");
    }

    /// Who tells others of connections.
    fn tellers(&mut self) -> impl Iterator<Item = &mut Predecessor> {
        let giving = self.giving.as_mut().map(|giving| &mut giving.predecessor);
        giving.into_iter().chain(self.telling.as_mut())
    }

    /// Closes a connection in the order that the design fixes: deregister, `shutdown`, tell every
    /// holder of a duplicate, `close`.
    pub(super) fn close(&mut self, slot: u32) {
        // Replies that wait refer to their sessions.
        self.write_replies();
        let ticket = self.poller.ticket(slot);
        let connection = self.poller.remove(slot);
        if let Some(connection) = &connection {
            connection.shutdown();
        }
        if let Some(ticket) = ticket {
            self.tellers().for_each(|machine| machine.closed(ticket));
        }
        drop(connection);
        if self.executor.close(slot).is_err() {
            // No memory for the undo log even: the session stays, without a socket, until there is.
            self.orphans.push(slot);
        }
    }
}

fn refuse(mut socket: Socket, words: &[u8]) {
    // Best effort, as in Redis: whoever does not read it sees the connection end.
    let _ = socket.write(words);
}
