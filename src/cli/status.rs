//! `hotredis status`: shows the running instances.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::client::Selector;
use super::complain;
use super::table::{or_dash, size, span, table};
use crate::keeper::protocol::InstanceStatus;

/// Show running instances.
///
/// Exits with 0 if every instance that was found answered, and with 1 if one did not, or none was
/// found that is meant.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    selector: Selector,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

const TITLES: [&str; 12] = [
    "PID",
    "GEN",
    "VERSION",
    "BUILD",
    "UPTIME",
    "CLIENTS",
    "KEYS",
    "MEMORY",
    "ADDRESSES",
    "SPARE",
    "UPGRADES",
    "LAST UPGRADE",
];

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let selector = &options.selector;
    let (found, silent) =
        if selector.chooses() { (selector.meant()?, Vec::new()) } else { selector.all()? };
    let statuses: Vec<InstanceStatus> = found.into_iter().map(|instance| instance.status).collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&statuses)?);
    } else if statuses.is_empty() {
        println!("no running instance");
    } else {
        print!("{}", text(&statuses));
    }
    for error in &silent {
        complain(error);
    }
    Ok(if silent.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(statuses: &[InstanceStatus]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut rows = vec![TITLES.map(String::from).to_vec()];
    rows.extend(statuses.iter().map(|status| row(status, now).to_vec()));
    table(&rows)
}

fn row(status: &InstanceStatus, now: u64) -> [String; TITLES.len()] {
    let unknown = || "?".to_string();
    let load = status.load;
    [
        status.pid.to_string(),
        status.generation.to_string(),
        status.version.clone(),
        or_dash(&status.build),
        span(status.uptime_s),
        load.map_or_else(unknown, |load| load.clients.to_string()),
        load.map_or_else(unknown, |load| load.keys.to_string()),
        load.map_or_else(unknown, |load| size(load.memory)),
        status.addresses.join(" "),
        spare(status).into(),
        counts(status),
        last_upgrade(status, now),
    ]
}

/// How far the generation is that is kept for a crash.
fn spare(status: &InstanceStatus) -> &'static str {
    match &status.spare {
        None => "-",
        Some(spare) if spare.ready => "ready",
        Some(_) => "starting",
    }
}

/// How many upgrades came off, failed, and were undone.
fn counts(status: &InstanceStatus) -> String {
    let counts =
        [(status.upgrades, "ok"), (status.failures, "failed"), (status.rollbacks, "rolled back")];
    let shown = counts.into_iter().filter(|(count, _)| *count > 0);
    or_dash(&shown.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", "))
}

fn last_upgrade(status: &InstanceStatus, now: u64) -> String {
    if let Some(phase) = &status.upgrading {
        return format!("running: {phase}");
    }
    let last = match &status.last_upgrade {
        None => "-".into(),
        Some(last) if last.succeeded => format!(
            "ok {} ago: frozen {} us, {} ms in all, {} connections",
            span(now.saturating_sub(last.at)),
            last.freeze_us,
            last.total_ms,
            last.connections
        ),
        Some(last) if last.rolled_back => {
            format!("{} ago {}", span(now.saturating_sub(last.at)), last.result)
        }
        Some(last) => format!("failed {} ago: {}", span(now.saturating_sub(last.at)), last.result),
    };
    match &status.probation {
        None => last,
        Some(probation) => format!(
            "on probation for {:.1} s yet, generation {} stands by; {last}",
            Duration::from_millis(probation.left_ms).as_secs_f64(),
            probation.generation
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::{LastUpgrade, Load, ProbationStatus};

    #[test]
    fn the_table_has_a_line_for_each() {
        let last = LastUpgrade {
            at: 95,
            succeeded: true,
            freeze_us: 321,
            total_ms: 40,
            connections: 5,
            ..Default::default()
        };
        let up = InstanceStatus {
            pid: 17,
            generation: 2,
            load: Some(Load { clients: 5, keys: 3, memory: 2048 }),
            last_upgrade: Some(last),
            ..InstanceStatus::default()
        };
        assert_eq!(last_upgrade(&up, 100), "ok 5s ago: frozen 321 us, 40 ms in all, 5 connections");
        let text = text(&[up, InstanceStatus::default()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("17 ") && lines[1].contains("2.0K"));
        assert!(lines[2].contains('?'));
    }

    #[test]
    fn what_was_undone_and_what_is_on_probation_is_told() {
        let last = LastUpgrade {
            at: 95,
            rolled_back: true,
            result: "rolled back: it hung".into(),
            ..Default::default()
        };
        let probation = ProbationStatus { generation: 3, left_ms: 1250, ..Default::default() };
        let status = InstanceStatus {
            last_upgrade: Some(last),
            upgrades: 2,
            rollbacks: 1,
            ..InstanceStatus::default()
        };
        assert_eq!(counts(&status), "2 ok, 1 rolled back");
        assert_eq!(counts(&InstanceStatus::default()), "-");
        assert_eq!(last_upgrade(&status, 100), "5s ago rolled back: it hung");
        let watched = InstanceStatus { probation: Some(probation), ..InstanceStatus::default() };
        assert_eq!(
            last_upgrade(&watched, 100),
            "on probation for 1.2 s yet, generation 3 stands by; -"
        );
    }
}
