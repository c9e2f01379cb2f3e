//! Connections that send pipelined `INCR`s and expect the next number from every reply.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use rand::{RngExt, rngs::StdRng};

use super::exchange::{Exchange, Expect, bulk, request};
use super::report::Faults;
use super::timeline::Timeline;

/// Counters begin this far apart, so that a reply meant for another connection cannot look right.
const STRIDE: u64 = 1_000_000_000;

/// A number this far ahead of the expected one is somebody else's, not one after some that were
/// lost.
const FAR: u64 = 10_000;

/// Batches that may be unanswered at a time in open loop; beyond it the server is not keeping up
/// anyway.
const OUTSTANDING_BATCHES: usize = 64;

/// The longest reply line that can be right: an integer, or an error message.
const LONGEST_LINE: usize = 512;

/// The second half of a cut request follows after this many milliseconds, at least and at most.
const HOLD_MS: (u64, u64) = (1, 10);

/// Requests sent at once.
#[derive(Debug)]
struct Batch {
    count: u64,
    answered: u64,
    /// When the first of them was sent, or was due in open loop.
    sent: Instant,
    /// How many were whole before the cut, if there was one.
    whole: u64,
    /// When the rest was sent.
    rest_sent: Option<Instant>,
}

/// Bytes that are held back: everything of the output from `at` on, until `until`.
#[derive(Debug)]
struct Held {
    at: usize,
    until: Instant,
}

/// One busy connection.
#[derive(Debug)]
pub struct Busy {
    /// The socket.
    pub stream: TcpStream,
    index: usize,
    id: u64,
    command: Vec<u8>,
    /// The number that the next reply has to be.
    next: u64,
    sent_requests: u64,
    replies: u64,
    batches: VecDeque<Batch>,
    output: Vec<u8>,
    written: usize,
    held: Option<Held>,
    input: Vec<u8>,
    missing: BTreeSet<u64>,
    broken: bool,
    /// What is wrong with this connection so far.
    pub faults: Faults,
    /// The first thing that went wrong, in words.
    pub problem: Option<String>,
}

impl Busy {
    /// The `index`th busy connection.
    pub fn new(stream: TcpStream, index: usize) -> Self {
        Self {
            stream,
            index,
            id: 0,
            command: request(&["INCR", &key(index)]),
            next: index as u64 * STRIDE + 1,
            sent_requests: 0,
            replies: 0,
            batches: VecDeque::new(),
            output: Vec::new(),
            written: 0,
            held: None,
            input: Vec::new(),
            missing: BTreeSet::new(),
            broken: false,
            faults: Faults::default(),
            problem: None,
        }
    }

    /// The exchange that asks for the client's id and sets its counter.
    pub fn opening(&self) -> Exchange {
        let mut bytes = request(&["CLIENT", "ID"]);
        bytes.extend(request(&["CLIENT", "SETNAME", &format!("load-busy-{}", self.index)]));
        bytes.extend(request(&["SET", &key(self.index), &(self.next - 1).to_string()]));
        Exchange::new(bytes, 0, Expect::IntegerThen(b"+OK\r\n+OK\r\n".to_vec()))
    }

    /// The exchange that proves that this is the same client, and the counter what the requests
    /// sent make it.
    pub fn closing(&self) -> Exchange {
        let mut bytes = request(&["CLIENT", "ID"]);
        bytes.extend(request(&["GET", &key(self.index)]));
        let mut reply = format!(":{}\r\n", self.id).into_bytes();
        let sum = self.index as u64 * STRIDE + self.sent_requests;
        reply.extend(bulk(&sum.to_string()));
        Exchange::new(bytes, 0, Expect::Exactly(reply))
    }

    /// Keeps the client id that the server gave at the beginning.
    pub fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    /// Requests sent, and replies received to them.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent_requests, self.replies)
    }

    /// Whether every request has its reply.
    pub fn is_quiet(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether the connection is of no more use: closed by the server, or out of step with it.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether another batch may be sent in open loop.
    pub fn takes_more(&self) -> bool {
        !self.broken && self.batches.len() < OUTSTANDING_BATCHES
    }

    /// When the second half of a cut request is to go out, if one is held back.
    pub fn held_until(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Queues `count` requests, cut somewhere with probability `split_ratio`; latency counts from
    /// `sent`.
    pub fn queue(&mut self, count: usize, split_ratio: f64, sent: Instant, rng: &mut StdRng) {
        let begin = self.output.len();
        for _ in 0..count {
            self.output.extend_from_slice(&self.command);
        }
        let mut whole = count as u64;
        if self.held.is_none() && split_ratio > 0.0 && rng.random_bool(split_ratio) {
            let mut cut = rng.random_range(1..count * self.command.len());
            if cut.is_multiple_of(self.command.len()) {
                cut += 1;
            }
            whole = (cut / self.command.len()) as u64;
            let wait = Duration::from_millis(rng.random_range(HOLD_MS.0..=HOLD_MS.1));
            self.held = Some(Held { at: begin + cut, until: Instant::now() + wait });
        }
        self.sent_requests += count as u64;
        self.batches.push_back(Batch {
            count: count as u64,
            answered: 0,
            sent,
            whole,
            rest_sent: None,
        });
    }

    /// Writes what may be written now. Held back bytes go out once their time has come.
    pub fn flush(&mut self, now: Instant) {
        if self.held.as_ref().is_some_and(|held| held.until <= now) {
            self.held = None;
            // The batch that was cut is the last one that is not whole yet; any later one was
            // queued behind it.
            if let Some(batch) = self
                .batches
                .iter_mut()
                .find(|batch| batch.whole < batch.count && batch.rest_sent.is_none())
            {
                batch.rest_sent = Some(now);
            }
        }
        let end = self.held.as_ref().map_or(self.output.len(), |held| held.at);
        while self.written < end && !self.broken {
            match self.stream.write(&self.output[self.written..end]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.lose(&error),
            }
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }

    /// Reads and checks what has come.
    pub fn receive(&mut self, timeline: &mut Timeline, buffer: &mut [u8]) {
        while !self.broken {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.lose(&io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                Ok(count) => {
                    self.take(&buffer[..count], timeline);
                    // Less than asked for: the socket is empty, and edge-triggered polling tells of
                    // more.
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.lose(&error),
            }
        }
    }

    /// Closes the account: what has no reply now never gets one.
    pub fn settle(&mut self) {
        let unanswered = self.sent_requests.saturating_sub(self.replies);
        if unanswered > 0 {
            self.faults.unanswered += unanswered;
            self.note(format!("{unanswered} requests got no reply"));
        }
        self.faults.skipped += self.missing.len() as u64;
    }

    /// Notes the outcome of the closing exchange.
    pub fn verify(&mut self, outcome: Result<Option<u64>, String>) {
        if let Err(problem) = outcome {
            self.faults.wrong_at_end += 1;
            self.note(format!("at the end: {problem}"));
        }
    }

    fn take(&mut self, bytes: &[u8], timeline: &mut Timeline) {
        let now = Instant::now();
        let mut carried = std::mem::take(&mut self.input);
        let mut rest = if carried.is_empty() {
            bytes
        } else {
            carried.extend_from_slice(bytes);
            &carried[..]
        };
        while !self.broken {
            let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { break };
            self.reply(&rest[..end], now, timeline);
            rest = &rest[end + 2..];
        }
        if rest.len() > LONGEST_LINE {
            self.garble(rest);
        } else {
            self.input = rest.to_vec();
        }
    }

    fn reply(&mut self, line: &[u8], now: Instant, timeline: &mut Timeline) {
        match line.split_first() {
            Some((b':', digits)) => {
                let number =
                    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
                let Some(number) = number else { return self.garble(line) };
                if self.count_reply(now, timeline) {
                    self.check(number);
                } else {
                    // The last one, if an earlier one came twice: it is no less the next number.
                    self.next += u64::from(number == self.next);
                    self.faults.unsolicited += 1;
                    self.note(format!("reply {number} to no request"));
                }
            }
            Some((b'-', message)) => {
                self.count_reply(now, timeline);
                self.faults.error_replies += 1;
                self.note(format!("error reply: {}", message.escape_ascii()));
            }
            _ => self.garble(line),
        }
    }

    /// Takes a reply off the account of the oldest batch; false if none was due.
    fn count_reply(&mut self, now: Instant, timeline: &mut Timeline) -> bool {
        let Some(batch) = self.batches.front_mut() else { return false };
        let sent = if batch.answered < batch.whole {
            batch.sent
        } else {
            batch.rest_sent.unwrap_or(batch.sent)
        };
        timeline.replies(now, sent, 1);
        self.replies += 1;
        batch.answered += 1;
        if batch.answered == batch.count {
            self.batches.pop_front();
        }
        true
    }

    fn check(&mut self, number: u64) {
        if number == self.next {
            self.next += 1;
        } else if number > self.next && number - self.next <= FAR {
            self.note(format!("{number} instead of {}", self.next));
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.faults.reordered += 1;
            self.note(format!("{number} came late, after {}", self.next - 1));
        } else if number < self.next && number > self.index as u64 * STRIDE {
            self.faults.repeated += 1;
            self.note(format!("{number} again, instead of {}", self.next));
        } else {
            self.faults.foreign += 1;
            self.note(format!(
                "{number} instead of {}: the reply of another connection",
                self.next
            ));
        }
    }

    fn garble(&mut self, bytes: &[u8]) {
        self.faults.malformed += 1;
        self.note(format!("not a reply: {}", bytes[..bytes.len().min(64)].escape_ascii()));
        self.broken = true;
    }

    fn lose(&mut self, error: &io::Error) {
        self.faults.disconnected += 1;
        self.note(error.to_string());
        self.broken = true;
    }

    fn note(&mut self, what: String) {
        let index = self.index;
        self.problem.get_or_insert_with(|| format!("busy connection {index}: {what}"));
    }
}

/// The key of the `index`th busy connection.
pub fn key(index: usize) -> String {
    format!("load:counter:{index}")
}
