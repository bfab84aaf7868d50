//! One registry's repository, asked with the right credentials, as often as it makes sense.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;

use crate::engine::layer::Digest;

use super::backoff::{self, ATTEMPTS, PATIENCE};
use super::challenge::{self, Challenge};
use super::endpoint::Endpoint;
use super::manifest::{Document, Resolved, choose, media};
use super::{Platform, RegistryError, tls};

/// The most bytes a manifest or configuration may have (distribution's own limit is 4 MiB).
const DOCUMENT_MAX: u64 = 8 << 20;
const CONNECT: Duration = Duration::from_secs(15);
/// A registry that sends nothing for so long is taken for dead; the request is then tried again.
const SILENCE: Duration = Duration::from_secs(45);
/// What a token is good for if it does not say (distribution's token spec).
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// User name; empty for nobody.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// An OAuth2 refresh token, instead of a password.
    pub identity_token: Option<String>,
    /// A token for the registry itself, sent as it is.
    pub registry_token: Option<String>,
}

/// What is to be done to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Pull,
    Push,
}

/// A repository at a registry.
pub struct Registry {
    http: reqwest::Client,
    endpoint: Endpoint,
    path: String,
    access: Access,
    /// The header to send, by what it allows, and until when it is good.
    leave: Mutex<HashMap<String, (HeaderValue, Instant)>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Deserialize, Default)]
struct Refusals {
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Registry {
    /// The repository `path` at the registry of `domain`. Connects to nobody yet.
    ///
    /// # Errors
    /// [`RegistryError::Tls`] where this host's certificate store can't be used.
    pub fn new(domain: &str, path: &str, access: Access) -> Result<Self, RegistryError> {
        let endpoint = Endpoint::of(domain);
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&endpoint)?)
            .user_agent(concat!("boxyard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE);
        if endpoint.is_loopback {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| RegistryError::Tls { reason: error.to_string() })?;
        Ok(Self { http, endpoint, path: path.to_owned(), access, leave: Mutex::default() })
    }

    /// What `reference` (a tag or digest) is, for `platform`.
    ///
    /// # Errors
    /// [`RegistryError`]; `Platform` if the image is not made for it.
    pub async fn resolve(&self, reference: &str, platform: &Platform) -> Result<Resolved, RegistryError> {
        let (digest, mut document) = self.manifest(reference).await?;
        // An index in an index is allowed; a registry that goes on for ever is not followed.
        for _ in 0..4 {
            match document {
                Document::Manifest(manifest) => return Ok(Resolved { digest, manifest }),
                Document::Index(manifests) => {
                    let chosen = choose(&manifests, platform)?;
                    document = self.manifest(&chosen.digest.to_string()).await?.1;
                }
            }
        }
        Err(RegistryError::Answer { what: "manifest".to_owned(), reason: "indexes within indexes".to_owned() })
    }

    /// A small blob, checked against its digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn document(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let response = self.ask(Method::GET, &format!("blobs/{digest}"), Action::Pull, |request| request).await?;
        let text = self.body(response).await?;
        check(digest, &text)?;
        Ok(text)
    }

    async fn manifest(&self, reference: &str) -> Result<(Digest, Document), RegistryError> {
        let path = format!("manifests/{reference}");
        let accept = |request: RequestBuilder| {
            media::MANIFESTS.iter().fold(request, |request, kind| request.header(ACCEPT, *kind))
        };
        let response = self.ask(Method::GET, &path, Action::Pull, accept).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let text = self.body(response).await?;
        let digest = Digest::of(&text);
        if let Ok(wanted) = reference.parse::<Digest>() {
            check(&wanted, &text)?;
        }
        Ok((digest, Document::parse(&kind, &text)?))
    }

    /// Sends a request until it is answered with success; asks for leave where that is wanted.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        action: Action,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let url = self.url(path);
        let mut attempt = 0;
        loop {
            match self.ask_once(method.clone(), &url, action, &shape).await {
                Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS => {
                    tracing::debug!(%error, attempt, "asking the registry again");
                    backoff::wait(attempt, None).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// The same, once, beyond what leave and a short `Retry-After` need.
    pub(super) async fn ask_once(
        &self,
        method: Method,
        url: &str,
        action: Action,
        shape: &impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let scope = self.scope(action);
        let (mut asked_leave, mut waited) = (false, 0);
        loop {
            let mut request = shape(self.http.request(method.clone(), url));
            // An upload's place may be at another host; what this registry gave is not for it.
            let is_own = url.starts_with(&format!("{}/", self.endpoint.url()));
            if let Some(header) = self.known_leave(&scope).filter(|_| is_own) {
                request = request.header(AUTHORIZATION, header);
            }
            let response =
                request.send().await.map_err(|error| RegistryError::from_request(method.as_str(), url, &error))?;
            match response.status() {
                status if status.is_success() || status == StatusCode::PERMANENT_REDIRECT => return Ok(response),
                StatusCode::UNAUTHORIZED if !asked_leave => {
                    asked_leave = true;
                    self.ask_leave(response.headers(), &scope).await?;
                }
                StatusCode::TOO_MANY_REQUESTS if waited < ATTEMPTS => {
                    let after = retry_after(response.headers());
                    if let Some(after) = after.filter(|after| *after > PATIENCE) {
                        return Err(RegistryError::TooMany { after });
                    }
                    backoff::wait(waited, after).await;
                    waited += 1;
                }
                status => return Err(self.refusal(status, response).await),
            }
        }
    }

    /// The absolute address of something in the repository.
    pub(super) fn url(&self, path: &str) -> String {
        if path.contains("://") {
            return path.to_owned();
        }
        match path.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.endpoint.url()),
            None => format!("{}/v2/{}/{path}", self.endpoint.url(), self.path),
        }
    }

    /// `domain/path`-like name of the repository, for remembering where a blob is.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self, action: Action) -> String {
        let actions = match action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.path)
    }

    fn known_leave(&self, scope: &str) -> Option<HeaderValue> {
        if let Some(token) = &self.access.registry_token {
            return secret(&format!("Bearer {token}"));
        }
        let leave = self.leave.lock().unwrap_or_else(PoisonError::into_inner);
        leave.get(scope).filter(|(_, until)| Instant::now() < *until).map(|(header, _)| header.clone())
    }

    async fn ask_leave(&self, headers: &HeaderMap, scope: &str) -> Result<(), RegistryError> {
        let challenges: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        for challenge in challenges {
            let (header, life) = match &challenge {
                Challenge::Bearer { realm, service, scope: wanted } => {
                    let scope = wanted.as_deref().filter(|wanted| wanted.contains("push")).unwrap_or(scope);
                    self.token(realm, service.as_deref(), scope).await?
                }
                Challenge::Basic if !self.access.username.is_empty() => (self.basic(), Duration::MAX / 4),
                Challenge::Basic => continue,
            };
            let Some(header) = secret(&header) else { continue };
            let until = Instant::now().checked_add(life).unwrap_or_else(|| Instant::now() + TOKEN_LIFE * 60);
            self.leave.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), (header, until));
            return Ok(());
        }
        Ok(())
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<(String, Duration), RegistryError> {
        let told = |method: &str| {
            let method = method.to_owned();
            move |error: reqwest::Error| RegistryError::from_request(&method, realm, &error)
        };
        if !realm.starts_with("https://") && !self.endpoint.is_loopback {
            let reason = "it would be asked for without TLS".to_owned();
            return Err(RegistryError::Answer { what: format!("token from {realm}"), reason });
        }
        let service = service.unwrap_or_default();
        let response = match &self.access.identity_token {
            Some(refresh) => {
                let form = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs([
                        ("grant_type", "refresh_token"),
                        ("service", service),
                        ("scope", scope),
                        ("client_id", "boxyard"),
                        ("refresh_token", refresh),
                    ])
                    .finish();
                let request =
                    self.http.post(realm).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
                request.send().await.map_err(told("POST"))?
            }
            None => {
                let account = Some(self.access.username.as_str()).filter(|name| !name.is_empty());
                let named = [("service", Some(service).filter(|name| !name.is_empty())), ("account", account)];
                let pairs = named.into_iter().filter_map(|(key, value)| value.map(|value| (key, value)));
                let query = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(pairs)
                    .append_pair("scope", scope)
                    .finish();
                let join = if realm.contains('?') { '&' } else { '?' };
                let mut request = self.http.get(format!("{realm}{join}{query}"));
                if !self.access.username.is_empty() {
                    request = request.header(AUTHORIZATION, self.basic());
                }
                request.send().await.map_err(told("GET"))?
            }
        };
        if !response.status().is_success() {
            let status = response.status();
            return Err(self.refusal(status, response).await);
        }
        let text = self.body(response).await?;
        let refusal = |reason: String| RegistryError::Answer { what: format!("token from {realm}"), reason };
        let token: Token = serde_json::from_slice(&text).map_err(|error| refusal(error.to_string()))?;
        let life = token.expires_in.map_or(TOKEN_LIFE, Duration::from_secs);
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| refusal("it holds no token".to_owned()))?;
        // Not used in the last seconds of its life: it must still be good when it arrives.
        Ok((format!("Bearer {token}"), life.saturating_sub(Duration::from_secs(5))))
    }

    fn basic(&self) -> String {
        let Access { username, password, .. } = &self.access;
        format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> RegistryError {
        let text = self.body(response).await.unwrap_or_default();
        let first = serde_json::from_slice::<Refusals>(&text).unwrap_or_default().errors.into_iter().next();
        let Refusal { code, message } = first.unwrap_or_default();
        RegistryError::Refused { status: status.as_u16(), code, message }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, RegistryError> {
        let url = response.url().to_string();
        let mut text = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                Ok(None) => return Ok(text),
                Err(error) => return Err(RegistryError::from_request("GET", &url, &error)),
            }
            if text.len() as u64 > DOCUMENT_MAX {
                let reason = format!("it has more than {DOCUMENT_MAX} bytes");
                return Err(RegistryError::Answer { what: url, reason });
            }
        }
    }
}

fn check(expected: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
    let found = Digest::of(bytes);
    if found == *expected { Ok(()) } else { Err(RegistryError::Digest { expected: *expected, found }) }
}

/// A header that is never logged.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
