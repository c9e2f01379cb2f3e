//! `hotredis rollback`: has the generation before the last upgrade serve again.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::client::Selector;
use super::table::{micros, millis};
use crate::keeper::protocol::{Reply, Request, RollbackResult};
use crate::version;

/// Longer than the keeper gives both generations together, which depends on the longest
/// `--hang-timeout`.
const PATIENCE: Duration = Duration::from_secs(3600 + 60);

/// Undo the last upgrade of a running instance, while its predecessor stands by.
///
/// The serving generation gives the server back without dropping a connection; if it does not answer
/// it is killed first. After the probation there is nobody to go back to: upgrade to the older build
/// instead. Exits with 0 only if the generation before serves again.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    selector: Selector,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut instance = options.selector.find()?;
    instance.connection.send(&Request::Rollback)?;
    let answer = instance.connection.receive(Some(PATIENCE));
    match answer.context("what came of the rollback is not known")? {
        Reply::Rollback(result) => {
            match options.json {
                true => println!("{}", serde_json::to_string(&result)?),
                false => println!("{}", summary(&result)),
            }
            Ok(if result.rolled_back { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Reply::Error { reason } => {
            if options.json {
                let generation = instance.status.generation;
                let reason = reason.clone();
                let refused = RollbackResult { reason, generation, ..RollbackResult::default() };
                println!("{}", serde_json::to_string(&refused)?);
            }
            bail!("refused: {reason}")
        }
        other => bail!("unexpected answer of the keeper: {other:?}"),
    }
}

fn summary(result: &RollbackResult) -> String {
    let serves = version::describe(&result.version, &result.build);
    let RollbackResult { generation, reason, connections, .. } = result;
    if !result.rolled_back {
        return format!("not rolled back: {reason}\ngeneration {generation} ({serves}) serves on");
    }
    let how = match result.given {
        true => format!("frozen for {}", micros(result.freeze_us)),
        false => "the newer one was killed".into(),
    };
    let total = millis(result.total_ms);
    format!(
        "rolled back: generation {generation} serves again: {serves}\n\
         {how}, {connections} connections, {total} in all ({reason})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_who_serves() {
        let given = RollbackResult {
            rolled_back: true,
            reason: "asked for".into(),
            generation: 1,
            version: "1.0".into(),
            given: true,
            connections: 5,
            freeze_us: 321,
            total_ms: 4,
            ..RollbackResult::default()
        };
        assert_eq!(
            summary(&given),
            "rolled back: generation 1 serves again: 1.0\n\
             frozen for 321\u{b5}s, 5 connections, 4ms in all (asked for)"
        );
        let taken = RollbackResult { given: false, ..given.clone() };
        assert!(summary(&taken).contains("the newer one was killed"));
        let refused = RollbackResult { rolled_back: false, generation: 2, ..given };
        assert_eq!(summary(&refused), "not rolled back: asked for\ngeneration 2 (1.0) serves on");
    }
}
