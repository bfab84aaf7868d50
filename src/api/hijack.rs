//! Raw connections: attach and exec take the HTTP connection over and carry bytes both ways.
//!
//! The client asks with `Connection: Upgrade`; we answer 101 and then copy. Each direction ends on its own: the client's
//! end of input closes the container's standard input while output goes on (half-close), and the end of output ends it
//! all. A client that asks for no upgrade can't send input; it gets the output as a chunked body.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio_util::io::ReaderStream;

use super::frames;
use super::reply::Reply;
use super::version::ApiVersion;
use crate::engine::container::Attached;

/// Answers with `attached`: over the connection itself where the client asked for it, else as a body.
pub fn connect(upgrade: Option<OnUpgrade>, attached: Attached, version: ApiVersion) -> Reply {
    let content_type = frames::content_type(attached.tty, version);
    let Some(upgrade) = upgrade else {
        return Reply::stream(content_type, ReaderStream::new(attached.io))
            .with(CONTENT_TYPE, HeaderValue::from_static(content_type));
    };
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => carry(TokioIo::new(connection), attached.io).await,
            Err(error) => tracing::debug!(%error, "the client left before its connection was handed over"),
        }
    });
    Reply::switched(content_type)
}

/// Copies both ways until the container's output ends or the client is gone.
async fn carry(client: impl AsyncRead + AsyncWrite, container: impl AsyncRead + AsyncWrite) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_container, mut to_container) = split(container);
    let input = async {
        let _ = copy(&mut from_client, &mut to_container).await;
        let _ = to_container.shutdown().await;
        // The end of input is not the end of the conversation.
        std::future::pending::<()>().await;
    };
    let output = async {
        let _ = copy(&mut from_container, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = output => {}
        () = input => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_end_of_input_leaves_output_open() {
        let (mut client, ours) = duplex(64);
        let (theirs, mut container) = duplex(64);
        let carrying = tokio::spawn(carry(ours, theirs));

        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = String::new();
        container.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");

        container.write_all(b"answer").await.unwrap();
        drop(container);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        carrying.await.unwrap();
    }
}
