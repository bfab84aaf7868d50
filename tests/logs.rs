//! What containers write and who reads it, through the Engine API: nothing is lost, nobody is held up.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder};
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{PATIENCE, Yard};

/// A log of these options, and no network.
fn logging(driver: &str, options: &[(&str, &str)]) -> HostConfig {
    let config = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HostConfig {
        network_mode: Some("none".to_owned()),
        log_config: Some(HostConfigLogConfig { typ: Some(driver.to_owned()), config: Some(config) }),
        ..HostConfig::default()
    }
}

/// Small files, and so many that none is thrown away.
fn rotating() -> HostConfig {
    logging("json-file", &[("max-size", "100k"), ("max-file", "1000")])
}

/// Creates a container that runs `script`, and starts it.
async fn run(yard: &Yard, name: &str, script: &str, host_config: HostConfig, tty: bool) -> String {
    let image = yard.image_of_programs("logs:latest", &["sh", "seq", "head", "cat", "sleep", "touch", "printf"]).await;
    let config = ContainerCreateBody {
        image: Some(image),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        labels: Some(HashMap::from([("com.example/a b".to_owned(), "x=y,z".to_owned())])),
        tty: Some(tty),
        host_config: Some(host_config),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let id = yard.docker().create_container(Some(options), config).await.expect("it is created").id;
    yard.docker().start_container(&id, None).await.expect("it starts");
    id
}

/// Asks with HTTP/1.0, whose answers end with the connection, and reads the head of the answer.
fn ask(yard: &Yard, method: &str, path: &str) -> (u16, UnixStream) {
    let mut stream = UnixStream::connect(yard.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: yard\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), stream)
}

fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// What stands in Docker's frames.
fn content(frames: &[u8]) -> String {
    let (mut text, mut rest) = (Vec::new(), frames);
    while let Some(([_, 0, 0, 0, length @ ..], after)) = rest.split_first_chunk::<8>() {
        let (content, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        text.extend_from_slice(content);
        rest = after;
    }
    assert!(rest.is_empty(), "half a frame: {rest:?}");
    String::from_utf8(text).unwrap()
}

fn log(yard: &Yard, name: &str, query: &str) -> String {
    let (status, stream) = ask(yard, "GET", &format!("/containers/{name}/logs?stdout=1&stderr=1&{query}"));
    let answer = rest(stream);
    if status == 200 { content(&answer) } else { format!("{status} {}", String::from_utf8(answer).unwrap()) }
}

/// The text of `seq FIRST LAST`.
fn numbers(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

#[track_caller]
fn is_same(found: &str, expected: &str) {
    let differs = || found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{} lines instead of {}, different from line {:?} on",
        found.lines().count(),
        expected.lines().count(),
        differs()
    );
}

fn log_path(yard: &Yard, id: &str) -> PathBuf {
    yard.root().join("containers").join(id).join(format!("{id}-json.log"))
}

fn shim_pid(yard: &Yard, id: &str) -> i32 {
    let text = fs::read(yard.run_root().join("containers").join(id).join("shim.pid")).unwrap();
    let identity: serde_json::Value = serde_json::from_slice(&text).unwrap();
    i32::try_from(identity["pid"].as_i64().unwrap()).unwrap()
}

/// The child of `parent` that has `word` in its command line.
fn child_with(parent: i32, word: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let mut pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.find(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().contains(word))
}

fn anonymous_kb(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.trim().trim_end_matches(" kB").parse().ok()
}

/// Waits for a file: what happens in a container has no other signal on the host.
async fn appears(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < PATIENCE, "{} never comes", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_flood_is_in_the_log_whole_and_in_order_and_takes_its_shim_little_memory() {
    let yard = Yard::new();
    let script = "seq 1 80000; head -c 1000000 /dev/zero; echo; seq 1 30000 >&2";
    let id = run(&yard, "flood", script, rotating(), false).await;
    let shim = shim_pid(&yard, &id);
    let before = anonymous_kb(shim).unwrap();
    let mut most = before;
    let docker = yard.docker();
    while docker.inspect_container("flood", None).await.unwrap().state.unwrap().running == Some(true) {
        most = most.max(anonymous_kb(shim).unwrap_or_default());
    }
    assert!(most < before + 1024, "a shim's memory grew from {before} to {most} kB");
    let zeros = "\0".repeat(1_000_000) + "\n";
    let found = log(&yard, "flood", "");
    is_same(&found, &(numbers(1..=80_000) + &zeros + &numbers(1..=30_000)));
    is_same(&log(&yard, "flood", "tail=29999"), &numbers(2..=30_000));
    assert!(fs::read_dir(log_path(&yard, &id).parent().unwrap()).unwrap().count() > 100, "it was rotated often");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_follower_gets_each_line_once_across_rotations() {
    let yard = Yard::new();
    run(&yard, "long", "seq 1 60000; sleep 0.1; seq 60001 80000", rotating(), false).await;
    let options = LogsOptionsBuilder::default().stdout(true).follow(true).build();
    let docker = yard.docker();
    let reading = docker.logs("long", Some(options)).map(|piece| piece.unwrap().to_string()).collect::<Vec<_>>();
    let found = tokio::time::timeout(PATIENCE, reading).await.expect("it ends with the container").concat();
    is_same(&found, &numbers(1..=80_000));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn readers_that_stand_still_hold_nobody_up_and_lose_nothing() {
    let yard = Yard::new();
    let folder = tempfile::tempdir().unwrap();
    let host_config = HostConfig { binds: Some(vec![format!("{}:/shared", folder.path().display())]), ..rotating() };
    let script = "while [ ! -e /shared/go ]; do sleep 0.02; done; seq 1 200000; touch /shared/done; exec sleep 1000";
    run(&yard, "talker", script, host_config, false).await;
    let (_, follower) = ask(&yard, "GET", "/containers/talker/logs?stdout=1&follow=1");
    let (_, attacher) = ask(&yard, "POST", "/containers/talker/attach?stream=1&stdout=1");
    fs::write(folder.path().join("go"), "").unwrap();
    appears(&folder.path().join("done")).await;
    yard.docker().kill_container("talker", None).await.unwrap();
    yard.exit_code("talker").await;
    is_same(&content(&rest(follower)), &numbers(1..=200_000));
    is_same(&content(&rest(attacher)), &numbers(1..=200_000));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_container_that_does_not_wait_for_its_log_loses_what_the_buffer_has_no_room_for() {
    let yard = Yard::new();
    let folder = tempfile::tempdir().unwrap();
    let host_config = HostConfig {
        binds: Some(vec![format!("{}:/shared", folder.path().display())]),
        ..logging("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "100k"), ("max-size", "-1")])
    };
    let script = "echo ready; [ ! -e /shared/end ] || exit 0; while [ ! -e /shared/go ]; do sleep 0.02; done; seq 1 100000; touch /shared/done; \
                  while [ ! -e /shared/end ]; do sleep 0.02; done; echo end";
    let id = run(&yard, "hasty", script, host_config, false).await;
    yard.log_until("hasty", "ready").await;
    let writer = Pid::from_raw(child_with(shim_pid(&yard, &id), "--log").expect("somebody writes the log"));
    // A disk that hangs.
    kill(writer, Signal::SIGSTOP).unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    appears(&folder.path().join("done")).await;
    kill(writer, Signal::SIGCONT).unwrap();
    // Once something of what waited is there, there is room for more.
    yard.log_until("hasty", "\n1000\n").await;
    fs::write(folder.path().join("end"), "").unwrap();
    assert_eq!(yard.exit_code("hasty").await, 0);
    let found = log(&yard, "hasty", "");
    let kept = found.lines().count() - 2;
    assert!((1500..50_000).contains(&kept), "a pipe and a buffer hold {kept} lines");
    let kept = u32::try_from(kept).unwrap();
    is_same(&found, &format!("ready\n{}end\n", numbers(1..=kept)));
    // The next run has a writer, too.
    yard.docker().start_container("hasty", None).await.unwrap();
    yard.exit_code("hasty").await;
    assert_eq!(log(&yard, "hasty", "tail=2"), "end\nready\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_container_that_does_not_wait_loses_nothing_where_the_disk_keeps_up() {
    let yard = Yard::new();
    let options = [("mode", "non-blocking"), ("max-buffer-size", "64m"), ("max-size", "100k"), ("max-file", "1000")];
    run(&yard, "calm", "seq 1 100000", logging("json-file", &options), false).await;
    assert_eq!(yard.exit_code("calm").await, 0);
    is_same(&log(&yard, "calm", ""), &numbers(1..=100_000));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn parts_of_a_log_are_what_docker_gives() {
    let yard = Yard::new();
    let options = [("labels", "com.example/a b"), ("tag", "{{.Name}}")];
    let script = "echo one; echo two >&2; printf 'a\\0b\\377c\\n'; printf 'no end'";
    run(&yard, "parts", script, logging("json-file", &options), false).await;
    yard.exit_code("parts").await;
    let all = "one\ntwo\na\0b\u{fffd}c\nno end";
    // Two streams have no common order but in one of them.
    let has = |query: &str, lines: usize| {
        let found = log(&yard, "parts", query);
        assert_eq!(found.lines().count(), lines, "{query}: {found:?}");
        found
    };
    for query in [
        "",
        "tail=all",
        "tail=-1",
        "tail=4",
        "tail=9",
        "since=0",
        "since=1.5",
        "since=1h",
        "since=2020-01-01T00:00:00Z",
    ] {
        let found = has(query, 4);
        let mut lines: Vec<_> = found.split_inclusive('\n').filter(|line| *line != "two\n").collect();
        lines.insert(1, "two\n");
        assert_eq!(lines.concat(), all, "{query}");
    }
    for query in ["tail=0", "until=1", "since=4000000000", "until=1h", "until=2020-01-01T00:00:00Z", "tail=0&follow=1"]
    {
        has(query, 0);
    }
    assert_eq!(has("tail=1", 1), "no end");
    let stamped = has("timestamps=1&details=1&tail=1", 1);
    let (time, line) = stamped.split_once(' ').unwrap();
    assert_eq!(line, "com.example%2Fa+b=x%3Dy%2Cz,tag=parts no end");
    assert_eq!(time.len(), "2026-01-02T03:04:05.123456789Z".len(), "{time}");
    // Its own time finds the line, to the nanosecond.
    assert_eq!(has(&format!("since={time}"), 1), "no end");
    assert_eq!(has(&format!("since={time}&until={time}"), 1), "no end");
    assert!(log(&yard, "parts", "since=soon").starts_with("400 "));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_terminals_log_is_raw_and_the_other_drivers_are_dockers() {
    let yard = Yard::new();
    run(&yard, "screen", "printf 'a\\nb\\n'", logging("local", &[]), true).await;
    yard.exit_code("screen").await;
    let (_, stream) = ask(&yard, "GET", "/containers/screen/logs?stdout=1&stderr=1&tail=1");
    assert_eq!(String::from_utf8(rest(stream)).unwrap(), "b\r\n");
    run(&yard, "mute", "echo said", logging("none", &[]), false).await;
    yard.exit_code("mute").await;
    let refused = log(&yard, "mute", "");
    assert_eq!(refused.trim_end(), "501 {\"message\":\"configured logging driver does not support reading\"}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_log_that_a_crash_left_behind_is_read_on() {
    let yard = Yard::new();
    let options = [("max-size", "10k"), ("max-file", "100")];
    let id = run(&yard, "torn", "seq 1 1000", logging("json-file", &options), false).await;
    yard.exit_code("torn").await;
    let path = log_path(&yard, &id);
    let named = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    // The shim is gone with its container, so that nobody else touches the files.
    let is_there = |number: &u32| ["", ".gz"].iter().any(|end| named(&format!(".{number}{end}")).exists());
    let oldest = (1..).take_while(is_there).last().unwrap();
    // Older than all: half a compressed file, of whose text the first half is still there.
    let text = numbers(1..=9000).lines().fold(String::new(), |text, number| {
        text + &format!("{{\"log\":\"old {number}\\n\",\"stream\":\"stdout\",\"time\":\"2020-01-01T00:00:00Z\"}}\n")
    });
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    fs::write(named(&format!(".{}.gz", oldest + 1)), &whole[..whole.len() / 2]).unwrap();
    // The newest: half a line, and what the file system makes of blocks that never came to the disk.
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"log\":\"half a li").unwrap();
    file.write_all(&vec![0; 9 << 20]).unwrap();
    let found = log(&yard, "torn", "");
    let (old, new) = found.split_at(found.find("\n1\n").expect("all of the new lines") + 1);
    is_same(new, &numbers(1..=1000));
    assert!(old.starts_with("old 1\nold 2\n") && old.lines().count() < 9000, "{}", old.lines().count());
    is_same(&log(&yard, "torn", "tail=10"), &numbers(991..=1000));
    is_same(&log(&yard, "torn", "since=2021-01-01T00:00:00Z"), &numbers(1..=1000));
    // And it goes on.
    yard.docker().start_container("torn", None).await.unwrap();
    yard.exit_code("torn").await;
    is_same(&log(&yard, "torn", "since=2021-01-01T00:00:00Z"), &(numbers(1..=1000) + &numbers(1..=1000)));
    yard.leaves_nothing_behind().await;
}
