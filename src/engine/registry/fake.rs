//! A registry for tests: serves blobs and manifests on loopback, and misbehaves on request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::engine::layer::Digest;

/// What the registry holds and how it behaves.
#[derive(Default)]
pub(crate) struct State {
    pub blobs: HashMap<String, Vec<u8>>,
    pub manifests: HashMap<String, (String, Vec<u8>)>,
    /// Requests seen, as `GET /v2/...`.
    pub seen: Vec<String>,
    /// Cuts the connection after so many bytes of a blob, the given number of times.
    pub cut: Option<(usize, u32)>,
    /// Wants a token for this user and password.
    pub secret: Option<(String, String)>,
    /// Answers 429 so often before anything else.
    pub busy: u32,
    uploads: HashMap<String, Vec<u8>>,
}

/// A running fake; ends with the test's runtime.
pub(crate) struct Fake {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), address, request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    let _ = connection.await;
                });
            }
        });
        Self { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Keeps a blob; answers its digest.
    pub fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.state().blobs.insert(digest.to_string(), bytes.to_vec());
        digest
    }

    /// Keeps a manifest under a tag and its digest.
    pub fn manifest(&self, tag: &str, media_type: &str, text: &[u8]) -> Digest {
        let digest = Digest::of(text);
        for name in [tag.to_owned(), digest.to_string()] {
            self.state().manifests.insert(name, (media_type.to_owned(), text.to_vec()));
        }
        digest
    }

    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut state = state.lock().unwrap();
    state.seen.push(format!("{} {path}", head.method));
    if state.busy > 0 {
        state.busy -= 1;
        return Ok(plain(StatusCode::TOO_MANY_REQUESTS, "").with("Retry-After", "0"));
    }
    if path == "/token" {
        let basic = header("authorization").and_then(|text| Some(text.strip_prefix("Basic ")?.to_owned()));
        let given =
            basic.and_then(|text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok());
        let wanted = state.secret.as_ref().map(|(user, password)| format!("{user}:{password}").into_bytes());
        return Ok(if given == wanted {
            plain(StatusCode::OK, r#"{"token":"good","expires_in":300}"#)
        } else {
            refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "incorrect username or password")
        });
    }
    if state.secret.is_some() && header("authorization").as_deref() != Some("Bearer good") {
        let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"fake\",scope=\"repository:x:pull\"");
        return Ok(refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", &challenge));
    }
    let parts: Vec<&str> = path.split('/').collect();
    Ok(match (&head.method, parts.as_slice()) {
        (_, [.., "manifests", name]) if head.method == Method::PUT => {
            let kind = header("content-type").unwrap_or_default();
            let digest = Digest::of(&body).to_string();
            for name in [(*name).to_owned(), digest] {
                state.manifests.insert(name, (kind.clone(), body.to_vec()));
            }
            plain(StatusCode::CREATED, "")
        }
        (_, [.., "manifests", name]) => match state.manifests.get(*name) {
            Some((kind, text)) => plain(StatusCode::OK, &String::from_utf8_lossy(text)).with("Content-Type", kind),
            None => refusal(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
        },
        (_, [.., "blobs", "uploads", ""]) => {
            let id = state.uploads.len().to_string();
            state.uploads.insert(id.clone(), Vec::new());
            plain(StatusCode::ACCEPTED, "").with("Location", &format!("/v2/x/blobs/uploads/{id}?state=1"))
        }
        (method, [.., "blobs", "uploads", id]) => {
            let mut bytes = state.uploads.remove(*id).unwrap_or_default();
            bytes.extend_from_slice(&body);
            if method == Method::PATCH {
                state.uploads.insert((*id).to_owned(), bytes);
                plain(StatusCode::ACCEPTED, "").with("Location", &path)
            } else {
                let digest = Digest::of(&bytes).to_string();
                let is_right = query.contains(&digest);
                state.blobs.insert(digest, bytes);
                plain(if is_right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, "")
            }
        }
        (method, [.., "blobs", digest]) => match state.blobs.get(*digest).cloned() {
            Some(_) if method == Method::HEAD => plain(StatusCode::OK, ""),
            Some(bytes) => {
                let from =
                    header("range").and_then(|text| text.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
                let cut = match &mut state.cut {
                    Some((at, times)) if *times > 0 => {
                        *times -= 1;
                        Some(*at)
                    }
                    _ => None,
                };
                blob(&bytes, from, cut)
            }
            None => refusal(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry"),
        },
        _ => plain(StatusCode::NOT_FOUND, ""),
    })
}

fn blob(bytes: &[u8], from: Option<usize>, cut: Option<usize>) -> Answer {
    let rest = bytes.get(from.unwrap_or(0)..).unwrap_or_default();
    let mut frames: Vec<io::Result<Frame<Bytes>>> = Vec::new();
    let end = cut.unwrap_or(rest.len()).min(rest.len());
    for chunk in rest[..end].chunks(1000) {
        frames.push(Ok(Frame::data(Bytes::copy_from_slice(chunk))));
    }
    if end < rest.len() {
        frames.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    let body = BoxBody::new(StreamBody::new(futures_util::stream::iter(frames)));
    let response = Response::builder().header("Content-Length", rest.len());
    match from {
        Some(from) => response
            .status(StatusCode::PARTIAL_CONTENT)
            .header("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
        None => response,
    }
    .body(body)
    .unwrap()
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let body = http_body_util::Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {});
    Response::builder().status(status).body(BoxBody::new(body)).unwrap()
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    plain(status, &serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string())
}

trait With {
    fn with(self, name: &str, value: &str) -> Self;
}

impl With for Answer {
    fn with(mut self, name: &str, value: &str) -> Self {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        self.headers_mut().insert(name, value.parse().unwrap());
        self
    }
}
