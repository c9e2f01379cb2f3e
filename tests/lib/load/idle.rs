//! Connections that only hold session state, and prove at the end that they still have it.

use mio::net::TcpStream;

use super::exchange::{Exchange, Expect, bulk, request};

/// In every database this key holds the database's number, so that `GET` tells which one is
/// selected.
pub const DB_KEY: &str = "load:db";

/// Databases that idle connections are spread over.
pub const DATABASES: usize = 16;

/// What an idle connection holds beside its database and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    /// A transaction with one queued command.
    Transaction,
    /// A request of which the server has read the first part only.
    HalfRequest,
    Resp3,
    Subscription,
    /// A watched key that nobody touches.
    Watch,
}

/// One idle connection.
#[derive(Debug)]
pub struct Idle {
    /// The socket.
    pub stream: TcpStream,
    index: usize,
    holds: Holds,
    id: u64,
}

impl Idle {
    /// The `index`th idle connection. Every fourth holds more than a database and a name, unless
    /// all are to be `plain`.
    pub fn new(stream: TcpStream, index: usize, plain: bool) -> Self {
        let holds = match index % 20 {
            _ if plain => Holds::Nothing,
            0 => Holds::Transaction,
            1 => Holds::HalfRequest,
            2 => Holds::Resp3,
            3 => Holds::Subscription,
            4 => Holds::Watch,
            _ => Holds::Nothing,
        };
        Self { stream, index, holds, id: 0 }
    }

    /// How the connection is named in messages.
    pub fn describe(&self) -> String {
        format!("idle connection {} (client {}, holding {:?})", self.index, self.id, self.holds)
    }

    /// Keeps the client id that the server gave at the beginning.
    pub fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    /// The exchange that sets up the session's state.
    pub fn opening(&self) -> Exchange {
        let mut bytes = request(&["CLIENT", "ID"]);
        bytes.extend(request(&["CLIENT", "SETNAME", &self.name()]));
        bytes.extend(request(&["SELECT", &self.database()]));
        let mut reply = b"+OK\r\n+OK\r\n".to_vec();
        match self.holds {
            Holds::Nothing => {}
            Holds::Transaction => {
                bytes.extend(request(&["MULTI"]));
                bytes.extend(request(&["GET", DB_KEY]));
                reply.extend_from_slice(b"+OK\r\n+QUEUED\r\n");
            }
            Holds::HalfRequest => bytes.extend_from_slice(&self.closing_request()[..self.cut()]),
            Holds::Resp3 => {
                bytes.extend(request(&["HELLO", "3"]));
                return Exchange::new(bytes, 0, Expect::IntegerThenHello(reply));
            }
            Holds::Subscription => {
                bytes.extend(request(&["SUBSCRIBE", &self.channel()]));
                reply.extend(self.subscription_reply("subscribe", 1));
            }
            Holds::Watch => {
                bytes.extend(request(&["WATCH", DB_KEY]));
                reply.extend_from_slice(b"+OK\r\n");
            }
        }
        Exchange::new(bytes, 0, Expect::IntegerThen(reply))
    }

    /// The exchange that proves that the session's state is still there.
    pub fn closing(&self) -> Exchange {
        let sent = if self.holds == Holds::HalfRequest { self.cut() } else { 0 };
        let database = bulk(&self.database());
        let mut reply = Vec::new();
        match self.holds {
            Holds::Nothing | Holds::HalfRequest | Holds::Resp3 => {}
            Holds::Transaction => {
                reply.extend_from_slice(b"*1\r\n");
                reply.extend_from_slice(&database);
            }
            Holds::Subscription => {
                reply.extend_from_slice(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
                reply.extend(self.subscription_reply("unsubscribe", 0));
            }
            Holds::Watch => {
                reply.extend_from_slice(b"+OK\r\n+QUEUED\r\n*1\r\n");
                reply.extend_from_slice(&database);
            }
        }
        reply.extend(format!(":{}\r\n", self.id).into_bytes());
        reply.extend(bulk(&self.name()));
        reply.extend_from_slice(&database);
        // No such key: the one reply that looks different in RESP3.
        reply.extend_from_slice(if self.holds == Holds::Resp3 { b"_\r\n" } else { b"$-1\r\n" });
        Exchange::new(self.closing_request(), sent, Expect::Exactly(reply))
    }

    fn closing_request(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.holds {
            Holds::Nothing | Holds::HalfRequest | Holds::Resp3 => {}
            Holds::Transaction => bytes.extend(request(&["EXEC"])),
            Holds::Subscription => {
                bytes.extend(request(&["PING"]));
                bytes.extend(request(&["UNSUBSCRIBE", &self.channel()]));
            }
            Holds::Watch => {
                bytes.extend(request(&["MULTI"]));
                bytes.extend(request(&["GET", DB_KEY]));
                bytes.extend(request(&["EXEC"]));
            }
        }
        bytes.extend(request(&["CLIENT", "ID"]));
        bytes.extend(request(&["CLIENT", "GETNAME"]));
        bytes.extend(request(&["GET", DB_KEY]));
        bytes.extend(request(&["GET", "load:missing"]));
        bytes
    }

    /// Where the half-sent request is cut: at every place of `CLIENT ID` in turn.
    fn cut(&self) -> usize {
        1 + (self.index / 20) % (request(&["CLIENT", "ID"]).len() - 1)
    }

    fn name(&self) -> String {
        format!("load-idle-{}", self.index)
    }

    fn database(&self) -> String {
        (self.index % DATABASES).to_string()
    }

    fn channel(&self) -> String {
        format!("load:channel:{}", self.index)
    }

    fn subscription_reply(&self, kind: &str, count: usize) -> Vec<u8> {
        let mut reply = b"*3\r\n".to_vec();
        reply.extend(bulk(kind));
        reply.extend(bulk(&self.channel()));
        reply.extend(format!(":{count}\r\n").into_bytes());
        reply
    }
}
