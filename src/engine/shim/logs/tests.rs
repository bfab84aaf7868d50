//! What is written is read: whole, from behind, from a moment on, and while it is being written and rotated.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{Compression, Follow, LogEntry, LogError, LogQuery, LogStream, LogWriter, read};
use crate::engine::shim::spec::LogSpec;

struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
    writer: LogWriter,
}

impl Log {
    fn new(max_size: u64, max_file: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it-json.log");
        let spec = LogSpec { max_size: Some(max_size), max_file, compress: true, ..LogSpec::json_file(&path) };
        Self { _folder: folder, path, writer: LogWriter::open(spec).unwrap() }
    }

    /// Line `number` is written in second `number`; every third is of standard error.
    fn write(&mut self, numbers: std::ops::Range<i64>) {
        for number in numbers {
            let stream = if number % 3 == 0 { LogStream::Stderr } else { LogStream::Stdout };
            self.writer.write(stream, format!("line {number}\n").as_bytes(), second(number));
        }
    }

    fn compress(&mut self) {
        while let Some(job) = self.writer.next_compression() {
            Compression::run(&job.input, &job.output).unwrap();
            self.writer.compression_ended(&job, true);
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    async fn numbers(&self, query: LogQuery) -> Vec<i64> {
        let entries: Vec<_> = read(&self.path, query).collect().await;
        entries.into_iter().map(number).collect()
    }
}

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + number).unwrap()
}

fn number(entry: Result<LogEntry, LogError>) -> i64 {
    let text = String::from_utf8(entry.unwrap().bytes.to_vec()).unwrap();
    text.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
}

fn everything() -> LogQuery {
    LogQuery { stdout: true, stderr: true, ..LogQuery::default() }
}

fn range(numbers: std::ops::Range<i64>) -> Vec<i64> {
    numbers.collect()
}

#[tokio::test]
async fn no_log_is_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read(&folder.path().join("none"), everything()).count().await, 0);
}

#[tokio::test]
async fn all_files_are_read_oldest_first_compressed_or_not() {
    let mut log = Log::new(2000, 5);
    log.write(0..40);
    log.compress();
    log.write(40..70);
    let names = log.names();
    assert!(names.contains(&"it-json.log.1".to_owned()) && names.contains(&"it-json.log.2.gz".to_owned()), "{names:?}");
    assert_eq!(log.numbers(everything()).await, range(0..70));
}

#[tokio::test]
async fn tail_goes_back_through_the_files() {
    let mut log = Log::new(2000, 9);
    log.write(0..40);
    log.compress();
    log.write(40..70);
    for count in [0, 1, 5, 25, 30, 45, 60, 69, 70, 1000] {
        let from = (70 - count).max(0);
        let query = LogQuery { tail: Some(count as u64), ..everything() };
        assert_eq!(log.numbers(query).await, range(from..70), "the last {count}");
    }
}

#[tokio::test]
async fn since_and_until_cut_at_their_moments() {
    let mut log = Log::new(2000, 9);
    log.write(0..40);
    log.compress();
    log.write(40..70);
    for (since, until) in [(0, 70), (10, 12), (39, 41), (50, 69), (69, 80), (70, 80)] {
        let query = LogQuery { since: Some(second(since)), until: Some(second(until)), ..everything() };
        assert_eq!(log.numbers(query).await, range(since..70.min(until + 1)), "{since} to {until}");
    }
    let query = LogQuery { tail: Some(10), since: Some(second(65)), ..everything() };
    assert_eq!(log.numbers(query).await, range(65..70));
}

#[tokio::test]
async fn since_finds_its_place_in_a_large_file() {
    let mut log = Log::new(u64::MAX, 3);
    log.write(0..20_000);
    for since in [1, 2, 9_999, 19_998, 19_999] {
        let query = LogQuery { since: Some(second(since)), ..everything() };
        assert_eq!(log.numbers(query).await, range(since..20_000));
    }
}

#[tokio::test]
async fn streams_are_told_apart() {
    let mut log = Log::new(u64::MAX, 3);
    log.write(0..7);
    assert_eq!(log.numbers(LogQuery { stderr: true, ..LogQuery::default() }).await, [0, 3, 6]);
    assert_eq!(log.numbers(LogQuery { stdout: true, tail: Some(3), ..LogQuery::default() }).await, [4, 5]);
}

#[tokio::test]
async fn damaged_lines_are_passed_over() {
    let mut log = Log::new(u64::MAX, 3);
    log.write(0..2);
    let mut file = File::options().append(true).open(&log.path).unwrap();
    file.write_all(b"{\"log\":\"torn\n\0\0\0\0\n").unwrap();
    log.write(2..4);
    file.write_all(b"{\"log\":\"not yet whole").unwrap();
    assert_eq!(log.numbers(everything()).await, range(0..4));
}

/// Takes numbers until `last` has come.
async fn up_to(stream: &mut (impl Stream<Item = Result<LogEntry, LogError>> + Unpin), last: i64) -> Vec<i64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        numbers.push(number(next.unwrap_or_else(|_| panic!("nothing after {numbers:?}")).unwrap()));
    }
    numbers
}

#[tokio::test]
async fn following_sees_each_line_once_across_rotations_and_ends_with_the_container() {
    let mut log = Log::new(2000, 4);
    log.write(0..10);
    let (ended, is_ended) = watch::channel(false);
    let query = LogQuery { follow: Follow::Until(is_ended), tail: Some(3), ..everything() };
    let mut stream = pin!(read(&log.path, query));
    assert_eq!(up_to(&mut stream, 9).await, range(7..10));
    for start in [10, 11, 12, 50, 120] {
        let end = if start < 12 { start + 1 } else { start + 15 };
        log.write(start..end);
        if start == 50 {
            log.compress();
        }
        assert_eq!(up_to(&mut stream, end - 1).await, range(start..end));
    }
    log.write(200..240);
    ended.send(true).unwrap();
    let rest: Vec<_> = stream.map(number).collect().await;
    assert_eq!(rest, range(200..240));
}

#[tokio::test]
async fn a_follower_that_lags_by_several_rotations_goes_on_by_time() {
    let mut log = Log::new(1000, 4);
    log.write(0..5);
    let (ended, is_ended) = watch::channel(false);
    let mut stream = pin!(read(&log.path, LogQuery { follow: Follow::Until(is_ended), ..everything() }));
    assert_eq!(up_to(&mut stream, 4).await, range(0..5));
    log.write(5..25);
    log.compress();
    drop(ended);
    let rest: Vec<_> = stream.map(number).collect().await;
    assert_eq!(rest, range(5..25));
}

#[tokio::test]
async fn following_begins_before_there_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it-json.log");
    let (ended, is_ended) = watch::channel(false);
    let mut stream = pin!(read(&path, LogQuery { follow: Follow::Until(is_ended), ..everything() }));
    assert!(futures_util::poll!(stream.next()).is_pending());
    let mut writer = LogWriter::open(LogSpec::json_file(&path)).unwrap();
    writer.write(LogStream::Stdout, b"line 1\n", second(1));
    assert_eq!(up_to(&mut stream, 1).await, [1]);
    ended.send(true).unwrap();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn following_ends_at_its_moment() {
    let mut log = Log::new(u64::MAX, 3);
    log.write(0..3);
    let (_ended, is_ended) = watch::channel(false);
    let until = Timestamp::now() + Duration::from_millis(50);
    let query = LogQuery { follow: Follow::Until(is_ended), until: Some(until), ..everything() };
    let entries = tokio::time::timeout(Duration::from_secs(20), read(&log.path, query).count()).await;
    assert_eq!(entries.unwrap(), 3);
}
