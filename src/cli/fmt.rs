//! `fmt`: Dockerfiles in one layout, printed, compared or written back. Needs no engine.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::dockerfiles;
use crate::dockerfile::fmt::{Style, format, unified_diff};

/// What some file would have changed, in `--check`.
const DIFFERS: u8 = 1;
/// Some file could not be read or laid out.
const FAILED: u8 = 2;

/// Which files, and what becomes of the result.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0; 1 where --check found a file that is not formatted; 2 where a file could not be \
    read or has a syntax error (it is left as it is, the others are done)."
)]
pub struct Fmt {
    /// The Dockerfiles, or folders of them; - is the standard input
    #[arg(default_value = "Dockerfile", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the result into the files instead of printing it
    #[arg(short, long)]
    write: bool,
    /// Only name the files that are not formatted, and end with 1 where there are some
    #[arg(short, long, conflicts_with = "write")]
    check: bool,
    /// Print what changes instead of the whole text
    #[arg(short, long)]
    diff: bool,
    /// By how many blanks continued lines are indented
    #[arg(short, long, default_value_t = Style::default().indent, value_name = "COLUMNS")]
    indent: usize,
}

/// Formats the files.
///
/// # Errors
/// The standard output is gone; what is wrong with a file is told and counts for the exit code.
pub fn format_files(fmt: &Fmt) -> anyhow::Result<ExitCode> {
    let mut code = 0;
    let (files, refused) = dockerfiles::named(&fmt.files);
    for (folder, why) in refused {
        eprintln!("boxyard: {}: {why}", folder.display());
        code = FAILED;
    }
    for file in &files {
        match one(fmt, file) {
            Ok(differs) => code = code.max(if differs && fmt.check { DIFFERS } else { 0 }),
            Err(error)
                if error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe) =>
            {
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => {
                eprintln!("boxyard: {}", super::causes(&error));
                code = FAILED;
            }
        }
    }
    Ok(ExitCode::from(code))
}

/// Formats one file and tells whether that changes it.
fn one(fmt: &Fmt, file: &Path) -> anyhow::Result<bool> {
    let is_input = file == Path::new("-");
    let name = if is_input { "<standard input>".to_owned() } else { file.display().to_string() };
    let text = if is_input { input() } else { fs::read(file) }.and_then(text_of).with_context(|| name.clone())?;
    let style = Style { indent: fmt.indent };
    let laid_out = format(&text, style).map_err(|error| anyhow::anyhow!("{name}: {}", error.parse_error()))?;
    let differs = laid_out != text;
    let mut out = io::stdout().lock();
    if fmt.diff {
        out.write_all(unified_diff(&name, &text, &laid_out).as_bytes())?;
    } else if fmt.check && differs {
        writeln!(out, "{name}")?;
    }
    let writes = fmt.write && !is_input;
    if writes && differs {
        replace(file, &laid_out).with_context(|| format!("write {name}"))?;
    }
    if !writes && !fmt.diff && !fmt.check {
        out.write_all(laid_out.as_bytes())?;
    }
    out.flush()?;
    Ok(differs)
}

fn input() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    match dockerfiles::text_of(bytes)? {
        (text, true) => Ok(text),
        (_, false) => dockerfiles::not_utf8(),
    }
}

/// Puts `text` in the place of the file in one step, so that nobody ever reads half of it. A link keeps leading there.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let file = fs::canonicalize(file)?;
    let permissions: Permissions = fs::metadata(&file)?.permissions();
    let folder = file.parent().context("has no folder")?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(permissions)?;
    new.persist(&file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fmt(file: &Path) -> Fmt {
        Fmt { files: vec![file.to_owned()], write: false, check: false, diff: false, indent: 4 }
    }

    fn code(fmt: &Fmt) -> String {
        format!("{:?}", format_files(fmt).unwrap())
    }

    #[test]
    fn files_are_checked_and_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Dockerfile");
        fs::write(&file, "from  a\nrun b").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("Dockerfile", &link).unwrap();

        assert_eq!(code(&Fmt { check: true, ..fmt(&file) }), format!("{:?}", ExitCode::from(DIFFERS)));
        assert_eq!(code(&Fmt { write: true, ..fmt(&link) }), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(fs::read_to_string(&file).unwrap(), "FROM a\nRUN b\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(code(&Fmt { check: true, ..fmt(&file) }), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_with_an_error_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Dockerfile");
        fs::write(&file, "from  a\nrunn b").unwrap();
        assert_eq!(code(&Fmt { write: true, ..fmt(&file) }), format!("{:?}", ExitCode::from(FAILED)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "from  a\nrunn b");
        assert_eq!(code(&fmt(&folder.path().join("none"))), format!("{:?}", ExitCode::from(FAILED)));
    }
}
