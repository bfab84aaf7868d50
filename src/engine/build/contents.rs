//! What is in a file: copying it with its holes and attributes, and telling archives from other files.

use std::fs::File;
use std::io::{self, Read, Seek};

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;
use xattr::FileExt;

/// Copies the content inside the kernel (`copy_file_range`, else `sendfile`); a file with holes keeps them.
pub(super) fn pour(mut source: &File, mut target: &File, stat: &Stat) -> io::Result<()> {
    const STAT_BLOCK: i64 = 512;
    if stat.st_blocks * STAT_BLOCK >= stat.st_size {
        io::copy(&mut source, &mut target)?;
        return Ok(());
    }
    let length = u64::try_from(stat.st_size).unwrap_or(0);
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
        let end = rustix::fs::seek(source, SeekFrom::Hole(at)).unwrap_or(length);
        source.seek(io::SeekFrom::Start(at))?;
        target.seek(io::SeekFrom::Start(at))?;
        io::copy(&mut source.take(end - at), &mut target)?;
        at = end;
    }
    target.set_len(length)
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
