//! Attached streams as clients see them: replay without gap, half-close, sizes, detach keys, several at once.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by its panic

mod support;

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig};
use bollard::query_parameters::{
    AttachContainerOptions, AttachContainerOptionsBuilder, CreateContainerOptionsBuilder,
    ResizeContainerTTYOptionsBuilder, ResizeExecOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use support::{PATIENCE, Yard};
use tokio::io::{AsyncWrite, AsyncWriteExt};

const PROGRAMS: [&str; 6] = ["sh", "cat", "sleep", "stty", "echo", "seq"];

/// Both ends of an attachment, and what came so far.
struct Wire {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    input: Pin<Box<dyn AsyncWrite + Send>>,
    heard: String,
}

impl Wire {
    /// Reads until `text` has come.
    async fn until(&mut self, text: &str) -> &mut Self {
        let reading = async {
            while !self.heard.contains(text) {
                let piece = self.output.next().await.unwrap_or_else(|| panic!("the end instead of {text:?}"));
                self.heard.push_str(&String::from_utf8_lossy(&piece.unwrap().into_bytes()));
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{text:?} never came, only {:?}", self.heard);
        self
    }

    /// Reads to the end and gives all that came.
    async fn all(mut self) -> String {
        let reading = async {
            while let Some(piece) = self.output.next().await {
                self.heard.push_str(&String::from_utf8_lossy(&piece.unwrap().into_bytes()));
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "no end after {:?}", self.heard);
        self.heard
    }

    async fn types(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
    }

    async fn ends_input(&mut self) {
        self.input.shutdown().await.unwrap();
    }
}

/// How a container of these tests is made.
#[derive(Clone, Copy)]
enum Input {
    Closed,
    Open,
    Once,
    Terminal,
}

async fn create(yard: &Yard, name: &str, script: &str, input: Input) -> String {
    let body = ContainerCreateBody {
        image: Some(yard.image_of_programs("host:latest", &PROGRAMS).await),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        open_stdin: Some(!matches!(input, Input::Closed)),
        stdin_once: Some(matches!(input, Input::Once)),
        tty: Some(matches!(input, Input::Terminal)),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    yard.docker().create_container(Some(options), body).await.unwrap().id
}

fn streams() -> AttachContainerOptionsBuilder {
    AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true)
}

async fn attach(yard: &Yard, name: &str, options: AttachContainerOptions) -> Wire {
    let found = yard.docker().attach_container(name, Some(options)).await.unwrap();
    Wire { output: found.output, input: found.input, heard: String::new() }
}

async fn start(yard: &Yard, name: &str) {
    yard.docker().start_container(name, None).await.unwrap();
}

#[tokio::test]
async fn log_and_stream_together_have_every_byte_once() {
    let yard = Yard::new();
    // Lines in two pieces, so that there is nearly always an unfinished one.
    let script = "echo begin; i=0; while [ $i -lt 4000 ]; do printf \"$i \"; printf 'x\\n'; i=$((i+1)); done; read end";
    create(&yard, "talker", script, Input::Open).await;
    let mut first = attach(&yard, "talker", streams().build()).await;
    start(&yard, "talker").await;
    let mut others = Vec::new();
    for number in [1, 500, 1500, 2500] {
        first.until(&format!("\n{number} x\n")).await;
        others.push(attach(&yard, "talker", streams().logs(true).build()).await);
    }
    first.types("end\n").await;
    let expected = (0..4000).fold("begin\n".to_owned(), |text, number| text + &format!("{number} x\n"));
    for (at, other) in others.into_iter().enumerate() {
        let all = other.all().await;
        assert!(all == expected, "attacher {at} has {} bytes of {}", all.len(), expected.len());
    }
    assert!(first.all().await == expected);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn an_unfinished_line_is_replayed() {
    let yard = Yard::new();
    let script = "echo whole; printf 'a question? '; read answer; echo \"$answer, then\"";
    create(&yard, "asker", script, Input::Open).await;
    let mut first = attach(&yard, "asker", streams().build()).await;
    start(&yard, "asker").await;
    first.until("a question? ").await;
    let mut second = attach(&yard, "asker", streams().logs(true).build()).await;
    second.until("whole\na question? ").await;
    second.types("yes\n").await;
    for wire in [first, second] {
        assert_eq!(wire.all().await, "whole\na question? yes, then\n");
    }
    let ended = attach(&yard, "asker", AttachContainerOptionsBuilder::default().logs(true).stdout(true).build()).await;
    assert_eq!(ended.all().await, "whole\na question? yes, then\n", "the log alone");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn who_attaches_at_rest_gets_the_old_runs_and_the_next_one() {
    let yard = Yard::new();
    create(&yard, "again", "echo run; cat", Input::Once).await;
    for run in 1..=3 {
        let mut wire = attach(&yard, "again", streams().logs(true).build()).await;
        if run > 1 {
            wire.until("run\n").await;
        }
        start(&yard, "again").await;
        wire.types("input\n").await;
        wire.ends_input().await;
        assert_eq!(wire.all().await, "run\ninput\n".repeat(run));
        yard.exit_code("again").await;
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn the_end_of_input_ends_it_once_and_output_goes_on() {
    let yard = Yard::new();
    create(&yard, "pipe", "cat; echo rest; exit 7", Input::Once).await;
    let mut wire = attach(&yard, "pipe", streams().build()).await;
    start(&yard, "pipe").await;
    wire.types("through\n").await;
    wire.ends_input().await;
    assert_eq!(wire.all().await, "through\nrest\n");
    assert_eq!(yard.exit_code("pipe").await, 7);

    // Without StdinOnce, input stays open when an attacher goes.
    create(&yard, "open", "read a; read b; echo $a $b", Input::Open).await;
    start(&yard, "open").await;
    let mut one = attach(&yard, "open", streams().build()).await;
    one.types("one\n").await;
    one.ends_input().await;
    let mut two = attach(&yard, "open", streams().build()).await;
    two.types("two\n").await;
    assert!(["one two\n", "two one\n"].contains(&&*two.all().await));
    assert!(["one two\n", "two one\n"].contains(&&*one.all().await));
    yard.exit_code("open").await;

    start(&yard, "open").await;
    let exec = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        cmd: Some(["sh", "-c", "cat; echo rest; exit 5"].map(str::to_owned).to_vec()),
        ..Default::default()
    };
    let (id, mut wire) = exec_in(&yard, "open", exec).await;
    wire.types("into the exec\n").await;
    wire.ends_input().await;
    assert_eq!(wire.all().await, "into the exec\nrest\n");
    assert_eq!(yard.docker().inspect_exec(&id).await.unwrap().exit_code, Some(5));
    yard.leaves_nothing_behind().await;
}

async fn exec_in(yard: &Yard, name: &str, config: ExecConfig) -> (String, Wire) {
    let docker = yard.docker();
    let tty = config.tty == Some(true);
    let id = docker.create_exec(name, config).await.unwrap().id;
    let options = StartExecOptions { tty, ..Default::default() };
    let StartExecResults::Attached { output, input } = docker.start_exec(&id, Some(options)).await.unwrap() else {
        panic!("attached")
    };
    (id, Wire { output, input, heard: String::new() })
}

#[tokio::test]
async fn all_attachers_hear_all_and_each_may_type() {
    let yard = Yard::new();
    create(&yard, "room", "while read line; do echo \"said $line\"; done", Input::Open).await;
    start(&yard, "room").await;
    let mut wires = Vec::new();
    for _ in 0..5 {
        wires.push(attach(&yard, "room", streams().build()).await);
    }
    for number in 0..wires.len() {
        wires[number].types(&format!("{number}\n")).await;
        for wire in &mut wires {
            wire.until(&format!("said {number}\n")).await;
        }
    }
    let expected: String = (0..5).map(|number| format!("said {number}\n")).collect();
    drop(wires.pop());
    yard.docker().kill_container("room", None).await.unwrap();
    for wire in wires {
        assert_eq!(wire.all().await, expected);
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn terminals_know_their_sizes() {
    let yard = Yard::new();
    let script = "stty size; read line; stty size; read line";
    let id = create(&yard, "screen", script, Input::Terminal).await;
    let size = |rows, columns| ResizeContainerTTYOptionsBuilder::default().h(rows).w(columns).build();
    yard.docker().resize_container_tty("screen", size(31, 91)).await.unwrap();
    let mut wire = attach(&yard, "screen", streams().build()).await;
    start(&yard, "screen").await;
    wire.until("31 91\r\n").await;
    yard.docker().resize_container_tty("screen", size(40, 100)).await.unwrap();
    wire.types("\n").await;
    wire.until("40 100\r\n").await;
    yard.actions(&id, |action| action == "resize", |seen| seen.len() == 1).await;

    let exec = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        tty: Some(true),
        console_size: Some(vec![20, 60]),
        cmd: Some(["sh", "-c", "stty size; read line; stty size"].map(str::to_owned).to_vec()),
        ..Default::default()
    };
    let (id, mut exec) = exec_in(&yard, "screen", exec).await;
    exec.until("20 60\r\n").await;
    let size = ResizeExecOptionsBuilder::default().h(50).w(120).build();
    yard.docker().resize_exec(&id, size).await.unwrap();
    exec.types("\n").await;
    assert!(exec.all().await.ends_with("50 120\r\n"));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn detach_keys_leave_it_running() {
    let yard = Yard::new();
    let id = create(&yard, "left", "while read line; do echo \"said $line\"; done", Input::Terminal).await;
    start(&yard, "left").await;
    for (keys, typed) in [("", "\x10\x11"), ("ctrl-a,d", "\x01d"), ("x", "x")] {
        let mut wire = attach(&yard, "left", streams().detach_keys(keys).build()).await;
        wire.types("words\n").await;
        wire.until("said words\r\n").await;
        wire.types(&format!("{typed}never heard\n")).await;
        wire.all().await;
    }
    let heard = yard.actions(&id, |action| action == "detach", |seen| seen.len() == 3).await;
    assert_eq!(heard.len(), 3);
    let exec = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        tty: Some(true),
        detach_keys: Some("ctrl-b".to_owned()),
        cmd: Some(["sh", "-c", "echo here; cat"].map(str::to_owned).to_vec()),
        ..Default::default()
    };
    let (exec, mut wire) = exec_in(&yard, "left", exec).await;
    wire.until("here\r\n").await;
    wire.types("\x02").await;
    wire.all().await;
    yard.actions(&id, |action| action == "exec_detach", |seen| seen.len() == 1).await;
    assert_eq!(yard.docker().inspect_exec(&exec).await.unwrap().running, Some(true));
    let found = yard.docker().inspect_container("left", None).await.unwrap();
    assert_eq!(found.state.unwrap().running, Some(true));
    assert!(!yard.log("left").await.contains("never"));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn refusals_are_dockers() {
    let yard = Yard::new();
    let id = create(&yard, "still", "sleep 600", Input::Closed).await;
    start(&yard, "still").await;
    yard.docker().pause_container("still").await.unwrap();
    let refused = |options: AttachContainerOptions, name: &'static str| {
        let docker = yard.docker();
        async move {
            match docker.attach_container(name, Some(options)).await {
                Err(Error::DockerResponseServerError { status_code, message }) => (status_code, message),
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("attached"),
            }
        }
    };
    let paused = format!("container {id} is paused, unpause the container before attach");
    assert_eq!(refused(streams().build(), "still").await, (409, paused));
    assert_eq!(refused(streams().build(), "nobody").await, (404, "No such container: nobody".to_owned()));
    let keys = refused(streams().detach_keys("ctrl-1").build(), "still").await;
    assert_eq!(keys, (400, "Invalid detach keys (ctrl-1) provided".to_owned()));
    yard.leaves_nothing_behind().await;
}
