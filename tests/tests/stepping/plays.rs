//! What clients send, and must receive: commands of every kind.

use hotredis_tests::client::encode;

/// The part of a play's requests that comes at another time than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// None.
    Whole,
    /// So many of the first bytes of the first client's have been sent, and read, before.
    Begun(usize),
    /// So many of the last bytes of the first client's come when all else is over.
    Unfinished(usize),
}

/// Requests of some clients, and their replies.
#[derive(Debug, Clone)]
pub struct Play {
    pub name: &'static str,
    /// Clients are numbered from 0.
    pub clients: usize,
    /// One after the other, each with its reply: `None` of those who wait.
    pub setup: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
    /// Everything that is sent while somebody may die, by client.
    pub requests: Vec<Vec<u8>>,
    pub cut: Cut,
    /// Everything that comes of it, by client.
    pub replies: Vec<Vec<u8>>,
    /// One after the other, each with its reply.
    pub finale: Vec<(usize, Vec<u8>, Vec<u8>)>,
}

impl Play {
    fn new(name: &'static str, clients: usize) -> Self {
        let none = vec![Vec::new(); clients];
        let (requests, replies) = (none.clone(), none);
        let (setup, finale) = (vec![(0, request("FLUSHALL"), Some(b"+OK\r\n".to_vec()))], vec![]);
        Self { name, clients, setup, requests, cut: Cut::Whole, replies, finale }
    }

    /// Whether it has many bytes.
    pub fn is_large(&self) -> bool {
        self.requests.iter().chain(&self.replies).any(|bytes| bytes.len() > 64 << 10)
    }

    fn first(mut self, client: usize, line: &str, reply: &str) -> Self {
        self.setup.push((client, request(line), Some(reply.into())));
        self
    }

    fn waits(mut self, client: usize, line: &str) -> Self {
        self.setup.push((client, request(line), None));
        self
    }

    /// A request of the play, and what its client receives for it.
    fn then(mut self, client: usize, line: &str, reply: &str) -> Self {
        self.requests[client].extend(request(line));
        self.hears(client, reply)
    }

    /// What a client receives that has not asked for it just now.
    fn hears(mut self, client: usize, reply: &str) -> Self {
        self.replies[client].extend(reply.as_bytes());
        self
    }

    fn at_last(mut self, client: usize, line: &str, reply: &str) -> Self {
        self.finale.push((client, request(line), reply.into()));
        self
    }
}

/// A line of words as a request.
fn request(line: &str) -> Vec<u8> {
    encode(&line.split(' ').collect::<Vec<_>>())
}

/// A reply: a bulk string.
fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A reply: an array of bulk strings.
fn bulks(line: &str) -> String {
    String::from_utf8(request(line)).expect("words are text")
}

const LONG: &str =
    "a-word-that-is-longer-than-what-is-kept-within-an-entry-and-grows-when-appended-to";

/// Every play.
pub fn all() -> Vec<Play> {
    let mut all = vec![strings(), lists(), hashes(), sets(), sorted_sets(), streams(), keys()];
    all.extend([multi(), watch(), blocked(), blocked_streams(), moved(), published()]);
    all.extend([half_request(), unfinished_request(), large_reply(), large_request()]);
    all
}

fn strings() -> Play {
    let play = Play::new("strings, in a pipeline", 1).first(0, "SET text abc", "+OK\r\n");
    let play = (1..=4).fold(play, |play, n| play.then(0, "INCR n", &format!(":{n}\r\n")));
    play.then(0, "APPEND text defghijklmnopqrstuvwxyz-and-m", ":32\r\n")
        .then(0, "INCRBYFLOAT f 1.5", "$3\r\n1.5\r\n")
        .then(0, "GETSET text other", "$32\r\nabcdefghijklmnopqrstuvwxyz-and-m\r\n")
        .at_last(0, "MGET n text f", &bulks("4 other 1.5"))
}

fn lists() -> Play {
    Play::new("lists", 1)
        .first(0, "RPUSH l a b c", ":3\r\n")
        .then(0, &format!("LPUSH l x {LONG}"), ":5\r\n")
        .then(0, "RPOP l", "$1\r\nc\r\n")
        .then(0, "LINSERT l BEFORE b new", ":5\r\n")
        .then(0, "LREM l 0 a", ":1\r\n")
        .at_last(0, "LRANGE l 0 -1", &bulks(&format!("{LONG} x new b")))
}

fn hashes() -> Play {
    Play::new("hashes", 1)
        .first(0, "HSET h a 1 b 2", ":2\r\n")
        .then(0, "HINCRBY h a 10", ":11\r\n")
        .then(0, &format!("HSET h c {LONG} b 3"), ":1\r\n")
        .then(0, "HDEL h b", ":1\r\n")
        .at_last(0, "HMGET h a c", &bulks(&format!("11 {LONG}")))
        .at_last(0, "HLEN h", ":2\r\n")
}

fn sets() -> Play {
    Play::new("sets", 1)
        .first(0, "SADD s 1 2 3", ":3\r\n")
        .first(0, "SADD t x 2", ":2\r\n")
        .then(0, "SADD s 4 70000", ":2\r\n")
        .then(0, "SMOVE s t 1", ":1\r\n")
        .then(0, "SREM s 2", ":1\r\n")
        .then(0, "SUNIONSTORE u s t", ":6\r\n")
        .at_last(0, "SMISMEMBER u 1 2 3 4 70000 x", "*6\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n")
        .at_last(0, "SCARD s", ":3\r\n")
        .at_last(0, "SCARD t", ":3\r\n")
}

fn sorted_sets() -> Play {
    Play::new("sorted sets", 1)
        .first(0, "ZADD z 1 a 2 b 3 c", ":3\r\n")
        .then(0, "ZINCRBY z 5 a", "$1\r\n6\r\n")
        .then(0, "ZPOPMIN z", "*2\r\n$1\r\nb\r\n$1\r\n2\r\n")
        .then(0, &format!("ZADD z 4 {LONG}"), ":1\r\n")
        .at_last(0, "ZRANGE z 0 -1 WITHSCORES", &bulks(&format!("c 3 {LONG} 4 a 6")))
}

fn streams() -> Play {
    Play::new("streams", 1)
        .first(0, "XADD x 1-1 f v", "$3\r\n1-1\r\n")
        .first(0, "XGROUP CREATE x g 0", "+OK\r\n")
        .then(0, "XADD x 2-1 f w", "$3\r\n2-1\r\n")
        .then(0, "XDEL x 1-1", ":1\r\n")
        .then(
            0,
            "XREADGROUP GROUP g me STREAMS x >",
            "*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n2-1\r\n*2\r\n$1\r\nf\r\n$1\r\nw\r\n",
        )
        .then(0, "XACK x g 2-1", ":1\r\n")
        .at_last(0, "XLEN x", ":1\r\n")
        .at_last(0, "XACK x g 2-1", ":0\r\n")
}

fn keys() -> Play {
    Play::new("keys", 1)
        .first(0, "RPUSH l a b c", ":3\r\n")
        .first(0, "HSET h a 1", ":1\r\n")
        .then(0, "RENAME l m", "+OK\r\n")
        .then(0, "COPY h i", ":1\r\n")
        .then(0, "DEL h", ":1\r\n")
        .then(0, "MSET a 1 b 2 c 3", "+OK\r\n")
        .then(0, "EXPIRE a 10000", ":1\r\n")
        .then(0, "PERSIST a", ":1\r\n")
        .at_last(0, "EXISTS l m h i a b c", ":5\r\n")
        .at_last(0, "DBSIZE", ":5\r\n")
}

fn multi() -> Play {
    Play::new("MULTI and EXEC", 1)
        .first(0, "SET n 10", "+OK\r\n")
        .then(0, "MULTI", "+OK\r\n")
        .then(0, "INCR n", "+QUEUED\r\n")
        .then(0, "RPUSH l a b", "+QUEUED\r\n")
        .then(0, "LPOP n", "+QUEUED\r\n")
        .then(0, "HSET h f v", "+QUEUED\r\n")
        .then(
            0,
            "EXEC",
            "*4\r\n:11\r\n:2\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n:1\r\n",
        )
        .at_last(0, "GET n", "$2\r\n11\r\n")
        .at_last(0, "LLEN l", ":2\r\n")
}

fn watch() -> Play {
    Play::new("WATCH", 2)
        .first(0, "WATCH n", "+OK\r\n")
        .first(0, "MULTI", "+OK\r\n")
        .first(0, "INCR n", "+QUEUED\r\n")
        .first(1, "WATCH m", "+OK\r\n")
        .then(1, "INCR n", ":1\r\n")
        .then(1, "MULTI", "+OK\r\n")
        .then(1, "INCR m", "+QUEUED\r\n")
        .then(1, "EXEC", "*1\r\n:1\r\n")
        .at_last(0, "EXEC", "*-1\r\n")
        .at_last(1, "MGET n m", &bulks("1 1"))
}

fn blocked() -> Play {
    Play::new("BLPOP, fed by another client", 3)
        .waits(1, "BLPOP l 0")
        .waits(2, "BLPOP k l 0")
        .then(0, "RPUSH l a b c", ":3\r\n")
        .hears(1, &bulks("l a"))
        .hears(2, &bulks("l b"))
        .at_last(0, "LRANGE l 0 -1", &bulks("c"))
        .at_last(1, "PING", "+PONG\r\n")
        .at_last(2, "PING", "+PONG\r\n")
}

fn blocked_streams() -> Play {
    Play::new("XREAD, fed by another client", 2)
        .waits(1, "XREAD BLOCK 0 STREAMS x $")
        .then(0, "XADD x 5-5 f v", "$3\r\n5-5\r\n")
        .hears(1, "*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n5-5\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
        .at_last(0, "XLEN x", ":1\r\n")
        .at_last(1, "PING", "+PONG\r\n")
}

fn moved() -> Play {
    Play::new("BRPOPLPUSH, fed by another client", 3)
        .waits(1, "BRPOPLPUSH from to 0")
        .waits(2, "BZPOPMIN z 0")
        .then(0, "LPUSH from a", ":1\r\n")
        .then(0, "ZADD z 1 m 2 n", ":2\r\n")
        .hears(1, "$1\r\na\r\n")
        .hears(2, &bulks("z m 1"))
        .at_last(0, "LRANGE to 0 -1", &bulks("a"))
        .at_last(0, "EXISTS from", ":0\r\n")
        .at_last(2, "ZCARD z", ":1\r\n")
}

fn published() -> Play {
    Play::new("PUBLISH", 3)
        .first(1, "SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
        .first(2, "PSUBSCRIBE n*", "*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n")
        .then(0, "PUBLISH news one", ":2\r\n")
        .then(0, "PUBLISH news two", ":2\r\n")
        .hears(1, &bulks("message news one"))
        .hears(1, &bulks("message news two"))
        .hears(2, &bulks("pmessage n* news one"))
        .hears(2, &bulks("pmessage n* news two"))
        .at_last(1, "PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        .at_last(2, "PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
}

/// Two requests, of which a part comes at another time than the rest.
fn two_requests(name: &'static str, cut: Cut) -> Play {
    let play = Play::new(name, 1)
        .then(0, "INCR n", ":1\r\n")
        .then(0, "RPUSH l a b c", ":3\r\n")
        .at_last(0, "GET n", "$1\r\n1\r\n")
        .at_last(0, "LLEN l", ":3\r\n");
    Play { cut, ..play }
}

fn half_request() -> Play {
    two_requests("the second half of a request", Cut::Begun(9))
}

fn unfinished_request() -> Play {
    two_requests("a request and half of the next", Cut::Unfinished(5))
}

fn large_text(length: usize) -> String {
    "0123456789abcdef".repeat(length / 16)
}

fn large_reply() -> Play {
    let text = large_text(320_000);
    Play::new("a large reply", 1)
        .first(0, &format!("SET large {text}"), "+OK\r\n")
        .then(0, "GET large", &bulk(&text))
        .then(0, "INCR n", ":1\r\n")
        .at_last(0, "STRLEN large", ":320000\r\n")
        .at_last(0, "GET n", "$1\r\n1\r\n")
}

/// A reply that no socket takes at once. For system calls only: it is a very long way on foot.
pub fn huge_reply() -> Play {
    let text = large_text(6_400_000);
    Play::new("a reply of several writes", 1)
        .first(0, &format!("SET huge {text}"), "+OK\r\n")
        .then(0, "INCR n", ":1\r\n")
        .then(0, "GET huge", &bulk(&text))
        .then(0, "INCR n", ":2\r\n")
        .at_last(0, "STRLEN huge", ":6400000\r\n")
        .at_last(0, "GET n", "$1\r\n2\r\n")
}

fn large_request() -> Play {
    Play::new("a request of several reads", 1)
        .then(0, "INCR n", ":1\r\n")
        .then(0, &format!("SET large {}", large_text(96_000)), "+OK\r\n")
        .then(0, "INCR n", ":2\r\n")
        .at_last(0, "STRLEN large", ":96000\r\n")
        .at_last(0, "GET n", "$1\r\n2\r\n")
}
