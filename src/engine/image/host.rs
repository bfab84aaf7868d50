//! An image made of this host's own programs: so that something runs where there is no registry, and so that tests need
//! nothing from outside.
//!
//! A program comes with the symlinks on the way to it (`/bin -> usr/bin`, `sh -> dash`), its dynamic loader and all
//! libraries it links to, at the same paths as on the host; and with the few files every program expects.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bollard_stubs::models as docker;

use crate::engine::error::EngineError;
use crate::engine::layer::{Durability, LayerError};

use super::elf::{Needs, needs};
use super::store::blocking;
use super::{HistoryEntry, HostImage, ImageConfig, ImageId, Images, NewImage};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What an image holds when nothing is named.
const USUAL: &[&str] = &[
    "sh", "cat", "chmod", "chown", "cp", "date", "dd", "df", "du", "echo", "env", "false", "find", "grep", "head",
    "hostname", "id", "kill", "ln", "ls", "mkdir", "mktemp", "mv", "ps", "pwd", "readlink", "rm", "rmdir", "sed",
    "seq", "sleep", "sort", "stat", "tail", "tee", "test", "touch", "tr", "true", "uname", "wc", "which", "whoami",
    "yes",
];
/// What of [`USUAL`] an image can't do without.
const ESSENTIAL: &str = "sh";
/// Folders that are links into `/usr` on merged systems; programs name them either way.
const TOP_FOLDERS: &[&str] = &["/bin", "/sbin", "/lib", "/lib64"];
/// Folders every root has, and their modes.
const FOLDERS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];
/// Files every root has.
const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("etc/os-release", "NAME=\"Boxyard host image\"\nID=boxyard-host\nPRETTY_NAME=\"Programs of this host\"\n"),
];
/// Symlinks that may be followed on the way to one file (as the kernel's `MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;

impl Images {
    /// Makes an image of this host's own programs and what they need to run.
    ///
    /// # Errors
    /// `NotFound` for a program the host does not have.
    pub async fn from_host(&self, host: HostImage) -> Result<ImageId, EngineError> {
        let shared = Arc::clone(&self.shared);
        let reference = host.reference.clone();
        let cmd = if host.cmd.is_empty() { vec!["sh".to_owned()] } else { host.cmd.clone() };
        let shown = host.programs.join(" ");
        let (layer, _hold) = blocking(move || {
            let temp = shared.root.temp_dir("host").map_err(|source| LayerError::io("create", "tmp", source))?;
            let tree = temp.path().join("tree");
            Gathering::new(&tree)?.gather(&host)?;
            let layer = shared.layers.commit_tree(None, tree, Durability::Now)?;
            let hold = shared.layers.hold(&layer.chain_id);
            Ok((layer, hold))
        })
        .await?;
        let now = jiff::Timestamp::now();
        let mut config = ImageConfig::for_host(now);
        config.config = docker::ImageConfig {
            env: Some(vec![format!("PATH={PATH}")]),
            cmd: Some(cmd),
            working_dir: Some("/".to_owned()),
            ..docker::ImageConfig::default()
        };
        config.history = vec![HistoryEntry {
            created: Some(now.to_string()),
            created_by: Some(format!(
                "programs of this host: {}",
                if shown.is_empty() { "the usual ones" } else { &shown }
            )),
            ..HistoryEntry::default()
        }];
        let tags = reference.into_iter().collect();
        let image = self.create(NewImage { config, layers: vec![layer.chain_id], tags, parent: None }).await?;
        Ok(image.id)
    }
}

/// A tree being filled from the host's.
struct Gathering<'a> {
    tree: &'a Path,
    done: HashSet<PathBuf>,
    folders: Vec<PathBuf>,
}

impl<'a> Gathering<'a> {
    fn new(tree: &'a Path) -> Result<Self, EngineError> {
        folder(tree, 0o755)?;
        Ok(Self { tree, done: HashSet::new(), folders: library_folders() })
    }

    fn gather(mut self, host: &HostImage) -> Result<(), EngineError> {
        for top in TOP_FOLDERS {
            if Path::new(top).is_symlink() {
                self.place(Path::new(top))?;
            }
        }
        for (name, mode) in FOLDERS {
            folder(&self.tree.join(name), *mode)?;
        }
        for (name, text) in FILES {
            let path = self.tree.join(name);
            fs::write(&path, text).map_err(|source| LayerError::io("write", &path, source))?;
        }
        if host.programs.is_empty() {
            for name in USUAL {
                match find_program(name) {
                    Some(path) => self.program(&path)?,
                    None if *name == ESSENTIAL => return Err(no_program(name)),
                    None => {}
                }
            }
        }
        for name in &host.programs {
            let path = find_program(name).ok_or_else(|| no_program(name))?;
            self.program(&path)?;
            if path.file_name() == Some("busybox".as_ref()) {
                self.applets(&path)?;
            }
        }
        for path in &host.extra_files {
            if !path.is_absolute() {
                return Err(EngineError::invalid(format!("{}: not an absolute path", path.display())));
            }
            self.whole(path)?;
        }
        Ok(())
    }

    /// A program with everything it needs.
    fn program(&mut self, path: &Path) -> Result<(), EngineError> {
        let mut waiting = vec![(path.to_owned(), Vec::new())];
        while let Some((path, inherited)) = waiting.pop() {
            let real = self.place(&path)?;
            if !self.done.insert(real.clone()) {
                continue;
            }
            let Ok(bytes) = fs::read(&real) else { continue };
            if let Some(script) = interpreter_of(&bytes) {
                waiting.push((script, Vec::new()));
            }
            let Some(needed) = needs(&bytes) else { continue };
            if let Some(loader) = &needed.interpreter {
                waiting.push((loader.into(), Vec::new()));
            }
            let origin = real.parent().unwrap_or(Path::new("/"));
            let mut search: Vec<PathBuf> = needed
                .search
                .iter()
                .map(|path| {
                    path.replace("$ORIGIN", &origin.to_string_lossy())
                        .replace("${ORIGIN}", &origin.to_string_lossy())
                        .into()
                })
                .collect();
            search.extend(inherited);
            for library in &needed.libraries {
                let found = self.library(library, &search, &needed);
                let found = found.ok_or_else(|| {
                    EngineError::not_found(format!(
                        "{}: needs {library}, which this host does not have",
                        path.display()
                    ))
                })?;
                waiting.push((found, search.clone()));
            }
        }
        Ok(())
    }

    fn library(&self, name: &str, search: &[PathBuf], of: &Needs) -> Option<PathBuf> {
        if name.contains('/') {
            return Path::new(name).exists().then(|| name.into());
        }
        let candidates = search.iter().chain(&self.folders).map(|folder| folder.join(name));
        let fits = |path: &PathBuf| {
            path.is_file()
                && fs::read(path).ok().and_then(|bytes| needs(&bytes)).is_some_and(|found| found.machine == of.machine)
        };
        candidates.into_iter().find(fits)
    }

    /// A static busybox is all programs at once: a link for each.
    fn applets(&mut self, path: &Path) -> Result<(), EngineError> {
        let listed = Command::new(path).arg("--list").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let Ok(listed) = listed else { return Ok(()) };
        for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| !name.contains('/')) {
            let folder = find_folder(self.tree);
            let link = folder.join(name);
            if name != "busybox" && !link.is_symlink() && !link.exists() {
                symlink(path, &link).map_err(|source| LayerError::io("create", &link, source))?;
            }
        }
        Ok(())
    }

    /// Copies a file, or a folder with all that is in it.
    fn whole(&mut self, path: &Path) -> Result<(), EngineError> {
        let real = self.place(path)?;
        if !real.is_dir() {
            return Ok(());
        }
        let told = |source| LayerError::io("read", &real, source);
        for entry in fs::read_dir(&real).map_err(told)? {
            let entry = entry.map_err(told)?;
            let kind = entry.file_type().map_err(told)?;
            if kind.is_symlink() {
                // Its target may be elsewhere on the host; the link alone is what the folder holds.
                self.link(&entry.path())?;
            } else if kind.is_dir() || kind.is_file() {
                self.whole(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Puts `path` in the tree with all symlinks and folders on the way; answers where it really is on the host.
    fn place(&mut self, path: &Path) -> Result<PathBuf, EngineError> {
        let mut waiting: Vec<OsString> = components(path);
        waiting.reverse();
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            let facts = fs::symlink_metadata(&next).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => {
                    EngineError::not_found(format!("{}: this host does not have it", path.display()))
                }
                _ => LayerError::io("look at", &next, source).into(),
            })?;
            if facts.is_symlink() {
                links += 1;
                if links > LINKS_MAX {
                    return Err(EngineError::invalid(format!("{}: too many symbolic links", path.display())));
                }
                let target = self.link(&next)?;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                waiting.extend(components(&target).into_iter().rev());
                continue;
            }
            let copy = self.inside(&next);
            if facts.is_dir() {
                if !copy.exists() {
                    folder(&copy, facts.mode() & 0o7777)?;
                    chown(&copy, Some(facts.uid()), Some(facts.gid()))
                        .map_err(|source| LayerError::io("create", &copy, source))?;
                }
            } else if facts.is_file() && !copy.exists() {
                copy_file(&next, &copy, &facts)?;
            }
            real = next;
        }
        Ok(real)
    }

    fn link(&self, path: &Path) -> Result<PathBuf, EngineError> {
        let target = fs::read_link(path).map_err(|source| LayerError::io("read", path, source))?;
        let copy = self.inside(path);
        if !copy.is_symlink() && !copy.exists() {
            symlink(&target, &copy).map_err(|source| LayerError::io("create", &copy, source))?;
            let _ = lchown(&copy, Some(0), Some(0));
        }
        Ok(target)
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.tree.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn copy_file(from: &Path, to: &Path, facts: &fs::Metadata) -> Result<(), EngineError> {
    let told = |source| LayerError::io("copy", from, source);
    fs::copy(from, to).map_err(told)?;
    chown(to, Some(facts.uid()), Some(facts.gid())).map_err(told)?;
    fs::set_permissions(to, fs::Permissions::from_mode(facts.mode() & 0o7777)).map_err(told)?;
    let modified = facts.modified().map_err(told)?;
    fs::File::options().write(true).open(to).and_then(|file| file.set_modified(modified)).map_err(told)?;
    Ok(())
}

fn folder(path: &Path, mode: u32) -> Result<(), EngineError> {
    let told = |source| LayerError::io("create", path, source);
    fs::create_dir_all(path).map_err(told)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(told)?;
    Ok(())
}

/// Where applet links go: `/bin`, or what it is a link to.
fn find_folder(tree: &Path) -> PathBuf {
    let bin = tree.join("bin");
    match fs::read_link(&bin) {
        Ok(target) => tree.join(target.strip_prefix("/").unwrap_or(&target)),
        Err(_) => bin,
    }
}

fn components(path: &Path) -> Vec<OsString> {
    let keep = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(keep).collect()
}

fn find_program(name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute() && is_program(path));
    }
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(is_program)
}

fn no_program(name: &str) -> EngineError {
    EngineError::not_found(format!("{name}: no such program on this host (searched {PATH})"))
}

/// The program named after `#!`.
fn interpreter_of(bytes: &[u8]) -> Option<PathBuf> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name));
    (path.is_absolute() && path.exists()).then_some(path)
}

/// Where the loader looks: the folders of `/etc/ld.so.conf`, then the built-in ones.
fn library_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    read_loader_conf(Path::new("/etc/ld.so.conf"), &mut folders, 0);
    let machine = std::env::consts::ARCH;
    for name in [format!("/lib/{machine}-linux-gnu"), format!("/usr/lib/{machine}-linux-gnu")] {
        folders.push(name.into());
    }
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    let mut seen: HashMap<PathBuf, ()> = HashMap::new();
    folders.retain(|folder| seen.insert(folder.clone(), ()).is_none());
    folders
}

fn read_loader_conf(path: &Path, folders: &mut Vec<PathBuf>, depth: u32) {
    let Ok(text) = fs::read_to_string(path) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(pattern) = line.strip_prefix("include ") {
            let pattern = Path::new(pattern.trim());
            let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name()) else { continue };
            let mut included: Vec<PathBuf> = fs::read_dir(folder)
                .map(|entries| entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
                .unwrap_or_default();
            included.retain(|path| {
                let found = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                super::pattern::glob(&name.to_string_lossy(), &found)
            });
            included.sort();
            for path in included.iter().filter(|_| depth < 8) {
                read_loader_conf(path, folders, depth + 1);
            }
        } else if line.starts_with('/') {
            folders.push(line.into());
        }
    }
}
