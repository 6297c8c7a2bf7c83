//! What a person at a terminal sees: tables, sizes, times, and the line of progress. Pure but for the two functions that write to
//! stdout; a reader that has gone (`| head`) is no error.

use std::io::Write;

use serde_json::Value;

pub(super) fn text(text: &str) {
    if !text.is_empty() {
        writeln!(std::io::stdout().lock(), "{}", text.trim_end()).ok();
    }
}

pub(super) fn document(json: &Value) {
    text(&format!("{json:#}"));
}

/// Columns as wide as their widest cell; the last one runs free.
pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let head = head.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(&rows);
    let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in lines() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{:<width$}  ", printable(cell));
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// A name is a stranger's: it must not move the cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b < 1e3 => format!("{b} B"),
        b if b < 1e6 => format!("{:.0} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}

/// `1:02:03`, `2:03`.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours == 0 { format!("{minutes}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}

/// Seconds of `12.5`, `1:02.5`, `1:02:03`.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no time: write seconds, or as in 1:02:03.5");
    let parts: Vec<&str> = text.split(':').collect();
    let mut total = 0.0;
    for (n, part) in parts.iter().enumerate() {
        let number: f64 = part.parse().map_err(|_| wrong())?;
        let is_whole_below_60 = number.fract() == 0.0 || n + 1 == parts.len();
        if parts.len() > 3 || !(0.0..1e12).contains(&number) || !is_whole_below_60 || (n > 0 && number >= 60.0) {
            return Err(wrong());
        }
        total = total * 60.0 + number;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_a_name_cannot_break_it() {
        let rows = vec![["m-1".to_owned(), "ein\u{1b}[2J\nFilm".to_owned()], ["img-22".to_owned(), "ü".to_owned()]];
        assert_eq!(table(["ID", "NAME"], rows), "ID      NAME\nm-1     ein [2J Film\nimg-22  ü\n");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, wanted) in [("12.5", 12.5), ("1:02.5", 62.5), ("1:02:03", 3723.0), ("0", 0.0), ("90", 90.0)] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "x", "-1", "1:60", "1:2:3:4", "1.5:00", "inf", "nan", "1:"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_clocks() {
        assert_eq!(
            [size(999), size(52_000), size(1_500_000), size(20_000_000_000)],
            ["999 B", "52 kB", "1.5 MB", "20.00 GB"]
        );
        assert_eq!([clock(0.4), clock(62.0), clock(3723.6)], ["0:00", "1:02", "1:02:04"]);
    }
}
