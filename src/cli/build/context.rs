//! Where a build's files come from: a folder, a stream on standard input, or a URL that the engine fetches.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use crate::client::build_context::{ContextFilter, folder_body_with};
use crate::client::context_sync::SyncedFolder;
use crate::client::{BuildCall, RequestBody};
use crate::dockerfile::ignore::{FILE_NAME, IgnoreRules};

/// The Dockerfile's usual name.
const USUAL: &str = "Dockerfile";
/// So much of a stream tells whether it is an archive: the magic of a tar ends at 262.
const HEAD: usize = 512;

/// A build's files and its Dockerfile.
#[derive(Debug, PartialEq, Eq)]
pub enum Context {
    /// A folder of this machine.
    Folder {
        /// Its path.
        folder: PathBuf,
        /// Where its Dockerfile is.
        dockerfile: Dockerfile,
    },
    /// Standard input: an archive, or a Dockerfile alone.
    Input {
        /// The Dockerfile's path in the archive.
        dockerfile: String,
    },
    /// A URL, which the engine fetches.
    Remote {
        /// The URL.
        url: String,
        /// Its Dockerfile; on this machine only where it is named by an absolute path.
        dockerfile: Dockerfile,
    },
}

/// Where the Dockerfile is.
#[derive(Debug, PartialEq, Eq)]
pub enum Dockerfile {
    /// In the folder, or what the URL stands for, at this path.
    Inside(String),
    /// Elsewhere on this machine.
    Outside {
        /// Where.
        path: PathBuf,
        /// As it was typed.
        given: String,
    },
    /// On standard input.
    Input,
}

/// The Dockerfile's text, where it is at hand before the build, and how a person knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its name in messages.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What `.dockerignore` leaves out; the Dockerfile and the ignore file themselves always go along.
struct Ignored {
    rules: IgnoreRules,
    kept: Vec<String>,
    /// The rules as they are written.
    text: String,
}

impl Ignored {
    /// Tells apart what different rules leave of one folder.
    fn variant(&self) -> String {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (&self.text, &self.kept).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

impl ContextFilter for Ignored {
    fn excludes(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        !self.kept.iter().any(|kept| *kept == path) && self.rules.ignores(&path)
    }

    fn is_aside(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        self.kept.iter().any(|kept| *kept == path) && self.rules.ignores(&path)
    }

    fn excludes_all_below(&self, path: &Path) -> bool {
        let inside = format!("{}/", path.to_string_lossy());
        !self.rules.has_exceptions() && !self.kept.iter().any(|kept| kept.starts_with(&inside))
    }
}

impl Context {
    /// Finds out what `path` and `file` (`-f`) mean.
    ///
    /// # Errors
    /// What is not there, or can't be both.
    pub fn find(path: &str, file: Option<&Path>) -> anyhow::Result<Self> {
        let reads_dockerfile = file == Some(Path::new("-"));
        let named = || file.map_or_else(|| USUAL.to_owned(), |file| file.to_string_lossy().into_owned());
        if path == "-" {
            if reads_dockerfile {
                anyhow::bail!("standard input can't be both the context and the Dockerfile: name a folder, or - alone");
            }
            return Ok(Context::Input { dockerfile: named() });
        }
        if is_remote(path) {
            let dockerfile = match file {
                _ if reads_dockerfile => Dockerfile::Input,
                Some(file) if file.is_absolute() => {
                    Dockerfile::Outside { path: file.to_owned(), given: file.to_string_lossy().into_owned() }
                }
                _ => Dockerfile::Inside(named()),
            };
            return Ok(Context::Remote { url: path.to_owned(), dockerfile });
        }
        let folder = Path::new(path).canonicalize().with_context(|| format!("build context {path}"))?;
        if !folder.is_dir() {
            anyhow::bail!("build context {path}: not a folder; a Dockerfile is named by -f");
        }
        let dockerfile = if reads_dockerfile { Dockerfile::Input } else { Dockerfile::of(&folder, file)? };
        Ok(Context::Folder { folder, dockerfile })
    }

    /// Reads the Dockerfile where this machine has it. Standard input is read here once: hand the text on to
    /// [`Context::attach`].
    ///
    /// # Errors
    /// The disk's refusal.
    pub fn text(&self) -> anyhow::Result<Option<Text>> {
        let (folder, dockerfile) = match self {
            Context::Folder { folder, dockerfile } => (folder.as_path(), dockerfile),
            Context::Remote { dockerfile: Dockerfile::Inside(_), .. } | Context::Input { .. } => return Ok(None),
            Context::Remote { dockerfile, .. } => (Path::new("/"), dockerfile),
        };
        let (name, path) = match dockerfile {
            Dockerfile::Inside(name) => (name.clone(), folder.join(name)),
            Dockerfile::Outside { path, given } => (given.clone(), path.clone()),
            Dockerfile::Input => {
                let text =
                    std::io::read_to_string(std::io::stdin()).context("read the Dockerfile from standard input")?;
                return Ok(Some(Text { name: USUAL.to_owned(), text }));
            }
        };
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Text { name, text: String::from_utf8_lossy(&bytes).into_owned() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let others = if matches!(self, Context::Folder { .. }) { dockerfiles(folder) } else { Vec::new() };
                let name = path.display();
                let others = match others.as_slice() {
                    [] => String::new(),
                    others => format!("; -f names another one, like {}", others.join(", ")),
                };
                anyhow::bail!("failed to read dockerfile: open {name}: no such file or directory{others}")
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Reads the Dockerfile that standard input is; `None` where the context is another.
    ///
    /// # Errors
    /// It is an archive, or can't be read.
    pub fn read_input(&self) -> anyhow::Result<Option<Text>> {
        if !matches!(self, Context::Input { .. }) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("read the Dockerfile from standard input")?;
        if is_archive(bytes.get(..HEAD).unwrap_or(&bytes)) {
            anyhow::bail!("standard input is an archive; unpack it, and name the folder");
        }
        Ok(Some(Text { name: USUAL.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() }))
    }

    /// Whether the Dockerfile is sent beside the URL of its files, which only Boxyard's engine understands.
    pub fn needs_our_engine(&self) -> bool {
        matches!(self, Context::Remote { dockerfile: Dockerfile::Input | Dockerfile::Outside { .. }, .. })
    }

    /// What the ignore file leaves out, where there is one on this machine.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn ignore_rules(&self) -> anyhow::Result<Option<IgnoreRules>> {
        match self {
            Context::Folder { folder, dockerfile: Dockerfile::Inside(name) } => Ok(Some(ignored(folder, name)?.rules)),
            Context::Folder { folder, .. } => Ok(Some(ignored(folder, USUAL)?.rules)),
            _ => Ok(None),
        }
    }

    /// Puts the files into the request. `text` is what [`Context::text`] read.
    ///
    /// # Errors
    /// What can't be read.
    pub async fn attach(&self, call: &mut BuildCall, text: Option<&Text>) -> anyhow::Result<()> {
        match self {
            Context::Remote { url, dockerfile: Dockerfile::Inside(path) } => {
                call.add("remote", url.as_str()).add("dockerfile", path.as_str());
            }
            Context::Remote { url, .. } => {
                let (name, text) = text.map(|text| (text.name.as_str(), text.text.clone())).unwrap_or_default();
                let once = stream::iter([Ok(Frame::data(Bytes::from(text)))]);
                call.context(BodyExt::boxed(StreamBody::new(once)));
                call.add("remote", url.as_str()).add("dockerfilename", name).add("dockerfilefrom", "body");
            }
            Context::Input { dockerfile } => {
                let (body, is_archive) = standard_input().await?;
                call.context(body).add("dockerfile", if is_archive { dockerfile.as_str() } else { USUAL });
            }
            Context::Folder { folder, dockerfile: Dockerfile::Inside(name) } => {
                call.context(folder_body_with(folder, ignored(folder, name)?, Vec::new()))
                    .add("dockerfile", name.as_str());
            }
            Context::Folder { folder, dockerfile } => {
                let beside = match dockerfile {
                    Dockerfile::Outside { path, .. } => fs::read_to_string(with_suffix(path, ".dockerignore")).ok(),
                    _ => None,
                };
                let text = text.map(|text| text.text.as_str()).unwrap_or_default();
                let (name, filter, extra) = carried_along(folder, text, beside)?;
                call.context(folder_body_with(folder, filter, extra)).add("dockerfile", name);
            }
        }
        Ok(())
    }
}

impl Context {
    /// The folder as an engine with a session asks for it, and the Dockerfile's path in it; `None` where it is no folder.
    /// `text` is what [`Context::text`] read.
    ///
    /// # Errors
    /// Ignore rules that make no sense.
    pub fn synced(&self, text: Option<&Text>) -> anyhow::Result<Option<(SyncedFolder, String)>> {
        let Context::Folder { folder, dockerfile } = self else { return Ok(None) };
        if let Dockerfile::Inside(name) = dockerfile {
            let filter = ignored(folder, name)?;
            let variant = filter.variant();
            return Ok(Some((SyncedFolder::new(folder, filter, Vec::new(), &variant), name.clone())));
        }
        let beside = match dockerfile {
            Dockerfile::Outside { path, .. } => fs::read_to_string(with_suffix(path, ".dockerignore")).ok(),
            _ => None,
        };
        let (name, filter, extra) = carried_along(folder, text.map(|it| it.text.as_str()).unwrap_or_default(), beside)?;
        let variant = filter.variant();
        Ok(Some((SyncedFolder::new(folder, filter, extra, &variant), name)))
    }
}

/// A folder of `--build-context`, without what its own `.dockerignore` leaves out.
///
/// # Errors
/// It is no folder; ignore rules that make no sense.
pub fn named_folder(name: &str, path: &str) -> anyhow::Result<SyncedFolder> {
    let told = || format!("--build-context {name}={path}");
    let folder = Path::new(path).canonicalize().with_context(told)?;
    if !folder.is_dir() {
        anyhow::bail!("{}: not a folder", told());
    }
    let text = fs::read_to_string(folder.join(FILE_NAME)).unwrap_or_default();
    let filter = Ignored { rules: IgnoreRules::parse(&text).with_context(told)?, kept: Vec::new(), text };
    let variant = filter.variant();
    Ok(SyncedFolder::new(&folder, filter, Vec::new(), &variant))
}

impl Dockerfile {
    fn of(folder: &Path, file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Dockerfile::Inside(USUAL.to_owned())) };
        let found = file.canonicalize().or_else(|error| folder.join(file).canonicalize().map_err(|_| error));
        let found = found.with_context(|| format!("Dockerfile {}", file.display()))?;
        Ok(match found.strip_prefix(folder) {
            Ok(inside) => Dockerfile::Inside(inside.to_string_lossy().into_owned()),
            Err(_) => Dockerfile::Outside { path: found, given: file.to_string_lossy().into_owned() },
        })
    }
}

/// What of a folder looks like a Dockerfile, by name.
fn dockerfiles(folder: &Path) -> Vec<String> {
    let is_one = |name: &String| {
        let lower = name.to_lowercase();
        let is_named = ["dockerfile", "containerfile"].iter().any(|word| lower.contains(word));
        is_named && !lower.ends_with(FILE_NAME) && folder.join(name).is_file()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(is_one).collect();
    names.sort();
    names.truncate(3);
    names
}

/// The rules of `<Dockerfile>.dockerignore`, else of `.dockerignore`.
fn ignored(folder: &Path, dockerfile: &str) -> anyhow::Result<Ignored> {
    let own = format!("{dockerfile}.dockerignore");
    let text = fs::read_to_string(folder.join(&own)).or_else(|_| fs::read_to_string(folder.join(FILE_NAME)));
    let text = text.unwrap_or_default();
    let rules = IgnoreRules::parse(&text)?;
    Ok(Ignored { rules, kept: vec![dockerfile.to_owned(), FILE_NAME.to_owned(), own], text })
}

/// Files that go along though they are not in the folder.
type Extra = Vec<(PathBuf, Vec<u8>)>;

/// A Dockerfile that is not in the folder goes along under a name of its own, with rules that hide it from COPY.
fn carried_along(folder: &Path, text: &str, beside: Option<String>) -> anyhow::Result<(String, Ignored, Extra)> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let name = format!(".dockerfile.{:016x}", hasher.finish());
    let own = format!("{name}.dockerignore");
    let mut rules = beside.or_else(|| fs::read_to_string(folder.join(FILE_NAME)).ok()).unwrap_or_default();
    let filter = Ignored { rules: IgnoreRules::parse(&rules)?, kept: vec![FILE_NAME.to_owned()], text: rules.clone() };
    rules.push_str(&format!("\n{name}\n{own}\n"));
    let extra = vec![(PathBuf::from(&name), text.as_bytes().to_vec()), (PathBuf::from(&own), rules.into_bytes())];
    Ok((name, filter, extra))
}

/// Standard input as a body, and whether it is an archive; a Dockerfile alone is packed as one.
async fn standard_input() -> anyhow::Result<(RequestBody, bool)> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        anyhow::bail!("a Dockerfile or a tar is wanted on standard input, which is a terminal");
    }
    let mut input = tokio::io::stdin();
    let mut head = Vec::with_capacity(HEAD);
    while head.len() < HEAD && (&mut input).take((HEAD - head.len()) as u64).read_buf(&mut head).await? > 0 {}
    if is_archive(&head) {
        let chunks = stream::iter([Ok(Bytes::from(head))]).chain(ReaderStream::new(input));
        return Ok((BodyExt::boxed(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data)))), true));
    }
    input.read_to_end(&mut head).await.context("read the Dockerfile from standard input")?;
    if head.iter().all(u8::is_ascii_whitespace) {
        anyhow::bail!("standard input is empty: a Dockerfile or a tar is wanted there");
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(head.len() as u64);
    tar.append_data(&mut header, USUAL, head.as_slice())?;
    let mut packed = tar.into_inner()?;
    packed.flush()?;
    let once = stream::iter([Ok(Frame::data(Bytes::from(packed)))]);
    Ok((BodyExt::boxed(StreamBody::new(once)), false))
}

fn is_archive(head: &[u8]) -> bool {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const BZIP2: &[u8] = b"BZh";
    const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    let is_tar = head.get(257..262) == Some(b"ustar") || (head.len() == HEAD && head.iter().all(|byte| *byte == 0));
    is_tar || [GZIP, BZIP2, XZ, ZSTD].iter().any(|magic| head.starts_with(magic))
}

/// Whether the engine has to fetch it: as docker decides.
fn is_remote(path: &str) -> bool {
    let is_scheme = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    is_scheme.iter().any(|prefix| path.starts_with(prefix))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_goes_along_whatever_is_ignored() {
        let rules = IgnoreRules::parse("*\n").unwrap();
        let filter = Ignored { rules, kept: vec!["deploy/Dockerfile".to_owned()], text: String::new() };
        assert!(filter.excludes(Path::new("src")));
        assert!(!filter.excludes(Path::new("deploy/Dockerfile")));
        assert!(filter.is_aside(Path::new("deploy/Dockerfile")) && !filter.is_aside(Path::new("src")));
        assert!(!filter.excludes_all_below(Path::new("deploy")));
        assert!(filter.excludes_all_below(Path::new("src")));
    }

    #[test]
    fn a_context_is_told_by_its_look() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("X"), "FROM scratch").unwrap();
        let outside = other.path().join("X").canonicalize().unwrap();
        let path = folder.path().to_str().unwrap();
        let find =
            |path: &str, file: Option<&str>| Context::find(path, file.map(Path::new)).map_err(|it| it.to_string());
        let of_folder = |dockerfile| Context::Folder { folder: folder.path().canonicalize().unwrap(), dockerfile };
        assert_eq!(find(path, None), Ok(of_folder(Dockerfile::Inside("Dockerfile".into()))));
        assert_eq!(find(path, Some("-")), Ok(of_folder(Dockerfile::Input)));
        let given = outside.to_str().unwrap().to_owned();
        assert_eq!(find(path, Some(&given)), Ok(of_folder(Dockerfile::Outside { path: outside.clone(), given })));
        assert_eq!(find("-", Some("a/D")), Ok(Context::Input { dockerfile: "a/D".into() }));
        let url = "https://host/x.git#main:sub";
        let of_url = |dockerfile| Ok(Context::Remote { url: url.into(), dockerfile });
        assert_eq!(find(url, None), of_url(Dockerfile::Inside("Dockerfile".into())));
        assert_eq!(find(url, Some("a/D")), of_url(Dockerfile::Inside("a/D".into())));
        assert_eq!(find(url, Some("-")), of_url(Dockerfile::Input));
        let given = outside.to_str().unwrap().to_owned();
        assert_eq!(find(url, Some(&given)), of_url(Dockerfile::Outside { path: outside.clone(), given }));
        assert!(find("-", Some("-")).is_err());
        assert!(find(outside.to_str().unwrap(), None).unwrap_err().contains("not a folder"));
        assert!(find("/nowhere/at/all", None).unwrap_err().contains("/nowhere/at/all"));
    }

    #[test]
    fn a_missing_dockerfile_is_told_with_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let text = || Context::find(folder.path().to_str().unwrap(), None).unwrap().text().unwrap_err().to_string();
        assert!(text().ends_with("Dockerfile: no such file or directory"), "{}", text());
        for name in ["web.Dockerfile", "Containerfile", "Dockerfile.dockerignore", "x"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(text().ends_with("; -f names another one, like Containerfile, web.Dockerfile"), "{}", text());
    }

    #[test]
    fn archives_are_told_from_dockerfiles() {
        let mut tar = vec![0; HEAD];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&tar) && is_archive(&[0x1f, 0x8b, 8]) && is_archive(&[0; HEAD]));
        assert!(!is_archive(b"FROM scratch\n") && !is_archive(b""));
    }

    #[test]
    fn a_dockerfile_from_elsewhere_is_hidden_from_copy() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".dockerignore"), "*.log").unwrap();
        let (name, filter, extra) = carried_along(folder.path(), "FROM a", None).unwrap();
        assert!(filter.excludes(Path::new("x.log")) && !filter.excludes(Path::new("x")));
        let rules = IgnoreRules::parse(std::str::from_utf8(&extra[1].1).unwrap()).unwrap();
        assert!(rules.ignores(&name) && rules.ignores("x.log") && !rules.ignores("x"));
    }
}
