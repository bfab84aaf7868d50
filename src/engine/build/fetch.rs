//! Downloads: the URLs of ADD, and remote contexts.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rustix::fs::{Mode, Timespec, Timestamps};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::copy::{CopyError, Destination};
use crate::engine::layer::{Digest, Hasher};
use crate::engine::store::StateRoot;
use crate::engine::{EngineError, ErrorKind};

/// A server that says nothing for so long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A downloaded file, which goes with this value.
pub(super) struct Download {
    /// From where.
    pub url: String,
    /// What came.
    pub file: NamedTempFile,
    /// Its digest.
    pub digest: Digest,
    /// When the server says it changed, in seconds since 1970.
    pub modified: Option<i64>,
}

impl Download {
    /// The name that the URL gives it.
    pub(super) fn name(&self) -> Option<String> {
        let path = self.url.split_once("://").map_or("", |(_, rest)| rest).split(['?', '#']).next().unwrap_or_default();
        let (_, path) = path.split_once('/')?;
        let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
        Some(percent_encoding::percent_decode_str(name).decode_utf8_lossy().replace('/', "_"))
    }
}

/// Whether a source of ADD is one to download.
pub(super) fn is_url(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Downloads `url` into the state root's temp folder. `checksum` (`sha256:…`) refuses anything else.
pub(super) async fn fetch(
    root: &Arc<StateRoot>,
    url: &str,
    checksum: Option<&str>,
    cancel: &CancellationToken,
) -> Result<Download, EngineError> {
    tokio::select! {
        download = download(root, url, checksum) => download,
        () = cancel.cancelled() => Err(EngineError::new(ErrorKind::Unavailable, "the build was cancelled")),
    }
}

async fn download(root: &StateRoot, url: &str, checksum: Option<&str>) -> Result<Download, EngineError> {
    let broken = |error: reqwest::Error| {
        EngineError::new(ErrorKind::Unavailable, format!("failed to load {url}: {}", innermost(&error)))
    };
    let disk = |error: std::io::Error| EngineError::system(format!("store {url}: {error}"));
    let response = client()?.get(url).send().await.map_err(broken)?;
    let status = response.status();
    if !status.is_success() {
        return Err(EngineError::new(
            ErrorKind::Unavailable,
            format!("failed to load {url}: server answered {status}"),
        ));
    }
    let modified = response.headers().get("last-modified").and_then(|value| value.to_str().ok()).and_then(http_date);
    let mut file = NamedTempFile::new_in(root.path().join("tmp")).map_err(disk)?;
    let mut hasher = Hasher::default();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(broken)?;
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(disk)?;
    }
    let digest = hasher.finish();
    if let Some(wanted) = checksum.filter(|wanted| *wanted != digest.to_string()) {
        return Err(EngineError::invalid(format!("digest mismatch {wanted}: {url} has {digest}")));
    }
    Ok(Download { url: url.to_owned(), file, digest, modified })
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
        let mut source = download.file.reopen().map_err(|source| CopyError::io("read", target, source))?;
        let mut file = self.create(target)?;
        let mut attempt = || {
            std::io::copy(&mut source, &mut file)?;
            self.own_file(&file)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            if let Some(seconds) = download.modified {
                let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
                rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            }
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
    }

    #[test]
    fn a_download_has_the_urls_last_name() {
        let name = |url: &str| {
            let file = NamedTempFile::new().unwrap();
            Download { url: url.to_owned(), file, digest: Digest::of(b""), modified: None }.name()
        };
        assert_eq!(name("http://host/a/b.tar.gz?x=/y").as_deref(), Some("b.tar.gz"));
        assert_eq!(name("http://host/"), None);
        assert_eq!(name("http://host"), None);
    }
}
