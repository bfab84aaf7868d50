//! What is in a file: copying it with its holes and attributes, and telling archives from other files.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{SeekFrom, Stat, copy_file_range};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;
use xattr::FileExt;

use crate::engine::layer::go_on;

/// Smaller files are copied faster through memory than the kernel is asked to do it.
pub(super) const WORTH_ASKING: u64 = 64 << 10;
/// How much is copied between two looks at whether it is still wanted.
const PIECE: u64 = 8 << 20;
/// The same, through memory.
const BUFFER: usize = 256 << 10;

/// Copies the content of a file that `stat` describes, inside the kernel where both file systems allow it; holes stay holes.
/// Fails between two pieces once `cancel` is called.
pub(super) fn pour(source: &File, target: &File, stat: &Stat, cancel: &CancellationToken) -> io::Result<()> {
    const STAT_BLOCK: i64 = 512;
    let length = u64::try_from(stat.st_size).unwrap_or(0);
    let mut pouring = Pouring { source, target, cancel, in_kernel: length >= WORTH_ASKING };
    if stat.st_blocks * STAT_BLOCK >= stat.st_size {
        return pouring.range(0, length);
    }
    let mut at = 0;
    while at < length {
        at = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(at) => at,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // No file system that knows holes.
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(at)).unwrap_or(length).min(length);
        pouring.range(at, end)?;
        at = end;
    }
    target.set_len(length)
}

/// A file's content on its way into another one.
struct Pouring<'a> {
    source: &'a File,
    target: &'a File,
    cancel: &'a CancellationToken,
    /// Whether the kernel is still asked to do it.
    in_kernel: bool,
}

impl Pouring<'_> {
    /// Copies what stands from `at` to `end`, as far as the file goes.
    fn range(&mut self, mut at: u64, end: u64) -> io::Result<()> {
        while self.in_kernel && at < end {
            go_on(self.cancel)?;
            let piece = usize::try_from((end - at).min(PIECE)).unwrap_or(BUFFER);
            let (mut from, mut to) = (at, at);
            match copy_file_range(self.source, Some(&mut from), self.target, Some(&mut to), piece) {
                Ok(count) if count > 0 => at += count as u64,
                Err(Errno::INTR) => {}
                Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG)) => return Err(errno.into()),
                // Two file systems, or one that can't; or its end, which reading tells for certain.
                Ok(_) | Err(_) => self.in_kernel = false,
            }
        }
        let mut buffer = vec![0; usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER)];
        while at < end {
            go_on(self.cancel)?;
            let room = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
            let count = match self.source.read_at(buffer.get_mut(..room).unwrap_or_default(), at) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.target.write_all_at(buffer.get(..count).unwrap_or_default(), at)?;
            at += count as u64;
        }
        Ok(())
    }
}

/// File capabilities, access lists and the user's own attributes; others (like overlayfs's) are not the file's content.
pub(super) fn copy_attributes(source: &File, target: &File) -> io::Result<()> {
    let names = match source.list_xattr() {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        let shown = name.to_string_lossy();
        let is_kept =
            shown == "security.capability" || shown.starts_with("user.") || shown.starts_with("system.posix_acl_");
        if is_kept && let Some(value) = source.get_xattr(&name)? {
            match target.set_xattr(&name, &value) {
                // What the file system can't hold is no reason to copy nothing.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Whether a local file of ADD is an archive to unpack, told by its content, never by its name. The file is then at its
/// start again.
pub(super) fn is_archive(file: &mut File) -> io::Result<bool> {
    use std::io::BufReader;
    let mut first = [0; 512];
    let outcome = {
        let reader = BufReader::new(&*file);
        match crate::engine::layer::inflater(reader) {
            Ok(mut inflated) => {
                let mut filled = 0;
                // Cut short or no such stream after all: then it is no archive.
                while let Some(rest) = first.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                    match inflated.read(rest) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => filled += count,
                    }
                }
                filled == first.len() && is_tar_header(&first)
            }
            Err(_) => false,
        }
    };
    file.rewind()?;
    Ok(outcome)
}

/// Whether a block is a tar header: its checksum is right.
fn is_tar_header(block: &[u8; 512]) -> bool {
    let (before, rest) = block.split_at(148);
    let (stored, after) = rest.split_at(8);
    let sum: u32 = before.iter().chain(after).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    let text = String::from_utf8_lossy(stored);
    let digits = text.trim_matches([' ', '\0']);
    !digits.is_empty() && u32::from_str_radix(digits, 8) == Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn stat_of(file: &File) -> Stat {
        rustix::fs::fstat(file).unwrap()
    }

    /// A file of 3 MB with a hole of 2 MB before its last bytes.
    fn with_a_hole(file: &File) -> Vec<u8> {
        let mut content: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        file.write_all_at(b"end", 3_000_000).unwrap();
        content.resize(3_000_000, 0);
        content.extend(b"end");
        content
    }

    #[test]
    fn content_arrives_by_either_way_and_holes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let create =
            |name: &str| File::options().read(true).write(true).create_new(true).open(folder.path().join(name));
        let source = create("source").unwrap();
        let content = with_a_hole(&source);
        let cancel = CancellationToken::new();
        for in_kernel in [true, false] {
            let name = format!("target {in_kernel}");
            let target = create(&name).unwrap();
            let mut pouring = Pouring { source: &source, target: &target, cancel: &cancel, in_kernel };
            // Further than the file goes.
            pouring.range(0, 4_000_000).unwrap();
            assert!(fs::read(folder.path().join(&name)).unwrap() == content, "{name}");
        }
        // Memory is a file system of its own: the kernel refuses, and it is read and written.
        let memory = File::from(rustix::fs::memfd_create("source", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        with_a_hole(&memory);
        for (name, source) in [("kept", &source), ("across", &memory)] {
            let target = create(name).unwrap();
            pour(source, &target, &stat_of(source), &cancel).unwrap();
            assert!(fs::read(folder.path().join(name)).unwrap() == content, "{name}");
            assert!(stat_of(&target).st_blocks * 512 < 1_500_000, "{name}: {} blocks", stat_of(&target).st_blocks);
        }
    }

    #[test]
    fn nothing_more_is_copied_once_it_is_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let source = tempfile::tempfile().unwrap();
        with_a_hole(&source);
        let target = File::create(folder.path().join("target")).unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        let refused = pour(&source, &target, &stat_of(&source), &cancel).unwrap_err();
        assert_eq!(refused.to_string(), "it was cancelled");
        assert_eq!(stat_of(&target).st_size, 0);
    }

    #[test]
    fn archives_are_known_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_cksum();
        tar.append_data(&mut header, "f", &b"x"[..]).unwrap();
        let plain = tar.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        for (bytes, expected) in
            [(plain.as_slice(), true), (&gzip, true), (b"text", false), (&[0x1f, 0x8b, 0, 0][..], false)]
        {
            let path = folder.path().join("it");
            fs::write(&path, bytes).unwrap();
            assert_eq!(is_archive(&mut File::open(&path).unwrap()).unwrap(), expected);
        }
    }
}
