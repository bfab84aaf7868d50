//! From connections to handlers: version, row, body, handler, headers, and an orderly end.
//!
//! A handler runs in a task of its own, so a client that leaves does not cut a start or a removal in half; what streams
//! ends with its connection. The whole body of a request is read before it is answered (unless it is an archive), since a
//! late rest would be taken for the first input of a raw stream.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::call::{Call, CallBody, read_along, read_whole};
use super::endpoint::{self, Takes};
use super::presence::{Presence, Watched};
use super::query::Query;
use super::reply::{Body, IntoReply, Reply};
use super::table::ENDPOINTS;
use super::{problem, version};
use crate::engine::{Engine, EngineError};

/// How long requests may go on after the server was told to stop; then their connections are cut.
const LAST_ORDERS: Duration = Duration::from_secs(3);

/// How long accepting waits after the host ran out of descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Serves one connection until its client leaves.
pub async fn serve_connection(engine: Engine, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    serve_until(engine, io, CancellationToken::new()).await;
}

/// Where clients come from.
pub trait Listener: Send + 'static {
    /// A client's connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next client.
    fn next(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Listener for UnixListener {
    type Io = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Io> {
        self.accept().await.map(|(io, _)| io)
    }
}

impl Listener for TcpListener {
    type Io = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Io> {
        let (io, _) = self.accept().await?;
        // Keystrokes and log lines are small and must not wait for more.
        let _ = io.set_nodelay(true);
        Ok(io)
    }
}

/// Serves every client of `listener` until `stop`; then requests under way have three seconds to end.
pub async fn listen(engine: Engine, listener: impl Listener, stop: CancellationToken) {
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.next() => accepted,
            _ = clients.join_next(), if !clients.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok(io) => drop(clients.spawn(serve_until(engine.clone(), io, stop.clone()))),
            Err(error) => {
                tracing::warn!(%error, "accept a client");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

async fn serve_until<I>(engine: Engine, io: I, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = Watched::new(io);
    let presence = io.presence();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(presence.clone());
        let engine = engine.clone();
        async move { Ok::<_, Infallible>(answer(engine, request).await) }
    });
    let connection = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(io), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_ORDERS, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("cut a connection that did not end in time"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Answers one request; every answer carries the headers by which clients know whom they talk to.
async fn answer(engine: Engine, request: Request<Incoming>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let reply = match handle(engine, request).await {
        Ok(reply) => reply,
        Err(error) => {
            use std::error::Error as _;
            let cause = error.source().map(tracing::field::display);
            tracing::debug!(%method, path, %error, cause, "refused");
            Reply::error(&error)
        }
    };
    let Reply(mut response) = reply;
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    identify(response.headers_mut());
    response
}

async fn handle(engine: Engine, mut request: Request<Incoming>) -> Result<Reply, EngineError> {
    let path = percent_encoding::percent_decode_str(request.uri().path())
        .decode_utf8()
        .map_err(|_| EngineError::invalid("the path is not UTF-8"))?
        .into_owned();
    let (version, path) = version::split(&path)?;
    let (endpoint, path) =
        endpoint::find(ENDPOINTS, request.method(), path, version).ok_or_else(problem::page_not_found)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let upgrade = (endpoint.takes == Takes::Connection && request.headers().contains_key(http::header::UPGRADE))
        .then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let presence = parts.extensions.remove::<Presence>();
    let body = match endpoint.takes {
        Takes::Archive => CallBody::Arriving(read_along(body)),
        Takes::Json | Takes::Connection => CallBody::Whole(read_whole(body).await?),
    };
    let call = Call { engine, version, path, query, headers: parts.headers, body, upgrade, presence };
    match tokio::spawn((endpoint.handler)(call)).await {
        Ok(answer) => answer,
        Err(error) => {
            Err(EngineError::system(format!("{} {}: internal error", endpoint.method, endpoint.path)).because(error))
        }
    }
}

/// Adds what Docker puts on every answer.
fn identify(headers: &mut HeaderMap) {
    const API_VERSION: HeaderName = HeaderName::from_static("api-version");
    const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
    const OSTYPE: HeaderName = HeaderName::from_static("ostype");
    const US: &str = concat!("Boxyard/", env!("CARGO_PKG_VERSION"), " (linux)");

    let newest = HeaderValue::try_from(version::NEWEST.to_string()).expect("a version is digits and a dot");
    headers.insert(API_VERSION, newest);
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OSTYPE, HeaderValue::from_static("linux"));
    headers.insert(SERVER, HeaderValue::from_static(US));
}

/// Answers `/_ping`: that somebody is there, and what he can do.
pub fn pong() -> Reply {
    const BUILDER: HeaderName = HeaderName::from_static("builder-version");
    const SWARM: HeaderName = HeaderName::from_static("swarm");
    // "1" is the builder that is driven by POST /build alone; "2" would promise the /session endpoint.
    Reply::text("OK")
        .with(BUILDER, HeaderValue::from_static("1"))
        .with(SWARM, HeaderValue::from_static("inactive"))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"))
        .with(PRAGMA, HeaderValue::from_static("no-cache"))
        .into_reply()
}
