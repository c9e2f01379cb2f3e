//! `hotredis history`: lists the upgrades of a running instance.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::client::Selector;
use super::table::{micros, table, time};
use crate::keeper::protocol::{PhaseTime, Reply, Request, UpgradeResult};
use crate::version;

const PATIENCE: Duration = Duration::from_secs(5);

const TITLES: [&str; 9] =
    ["TIME", "GEN", "FROM", "TO", "FREEZE", "CLIENTS", "RESULT", "PHASES", "BINARY"];

/// List the upgrades of a running instance since its keeper started, the last hundred of them.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    selector: Selector,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut instance = options.selector.find()?;
    instance.connection.send(&Request::History)?;
    match instance.connection.receive(Some(PATIENCE))? {
        Reply::History { upgrades } if options.json => {
            println!("{}", serde_json::to_string_pretty(&upgrades)?);
        }
        Reply::History { upgrades } if upgrades.is_empty() => println!("no upgrades yet"),
        Reply::History { upgrades } => print!("{}", text(&upgrades)),
        Reply::Error { reason } => bail!("refused: {reason}"),
        other => bail!("unexpected answer of the keeper: {other:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(upgrades: &[UpgradeResult]) -> String {
    let mut rows = vec![TITLES.map(String::from).to_vec()];
    rows.extend(upgrades.iter().map(|upgrade| row(upgrade).to_vec()));
    table(&rows)
}

fn row(upgrade: &UpgradeResult) -> [String; TITLES.len()] {
    let new = upgrade.new.as_ref();
    let served = upgrade.succeeded || upgrade.rolled_back;
    [
        time(upgrade.at),
        format!("{} -> {}", upgrade.from, upgrade.to),
        version::describe(&upgrade.old_version, &upgrade.old_build),
        new.map_or("?".into(), |new| version::describe(&new.version, &new.build)),
        if served { micros(upgrade.freeze_us) } else { "-".into() },
        if served { upgrade.connections.to_string() } else { "-".into() },
        outcome(upgrade),
        phases(&upgrade.phases),
        upgrade.binary.display().to_string(),
    ]
}

fn outcome(upgrade: &UpgradeResult) -> String {
    match &upgrade.reason {
        None => "ok".into(),
        Some(reason) if upgrade.rolled_back => format!("rolled back: {reason}"),
        Some(reason) => format!("failed in {}: {reason}", upgrade.phase),
    }
}

/// The phases with their lengths: `preflight 5.1ms, start 12.0ms`.
pub fn phases(phases: &[PhaseTime]) -> String {
    let each = phases.iter().map(|phase| format!("{} {}", phase.phase, micros(phase.us)));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upgrade_has_a_line() {
        let phase = |phase: &str, us| PhaseTime { phase: phase.into(), us };
        let good = UpgradeResult {
            at: 951_782_400,
            succeeded: true,
            from: 1,
            to: 2,
            old_version: "1.0".into(),
            connections: 5,
            freeze_us: 321,
            binary: "/new".into(),
            phases: vec![phase("preflight", 5123), phase("start", 900)],
            ..UpgradeResult::default()
        };
        let failed = UpgradeResult {
            succeeded: false,
            phase: "start".into(),
            reason: Some("it exited".into()),
            ..good.clone()
        };
        let undone =
            UpgradeResult { rolled_back: true, reason: Some("it hung".into()), ..failed.clone() };
        let text = text(&[good, failed, undone]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("TIME") && lines[0].ends_with("BINARY"));
        assert!(
            lines[1].starts_with("2000-02-29 00:00:00Z  1 -> 2  1.0   ?   321\u{b5}s"),
            "{text}"
        );
        assert!(
            lines[1].contains(" ok ") && lines[1].contains("preflight 5.1ms, start 900\u{b5}s")
        );
        assert!(lines[2].contains("failed in start: it exited") && !lines[2].contains("321"));
        assert!(lines[3].contains("rolled back: it hung") && lines[3].contains("321"));
    }
}
