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

#[tokio::test]
async fn a_large_compressed_log_is_read_from_its_middle() {
    let mut log = Log::new(1 << 20, 9);
    log.write(0..40_000);
    log.compress();
    log.write(40_000..40_010);
    assert!(log.names().contains(&"it-json.log.2.gz".to_owned()), "{:?}", log.names());
    for count in [9, 10, 11, 5_000, 20_000, 39_999] {
        let query = LogQuery { tail: Some(count as u64), ..everything() };
        assert_eq!(log.numbers(query).await, range(40_010 - count..40_010), "the last {count}");
    }
    for since in [39_000, 20_000, 12_345, 3] {
        let query = LogQuery { since: Some(second(since)), until: Some(second(since + 2)), ..everything() };
        assert_eq!(log.numbers(query).await, range(since..since + 3));
    }
}

#[tokio::test]
async fn a_compressed_file_without_its_index_is_read_all_the_same() {
    let mut log = Log::new(2000, 9);
    log.write(0..40);
    log.compress();
    for entry in fs::read_dir(log.path.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix == "gz") {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() - 4).unwrap();
        }
    }
    assert_eq!(log.numbers(everything()).await, range(0..40));
    assert_eq!(log.numbers(LogQuery { tail: Some(33), ..everything() }).await, range(7..40));
    assert_eq!(log.numbers(LogQuery { since: Some(second(5)), ..everything() }).await, range(5..40));
}

/// Whoever notes the position and then listens has all: what was written before is in the log up to there.
#[tokio::test]
async fn a_position_parts_the_log_whatever_becomes_of_its_files() {
    for (first, then, compresses) in [(0, 0, false), (5, 0, false), (5, 3, false), (30, 40, false), (30, 40, true)] {
        let mut log = Log::new(2000, 9);
        log.write(0..first);
        let position = log.writer.position();
        log.write(first..first + then);
        if compresses {
            log.compress();
        }
        let query = LogQuery { end: Some(position), ..everything() };
        assert_eq!(log.numbers(query).await, range(0..first), "{first} and {then}, compressed: {compresses}");
    }
}

#[test]
fn what_is_in_no_entry_yet_is_told() {
    let mut log = Log::new(2000, 9);
    log.writer.write(LogStream::Stdout, b"line 1\nand th", second(1));
    assert_eq!(log.writer.unfinished(LogStream::Stdout), b"and th");
    assert_eq!(log.writer.unfinished(LogStream::Stderr), b"");
    log.writer.write(LogStream::Stdout, b"en\n", second(1));
    assert_eq!(log.writer.unfinished(LogStream::Stdout), b"");
}

#[tokio::test]
async fn a_follower_goes_on_in_the_middle_of_a_long_line_whose_file_was_compressed() {
    let mut log = Log::new(20_000, 9);
    let (ended, is_ended) = watch::channel(false);
    let mut stream = pin!(read(&log.path, LogQuery { follow: Follow::Until(is_ended), ..everything() }));
    // Pieces of one line, all with the same time, of which the first alone fills a file.
    log.writer.write(LogStream::Stdout, &[b'x'; 20_000], second(1));
    let first = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap().unwrap();
    log.writer.write(LogStream::Stdout, &[b'x'; 40_000], second(2));
    log.writer.write(LogStream::Stdout, b"\n", second(3));
    log.compress();
    ended.send(true).unwrap();
    let rest: Vec<LogEntry> = stream.map(Result::unwrap).collect().await;
    let length: usize = rest.iter().map(|entry| entry.bytes.len()).sum();
    assert_eq!(first.bytes.len() + length, 60_001);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(16))]

    /// A follower that looks at any moment between writes, rotations and compressions has each line once.
    #[test]
    fn a_follower_misses_and_repeats_nothing(steps in proptest::collection::vec((1..9_i64, 0..4_u8), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut log = Log::new(700, 100);
            let (ended, is_ended) = watch::channel(false);
            let mut stream = pin!(read(&log.path, LogQuery { follow: Follow::Until(is_ended), ..everything() }));
            let (mut written, mut seen) = (0, Vec::new());
            for (count, what) in steps {
                log.write(written..written + count);
                written += count;
                match what {
                    0 => seen.extend(up_to(&mut stream, written - 1).await),
                    1 => seen.push(number(stream.next().await.unwrap())),
                    2 => log.compress(),
                    _ => {}
                }
            }
            ended.send(true).unwrap();
            seen.extend(stream.map(number).collect::<Vec<_>>().await);
            assert_eq!(seen, range(0..written));
        });
    }

    /// However a container's output is cut into reads, the log has its bytes.
    #[test]
    fn the_log_has_what_was_written(
        reads in proptest::collection::vec(
            (proptest::bool::ANY, proptest::collection::vec(proptest::sample::select(&b"ab\n\0\"\\"[..]), 0..300), 1..60_usize),
            0..12,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut log = Log::new(30_000, 100);
        let mut written = [Vec::new(), Vec::new()];
        for (is_stderr, bytes, times) in reads {
            let bytes = bytes.repeat(times);
            let stream = if is_stderr { LogStream::Stderr } else { LogStream::Stdout };
            log.writer.write(stream, &bytes, second(1));
            written[usize::from(is_stderr)].extend(bytes);
        }
        log.writer.finish(LogStream::Stdout, second(2));
        log.writer.finish(LogStream::Stderr, second(2));
        log.compress();
        let entries: Vec<_> = runtime.block_on(read(&log.path, everything()).collect());
        let mut read = [Vec::new(), Vec::new()];
        for entry in entries {
            let entry = entry.unwrap();
            read[usize::from(entry.stream == LogStream::Stderr)].extend_from_slice(&entry.bytes);
        }
        assert!(read == written);
    }
}
