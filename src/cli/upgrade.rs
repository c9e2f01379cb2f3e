//! `hotredis upgrade`: has a running instance replaced by a new binary, and says what came of it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::client::{Connection, Instance, Selector, seconds, seconds_or_none};
use super::complain;
use super::fleet::{self, Plan};
use super::history::phases;
use super::table::{micros, millis};
use crate::keeper::protocol::{Reply, Request, UpgradeResult};
use crate::version;

/// Longer than the longest times that an upgrade, and then a probation and a hang in it, can be
/// given: the keeper answers earlier, always.
const PATIENCE: Duration = Duration::from_secs(3 * 3600 + 120);

/// Replace the binary of a running instance without dropping a connection.
///
/// Waits until the new generation serves and exits with 0, or says why it does not: then the old one
/// serves on. For a while the old one stands by, see `hotredis rollback`.
#[derive(Debug, Args)]
pub struct Options {
    /// The new binary.
    #[arg(long, value_name = "NEW")]
    binary: PathBuf,
    #[command(flatten)]
    selector: Selector,
    /// Give up after so long [default: the server's --upgrade-timeout].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// How long the old generation stands by, 0 for not at all [default: the server's --probation].
    #[arg(long, value_name = "SECONDS", value_parser = seconds_or_none)]
    probation: Option<Duration>,
    /// Wait for the end of the probation too, and fail if the old generation serves again.
    #[arg(long)]
    wait_probation: bool,
    /// Only ask the new binary whether it could take over.
    #[arg(long)]
    dry_run: bool,
    /// Upgrade every running instance, as with several --port: a few at a time, and none any more
    /// once one has failed.
    #[arg(long, conflicts_with = "instance")]
    all: bool,
    /// Of several instances, upgrade so many at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Print the result as JSON, one line for each instance, and no progress.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let request = request(options)?;
    if options.all || options.selector.ports.len() > 1 {
        let instances = several(options)?;
        let jobs = options.jobs.into();
        return fleet::upgrade(instances, &Plan { request, jobs, json: options.json });
    }
    let mut instance = options.selector.find()?;
    let old = format!(
        "generation {} (pid {})",
        instance.status.generation, instance.status.generation_pid
    );
    instance.connection.send(&request)?;
    let mut progress = Progress::new(!options.json);
    let done = await_result(&mut instance.connection, |phase, done, total| {
        progress.show(phase, done, total);
    });
    progress.end();
    match done {
        Ok(result) => show(options, &result),
        Err(error) => match error.downcast::<Refusal>() {
            Ok(Refusal(reason)) => {
                if options.json {
                    let reason = Some(reason.clone());
                    let refused = UpgradeResult { reason, ..UpgradeResult::default() };
                    println!("{}", serde_json::to_string(&refused)?);
                }
                bail!("refused: {reason}; {old} serves on")
            }
            Err(error) => Err(error),
        },
    }
}

fn request(options: &Options) -> anyhow::Result<Request> {
    let binary =
        std::path::absolute(&options.binary).context("cannot make the binary's path absolute")?;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis());
    Ok(Request::Upgrade {
        binary,
        timeout_ms: options.timeout.map(milliseconds).transpose()?,
        dry_run: options.dry_run,
        probation_ms: options.probation.map(milliseconds).transpose()?,
        wait_probation: options.wait_probation,
    })
}

/// The instances that are meant if there may be several.
fn several(options: &Options) -> anyhow::Result<Vec<Instance>> {
    if !options.all {
        return options.selector.meant();
    }
    let (instances, silent) = options.selector.all()?;
    for error in &silent {
        complain(error);
    }
    if !silent.is_empty() {
        bail!("nothing was touched: {} of the instances gave no answer", silent.len());
    }
    Ok(instances)
}

/// The keeper has not even tried, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
struct Refusal(String);

/// Waits for what comes of an upgrade that was asked for.
pub fn await_result(
    connection: &mut Connection,
    mut progress: impl FnMut(&str, u64, u64),
) -> anyhow::Result<UpgradeResult> {
    loop {
        let reply = connection.receive(Some(PATIENCE));
        match reply.context("what came of the upgrade is not known")? {
            Reply::Progress { phase, done, total } => progress(&phase, done, total),
            Reply::Result(result) => return Ok(*result),
            Reply::Error { reason } => return Err(Refusal(reason).into()),
            other => bail!("unexpected answer of the keeper: {other:?}"),
        }
    }
}

fn show(options: &Options, result: &UpgradeResult) -> anyhow::Result<ExitCode> {
    if options.json {
        println!("{}", serde_json::to_string(result)?);
    } else {
        println!("{}", summary(result));
    }
    Ok(if result.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(result: &UpgradeResult) -> String {
    let old = version::describe(&result.old_version, &result.old_build);
    let new =
        result.new.as_ref().map_or("?".into(), |new| version::describe(&new.version, &new.build));
    match &result.reason {
        None if result.succeeded && result.dry_run => {
            let fingerprints =
                result.new.as_ref().map(|new| new.fingerprints.join(", ")).unwrap_or_default();
            let arena = &result.fingerprint;
            format!(
                "dry run: {new} could take over from {old}: the arena is {arena}, the new build \
                 serves {fingerprints}"
            )
        }
        None => format!(
            "generation {} serves: {old} -> {new}\n\
             frozen for {}, {} connections moved, {} in all ({}){}",
            result.generation,
            micros(result.freeze_us),
            result.connections,
            millis(result.total_ms),
            phases(&result.phases),
            standing_by(result)
        ),
        Some(reason) if result.rolled_back => format!(
            "rolled back: {reason}\ngeneration {} ({old}) serves again, not {new}",
            result.generation
        ),
        Some(reason) if result.generation == 0 => {
            format!("failed in phase {}: {reason}", result.phase)
        }
        Some(reason) => format!(
            "failed in phase {}: {reason}\ngeneration {} ({old}) serves on",
            result.phase, result.generation
        ),
    }
}

/// What is said of a probation that has not ended.
fn standing_by(result: &UpgradeResult) -> String {
    let ended = result.phases.iter().any(|phase| phase.phase == "probation");
    if result.probation_ms == 0 || ended {
        return String::new();
    }
    let length = Duration::from_millis(result.probation_ms);
    format!("\ngeneration {} stands by for {length:?}: hotredis rollback undoes this", result.from)
}

/// Shows phases: in place on a terminal, else a line for each.
struct Progress {
    wanted: bool,
    terminal: bool,
    phase: String,
}

impl Progress {
    fn new(wanted: bool) -> Self {
        Self { wanted, terminal: std::io::stderr().is_terminal(), phase: String::new() }
    }

    fn show(&mut self, phase: &str, done: u64, total: u64) {
        if !self.wanted {
            return;
        }
        let count = if total > 0 { format!(" {done}/{total}") } else { String::new() };
        if self.terminal {
            // A message that cannot be shown is no reason to give up watching the upgrade.
            let _ = write!(std::io::stderr(), "\r\x1b[K{phase}{count}");
        } else if self.phase != phase {
            let _ = writeln!(std::io::stderr(), "{phase}{count}");
        }
        self.phase = phase.into();
    }

    fn end(&mut self) {
        if self.wanted && self.terminal && !self.phase.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::PhaseTime;

    #[test]
    fn the_summary_says_what_serves() {
        let won = UpgradeResult {
            succeeded: true,
            from: 1,
            generation: 2,
            old_version: "1.0".into(),
            phases: vec![PhaseTime { phase: "start".into(), us: 7000 }],
            connections: 5,
            freeze_us: 321,
            total_ms: 40,
            ..UpgradeResult::default()
        };
        assert_eq!(
            summary(&won),
            "generation 2 serves: 1.0 -> ?\n\
             frozen for 321\u{b5}s, 5 connections moved, 40ms in all (start 7.0ms)"
        );
        let watched = UpgradeResult { probation_ms: 1500, ..won.clone() };
        assert!(
            summary(&watched)
                .ends_with("\ngeneration 1 stands by for 1.5s: hotredis rollback undoes this")
        );
        let over = PhaseTime { phase: "probation".into(), us: 1_500_000 };
        let watched = UpgradeResult { phases: vec![over], ..watched };
        assert!(summary(&watched).ends_with("(probation 1.5s)"));
        let undone = UpgradeResult {
            succeeded: false,
            rolled_back: true,
            generation: 1,
            reason: Some("it hung".into()),
            ..won.clone()
        };
        assert_eq!(
            summary(&undone),
            "rolled back: it hung\ngeneration 1 (1.0) serves again, not ?"
        );
        let lost = UpgradeResult {
            succeeded: false,
            generation: 1,
            phase: "start".into(),
            reason: Some("the successor exited with code 3".into()),
            ..won
        };
        assert!(
            summary(&lost).contains("phase start")
                && summary(&lost).contains("generation 1 (1.0) serves on")
        );
    }
}
