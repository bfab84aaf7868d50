//! The OCI runtimes a container can be run by: our own, those that are installed, and those the person added.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bollard_stubs::models as docker;

use super::EngineError;

/// The name of our own runtime, which needs no program.
pub const BUILT_IN: &str = "boxyard";

/// Runtimes that are found by their names where they are installed.
const WELL_KNOWN: [&str; 2] = ["runc", "crun"];

/// What `--init` needs a runtime of others to run first, by the names such a program is packaged under.
const INITS: [&str; 3] = ["docker-init", "tini", "catatonit"];

/// Where programs of the system are, whatever `PATH` says: a service's may say little.
const USUAL_FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The runtimes of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtimes {
    added: BTreeMap<String, PathBuf>,
    folders: Vec<PathBuf>,
}

/// Why a runtime can't be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeSetting {
    /// It is not `NAME=PATH`.
    #[error("{0}: not NAME=PATH with an absolute path")]
    Malformed(String),
    /// It would take the place of our own.
    #[error("{0}: boxyard is the built-in runtime; choose another name")]
    BuiltIn(String),
}

impl Runtimes {
    /// The well-known ones in the folders of `path`, the process's `PATH`.
    pub fn in_path(path: &OsStr) -> Self {
        let folders = std::env::split_paths(path).chain(USUAL_FOLDERS.split(':').map(PathBuf::from));
        let mut kept: Vec<PathBuf> = Vec::new();
        for folder in folders.filter(|folder| folder.is_absolute()) {
            if !kept.contains(&folder) {
                kept.push(folder);
            }
        }
        Self { added: BTreeMap::new(), folders: kept }
    }

    /// The same with one more, as `--add-runtime NAME=PATH` says. It need not be there yet.
    ///
    /// # Errors
    /// What is wrong with the setting.
    pub fn with(mut self, setting: &str) -> Result<Self, RuntimeSetting> {
        let malformed = || RuntimeSetting::Malformed(setting.to_owned());
        let (name, path) = setting.split_once('=').ok_or_else(malformed)?;
        if name.is_empty() || !Path::new(path).is_absolute() {
            return Err(malformed());
        }
        if name == BUILT_IN {
            return Err(RuntimeSetting::BuiltIn(setting.to_owned()));
        }
        self.added.insert(name.to_owned(), path.into());
        Ok(self)
    }

    /// Whether a container may be created with this runtime.
    ///
    /// # Errors
    /// 400 with Docker's words where nobody knows it.
    pub fn check(&self, name: &str) -> Result<(), EngineError> {
        if name.is_empty() || name == BUILT_IN || self.path_of(name).is_some() {
            return Ok(());
        }
        Err(EngineError::invalid(format!("unknown or invalid runtime name: {name}")))
    }

    /// The program of the runtime called `name`; `None` is our own.
    ///
    /// # Errors
    /// One that was there when the container was created and no longer is.
    pub fn program(&self, name: &str) -> Result<Option<PathBuf>, EngineError> {
        if name.is_empty() || name == BUILT_IN {
            return Ok(None);
        }
        self.path_of(name).map(Some).ok_or_else(|| {
            EngineError::system(format!(
                "runtime \"{name}\" is not installed (any more): there is no {name} in {}; install it, or name its program \
                 with `boxyard serve --add-runtime {name}=PATH`, or create the container anew with --runtime {BUILT_IN}",
                self.folders.iter().map(|folder| folder.to_string_lossy()).collect::<Vec<_>>().join(":")
            ))
        })
    }

    /// A program to be the first process of a container with `--init`, under a runtime of others.
    ///
    /// # Errors
    /// Docker's words where none is installed.
    pub fn init(&self) -> Result<PathBuf, EngineError> {
        INITS.iter().find_map(|name| self.installed(name)).ok_or_else(|| {
            EngineError::system(format!(
                "exec: \"{}\": executable file not found in $PATH; a runtime other than {BUILT_IN} needs one of {} for \
                 --init",
                INITS[0],
                INITS.join(", ")
            ))
        })
    }

    /// All of them, for `docker info`.
    pub fn shown(&self) -> HashMap<String, docker::Runtime> {
        let runtime = |path: String| docker::Runtime { path: Some(path), ..Default::default() };
        let found = WELL_KNOWN.iter().filter_map(|name| Some(((*name).to_owned(), self.path_of(name)?)));
        let added = self.added.iter().map(|(name, path)| (name.clone(), path.clone()));
        let others = found.chain(added).map(|(name, path)| (name, runtime(path.to_string_lossy().into_owned())));
        others.chain([(BUILT_IN.to_owned(), runtime(BUILT_IN.to_owned()))]).collect()
    }

    fn path_of(&self, name: &str) -> Option<PathBuf> {
        match self.added.get(name) {
            Some(path) => Some(path.clone()),
            None if WELL_KNOWN.contains(&name) => self.installed(name),
            None => None,
        }
    }

    /// Looked for at each question: what is installed while the engine runs can be used at once.
    fn installed(&self, name: &str) -> Option<PathBuf> {
        let is_program = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        self.folders.iter().map(|folder| folder.join(name)).find(is_program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_found_added_and_refused() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("crun");
        std::fs::write(&program, "").unwrap();
        let runtimes = Runtimes { added: BTreeMap::new(), folders: vec![folder.path().to_owned()] };
        assert_eq!(runtimes.check("crun").unwrap_err().message(), "unknown or invalid runtime name: crun");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(runtimes.program("crun").unwrap(), Some(program.clone()));
        assert_eq!(runtimes.program("boxyard").unwrap(), None);
        assert!(runtimes.check("kata").is_err());
        let runtimes = runtimes.with("kata=/opt/kata").unwrap();
        assert_eq!(runtimes.program("kata").unwrap(), Some("/opt/kata".into()));
        let mut names: Vec<String> = runtimes.shown().into_keys().collect();
        names.sort();
        assert_eq!(names, ["boxyard", "crun", "kata"]);
        std::fs::remove_file(&program).unwrap();
        assert!(runtimes.program("crun").unwrap_err().message().contains("--add-runtime crun=PATH"));
    }

    #[test]
    fn a_setting_is_a_name_and_a_path() {
        let with = |setting: &str| Runtimes::default().with(setting).map(drop).map_err(|error| error.to_string());
        assert_eq!(with("x=/y"), Ok(()));
        assert_eq!(with("x=y").unwrap_err(), "x=y: not NAME=PATH with an absolute path");
        assert!(with("=/y").is_err() && with("x").is_err() && with("boxyard=/y").is_err());
    }

    #[test]
    fn an_init_is_looked_for_by_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let runtimes = Runtimes { added: BTreeMap::new(), folders: vec![folder.path().to_owned()] };
        assert!(runtimes.init().unwrap_err().message().starts_with("exec: \"docker-init\": executable file not found"));
        let tini = folder.path().join("tini");
        std::fs::write(&tini, "").unwrap();
        std::fs::set_permissions(&tini, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(runtimes.init().unwrap(), tini);
    }
}
