//! Attaching by a web socket: what browsers have instead of a raw connection.
//!
//! Standard output and error come as they are, one after the other and unframed, in binary messages (before API 1.28 in
//! text); a message of either kind is standard input. The client's close is the end of input and of the conversation.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::{HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, split};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::call::Call;
use super::reply::Reply;
use super::version::ApiVersion;
use crate::engine::EngineError;
use crate::engine::container::Attached;
use crate::engine::error::ErrorKind;

/// From here on messages are binary.
const BINARY_SINCE: ApiVersion = ApiVersion::new(1, 28);
/// The one version there is (RFC 6455).
const PROTOCOL: &str = "13";

/// The answer to a client's key.
pub struct Handshake(HeaderValue);

impl Handshake {
    /// Reads what the client asks.
    ///
    /// # Errors
    /// `InvalidParameter` where it asks for no web socket; `Forbidden` for the script of another site's page, which a
    /// browser lets connect to anything.
    pub fn of(call: &Call) -> Result<Self, EngineError> {
        let is_asked = call.header(UPGRADE.as_str()).is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
        let key = call.header(SEC_WEBSOCKET_KEY.as_str()).filter(|_| is_asked);
        let key = key.ok_or_else(|| EngineError::invalid("this endpoint speaks the websocket protocol only"))?;
        if call.header(SEC_WEBSOCKET_VERSION.as_str()) != Some(PROTOCOL) {
            return Err(EngineError::invalid(format!("Sec-WebSocket-Version must be {PROTOCOL}")));
        }
        if let Some(origin) =
            call.header(ORIGIN.as_str()).filter(|origin| is_foreign(origin, call.header(HOST.as_str())))
        {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                format!("a page of {origin} may not attach to containers; go by a server of your own"),
            ));
        }
        let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
        accepted.map(Self).map_err(|error| EngineError::system("answer the websocket key").because(error))
    }

    /// Switches the connection over, and carries `attached` on it.
    pub fn connect(self, call: &mut Call, attached: Attached) -> Reply {
        let is_binary = call.version() >= BINARY_SINCE;
        if let Some(upgrade) = call.take_upgrade() {
            tokio::spawn(async move {
                match upgrade.await {
                    Ok(connection) => carry(TokioIo::new(connection), attached, is_binary).await,
                    Err(error) => tracing::debug!(%error, "the client left before its connection was handed over"),
                }
            });
        }
        Reply::switched_to_websocket(self.0)
    }
}

/// Whether a browser says that the script comes from another host than the one it talks to.
fn is_foreign(origin: &str, host: Option<&str>) -> bool {
    match origin.split_once("://") {
        Some((_, authority)) => host != Some(authority),
        None => origin == "null",
    }
}

async fn carry(client: impl AsyncRead + AsyncWrite + Unpin, attached: Attached, is_binary: bool) {
    let socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let (from_container, mut to_container) = split(attached.io);
    let mut output = Output { from: from_container, is_framed: !attached.tty, buffer: BytesMut::new() };
    let output = async {
        while let Some(bytes) = output.next().await {
            let text = || Message::text(String::from_utf8_lossy(&bytes).into_owned());
            let message = if is_binary { Message::Binary(bytes.clone()) } else { text() };
            if to_client.send(message).await.is_err() {
                return;
            }
        }
        let _ = to_client.close().await; // a client that is gone needs none
    };
    let input = async {
        while let Some(Ok(message)) = from_client.next().await {
            let is_written = match message {
                Message::Binary(bytes) => to_container.write_all(&bytes).await,
                Message::Text(text) => to_container.write_all(text.as_bytes()).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if is_written.is_err() {
                // it takes no input (any more); its output goes on
                let _ = from_client.by_ref().take_while(|message| std::future::ready(message.is_ok())).count().await;
                return;
            }
        }
        let _ = to_container.shutdown().await;
    };
    tokio::select! {
        () = output => {}
        () = input => {}
    }
}

/// What the container says, without Docker's frames.
struct Output<S> {
    from: ReadHalf<S>,
    is_framed: bool,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite> Output<S> {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.take() {
                return Some(bytes);
            }
            if self.from.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// What of the buffer is whole.
    fn take(&mut self) -> Option<Bytes> {
        if !self.is_framed {
            return (!self.buffer.is_empty()).then(|| self.buffer.split().freeze());
        }
        let length = self.buffer.get(4..8).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)?;
        let end = 8 + usize::try_from(length).unwrap_or(usize::MAX - 8);
        if self.buffer.len() < end {
            return None;
        }
        let mut frame = self.buffer.split_to(end);
        frame.advance(8);
        Some(frame.freeze())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::super::frames::frame;
    use super::*;

    async fn client(ours: tokio::io::DuplexStream) -> WebSocketStream<tokio::io::DuplexStream> {
        WebSocketStream::from_raw_socket(ours, Role::Client, None).await
    }

    #[tokio::test]
    async fn frames_become_messages_and_messages_input() {
        let (near, far) = duplex(1024);
        let (io, mut container) = duplex(1024);
        let carrying = tokio::spawn(carry(far, Attached { tty: false, io: Box::new(io) }, true));
        let mut socket = client(near).await;

        socket.send(Message::text("question\n")).await.unwrap();
        let mut heard = [0; 9];
        container.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"question\n");

        let (first, second) = (frame(1, &[b"answer"]), frame(2, &[b"complaint"]));
        container.write_all(&first[..10]).await.unwrap();
        container.write_all(&first[10..]).await.unwrap();
        container.write_all(&second).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(b"answer".as_slice()));
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(b"complaint".as_slice()));

        drop(container);
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
        carrying.await.unwrap();
    }

    #[tokio::test]
    async fn a_terminals_bytes_are_text_for_old_clients() {
        let (near, far) = duplex(1024);
        let (io, mut container) = duplex(1024);
        tokio::spawn(carry(far, Attached { tty: true, io: Box::new(io) }, false));
        let mut socket = client(near).await;
        container.write_all(b"$ ").await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("$ "));
        socket.close(None).await.unwrap();
        let mut rest = Vec::new();
        assert_eq!(container.read_to_end(&mut rest).await.unwrap(), 0);
    }

    #[test]
    fn other_sites_pages_are_foreign() {
        for (origin, host, expected) in [
            ("http://localhost:2375", Some("localhost:2375"), false),
            ("https://example.org", Some("localhost:2375"), true),
            ("null", Some("localhost:2375"), true),
            ("https://example.org", None, true),
        ] {
            assert_eq!(is_foreign(origin, host), expected, "{origin}");
        }
    }
}
