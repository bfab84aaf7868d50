//! What logs cost: taking them in, and finding the last lines or a moment in a gigabyte of them.
//!
//! `cargo bench --bench logs`; `BOXYARD_BENCH_MB` (1000) is the size of the log that is looked into. The shim's memory is that of this
//! process while it writes, less what it had before: the writer is all that grows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boxyard::engine::shim::LogSpec;
use boxyard::engine::shim::logs::{Compression, LogQuery, LogStream, LogWriter, read};
use futures_util::StreamExt;
use jiff::Timestamp;

/// What the shim reads at once.
const READ: usize = 64 * 1024;
const ROUNDS: usize = 5;

fn main() {
    // Cargo runs benches as tests too, and they have better things to do than to write gigabytes.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let megabytes = std::env::var("BOXYARD_BENCH_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let folder = tempfile::tempdir().expect("a folder for the logs");
    for (name, line) in [("2 B", 2), ("100 B", 100), ("1 KiB", 1024), ("16 KiB", 16 * 1024), ("1 MiB", 1 << 20)] {
        ingest(folder.path(), name, line);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let whole = write_log(&folder.path().join("whole"), None, megabytes);
    runtime.block_on(look_up("one file", &whole, megabytes));
    fs::remove_dir_all(folder.path().join("whole")).expect("the first log goes");
    let rotated = write_log(&folder.path().join("rotated"), Some(10_000_000), megabytes);
    runtime.block_on(look_up("files of 10 MB, compressed", &rotated, megabytes));
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
            (0..1000).map(|number| format!("{second} {number} {}\n", "words of a log ".repeat(8))).collect();
        log.write(LogStream::Stdout, lines.as_bytes(), moment(second));
        written += lines.len() as u64 + 1000 * 75;
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

async fn look_up(name: &str, path: &Path, megabytes: u64) {
    let seconds = (megabytes * 1_000_000 / (1000 * 210)).cast_signed();
    let all = LogQuery { stdout: true, stderr: true, ..LogQuery::default() };
    let since = |second| Some(moment(second));
    for (what, query) in [
        ("tail 100", LogQuery { tail: Some(100), ..all.clone() }),
        ("tail 10000", LogQuery { tail: Some(10_000), ..all.clone() }),
        ("since near the end", LogQuery { since: since(seconds - 5), ..all.clone() }),
        ("one second of the middle", LogQuery { since: since(seconds / 2), until: since(seconds / 2), ..all.clone() }),
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
