//! A client with keys of its own, which it alone changes: every reply can be foretold.

use std::time::Duration;

use hotredis_tests::client::{Client, command_line, encode};
use hotredis_tests::rng::Rng;
use hotredis_tests::value::Value;

use crate::World;
use crate::model::{Model, Words};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It does not.
    Stays,
    /// Everything was answered.
    Closed,
    /// Nothing more is sent, and everything is answered.
    HalfClosed,
    /// In the midst of whatever was sent; what was received until then holds.
    Reset,
    /// The same in order: the server reads to the end.
    Left,
}

/// Requests that are sent at once, each with its reply, and what the keys hold after it.
#[derive(Default)]
struct Batch {
    requests: Vec<Words>,
    replies: Vec<Value>,
    /// Begins with what they hold before the first.
    models: Vec<Model>,
}

struct Worker<'a> {
    world: &'a World,
    prefix: String,
    rng: Rng,
    model: Model,
    serial: u64,
    client: Client,
    id: i64,
}

/// Works until the run is over, and compares all it has at the end.
pub fn work(world: &World, number: usize, seed: u64) -> Result<(), String> {
    let (client, id) = world.connect()?;
    let rng = Rng::new(seed.wrapping_mul(31).wrapping_add(number as u64));
    let (prefix, model) = (format!("own{number}:"), Model::default());
    let mut worker = Worker { world, prefix, rng, model, serial: 0, client, id };
    let worked = worker.work();
    if worked.is_err() {
        world.over.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    worked.map_err(|why| format!("client {number}, connection {}: {why}", worker.id))
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), String> {
        while !self.world.is_over() {
            let end = match self.rng.below(100) {
                0..4 => End::Closed,
                4..8 => End::HalfClosed,
                8..12 => End::Reset,
                12..15 => End::Left,
                _ => End::Stays,
            };
            let batch = self.batch();
            match end {
                End::Stays | End::Closed | End::HalfClosed => self.see_through(&batch, end)?,
                End::Reset | End::Left => self.break_off(&batch, end)?,
            }
        }
        let found = self.content()?;
        if found == self.model {
            return Ok(());
        }
        Err(format!("its keys hold {found:?}, and not {:?}", self.model))
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        batch.models.push(self.model.clone());
        for _ in 0..1 + self.rng.below(8) {
            match self.rng.below(6) {
                0 => self.block(&mut batch),
                _ => {
                    let (words, reply) = self.command();
                    batch.push(words, reply, &self.model);
                }
            }
        }
        batch
    }

    fn command(&mut self) -> (Words, Value) {
        self.serial += 1;
        self.model.command(&self.prefix, self.serial, &mut self.rng)
    }

    /// `MULTI` to `EXEC`, or `DISCARD`.
    fn block(&mut self, batch: &mut Batch) {
        let before = self.model.clone();
        batch.push(vec!["MULTI".into()], Value::ok(), &before);
        let mut replies = Vec::new();
        for _ in 0..self.rng.below(5) {
            let (words, reply) = self.command();
            batch.push(words, Value::Simple(b"QUEUED".to_vec()), &before);
            replies.push(reply);
        }
        if self.rng.percent(20) {
            self.model = before;
            batch.push(vec!["DISCARD".into()], Value::ok(), &self.model);
        } else {
            batch.push(vec!["EXEC".into()], Value::Array(replies), &self.model);
        }
    }

    /// Sends bytes in pieces, with time in between for somebody to die.
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut rest = bytes;
        while self.rng.percent(40) && rest.len() > 1 {
            let (piece, others) = rest.split_at(1 + self.rng.below(rest.len() - 1));
            self.client.try_send_raw(piece)?;
            std::thread::sleep(Duration::from_micros(self.rng.below(3_000) as u64));
            rest = others;
        }
        self.client.try_send_raw(rest)
    }

    /// Everything is sent, and everything is answered.
    fn see_through(&mut self, batch: &Batch, end: End) -> Result<(), String> {
        self.send(&batch.bytes()).map_err(|error| format!("sending: {error}"))?;
        if end == End::HalfClosed {
            self.client.shutdown_write().map_err(|error| format!("shutdown: {error}"))?;
        }
        for at in 0..batch.requests.len() {
            let came = self.client.try_receive();
            let came = came.map_err(|error| format!("{end:?}: {error}, {}", batch.around(at)))?;
            batch.compare(at, &came).map_err(|why| format!("{end:?}: {why}"))?;
        }
        if end == End::HalfClosed && !self.client.receive_until_closed().is_empty() {
            return Err("something came after all replies".into());
        }
        if end != End::Stays {
            (self.client, self.id) = self.world.connect()?;
        }
        Ok(())
    }

    /// The connection ends in the midst of it: some of the requests have run, from the first on.
    fn break_off(&mut self, batch: &Batch, end: End) -> Result<(), String> {
        let bytes = batch.bytes();
        let sent = if self.rng.percent(50) { bytes.len() } else { self.rng.below(bytes.len()) };
        self.send(&bytes[..sent]).map_err(|error| format!("sending: {error}"))?;
        std::thread::sleep(Duration::from_micros(self.rng.below(2_000) as u64));
        let answered = self.client.try_drain().map_err(|error| format!("receiving: {error}"))?;
        for (at, came) in answered.iter().enumerate() {
            batch.compare(at, came)?;
        }
        let (next, id) = self.world.connect()?;
        let old = std::mem::replace(&mut self.client, next);
        match end {
            End::Reset => old.reset().map_err(|error| format!("reset: {error}"))?,
            _ => drop(old),
        }
        let ended = std::mem::replace(&mut self.id, id);
        self.await_end_of(ended)?;
        let found = self.content()?;
        // What was answered has run, and what was not sent has not.
        let mut possible = batch.models[answered.len()..].iter();
        match possible.find(|model| **model == found) {
            Some(model) => self.model = model.clone(),
            None => {
                return Err(format!(
                    "{end:?} after {sent} bytes, {} of which were answered: its keys hold {found:?}, as \
                     after none of the requests; before them they held {:?}",
                    answered.len(),
                    batch.models[0]
                ));
            }
        }
        Ok(())
    }

    /// Until then its requests may still run.
    fn await_end_of(&mut self, id: i64) -> Result<(), String> {
        let deadline = std::time::Instant::now() + crate::PATIENCE;
        let request = ["CLIENT", "LIST", "ID", &id.to_string()];
        loop {
            let list = self.client.try_call(&request).map_err(|error| format!("list: {error}"))?;
            if list.text().trim().is_empty() {
                return Ok(());
            }
            if std::time::Instant::now() > deadline {
                return Err(format!("connection {id} has not ended: {}", list.text()));
            }
        }
    }

    fn content(&mut self) -> Result<Model, String> {
        let queries = Model::queries(&self.prefix);
        let bytes: Vec<u8> = queries.iter().flat_map(|words| encode(words)).collect();
        self.client.try_send_raw(&bytes).map_err(|error| format!("queries: {error}"))?;
        let replies: std::io::Result<Vec<Value>> =
            queries.iter().map(|_| self.client.try_receive()).collect();
        Ok(Model::of_replies(&replies.map_err(|error| format!("queries: {error}"))?))
    }
}

impl Batch {
    fn push(&mut self, words: Words, reply: Value, after: &Model) {
        self.requests.push(words);
        self.replies.push(reply);
        self.models.push(after.clone());
    }

    fn bytes(&self) -> Vec<u8> {
        self.requests.iter().flat_map(|words| encode(words)).collect()
    }

    fn compare(&self, at: usize, came: &Value) -> Result<(), String> {
        match self.replies.get(at) {
            Some(due) if due == came => Ok(()),
            due => Err(format!("{came:?} came instead of {due:?}, {}", self.around(at))),
        }
    }

    fn around(&self, at: usize) -> String {
        let words = self.requests.get(at).map_or(String::new(), |words| command_line(words));
        format!("in reply to {words}, request {at} of {}", self.requests.len())
    }
}
