//! Connections that are blocked on keys, fed now and then: each item has to come once, and to the
//! client whose turn it is.
//!
//! They form *circles*: one key, one blocking command, one feeder, and waiters of whom the model knows
//! the order. Who is served blocks again, at the end of the queue. It sends an `ECHO` in front of its
//! command in the same write, whose reply says that the command has blocked too: both run in one turn.
//! Waiters of a circle block one after another, so that their order is never in doubt.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use rand::{RngExt, rngs::StdRng};

use super::exchange::{Exchange, Expect, bulk, request};
use super::idle::DATABASES;

/// Waiters of a circle, at most.
pub const PER_CIRCLE: usize = 25;

/// From one feeding of a circle to the next, in milliseconds, at least and at most.
const PAUSE_MS: (u64, u64) = (10, 60);

/// Items of one feeding, at most.
const ITEMS: usize = 3;

/// Items of different circles begin this far apart, so that one meant for another cannot look right.
const STRIDE: u64 = 1_000_000_000;

/// How the clients of a circle wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `BLPOP`.
    List,
    /// `BZPOPMIN`.
    Zset,
    /// `XREAD`: every waiter gets every entry.
    Stream,
    /// `XREADGROUP`, one entry each.
    Group,
}

/// What a member does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A waiter: is blocked, and gets nothing. The feeder: has nothing to do.
    Resting,
    /// Something has to come: the item for a waiter, the reply for the feeder.
    Expecting,
    /// A waiter is about to be blocked again.
    Joining,
    /// It got what it should not, or lost its connection.
    Broken,
}

/// One connection.
#[derive(Debug)]
struct Member {
    stream: TcpStream,
    id: u64,
    stage: Stage,
    /// Bytes that have to come.
    wanted: Vec<u8>,
    problem: Option<String>,
}

/// A key with those who wait for it.
#[derive(Debug)]
struct Circle {
    kind: Kind,
    index: usize,
    /// The feeder first.
    members: Vec<Member>,
    /// Waiters that are blocked, in order.
    queue: VecDeque<usize>,
    /// Waiters that were served and are to block again, one after another.
    to_join: VecDeque<usize>,
    /// The item fed last.
    item: u64,
    due: Instant,
    delivered: u64,
}

/// All circles.
#[derive(Debug, Default)]
pub struct Waiting {
    circles: Vec<Circle>,
}

/// Where a connection stands: its circle, and its place there.
fn place(token: usize) -> (usize, usize) {
    (token / (PER_CIRCLE + 1), token % (PER_CIRCLE + 1))
}

impl Waiting {
    /// Connections that so many waiters take, feeders among them.
    pub fn connections(waiters: usize) -> usize {
        waiters + waiters.div_ceil(PER_CIRCLE)
    }

    /// Circles for so many waiters. `open` makes connections; it is given their tokens, from 0 on.
    pub fn open(
        waiters: usize,
        mut open: impl FnMut(usize) -> anyhow::Result<TcpStream>,
    ) -> anyhow::Result<Waiting> {
        let mut circles = Vec::new();
        for index in 0..waiters.div_ceil(PER_CIRCLE) {
            let len = 1 + PER_CIRCLE.min(waiters - index * PER_CIRCLE);
            let mut members = Vec::with_capacity(len);
            for number in 0..len {
                let stream = open(index * (PER_CIRCLE + 1) + number)?;
                let wanted = Vec::new();
                members.push(Member {
                    stream,
                    id: 0,
                    stage: Stage::Resting,
                    wanted,
                    problem: None,
                });
            }
            circles.push(Circle::new(index, members));
        }
        Ok(Waiting { circles })
    }

    /// The exchanges that ask for ids and prepare keys, circle by circle, with the streams they are for
    /// and the token of the first.
    pub fn openings(&mut self) -> impl Iterator<Item = (usize, Vec<(&mut TcpStream, Exchange)>)> {
        self.circles.iter_mut().map(|circle| {
            let exchanges: Vec<_> = (0..circle.members.len()).map(|n| circle.opening(n)).collect();
            let streams = circle.members.iter_mut().map(|member| &mut member.stream);
            (circle.index * (PER_CIRCLE + 1), streams.zip(exchanges).collect())
        })
    }

    /// Keeps the client id that the server gave at the beginning, and has the client take its place.
    pub fn set_id(&mut self, token: usize, id: u64) {
        let (circle, number) = place(token);
        self.circles[circle].members[number].id = id;
        if number > 0 {
            self.circles[circle].to_join.push_back(number);
        }
    }

    /// Number of waiters.
    pub fn len(&self) -> usize {
        self.circles.iter().map(|circle| circle.members.len() - 1).sum()
    }

    /// Feeds the circles that are due; says when the next one is.
    pub fn feed(&mut self, now: Instant, rng: &mut StdRng) -> Option<Instant> {
        for circle in &mut self.circles {
            if circle.due <= now && circle.can_be_fed() {
                circle.feed(rng);
                circle.due = now + Duration::from_millis(rng.random_range(PAUSE_MS.0..=PAUSE_MS.1));
            }
        }
        // What comes for the others wakes the loop anyway.
        let ready = self.circles.iter().filter(|circle| circle.can_be_fed());
        ready.map(|circle| circle.due).min()
    }

    /// Reads and checks what has come on the connection with this token.
    pub fn receive(&mut self, token: usize, buffer: &mut [u8]) {
        let (circle, number) = place(token);
        self.circles[circle].receive(number, buffer);
    }

    /// Has those who are to block again do so.
    pub fn join(&mut self) {
        self.circles.iter_mut().for_each(Circle::join);
    }

    /// Whether nothing is outstanding: every item has come, and every waiter is blocked again.
    pub fn is_quiet(&self) -> bool {
        self.circles.iter().all(Circle::is_quiet)
    }

    /// Ids of all waiters that are still blocked.
    pub fn blocked(&self) -> Vec<u64> {
        let circles = self.circles.iter();
        circles.flat_map(|c| c.queue.iter().map(|&number| c.members[number].id)).collect()
    }

    /// The exchanges that prove, after `CLIENT UNBLOCK`, that waiters are who they were, as
    /// [`openings`](Self::openings) gives them.
    pub fn closings(&mut self) -> impl Iterator<Item = (usize, Vec<(&mut TcpStream, Exchange)>)> {
        self.circles.iter_mut().map(|circle| {
            let members = circle.members.iter_mut().enumerate();
            let exchanges = members.map(|(number, member)| {
                let mut reply = if number > 0 { b"*-1\r\n".to_vec() } else { Vec::new() };
                reply.extend(format!(":{}\r\n", member.id).into_bytes());
                let own_id = Exchange::new(request(&["CLIENT", "ID"]), 0, Expect::Exactly(reply));
                (&mut member.stream, own_id)
            });
            (circle.index * (PER_CIRCLE + 1), exchanges.collect())
        })
    }

    /// Notes what is wrong with the connection with this token.
    pub fn note(&mut self, token: usize, problem: String) {
        let (circle, number) = place(token);
        self.circles[circle].break_off(number, problem);
    }

    /// Closes the account: items that have not come never do.
    pub fn settle(&mut self) {
        for circle in &mut self.circles {
            for number in 0..circle.members.len() {
                if matches!(circle.members[number].stage, Stage::Expecting | Stage::Joining) {
                    let wanted = circle.members[number].wanted.escape_ascii().to_string();
                    circle.break_off(number, format!("{wanted} has not come"));
                }
            }
        }
    }

    /// What is wrong, with whom.
    pub fn problems(&self) -> Vec<String> {
        let members = self.circles.iter().flat_map(|circle| &circle.members);
        members.filter_map(|member| member.problem.clone()).collect()
    }

    /// Items that came to whom they were for.
    pub fn delivered(&self) -> u64 {
        self.circles.iter().map(|circle| circle.delivered).sum()
    }

    /// The keys, each with the database it is in.
    pub fn keys(&self) -> impl Iterator<Item = (usize, String)> {
        self.circles.iter().map(|circle| (circle.database(), circle.key()))
    }
}

impl Circle {
    fn new(index: usize, members: Vec<Member>) -> Circle {
        let kind = [Kind::List, Kind::Zset, Kind::Stream, Kind::Group][index % 4];
        Circle {
            kind,
            index,
            members,
            queue: VecDeque::new(),
            to_join: VecDeque::new(),
            item: index as u64 * STRIDE,
            due: Instant::now(),
            delivered: 0,
        }
    }

    fn database(&self) -> usize {
        self.index % DATABASES
    }

    fn key(&self) -> String {
        format!("load:waiting:{}", self.index)
    }

    fn opening(&self, number: usize) -> Exchange {
        let mut bytes = request(&["CLIENT", "ID"]);
        bytes.extend(request(&["SELECT", &self.database().to_string()]));
        let mut reply = b"+OK\r\n".to_vec();
        if number == 0 && self.kind == Kind::Group {
            bytes.extend(request(&["XGROUP", "CREATE", &self.key(), "g", "$", "MKSTREAM"]));
            reply.extend_from_slice(b"+OK\r\n");
        }
        Exchange::new(bytes, 0, Expect::IntegerThen(reply))
    }

    /// The command with which a waiter blocks. Some have a deadline, far away.
    fn command(&self, number: usize) -> Vec<u8> {
        let (key, after) = (self.key(), format!("{}-1", self.item));
        let deadline = if number.is_multiple_of(2) { "0" } else { "1000000" };
        match self.kind {
            Kind::List => request(&["BLPOP", "load:never", &key, deadline]),
            Kind::Zset => request(&["BZPOPMIN", &key, "load:never", deadline]),
            Kind::Stream => request(&["XREAD", "BLOCK", deadline, "STREAMS", &key, &after]),
            Kind::Group => {
                let mut words = vec!["XREADGROUP", "GROUP", "g"];
                let name = format!("c{number}");
                words.extend([
                    &name, "COUNT", "1", "BLOCK", deadline, "NOACK", "STREAMS", &key, ">",
                ]);
                request(&words)
            }
        }
    }

    /// Whether the next items can have only one way to go.
    fn can_be_fed(&self) -> bool {
        let whole = self.queue.len() + 1 == self.members.len();
        self.members[0].stage == Stage::Resting
            && !self.queue.is_empty()
            && (whole || self.kind != Kind::Stream)
    }

    /// Feeds the waiters in front, one item each; of a stream that all read, one item to all.
    fn feed(&mut self, rng: &mut StdRng) {
        let most = if self.kind == Kind::Stream { 1 } else { ITEMS.min(self.queue.len()) };
        let first = self.item + 1;
        self.item += rng.random_range(1..=most) as u64;
        let items: Vec<String> = (first..=self.item).map(|item| item.to_string()).collect();
        let (bytes, reply) = self.feeding(&items);
        if self.kind == Kind::Stream {
            let expected = self.delivery(&items[0]);
            for number in std::mem::take(&mut self.queue) {
                self.members[number].expect(&expected, Stage::Expecting);
            }
        } else {
            for item in &items {
                let expected = self.delivery(item);
                let next = self.queue.pop_front();
                if let Some(number) = next {
                    self.members[number].expect(&expected, Stage::Expecting);
                }
            }
        }
        self.members[0].expect(&reply, Stage::Expecting);
        if let Err(problem) = self.members[0].send(&bytes) {
            self.break_off(0, problem);
        }
    }

    /// The request that feeds these items, and its reply.
    fn feeding(&self, items: &[String]) -> (Vec<u8>, Vec<u8>) {
        let key = self.key();
        let count = format!(":{}\r\n", items.len()).into_bytes();
        match self.kind {
            Kind::List => {
                let mut words = vec!["RPUSH", key.as_str()];
                words.extend(items.iter().map(String::as_str));
                (request(&words), count)
            }
            Kind::Zset => {
                let mut words = vec!["ZADD", key.as_str()];
                // The scores are the members.
                words.extend(items.iter().flat_map(|item| [item.as_str(), item.as_str()]));
                (request(&words), count)
            }
            Kind::Stream | Kind::Group => {
                let (mut bytes, mut reply) = (request(&["MULTI"]), b"+OK\r\n".to_vec());
                let mut ids = format!("*{}\r\n", items.len()).into_bytes();
                for item in items {
                    let id = format!("{item}-1");
                    bytes.extend(request(&["XADD", &key, "MAXLEN", "100", &id, "i", item]));
                    reply.extend_from_slice(b"+QUEUED\r\n");
                    ids.extend(bulk(&id));
                }
                bytes.extend(request(&["EXEC"]));
                reply.extend(ids);
                (bytes, reply)
            }
        }
    }

    /// The reply with which an item comes to a waiter.
    fn delivery(&self, item: &str) -> Vec<u8> {
        let parts = match self.kind {
            Kind::List => vec![b"*2\r\n".to_vec(), bulk(&self.key()), bulk(item)],
            Kind::Zset => vec![b"*3\r\n".to_vec(), bulk(&self.key()), bulk(item), bulk(item)],
            Kind::Stream | Kind::Group => vec![
                b"*1\r\n*2\r\n".to_vec(),
                bulk(&self.key()),
                b"*1\r\n*2\r\n".to_vec(),
                bulk(&format!("{item}-1")),
                b"*2\r\n".to_vec(),
                bulk("i"),
                bulk(item),
            ],
        };
        parts.concat()
    }

    fn receive(&mut self, number: usize, buffer: &mut [u8]) {
        if let Err(problem) = self.members[number].receive(buffer) {
            return self.break_off(number, problem);
        }
        let member = &mut self.members[number];
        if !member.wanted.is_empty() {
            return;
        }
        match std::mem::replace(&mut member.stage, Stage::Resting) {
            Stage::Expecting if number > 0 => {
                self.delivered += 1;
                self.to_join.push_back(number);
            }
            Stage::Joining => self.queue.push_back(number),
            stage => member.stage = if stage == Stage::Broken { stage } else { Stage::Resting },
        }
    }

    /// Has the next waiter block that is to, unless one is about to.
    fn join(&mut self) {
        if self.members.iter().any(|member| member.stage == Stage::Joining) {
            return;
        }
        let Some(number) = self.to_join.pop_front() else { return };
        let word = format!("join {number}");
        let mut bytes = request(&["ECHO", &word]);
        bytes.extend(self.command(number));
        self.members[number].expect(&bulk(&word), Stage::Joining);
        if let Err(problem) = self.members[number].send(&bytes) {
            self.break_off(number, problem);
        }
    }

    fn is_quiet(&self) -> bool {
        let quiet = |member: &Member| matches!(member.stage, Stage::Resting | Stage::Broken);
        self.to_join.is_empty() && self.members.iter().all(quiet)
    }

    /// Ends the part of a member that has a problem: its circle is fed no more.
    fn break_off(&mut self, number: usize, problem: String) {
        self.queue.retain(|&other| other != number);
        self.to_join.retain(|&other| other != number);
        let what = if number == 0 { "feeder" } else { "waiter" };
        let member = &mut self.members[number];
        member.stage = Stage::Broken;
        let (kind, circle, id) = (self.kind, self.index, member.id);
        member.problem.get_or_insert_with(|| {
            format!("{what} {number} of circle {circle} ({kind:?}, client {id}): {problem}")
        });
        self.members[0].stage = Stage::Broken;
    }
}

impl Member {
    fn expect(&mut self, bytes: &[u8], stage: Stage) {
        if self.stage != Stage::Broken {
            self.wanted = bytes.to_vec();
            self.stage = stage;
        }
    }

    /// Sends bytes, of which there are few: the socket takes them at once.
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.stream.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(count) => Err(format!("the socket took {count} of {} bytes", bytes.len())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads all that has come, which has to be the next of what is wanted.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("closed by the server".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            let come = &buffer[..count];
            if !self.wanted.starts_with(come) {
                let wanted = self.wanted.escape_ascii();
                return Err(format!("got {}, not {wanted}", come.escape_ascii()));
            }
            self.wanted.drain(..count);
        }
    }
}
