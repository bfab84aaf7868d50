//! The Dockerfiles that the arguments of `lint` and `fmt` mean: files as they are named, and all that lie in folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that hold other people's files.
const OTHERS: [&str; 2] = ["node_modules", "vendor"];
/// Folders within folders are looked at so deep.
const MAX_DEPTH: usize = 32;

/// The files that `arguments` name, in their order; of a folder all Dockerfiles in it and below, sorted. With it comes
/// which arguments name none, and why.
pub fn named(arguments: &[PathBuf]) -> (Vec<PathBuf>, Vec<(PathBuf, String)>) {
    let (mut files, mut refused) = (Vec::new(), Vec::new());
    for argument in arguments {
        if !argument.is_dir() {
            files.push(argument.clone());
            continue;
        }
        let before = files.len();
        walk(argument, 0, &mut files);
        if files.len() == before {
            refused.push((argument.clone(), "no Dockerfile is in this folder".to_owned()));
        }
    }
    (files, refused)
}

/// Adds the Dockerfiles of a folder. What can't be listed is passed over, and so are links and hidden folders.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        // `.` is left out of what is told.
        let path = if folder == Path::new(".") { PathBuf::from(entry.file_name()) } else { entry.path() };
        match entry.file_type() {
            Ok(kind) if kind.is_file() && is_dockerfile(&name) => files.push(path),
            Ok(kind) if kind.is_dir() && depth < MAX_DEPTH && is_walked(&name) => walk(&path, depth + 1, files),
            _ => {}
        }
    }
}

/// Whether a folder may hold Dockerfiles of this project.
fn is_walked(name: &str) -> bool {
    !name.starts_with('.') && !OTHERS.contains(&name)
}

/// Whether a file is a Dockerfile by its name; templates of one are none.
fn is_dockerfile(name: &str) -> bool {
    const OTHER_KINDS: [&str; 9] =
        [".dockerignore", ".erb", ".in", ".j2", ".md", ".mustache", ".template", ".tmpl", ".tpl"];
    let name = name.to_ascii_lowercase();
    let is_one = ["dockerfile", "containerfile"].iter().any(|kind| {
        let rest = name.strip_prefix(kind);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) || name.ends_with(&format!(".{kind}"))
    });
    is_one && !OTHER_KINDS.iter().any(|end| name.ends_with(end))
}

/// A Dockerfile's text, and whether it was UTF-8 throughout; builds take other bytes too, as `U+FFFD`.
///
/// # Errors
/// It is binary data.
pub fn text_of(bytes: Vec<u8>) -> io::Result<(String, bool)> {
    if bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is binary data, no Dockerfile"));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
    })
}

/// Why a file that is not UTF-8 is not written to.
///
/// # Errors
/// Always.
pub fn not_utf8<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "its text is not UTF-8, so writing it would change it: convert it first, as by iconv -f latin1 -t utf-8",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_stand_for_the_dockerfiles_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "Dockerfile",
            "a/Dockerfile.dev",
            "a/Dockerfile.dockerignore",
            "a/Dockerfile.j2",
            "b/c/web.Dockerfile",
            "b/Containerfile",
            "b/Dockerfiles",
            ".git/Dockerfile",
            "node_modules/x/Dockerfile",
            "readme",
        ];
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("..", folder.path().join("b/up")).unwrap();
        let (found, refused) = named(&[folder.path().to_owned(), PathBuf::from("-"), folder.path().join(".git/x")]);
        let shown: Vec<_> =
            found.iter().map(|it| it.strip_prefix(folder.path()).unwrap_or(it).display().to_string()).collect();
        assert_eq!(shown, ["Dockerfile", "a/Dockerfile.dev", "b/Containerfile", "b/c/web.Dockerfile", "-", ".git/x"]);
        assert_eq!(refused, []);
        let (found, refused) = named(&[folder.path().join("node_modules")]);
        assert_eq!((found.len(), refused.len()), (1, 0), "a folder that is named is looked at");
        assert_eq!(named(&[folder.path().join("a")]).0.len(), 1);
        fs::remove_file(folder.path().join("a/Dockerfile.dev")).unwrap();
        assert_eq!(named(&[folder.path().join("a")]).1[0].1, "no Dockerfile is in this folder");
    }

    #[test]
    fn texts_and_other_bytes() {
        assert_eq!(text_of(b"FROM a".to_vec()).unwrap(), ("FROM a".to_owned(), true));
        assert_eq!(text_of(b"# Jos\xe9\n".to_vec()).unwrap(), ("# Jos\u{fffd}\n".to_owned(), false));
        assert!(text_of(b"\x7fELF\0".to_vec()).is_err());
    }
}
