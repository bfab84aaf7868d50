//! The API's wire: headers, versions, statuses, error bodies and raw connections, spoken byte by byte over the socket.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::Value;
use support::{PATIENCE, Yard};

/// An answer, taken apart.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn message(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body));
        body["message"].as_str().unwrap_or_default().to_owned()
    }
}

fn connect(yard: &Yard) -> UnixStream {
    let stream = UnixStream::connect(yard.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(yard: &Yard, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = connect(yard);
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn check(yard: &Yard, method: &str, path: &str, body: &str, status: u16, message: &str) {
    let answer = send(yard, method, path, body);
    assert_eq!((answer.status, answer.message().as_str()), (status, message), "{method} {path}");
}

/// Reads up to the end of the head.
fn read_head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the head ends: {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_who_answers_and_refusals_are_dockers() {
    let yard = Yard::new();

    let ping = send(&yard, "GET", "/_ping", "");
    assert_eq!((ping.status, ping.body.as_str()), (200, "OK"));
    assert_eq!(ping.header("builder-version"), Some("1"));
    let head = send(&yard, "HEAD", "/_ping", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for answer in [&ping, &head, &send(&yard, "GET", "/nowhere", "")] {
        assert_eq!(answer.header("api-version"), Some("1.51"));
        assert_eq!(answer.header("ostype"), Some("linux"));
        assert!(answer.header("server").unwrap().starts_with("Boxyard/"));
    }

    check(&yard, "GET", "/nowhere", "", 404, "page not found");
    check(&yard, "POST", "/info", "", 404, "page not found");
    check(&yard, "POST", "/session", "", 404, "page not found");
    check(
        &yard,
        "GET",
        "/v1.99/info",
        "",
        400,
        "client version 1.99 is too new. Maximum supported API version is 1.51",
    );
    let old = "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
    check(&yard, "GET", "/v1.12/info", "", 400, old);
    check(&yard, "GET", "/v1.41/containers/nobody/json", "", 404, "No such container: nobody");
    check(&yard, "GET", "/images/127.0.0.1:5000/a/b:c/json", "", 404, "No such image: 127.0.0.1:5000/a/b:c");
    check(
        &yard,
        "GET",
        "/containers/json?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D",
        "",
        400,
        "invalid filter 'colour'",
    );
    check(&yard, "POST", "/containers/create", "", 400, "invalid JSON: got EOF while reading request body");
    assert_eq!(send(&yard, "GET", "/nodes", "").status, 503);
    assert_eq!(send(&yard, "GET", "/plugins", "").body.trim(), "[]");

    let yards: Value = serde_json::from_str(&send(&yard, "GET", "/_boxyard", "").body).unwrap();
    assert_eq!(yards["Root"].as_str(), yard.root().to_str());
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_wait_comes_before_the_container_ends() {
    let yard = Yard::new();
    yard.create_with("short", "read line; exit 7", bollard::models::HostConfig::default()).await;

    let mut waiting = connect(&yard);
    write!(
        waiting,
        "POST /v1.43/containers/short/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let head = read_head(&mut waiting);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    assert_eq!(send(&yard, "POST", "/containers/short/start", "").status, 204);
    let mut body = String::new();
    waiting.read_to_string(&mut body).unwrap();
    assert!(body.contains("\"StatusCode\":7"), "{body}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_connection_carries_input_and_its_end() {
    let yard = Yard::new();
    yard.run("echo", "sleep 60").await;
    let config =
        r#"{"AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"Cmd":["sh","-c","cat; echo done >&2"]}"#;
    let made = send(&yard, "POST", "/containers/echo/exec", config);
    assert_eq!(made.status, 201, "{}", made.body);
    let id = serde_json::from_str::<Value>(&made.body).unwrap()["Id"].as_str().unwrap().to_owned();

    let mut stream = connect(&yard);
    let body = r#"{"Detach":false,"Tty":false}"#;
    write!(
        stream,
        "POST /v1.43/exec/{id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED"), "{head}");
    assert!(head.contains("application/vnd.docker.multiplexed-stream"), "{head}");
    stream.write_all(b"question\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut output = Vec::new();
    stream.read_to_end(&mut output).unwrap();
    assert_eq!(output, b"\x01\0\0\0\0\0\0\x09question\n\x02\0\0\0\0\0\0\x05done\n");
    yard.leaves_nothing_behind().await;
}
