//! One request, as a handler sees it: path values, query, headers, body, and the way to take the connection over.

use std::future::Future;
use std::io;

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::endpoint::PathValues;
use super::presence::Presence;
use super::query::Query;
use super::version::ApiVersion;
use crate::engine::{Engine, EngineError};

/// A JSON body longer than this is refused; Docker's own documents stay far below.
pub const JSON_LIMIT: usize = 16 << 20;

/// A request on its way to its handler.
pub struct Call {
    pub(super) engine: Engine,
    pub(super) version: ApiVersion,
    pub(super) path: PathValues,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: CallBody,
    pub(super) upgrade: Option<OnUpgrade>,
    pub(super) presence: Option<Presence>,
}

/// What came with the request.
pub enum CallBody {
    /// Read whole.
    Whole(Bytes),
    /// Still arriving.
    Arriving(Archive),
}

/// An archive as it arrives; reading it is reading the connection.
pub type Archive = StreamReader<chunks::Chunks, Bytes>;

impl Call {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits until the client has left: for the body of a streamed answer, and for nothing else (see `presence`).
    pub fn gone(&mut self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let presence = self.presence.take();
        async move {
            match presence {
                Some(presence) => presence.gone().await,
                None => std::future::pending().await,
            }
        }
    }

    /// The API version asked for.
    pub fn version(&self) -> ApiVersion {
        self.version
    }

    /// The path's `{id}`.
    pub fn id(&self) -> &str {
        self.value("id")
    }

    /// The path's `{name}`.
    pub fn name(&self) -> &str {
        self.value("name")
    }

    /// The query.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// A header, where it is readable text and not empty.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
    }

    /// A header that holds base64 of JSON (`X-Registry-Auth`, `X-Registry-Config`). Clients use both alphabets, with and
    /// without padding.
    ///
    /// # Errors
    /// `InvalidParameter` where it can't be read.
    pub fn json_header<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, EngineError> {
        let Some(text) = self.header(name) else { return Ok(None) };
        let bad = |why: String| EngineError::invalid(format!("invalid {name} header: {why}"));
        let plain = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
        let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(plain).map_err(|error| bad(error.to_string()))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(error.to_string()))
    }

    /// The body as a JSON document; none counts as an empty object.
    ///
    /// # Errors
    /// `InvalidParameter` for another content type, or where it isn't the JSON we expect.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, EngineError> {
        if self.bytes().iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { self.json() }
    }

    /// The body as a JSON document.
    ///
    /// # Errors
    /// `InvalidParameter` for another content type, no body, or where it isn't the JSON we expect.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        let bytes = self.bytes();
        if let Some(kind) = self.header("content-type")
            && kind.split(';').next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("application/json"))
        {
            return Err(EngineError::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(EngineError::invalid("invalid JSON: got EOF while reading request body"));
        }
        serde_json::from_slice(bytes).map_err(|error| EngineError::invalid(format!("invalid JSON: {error}")))
    }

    /// The body as a JSON document in which a null means "not sent" wherever it stands; clients write nulls into maps
    /// whose values our models want.
    ///
    /// # Errors
    /// As [`Call::json`].
    pub fn loose_json<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        serde_json::from_value(without_nulls(self.json()?))
            .map_err(|error| EngineError::invalid(format!("invalid JSON: {error}")))
    }

    /// The body as an archive; empty where the endpoint reads its body whole and there was none.
    pub fn archive(&mut self) -> Archive {
        match std::mem::replace(&mut self.body, CallBody::Whole(Bytes::new())) {
            CallBody::Arriving(archive) => archive,
            CallBody::Whole(bytes) => chunks::of(bytes),
        }
    }

    /// Takes the promise of the raw connection; `None` where the client didn't ask for one.
    pub fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.upgrade.take()
    }

    fn value(&self, name: &str) -> &str {
        self.path.get(name).expect("the row's pattern holds the variable its handler asks for")
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            CallBody::Whole(bytes) => bytes,
            CallBody::Arriving(_) => &[],
        }
    }
}

/// `value` without the fields that are null.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Reads a body whole, so that nothing of it is left on a connection that is about to become a raw stream.
///
/// # Errors
/// `InvalidParameter` where it is too long or the client went away.
pub async fn read_whole(body: Incoming) -> Result<Bytes, EngineError> {
    let limited = http_body_util::Limited::new(body, JSON_LIMIT);
    match limited.collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => Err(EngineError::invalid(format!("read request body: {error}"))),
    }
}

/// Hands a body on as it arrives. Its owner may stop reading at any moment (a refused archive, say): the rest is then
/// read and dropped, since a client that is still sending would otherwise see a broken pipe instead of our answer.
pub fn read_along(mut body: Incoming) -> Archive {
    let (send, archive) = chunks::channel();
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            let chunk = match frame.map(|frame| frame.into_data()) {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(_trailers)) => continue,
                Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            };
            let _ = send.send(chunk).await;
        }
    });
    archive
}

/// A channel of chunks as a stream; small enough that no crate is needed for it.
mod chunks {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::Stream;

    use super::{Archive, Bytes, StreamReader, io, mpsc};

    /// The receiving side.
    pub struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

    pub fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Archive) {
        let (send, receive) = mpsc::channel(4);
        (send, StreamReader::new(Chunks(receive)))
    }

    pub fn of(bytes: Bytes) -> Archive {
        let (send, archive) = channel();
        let _ = send.try_send(Ok(bytes));
        archive
    }

    impl Stream for Chunks {
        type Item = io::Result<Bytes>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.poll_recv(cx)
        }
    }
}
