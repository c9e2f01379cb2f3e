//! `hotredis-floor`: what a server on `mio` costs that does nothing. One thread; one read and one write per ready client
//! and wake-up; each request is answered `+OK`, whatever it asks.
//!
//! Requests are counted, not decoded: a `*` before a digit begins one (see [`Client::begun`]). That is right for every
//! request of `redis-benchmark` (its keys and values have no `*`, and `XADD`'s stands before a line's end), and is the
//! least that can tell how many replies are due.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use clap::Parser;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const REPLY: &[u8] = b"+OK\r\n";

/// Bytes read at once.
const INPUT: usize = 64 << 10;

/// Answers every request of every client `+OK`, as cheaply as that can be done.
#[derive(Debug, Parser)]
#[command(name = "hotredis-floor", version)]
struct Arguments {
    /// Port to listen on, of 127.0.0.1.
    #[arg(long)]
    port: u16,
}

struct Client {
    stream: TcpStream,
    /// The last byte read was a `*`.
    star: bool,
}

impl Client {
    /// How many requests begin in what was read.
    fn begun(&mut self, input: &[u8]) -> usize {
        let (Some(first), Some(last)) = (input.first(), input.last()) else { return 0 };
        let across = self.star && first.is_ascii_digit();
        self.star = *last == b'*';
        let within = input.iter().zip(&input[1..]);
        let within = within.filter(|(a, b)| **a == b'*' && b.is_ascii_digit()).count();
        usize::from(across) + within
    }

    /// Reads what is there, and answers it. Returns whether the connection goes on.
    fn turn(&mut self, input: &mut [u8], replies: &mut Vec<u8>) -> bool {
        loop {
            let count = match self.stream.read(input) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            let due = self.begun(&input[..count]) * REPLY.len();
            while replies.len() < due {
                replies.extend_from_slice(REPLY);
            }
            // Nobody measures with a client that does not read its replies.
            if due > 0 && !matches!(self.stream.write(&replies[..due]), Ok(sent) if sent == due) {
                return false;
            }
            // Less than there was room for: whatever comes later is another event.
            if count < input.len() {
                return true;
            }
        }
    }
}

fn main() -> anyhow::Result<()> {
    let Arguments { port } = Arguments::parse();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let (mut input, mut replies) = (vec![0; INPUT], Vec::new());
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(clients.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    clients.push(Some(Client { stream, star: false }));
                }
                continue;
            }
            let place = &mut clients[event.token().0];
            if place.as_mut().is_some_and(|client| !client.turn(&mut input, &mut replies)) {
                *place = None;
            }
        }
    }
}
