//! `hotredis upgrade`: has a running instance replaced by a new binary, and says what came of it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::client::{Selector, seconds};
use crate::keeper::protocol::{Reply, Request, UpgradeResult};
use crate::version;

/// Longer than the longest time that an upgrade can be given: the keeper answers earlier, always.
const PATIENCE: Duration = Duration::from_secs(3600 + 120);

/// Replace the binary of a running instance without dropping a connection.
///
/// Waits for the end. Exits with 0 only if the new generation serves; otherwise the old one serves
/// on.
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
    /// Only ask the new binary whether it could take over.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON, and no progress.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut instance = options.selector.find()?;
    let binary =
        std::path::absolute(&options.binary).context("cannot make the binary's path absolute")?;
    let timeout_ms =
        options.timeout.map(|timeout| u64::try_from(timeout.as_millis())).transpose()?;
    let old = format!(
        "generation {} (pid {})",
        instance.status.generation, instance.status.generation_pid
    );
    instance.connection.send(&Request::Upgrade { binary, timeout_ms, dry_run: options.dry_run })?;
    let mut progress = Progress::new(!options.json);
    loop {
        match instance
            .connection
            .receive(Some(PATIENCE))
            .context("what came of the upgrade is not known")?
        {
            Reply::Progress { phase, done, total } => progress.show(&phase, done, total),
            Reply::Result(result) => {
                progress.end();
                return show(options, &result);
            }
            Reply::Error { reason } => {
                progress.end();
                if options.json {
                    let refused =
                        UpgradeResult { reason: Some(reason.clone()), ..UpgradeResult::default() };
                    println!("{}", serde_json::to_string(&refused)?);
                }
                bail!("refused: {reason}; {old} serves on");
            }
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
            format!("dry run: {new} could take over from {old} (serves arenas {fingerprints})")
        }
        None => format!(
            "generation {} serves: {old} -> {new}, {} connections moved, frozen for {}, {} in all",
            result.generation,
            result.connections,
            micros(result.freeze_us),
            micros(result.total_ms.saturating_mul(1000))
        ),
        Some(reason) => format!(
            "failed in phase {}: {reason}\ngeneration {} ({old}) serves on",
            result.phase, result.generation
        ),
    }
}

fn micros(us: u64) -> String {
    format!("{:?}", Duration::from_micros(us))
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

    #[test]
    fn the_summary_says_what_serves() {
        let won = UpgradeResult {
            succeeded: true,
            generation: 2,
            old_version: "1.0".into(),
            connections: 5,
            freeze_us: 321,
            total_ms: 40,
            ..UpgradeResult::default()
        };
        assert_eq!(
            summary(&won),
            "generation 2 serves: 1.0 -> ?, 5 connections moved, frozen for 321µs, 40ms in all"
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
