//! Performs plays, without upgrades and with upgrades at every point, and compares what was heard.

use std::sync::atomic::{AtomicBool, Ordering};

use handoff::rlimit::ensure_descriptor_limit;
use hotredis_tests::blocked::upgrade;
use hotredis_tests::server::Setup;

use crate::play::{IN_THE_END, Performance, Play, Point};
use crate::stage::{Return, SetWhenDropped, Stage};

/// Upgrades in the course of which plays are given over and over.
const UPGRADES_ALONGSIDE: usize = 20;

/// Longer than a test takes: whoever is to go back can.
const PROBATION: [&str; 2] = ["--probation", "600"];

/// Descriptors that the many performances of one test may need.
const DESCRIPTORS: u64 = 8000;

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
            stage: Stage::for_plays(Setup::hotredis().arguments(&PROBATION), &self.directives),
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
        run.cut_once(self.stride, None);
        run.cut_once(self.stride, Some(Return::Told));
        run.cut_once(self.stride, Some(Return::Killed));
        run.cut_once(self.stride, Some(Return::Replaced));
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

    /// One performance for each point, cut there: all of them by the same upgrade, or by the same return to
    /// the generation before. Within requests each point has one transport, and all others both.
    fn cut_once(&mut self, stride: usize, back: Option<Return>) {
        match back {
            // After the return before this nobody stands by.
            None | Some(Return::Replaced) => {}
            // Those to whom this happens connect behind it.
            Some(_) => self.upgrade(),
        }
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
                    let how = format!(
                        "cut before line {line} and behind {bytes} bytes of it, going back: {back:?}"
                    );
                    let mut given = self.given(play, transport, &how);
                    given.performance.go_to(point);
                    waiting.push(given);
                }
            }
        }
        match back {
            None => self.upgrade(),
            Some(how) => self.stage.go_back(how),
        }
        for given in waiting {
            self.judge(given);
        }
    }

    /// An upgrade between any two lines and in the midst of each request, all in one performance; each
    /// third time it is taken back instead.
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
            match line % 3 {
                2 => self.stage.go_back(Return::Told),
                _ => self.upgrade(),
            }
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
