//! One of the two servers, with its connections.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::step::{Arg, Command};
use crate::client::{Client, Endpoint, encode};
use crate::server::{Server, Setup};
use crate::value::Value;

/// The password that episodes set: the control connection has to get back in.
pub const PASSWORD: &str = "secret";

/// What a server is asked that is to show that it has come round.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// How long to wait for something that is bound to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something a connection showed in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A reply or push.
    Value(Value),
    /// The server closed the connection.
    Closed,
    /// The server sent something that is no RESP.
    Garbage(String),
}

/// Client ids and addresses of one server, by the order in which connections were opened: the
/// same order on both servers.
#[derive(Debug, Default)]
pub struct Names {
    by_id: HashMap<i64, String>,
    by_addr: HashMap<String, String>,
}

impl Names {
    /// What the connection with this id is called on both sides.
    pub fn of_id(&self, id: i64) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// What the connection with this address is called on both sides.
    pub fn of_addr(&self, addr: &str) -> Option<&str> {
        self.by_addr.get(addr).map(String::as_str)
    }
}

/// One server of a pair.
#[derive(Debug)]
pub struct Side {
    /// The server.
    pub server: Server,
    /// Ids and addresses of all its connections so far.
    pub names: Names,
    control: Client,
    clients: Vec<Client>,
    ids: Vec<i64>,
    opened: usize,
    /// Changes to the data that the server had counted at the last reset.
    changes_before: i64,
}

impl Side {
    /// Starts a server and opens the control connection.
    pub fn start(setup: Setup) -> Self {
        let server = setup.start();
        let control = server.connect();
        let mut side = Self {
            server,
            names: Names::default(),
            control,
            clients: Vec::new(),
            ids: Vec::new(),
            opened: 0,
            changes_before: 0,
        };
        side.register_control().expect("a fresh server answers");
        side
    }

    fn register_control(&mut self) -> io::Result<()> {
        let id = self.control.try_call(&["CLIENT", "ID"])?;
        if let (Value::Integer(id), Some(addr)) = (id, self.control.local_addr()) {
            self.names.by_id.insert(id, "control".into());
            self.names.by_addr.insert(addr.to_string(), "control".into());
        }
        Ok(())
    }

    /// Brings the server back to the state of a fresh one, with `count` new connections.
    pub fn reset(&mut self, count: usize, settings: &[(&str, &str)]) -> io::Result<()> {
        self.heal()?;
        self.clients.clear();
        self.ids.clear();
        self.await_connections(1)?;
        self.names = Names::default();
        self.opened = 0;
        self.register_control()?;
        for (name, value) in settings {
            let reply = self.control.try_call(&["CONFIG", "SET", name, value])?;
            if reply.is_error() {
                return Err(io::Error::other(format!("CONFIG SET {name} {value}: {reply:?}")));
            }
        }
        for command in [
            &["RESET"][..],
            &["CLIENT", "UNPAUSE"],
            &["FLUSHALL"],
            &["DEBUG", "SET-ACTIVE-EXPIRE", "0"],
        ] {
            let reply = self.control.try_call(command)?;
            if reply.is_error() {
                return Err(io::Error::other(format!("{command:?}: {reply:?}")));
            }
        }
        self.changes_before = self.counted_changes()?;
        (0..count).try_for_each(|n| self.open(n))
    }

    /// Changes to the data that the server has counted, and those since the last reset.
    pub fn changes(&mut self) -> io::Result<(i64, i64)> {
        let counted = self.counted_changes()?;
        Ok((counted, counted - self.changes_before))
    }

    fn counted_changes(&mut self) -> io::Result<i64> {
        let info = self.control_call(&["INFO", "persistence"])?;
        let changes = info.text().lines().find_map(|line| {
            line.strip_prefix("rdb_changes_since_last_save:")?.trim().parse().ok()
        });
        changes.ok_or_else(|| io::Error::other(format!("no count of changes: {info:?}")))
    }

    /// Opens connection `n` (anew).
    pub fn open(&mut self, n: usize) -> io::Result<()> {
        let mut client = Client::try_connect(self.server.endpoint())?;
        let addr = client.local_addr().map(|a| a.to_string()).unwrap_or_default();
        let id = self.await_listed(&mut client, &addr)?;
        let name = format!("connection {}", self.opened);
        self.opened += 1;
        self.names.by_id.insert(id, name.clone());
        self.names.by_addr.insert(addr, name);
        if n == self.clients.len() {
            self.clients.push(client);
            self.ids.push(id);
        } else {
            self.clients[n] = client;
            self.ids[n] = id;
        }
        Ok(())
    }

    /// The id of a new connection: it may be accepted after what the control connection asks.
    fn await_listed(&mut self, client: &mut Client, addr: &str) -> io::Result<i64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = self.control_call(&["CLIENT", "LIST"])?;
            let line = list.text().lines().find(|l| field(l, "addr") == Some(addr));
            if let Some(id) = line.and_then(|l| field(l, "id")?.parse().ok()) {
                return Ok(id);
            }
            let words = client.try_drain()?;
            if client.is_closed() || Instant::now() > deadline {
                return Err(io::Error::other(format!("a new connection is refused: {words:?}")));
            }
        }
    }

    /// Closes connection `n` and opens it again once the server has noticed.
    pub fn reconnect(&mut self, n: usize) -> io::Result<()> {
        let _ = self.clients[n].shutdown_write();
        let gone = format!("id={} ", self.ids[n]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = self.control_call(&["CLIENT", "LIST"])?;
            if !list.text().lines().any(|l| l.starts_with(&gone)) {
                return self.open(n);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("c{n} was closed but is still listed")));
            }
        }
    }

    fn await_connections(&mut self, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = self.control_call(&["CLIENT", "LIST"])?;
            if list.text().lines().count() == count {
                return Ok(());
            }
            if Instant::now() > deadline {
                let list = list.text();
                return Err(io::Error::other(format!("connections stay behind:\n{list}")));
            }
        }
    }

    /// Makes sure that the control connection works: commands may have killed it or set a
    /// password. True if it had been closed.
    pub fn heal(&mut self) -> io::Result<bool> {
        let answer = self.control.try_call(&["PING"]);
        if matches!(&answer, Ok(Value::Simple(b)) if b == b"PONG") {
            return Ok(false);
        }
        self.reopen_control().map(|()| true)
    }

    fn reopen_control(&mut self) -> io::Result<()> {
        // Dropped is a connection that has just been accepted when its generation dies: once.
        self.try_reopen_control().or_else(|_| self.try_reopen_control())
    }

    fn try_reopen_control(&mut self) -> io::Result<()> {
        self.control = Client::try_connect(self.server.endpoint())?;
        if self.control.try_call(&["PING"])?.is_error() {
            self.control.try_call(&["AUTH", PASSWORD])?;
        }
        self.register_control()
    }

    /// A command on the control connection.
    pub fn control_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        match self.control.try_call(args) {
            Err(_) => {
                self.heal()?;
                self.control.try_call(args)
            }
            reply => reply,
        }
    }

    /// Commands on the control connection, all at once.
    pub fn control_pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        self.heal()?;
        let mut replies = Vec::with_capacity(commands.len());
        // In portions: neither side may fill the other's socket buffer while it waits.
        for portion in commands.chunks(64) {
            let bytes: Vec<u8> = portion.iter().flat_map(|args| encode(args)).collect();
            self.control.try_send_raw(&bytes)?;
            for _ in portion {
                replies.push(self.control.try_receive()?);
            }
        }
        Ok(replies)
    }

    /// The wire form of commands, with this server's ids and addresses.
    pub fn encode(&self, commands: &[Command]) -> Vec<u8> {
        commands
            .iter()
            .flat_map(|command| {
                let args: Vec<Vec<u8>> = command.args.iter().map(|a| self.resolve(a)).collect();
                encode(&args)
            })
            .collect()
    }

    fn resolve(&self, arg: &Arg) -> Vec<u8> {
        match arg {
            Arg::Bytes(bytes) => bytes.clone(),
            Arg::Id(n) => self.ids[*n % self.ids.len()].to_string().into_bytes(),
            Arg::Addr(n) => {
                let client = &self.clients[*n % self.clients.len()];
                client.local_addr().map(|a| a.to_string()).unwrap_or_default().into_bytes()
            }
            Arg::ServerAddr => match self.server.endpoint() {
                Endpoint::Tcp(SocketAddr::V4(addr)) => addr.to_string().into_bytes(),
                other => format!("{other:?}").into_bytes(),
            },
        }
    }

    /// Sends bytes on connection `n`. That the server has closed it shows when it is read.
    pub fn send(&mut self, n: usize, bytes: &[u8]) {
        let _ = self.clients[n].try_send_raw(bytes);
    }

    /// One go-round of the server's loop, twice: whatever was sent before has had its effect, and
    /// the replies are on their way. True if the control connection was lost meanwhile.
    fn fence(&mut self) -> io::Result<bool> {
        Ok(self.heal()? | self.heal()?)
    }

    /// Sends half of a fence; [`Side::answered`] waits for it. So two servers can be asked at once.
    pub fn ask(&mut self) {
        let _ = self.control.try_send_raw(PING);
    }

    /// Waits for the reply to what [`Side::ask`] has sent. True if the control connection was lost.
    pub fn answered(&mut self) -> io::Result<bool> {
        let answer = self.control.try_receive();
        if matches!(&answer, Ok(Value::Simple(b)) if b == b"PONG") {
            return Ok(false);
        }
        // Not another question on this connection: the answer to the first may come yet.
        self.reopen_control().map(|()| true)
    }

    /// Gathers what the connections received by now; whether it looks like all there is: nothing is
    /// there in part.
    pub fn gather(&mut self, observed: &mut Observation) -> bool {
        observed.events.resize_with(self.clients.len(), Vec::new);
        let mut whole = true;
        for (client, events) in self.clients.iter_mut().zip(&mut observed.events) {
            if matches!(events.last(), Some(Event::Closed | Event::Garbage(_))) {
                continue;
            }
            match client.try_drain() {
                Ok(values) => events.extend(values.into_iter().map(Event::Value)),
                Err(e) => events.push(Event::Garbage(e.to_string())),
            }
            if client.is_closed() {
                events.push(Event::Closed);
            }
            whole &= client.incomplete() == 0;
        }
        whole
    }

    /// Lets the server come to rest and gathers what its connections receive until then, at least as
    /// many events per connection as `at_least` says (or until that is hopeless).
    pub fn settle(&mut self, at_least: &[usize], observed: &mut Observation) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            observed.control_lost |= self.fence()?;
            let before = (observed.received(), self.incomplete());
            self.gather(observed);
            let busy = (observed.received(), self.incomplete()) != before;
            let counts = observed.events.iter().map(Vec::len);
            let short = counts.zip(at_least).any(|(have, want)| have < *want);
            if !(busy || short) || Instant::now() > deadline {
                return Ok(());
            }
        }
    }

    fn incomplete(&self) -> usize {
        self.clients.iter().map(Client::incomplete).sum()
    }

    /// Events of a connection that the server closed: it has to be opened again.
    pub fn closed(&self, n: usize) -> bool {
        self.clients[n].is_closed()
    }

    /// How many connections there are, without the control connection.
    pub fn count(&self) -> usize {
        self.clients.len()
    }
}

/// What all connections of a side showed in a step.
#[derive(Debug, Default)]
pub struct Observation {
    /// By connection.
    pub events: Vec<Vec<Event>>,
    /// Whether the control connection was closed by the server.
    pub control_lost: bool,
}

impl Observation {
    fn received(&self) -> usize {
        self.events.iter().map(Vec::len).sum()
    }
}

/// The value of a field in a line of `CLIENT LIST`.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
