//! A log's files: appending, rotation, and who compresses what was rotated.
//!
//! Rotation never leaves `PATH` missing: the full file first gets its second name `PATH.1`, then a new one takes its
//! place by rename. So a follower that looks finds either. Compression is somebody else's work (a child of whoever
//! writes); this file says what to compress and puts the result in its place, wherever the file has moved meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};

use super::archive;
use super::position::LogPosition;
use crate::engine::shim::spec::LogSpec;

/// After a compressed file was gone before it was done, so many rotations pass until that is tried again: whoever writes
/// so fast that no file lives a tenth of a second should not also pay for compressing it.
const LOST_RACE_PAUSE: u32 = 50;

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

/// The file that is written, and those before it.
#[derive(Debug)]
pub struct LogFile {
    spec: LogSpec,
    file: File,
    inode: u64,
    size: u64,
    /// The file does not end in a newline, so that one has to come before the next entry.
    is_torn: bool,
    /// The last thing that went wrong; entries are lost then, the container goes on.
    error: Option<String>,
    /// A file was rotated since somebody looked, or one may be left from before.
    wants_compression: bool,
    /// So many rotations are to pass first.
    compression_pause: u32,
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

impl LogFile {
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
        Ok(Self { spec, file, inode, size, is_torn, error: None, wants_compression: true, compression_pause: 0 })
    }

    /// Whether the next entry belongs into a new file, if `more` bytes come before it.
    pub fn is_full(&self, more: usize) -> bool {
        self.spec.max_size.is_some_and(|limit| self.size + more as u64 >= limit)
    }

    /// Writes whole entries to the current file. A disk that refuses costs them, see [`error`](Self::error).
    pub fn append(&mut self, entries: &[u8]) {
        if entries.is_empty() {
            return;
        }
        let before: &[u8] = if self.is_torn { b"\n" } else { b"" };
        match write_both(&self.file, before, entries) {
            Ok(()) => {
                self.size += (before.len() + entries.len()) as u64;
                self.is_torn = false;
            }
            Err(error) => {
                self.complain("write", &error);
                self.size = self.file.metadata().map_or(self.size, |metadata| metadata.len());
                self.is_torn = true;
            }
        }
    }

    /// Writes whole entries, and goes to a new file between two of them whenever the current one is full.
    pub fn append_and_rotate(&mut self, mut entries: &[u8]) {
        while !entries.is_empty() {
            if self.is_full(0) {
                self.rotate();
            }
            let end =
                self.spec.max_size.map_or(entries.len(), |limit| room_for(entries, limit.saturating_sub(self.size)));
            let (now, rest) = entries.split_at(end);
            self.append(now);
            entries = rest;
        }
    }

    /// What went wrong last, if anything did.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Up to where the log is written.
    pub fn position(&self) -> LogPosition {
        LogPosition { inode: self.inode, length: self.size }
    }

    fn complain(&mut self, action: &str, error: &io::Error) {
        self.error = Some(format!("{action} log {}: {error}", self.spec.path.display()));
    }

    /// Goes to a new file.
    pub fn rotate(&mut self) {
        if let Err(error) = self.try_rotate() {
            self.complain("rotate", &error);
        }
    }

    fn try_rotate(&mut self) -> io::Result<()> {
        let path = self.spec.path.clone();
        if self.spec.max_file <= 1 {
            return self.begin_anew();
        }
        let oldest = self.spec.max_file - 1;
        // All move on by one, up to the first number that is not taken.
        let vacant = self.numbers().find(|number| !self.is_taken(*number)).unwrap_or(oldest);
        let end = rotated(&path, vacant);
        missing_is_fine(fs::remove_file(&end))?;
        missing_is_fine(fs::remove_file(compressed(&end)))?;
        for number in (1..vacant).rev() {
            let (from, to) = (rotated(&path, number), rotated(&path, number + 1));
            missing_is_fine(fs::rename(&from, &to))?;
            missing_is_fine(fs::rename(compressed(&from), compressed(&to)))?;
        }
        // Its second name first: `PATH` is never missing, see above. Not all file systems have hard links.
        if fs::hard_link(&path, rotated(&path, 1)).is_err() {
            missing_is_fine(fs::rename(&path, rotated(&path, 1)))?;
        }
        self.begin_anew()?;
        self.compression_pause = self.compression_pause.saturating_sub(1);
        self.wants_compression = true;
        Ok(())
    }

    /// The numbers that rotated files may have.
    fn numbers(&self) -> std::ops::Range<u32> {
        1..self.spec.max_file
    }

    fn is_taken(&self, number: u32) -> bool {
        let name = rotated(&self.spec.path, number);
        name.exists() || compressed(&name).exists()
    }

    /// The rotated files that are not compressed. The numbers end where nothing is: there may be billions of them.
    fn plain_files(&self) -> impl Iterator<Item = PathBuf> {
        let taken = self.numbers().take_while(|number| self.is_taken(*number));
        taken.map(|number| rotated(&self.spec.path, number)).filter(|name| name.exists())
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
        self.spec.compress && self.wants_compression && self.compression_pause == 0
    }

    /// The log rests, so there is time for what there was none before.
    pub fn rest(&mut self) {
        self.compression_pause = 0;
    }

    /// The youngest rotated file that is not compressed yet, if they shall be. One at a time: hand it to
    /// [`compression_ended`](Self::compression_ended) before asking again.
    pub fn next_compression(&mut self) -> Option<Compression> {
        if !self.spec.compress {
            return None;
        }
        let plain = self.plain_files().next();
        self.wants_compression = plain.is_some();
        match Compression::begin(&self.spec.path, &plain?) {
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
        let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == compression.inode);
        let place = self.plain_files().find(is_it);
        if place.is_none() {
            self.compression_pause = LOST_RACE_PAUSE;
        }
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

/// How many of the bytes of `entries`, the first of which is to be written in any case, fill a file that has `room`.
fn room_for(entries: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let (within, beyond) = entries.split_at_checked(room).unwrap_or((entries, b""));
    if beyond.is_empty() {
        return within.len();
    }
    // As when entries come one by one: the one that reaches the limit is the file's last.
    match memrchr(b'\n', within) {
        Some(at) if at + 1 == within.len() => at + 1,
        _ => within.len() + memchr(b'\n', beyond).map_or(beyond.len(), |at| at + 1),
    }
}

fn write_both(mut file: &File, first: &[u8], second: &[u8]) -> io::Result<()> {
    if first.is_empty() {
        return file.write_all(second);
    }
    let written = file.write_vectored(&[IoSlice::new(first), IoSlice::new(second)])?;
    match written.checked_sub(first.len()) {
        Some(written) => file.write_all(second.get(written..).unwrap_or_default()),
        None => Err(io::ErrorKind::WriteZero.into()),
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

    #[test]
    fn a_file_is_full_with_the_entry_that_reaches_its_limit() {
        for (room, expected) in [(1, 4), (3, 4), (4, 4), (5, 8), (8, 8), (9, 10), (100, 10)] {
            assert_eq!(room_for(b"abc\ndef\nx\n", room), expected, "{room}");
        }
    }

    #[test]
    fn entries_that_come_together_are_parted_as_if_they_came_one_by_one() {
        let files = |together: bool| -> Vec<String> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let spec = LogSpec { max_size: Some(40), max_file: i32::MAX as u32, ..LogSpec::json_file(&path) };
            let mut file = LogFile::open(spec).unwrap();
            let entries: Vec<String> = (0..50).map(|number| format!("entry {number}\n")).collect();
            match together {
                true => entries.chunks(11).for_each(|entries| file.append_and_rotate(entries.concat().as_bytes())),
                false => entries.iter().for_each(|entry| file.append_and_rotate(entry.as_bytes())),
            }
            assert_eq!(file.error(), None);
            let names = (1..).map(|number| rotated(&path, number)).take_while(|name| name.exists());
            names.chain([path.clone()]).map(|name| fs::read_to_string(name).unwrap()).collect()
        };
        assert_eq!(files(true), files(false));
        assert!(files(true).len() > 9);
    }
}
