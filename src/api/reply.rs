//! What handlers return, and how it becomes an HTTP response.
//!
//! A handler says what it means (`()` is 204, [`Json`] is 200, [`Created`] is 201); streams and raw connections are built
//! by the functions here, so that their headers are written in one place.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::ext::ReasonPhrase;
use serde::Serialize;

use super::problem;
use crate::engine::EngineError;

/// A response's body. An error in it cuts the connection, which is how a client learns that a stream is not whole.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer, ready to be sent.
pub struct Reply(pub(super) Response<Body>);

/// Things a handler may return.
pub trait IntoReply {
    /// As an answer.
    fn into_reply(self) -> Reply;
}

/// 200 with a JSON document.
pub struct Json<T>(pub T);

/// 201 with a JSON document.
pub struct Created<T>(pub T);

/// 201 without a body.
pub struct Made;

/// 200 without a body.
pub struct Done;

impl IntoReply for Reply {
    fn into_reply(self) -> Self {
        self
    }
}

impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Reply::empty(StatusCode::NO_CONTENT)
    }
}

impl IntoReply for Done {
    fn into_reply(self) -> Reply {
        Reply::empty(StatusCode::OK)
    }
}

impl IntoReply for Made {
    fn into_reply(self) -> Reply {
        Reply::empty(StatusCode::CREATED)
    }
}

impl<T: Serialize> IntoReply for Json<T> {
    fn into_reply(self) -> Reply {
        Reply::json(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize> IntoReply for Created<T> {
    fn into_reply(self) -> Reply {
        Reply::json(StatusCode::CREATED, &self.0)
    }
}

impl Reply {
    /// A status alone.
    pub fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(boxed(Empty::new()));
        *response.status_mut() = status;
        Self(response)
    }

    /// A JSON document with a line's end after it, as Docker writes it.
    pub fn json(status: StatusCode, document: &impl Serialize) -> Self {
        match serde_json::to_vec(document) {
            Ok(mut text) => {
                text.push(b'\n');
                Self::bytes(status, "application/json", text)
            }
            Err(error) => Self::error(&EngineError::system("the answer can't be written as JSON").because(error)),
        }
    }

    /// Plain text.
    pub fn text(text: &'static str) -> Self {
        Self::bytes(StatusCode::OK, "text/plain; charset=utf-8", text.as_bytes().to_vec())
    }

    /// A refusal: `{"message": ...}`.
    pub fn error(error: &EngineError) -> Self {
        let status = problem::status(error.kind());
        if status == StatusCode::NOT_MODIFIED {
            return Self::empty(status);
        }
        Self::json(status, &serde_json::json!({ "message": error.message() }))
    }

    /// A body that is sent as it comes, each piece at once.
    pub fn stream(content_type: &'static str, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        let frames = pieces.map(|piece| piece.map(Frame::data));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self(response)
    }

    /// A stream of JSON documents, a line each, each sent at once.
    pub fn lines<T: Serialize>(documents: impl Stream<Item = T> + Send + 'static) -> Self {
        Self::stream("application/json", documents.map(|document| line(&document)))
    }

    /// 101: the connection is a raw stream from here on.
    pub fn switched(content_type: &'static str) -> Self {
        let mut reply = Self::empty(StatusCode::SWITCHING_PROTOCOLS)
            .with(CONNECTION, HeaderValue::from_static("Upgrade"))
            .with(UPGRADE, HeaderValue::from_static("tcp"))
            .with(CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply.0.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
        reply
    }

    /// 101: the connection is a web socket from here on; `accept` answers its key.
    pub fn switched_to_websocket(accept: HeaderValue) -> Self {
        Self::empty(StatusCode::SWITCHING_PROTOCOLS)
            .with(CONNECTION, HeaderValue::from_static("Upgrade"))
            .with(UPGRADE, HeaderValue::from_static("websocket"))
            .with(SEC_WEBSOCKET_ACCEPT, accept)
    }

    /// 101: the connection is of another protocol from here on.
    pub fn switched_to(protocol: &'static str) -> Self {
        Self::empty(StatusCode::SWITCHING_PROTOCOLS)
            .with(CONNECTION, HeaderValue::from_static("Upgrade"))
            .with(UPGRADE, HeaderValue::from_static(protocol))
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    fn bytes(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Self {
        let mut response = Response::new(boxed(Full::new(Bytes::from(bytes))));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self(response)
    }
}

/// One document as a line of a stream, with the line's end that Docker writes.
fn line(document: &impl Serialize) -> io::Result<Bytes> {
    let mut line = serde_json::to_vec(document)?;
    line.extend_from_slice(b"\r\n");
    Ok(line.into())
}

fn boxed(body: impl http_body_util::BodyExt<Data = Bytes, Error = Infallible> + Send + 'static) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}
