//! `hotredis upgrade` for several instances: a few at a time, up to the first that fails.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::client::{Connection, Instance, describe};
use super::table::micros;
use super::upgrade::await_result;
use crate::keeper::protocol::{Request, UpgradeResult};

/// What is to be done, and how it is told.
#[derive(Debug)]
pub struct Plan {
    /// What each instance is asked for.
    pub request: Request,
    /// How many are upgraded at a time.
    pub jobs: usize,
    /// Print a line of JSON for each instance, and no progress.
    pub json: bool,
}

/// One of the instances, and what came of it.
#[derive(Debug, Serialize)]
struct Line {
    pid: u32,
    addresses: Vec<String>,
    outcome: Outcome,
    /// Why it failed.
    reason: Option<String>,
    result: Option<UpgradeResult>,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    socket: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Upgraded,
    Failed,
    Untouched,
}

impl Line {
    fn new(instance: Instance) -> Self {
        let Instance { status, socket, .. } = instance;
        Self {
            pid: status.pid,
            name: describe(&status),
            addresses: status.addresses,
            outcome: Outcome::Untouched,
            reason: None,
            result: None,
            socket,
        }
    }

    fn note(&mut self, done: anyhow::Result<UpgradeResult>) {
        (self.outcome, self.reason, self.result) = match done {
            Ok(result) if result.succeeded => (Outcome::Upgraded, None, Some(result)),
            Ok(result) => (Outcome::Failed, result.reason.clone(), Some(result)),
            Err(error) => (Outcome::Failed, Some(format!("{error:#}")), None),
        };
    }

    fn text(&self) -> String {
        let name = &self.name;
        match (&self.result, &self.reason) {
            (_, Some(reason)) => format!("{name}: failed: {reason}"),
            (Some(result), None) if result.dry_run => format!("{name}: could be upgraded"),
            (Some(result), None) => format!(
                "{name}: generation {} serves, frozen for {}, {} connections moved",
                result.generation,
                micros(result.freeze_us),
                result.connections
            ),
            (None, None) => format!("{name}: untouched"),
        }
    }
}

/// Upgrades the instances in order, and says what came of each. Once one has failed no other is
/// begun.
///
/// # Errors
/// If what came of them cannot be printed.
pub fn upgrade(instances: Vec<Instance>, plan: &Plan) -> anyhow::Result<ExitCode> {
    if instances.is_empty() {
        bail!("no running instance");
    }
    let started = Instant::now();
    let mut lines: Vec<Line> = instances.into_iter().map(Line::new).collect();
    let bar = bar(lines.len(), plan.json);
    let queue: Mutex<VecDeque<(usize, PathBuf)>> =
        Mutex::new(lines.iter().map(|line| line.socket.clone()).enumerate().collect());
    let mut printed = anyhow::Ok(());
    std::thread::scope(|scope| {
        let (sender, results) = channel();
        for _ in 0..plan.jobs.min(lines.len()) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || work(queue, &plan.request, &sender));
        }
        drop(sender);
        for (index, done) in results {
            lines[index].note(done);
            bar.inc(1);
            let print = || bar.suspend(|| print(&lines[index], plan.json));
            printed = std::mem::replace(&mut printed, Ok(())).and_then(|()| print());
        }
    });
    bar.finish_and_clear();
    printed?;
    for line in lines.iter().filter(|line| line.outcome == Outcome::Untouched) {
        print(line, plan.json)?;
    }
    if !plan.json {
        writeln!(std::io::stdout(), "{}", summary(&lines, started))?;
    }
    let all = lines.iter().all(|line| line.outcome == Outcome::Upgraded);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Upgrades one instance after the other as long as there are any and none has failed.
fn work(
    queue: &Mutex<VecDeque<(usize, PathBuf)>>,
    request: &Request,
    results: &Sender<(usize, anyhow::Result<UpgradeResult>)>,
) {
    let queue = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loop {
        let Some((index, socket)) = queue().pop_front() else { return };
        let done = Connection::open(&socket).and_then(|mut connection| {
            connection.send(request)?;
            await_result(&mut connection, |_, _, _| {})
        });
        if !done.as_ref().is_ok_and(|result| result.succeeded) {
            // Whoever has begun goes on; nobody else begins.
            queue().clear();
        }
        if results.send((index, done)).is_err() {
            return;
        }
    }
}

fn bar(length: usize, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} upgraded, {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Nobody may be reading any more: that is an error, not a reason to stop amid upgrades.
fn print(line: &Line, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string(line)? } else { line.text() };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn summary(lines: &[Line], started: Instant) -> String {
    let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count();
    let freezes = lines.iter().filter_map(|line| Some(line.result.as_ref()?.freeze_us));
    let longest = micros(freezes.max().unwrap_or(0));
    let (upgraded, failed) = (count(Outcome::Upgraded), count(Outcome::Failed));
    let took = format!("{:.1?}, the longest freeze was {longest}", started.elapsed());
    match failed {
        0 => format!("{upgraded} of {upgraded} upgraded in {took}"),
        _ => format!(
            "{upgraded} upgraded, {failed} failed, {} untouched in {took}",
            count(Outcome::Untouched)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::InstanceStatus;

    fn line(outcome: Outcome) -> Line {
        Line {
            pid: 7,
            addresses: Vec::new(),
            outcome,
            reason: None,
            result: None,
            name: describe(&InstanceStatus { pid: 7, ..InstanceStatus::default() }),
            socket: PathBuf::new(),
        }
    }

    #[test]
    fn each_says_what_came_of_it() {
        let mut lines = [Outcome::Untouched; 3].map(line);
        let [good, bad, untouched] = &mut lines;
        let result =
            UpgradeResult { succeeded: true, generation: 2, freeze_us: 321, ..Default::default() };
        good.note(Ok(result.clone()));
        bad.note(Ok(UpgradeResult {
            succeeded: false,
            reason: Some("it exited".into()),
            ..result.clone()
        }));
        assert!(good.text().contains("generation 2 serves, frozen for 321\u{b5}s"));
        assert!(bad.text().ends_with(": failed: it exited"));
        assert!(untouched.text().ends_with(": untouched"));
        let said = summary(&lines, Instant::now());
        assert!(said.starts_with("1 upgraded, 1 failed, 1 untouched in "), "{said}");
        assert!(said.ends_with("the longest freeze was 321\u{b5}s"), "{said}");
        let mut gone = line(Outcome::Untouched);
        gone.note(Err(anyhow::anyhow!("no answer")));
        assert_eq!(gone.outcome, Outcome::Failed);
    }
}
