//! Plays: what the clients of a scenario do, line by line.
//!
//! ```text
//! a: SET k@ 1            a sends a request and hears one reply
//! a> BLPOP q@ 0          a sends a request
//! a raw GET k@\r\n       a sends bytes
//! a< 2                   a hears two more values; one without a number
//! a blocks               goes on once the server says that a is blocked
//! b until $"1": GET k@   b asks until what it hears contains the text
//! a half-closes          a sends no more
//! a ends                 a hears what comes until the server closes the connection
//! a leaves               a closes the connection
//! ```
//!
//! `@` stands for a tag that tells what belongs to one performance of a play from what belongs to others,
//! which are given on the same server at the same time; `#a` for the id of a's connection.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Instant;

use hotredis_tests::client::{Client, Endpoint, TIMEOUT, encode};
use hotredis_tests::value::Value;

use crate::heard::{Ids, is_of_other_performance, shown};

/// What the clients of a scenario do.
pub struct Play {
    text: String,
    lines: Vec<Line>,
}

struct Line {
    text: String,
    who: String,
    deed: Deed,
}

enum Deed {
    Call(Vec<String>),
    Send(Vec<String>),
    Raw(String),
    Hear(usize),
    Until(String, Vec<String>),
    Blocks,
    HalfCloses,
    Ends,
    Leaves,
}

/// A point of a play: before this line, of whose request so many bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Number of the line, from 0.
    pub line: usize,
    /// Bytes of the request in that line; all of them if it is shorter.
    pub bytes: usize,
}

impl Play {
    /// Reads a play.
    ///
    /// # Panics
    /// If a line cannot be understood.
    pub fn new(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines = lines.map(Line::new).collect();
        Self { text: text.to_owned(), lines }
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// All points between two lines, and, unless `stride` is the largest number, those within requests
    /// after each `stride` bytes and at the end.
    pub fn points(&self, stride: usize) -> Vec<Point> {
        let mut points = Vec::new();
        for (line, it) in self.lines.iter().enumerate() {
            points.push(Point { line, bytes: 0 });
            // With a tag and ids as long as those of a performance.
            let ids = Ids::from([("a".to_owned(), 1000)]);
            let length = it.request(&tag(0), &ids).map_or(0, |request| request.len());
            let end = (length > 0 && stride < usize::MAX).then_some(length);
            let within = (stride..length).step_by(stride).chain(end);
            points.extend(within.map(|bytes| Point { line, bytes }));
        }
        points.push(Point { line: self.len(), bytes: 0 });
        points
    }

    /// How many bytes the request in a line has, about; 0 if there is none.
    pub fn request_len(&self, line: usize) -> usize {
        let request = self.lines[line].request(&tag(0), &Ids::new());
        request.map_or(0, |request| request.len())
    }

    /// The names of all clients that have a line.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.lines.iter().map(|line| line.who.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether ids are spoken of.
    fn needs_ids(&self) -> bool {
        self.text.contains('#') || self.lines.iter().any(|line| matches!(line.deed, Deed::Blocks))
    }
}

impl Line {
    fn new(line: &str) -> Self {
        let end = line.find(|c: char| !c.is_alphanumeric());
        let (who, rest) = line.split_at(end.unwrap_or_else(|| panic!("'{line}' does nothing")));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let deed = match rest.split_at(1) {
            (":", words_) => Deed::Call(words(words_.trim())),
            (">", words_) => Deed::Send(words(words_.trim())),
            ("<", "") => Deed::Hear(1),
            ("<", count) => Deed::Hear(count.trim().parse().expect("a number of values")),
            (" ", "blocks") => Deed::Blocks,
            (" ", "half-closes") => Deed::HalfCloses,
            (" ", "ends") => Deed::Ends,
            (" ", "leaves") => Deed::Leaves,
            (" ", other) => match (other.strip_prefix("raw "), other.strip_prefix("until ")) {
                (Some(bytes), _) => Deed::Raw(bytes.replace("\\r\\n", "\r\n")),
                (_, Some(until)) => {
                    let (text, request) = until.split_once(": ").expect("a text and a request");
                    Deed::Until(text.to_owned(), words(request))
                }
                _ => panic!("'{line}' cannot be understood"),
            },
            _ => panic!("'{line}' cannot be understood"),
        };
        Self { text: line.to_owned(), who: who.to_owned(), deed }
    }

    /// The bytes that the client sends before it hears anything.
    fn request(&self, tag: &str, ids: &Ids) -> Option<Vec<u8>> {
        match &self.deed {
            Deed::Call(words) | Deed::Send(words) => Some(encode(&told(words, tag, ids))),
            Deed::Raw(bytes) => Some(bytes.replace('@', tag).into_bytes()),
            _ => None,
        }
    }
}

/// The words of a request, with what stands for tag and ids replaced.
fn told(words: &[String], tag: &str, ids: &Ids) -> Vec<String> {
    let told = words.iter().map(|word| match word.strip_prefix('#') {
        Some(name) => ids.get(name).copied().unwrap_or(1000).to_string(),
        None => word.replace('@', tag),
    });
    told.collect()
}

fn tag(number: usize) -> String {
    format!("~{number:06}~")
}

/// Behind the name of a client, of what it hears after its last line.
pub const IN_THE_END: &str = ", in the end";

/// A play that is being given.
pub struct Performance<'p> {
    play: &'p Play,
    tag: String,
    /// What the failure of a test says about it.
    about: String,
    clients: BTreeMap<&'p str, Client>,
    ids: Ids,
    control: Client,
    next: usize,
    /// Bytes of the next line's request that are sent already.
    sent: usize,
    heard: Vec<String>,
}

impl<'p> Performance<'p> {
    /// Connects the clients. The number has to be another one for each performance on a server.
    pub fn new(play: &'p Play, endpoint: &Endpoint, number: usize, about: String) -> Self {
        let mut clients = BTreeMap::new();
        let mut ids = Ids::new();
        for name in play.names() {
            let mut client = Client::connect(endpoint);
            if play.needs_ids() {
                ids.insert(name.to_owned(), client.call(&["CLIENT", "ID"]).integer());
            }
            clients.insert(name, client);
        }
        let control = Client::connect(endpoint);
        let tag = tag(number);
        let heard = Vec::new();
        Self { play, tag, about, clients, ids, control, next: 0, sent: 0, heard }
    }

    /// Plays on, up to this point.
    pub fn go_to(&mut self, point: Point) {
        while self.next < point.line.min(self.play.len()) {
            self.act();
        }
        let Some(line) = self.play.lines.get(self.next) else { return };
        let Some(request) = line.request(&self.tag, &self.ids) else { return };
        let end = point.bytes.clamp(self.sent, request.len());
        self.send(&line.who, &request[self.sent..end]);
        self.sent = end;
    }

    /// Plays on to the end: what was heard, line by line.
    pub fn finish(mut self) -> Vec<String> {
        self.go_to(Point { line: self.play.len(), bytes: 0 });
        // By the time that the server has answered somebody else, what it had to say is there, if perhaps
        // not all: a play hears all that comes on Redis.
        self.control.call(&["PING"]);
        for (name, client) in &mut self.clients {
            let unasked = client.try_drain().expect("the connection can be read");
            let mine = unasked.iter().filter(|value| !is_of_other_performance(value, &self.tag));
            let mine = mine.map(|value| shown(value, &self.tag, &self.ids));
            self.heard.extend(mine.map(|value| format!("{name}{IN_THE_END} => {value}")));
        }
        self.heard
    }

    fn act(&mut self) {
        let play = self.play;
        let line = &play.lines[self.next];
        let who = line.who.as_str();
        if let Some(request) = line.request(&self.tag, &self.ids) {
            let sent = std::mem::take(&mut self.sent);
            self.send(who, &request[sent..]);
        }
        match &line.deed {
            Deed::Call(_) => self.hear(line),
            Deed::Send(_) | Deed::Raw(_) => {}
            Deed::Hear(count) => (0..*count).for_each(|_| self.hear(line)),
            Deed::Until(text, words) => self.ask_until(line, text, words),
            Deed::Blocks => self.await_blocked(who),
            Deed::HalfCloses => self.client(who).shutdown_write().expect("a connection"),
            Deed::Ends => self.hear_the_end(line),
            Deed::Leaves => drop(self.clients.remove(who)),
        }
        self.next += 1;
    }

    fn client(&mut self, who: &str) -> &mut Client {
        let about = &self.about;
        self.clients.get_mut(who).unwrap_or_else(|| panic!("{who} has left, {about}"))
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        if let Err(e) = self.client(who).try_send_raw(bytes) {
            self.fail(&format!("nothing can be sent: {e}"));
        }
    }

    fn receive(&mut self, who: &str) -> Value {
        loop {
            match self.client(who).try_receive() {
                Ok(value) if is_of_other_performance(&value, &self.tag) => {}
                Ok(value) => return value,
                Err(e) => self.fail(&format!("no reply: {e}")),
            }
        }
    }

    fn hear(&mut self, line: &Line) {
        let value = self.receive(&line.who);
        self.note(line, &value);
    }

    fn note(&mut self, line: &Line, value: &Value) {
        let shown = shown(value, &self.tag, &self.ids);
        self.heard.push(format!("{} => {shown}", line.text));
    }

    fn ask_until(&mut self, line: &Line, text: &str, words: &[String]) {
        let request = encode(&told(words, &self.tag, &self.ids));
        let deadline = Instant::now() + TIMEOUT;
        loop {
            self.send(&line.who, &request);
            let value = self.receive(&line.who);
            if shown(&value, &self.tag, &self.ids).contains(text) {
                return self.note(line, &value);
            }
            if Instant::now() > deadline {
                self.fail(&format!("in the end it is {value:?}"));
            }
        }
    }

    fn await_blocked(&mut self, who: &str) {
        let id = self.ids[who].to_string();
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let listed = self.control.call(&["CLIENT", "LIST", "ID", &id]);
            let mut fields = listed.text().split(' ');
            let flags = fields.find_map(|field| field.strip_prefix("flags="));
            if flags.is_some_and(|flags| flags.contains('b')) {
                return;
            }
            if Instant::now() > deadline {
                self.fail(&format!("it does not block: {listed:?}"));
            }
        }
    }

    fn hear_the_end(&mut self, line: &Line) {
        loop {
            match self.client(&line.who).try_receive() {
                Ok(value) if is_of_other_performance(&value, &self.tag) => {}
                Ok(value) => self.note(line, &value),
                Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof) => break,
                Err(e) => self.fail(&format!("the connection is not closed: {e}")),
            }
        }
        let rest = self.client(&line.who).incomplete();
        self.heard.push(format!("{} => the end behind {rest} stray bytes", line.text));
    }

    fn fail(&self, why: &str) -> ! {
        let line = self.play.lines.get(self.next).map_or("the end", |line| &line.text);
        let (play, about, heard) = (&self.play.text, &self.about, self.heard.join("\n"));
        panic!("{why}, in '{line}', {about}; heard so far:\n{heard}\nthe play:\n{play}");
    }
}

#[test]
fn a_play_has_a_point_between_any_two_of_its_bytes() {
    let play = Play::new("a: PING\n a<\n b> PING\n");
    let request = encode(&["PING"]).len();
    assert_eq!(play.points(1).len(), (request + 1) + 1 + (request + 1) + 1);
    // Between lines and behind a whole request, however long the stride.
    let rough: Vec<(usize, usize)> =
        play.points(1000).iter().map(|point| (point.line, point.bytes)).collect();
    assert_eq!(rough, [(0, 0), (0, request), (1, 0), (2, 0), (2, request), (3, 0)]);
}
