//! What the values of flags may be. A value with a variable in it is known only at build time and passes.

use super::chmod::ModeChange;
use super::duration;
use super::glob::Pattern;
use super::mount::{self, MountFault};
use super::suggest::nearest;

/// What is wrong with the value of the flag `name` of `keyword`; places are bytes of the value.
pub(super) fn check(keyword: &str, name: &str, value: &str) -> Vec<MountFault> {
    let all = |message: String, expected: &str, replacement: Option<String>| {
        vec![MountFault { range: 0..value.len(), message, expected: Some(expected.to_owned()), replacement }]
    };
    let one_of = |message: String, known: &[&str]| {
        let near = nearest(value, known.iter().copied()).map(str::to_owned);
        all(message, &format!("one of {}", known.join(", ")), near)
    };
    match (keyword, name) {
        ("RUN", "mount") => mount::check(value),
        // No variables are replaced in the flags of HEALTHCHECK.
        ("HEALTHCHECK", "retries") => match value.parse::<i32>() {
            _ if value.is_empty() => Vec::new(),
            Err(_) => all(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"), "a number", None),
            Ok(count) if count < 0 => {
                all(format!("--retries cannot be negative ({count})"), "a number from 0 on", None)
            }
            Ok(_) => Vec::new(),
        },
        ("HEALTHCHECK", _) => match duration::parse(value) {
            _ if value.is_empty() => Vec::new(),
            None => {
                let seconds = value.chars().all(|c| c.is_ascii_digit()).then(|| format!("{value}s"));
                all(format!("time: invalid duration {value:?}"), "a time like 30s or 1m30s", seconds)
            }
            Some(time) if !time.is_zero() && time.as_millis() == 0 => {
                all(format!("Interval {name:?} cannot be less than 1ms"), "1ms or more", None)
            }
            Some(_) => Vec::new(),
        },
        _ if value.contains('$') => Vec::new(),
        ("RUN", "network") if !["default", "none", "host"].contains(&value) => {
            one_of(format!("unsupported network mode {value:?}"), &["default", "none", "host"])
        }
        ("RUN", "security") if !["sandbox", "insecure"].contains(&value) => {
            one_of(format!("security {value:?} is not valid"), &["sandbox", "insecure"])
        }
        ("RUN", "device") if value.split(',').next().is_none_or(|device| device.trim().is_empty()) => {
            all("device name is missing".to_owned(), "vendor.com/class=name, and `,required`", None)
        }
        ("COPY" | "ADD", "chmod") => match ModeChange::parse(value) {
            Err(error) => all(error.to_string(), "a mode like 0755 or u+x,go-w", None),
            Ok(_) => Vec::new(),
        },
        ("COPY" | "ADD", "exclude") if Pattern::ignore(value).is_err() => all(
            format!("invalid exclude pattern {value:?}: syntax error in pattern"),
            "a pattern as in .dockerignore",
            None,
        ),
        ("ADD", "checksum") if !is_checksum(value) => {
            all(format!("invalid checksum digest format: {value:?}"), "sha256: and 64 hexadecimal digits", None)
        }
        ("FROM", "platform") if !is_platform(value) => {
            all(format!("{value:?}: invalid platform"), "os/architecture[/variant], like linux/arm64", None)
        }
        _ => Vec::new(),
    }
}

/// A digest, or the commit that a git source must have.
fn is_checksum(value: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match value.split_once(':') {
        Some(("sha256", digits)) => digits.len() == 64 && is_hex(digits),
        Some(("sha384", digits)) => digits.len() == 96 && is_hex(digits),
        Some(("sha512", digits)) => digits.len() == 128 && is_hex(digits),
        Some(_) => false,
        None => (7..=64).contains(&value.len()) && is_hex(value),
    }
}

/// One to three parts of letters, digits and `_.-`; the first may carry a version, as `windows(10.0)/amd64`.
fn is_platform(value: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let parts: Vec<&str> = value.split('/').collect();
    (1..=3).contains(&parts.len())
        && parts.iter().enumerate().all(|(index, part)| {
            match part.strip_suffix(')').and_then(|it| it.split_once('(')) {
                Some((os, version)) => index == 0 && is_word(os) && !version.is_empty(),
                None => is_word(part),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_where_they_can_be_known() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let good = [
            ("RUN", "network", "host"),
            ("RUN", "network", "$n"),
            ("RUN", "security", "insecure"),
            ("RUN", "device", "vendor1.com/device=foo,required"),
            ("COPY", "chmod", "u=rwX,go=rX"),
            ("ADD", "chmod", "${mode:-0644}"),
            ("ADD", "checksum", &digest),
            ("ADD", "checksum", "24454f830cdb571e2c4ad15481119c43b3cafd48"),
            ("COPY", "exclude", "**/*.log"),
            ("FROM", "platform", "linux/arm64/v8"),
            ("FROM", "platform", "windows(10.0.17763)/amd64"),
            ("HEALTHCHECK", "start-interval", "500ms"),
            ("HEALTHCHECK", "retries", "0"),
        ];
        for (keyword, name, value) in good {
            assert_eq!(check(keyword, name, value), [], "{keyword} --{name}={value}");
        }
        let bad = [
            ("RUN", "network", "hots", "unsupported network mode \"hots\""),
            ("RUN", "security", "none", "security \"none\" is not valid"),
            ("RUN", "device", "", "device name is missing"),
            (
                "COPY",
                "chmod",
                "rwx",
                "invalid chmod parameter: 'rwx'. it should be octal string and between 0 and 07777",
            ),
            ("ADD", "checksum", "sha256:x", "invalid checksum digest format: \"sha256:x\""),
            ("COPY", "exclude", "[a", "invalid exclude pattern \"[a\": syntax error in pattern"),
            ("FROM", "platform", "linux/a/b/c", "\"linux/a/b/c\": invalid platform"),
            ("HEALTHCHECK", "interval", "30", "time: invalid duration \"30\""),
            ("HEALTHCHECK", "timeout", "1us", "Interval \"timeout\" cannot be less than 1ms"),
            ("HEALTHCHECK", "retries", "-1", "--retries cannot be negative (-1)"),
        ];
        for (keyword, name, value, message) in bad {
            let found = check(keyword, name, value);
            assert_eq!(found.first().map(|it| it.message.as_str()), Some(message), "{keyword} --{name}={value}");
        }
        assert_eq!(check("RUN", "network", "hots")[0].replacement.as_deref(), Some("host"));
    }
}
