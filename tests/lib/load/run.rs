//! A run from the first connection to the report.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mio::{Events, Interest, Poll, Token};
use rand::{SeedableRng, rngs::StdRng};

use crate::client::{Client, Endpoint};
use crate::value::Value;

use super::busy::{self, Busy};
use super::exchange::{WAVE, converse};
use super::idle::{DATABASES, DB_KEY, Idle};
use super::report::{Faults, Latency, OwnCost, Report, ReportedMark};
use super::timeline::Timeline;
use super::waiting::Waiting;
use super::{Control, Options, Phase, connect};

/// Problems told in words; the others are only counted.
const PROBLEMS: usize = 10;

/// The longest sleep: how soon the control's wish to stop is seen.
const NAP: Duration = Duration::from_millis(20);

/// Puts the load that `options` describe on a server and reports what came of it. An error means
/// that the load could not be set up; whatever goes wrong after that is in the report.
pub fn run(options: &Options, control: &Control) -> anyhow::Result<Report> {
    let report = set_up(options).and_then(|mut load| {
        control.enter(Phase::Running);
        load.work(control)?;
        control.enter(Phase::Over);
        load.conclude(control)
    });
    // Whoever waits for the run must not wait for ever, however it ended.
    control.enter(Phase::Over);
    report
}

/// A load whose connections are open.
struct Load<'a> {
    options: &'a Options,
    poll: Poll,
    busy: Vec<Busy>,
    idle: Vec<Idle>,
    idle_problems: Vec<(usize, String)>,
    waiting: Waiting,
    timeline: Timeline,
    rng: StdRng,
    cost_before: OwnCost,
}

fn set_up(options: &Options) -> anyhow::Result<Load<'_>> {
    ensure!(
        options.busy > 0 && options.pipeline > 0,
        "a load needs at least one busy connection and one request"
    );
    ensure!(
        (0.0..=1.0).contains(&options.split_ratio),
        "the split ratio is a share, between 0 and 1"
    );
    connect::raise_descriptor_limit(options.connections())?;
    let mut client = Client::try_connect(&Endpoint::Tcp(options.addr))
        .with_context(|| format!("connecting to {}", options.addr))?;
    for database in 0..DATABASES {
        call(&mut client, &["SELECT", &database.to_string()])?;
        call(&mut client, &["SET", DB_KEY, &database.to_string()])?;
    }
    let mut load = Load {
        options,
        poll: Poll::new()?,
        busy: Vec::with_capacity(options.busy),
        idle: Vec::with_capacity(options.idle),
        idle_problems: Vec::new(),
        waiting: Waiting::default(),
        timeline: Timeline::new(Instant::now()),
        rng: StdRng::seed_from_u64(options.seed),
        cost_before: OwnCost::default(),
    };
    load.open_busy()?;
    load.open_idle()?;
    load.open_waiting()?;
    Ok(load)
}

impl Load<'_> {
    fn open_busy(&mut self) -> anyhow::Result<()> {
        while self.busy.len() < self.options.busy {
            let first = self.busy.len();
            let mut exchanges = Vec::new();
            for index in first..(first + WAVE).min(self.options.busy) {
                let mut stream = connect::open(self.options.addr, index)?;
                self.register(&mut stream, index)?;
                self.busy.push(Busy::new(stream, index));
                exchanges.push(self.busy[index].opening());
            }
            let clients = &mut self.busy[first..];
            let mut pairs: Vec<_> =
                clients.iter_mut().map(|c| &mut c.stream).zip(&mut exchanges).collect();
            converse(&mut self.poll, first, &mut pairs)?;
            for (client, exchange) in self.busy[first..].iter_mut().zip(exchanges) {
                match exchange.into_outcome() {
                    Ok(id) => client.set_id(id.unwrap_or(0)),
                    Err(problem) => bail!("opening a busy connection: {problem}"),
                }
            }
        }
        Ok(())
    }

    fn open_idle(&mut self) -> anyhow::Result<()> {
        while self.idle.len() < self.options.idle {
            let first = self.idle.len();
            let mut exchanges = Vec::new();
            for index in first..(first + WAVE).min(self.options.idle) {
                let token = self.options.busy + index;
                let mut stream = connect::open(self.options.addr, token)
                    .with_context(|| format!("opening idle connection {index}"))?;
                self.register(&mut stream, token)?;
                self.idle.push(Idle::new(stream, index, self.options.plain_idle));
                exchanges.push(self.idle[index].opening());
            }
            let clients = &mut self.idle[first..];
            let mut pairs: Vec<_> =
                clients.iter_mut().map(|c| &mut c.stream).zip(&mut exchanges).collect();
            converse(&mut self.poll, self.options.busy + first, &mut pairs)?;
            for (client, exchange) in self.idle[first..].iter_mut().zip(exchanges) {
                match exchange.into_outcome() {
                    Ok(id) => client.set_id(id.unwrap_or(0)),
                    Err(problem) => bail!("opening an {}: {problem}", client.describe()),
                }
            }
        }
        Ok(())
    }

    fn open_waiting(&mut self) -> anyhow::Result<()> {
        let first = self.first_waiting();
        let mut waiting = Waiting::open(self.options.waiting, |token| {
            let mut stream = connect::open(self.options.addr, first + token)?;
            self.register(&mut stream, first + token)?;
            Ok(stream)
        })?;
        let mut outcomes = Vec::new();
        for (token, mut exchanges) in waiting.openings() {
            let mut pairs: Vec<_> = exchanges.iter_mut().map(|(s, e)| (&mut **s, e)).collect();
            converse(&mut self.poll, first + token, &mut pairs)?;
            let of_circle = exchanges.into_iter().map(|(_, exchange)| exchange.into_outcome());
            outcomes.extend((token..).zip(of_circle));
        }
        for (token, outcome) in outcomes {
            match outcome {
                Ok(id) => waiting.set_id(token, id.unwrap_or(0)),
                Err(problem) => bail!("opening a waiting connection: {problem}"),
            }
        }
        self.waiting = waiting;
        Ok(())
    }

    /// The token of the first waiting connection.
    fn first_waiting(&self) -> usize {
        self.options.busy + self.options.idle
    }

    fn register(&self, stream: &mut mio::net::TcpStream, token: usize) -> std::io::Result<()> {
        self.poll.registry().register(stream, Token(token), Interest::READABLE | Interest::WRITABLE)
    }

    /// Sends requests and checks replies until the time is over and every reply is there.
    fn work(&mut self, control: &Control) -> anyhow::Result<()> {
        self.cost_before = own_cost();
        let start = Instant::now();
        self.timeline = Timeline::new(start);
        if self.options.samples {
            self.timeline.keep_samples();
        }
        let end = start + self.options.duration;
        let mut pace = self.options.rate.map(|rate| Pace::new(start, rate, self.options));
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 << 10];
        let mut last_call = None;
        loop {
            let now = Instant::now();
            if last_call.is_none() && (now >= end || control.stopped()) {
                last_call = Some(now + self.options.drain);
            }
            let wake = match last_call {
                Some(deadline) => {
                    if self.is_quiet() || now >= deadline {
                        break;
                    }
                    deadline
                }
                None => {
                    let due = self.waiting.feed(now, &mut self.rng).unwrap_or(end);
                    end.min(due).min(self.send_more(now, pace.as_mut()))
                }
            };
            self.waiting.join();
            let mut wake = wake.min(now + NAP);
            for client in &mut self.busy {
                client.flush(now);
                wake = client.held_until().map_or(wake, |until| wake.min(until));
            }
            let timeout = wake.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let Token(token) = event.token();
                if let Some(client) = self.busy.get_mut(token) {
                    client.receive(&mut self.timeline, &mut buffer);
                } else if let Some(token) = token.checked_sub(self.first_waiting()) {
                    self.waiting.receive(token, &mut buffer);
                } else if event.is_readable() {
                    self.disturbed(token - self.options.busy);
                }
            }
        }
        self.timeline.finish(Instant::now());
        Ok(())
    }

    /// Whether every reply has come that is still to be expected.
    fn is_quiet(&self) -> bool {
        let mut busy = self.busy.iter();
        busy.all(|client| client.is_broken() || client.is_quiet()) && self.waiting.is_quiet()
    }

    /// Queues batches that are due, and says when the next one is.
    fn send_more(&mut self, now: Instant, pace: Option<&mut Pace>) -> Instant {
        let (pipeline, split_ratio) = (self.options.pipeline, self.options.split_ratio);
        match pace {
            None => {
                for client in
                    self.busy.iter_mut().filter(|client| client.is_quiet() && !client.is_broken())
                {
                    client.queue(pipeline, split_ratio, now, &mut self.rng);
                }
                now + NAP
            }
            Some(pace) => {
                while pace.due <= now {
                    let client = &mut self.busy[pace.turn];
                    if client.takes_more() {
                        // Polls wake up on the millisecond; only what is later than that is a delay
                        // worth counting.
                        let on_time = now - pace.due < Duration::from_millis(1);
                        let sent = if on_time { now } else { pace.due };
                        client.queue(pipeline, split_ratio, sent, &mut self.rng);
                    }
                    pace.turn = (pace.turn + 1) % self.options.busy;
                    pace.due += pace.interval;
                }
                pace.due
            }
        }
    }

    /// Something happened on an idle connection, where nothing should.
    fn disturbed(&mut self, index: usize) {
        use std::io::Read;
        let client = &mut self.idle[index];
        let mut buffer = [0; 64];
        let problem = match client.stream.read(&mut buffer) {
            Ok(0) => "closed by the server".to_owned(),
            Ok(count) => format!("got {} unasked", buffer[..count].escape_ascii()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => error.to_string(),
        };
        self.idle_problems.push((index, format!("{}: {problem}", client.describe())));
    }

    /// Verifies every connection and makes the report.
    fn conclude(mut self, control: &Control) -> anyhow::Result<Report> {
        let own = own_cost().since(&self.cost_before);
        self.verify_busy()?;
        self.verify_idle()?;
        self.verify_waiting()?;
        // Leaves the server as it was found. If that fails, the report tells of more than that.
        let _ = self.clean_up();
        Ok(self.report(own, control))
    }

    fn verify_busy(&mut self) -> anyhow::Result<()> {
        for client in &mut self.busy {
            client.settle();
        }
        for first in (0..self.busy.len()).step_by(WAVE) {
            let until = (first + WAVE).min(self.busy.len());
            let clients = &mut self.busy[first..until];
            // One that still owes replies, or is broken, has failed already.
            let mut exchanges: Vec<_> = clients.iter().map(Busy::closing).collect();
            let mut pairs: Vec<_> =
                clients.iter_mut().map(|c| &mut c.stream).zip(&mut exchanges).collect();
            converse(&mut self.poll, first, &mut pairs)?;
            for (client, exchange) in clients.iter_mut().zip(exchanges) {
                client.verify(exchange.into_outcome());
            }
        }
        Ok(())
    }

    fn verify_idle(&mut self) -> anyhow::Result<()> {
        for first in (0..self.idle.len()).step_by(WAVE) {
            let until = (first + WAVE).min(self.idle.len());
            let clients = &mut self.idle[first..until];
            let mut exchanges: Vec<_> = clients.iter().map(Idle::closing).collect();
            let mut pairs: Vec<_> =
                clients.iter_mut().map(|c| &mut c.stream).zip(&mut exchanges).collect();
            converse(&mut self.poll, self.options.busy + first, &mut pairs)?;
            for (offset, (client, exchange)) in clients.iter().zip(exchanges).enumerate() {
                if let Err(problem) = exchange.into_outcome() {
                    self.idle_problems
                        .push((first + offset, format!("{}: {problem}", client.describe())));
                }
            }
        }
        Ok(())
    }

    /// Every waiter is still blocked, and the client that it was.
    fn verify_waiting(&mut self) -> anyhow::Result<()> {
        self.waiting.settle();
        let mut client = Client::try_connect(&Endpoint::Tcp(self.options.addr))?;
        for id in self.waiting.blocked() {
            // One that is not blocked does not get the reply that it is to get now.
            call(&mut client, &["CLIENT", "UNBLOCK", &id.to_string()])?;
        }
        let first = self.first_waiting();
        let mut outcomes = Vec::new();
        for (token, mut exchanges) in self.waiting.closings() {
            let mut pairs: Vec<_> = exchanges.iter_mut().map(|(s, e)| (&mut **s, e)).collect();
            converse(&mut self.poll, first + token, &mut pairs)?;
            let of_circle = exchanges.into_iter().map(|(_, exchange)| exchange.into_outcome());
            outcomes.extend((token..).zip(of_circle));
        }
        for (token, outcome) in outcomes {
            if let Err(problem) = outcome {
                self.waiting.note(token, format!("at the end: {problem}"));
            }
        }
        Ok(())
    }

    fn clean_up(&self) -> anyhow::Result<()> {
        let mut client = Client::try_connect(&Endpoint::Tcp(self.options.addr))?;
        for index in 0..self.options.busy {
            call(&mut client, &["DEL", &busy::key(index)])?;
        }
        for (database, key) in self.waiting.keys() {
            call(&mut client, &["SELECT", &database.to_string()])?;
            call(&mut client, &["DEL", &key])?;
        }
        for database in 0..DATABASES {
            call(&mut client, &["SELECT", &database.to_string()])?;
            call(&mut client, &["DEL", DB_KEY])?;
        }
        Ok(())
    }

    fn report(mut self, own: OwnCost, control: &Control) -> Report {
        let mut faults = Faults::default();
        let (mut requests, mut replies, mut busy_kept) = (0, 0, 0);
        let mut problems = Vec::new();
        for client in &mut self.busy {
            faults.add(&client.faults);
            let (sent, answered) = client.counts();
            requests += sent;
            replies += answered;
            busy_kept += u64::from(!client.is_broken() && client.faults.wrong_at_end == 0);
            problems.extend(client.problem.take());
        }
        self.idle_problems.sort();
        self.idle_problems.dedup_by_key(|(index, _)| *index);
        let idle_lost = self.idle_problems.len() as u64;
        problems.extend(self.idle_problems.into_iter().map(|(_, problem)| problem));
        let of_waiting = self.waiting.problems();
        let waiting_lost = of_waiting.len() as u64;
        problems.extend(of_waiting);
        problems.truncate(PROBLEMS);
        let (start, samples) = (self.timeline.start(), self.timeline.take_samples());
        let seconds = self.timeline.seconds().max(f64::MIN_POSITIVE);
        let mut marks: Vec<_> = control
            .take_marks()
            .into_iter()
            .map(|mark| ReportedMark {
                at_ms: mark.at.saturating_duration_since(start).as_secs_f64() * 1e3,
                label: mark.label,
            })
            .collect();
        marks.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        Report {
            idle: self.idle.len() as u64,
            idle_kept: self.idle.len() as u64 - idle_lost,
            waiting: self.waiting.len() as u64,
            waiting_lost,
            delivered: self.waiting.delivered(),
            busy: self.busy.len() as u64,
            busy_kept,
            seconds,
            requests,
            replies,
            replies_per_s: replies as f64 / seconds,
            faults,
            errors: faults.total() + idle_lost + waiting_lost,
            problems,
            longest_gap_us: self.timeline.longest_gap().as_micros() as u64,
            latency: Latency::of(self.timeline.latencies()),
            bucket_ms: Report::BUCKET_MS,
            timeline: self.timeline.buckets().to_vec(),
            marks,
            own,
            start,
            samples,
        }
    }
}

/// When the next batch is due in open loop, and whose turn it is.
struct Pace {
    due: Instant,
    interval: Duration,
    turn: usize,
}

impl Pace {
    fn new(start: Instant, rate: f64, options: &Options) -> Self {
        let interval = Duration::from_secs_f64(options.pipeline as f64 / rate.max(1.0));
        // Never zero: the sender counts on getting past `now`.
        Self { due: start, interval: interval.max(Duration::from_nanos(1_000)), turn: 0 }
    }
}

/// One command that must not fail.
fn call(client: &mut Client, arguments: &[&str]) -> anyhow::Result<Value> {
    let reply = client.try_call(arguments).with_context(|| format!("{arguments:?}"))?;
    ensure!(!reply.is_error(), "{arguments:?}: {reply:?}");
    Ok(reply)
}

/// CPU time and time on the run queue of this thread, as the scheduler counts them.
fn own_cost() -> OwnCost {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut nanoseconds = text.split_whitespace().map_while(|field| field.parse::<u64>().ok());
    let mut seconds = || nanoseconds.next().unwrap_or(0) as f64 / 1e9;
    OwnCost { cpu_s: seconds(), waited_s: seconds() }
}

impl OwnCost {
    fn since(&self, before: &Self) -> Self {
        Self { cpu_s: self.cpu_s - before.cpu_s, waited_s: self.waited_s - before.waited_s }
    }
}
