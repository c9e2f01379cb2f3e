//! One scripted exchange on a connection: bytes to send, and the exact bytes to get back.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll, Token};

/// How long a wave of exchanges may go without a single byte from any of its connections.
const SILENCE: Duration = Duration::from_secs(10);

/// Connections that converse at a time: fewer than any server's backlog of connections to accept
/// (511).
pub const WAVE: usize = 256;

/// What a reply has to be.
#[derive(Debug, Clone)]
pub enum Expect {
    /// These bytes.
    Exactly(Vec<u8>),
    /// An integer reply, which is kept, then these bytes.
    IntegerThen(Vec<u8>),
    /// An integer reply, which is kept, then these bytes, then the reply of `HELLO 3` on a server
    /// without modules.
    IntegerThenHello(Vec<u8>),
}

/// The last bytes of a `HELLO` reply: the empty list of modules.
const HELLO_END: &[u8] = b"modules\r\n*0\r\n";

/// One request (or several) and the state of its answer.
#[derive(Debug)]
pub struct Exchange {
    request: Vec<u8>,
    sent: usize,
    expect: Expect,
    reply: Vec<u8>,
    outcome: Option<Result<Option<u64>, String>>,
}

impl Exchange {
    /// An exchange of `request`, of which the first `sent` bytes went out before.
    pub fn new(request: Vec<u8>, sent: usize, expect: Expect) -> Self {
        Self { request, sent, expect, reply: Vec::new(), outcome: None }
    }

    /// The outcome: the integer of the reply if one was expected, or what went wrong.
    pub fn into_outcome(self) -> Result<Option<u64>, String> {
        self.outcome.unwrap_or_else(|| {
            Err(format!(
                "no full reply in {} s; so far {}",
                SILENCE.as_secs(),
                self.reply.escape_ascii()
            ))
        })
    }

    fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    /// Sends and receives what the socket takes and has. Returns whether anything came.
    fn advance(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
        let mut progress = false;
        if let Err(error) =
            self.send(stream).and_then(|()| self.receive(stream, buffer, &mut progress))
        {
            self.outcome = Some(Err(error.to_string()));
        } else {
            self.judge();
        }
        progress
    }

    fn send(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.sent < self.request.len() {
            match stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        stream: &mut TcpStream,
        buffer: &mut [u8],
        progress: &mut bool,
    ) -> io::Result<()> {
        loop {
            match stream.read(buffer) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                Ok(count) => {
                    self.reply.extend_from_slice(&buffer[..count]);
                    *progress = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the outcome if the reply is complete or cannot be right any more.
    fn judge(&mut self) {
        let (integer, rest, want, hello) = match &self.expect {
            Expect::Exactly(want) => (None, &self.reply[..], want, false),
            Expect::IntegerThen(want) | Expect::IntegerThenHello(want) => {
                let Some(end) = self.reply.windows(2).position(|pair| pair == b"\r\n") else {
                    return;
                };
                let integer = self.reply[..end]
                    .strip_prefix(b":")
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .and_then(|digits| digits.parse().ok());
                if integer.is_none() {
                    self.outcome =
                        Some(Err(format!("not an integer: {}", self.reply.escape_ascii())));
                    return;
                }
                let hello = matches!(self.expect, Expect::IntegerThenHello(_));
                (integer, &self.reply[end + 2..], want, hello)
            }
        };
        let common = rest.len().min(want.len());
        if rest[..common] != want[..common] || (!hello && rest.len() > want.len()) {
            let problem = format!("{} instead of {}", rest.escape_ascii(), want.escape_ascii());
            self.outcome = Some(Err(problem));
        } else if rest.len() >= want.len() && (!hello || rest[want.len()..].ends_with(HELLO_END)) {
            self.outcome = Some(Ok(integer));
        }
    }
}

/// Carries out exchanges until each of them is over or nothing has come for 10 s. The streams are
/// registered with `poll` for reading and writing, edge-triggered, the `i`th as token `first + i`.
pub fn converse(
    poll: &mut Poll,
    first: usize,
    all: &mut [(&mut TcpStream, &mut Exchange)],
) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    let mut events = Events::with_capacity(1024);
    for (stream, exchange) in all.iter_mut() {
        exchange.advance(stream, &mut buffer);
    }
    let mut left = all.iter().filter(|(_, exchange)| !exchange.is_over()).count();
    let mut last_progress = Instant::now();
    while left > 0 && last_progress.elapsed() < SILENCE {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let Token(token) = event.token();
            let Some((stream, exchange)) = token.checked_sub(first).and_then(|at| all.get_mut(at))
            else {
                continue;
            };
            if exchange.is_over() {
                continue;
            }
            if exchange.advance(stream, &mut buffer) {
                last_progress = Instant::now();
            }
            left -= usize::from(exchange.is_over());
        }
    }
    Ok(())
}

/// One request in the protocol's form: an array of bulk strings.
pub fn request(arguments: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(&bulk(argument));
    }
    bytes
}

/// A bulk string.
pub fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}
