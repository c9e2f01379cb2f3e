//! `hotredis check`: runs the checker on a running instance or on an arena file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::client::Selector;
use super::complain;
use crate::check::check_arena_file;
use crate::keeper::protocol::{Reply, Request};

/// Longer than the keeper gives the checker.
const PATIENCE: Duration = Duration::from_secs(660);

/// Prove an arena: every block reachable exactly once, every record valid, every count right.
///
/// A running server stops between two commands for it; how long is printed. Exits with 0 if nothing
/// is wrong, with 1 if something is, with 2 if the checker could not run.
#[derive(Debug, Args)]
pub struct Options {
    /// An arena file that no server is using; without it, a running instance is checked.
    #[arg(value_name = "ARENA-FILE", conflicts_with = "instance")]
    file: Option<PathBuf>,
    #[command(flatten)]
    selector: Selector,
}

pub fn run(options: &Options) -> ExitCode {
    let checked = match &options.file {
        Some(file) => check_arena_file(file).map(|report| (report.clean, report.text)),
        None => check_instance(&options.selector),
    };
    match checked {
        Ok((clean, text)) => {
            println!("{}", text.trim_end());
            if clean { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn check_instance(selector: &Selector) -> anyhow::Result<(bool, String)> {
    let mut instance = selector.find()?;
    instance.connection.send(&Request::Check)?;
    match instance.connection.receive(Some(PATIENCE))? {
        Reply::Check(result) if result.ran => {
            let stall = Duration::from_micros(result.stall_us);
            Ok((
                result.clean,
                format!("{}\nthe server stood still for {stall:?}", result.text.trim_end()),
            ))
        }
        Reply::Check(result) => bail!("the checker could not run: {}", result.text),
        Reply::Error { reason } => bail!("the checker could not run: {reason}"),
        other => bail!("unexpected answer of the keeper: {other:?}"),
    }
}
