//! `hotredis status`: shows the running instances.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::client::Selector;
use super::complain;
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

const TITLES: [&str; 10] = [
    "PID",
    "GEN",
    "VERSION",
    "BUILD",
    "UPTIME",
    "CLIENTS",
    "KEYS",
    "MEMORY",
    "ADDRESSES",
    "LAST UPGRADE",
];

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let selector = &options.selector;
    let chosen = selector.port.is_some() || selector.pid.is_some() || selector.socket.is_some();
    let (found, silent) =
        if chosen { (vec![selector.find()?], Vec::new()) } else { selector.all()? };
    let statuses: Vec<InstanceStatus> = found.into_iter().map(|instance| instance.status).collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&statuses)?);
    } else if statuses.is_empty() {
        println!("no running instance");
    } else {
        print!("{}", table(&statuses));
    }
    for error in &silent {
        complain(error);
    }
    Ok(if silent.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(statuses: &[InstanceStatus]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut rows = vec![TITLES.map(String::from)];
    rows.extend(statuses.iter().map(|status| row(status, now)));
    let widths: Vec<usize> = (0..TITLES.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(status: &InstanceStatus, now: u64) -> [String; TITLES.len()] {
    let unknown = || "?".to_string();
    let load = status.load;
    [
        status.pid.to_string(),
        status.generation.to_string(),
        status.version.clone(),
        if status.build.is_empty() { "-".into() } else { status.build.clone() },
        span(status.uptime_s),
        load.map_or_else(unknown, |load| load.clients.to_string()),
        load.map_or_else(unknown, |load| load.keys.to_string()),
        load.map_or_else(unknown, |load| size(load.memory)),
        status.addresses.join(" "),
        last_upgrade(status, now),
    ]
}

fn last_upgrade(status: &InstanceStatus, now: u64) -> String {
    if let Some(phase) = &status.upgrading {
        return format!("running: {phase}");
    }
    match &status.last_upgrade {
        None => "-".into(),
        Some(last) if last.succeeded => format!(
            "ok {} ago: frozen {} us, {} ms in all, {} connections",
            span(now.saturating_sub(last.at)),
            last.freeze_us,
            last.total_ms,
            last.connections
        ),
        Some(last) => format!("failed {} ago: {}", span(now.saturating_sub(last.at)), last.result),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn size(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < units.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(scale);
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::{LastUpgrade, Load};

    #[test]
    fn numbers_read_well() {
        assert_eq!([span(5), span(65), span(3660), span(90000)], ["5s", "1m5s", "1h1m", "1d1h"]);
        assert_eq!(
            [size(10), size(1536), size(5 << 30), size(u64::MAX)],
            ["10B", "1.5K", "5.0G", "15.9E"]
        );
    }

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
        let text = table(&[up, InstanceStatus::default()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("17 ") && lines[1].contains("2.0K"));
        assert!(lines[2].contains('?'));
    }
}
