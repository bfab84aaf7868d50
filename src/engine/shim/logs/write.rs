//! Writing a log: from what a container wrote to entries, and where those go.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use jiff::Timestamp;

use super::LogStream;
use super::file::{Compression, LogFile};
use super::line::LineFormat;
use super::position::LogPosition;
use super::relay::Relay;
use super::split::{LineSplitter, Piece};
use crate::engine::shim::spec::LogSpec;

/// Entries are handed to the disk when they are so many bytes, and at the end of what was read at once.
const WRITE_SIZE: usize = 64 * 1024;

/// The writing end of a log.
#[derive(Debug)]
pub struct LogWriter {
    format: LineFormat,
    splitters: [LineSplitter; 2],
    out: Vec<u8>,
    last_time: Timestamp,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    File(LogFile),
    Relay(Relay),
}

impl Sink {
    /// Before the next entry, of which `out` has those before it.
    fn make_room(&mut self, out: &mut Vec<u8>) {
        if let Self::File(file) = self
            && file.is_full(out.len())
        {
            file.append(out);
            out.clear();
            file.rotate();
        }
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::File(file) => file.append(out),
            Self::Relay(relay) => relay.send(out),
        }
        out.clear();
    }
}

impl LogWriter {
    /// Opens the log for appending, making it where it is missing.
    ///
    /// # Errors
    /// The disk's refusal.
    pub fn open(spec: LogSpec) -> io::Result<Self> {
        let format = LineFormat::new(&spec.attrs);
        Ok(Self::new(format, Sink::File(LogFile::open(spec)?)))
    }

    /// A log that somebody else writes, who reads `pipe` (see [`relay`](super::relay)): whatever the disk does, this never waits for
    /// it. Entries for which `buffer` bytes are not enough are lost.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn relayed(spec: &LogSpec, buffer: u64, pipe: OwnedFd) -> io::Result<Self> {
        let format = LineFormat::new(&spec.attrs);
        Ok(Self::new(format, Sink::Relay(Relay::new(spec, buffer, pipe)?)))
    }

    fn new(format: LineFormat, sink: Sink) -> Self {
        Self { format, splitters: Default::default(), out: Vec::new(), last_time: Timestamp::UNIX_EPOCH, sink }
    }

    /// Takes what the container wrote at `now`. Whole lines are in the file when this returns; the rest waits for its
    /// newline. A disk that refuses costs entries, never the container; see [`error`](Self::error).
    pub fn write(&mut self, stream: LogStream, bytes: &[u8], now: Timestamp) {
        self.with_splitter(stream, now, |splitter, emit| splitter.push(bytes, emit));
    }

    /// The stream has ended: what is left of it is an entry now.
    pub fn finish(&mut self, stream: LogStream, now: Timestamp) {
        self.with_splitter(stream, now, |splitter, emit| splitter.finish(emit));
    }

    /// What went wrong last, if anything did.
    pub fn error(&self) -> Option<&str> {
        match &self.sink {
            Sink::File(file) => file.error(),
            Sink::Relay(relay) => relay.error(),
        }
    }

    fn with_splitter(
        &mut self,
        stream: LogStream,
        now: Timestamp,
        work: impl FnOnce(&mut LineSplitter, &mut dyn FnMut(Piece<'_>) -> Timestamp),
    ) {
        let Self { format, splitters, out, last_time, sink } = self;
        let splitter = match (splitters, stream) {
            ([stdout, _], LogStream::Stdout) => stdout,
            ([_, stderr], LogStream::Stderr) => stderr,
        };
        work(splitter, &mut |piece| {
            let time = piece.began.unwrap_or_else(|| tick(last_time, now));
            sink.make_room(out);
            format.append(out, stream, time, piece.content, piece.ends);
            if out.len() >= WRITE_SIZE {
                sink.take(out);
            }
            time
        });
        sink.take(out);
    }

    /// Gives the memory of a burst back.
    pub fn rest(&mut self) {
        self.out = Vec::new();
        self.splitters.iter_mut().for_each(LineSplitter::shrink);
        match &mut self.sink {
            Sink::File(file) => file.rest(),
            Sink::Relay(relay) => relay.rest(),
        }
    }

    /// Up to where the log is written now. All that came before and is not in it waits for the ends of lines, see
    /// [`unfinished`](Self::unfinished), or is on its way to whoever writes it.
    pub fn position(&self) -> LogPosition {
        match &self.sink {
            Sink::File(file) => file.position(),
            Sink::Relay(relay) => relay.position(),
        }
    }

    /// The beginning of a line of `stream` that is in no file yet.
    pub fn unfinished(&self, stream: LogStream) -> &[u8] {
        let [stdout, stderr] = &self.splitters;
        match stream {
            LogStream::Stdout => stdout.pending(),
            LogStream::Stderr => stderr.pending(),
        }
    }

    fn file(&mut self) -> Option<&mut LogFile> {
        match &mut self.sink {
            Sink::File(file) => Some(file),
            Sink::Relay(_) => None,
        }
    }

    fn relay(&mut self) -> Option<&mut Relay> {
        match &mut self.sink {
            Sink::File(_) => None,
            Sink::Relay(relay) => Some(relay),
        }
    }

    /// Whether it is worth asking for [`next_compression`](Self::next_compression).
    pub fn wants_compression(&self) -> bool {
        matches!(&self.sink, Sink::File(file) if file.wants_compression())
    }

    /// See [`LogFile::next_compression`].
    pub fn next_compression(&mut self) -> Option<Compression> {
        self.file()?.next_compression()
    }

    /// See [`LogFile::compression_ended`].
    pub fn compression_ended(&mut self, compression: &Compression, is_success: bool) {
        if let Some(file) = self.file() {
            file.compression_ended(compression, is_success);
        }
    }

    /// The pipe to whoever writes it, if there is one, and whether entries wait for room in it.
    pub fn pipe(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.sink {
            Sink::File(_) => None,
            Sink::Relay(relay) => relay.pipe(),
        }
    }

    /// There is room in the pipe, or nobody who reads it.
    pub fn pipe_is_ready(&mut self) {
        if let Some(relay) = self.relay() {
            relay.flush();
        }
    }

    /// No more comes: the pipe is closed once all of it is in there.
    pub fn close(&mut self) {
        if let Some(relay) = self.relay() {
            relay.close();
        }
    }

    /// Goes on with another pipe.
    pub fn reopen(&mut self, spec: &LogSpec, buffer: u64, pipe: OwnedFd) -> io::Result<()> {
        self.sink = Sink::Relay(Relay::new(spec, buffer, pipe)?);
        Ok(())
    }
}

/// A time for a new line that no line had before, so that a reader can go on after the last one it saw.
fn tick(last: &mut Timestamp, now: Timestamp) -> Timestamp {
    let next = last.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(now);
    *last = now.max(next);
    *last
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::path::Path;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn spec(folder: &Path, max_size: u64, max_file: u32, compress: bool) -> LogSpec {
        LogSpec { max_size: Some(max_size), max_file, compress, ..LogSpec::json_file(&folder.join("it-json.log")) }
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn a_full_log_is_rotated_between_entries_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(spec(folder.path(), 100, 3, false)).unwrap();
        for number in 0..10 {
            log.write(LogStream::Stdout, format!("line {number} that is long enough\n").as_bytes(), now());
        }
        assert_eq!(names(folder.path()), ["it-json.log", "it-json.log.1", "it-json.log.2"]);
        let text = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("it-json.log").contains("line 8") && text("it-json.log").contains("line 9"));
        assert!(text("it-json.log.1").contains("line 6") && text("it-json.log.2").contains("line 5"));
        assert_eq!(log.error(), None);
    }

    #[test]
    fn one_file_only_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(spec(folder.path(), 50, 1, true)).unwrap();
        for number in 0..3 {
            log.write(LogStream::Stdout, format!("line {number}\n").as_bytes(), now());
        }
        assert_eq!(names(folder.path()), ["it-json.log"]);
        assert!(log.next_compression().is_none());
    }

    #[test]
    fn a_compressed_file_lands_where_its_original_has_moved() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(spec(folder.path(), 50, 4, true)).unwrap();
        log.write(LogStream::Stdout, b"first\nsecond\n", now());
        let job = log.next_compression().unwrap();
        Compression::run(&job.input, &job.output).unwrap();
        log.write(LogStream::Stdout, b"third\n", now());
        log.compression_ended(&job, true);
        assert_eq!(names(folder.path()), ["it-json.log", "it-json.log.1", "it-json.log.2.gz"]);

        let mut text = String::new();
        let file = File::open(folder.path().join("it-json.log.2.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert!(text.contains("first"), "{text}");

        let job = log.next_compression().unwrap();
        log.compression_ended(&job, false);
        assert_eq!(names(folder.path()), ["it-json.log", "it-json.log.1", "it-json.log.2.gz"]);
    }

    #[test]
    fn a_torn_log_goes_on_with_a_new_line() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(folder.path(), 5000, 3, true);
        fs::write(&spec.path, "{\"log\":\"tor").unwrap();
        let mut log = LogWriter::open(spec.clone()).unwrap();
        log.write(LogStream::Stderr, b"whole\n", now());
        let text = fs::read_to_string(&spec.path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().nth(1).unwrap().starts_with("{\"log\":\"whole\\n\",\"stream\":\"stderr\""));
    }

    #[test]
    fn no_two_lines_have_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(folder.path(), 5000, 3, true);
        let mut log = LogWriter::open(spec.clone()).unwrap();
        log.write(LogStream::Stdout, b"a\nb\n", "2026-01-01T00:00:00Z".parse().unwrap());
        log.write(LogStream::Stderr, b"c\n", "2025-01-01T00:00:00Z".parse().unwrap());
        let text = fs::read_to_string(&spec.path).unwrap();
        let times: Vec<_> = text.lines().map(|line| super::super::line::parse(line.as_bytes()).unwrap().time).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    }

    #[test]
    fn the_unfinished_line_comes_with_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(folder.path(), 5000, 3, true);
        let mut log = LogWriter::open(spec.clone()).unwrap();
        log.write(LogStream::Stdout, b"$ ", now());
        assert_eq!(fs::read_to_string(&spec.path).unwrap(), "");
        log.finish(LogStream::Stdout, now());
        assert!(fs::read_to_string(&spec.path).unwrap().contains("{\"log\":\"$ \""));
    }
}
