//! The Engine API spoken plainly over the socket, so that tests see what is sent and not what a library makes of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::support::{PATIENCE, Yard};

/// Programs the containers of these tests use.
const PROGRAMS: [&str; 18] = [
    "sh", "cat", "chmod", "cp", "cut", "echo", "grep", "id", "ln", "ls", "mkdir", "mv", "rm", "sleep", "stat", "touch",
    "true", "tty",
];

/// An answer of the engine.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status with the words of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["message"].as_str().unwrap_or_default().to_owned())
    }
}

/// Calls the engine; `body` with its content type.
pub fn call(yard: &Yard, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Answer {
    let mut stream = UnixStream::connect(yard.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} /v1.51{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if let Some((kind, bytes)) = body {
        head.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", bytes.len()));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    // A refusal may come, and the connection close, before all of a body is sent.
    let _ = stream.write_all(body.map_or(&[], |(_, bytes)| bytes));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let rest = &answer[end + 4..];
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { joined(rest) } else { rest.to_vec() };
    Answer { status, head, body }
}

fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = chunks.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..at]).unwrap(), 16).unwrap();
        chunks = &chunks[at + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[..length]);
        chunks = &chunks[length + 2..];
    }
    panic!("the answer breaks off after {} bytes", body.len());
}

pub fn get(yard: &Yard, path: &str) -> Answer {
    call(yard, "GET", path, None)
}

pub fn post(yard: &Yard, path: &str, body: &Value) -> Answer {
    call(yard, "POST", path, Some(("application/json", body.to_string().as_bytes())))
}

/// Makes the image `tools` that the containers of these tests are made of.
pub async fn tools(yard: &Yard) {
    yard.image_of_programs("tools:latest", &PROGRAMS).await;
}

/// Creates a container of `tools` that runs `script`, with no network; `change` is merged into the request.
pub fn create(yard: &Yard, name: &str, script: &str, change: Value) {
    let mut body = json!({
        "Image": "tools", "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none"}, "StopTimeout": 0,
    });
    merge(&mut body, change);
    let made = post(yard, &format!("/containers/create?name={name}"), &body);
    assert_eq!(made.status, 201, "{}", made.text());
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

pub fn start(yard: &Yard, name: &str) {
    let started = call(yard, "POST", &format!("/containers/{name}/start"), None);
    assert_eq!(started.status, 204, "{}", started.text());
}

pub fn run(yard: &Yard, name: &str, script: &str, change: Value) {
    create(yard, name, script, change);
    start(yard, name);
}

/// Waits for its end.
pub fn ended(yard: &Yard, name: &str) -> i64 {
    let answer = call(yard, "POST", &format!("/containers/{name}/wait?condition=not-running"), None);
    answer.json()["StatusCode"].as_i64().unwrap()
}

/// Runs a container to its end.
pub fn run_out(yard: &Yard, name: &str, script: &str, change: Value) {
    run(yard, name, script, change);
    assert_eq!(ended(yard, name), 0, "{name}: {}", get(yard, &format!("/containers/{name}/logs?stderr=1")).text());
}

/// What a command run in a container said, and its exit code; `change` is merged into the request.
pub fn exec(yard: &Yard, container: &str, command: &[&str], change: Value) -> (String, i64) {
    let id = exec_create(yard, container, command, change);
    let is_raw = get(yard, &format!("/exec/{id}/json")).json()["ProcessConfig"]["tty"] == json!(true);
    let output = post(yard, &format!("/exec/{id}/start"), &json!({}));
    assert_eq!(output.status, 200, "{}", output.text());
    let text = if is_raw { output.body } else { unframed(&output.body) };
    let code = get(yard, &format!("/exec/{id}/json")).json()["ExitCode"].as_i64().unwrap();
    (String::from_utf8_lossy(&text).replace("\r\n", "\n"), code)
}

pub fn exec_create(yard: &Yard, container: &str, command: &[&str], change: Value) -> String {
    let mut body = json!({"Cmd": command, "AttachStdout": true, "AttachStderr": true});
    merge(&mut body, change);
    let made = post(yard, &format!("/containers/{container}/exec"), &body);
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["Id"].as_str().unwrap().to_owned()
}

/// Both streams as they came, without their frames.
fn unframed(mut frames: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while frames.len() >= 8 {
        let length = u32::from_be_bytes(frames[4..8].try_into().unwrap()) as usize;
        text.extend_from_slice(&frames[8..8 + length]);
        frames = &frames[8 + length..];
    }
    text
}
