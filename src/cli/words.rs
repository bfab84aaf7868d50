//! How the command line says durations, sizes and IDs: in docker's words, since scripts and eyes are used to them.

use jiff::Timestamp;

use crate::dockerfile::size::bytes;

/// The time from `then` to `now`, like `About an hour` or `3 days`.
pub fn span(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    let minutes = seconds / 60;
    // Docker rounds hours and cuts everything else.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `seconds` since 1970, as the API counts creation times, told as an age.
pub fn age(now: Timestamp, seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "N/A".to_owned(), |then| format!("{} ago", span(now, then)))
}

/// A size with `digits` significant digits and decimal units, like `72.8MB`.
pub fn size(bytes: i64, digits: usize) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    scaled(bytes, digits, 1000.0, &UNITS)
}

/// A size of memory with binary units, like `1.5GiB`.
pub fn memory(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    scaled(bytes, 4, 1024.0, &UNITS)
}

fn scaled(bytes: i64, digits: usize, base: f64, units: &[&str]) -> String {
    #[allow(clippy::cast_precision_loss)] // shown with four digits at most
    let mut value = bytes.max(0) as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= base {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / base, next);
    }
    let before = 1 + value.max(1.0).log10().floor().max(0.0) as usize;
    let text = format!("{value:.*}", digits.saturating_sub(before));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// An error with its causes, each fact once: a cause that is quoted already is not said again.
pub fn causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The first twelve digits of an ID.
pub fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// `text` cut to `width` characters, with an ellipsis as the last one where it was longer.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Bytes from a size as people write it: `64m`, `1.5g`, `512k`, `1024`; binary, as `--memory` takes it.
///
/// # Errors
/// Docker's `invalid size: 'x'`.
pub fn parse_size(text: &str) -> Result<i64, String> {
    let size = bytes(text).and_then(|size| i64::try_from(size).ok());
    size.ok_or_else(|| format!("invalid size: '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_dockers() {
        let check = |seconds: i64, expected: &str| {
            let now = Timestamp::from_second(1_700_000_000).unwrap();
            assert_eq!(span(now, Timestamp::from_second(1_700_000_000 - seconds).unwrap()), expected, "{seconds} s");
        };
        check(0, "Less than a second");
        check(1, "1 second");
        check(59, "59 seconds");
        check(119, "About a minute");
        check(45 * 60, "45 minutes");
        check(75 * 60, "About an hour");
        check(47 * 3600, "47 hours");
        check(3 * 86400, "3 days");
        check(20 * 86400, "2 weeks");
        check(90 * 86400, "3 months");
        check(800 * 86400, "2 years");
    }

    #[test]
    fn sizes_are_dockers() {
        assert_eq!(size(72_800_000, 3), "72.8MB");
        assert_eq!(size(0, 3), "0B");
        assert_eq!(size(4_261_000, 3), "4.26MB");
        assert_eq!(size(125_000_000, 3), "125MB");
        assert_eq!(memory(67_108_864), "64MiB");
        assert_eq!(memory(1_610_612_736), "1.5GiB");
    }

    #[test]
    fn sizes_are_read_as_memory_limits() {
        for (text, bytes) in
            [("64m", 67_108_864), ("1g", 1 << 30), ("512k", 524_288), ("10", 10), ("1.5KiB", 1536), ("2GB", 2 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("much").unwrap_err(), "invalid size: 'much'");
    }

    #[test]
    fn ids_and_commands_are_cut() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(ellipsis("sh -c 'echo something long'", 10), "sh -c 'ec…");
    }
}
