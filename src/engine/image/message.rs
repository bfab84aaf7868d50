//! One line of a long image operation's progress, as Docker's clients read it.

use bollard_stubs::models as docker;
use serde::Serialize;

use crate::engine::error::{EngineError, ErrorKind};

/// A progress message; serialises to Docker's JSON line (`{"status":"Downloading","progressDetail":{...},"id":...}`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Text for the terminal, as `load` and `build` send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<docker::ProgressDetail>,
    /// The bar that old clients print as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The layer (12 digits) or tag it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Facts for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
    /// The end: what went wrong.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<docker::ErrorDetail>,
    /// The same as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which kind of refusal `error` is; not sent, but it tells the status where a failure comes first.
    #[serde(skip)]
    pub kind: Option<ErrorKind>,
}

impl Progress {
    /// Something that is so.
    pub fn status(status: impl Into<String>) -> Self {
        Self { status: Some(status.into()), ..Self::default() }
    }

    /// Something that is so with the layer or tag `id`.
    pub fn of(id: impl Into<String>, status: impl Into<String>) -> Self {
        let progress_detail = Some(docker::ProgressDetail { current: None, total: None });
        Self { id: Some(id.into()), status: Some(status.into()), progress_detail, ..Self::default() }
    }

    /// How many of how many bytes of `id` are done.
    pub fn bytes(id: impl Into<String>, status: impl Into<String>, current: u64, total: u64) -> Self {
        let number = |bytes: u64| Some(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(docker::ProgressDetail {
                current: number(current),
                total: number(total).filter(|total| *total > 0),
            }),
            progress: Some(bar(current, total)),
            ..Self::default()
        }
    }

    /// Text for the terminal.
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: Some(text.into()), ..Self::default() }
    }

    /// The failure that ends the operation.
    pub fn failure(error: &EngineError) -> Self {
        let message = error.message().to_owned();
        Self {
            error_detail: Some(docker::ErrorDetail { code: None, message: Some(message.clone()) }),
            error: Some(message),
            kind: Some(error.kind()),
            ..Self::default()
        }
    }
}

impl From<Progress> for docker::CreateImageInfo {
    fn from(message: Progress) -> Self {
        Self {
            id: message.id,
            error_detail: message.error_detail,
            status: message.status,
            progress_detail: message.progress_detail,
        }
    }
}

/// Docker's 50-column bar and sizes (`[=====>     ]  1.2MB/3.4MB`), for clients that print `progress` as it is.
fn bar(current: u64, total: u64) -> String {
    if total == 0 {
        return format!("{:>8}", size(current));
    }
    let current_shown = current.min(total);
    let filled = usize::try_from(u128::from(current_shown) * 50 / u128::from(total)).unwrap_or(50);
    let blank = 50usize.saturating_sub(filled);
    format!("[{}>{}] {:>8}/{}", "=".repeat(filled), " ".repeat(blank), size(current), size(total))
}

/// A size with four significant digits and decimal units, as Docker writes it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 1000.0 {
        let Some(next) = units.next() else { break };
        unit = next;
        value /= 1000.0;
    }
    let decimals = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_dockers_json() {
        let json = |message: &Progress| serde_json::to_string(message).unwrap();
        assert_eq!(json(&Progress::status("Digest: x")), r#"{"status":"Digest: x"}"#);
        assert_eq!(
            json(&Progress::of("a", "Pull complete")),
            r#"{"status":"Pull complete","progressDetail":{},"id":"a"}"#
        );
        let half = Progress::bytes("a", "Downloading", 1_200_000, 2_400_000);
        assert_eq!(
            half.progress.as_deref(),
            Some("[=========================>                         ]    1.2MB/2.4MB")
        );
        let failure = Progress::failure(&EngineError::not_found("no"));
        assert_eq!(json(&failure), r#"{"errorDetail":{"message":"no"},"error":"no"}"#);
    }

    #[test]
    fn sizes_have_four_digits() {
        for (bytes, text) in [(0, "0B"), (999, "999B"), (1234, "1.234kB"), (206_300_000, "206.3MB"), (10_000, "10kB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
