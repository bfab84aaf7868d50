//! The handle, and how a call becomes a request.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::connection::{Connections, Exchange, Repeat, RequestBody, full_body};
use super::context::HostChoice;
use super::errors::Error;
use super::output::Framing;
use super::streams;
use super::transport::{SshTransport, TcpTransport, Transport, UnixTransport};

/// How long a call may take until its answer begins, unless set otherwise: bollard's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// An Engine API version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientVersion {
    /// Always 1 so far.
    pub major_version: u16,
    /// The number after the dot.
    pub minor_version: u16,
}

impl ClientVersion {
    /// The newest version this client speaks.
    pub const NEWEST: Self = Self { major_version: 1, minor_version: 51 };

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
    }
}

impl fmt::Display for ClientVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major_version, self.minor_version)
    }
}

/// A Docker host. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Docker {
    connections: Arc<Connections>,
    version: Arc<RwLock<ClientVersion>>,
    timeout_ms: Arc<AtomicU32>,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Docker {
    /// The host that `transport` leads to.
    pub fn connect_with_transport(transport: Arc<dyn Transport>) -> Self {
        Self {
            connections: Arc::new(Connections::new(transport)),
            version: Arc::new(RwLock::new(ClientVersion::NEWEST)),
            timeout_ms: Arc::new(AtomicU32::new(u32::try_from(DEFAULT_TIMEOUT.as_millis()).unwrap_or(u32::MAX))),
        }
    }

    /// The host that `DOCKER_HOST`, `DOCKER_CONTEXT` or the current Docker context names, else the local socket.
    ///
    /// # Errors
    /// [`Error::UnsupportedHost`] where that names no host we can reach.
    pub fn connect_with_defaults() -> Result<Self, Error> {
        let choice = HostChoice::from_environment()
            .map_err(|error| Error::UnsupportedHost { host: error.context().to_owned(), reason: error.to_string() })?;
        Self::connect_with_host(choice.host())
    }

    /// The host at a Unix socket; `path` may carry `unix://`.
    ///
    /// # Errors
    /// None so far; bollard's shape.
    pub fn connect_with_unix(path: &str) -> Result<Self, Error> {
        let path = path.strip_prefix("unix://").unwrap_or(path);
        Ok(Self::connect_with_transport(Arc::new(UnixTransport::new(Path::new(path)))))
    }

    /// The host at `unix://`, `tcp://`, `http://` or `ssh://`; a bare `host:port` means TCP.
    ///
    /// # Errors
    /// [`Error::UnsupportedHost`] for any other form.
    pub fn connect_with_host(host: &str) -> Result<Self, Error> {
        let unsupported =
            |reason: &str| Err(Error::UnsupportedHost { host: host.to_owned(), reason: reason.to_owned() });
        let transport: Arc<dyn Transport> = match host.split_once("://") {
            Some(("unix", "")) => return unsupported("the path of the socket is missing"),
            Some(("unix", path)) => Arc::new(UnixTransport::new(Path::new(path))),
            Some(("tcp" | "http", authority)) => Arc::new(TcpTransport::new(&with_port(authority))),
            Some(("ssh", destination)) => Arc::new(SshTransport::new(destination)),
            Some(("https", _)) => return unsupported("TLS is not supported yet; use ssh:// or an ssh tunnel"),
            Some(_) => return unsupported("not one of unix://, tcp://, http://, ssh://"),
            None => Arc::new(TcpTransport::new(&with_port(host))),
        };
        Ok(Self::connect_with_transport(transport))
    }

    /// Where the host is, as a URL.
    pub fn address(&self) -> String {
        self.connections.address()
    }

    /// The API version that requests ask for.
    pub fn client_version(&self) -> ClientVersion {
        *self.version.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a call may take until its answer begins.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed).into())
    }

    /// Sets how long a call may take until its answer begins, for all clones.
    pub fn set_timeout(&self, timeout: Duration) {
        self.timeout_ms.store(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Agrees with the host on the newest version both speak.
    ///
    /// # Errors
    /// The host is not there.
    pub async fn negotiate_version(self) -> Result<Self, Error> {
        let exchange = self.exchange(&Call::get("/_ping").unversioned(), self.timeout()).await?;
        let answer = exchange.response.headers().get("Api-Version").and_then(|value| value.to_str().ok());
        if let Some(theirs) = answer.and_then(ClientVersion::parse) {
            *self.version.write().unwrap_or_else(PoisonError::into_inner) = theirs.min(ClientVersion::NEWEST);
        }
        Ok(self)
    }

    /// Sends a call and reads its answer whole as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.whole(call).await?)?)
    }

    /// Sends a call whose answer says nothing.
    pub(super) async fn unit(&self, call: Call) -> Result<(), Error> {
        self.whole(call).await.map(drop)
    }

    /// Sends a call and reads its answer whole.
    pub(super) async fn whole(&self, call: Call) -> Result<Bytes, Error> {
        let Exchange { response, sender } = self.exchange(&call, self.timeout() + call.patience).await?;
        let response = refuse_errors(response).await?;
        let body = response.into_body().collect().await?.to_bytes();
        self.connections.give_back(sender);
        Ok(body)
    }

    /// Sends a call and gives its answer's head; for HEAD requests.
    pub(super) async fn head(&self, call: Call) -> Result<http::HeaderMap, Error> {
        let Exchange { response, sender } = self.exchange(&call, self.timeout()).await?;
        let response = refuse_errors(response).await?;
        self.connections.give_back(sender);
        Ok(response.headers().clone())
    }

    /// Sends a call whose answer is a stream of JSON documents; dropping the stream ends it. A call that could not be made
    /// is the stream's one error.
    pub(super) fn json_stream<T>(
        &self,
        call: Result<Call, Error>,
    ) -> impl Stream<Item = Result<T, Error>> + Send + use<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.stream(call, |response| streams::json(response.into_body()).boxed())
    }

    /// Sends a call whose answer is bytes.
    pub(super) fn byte_stream(
        &self,
        call: Result<Call, Error>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        self.stream(call, |response| streams::bytes(response.into_body()).boxed())
    }

    /// Sends a call whose answer is output of a process.
    pub(super) fn output_stream(
        &self,
        call: Result<Call, Error>,
    ) -> impl Stream<Item = Result<super::output::LogOutput, Error>> + Send + use<> {
        self.stream(call, |response| {
            let framing = framing(&response);
            streams::output(response.into_body(), framing).boxed()
        })
    }

    fn stream<T: Send + 'static>(
        &self,
        call: Result<Call, Error>,
        read: impl FnOnce(Response<Incoming>) -> BoxStream<'static, Result<T, Error>> + Send + 'static,
    ) -> BoxStream<'static, Result<T, Error>> {
        let docker = self.clone();
        futures_util::stream::once(async move {
            let request = docker.request(&call?)?;
            let Exchange { response, .. } = docker.connections.send_on_new(request).await?;
            Ok::<_, Error>(read(refuse_errors(response).await?))
        })
        .try_flatten()
        .boxed()
    }

    /// Sends a call that turns its connection into a stream both ways (HTTP 101).
    pub(super) async fn upgrade(&self, call: Call) -> Result<(TokioIo<Upgraded>, Option<Framing>), Error> {
        self.upgrade_to("tcp", call).await
    }

    /// As [`Docker::upgrade`], to another protocol than Docker's own.
    pub(super) async fn upgrade_to(
        &self,
        protocol: &'static str,
        call: Call,
    ) -> Result<(TokioIo<Upgraded>, Option<Framing>), Error> {
        let mut request = self.request(&call)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
        let Exchange { response, .. } = self.connections.send_on_new(request).await?;
        let response = refuse_errors(response).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::NotUpgraded { status_code: response.status().as_u16() });
        }
        let framing = framing(&response);
        Ok((TokioIo::new(hyper::upgrade::on(response).await?), framing))
    }

    async fn exchange(&self, call: &Call, timeout: Duration) -> Result<Exchange, Error> {
        let repeat =
            if matches!(call.method, Method::GET | Method::HEAD) { Repeat::Harmless } else { Repeat::OnlyIfUnsent };
        let sending = async {
            match call.body {
                CallBody::Stream(_) => self.connections.send_on_new(self.request(call)?).await,
                _ => self.connections.send(|| self.request(call), repeat).await,
            }
        };
        tokio::time::timeout(timeout, sending).await.map_err(|_| Error::RequestTimeout(timeout))?
    }

    fn request(&self, call: &Call) -> Result<Request<RequestBody>, Error> {
        let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
        let path = match call.version {
            PathVersion::Negotiated => format!("/v{}{}{query}", self.client_version(), call.path),
            PathVersion::None => format!("{}{query}", call.path),
        };
        let mut request =
            Request::builder().method(call.method.clone()).uri(path).header(HOST, "docker").header("User-Agent", AGENT);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let body = match &call.body {
            CallBody::Empty => full_body(Bytes::new()),
            CallBody::Json(json) => {
                request = request.header(CONTENT_TYPE, "application/json");
                full_body(json.clone())
            }
            CallBody::Stream(stream) => {
                request = request.header(CONTENT_TYPE, "application/x-tar");
                let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                taken.ok_or_else(|| std::io::Error::other("a streamed request can't be sent twice"))?
            }
        };
        Ok(request.body(body)?)
    }
}

/// How this client names itself to the host.
const AGENT: &str = concat!("boxyard/", env!("CARGO_PKG_VERSION"));

fn with_port(authority: &str) -> String {
    let authority = authority.trim_end_matches('/');
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    // 2375 is Docker's registered port without TLS.
    if has_port { authority.to_owned() } else { format!("{authority}:2375") }
}

fn framing(response: &Response<Incoming>) -> Option<Framing> {
    Framing::of_content_type(response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()))
}

/// Turns an answer with an error status into the error it describes. 304 (nothing to do) is success, as in bollard.
async fn refuse_errors(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let body = response.into_body().collect().await?.to_bytes();
    let message = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|value| value.get("message").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| match String::from_utf8_lossy(&body).trim() {
            "" => status.canonical_reason().unwrap_or("unknown error").to_owned(),
            text => text.to_owned(),
        });
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message })
}

#[derive(Debug, Clone, Copy)]
enum PathVersion {
    Negotiated,
    None,
}

enum CallBody {
    Empty,
    Json(Bytes),
    Stream(std::sync::Mutex<Option<RequestBody>>),
}

/// One call of the API, not yet sent.
pub(super) struct Call {
    method: Method,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: CallBody,
    version: PathVersion,
    patience: Duration,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
            body: CallBody::Empty,
            version: PathVersion::Negotiated,
            patience: Duration::ZERO,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Puts the fields of `options` into the query; `None` options and empty texts are left out.
    pub(super) fn query<T: Serialize>(mut self, options: Option<T>) -> Result<Self, Error> {
        if let Some(options) = options {
            self.query = query_string(&serde_json::to_value(options)?);
        }
        Ok(self)
    }

    /// Adds one query parameter as many times as there are values.
    pub(super) fn repeated<'a>(mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut query = form_urlencoded::Serializer::new(std::mem::take(&mut self.query));
        for value in values {
            query.append_pair(name, value);
        }
        self.query = query.finish();
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn body<T: Serialize>(mut self, body: &T) -> Result<Self, Error> {
        self.body = CallBody::Json(serde_json::to_vec(body)?.into());
        Ok(self)
    }

    pub(super) fn streamed(mut self, body: RequestBody) -> Self {
        self.body = CallBody::Stream(std::sync::Mutex::new(Some(body)));
        self
    }

    pub(super) fn unversioned(mut self) -> Self {
        self.version = PathVersion::None;
        self
    }

    /// Waits this much longer than usual for the answer to begin.
    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

fn query_string(options: &Value) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in options.as_object().into_iter().flatten() {
        match value {
            Value::String(text) if !text.is_empty() => {
                query.append_pair(name, text);
            }
            Value::Bool(flag) => {
                query.append_pair(name, if *flag { "true" } else { "false" });
            }
            Value::Number(number) => {
                query.append_pair(name, &number.to_string());
            }
            Value::Array(items) => {
                for item in items.iter().filter_map(Value::as_str) {
                    query.append_pair(name, item);
                }
            }
            _ => {}
        }
    }
    query.finish()
}

/// Makes a name fit into a path; slashes of image names stay.
pub(super) fn in_path(name: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const NOT_IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'%');
    utf8_percent_encode(name, NOT_IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_a_query() {
        let options = super::super::query_parameters::ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&std::collections::HashMap::from([("label", vec!["a=b"])]))
            .build();
        let call = Call::get("/containers/json").query(Some(options)).unwrap();
        assert_eq!(call.query, "all=true&size=false&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D");
    }

    #[test]
    fn hosts_are_told_by_their_scheme() {
        let address = |host| Docker::connect_with_host(host).map(|docker| docker.address());
        assert_eq!(address("unix:///run/x.sock").unwrap(), "unix:///run/x.sock");
        assert_eq!(address("10.0.0.1").unwrap(), "tcp://10.0.0.1:2375");
        assert_eq!(address("tcp://h:1").unwrap(), "tcp://h:1");
        assert!(address("ftp://h").unwrap_err().to_string().contains("ftp://h: not one of"));
    }

    #[test]
    fn image_names_keep_their_slashes_in_a_path() {
        assert_eq!(in_path("127.0.0.1:5000/a/b:1"), "127.0.0.1:5000/a/b:1");
        assert_eq!(in_path("a b?"), "a%20b%3F");
    }
}
