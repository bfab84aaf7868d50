//! What a folder of the client holds, told without a single content: so an engine that has kept the folder's files asks only
//! for those that changed.
//!
//! On a context's stream the client sends a [`Head`], then the [`Listing`]; the engine answers with [`Wants`], numbers of
//! files in the listing, and ends its direction; the client sends these files, each as its length and its bytes, and ends.
//! All numbers are little-endian.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// More entries than this are no context.
const MAX_ENTRIES: u32 = 10_000_000;
/// The kernel's limit of a path, and of where a link points.
const MAX_PATH: usize = 4096;

/// Which folder it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Names the folder for good: the machine and the path on it.
    pub origin: String,
    /// How many entries the listing has.
    pub count: u32,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A further name of the file that stands before it in the listing as `target`.
    HardLink,
}

/// One entry; what is in a folder stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// Whether it goes along though the ignore rules leave it out: a Dockerfile, an ignore file, and the folders they are
    /// in. Steps never see it.
    pub is_aside: bool,
    /// Whether it changed so shortly before it was listed that another change might look the same.
    pub is_fresh: bool,
    /// Permissions.
    pub mode: u32,
    /// Bytes of a file.
    pub size: u64,
    /// When its content changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// When anything about it changed.
    pub changed: (i64, u32),
    /// Its number on the client's file system.
    pub inode: u64,
    /// Its path, relative to the folder.
    pub path: Vec<u8>,
    /// Where a link points: from where it is, or, of a hard link, from the folder.
    pub target: Vec<u8>,
}

impl Listed {
    /// Writes it.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let kind = match self.kind {
            Kind::File => 0_u8,
            Kind::Folder => 1,
            Kind::Link => 2,
            Kind::HardLink => 3,
        };
        let flags = u8::from(self.is_aside) | u8::from(self.is_fresh) << 1;
        to.write_all(&[kind, flags])?;
        to.write_all(&self.mode.to_le_bytes())?;
        to.write_all(&self.size.to_le_bytes())?;
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            to.write_all(&seconds.to_le_bytes())?;
            to.write_all(&nanoseconds.to_le_bytes())?;
        }
        to.write_all(&self.inode.to_le_bytes())?;
        for text in [&self.path, &self.target] {
            let length = u16::try_from(text.len()).map_err(|_| invalid("a path that is too long"))?;
            to.write_all(&length.to_le_bytes())?;
            to.write_all(text)?;
        }
        Ok(())
    }

    /// Reads what [`Listed::write`] wrote.
    ///
    /// # Errors
    /// The reader's; `InvalidData` for what no client says.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let [kind, flags] = bytes(from)?;
        let kind = match kind {
            0 => Kind::File,
            1 => Kind::Folder,
            2 => Kind::Link,
            3 => Kind::HardLink,
            _ => return Err(invalid("a kind of file that nobody knows")),
        };
        let mode = u32::from_le_bytes(bytes(from)?) & 0o7777;
        let size = u64::from_le_bytes(bytes(from)?);
        let modified = time(from)?;
        let changed = time(from)?;
        let inode = u64::from_le_bytes(bytes(from)?);
        let (path, target) = (text(from)?, text(from)?);
        let is_sane = |path: &[u8]| {
            !path.is_empty() && path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
        };
        let is_elsewhere = kind == Kind::HardLink && (!is_sane(&target) || flags & 1 != 0);
        if !is_sane(&path) || is_elsewhere || path.contains(&0) || target.contains(&0) {
            return Err(invalid("a path that leads elsewhere"));
        }
        Ok(Self {
            kind,
            is_aside: flags & 1 != 0,
            is_fresh: flags & 2 != 0,
            mode,
            size,
            modified,
            changed,
            inode,
            path,
            target,
        })
    }

    /// Whether `other` is the same file with the same content, as far as can be told without reading it.
    pub fn is_like(&self, other: &Self) -> bool {
        !self.is_fresh
            && self.kind == other.kind
            && self.is_aside == other.is_aside
            && self.mode == other.mode
            && self.size == other.size
            && self.modified == other.modified
            && self.changed == other.changed
            && self.inode == other.inode
            && self.target == other.target
    }
}

/// Which files are wanted, by their number in the listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants(pub Vec<u32>);

impl Wants {
    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Reads what [`Wants::to_bytes`] wrote.
    ///
    /// # Errors
    /// `InvalidData`: half a number.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let (whole, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(invalid("half a number"));
        }
        Ok(Self(whole.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
    }
}

/// Reads a listing of `count` entries.
///
/// # Errors
/// As [`Listed::read`]; `InvalidData` for too many.
pub fn read_all(from: &mut impl Read, count: u32) -> io::Result<Vec<Listed>> {
    if count > MAX_ENTRIES {
        return Err(invalid("more files than any context has"));
    }
    let mut all = Vec::with_capacity(count.min(1 << 16) as usize);
    for _ in 0..count {
        all.push(Listed::read(from)?);
    }
    Ok(all)
}

fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn time(from: &mut impl Read) -> io::Result<(i64, u32)> {
    Ok((i64::from_le_bytes(bytes(from)?), u32::from_le_bytes(bytes(from)?)))
}

fn text(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = usize::from(u16::from_le_bytes(bytes(from)?));
    if length > MAX_PATH {
        return Err(invalid("a path that is too long"));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    Ok(text)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a context's listing has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Listed {
        Listed {
            kind: Kind::File,
            is_aside: false,
            is_fresh: false,
            mode: 0o644,
            size: 7,
            modified: (1, 2),
            changed: (3, 4),
            inode: 5,
            path: path.into(),
            target: Vec::new(),
        }
    }

    #[test]
    fn listings_come_back_as_they_were() {
        let link = Listed { kind: Kind::Link, target: b"../x".to_vec(), is_aside: true, ..file("a/l") };
        let again = Listed { kind: Kind::HardLink, target: b"a/f".to_vec(), ..file("a/g") };
        let all = vec![Listed { kind: Kind::Folder, is_fresh: true, ..file("a") }, file("a/f"), again, link];
        let mut bytes = Vec::new();
        all.iter().for_each(|it| it.write(&mut bytes).unwrap());
        assert_eq!(read_all(&mut bytes.as_slice(), 4).unwrap(), all);
        assert!(read_all(&mut bytes.as_slice(), 5).is_err());
        assert_eq!(Wants::from_bytes(&Wants(vec![0, 70_000]).to_bytes()).unwrap(), Wants(vec![0, 70_000]));
        assert!(Wants::from_bytes(&[1, 2]).is_err());
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["", "..", "a/../b", "/etc", "a//b", "./a", "a\0"] {
            let mut bytes = Vec::new();
            file(path).write(&mut bytes).unwrap();
            assert!(Listed::read(&mut bytes.as_slice()).is_err(), "{path:?}");
            let mut bytes = Vec::new();
            Listed { kind: Kind::HardLink, target: path.into(), ..file("f") }.write(&mut bytes).unwrap();
            assert!(Listed::read(&mut bytes.as_slice()).is_err(), "a further name of {path:?}");
        }
    }

    #[test]
    fn a_file_is_known_by_everything_but_its_content() {
        let known = file("f");
        assert!(known.is_like(&file("f")));
        for other in [
            Listed { size: 8, ..file("f") },
            Listed { modified: (1, 3), ..file("f") },
            Listed { changed: (3, 5), ..file("f") },
            Listed { inode: 6, ..file("f") },
            Listed { mode: 0o755, ..file("f") },
        ] {
            assert!(!known.is_like(&other));
        }
        assert!(!Listed { is_fresh: true, ..file("f") }.is_like(&file("f")));
    }
}
