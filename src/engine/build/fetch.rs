//! Downloads: the URLs of ADD, and remote contexts.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rustix::fs::{Mode, Timespec, Timestamps};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::copy::{CopyError, Destination};
use super::source::without_password;
use crate::engine::layer::{Digest, Hasher};
use crate::engine::store::StateRoot;
use crate::engine::{EngineError, ErrorKind};

/// A server that says nothing for so long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// A larger file than this is a mistake, or an attempt to fill the disk.
const MAX_BYTES: u64 = 64 << 30;
/// How much of a server's refusal is told.
const MAX_WORDS: usize = 300;

/// A downloaded file, which goes with this value.
pub(super) struct Download {
    /// From where.
    pub url: String,
    /// What came.
    pub file: NamedTempFile,
    /// Its digest.
    pub digest: Digest,
    /// When the server says it changed, in seconds since 1970; 0 where it does not say.
    pub modified: i64,
    /// What the server calls it (`Content-Disposition`).
    pub offered_name: Option<String>,
}

impl Download {
    /// The name that the URL gives it, else the server.
    pub(super) fn name(&self) -> Option<String> {
        let path = self.url.split_once("://").map_or("", |(_, rest)| rest).split(['?', '#']).next().unwrap_or_default();
        let last = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).filter(|name| !name.is_empty());
        let decoded = last.map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned());
        decoded.or_else(|| self.offered_name.clone()).and_then(|name| file_name(&name))
    }
}

/// A name that can be a file's in a folder.
fn file_name(name: &str) -> Option<String> {
    let name = name.replace(['/', '\0'], "_");
    (!matches!(name.as_str(), "" | "." | "..")).then_some(name)
}

/// Whether a source of ADD is one to download.
pub(super) fn is_url(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Downloads `url` into the state root's temp folder. A `checksum` refuses anything else.
pub(super) async fn fetch(
    root: &Arc<StateRoot>,
    url: &str,
    checksum: Option<&Digest>,
    cancel: &CancellationToken,
) -> Result<Download, EngineError> {
    tokio::select! {
        download = download(root, url, checksum) => download,
        () = cancel.cancelled() => Err(EngineError::new(ErrorKind::Unavailable, "the build was cancelled")),
    }
}

async fn download(root: &StateRoot, url: &str, checksum: Option<&Digest>) -> Result<Download, EngineError> {
    let shown = without_password(url);
    let broken = |error: reqwest::Error| {
        EngineError::new(ErrorKind::Unavailable, format!("failed to GET {shown}: {}", innermost(&error)))
    };
    let disk = |error: std::io::Error| EngineError::system(format!("store {shown}: {error}"));
    let response = client()?.get(url).send().await.map_err(broken)?;
    if !response.status().is_success() {
        return Err(refusal(&shown, response).await);
    }
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let modified = header("last-modified").and_then(http_date).unwrap_or(0);
    let offered_name = header("content-disposition").and_then(offered_name);
    let mut file = NamedTempFile::new_in(root.path().join("tmp")).map_err(disk)?;
    let mut hasher = Hasher::default();
    let mut bytes = 0_u64;
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(broken)?;
        bytes += chunk.len() as u64;
        if bytes > MAX_BYTES {
            return Err(EngineError::invalid(format!("{shown} is larger than {} GiB", MAX_BYTES >> 30)));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(disk)?;
    }
    let digest = hasher.finish();
    if let Some(wanted) = checksum.filter(|wanted| **wanted != digest) {
        return Err(EngineError::invalid(format!("digest mismatch for {shown}: expected {wanted}, got {digest}")));
    }
    Ok(Download { url: url.to_owned(), file, digest, modified, offered_name })
}

/// A server's refusal, with the beginning of what it says.
async fn refusal(url: &str, response: reqwest::Response) -> EngineError {
    let status = response.status();
    let kind = if status == reqwest::StatusCode::NOT_FOUND { ErrorKind::NotFound } else { ErrorKind::Unavailable };
    let mut words = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(Ok(chunk)) = body.next().await {
        words.extend_from_slice(&chunk);
        if words.len() > 4 * MAX_WORDS {
            break;
        }
    }
    let words = String::from_utf8_lossy(&words);
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_WORDS).collect();
    let mut message = format!("failed to GET {url} with status {status}");
    if !words.is_empty() {
        message.push_str(": ");
        message.push_str(&words);
    }
    EngineError::new(kind, message)
}

/// The `filename` of a `Content-Disposition`.
fn offered_name(header: &str) -> Option<String> {
    let parameters = header.split(';').skip(1).filter_map(|part| part.trim().split_once('='));
    let mut plain = None;
    for (key, value) in parameters {
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "filename" => plain = Some(value.to_owned()),
            "filename*" => {
                let encoded = value.rsplit('\'').next().unwrap_or(value);
                return Some(percent_encoding::percent_decode_str(encoded).decode_utf8_lossy().into_owned());
            }
            _ => {}
        }
    }
    plain
}

fn client() -> Result<reqwest::Client, EngineError> {
    let failed = |error: &dyn std::error::Error| EngineError::system(format!("set up HTTPS: {error}"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("boxyard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(SILENCE_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        .build()
        .map_err(|error| failed(&error))
}

/// The cause that a person can do something about stands at the end of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The seconds since 1970 of an HTTP date (`Wed, 21 Oct 2015 07:28:00 GMT`).
fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(|time| time.as_second())
}

impl Destination<'_> {
    /// Writes a download: for its owner only to read, as Docker does, with the time the server gave.
    pub(super) fn write_download(&self, target: &std::path::Path, download: &Download) -> Result<(), CopyError> {
        let mode = self.mode.as_ref().map_or(0o600, |change| change.apply(0o600, false));
        let source = download.file.reopen().map_err(|source| CopyError::io("read", target, source))?;
        let file = self.create(target)?;
        let attempt = || {
            self.fill(&file, &source, &rustix::fs::fstat(&source)?)?;
            self.own_file(&file)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            let time = Timespec { tv_sec: download.modified, tv_nsec: 0 };
            rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            std::io::Result::Ok(())
        };
        attempt().map_err(|source| CopyError::io("write", target, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_urls() {
        assert_eq!(http_date("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert!(is_url("HTTPS://example.org/x") && !is_url("http.txt"));
        assert_eq!(offered_name("attachment; filename=\"a b.txt\"").as_deref(), Some("a b.txt"));
        assert_eq!(offered_name("inline; filename=x; filename*=UTF-8''%c3%a4.txt").as_deref(), Some("ä.txt"));
        assert_eq!(offered_name("inline"), None);
    }

    #[test]
    fn a_download_has_the_urls_last_name_or_the_servers() {
        let name = |url: &str, offered: Option<&str>| {
            let file = NamedTempFile::new().unwrap();
            let offered_name = offered.map(str::to_owned);
            Download { url: url.to_owned(), file, digest: Digest::of(b""), modified: 0, offered_name }.name()
        };
        assert_eq!(name("http://host/a/b.tar.gz?x=/y", None).as_deref(), Some("b.tar.gz"));
        assert_eq!(name("http://host/a/b.tar.gz", Some("c")).as_deref(), Some("b.tar.gz"));
        assert_eq!(name("http://host/get?id=1", Some("x")).as_deref(), Some("get"));
        assert_eq!(name("http://host/", Some("../x")).as_deref(), Some(".._x"));
        assert_eq!(name("http://host/%2e%2e", None), None);
        assert_eq!(name("http://host/", None), None);
        assert_eq!(name("http://host", None), None);
    }
}
