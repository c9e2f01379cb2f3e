//! Connections that play a play, and know every byte that they have sent and received.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hotredis_tests::client::{Client, Endpoint, encode};
use hotredis_tests::server::info_field;
use hotredis_tests::value::{Value, quoted};
use socket2::SockRef;

use crate::plays::{Cut, Play};

/// Longer than a server takes that is traced, or dies, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client, from its connection on.
pub struct Player {
    stream: TcpStream,
    pub sent: Vec<u8>,
    pub received: Vec<u8>,
    /// How much of that was compared with what it had to be.
    heard: usize,
}

impl Player {
    fn connect(endpoint: &Endpoint) -> Self {
        let Endpoint::Tcp(address) = endpoint else { panic!("{endpoint:?} is no port") };
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream, sent: Vec::new(), received: Vec::new(), heard: 0 }
    }

    /// The address by which the server knows it.
    pub fn address(&self) -> std::net::SocketAddr {
        self.stream.local_addr().expect("it is connected")
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.sent.extend_from_slice(bytes);
        self.stream.write_all(bytes).map_err(|error| format!("sending: {error}"))
    }

    fn receive(&mut self) -> Result<(), String> {
        let mut piece = [0; 1 << 16];
        match self.stream.read(&mut piece) {
            Ok(0) => Err("the connection has ended".into()),
            Ok(length) => {
                self.received.extend_from_slice(&piece[..length]);
                Ok(())
            }
            Err(error) => Err(format!("receiving: {error}")),
        }
    }

    /// Takes what has come, without waiting.
    pub fn drain(&mut self) -> Result<(), String> {
        let mut piece = [0; 1 << 16];
        self.stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        let result = loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break Err("the connection has ended".into()),
                Ok(length) => self.received.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(format!("receiving: {error}")),
            }
        };
        self.stream.set_nonblocking(false).map_err(|error| error.to_string())?;
        result
    }

    /// Waits for so many bytes, which must be these.
    fn expect(&mut self, reply: &[u8]) -> Result<(), String> {
        while self.received.len() < self.heard + reply.len() {
            let complete = reply.starts_with(&self.received[self.heard..]);
            let came = brief(&self.received[self.heard..]);
            if !complete {
                return Err(format!("{came} came instead of {}", brief(reply)));
            }
            self.receive().map_err(|why| format!("{why}, after {came} of {}", brief(reply)))?;
        }
        let came = &self.received[self.heard..][..reply.len()];
        if came != reply {
            return Err(format!("{} came instead of {}", brief(came), brief(reply)));
        }
        self.heard += reply.len();
        Ok(())
    }

    /// Asks for something whose reply varies.
    fn ask(&mut self, request: &[u8]) -> Result<Value, String> {
        self.send(request)?;
        loop {
            let decoded = Value::decode(&self.received[self.heard..]);
            if let Some((value, length)) = decoded.map_err(|error| error.to_string())? {
                self.heard += length;
                return Ok(value);
            }
            self.receive()?;
        }
    }

    fn say(&mut self, request: &[u8], reply: &[u8]) -> Result<(), String> {
        self.send(request)?;
        self.expect(reply)
    }
}

/// The clients of a play.
pub struct Cast {
    pub play: Play,
    pub players: Vec<Player>,
}

impl Cast {
    /// Connects the clients, and plays what comes before.
    pub fn assemble(endpoint: &Endpoint, play: &Play) -> Self {
        let players = (0..play.clients).map(|_| Player::connect(endpoint)).collect();
        let mut cast = Self { play: play.clone(), players };
        cast.set_up().unwrap_or_else(|why| panic!("{}, in its setup: {why}", play.name));
        if let Cut::Begun(length) = play.cut {
            let begun = &play.requests[0][..length];
            cast.players[0].send(begun).expect("the server is there");
            let address = format!(" addr={} ", cast.players[0].address());
            let begun = format!(" qbuf={length} ");
            let mut control = Client::connect(endpoint);
            await_that("half a request is read", || {
                let list = control.call(&["CLIENT", "LIST"]);
                let lines = list.text().lines();
                lines.into_iter().any(|line| line.contains(&address) && line.contains(&begun))
            });
        }
        cast
    }

    fn set_up(&mut self) -> Result<(), String> {
        let mut waiting = 0;
        for (client, request, reply) in &self.play.setup {
            match reply {
                Some(reply) => self.players[*client].say(request, reply)?,
                None => {
                    self.players[*client].send(request)?;
                    waiting += 1;
                    let control = &mut self.players[0];
                    await_that("a client waits", || {
                        let info = control.ask(&encode(&["INFO", "clients"])).expect("INFO");
                        info_field(info.text(), "blocked_clients") == Some(waiting.to_string())
                    });
                }
            }
        }
        Ok(())
    }

    /// What a client sends in [`begin`](Cast::begin), and what in [`conclude`](Cast::conclude).
    fn requests(&self, client: usize) -> (&[u8], &[u8]) {
        let all = &self.play.requests[client];
        match self.play.cut {
            Cut::Begun(length) if client == 0 => (&all[length..], &[]),
            Cut::Unfinished(length) if client == 0 => all.split_at(all.len() - length),
            _ => (all, &[]),
        }
    }

    /// What a client must have received before [`conclude`](Cast::conclude), and what comes of that.
    pub fn replies(&self, client: usize) -> (&[u8], &[u8]) {
        let all = &self.play.replies[client];
        match self.play.cut {
            Cut::Unfinished(_) if client == 0 => {
                let mut last = 0;
                let mut at = 0;
                while let Ok(Some((_, length))) = Value::decode(&all[at..]) {
                    (last, at) = (at, at + length);
                }
                all.split_at(last)
            }
            _ => (all, &[]),
        }
    }

    /// What a client sends when all else is over.
    pub fn rest(&self, client: usize) -> &[u8] {
        self.requests(client).1
    }

    /// Sends everything.
    pub fn begin(&mut self) -> Result<(), String> {
        for client in 0..self.players.len() {
            let bytes = self.requests(client).0.to_vec();
            self.players[client].send(&bytes)?;
        }
        Ok(())
    }

    /// Waits for everything that comes of it.
    pub fn hear(&mut self) -> Result<(), String> {
        for client in 0..self.players.len() {
            let reply = self.replies(client).0.to_vec();
            let heard = self.players[client].expect(&reply);
            heard.map_err(|why| format!("client {client}: {why}"))?;
        }
        Ok(())
    }

    /// Sends what is left, and compares the data. Nothing else may have come.
    pub fn conclude(&mut self) -> Result<(), String> {
        for client in 0..self.players.len() {
            let (request, reply) = (self.rest(client).to_vec(), self.replies(client).1.to_vec());
            self.players[client].say(&request, &reply)?;
        }
        for (client, request, reply) in &self.play.finale {
            let said = self.players[*client].say(request, reply);
            said.map_err(|why| format!("client {client}, in the end: {why}"))?;
        }
        for (client, player) in self.players.iter_mut().enumerate() {
            player.drain()?;
            let more = &player.received[player.heard..];
            if !more.is_empty() {
                return Err(format!("client {client} heard {} as well", brief(more)));
            }
        }
        Ok(())
    }
}

/// What somebody does while the server dies.
pub type Act = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Connects the clients of a play; what it gives plays it to the end.
pub fn prepare(endpoint: &Endpoint, play: &Play) -> Act {
    let mut cast = Cast::assemble(endpoint, play);
    Box::new(move || {
        let played = cast.begin().and_then(|()| cast.hear()).and_then(|()| cast.conclude());
        played.map_err(|why| format!("{}: {why}", cast.play.name))
    })
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    Close,
    HalfClose,
    Reset,
}

/// Connections that come, count, and go in each way. One that dies in its `accept` may be dropped: then
/// it has not run its command.
pub fn come_and_go(endpoint: &Endpoint) -> Act {
    Client::connect(endpoint).call(&["FLUSHALL"]);
    let endpoint = endpoint.clone();
    Box::new(move || {
        let (mut count, mut dropped) = (0, 0);
        for end in [End::Close, End::HalfClose, End::Reset, End::Close] {
            let mut player = Player::connect(&endpoint);
            let said =
                player.say(&encode(&["INCR", "n"]), format!(":{}\r\n", count + 1).as_bytes());
            match said {
                Ok(()) => count += 1,
                // Nothing came: it must not have run, which the next number shows.
                Err(_) if player.received.is_empty() => {
                    dropped += 1;
                    continue;
                }
                Err(why) => return Err(why),
            }
            match end {
                End::Close => {}
                End::Reset => {
                    let linger = Some(Duration::ZERO);
                    SockRef::from(&player.stream).set_linger(linger).map_err(|e| e.to_string())?;
                }
                End::HalfClose => {
                    let request = encode(&["INCR", "n"]);
                    player.send(&request)?;
                    let shut = player.stream.shutdown(std::net::Shutdown::Write);
                    shut.map_err(|error| error.to_string())?;
                    count += 1;
                    player.expect(format!(":{count}\r\n").as_bytes())?;
                }
            }
        }
        let reply = format!("${}\r\n{count}\r\n", count.to_string().len());
        loop {
            let mut player = Player::connect(&endpoint);
            match player.say(&encode(&["GET", "n"]), reply.as_bytes()) {
                Err(_) if player.received.is_empty() && dropped == 0 => dropped += 1,
                Ok(()) if dropped > 1 => {
                    return Err(format!("one death has dropped {dropped} connections"));
                }
                said => return said,
            }
        }
    })
}

/// The beginning of a reply.
fn brief(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=300 => quoted(bytes),
        length => format!("{} and so on, {length} bytes", quoted(&bytes[..300])),
    }
}

/// Waits until something holds.
#[track_caller]
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}
