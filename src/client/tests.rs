//! The client against a host that lives in the same process, over an in-memory stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::transport::{Connecting, Io, Transport};
use super::*;

/// A host that answers a few fixed calls and counts its connections.
#[derive(Default)]
struct FakeHost {
    connections: AtomicUsize,
}

impl Transport for FakeHost {
    fn connect(&self) -> Connecting<'_> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(far), service_fn(answer))
                .with_upgrades(),
        );
        Box::pin(async { Ok(Box::new(near) as Box<dyn Io>) })
    }

    fn address(&self) -> String {
        "fake://".to_owned()
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/_ping" => (200, "OK"),
        "/v1.40/containers/json" => (200, r#"[{"Id":"1"}]"#),
        "/v1.40/events" => (200, "{\"Action\":\"start\"}\n{\"Action\":\"die\"}\n"),
        "/v1.40/containers/x/attach" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut said = Vec::new();
                io.read_to_end(&mut said).await.unwrap();
                io.write_all(&[&b"\x01\0\0\0\0\0\0"[..], &[said.len() as u8], &said].concat()).await.unwrap();
                io.shutdown().await.unwrap();
            });
            let response = Response::builder().status(101).header("Connection", "Upgrade").header("Upgrade", "tcp");
            return Ok(response.body(Full::default()).unwrap());
        }
        _ => (404, r#"{"message":"No such container: y"}"#),
    };
    let _ = request.into_body().collect().await;
    let response = Response::builder().status(status).header("Api-Version", "1.40");
    Ok(response.body(Full::from(body)).unwrap())
}

async fn fake() -> (Arc<FakeHost>, Docker) {
    let host = Arc::new(FakeHost::default());
    let docker = Docker::connect_with_transport(host.clone()).negotiate_version().await.unwrap();
    (host, docker)
}

#[tokio::test]
async fn the_version_is_negotiated_down() {
    let (_, docker) = fake().await;
    assert_eq!(docker.client_version().to_string(), "1.40");
}

#[tokio::test]
async fn an_idle_connection_is_used_again() {
    let (host, docker) = fake().await;
    for _ in 0..3 {
        assert_eq!(docker.list_containers(None).await.unwrap()[0].id.as_deref(), Some("1"));
    }
    assert!(host.connections.load(Ordering::SeqCst) <= 2, "one for the ping, one for the lists");
}

#[tokio::test]
async fn a_stream_gives_documents_as_they_come() {
    let (_, docker) = fake().await;
    let actions: Vec<_> = docker.events(None).map(|event| event.unwrap().action.unwrap()).collect().await;
    assert_eq!(actions, ["start", "die"]);
}

#[tokio::test]
async fn a_refusal_has_the_hosts_words() {
    let (_, docker) = fake().await;
    let error = docker.start_container("y", None).await.unwrap_err();
    assert_eq!((error.status_code(), error.to_string()), (Some(404), "No such container: y".to_owned()));
}

#[tokio::test]
async fn closing_the_input_still_brings_the_output() {
    let (_, docker) = fake().await;
    let mut attached = docker.attach_container("x", None).await.unwrap();
    attached.input.write_all(b"hello").await.unwrap();
    attached.input.shutdown().await.unwrap();
    let output: Vec<_> = attached.output.map(Result::unwrap).collect().await;
    assert_eq!(output, [LogOutput::StdOut { message: Bytes::from_static(b"hello") }]);
}
