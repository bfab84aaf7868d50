//! A folder as an engine with a build session takes it: listed, and then only what the engine does not have is sent.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::build_context::ContextFilter;
use super::build_session::{Provide, Serving};
use crate::buildkit::listing::{Head, Kind, Listed, Wants};
use crate::buildkit::session::{Ask, Channel};

/// A file that changed so shortly before it was listed may change again without a trace: clocks of file systems tick.
const FRESH: Duration = Duration::from_secs(2);
/// Bytes gathered before they are handed on.
const CHUNK: usize = 256 << 10;
/// Chunks that may wait for the engine.
const CHUNKS_AHEAD: usize = 8;
/// The kernel's limit of a path by name (`PATH_MAX`); files below may exist, but nobody can name them.
const MAX_PATH: usize = 4096;

/// A folder, and what of it an engine may have.
pub struct SyncedFolder {
    folder: PathBuf,
    filter: Arc<dyn ContextFilter + Sync>,
    /// Files that are not in the folder but go along beside it.
    extra: Vec<(PathBuf, Vec<u8>)>,
    origin: String,
}

impl SyncedFolder {
    /// `variant` tells contexts of one folder apart that leave out different files.
    pub fn new(
        folder: &Path,
        filter: impl ContextFilter + Sync,
        extra: Vec<(PathBuf, Vec<u8>)>,
        variant: &str,
    ) -> Self {
        let machine = std::fs::read_to_string("/etc/machine-id")
            .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
            .unwrap_or_default();
        let origin = format!("{}\n{}\n{variant}", machine.trim(), folder.display());
        Self { folder: folder.to_owned(), filter: Arc::new(filter), extra, origin }
    }

    fn list(&self) -> impl FnOnce() -> io::Result<Vec<Listed>> + Send + use<> {
        let (folder, filter) = (self.folder.clone(), Arc::clone(&self.filter));
        let extra: Vec<Listed> = self.extra.iter().map(|(path, content)| beside(path, content)).collect();
        move || {
            let mut all = scan(&folder, &*filter, SystemTime::now())?;
            all.extend(extra);
            Ok(all)
        }
    }

    async fn send(&self, channel: &mut Channel) -> io::Result<()> {
        let listed = tokio::task::spawn_blocking(self.list()).await.map_err(io::Error::other)??;
        let count = u32::try_from(listed.len()).map_err(io::Error::other)?;
        channel.say(&Head { origin: self.origin.clone(), count }).await?;
        let mut bytes = Vec::with_capacity(listed.len() * 96);
        listed.iter().try_for_each(|entry| entry.write(&mut bytes))?;
        channel.write_all(&bytes).await?;
        channel.flush().await?;
        drop(bytes);

        let mut wants = Vec::new();
        channel.read_to_end(&mut wants).await?;
        let wanted = Wants::from_bytes(&wants)?.0;
        let (sender, mut chunks) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_AHEAD);
        let (folder, extra) = (self.folder.clone(), self.extra.clone());
        tokio::task::spawn_blocking(move || {
            let mut outgoing = Outgoing { sender, chunk: Vec::with_capacity(CHUNK) };
            let sent = wanted.iter().try_for_each(|number| match listed.get(*number as usize) {
                Some(entry) => outgoing.file(&folder, &extra, entry),
                None => Ok(()),
            });
            // Nobody is left to hear of it where the engine has gone.
            let _ = match sent {
                Ok(()) => outgoing.hand_on(),
                Err(error) => outgoing.sender.blocking_send(Err(error)).map_err(|_| io::ErrorKind::BrokenPipe.into()),
            };
        });
        while let Some(chunk) = chunks.recv().await {
            channel.write_all(&chunk?).await?;
        }
        Ok(())
    }
}

impl Provide for SyncedFolder {
    fn serve<'a>(&'a self, _: &'a Ask, channel: &'a mut Channel) -> Serving<'a> {
        Box::pin(self.send(channel))
    }
}

struct Outgoing {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Outgoing {
    fn file(&mut self, folder: &Path, extra: &[(PathBuf, Vec<u8>)], entry: &Listed) -> io::Result<()> {
        let relative = PathBuf::from(std::ffi::OsString::from_vec(entry.path.clone()));
        if let Some((_, content)) = extra.iter().find(|(path, _)| entry.is_aside && *path == relative) {
            self.chunk.extend_from_slice(&(content.len() as u64).to_le_bytes());
            self.chunk.extend_from_slice(content);
            return self.hand_on_if_full();
        }
        let path = folder.join(&relative);
        let told = |error: io::Error| naming(&path, &error);
        let file = File::open(&path).map_err(told)?;
        let length = file.metadata().map_err(told)?.len();
        self.chunk.extend_from_slice(&length.to_le_bytes());
        let mut file = file.take(length);
        let mut left = length;
        while left > 0 {
            let room = CHUNK.saturating_sub(self.chunk.len()).max(1) as u64;
            let read = (&mut file).take(room).read_to_end(&mut self.chunk).map_err(told)? as u64;
            if read == 0 {
                return Err(told(io::Error::other("it became shorter while it was sent; build again")));
            }
            left -= read;
            self.hand_on_if_full()?;
        }
        self.hand_on_if_full()
    }

    fn hand_on_if_full(&mut self) -> io::Result<()> {
        if self.chunk.len() < CHUNK { Ok(()) } else { self.hand_on() }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A file that is not in the folder. Its content stands for its inode, so that another content is another file.
fn beside(path: &Path, content: &[u8]) -> Listed {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    Listed {
        kind: Kind::File,
        is_aside: true,
        is_fresh: false,
        mode: 0o644,
        size: content.len() as u64,
        modified: (0, 0),
        changed: (0, 0),
        inode: hasher.finish(),
        path: path.as_os_str().as_bytes().to_vec(),
        target: Vec::new(),
    }
}

/// Everything in `folder` that `filter` lets through, folders before what is in them.
fn scan(folder: &Path, filter: &dyn ContextFilter, now: SystemTime) -> io::Result<Vec<Listed>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| naming(folder, &errno.into()))?;
    let fresh_from = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(FRESH).as_secs();
    let fresh_from = i64::try_from(fresh_from).unwrap_or(i64::MAX);
    let mut scan = Scan { folder, filter, fresh_from, linked: HashMap::new(), all: Vec::new() };
    scan.walk(&top, Path::new(""))?;
    Ok(scan.all)
}

struct Scan<'a> {
    folder: &'a Path,
    filter: &'a dyn ContextFilter,
    /// Seconds since 1970 from which on a change is fresh.
    fresh_from: i64,
    /// Files with several names, by device and inode: the first of them.
    linked: HashMap<(u64, u64), Vec<u8>>,
    all: Vec<Listed>,
}

impl Scan<'_> {
    fn walk(&mut self, dir: &impl std::os::fd::AsFd, below: &Path) -> io::Result<()> {
        let folder = self.folder;
        let told = |path: &Path, errno: Errno| naming(&folder.join(path), &errno.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(|errno| told(below, errno))? {
            let entry = entry.map_err(|errno| told(below, errno))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(std::ffi::OsString::from_vec(entry.file_name().to_bytes().to_vec()));
            }
        }
        names.sort_unstable();
        for name in names {
            let path = below.join(&name);
            let stat = match statat(dir, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
                // Gone since its folder was read, as if it had never been there.
                Err(Errno::NOENT) => continue,
                other => other.map_err(|errno| told(&path, errno))?,
            };
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Folder,
                FileType::Symlink => Kind::Link,
                // Sockets, pipes and devices have no place in a context.
                _ => continue,
            };
            let is_excluded = self.filter.excludes(&path);
            if !is_excluded {
                if path.as_os_str().len() >= MAX_PATH {
                    return Err(told(&path, Errno::NAMETOOLONG));
                }
                let target = match kind {
                    Kind::Link => match readlinkat(dir, name.as_os_str(), Vec::new()) {
                        Err(Errno::NOENT) => continue,
                        other => other.map_err(|errno| told(&path, errno))?.into_bytes(),
                    },
                    _ => Vec::new(),
                };
                let mut listed = self.entry(kind, &path, &stat, target);
                self.link(&mut listed, &stat);
                self.all.push(listed);
            }
            if kind == Kind::Folder && !(is_excluded && self.filter.excludes_all_below(&path)) {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = match openat(dir, name.as_os_str(), flags, Mode::empty()) {
                    Err(Errno::NOENT) => continue,
                    other => other.map_err(|errno| told(&path, errno))?,
                };
                self.walk(&inner, &path)?;
            }
        }
        Ok(())
    }

    /// Makes the entry of a file that was listed already a further name of it.
    fn link(&mut self, listed: &mut Listed, stat: &Stat) {
        if listed.kind != Kind::File || listed.is_aside || stat.st_nlink < 2 {
            return;
        }
        match self.linked.get(&(stat.st_dev, stat.st_ino)) {
            Some(first) => (listed.kind, listed.target) = (Kind::HardLink, first.clone()),
            None => drop(self.linked.insert((stat.st_dev, stat.st_ino), listed.path.clone())),
        }
    }

    fn entry(&self, kind: Kind, path: &Path, stat: &Stat, target: Vec<u8>) -> Listed {
        let nanoseconds = |count: u64| u32::try_from(count).unwrap_or(0);
        Listed {
            kind,
            is_aside: self.filter.is_aside(path),
            is_fresh: stat.st_mtime >= self.fresh_from || stat.st_ctime >= self.fresh_from,
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
            inode: stat.st_ino,
            path: path.as_os_str().as_bytes().to_vec(),
            target,
        }
    }
}

/// Which file it is, why it can't be had, and what to do; the engine says that it is about the context.
fn naming(path: &Path, error: &io::Error) -> io::Error {
    /// As much of a path as can be read.
    const SHOWN: usize = 200;
    let shown = path.display().to_string();
    let shown = match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    };
    let advice = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS | Errno::PERM) => "make it readable, or leave it out by .dockerignore",
        Some(Errno::NAMETOOLONG) => "shorten it, or leave it out by .dockerignore",
        Some(Errno::NOENT) => "it vanished while it was sent; build again, or leave it out by .dockerignore",
        _ => return io::Error::new(error.kind(), format!("{shown}: {error}")),
    };
    let text = error.to_string();
    let why = text.rfind(" (os error ").and_then(|at| text.get(..at)).unwrap_or(&text).to_lowercase();
    io::Error::new(error.kind(), format!("{shown}: {why}: {advice}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Rules;

    impl ContextFilter for Rules {
        fn excludes(&self, path: &Path) -> bool {
            path.starts_with("target") || path.starts_with("deploy") && !self.is_aside(path)
        }

        fn excludes_all_below(&self, path: &Path) -> bool {
            path.starts_with("target")
        }

        fn is_aside(&self, path: &Path) -> bool {
            path == Path::new("deploy/Dockerfile")
        }
    }

    #[test]
    fn a_folder_is_listed_as_the_rules_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for path in ["a", "target/big", "deploy/Dockerfile", "deploy/other", "src/deep/f"] {
            fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
            fs::write(at.join(path), path).unwrap();
        }
        symlink("a", at.join("l")).unwrap();
        for name in ["b", "src/deep/g", "target/a"] {
            fs::hard_link(at.join("a"), at.join(name)).unwrap();
        }
        fs::hard_link(at.join("deploy/Dockerfile"), at.join("z")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let all = scan(at, &Rules, later).unwrap();
        let shown: Vec<String> = all
            .iter()
            .map(|it| {
                format!(
                    "{} {:?}{}",
                    String::from_utf8_lossy(&it.path),
                    it.kind,
                    if it.is_aside { " aside" } else { "" }
                )
            })
            .collect();
        let expected = [
            "a File",
            "b HardLink",
            "deploy/Dockerfile File aside",
            "l Link",
            "src Folder",
            "src/deep Folder",
            "src/deep/f File",
            "src/deep/g HardLink",
            "z File",
        ];
        assert_eq!(shown, expected);
        let targets = [&all[1], &all[7]].map(|it| String::from_utf8_lossy(&it.target).into_owned());
        assert_eq!(targets, ["a", "a"]);
        assert!(all.iter().all(|it| !it.is_fresh));
        assert_eq!((all[0].size, all[3].target.as_slice()), (1, &b"a"[..]));
        assert!(scan(at, &Rules, SystemTime::now()).unwrap().iter().all(|it| it.is_fresh));
        let missing = scan(Path::new("/nowhere/at/all"), &Rules, later).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/at/all"), "{missing}");

        // Deeper than anything can be named: reached by folders that are open.
        let mut dir = rustix::fs::open(at, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..21 {
            rustix::fs::mkdirat(&dir, "y".repeat(200), Mode::from_raw_mode(0o755)).unwrap();
            dir = openat(&dir, "y".repeat(200), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let deep = scan(at, &Rules, later).unwrap_err().to_string();
        assert!(deep.contains("/yyyy") && deep.contains("…: file name too long: shorten it"), "{deep}");
    }

    #[test]
    fn files_are_sent_with_their_length_and_one_that_vanished_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("big"), vec![7; CHUNK + 3]).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        let all = scan(folder.path(), &super::super::build_context::WholeFolder, SystemTime::now()).unwrap();
        let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        let mut outgoing = Outgoing { sender, chunk: Vec::new() };
        let extra = vec![(PathBuf::from("Dockerfile"), b"FROM x".to_vec())];
        let outside = beside(Path::new("Dockerfile"), b"FROM x");
        for entry in all.iter().chain([&outside]) {
            outgoing.file(folder.path(), &extra, entry).unwrap();
        }
        outgoing.hand_on().unwrap();
        fs::remove_file(folder.path().join("big")).unwrap();
        let gone = outgoing.file(folder.path(), &extra, &all[0]).unwrap_err().to_string();
        assert!(gone.contains("big"), "{gone}");
        drop(outgoing);
        let mut bytes = Vec::new();
        while let Ok(chunk) = chunks.try_recv() {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut expected = (CHUNK as u64 + 3).to_le_bytes().to_vec();
        expected.extend(vec![7; CHUNK + 3]);
        expected.extend(0_u64.to_le_bytes());
        expected.extend(6_u64.to_le_bytes());
        expected.extend(b"FROM x");
        assert!(bytes == expected);
    }
}
