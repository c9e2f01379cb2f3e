//! `hotredis preflight`: says what this binary is.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use super::Entry;

pub fn run(entry: &Entry) -> anyhow::Result<ExitCode> {
    let mut line = serde_json::to_vec(&(entry.identity)())?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).context("cannot print the identity")?;
    Ok(ExitCode::SUCCESS)
}
