//! Downloads: the URLs of ADD, and remote contexts.
//!
//! What came before and was kept is asked for with what its server called it then: a server that answers "not modified", or
//! with the same strong `ETag`, sends nothing.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use reqwest::header::{CACHE_CONTROL, CONTENT_DISPOSITION, DATE, ETAG, HeaderMap, HeaderName};
use reqwest::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Response, StatusCode};
use rustix::fs::{Mode, Timespec, Timestamps};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::copy::{CopyError, Destination};
use super::downloads::{Downloads, Kept, Record};
use super::source::without_password;
use crate::engine::layer::{Digest, Hasher};
use crate::engine::{EngineError, ErrorKind};

/// A server that says nothing for so long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// A larger file than this is a mistake, or an attempt to fill the disk.
const MAX_BYTES: u64 = 64 << 30;
/// How much of a server's refusal is told.
const MAX_WORDS: usize = 300;
/// So many seconds after a change a server's time of it means something: within one, a file may change twice.
const SETTLED: i64 = 2;

/// A downloaded file.
pub(super) struct Download {
    /// From where.
    pub url: String,
    /// What came; kept, or gone with this value.
    pub file: File,
    /// Its digest.
    pub digest: Digest,
    /// When the server says it changed, in seconds since 1970; 0 where it does not say.
    pub modified: i64,
    /// What the server calls it (`Content-Disposition`).
    pub offered_name: Option<String>,
}

impl Download {
    /// The file, to be read from its beginning.
    pub(super) fn reopen(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// What was kept of an earlier one.
    fn again(url: &str, Kept { record, body }: Kept) -> Self {
        let modified = record.last_modified.as_deref().and_then(http_date).unwrap_or(0);
        let Record { digest, offered_name, .. } = record;
        Self { url: url.to_owned(), file: body, digest, modified, offered_name }
    }

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

impl Downloads {
    /// Brings what `url` names. A `checksum` refuses anything else, and what is kept and fits it is not asked for.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        url: &str,
        checksum: Option<&Digest>,
        cancel: &CancellationToken,
    ) -> Result<Download, EngineError> {
        let (own, wanted) = (Arc::clone(self), url.to_owned());
        let kept = blocking(move || own.find(&wanted)).await?;
        match kept {
            Some(kept) if checksum.is_some_and(|wanted| *wanted == kept.record.digest) => self.again(url, kept).await,
            kept => tokio::select! {
                download = self.ask(url, kept.filter(|_| checksum.is_none()), checksum) => download,
                () = cancel.cancelled() => Err(EngineError::new(ErrorKind::Unavailable, "the build was cancelled")),
            },
        }
    }

    /// What was kept, of use once more.
    async fn again(self: &Arc<Self>, url: &str, kept: Kept) -> Result<Download, EngineError> {
        let (own, noted, record) = (Arc::clone(self), url.to_owned(), kept.record.clone());
        blocking(move || own.touch(&noted, &record)).await?;
        Ok(Download::again(url, kept))
    }

    async fn ask(
        self: &Arc<Self>,
        url: &str,
        kept: Option<Kept>,
        checksum: Option<&Digest>,
    ) -> Result<Download, EngineError> {
        let mut request = client()?.get(url);
        if let Some(Kept { record, .. }) = &kept {
            for (name, value) in [(IF_NONE_MATCH, &record.etag), (IF_MODIFIED_SINCE, &record.last_modified)] {
                request = value.iter().fold(request, |request, value| request.header(&name, value));
            }
        }
        let response = request.send().await.map_err(|error| broken(url, &error))?;
        if let Some(kept) = kept.filter(|kept| is_unchanged(response.status(), response.headers(), &kept.record)) {
            return self.again(url, kept).await;
        }
        if !response.status().is_success() {
            return Err(refusal(&without_password(url), response).await);
        }
        self.receive(url, response, checksum).await
    }

    async fn receive(
        self: &Arc<Self>,
        url: &str,
        response: Response,
        checksum: Option<&Digest>,
    ) -> Result<Download, EngineError> {
        let shown = without_password(url);
        let disk = |error: io::Error| EngineError::system(format!("store {shown}: {error}"));
        let mut record = described(&shown, response.headers());
        let is_worth_keeping = is_worth_keeping(response.headers(), &record);
        let modified = text_of(response.headers(), LAST_MODIFIED).and_then(http_date).unwrap_or(0);
        let mut file = NamedTempFile::new_in(self.root.path().join("tmp")).map_err(disk)?;
        let mut hasher = Hasher::default();
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| broken(url, &error))?;
            record.bytes += chunk.len() as u64;
            if record.bytes > MAX_BYTES {
                return Err(EngineError::invalid(format!("{shown} is larger than {} GiB", MAX_BYTES >> 30)));
            }
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(disk)?;
        }
        record.digest = hasher.finish();
        if let Some(wanted) = checksum.filter(|wanted| **wanted != record.digest) {
            let got = record.digest;
            return Err(EngineError::invalid(format!("digest mismatch for {shown}: expected {wanted}, got {got}")));
        }
        let (digest, offered_name) = (record.digest, record.offered_name.clone());
        let content = file.reopen().map_err(disk)?;
        if is_worth_keeping {
            let (own, wanted) = (Arc::clone(self), url.to_owned());
            // It only saves time later.
            if let Err(error) = blocking(move || own.keep(&wanted, &record, file)).await? {
                tracing::warn!(%error, url = shown, "a download is not kept");
            }
        }
        Ok(Download { url: url.to_owned(), file: content, digest, modified, offered_name })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))
}

fn broken(url: &str, error: &reqwest::Error) -> EngineError {
    let message = format!("failed to GET {}: {}", without_password(url), innermost(error));
    EngineError::new(ErrorKind::Unavailable, message)
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What a server's answer says of a file that is still to come.
fn described(shown: &str, headers: &HeaderMap) -> Record {
    let now = Timestamp::now();
    Record {
        url: shown.to_owned(),
        etag: text_of(headers, ETAG).map(str::to_owned),
        last_modified: text_of(headers, LAST_MODIFIED).map(str::to_owned),
        digest: Digest::of(b""),
        bytes: 0,
        offered_name: text_of(headers, CONTENT_DISPOSITION).and_then(offered_name),
        created: now,
        used: now,
        uses: 0,
    }
}

/// Whether the server can tell later that it has not changed, and may be asked to.
fn is_worth_keeping(headers: &HeaderMap, record: &Record) -> bool {
    let forbids = |part: &str| part.trim().eq_ignore_ascii_case("no-store");
    if text_of(headers, CACHE_CONTROL).is_some_and(|text| text.split(',').any(forbids)) {
        return false;
    }
    let now = text_of(headers, DATE).and_then(http_date).unwrap_or_else(|| Timestamp::now().as_second());
    let changed = record.last_modified.as_deref().and_then(http_date);
    record.etag.is_some() || changed.is_some_and(|changed| now >= changed.saturating_add(SETTLED))
}

/// Whether a server's answer means what was kept. Some have an `ETag` but know nothing of `If-None-Match`; a weak one
/// names no certain bytes.
fn is_unchanged(status: StatusCode, headers: &HeaderMap, record: &Record) -> bool {
    let named = text_of(headers, ETAG).filter(|etag| !etag.starts_with("W/"));
    status == StatusCode::NOT_MODIFIED || status.is_success() && named.is_some() && named == record.etag.as_deref()
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
        let source = download.reopen().map_err(|source| CopyError::io("read", target, source))?;
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
    fn only_what_a_server_can_recognise_is_kept() {
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
        };
        let keeps = |pairs: &[(HeaderName, &str)]| {
            let headers = headers(pairs);
            is_worth_keeping(&headers, &described("x", &headers))
        };
        let (at, later) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:02 GMT");
        assert!(!keeps(&[]) && keeps(&[(ETAG, "\"1\"")]) && keeps(&[(ETAG, "W/\"1\"")]));
        assert!(!keeps(&[(ETAG, "\"1\""), (CACHE_CONTROL, "private, No-Store")]));
        assert!(keeps(&[(LAST_MODIFIED, at), (DATE, later)]) && keeps(&[(LAST_MODIFIED, at)]));
        assert!(!keeps(&[(LAST_MODIFIED, at), (DATE, at)]), "it may have changed again in that second");

        let strong = described("x", &headers(&[(ETAG, "\"1\"")]));
        let weak = described("x", &headers(&[(ETAG, "W/\"1\"")]));
        let ok = |etag: &str, record: &Record| is_unchanged(StatusCode::OK, &headers(&[(ETAG, etag)]), record);
        assert!(ok("\"1\"", &strong) && !ok("\"2\"", &strong) && !ok("W/\"1\"", &weak));
        assert!(is_unchanged(StatusCode::NOT_MODIFIED, &HeaderMap::new(), &weak));
        assert!(!is_unchanged(StatusCode::OK, &HeaderMap::new(), &described("x", &HeaderMap::new())));
    }

    #[test]
    fn a_download_has_the_urls_last_name_or_the_servers() {
        let name = |url: &str, offered: Option<&str>| {
            let file = tempfile::tempfile().unwrap();
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
