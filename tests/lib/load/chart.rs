//! A run's timeline as text: the longest latency and the throughput over time, with the marks
//! below.

use std::fmt::Write;

use super::report::{Report, micros};
use super::timeline::Bucket;

/// Columns of the chart, its scale not counted.
const WIDTH: usize = 80;

/// Eighths of a character, from below.
const BLOCKS: [char; 9] = [
    ' ', '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}',
    '\u{2588}',
];

/// Draws the timeline: a column for one or more buckets, a caret below each column in which
/// something was marked.
pub fn draw(report: &Report) -> String {
    let per_column = report.timeline.len().div_ceil(WIDTH).max(1);
    // The last bucket is cut short by the end of the run and would look like a slump.
    let whole = report.timeline.len().saturating_sub(1).max(1).min(report.timeline.len());
    let columns: Vec<Bucket> =
        report.timeline[..whole].chunks_exact(per_column).map(merge).collect();
    let seconds_per_column = (per_column as u64 * report.bucket_ms) as f64 / 1e3;
    let latencies: Vec<f64> = columns.iter().map(|c| c.max_latency_us as f64).collect();
    let rates: Vec<f64> = columns.iter().map(|c| c.replies as f64 / seconds_per_column).collect();

    let mut text = String::new();
    let title = format!("longest latency in each {} ms", per_column as u64 * report.bucket_ms);
    plot(&mut text, &title, &latencies, 6, |us| micros(us as u64));
    plot(&mut text, "replies per second", &rates, 4, |rate| format!("{:.0}k", rate / 1e3));
    marks(&mut text, report, columns.len(), seconds_per_column);
    text
}

fn merge(buckets: &[Bucket]) -> Bucket {
    buckets.iter().fold(Bucket::default(), |sum, bucket| Bucket {
        replies: sum.replies + bucket.replies,
        max_latency_us: sum.max_latency_us.max(bucket.max_latency_us),
        max_gap_us: sum.max_gap_us.max(bucket.max_gap_us),
    })
}

fn plot(
    text: &mut String,
    title: &str,
    values: &[f64],
    rows: usize,
    label: impl Fn(f64) -> String,
) {
    let top = values.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(text, "{:>9}  {title}", "");
    for row in (0..rows).rev() {
        let scale = if row + 1 == rows { label(top) } else { String::new() };
        let _ = write!(text, "{scale:>9} \u{2502}");
        for value in values {
            let eighths = if top > 0.0 { value / top * (rows * 8) as f64 } else { 0.0 };
            let here = (eighths - (row * 8) as f64).clamp(0.0, 8.0);
            // Something is never drawn as nothing.
            let least = if row == 0 && *value > 0.0 { 1.0 } else { 0.0 };
            text.push(BLOCKS[here.max(least).round() as usize]);
        }
        text.push('\n');
    }
}

fn marks(text: &mut String, report: &Report, columns: usize, seconds_per_column: f64) {
    let mut axis = vec!['\u{2500}'; columns];
    for mark in &report.marks {
        let column = (mark.at_ms / 1e3 / seconds_per_column) as usize;
        if let Some(place) = axis.get_mut(column) {
            *place = '\u{25b2}';
        }
    }
    let _ = writeln!(text, "{:>9} \u{2514}{}", "0 s", axis.into_iter().collect::<String>());
    let end = format!("{:.0} s", columns as f64 * seconds_per_column);
    let _ = writeln!(text, "{:>9}  {end:>columns$}", "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::{Faults, Latency, OwnCost, ReportedMark};

    #[test]
    fn a_stall_stands_out_above_its_mark() {
        let mut timeline =
            vec![Bucket { replies: 1_000, max_latency_us: 500, max_gap_us: 100 }; 41];
        timeline[20].max_latency_us = 40_000;
        timeline[20].replies = 100;
        let report = Report {
            idle: 0,
            idle_kept: 0,
            waiting: 0,
            waiting_lost: 0,
            delivered: 0,
            busy: 1,
            busy_kept: 1,
            seconds: 4.0,
            requests: 0,
            replies: 0,
            replies_per_s: 0.0,
            faults: Faults::default(),
            errors: 0,
            problems: Vec::new(),
            longest_gap_us: 0,
            latency: Latency::default(),
            bucket_ms: 100,
            timeline,
            marks: vec![ReportedMark { at_ms: 2_050.0, label: "upgrade".into() }],
            own: OwnCost::default(),
            start: std::time::Instant::now(),
            samples: Vec::new(),
        };
        let text = draw(&report);
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        assert!(lines[1].iter().collect::<String>().starts_with("  40.0 ms"), "{text}");
        assert_eq!(lines[1].iter().filter(|c| **c == '\u{2588}').count(), 1, "{text}");
        let peak = lines[1].iter().position(|c| *c == '\u{2588}').unwrap();
        let mark = lines[12].iter().position(|c| *c == '\u{25b2}');
        assert_eq!(mark, Some(peak), "{text}");
    }
}
