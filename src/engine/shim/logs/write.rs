//! Writing a log: entries, rotation, and who compresses what was rotated.
//!
//! Rotation never leaves `PATH` missing: the full file first gets its second name `PATH.1`, then a new one takes its
//! place by rename. So a follower that looks finds either. Compression is somebody else's work (a child of the shim);
//! this file says what to compress and puts the result in its place, wherever the file has moved meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::LogStream;
use super::archive;
use super::line::LineFormat;
use super::position::LogPosition;
use super::split::LineSplitter;
use crate::engine::shim::spec::LogSpec;

/// Entries are handed to the disk when they are so many bytes, and at the end of what was read at once.
const WRITE_SIZE: usize = 64 * 1024;

/// The name of the `number`th rotated file of the log at `path`; 1 is the youngest.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}"))
}

/// The name of the same file when it is compressed.
pub(super) fn compressed(path: &Path) -> PathBuf {
    with_suffix(path, ".gz")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The writing end of a log.
#[derive(Debug)]
pub struct LogWriter {
    spec: LogSpec,
    file: File,
    inode: u64,
    size: u64,
    format: LineFormat,
    splitters: [LineSplitter; 2],
    out: Vec<u8>,
    last_time: Timestamp,
    /// The file does not end in a newline, so that one has to come before the next entry.
    is_torn: bool,
    /// The last thing that went wrong; entries are lost then, the container goes on.
    error: Option<String>,
    /// A file was rotated since somebody looked, or one may be left from before.
    wants_compression: bool,
}

/// A rotated file that wants compressing.
#[derive(Debug)]
pub struct Compression {
    /// What to read.
    pub input: File,
    /// What to write to.
    pub output: File,
    temp: PathBuf,
    inode: u64,
}

impl LogWriter {
    /// Opens the log for appending, making it where it is missing.
    ///
    /// # Errors
    /// The disk's refusal.
    pub fn open(spec: LogSpec) -> io::Result<Self> {
        let mut file = open_log(&spec.path)?;
        let metadata = file.metadata()?;
        let (size, inode) = (metadata.len(), metadata.ino());
        let is_torn = size > 0 && {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            last != *b"\n"
        };
        Ok(Self {
            format: LineFormat::new(&spec.attrs),
            file,
            inode,
            size,
            splitters: Default::default(),
            out: Vec::new(),
            last_time: Timestamp::UNIX_EPOCH,
            is_torn,
            error: None,
            wants_compression: true,
            spec,
        })
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
        self.error.as_deref()
    }

    fn with_splitter(
        &mut self,
        stream: LogStream,
        now: Timestamp,
        work: impl FnOnce(&mut LineSplitter, &mut dyn FnMut(super::split::Piece<'_>) -> Timestamp),
    ) {
        let mut splitters = std::mem::take(&mut self.splitters);
        let splitter = match (&mut splitters, stream) {
            ([stdout, _], LogStream::Stdout) => stdout,
            ([_, stderr], LogStream::Stderr) => stderr,
        };
        work(splitter, &mut |piece| {
            let time = piece.began.unwrap_or_else(|| self.tick(now));
            if self.is_full() {
                self.flush();
                self.rotate();
            }
            self.format.append(&mut self.out, stream, time, piece.content, piece.ends);
            if self.out.len() >= WRITE_SIZE {
                self.flush();
            }
            time
        });
        self.splitters = splitters;
        self.flush();
    }

    /// A time for a new line that no line had before, so that a reader can go on after the last one it saw.
    fn tick(&mut self, now: Timestamp) -> Timestamp {
        let next = self.last_time.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(now);
        self.last_time = now.max(next);
        self.last_time
    }

    fn is_full(&self) -> bool {
        self.spec.max_size.is_some_and(|limit| self.size + self.out.len() as u64 >= limit)
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if self.is_torn {
            self.out.insert(0, b'\n');
        }
        match self.file.write_all(&self.out) {
            Ok(()) => {
                self.size += self.out.len() as u64;
                self.is_torn = false;
            }
            Err(error) => {
                self.complain("write", &error);
                self.size = self.file.metadata().map_or(self.size, |metadata| metadata.len());
                self.is_torn = true;
            }
        }
        self.out.clear();
    }

    /// Gives the memory of a burst back.
    pub fn rest(&mut self) {
        self.out = Vec::new();
        self.splitters.iter_mut().for_each(LineSplitter::shrink);
    }

    /// Up to where the log is written now. All that came before and is not in it waits for the ends of lines, see
    /// [`unfinished`](Self::unfinished).
    pub fn position(&self) -> LogPosition {
        LogPosition { inode: self.inode, length: self.size }
    }

    /// The beginning of a line of `stream` that is in no file yet.
    pub fn unfinished(&self, stream: LogStream) -> &[u8] {
        let [stdout, stderr] = &self.splitters;
        match stream {
            LogStream::Stdout => stdout.pending(),
            LogStream::Stderr => stderr.pending(),
        }
    }

    fn complain(&mut self, action: &str, error: &io::Error) {
        self.error = Some(format!("{action} log {}: {error}", self.spec.path.display()));
    }

    fn rotate(&mut self) {
        if let Err(error) = self.try_rotate() {
            self.complain("rotate", &error);
        }
    }

    fn try_rotate(&mut self) -> io::Result<()> {
        let path = self.spec.path.clone();
        if self.spec.max_file <= 1 {
            return self.begin_anew();
        }
        let oldest = rotated(&path, self.spec.max_file - 1);
        missing_is_fine(fs::remove_file(&oldest))?;
        missing_is_fine(fs::remove_file(compressed(&oldest)))?;
        for number in (1..self.spec.max_file - 1).rev() {
            let (from, to) = (rotated(&path, number), rotated(&path, number + 1));
            missing_is_fine(fs::rename(&from, &to))?;
            missing_is_fine(fs::rename(compressed(&from), compressed(&to)))?;
        }
        // Its second name first: `PATH` is never missing, see above. Not all file systems have hard links.
        if fs::hard_link(&path, rotated(&path, 1)).is_err() {
            missing_is_fine(fs::rename(&path, rotated(&path, 1)))?;
        }
        self.begin_anew()?;
        self.wants_compression = true;
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file = replace_log(&self.spec.path)?;
        self.inode = self.file.metadata()?.ino();
        self.size = 0;
        self.is_torn = false;
        Ok(())
    }

    /// Whether it is worth asking for [`next_compression`](Self::next_compression).
    pub fn wants_compression(&self) -> bool {
        self.spec.compress && self.wants_compression
    }

    /// The youngest rotated file that is not compressed yet, if they shall be. One at a time: hand it to
    /// [`compression_ended`](Self::compression_ended) before asking again.
    pub fn next_compression(&mut self) -> Option<Compression> {
        if !self.spec.compress {
            return None;
        }
        let path = self.spec.path.clone();
        let plain = (1..self.spec.max_file).map(|number| rotated(&path, number)).find(|path| path.exists());
        self.wants_compression = plain.is_some();
        let plain = plain?;
        match Compression::begin(&path, &plain) {
            Ok(compression) => Some(compression),
            Err(error) => {
                self.complain("compress", &error);
                None
            }
        }
    }

    /// Puts the result in the place of what was compressed, which may have been rotated further or away meanwhile; or
    /// throws it away if it was no success.
    pub fn compression_ended(&mut self, compression: &Compression, is_success: bool) {
        let place = (1..self.spec.max_file)
            .map(|number| rotated(&self.spec.path, number))
            .find(|path| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == compression.inode));
        let outcome = match place {
            Some(plain) if is_success => {
                // Readers take the compressed one where both are.
                fs::rename(&compression.temp, compressed(&plain)).and_then(|()| fs::remove_file(&plain))
            }
            _ => fs::remove_file(&compression.temp),
        };
        if let Err(error) = outcome {
            self.complain("compress", &error);
        }
        if !is_success {
            self.error = Some(format!("compress log {}: the compressor died", self.spec.path.display()));
            self.spec.compress = false;
        }
    }
}

impl Compression {
    fn begin(path: &Path, plain: &Path) -> io::Result<Self> {
        let input = File::open(plain)?;
        let inode = input.metadata()?.ino();
        let temp = with_suffix(path, ".gz-tmp");
        let output = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temp)?;
        Ok(Self { input, output, temp, inode })
    }

    /// Takes back what was made so far.
    pub fn abandon(self) {
        // It is written anew the next time.
        let _ = fs::remove_file(&self.temp);
    }

    /// Does it, reading and writing by the two files.
    ///
    /// # Errors
    /// The disk's refusal.
    pub fn run(input: &File, output: &File) -> io::Result<()> {
        let metadata = input.metadata()?;
        archive::compress(input, output, metadata.ino(), metadata.len())?;
        // What it was made from goes next.
        output.sync_data()
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// A new, empty log in the place of the old one.
fn replace_log(path: &Path) -> io::Result<File> {
    let temp = with_suffix(path, ".new");
    missing_is_fine(fs::remove_file(&temp))?;
    let file = open_log(&temp)?;
    fs::rename(&temp, path)?;
    Ok(file)
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
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
