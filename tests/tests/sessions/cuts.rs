//! Performs plays, without upgrades and with upgrades at every point, and compares what was heard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handoff::rlimit::ensure_descriptor_limit;
use hotredis_tests::blocked::{id_of, upgrade};
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::{Server, Setup, TempDir, descendants};

use crate::play::{IN_THE_END, Performance, Play, Point};

/// Upgrades in the course of which plays are given over and over.
const UPGRADES_ALONGSIDE: usize = 20;

/// Ids of connections are larger than this, and the numbers in plays smaller: one is not taken for the other.
const SMALLEST_ID: i64 = 1000;

/// Descriptors that the many performances of one test may need.
const DESCRIPTORS: u64 = 8000;

/// A server that listens at a port and at a Unix socket.
pub struct Stage {
    pub server: Server,
    pub endpoints: [Endpoint; 2],
    password: Option<String>,
    // Removed when the server is gone.
    _dir: TempDir,
}

impl Stage {
    /// Starts it with these directives.
    pub fn new(setup: Setup, directives: &[(&str, &str)]) -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("socket");
        let setup = setup.directive("unixsocket", &path.to_string_lossy());
        let setup =
            directives.iter().fold(setup, |setup, (name, value)| setup.directive(name, value));
        let server = setup.start();
        let endpoints = [server.endpoint().clone(), Endpoint::Unix(path)];
        let password = directives.iter().find(|(name, _)| *name == "requirepass");
        let password = password.map(|(_, password)| (*password).to_owned());
        Self { server, endpoints, password, _dir: dir }
    }

    /// A server for plays, in which numbers are compared: one that gives no small ids any more.
    fn for_plays(setup: Setup, directives: &[(&str, &str)]) -> Self {
        let stage = Self::new(setup, directives);
        while id_of(&mut stage.control()).parse().is_ok_and(|id: i64| id < SMALLEST_ID) {}
        stage
    }

    /// A connection that may do anything.
    pub fn control(&self) -> Client {
        let mut control = self.server.connect();
        if let Some(password) = &self.password {
            control.call(&["AUTH", password]);
        }
        control
    }

    /// All clients have left: waits until the server has no session but that of the one who asks, and
    /// ends it.
    pub fn finish(self) {
        await_clients(&mut self.control(), 1);
        self.server.finish();
    }
}

/// Waits until the server has so many clients.
#[track_caller]
pub fn await_clients(control: &mut Client, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list = control.call(&["CLIENT", "LIST"]);
        let listed = list.text().lines().count();
        if listed == count {
            return;
        }
        assert!(Instant::now() < deadline, "{listed} clients, not {count}:\n{}", list.text());
    }
}

/// Waits until the keeper has one child, which is the one that serves.
#[track_caller]
pub fn only_generation(server: &Server) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let children = descendants(server.pid());
        if let [generation] = children[..] {
            return generation;
        }
        assert!(Instant::now() < deadline, "the keeper has the children {children:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Plays of one kind, and how they are cut.
pub struct Cuts {
    plays: Vec<Play>,
    stride: usize,
    directives: Vec<(&'static str, &'static str)>,
}

impl Cuts {
    /// Cut between any two lines, and within requests after each seventh byte.
    pub fn of(plays: &[&str]) -> Self {
        let plays = plays.iter().map(|text| Play::new(text)).collect();
        Self { plays, stride: 7, directives: Vec::new() }
    }

    /// Cut within requests too, after each `stride` bytes.
    pub fn every(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Not cut within requests.
    pub fn between_lines(self) -> Self {
        self.every(usize::MAX)
    }

    /// With servers that are told so.
    pub fn directive(mut self, name: &'static str, value: &'static str) -> Self {
        self.directives.push((name, value));
        self
    }

    /// Performs them all.
    ///
    /// # Panics
    /// If anybody hears something else than of Redis.
    pub fn perform(&self) {
        // A lower limit than this fails where the connections are made.
        let _ = ensure_descriptor_limit(DESCRIPTORS);
        let redis = Stage::for_plays(Setup::redis(), &self.directives);
        let mut run = Run {
            plays: &self.plays,
            stage: Stage::for_plays(Setup::hotredis(), &self.directives),
            expected: Vec::new(),
            number: 0,
            upgrades: 0,
        };
        for play in &self.plays {
            let of_redis = redis.endpoints.each_ref().map(|endpoint| {
                run.number += 1;
                let heard =
                    Performance::new(play, endpoint, run.number, "on Redis".into()).finish();
                let unheard = heard.iter().find(|line| line.contains(IN_THE_END));
                assert!(
                    unheard.is_none(),
                    "nobody in the play waits for {unheard:?}, of:\n{}",
                    heard.join("\n")
                );
                heard
            });
            run.expected.push(of_redis);
        }
        redis.finish();
        run.without_an_upgrade();
        run.cut_once(self.stride);
        run.cut_at_every_line();
        run.while_upgrades_run();
        run.stage.finish();
    }
}

/// The performances of one test.
struct Run<'p> {
    plays: &'p [Play],
    stage: Stage,
    /// What is heard of Redis, by play and transport.
    expected: Vec<[Vec<String>; 2]>,
    /// Performances so far.
    number: usize,
    upgrades: usize,
}

/// A performance, and what has to be heard in it.
struct Given<'p> {
    performance: Performance<'p>,
    play: usize,
    transport: usize,
    about: String,
}

impl<'p> Run<'p> {
    fn given(&mut self, play: usize, transport: usize, how: &str) -> Given<'p> {
        self.number += 1;
        self.given_as(self.number, play, transport, how)
    }

    fn given_as(&self, number: usize, play: usize, transport: usize, how: &str) -> Given<'p> {
        let about = format!("play {play} over {}, {how}", ["TCP", "a Unix socket"][transport]);
        let endpoint = &self.stage.endpoints[transport];
        let performance = Performance::new(&self.plays[play], endpoint, number, about.clone());
        Given { performance, play, transport, about }
    }

    /// Every play over every transport.
    fn all(&mut self, how: &str) -> Vec<Given<'p>> {
        let mut all = Vec::new();
        for play in 0..self.plays.len() {
            all.extend((0..2).map(|transport| self.given(play, transport, how)));
        }
        all
    }

    fn judge(&self, given: Given<'_>) {
        let heard = given.performance.finish();
        let expected = &self.expected[given.play][given.transport];
        let difference = heard.iter().zip(expected).find(|(heard, expected)| heard != expected);
        let (heard_all, expected_all) = (heard.join("\n"), expected.join("\n"));
        assert!(
            heard == *expected,
            "{}: {difference:?}\nheard:\n{heard_all}\nexpected:\n{expected_all}",
            given.about
        );
    }

    fn upgrade(&mut self) {
        upgrade(&self.stage.server, self.upgrades);
        self.upgrades += 1;
    }

    fn without_an_upgrade(&mut self) {
        for given in self.all("without an upgrade") {
            self.judge(given);
        }
    }

    /// One performance for each point, cut there: all of them by the same upgrade. Within requests each
    /// point has one transport, and all others both.
    fn cut_once(&mut self, stride: usize) {
        let mut waiting = Vec::new();
        for play in 0..self.plays.len() {
            let mut within = 0;
            for point in self.plays[play].points(stride) {
                let whole =
                    point.bytes == 0 || point.bytes == self.plays[play].request_len(point.line);
                let transports = if whole { 0..2 } else { within % 2..within % 2 + 1 };
                within += usize::from(!whole);
                for transport in transports {
                    let Point { line, bytes } = point;
                    let how = format!("cut before line {line} and behind {bytes} bytes of it");
                    let mut given = self.given(play, transport, &how);
                    given.performance.go_to(point);
                    waiting.push(given);
                }
            }
        }
        self.upgrade();
        for given in waiting {
            self.judge(given);
        }
    }

    /// An upgrade between any two lines and in the midst of each request, all in one performance.
    fn cut_at_every_line(&mut self) {
        let mut all = self.all("cut at every line");
        let lines = self.plays.iter().map(Play::len).max().unwrap_or_default();
        for line in 0..lines {
            for given in &mut all {
                let play = &self.plays[given.play];
                if line < play.len() {
                    let bytes = play.request_len(line) / 2;
                    given.performance.go_to(Point { line, bytes });
                }
            }
            self.upgrade();
        }
        for given in all {
            self.judge(given);
        }
    }

    /// Over and over, while one upgrade follows the other.
    fn while_upgrades_run(&mut self) {
        let (first, mut rounds) = (self.upgrades, 0);
        let done = AtomicBool::new(false);
        let stage = &self.stage;
        let (run, mut number) = (&*self, self.number);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _done = SetWhenDropped(&done);
                (0..UPGRADES_ALONGSIDE).for_each(|count| upgrade(&stage.server, first + count));
            });
            while !done.load(Ordering::Relaxed) {
                let about = format!("round {rounds} while upgrades run");
                for (play, transport) in
                    (0..run.plays.len()).flat_map(|play| [(play, 0), (play, 1)])
                {
                    number += 1;
                    run.judge(run.given_as(number, play, transport, &about));
                }
                rounds += 1;
            }
        });
        self.number = number;
        self.upgrades += UPGRADES_ALONGSIDE;
    }
}

/// So that nobody waits for a thread that has panicked.
pub struct SetWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
