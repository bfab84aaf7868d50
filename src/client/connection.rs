//! HTTP/1.1 connections to a host: opened by the transport, used again while they last.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::errors::Error;
use super::transport::Transport;

/// What a request carries.
pub type RequestBody = BoxBody<Bytes, io::Error>;

/// How many idle connections are kept; a screen's worth of calls at once.
const IDLE_LIMIT: usize = 8;

/// A body that is whole in memory.
pub(super) fn full_body(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// The connections to one host.
pub(super) struct Connections {
    transport: Arc<dyn Transport>,
    idle: Mutex<Vec<SendRequest<RequestBody>>>,
}

/// Whether a request may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It has no effect: sending it twice does no harm.
    Harmless,
    /// Only if nothing of it was sent.
    OnlyIfUnsent,
}

impl Connections {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> String {
        self.transport.address()
    }

    /// Sends a request whose body is whole in memory, on an idle connection where there is one.
    pub(super) async fn send(
        &self,
        build: impl Fn() -> Result<Request<RequestBody>, Error>,
        repeat: Repeat,
    ) -> Result<Exchange, Error> {
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(build()?).await {
                Ok(response) => return Ok(Exchange { response, sender }),
                // The host closed the idle connection at this moment: with nothing sent, or with nothing to lose, go on.
                Err(mut failed) => {
                    let is_unsent = failed.take_message().is_some();
                    if !is_unsent && repeat == Repeat::OnlyIfUnsent {
                        return Err(failed.into_error().into());
                    }
                }
            }
        }
        self.send_on_new(build()?).await
    }

    /// Sends a request on a connection of its own: for streams, which hold theirs for long.
    pub(super) async fn send_on_new(&self, request: Request<RequestBody>) -> Result<Exchange, Error> {
        let connect_error = |source| Error::Connect { address: self.transport.address(), source };
        let io = self.transport.connect().await.map_err(connect_error)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        tokio::spawn(async move {
            // A broken connection shows in the calls that use it.
            let _ = connection.with_upgrades().await;
        });
        let response = sender.send_request(request).await?;
        Ok(Exchange { response, sender })
    }

    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        idle.pop()
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn give_back(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_LIMIT {
            idle.push(sender);
        }
    }
}

/// An answer and the connection it comes on.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    pub(super) sender: SendRequest<RequestBody>,
}
