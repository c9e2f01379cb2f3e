//! Tables, and numbers as people read them.

use std::time::Duration;

/// Rows under each other, with columns as wide as their widest cell. Rows may be of any length.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A text, or a dash if there is none.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.into() }
}

/// A number of seconds.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// A number of bytes.
pub fn size(bytes: u64) -> String {
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

/// A number of microseconds, with three digits at most before and one behind the point.
pub fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us}\u{b5}s"),
        1000..1_000_000 => format!("{:.1?}", Duration::from_micros(us)),
        _ => format!("{:.1?}", Duration::from_millis(us / 1000)),
    }
}

/// A number of milliseconds.
pub fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        _ => format!("{:.1?}", Duration::from_millis(ms)),
    }
}

/// A point of time in seconds since 1970, in UTC: `2026-11-23 02:16:43Z`.
pub fn time(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86400, seconds % 86400);
    // Days since the first of March of the year 0, in eras of 400 years, which are all alike: so the
    // leap day is the last of its year, and a month's first day is a linear function of the month.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([span(5), span(65), span(3660), span(90000)], ["5s", "1m5s", "1h1m", "1d1h"]);
        assert_eq!(
            [size(10), size(1536), size(5 << 30), size(u64::MAX)],
            ["10B", "1.5K", "5.0G", "15.9E"]
        );
        assert_eq!(
            [micros(0), micros(321), micros(53_210), micros(1_234_567)],
            ["0\u{b5}s", "321\u{b5}s", "53.2ms", "1.2s"]
        );
        assert_eq!([millis(0), millis(999), millis(61_250)], ["0ms", "999ms", "61.2s"]);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (951_868_800, "2000-03-01 00:00:00Z"),
            (1_795_400_203, "2026-11-23 02:16:43Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }

    #[test]
    fn columns_are_as_wide_as_need_be() {
        let row = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let rows = [row(&["A", "B"]), row(&["long", "x", "more"]), row(&["\u{fc}"])];
        assert_eq!(table(&rows), "A     B\nlong  x  more\n\u{fc}\n");
        assert_eq!(table(&[]), "");
    }
}
