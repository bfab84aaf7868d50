//! What logs cost: taking them in, and finding the last lines or a moment in a gigabyte of them.
//!
//! `cargo bench --bench logs [PART]` as root; parts are `writer`, `reader` (both without an engine), `lookup`, `flood`, `follow`
//! and `stall`, all through the API, beside Debian's dockerd where it runs (`BOXYARD_BENCH_ALONE=1` leaves it out).
//! `BOXYARD_BENCH_MB` (1000) is the size of the log that is looked into, `BOXYARD_FLOOD_MB` (400) what a container
//! writes. Memory is PSS, the most of samples each 20 ms.

#![allow(clippy::unwrap_used)] // a bench that can't go on says so by its panic

#[path = "logs/engines.rs"]
mod engines;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boxyard::engine::shim::LogSpec;
use boxyard::engine::shim::logs::{Compression, LogQuery, LogStream, LogWriter, read};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use engines::{Count, Engine, Watch};

/// What the shim reads at once.
const READ: usize = 64 * 1024;
const ROUNDS: usize = 5;
/// What a line of the logs that are looked into takes.
const LINE: u64 = 202;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Cargo runs benches as tests too, and they have better things to do than to write gigabytes.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let parts: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    let megabytes = setting("BOXYARD_BENCH_MB").unwrap_or(1000);
    // Engines make bridges; nobody else shall meet them.
    let is_root = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_ok();
    let folder = tempfile::tempdir().expect("a folder for the logs");
    if wants("writer") {
        for (name, line) in [("2 B", 2), ("100 B", 100), ("1 KiB", 1024), ("16 KiB", 16 * 1024), ("1 MiB", 1 << 20)] {
            ingest(folder.path(), name, line);
        }
    }
    if wants("reader") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let whole = write_log(&folder.path().join("whole"), None, megabytes);
        runtime.block_on(look_up("one file", &whole, megabytes));
        fs::remove_dir_all(folder.path().join("whole")).expect("the first log goes");
        let rotated = write_log(&folder.path().join("rotated"), Some(10_000_000), megabytes);
        runtime.block_on(look_up("files of 10 MB, compressed", &rotated, megabytes));
        fs::remove_dir_all(folder.path().join("rotated")).expect("the second log goes");
    }
    if !is_root {
        println!("the rest needs root");
        return;
    }
    let mut engines = vec![Engine::boxyard(&folder.path().join("boxyard")).expect("our engine")];
    if setting("BOXYARD_BENCH_ALONE").is_none() {
        match Engine::dockerd(&folder.path().join("dockerd")) {
            Ok(dockerd) => engines.push(dockerd),
            Err(error) => println!("without dockerd: {error}"),
        }
    }
    if wants("lookup") {
        for (what, max_size) in [("one file", None), ("files of 10 MB, compressed", Some(10_000_000))] {
            let log = write_log(&folder.path().join("log"), max_size, megabytes);
            engines.iter().for_each(|engine| look_up_by_api(engine, what, &log, megabytes));
            fs::remove_dir_all(folder.path().join("log")).expect("the log goes");
        }
    }
    if wants("flood") {
        let size = setting("BOXYARD_FLOOD_MB").unwrap_or(400) * 1_000_000;
        for (what, length, share) in [("lines of 8 KiB", 8192, 1), ("lines of 100 B", 100, 1), ("lines of 2 B", 2, 8)] {
            engines.iter().for_each(|engine| flood(engine, folder.path(), what, length, size / share));
        }
        engines.iter().for_each(|engine| flood_of_zeros(engine, size / 4));
    }
    if wants("follow") {
        engines.iter().for_each(|engine| follow(engine, folder.path()));
    }
    if wants("stall") {
        for what in ["nobody", "a follower", "an attacher"] {
            engines.iter().for_each(|engine| stall(engine, folder.path(), what));
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Puts the files of `log` in the place of a container's own, and asks for parts of it.
fn look_up_by_api(engine: &Engine, what: &str, log: &Path, megabytes: u64) {
    let options = json!({ "max-size": "10m", "max-file": "1000", "compress": "true" });
    let id = engine.create("true", &options, None).unwrap();
    engine.start_container(&id).unwrap();
    engine.wait(&id).unwrap();
    let (from, to) = (log.parent().unwrap(), engine.log(&id));
    let name = log.file_name().unwrap().to_str().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let suffix = entry.file_name().to_str().unwrap().strip_prefix(name).unwrap().to_owned();
        let place = to.with_file_name(format!("{}{suffix}", to.file_name().unwrap().to_str().unwrap()));
        let _ = fs::remove_file(&place);
        // An engine may have its root mounted apart.
        fs::hard_link(entry.path(), &place).or_else(|_| fs::copy(entry.path(), &place).map(drop)).unwrap();
    }
    let end = 1_700_000_000 + seconds_of(megabytes);
    let middle = end - seconds_of(megabytes) / 2;
    for (asked, query) in [
        ("--tail 100", "tail=100".to_owned()),
        ("--tail 10000", "tail=10000".to_owned()),
        ("--since near the end", format!("since={}", end - 5)),
        ("--since and --until, a second of the middle", format!("since={middle}&until={}", middle + 1)),
        ("--since the middle, --tail 100", format!("since={middle}&tail=100")),
    ] {
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1&{query}");
        let mut times = Vec::new();
        let mut count = Count::default();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            count = Count::of(engine.open("GET", &path, "", b"").unwrap()).unwrap();
            times.push(start.elapsed());
        }
        println!(
            "lookup, {megabytes} MB in {what}: {}: {asked}: {} lines in {}",
            engine.name,
            count.lines,
            spread(times)
        );
    }
    engine.remove(&id).unwrap();
}

/// Least and middle of some times.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!("{:.1} ms at least, {:.1} ms half the time", ms(times.first()), ms(times.get(times.len() / 2)))
}

/// A file of `size` bytes or a little less, in lines of `length` that are all different where there is room for it.
fn data(folder: &Path, length: usize, size: u64) -> (PathBuf, Count) {
    let path = folder.join("data");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let lines = size / length as u64;
    for number in 0..lines {
        match length {
            ..24 => file.write_all(&b"y".repeat(length - 1)).unwrap(),
            _ => write!(file, "{number:020} {}", "x".repeat(length - 22)).unwrap(),
        }
        file.write_all(b"\n").unwrap();
    }
    file.flush().unwrap();
    (path, Count { lines, bytes: lines * length as u64 })
}

/// Files enough that none is thrown away.
fn keep_all() -> Value {
    json!({ "max-size": "10m", "max-file": "1000", "compress": "true" })
}

/// A container writes as fast as it can.
fn flood(engine: &Engine, folder: &Path, what: &str, length: usize, size: u64) {
    let part = (size / 4).min(50_000_000);
    let (path, written) = data(folder, length, part);
    let times = size / part;
    let expected = Count { lines: written.lines * times, bytes: written.bytes * times };
    let script = format!("i=0; while [ $i -lt {times} ]; do cat /data; i=$((i+1)); done");
    let id = engine.create(&script, &keep_all(), Some(&path)).unwrap();
    measure(engine, &id, what, expected);
}

fn flood_of_zeros(engine: &Engine, size: u64) {
    let script = format!("dd if=/dev/zero bs=1000000 count={} 2>/dev/null", size / 1_000_000);
    let id = engine.create(&script, &keep_all(), None).unwrap();
    measure(engine, &id, "zeros without lines", Count { lines: 0, bytes: size / 1_000_000 * 1_000_000 });
}

fn measure(engine: &Engine, id: &str, what: &str, expected: Count) {
    let start = Instant::now();
    engine.start_container(id).unwrap();
    let watch = Watch::of(engine.log_keeper(id));
    engine.wait(id).unwrap();
    let took = start.elapsed();
    let most = watch.most();
    let path = format!("/containers/{id}/logs?stdout=1");
    let start = Instant::now();
    let found = Count::of(engine.open("GET", &path, "", b"").unwrap()).unwrap();
    println!(
        "flood, {what}: {}: {:.0} MB/s, {} lines and {} bytes lost, memory of who takes it in {most} kB; all read again at {:.0} MB/s",
        engine.name,
        rate(expected, took),
        expected.lines.cast_signed() - found.lines.cast_signed(),
        expected.bytes.cast_signed() - found.bytes.cast_signed(),
        rate(found, start.elapsed()),
    );
    engine.remove(id).unwrap();
}

fn rate(count: Count, took: Duration) -> f64 {
    count.bytes as f64 / 1e6 / took.as_secs_f64()
}

/// A follower reads while a container writes and its log is rotated.
fn follow(engine: &Engine, folder: &Path) {
    let (path, written) = data(folder, 100, 25_000_000);
    let expected = Count { lines: written.lines * 4, bytes: written.bytes * 4 };
    let options = json!({ "max-size": "1m", "max-file": "1000" });
    // It begins when the follower is there.
    let id = engine.create("cat /data; cat /data; cat /data; cat /data", &options, Some(&path)).unwrap();
    engine.start_container(&id).unwrap();
    let start = Instant::now();
    let stream = engine.open("GET", &format!("/containers/{id}/logs?stdout=1&follow=1"), "", b"").unwrap();
    let found = Count::of(stream).unwrap();
    println!(
        "follow across 200 rotations: {}: {:.0} MB/s, {} lines and {} bytes too few",
        engine.name,
        rate(expected, start.elapsed()),
        expected.lines.cast_signed() - found.lines.cast_signed(),
        expected.bytes.cast_signed() - found.bytes.cast_signed(),
    );
    engine.remove(&id).unwrap();
}

/// How long a container takes to write 50 MB while somebody who wants them reads nothing.
fn stall(engine: &Engine, folder: &Path, who: &str) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let (path, _) = data(folder, 100, 50_000_000);
    let id = engine.create("cat /data", &keep_all(), Some(&path)).unwrap();
    let attach = (who == "an attacher").then(|| {
        engine.open("POST", &format!("/containers/{id}/attach?stream=1&stdout=1"), "", b"").expect("attached")
    });
    let start = Instant::now();
    engine.start_container(&id).unwrap();
    let follow = (who == "a follower")
        .then(|| engine.open("GET", &format!("/containers/{id}/logs?stdout=1&follow=1"), "", b"").expect("following"));
    let state = || {
        let found: Value =
            serde_json::from_slice(&engine.call("GET", &format!("/containers/{id}/json"), None).unwrap()).unwrap();
        found["State"]["Running"] == json!(true)
    };
    while state() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();
    let verdict =
        if took < PATIENCE { format!("{:.0} ms", took.as_secs_f64() * 1e3) } else { "stands still".to_owned() };
    println!("stall, 50 MB while {who} reads nothing: {}: {verdict}", engine.name);
    drop((attach, follow));
    engine.remove(&id).unwrap();
}

/// Takes in 256 MB of lines of `length` bytes.
fn ingest(folder: &Path, name: &str, length: usize) {
    let mut line = vec![b'x'; length];
    if let Some(last) = line.last_mut() {
        *last = b'\n';
    }
    let text = line.repeat((READ / length).max(1));
    let mut log = LogWriter::open(LogSpec::json_file(&folder.join("ingest.log"))).expect("a log");
    let (before, start, mut taken) = (resident_kb(), Instant::now(), 0);
    while taken < 256_000_000 {
        for bytes in text.chunks(READ) {
            log.write(LogStream::Stdout, bytes, Timestamp::now());
        }
        taken += text.len();
    }
    let rate = taken as f64 / 1e6 / start.elapsed().as_secs_f64();
    println!("ingest, lines of {name:>6}: {rate:6.0} MB/s, memory +{} kB", resident_kb().saturating_sub(before));
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// A log of so many megabytes, with a thousand lines a second.
fn write_log(folder: &Path, max_size: Option<u64>, megabytes: u64) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let path = folder.join("it-json.log");
    let spec = LogSpec { max_size, max_file: 1000, compress: max_size.is_some(), ..LogSpec::json_file(&path) };
    let mut log = LogWriter::open(spec).expect("a log");
    let (mut written, mut second) = (0, 0);
    while written < megabytes * 1_000_000 {
        let lines: String =
            (0..1000).map(|number| format!("{second:06} {number:03} {}\n", "words of a log ".repeat(8))).collect();
        log.write(LogStream::Stdout, lines.as_bytes(), moment(second));
        written += 1000 * LINE;
        second += 1;
        while log.wants_compression() {
            let Some(job) = log.next_compression() else { break };
            Compression::run(&job.input, &job.output).expect("compressed");
            log.compression_ended(&job, true);
        }
    }
    File::open(&path).and_then(|file| file.sync_all()).expect("on disk");
    path
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a moment")
}

/// How many seconds, of a thousand lines each, a log of that size has.
fn seconds_of(megabytes: u64) -> i64 {
    (megabytes * 1_000_000 / (1000 * LINE)).cast_signed()
}

async fn look_up(name: &str, path: &Path, megabytes: u64) {
    let seconds = seconds_of(megabytes);
    let all = LogQuery { stdout: true, stderr: true, ..LogQuery::default() };
    let since = |second| Some(moment(second));
    for (what, query) in [
        ("tail 100", LogQuery { tail: Some(100), ..all.clone() }),
        ("tail 10000", LogQuery { tail: Some(10_000), ..all.clone() }),
        ("since near the end", LogQuery { since: since(seconds - 5), ..all.clone() }),
        (
            "one second of the middle",
            LogQuery { since: since(seconds / 2), until: since(seconds / 2 + 1), ..all.clone() },
        ),
    ] {
        let mut times = Vec::new();
        let mut count = 0;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            count = read(path, query.clone()).count().await;
            times.push(start.elapsed());
        }
        let least = times.iter().min().copied().unwrap_or(Duration::ZERO);
        println!("{name}, {megabytes} MB: {what}: {count} lines in {:.1} ms", least.as_secs_f64() * 1e3);
    }
}
