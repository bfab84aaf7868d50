//! Which host a person means: `DOCKER_HOST`, `DOCKER_CONTEXT`, or the current Docker context.
//!
//! Contexts are the docker CLI's: `config.json` names the current one, `contexts/meta/<sha256 of the name>/meta.json`
//! holds its endpoint.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Docker's socket on Linux.
const LOCAL_SOCKET: &str = "unix:///var/run/docker.sock";

/// A host, and who chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChoice {
    /// `DOCKER_HOST` says so.
    Environment(String),
    /// A Docker context of this name says so.
    Context {
        /// The context's name.
        name: String,
        /// Its endpoint.
        host: String,
    },
    /// Nobody chose; Docker's own socket.
    Default,
}

/// Why a named context can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// There is none of that name.
    #[error("docker context \"{context}\" was not found in {}", folder.display())]
    Missing {
        /// The name asked for.
        context: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Its description can't be read.
    #[error("docker context \"{context}\" can't be read: {source}")]
    Unreadable {
        /// The name asked for.
        context: String,
        /// The reason.
        source: io::Error,
    },
    /// It names no Docker endpoint.
    #[error("docker context \"{context}\" has no docker endpoint")]
    NoEndpoint {
        /// The name asked for.
        context: String,
    },
}

impl ContextError {
    /// The name of the context that can't be used.
    pub fn context(&self) -> &str {
        match self {
            Self::Missing { context, .. } | Self::Unreadable { context, .. } | Self::NoEndpoint { context } => context,
        }
    }
}

impl HostChoice {
    /// What this process's environment and the user's Docker configuration say.
    ///
    /// # Errors
    /// [`ContextError`] where a context is chosen that can't be used.
    pub fn from_environment() -> Result<Self, ContextError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let folder = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")));
        Self::choose(variable("DOCKER_HOST"), variable("DOCKER_CONTEXT"), folder.as_deref())
    }

    /// The choice from `DOCKER_HOST`, `DOCKER_CONTEXT` and the Docker configuration's folder, in this order.
    ///
    /// # Errors
    /// [`ContextError`] where a context is chosen that can't be used.
    pub fn choose(host: Option<String>, context: Option<String>, folder: Option<&Path>) -> Result<Self, ContextError> {
        if let Some(host) = host {
            return Ok(Self::Environment(host));
        }
        let name = context.or_else(|| current_context(folder?));
        match (name, folder) {
            (Some(name), Some(folder)) if name != "default" => Self::named(&name, folder),
            _ => Ok(Self::Default),
        }
    }

    /// The context `name` of the Docker configuration in `folder`.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn named(name: &str, folder: &Path) -> Result<Self, ContextError> {
        let context = || name.to_owned();
        let meta = folder.join("contexts/meta").join(hex::encode(Sha256::digest(name))).join("meta.json");
        let text = fs::read(&meta).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ContextError::Missing { context: context(), folder: folder.to_owned() },
            _ => ContextError::Unreadable { context: context(), source },
        })?;
        let meta: Value = serde_json::from_slice(&text)
            .map_err(|error| ContextError::Unreadable { context: context(), source: error.into() })?;
        match meta.pointer("/Endpoints/docker/Host").and_then(Value::as_str) {
            Some(host) => Ok(Self::Context { name: context(), host: host.to_owned() }),
            None => Err(ContextError::NoEndpoint { context: context() }),
        }
    }

    /// The host's address.
    pub fn host(&self) -> &str {
        match self {
            Self::Environment(host) | Self::Context { host, .. } => host,
            Self::Default => LOCAL_SOCKET,
        }
    }
}

fn current_context(folder: &Path) -> Option<String> {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).ok()?).ok()?;
    config.get("currentContext").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with_context(name: &str, host: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta").join(hex::encode(Sha256::digest(name)));
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), format!(r#"{{"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#)).unwrap();
        fs::write(folder.path().join("config.json"), format!(r#"{{"currentContext":"{name}"}}"#)).unwrap();
        folder
    }

    #[test]
    fn the_environment_goes_before_the_context() {
        let folder = folder_with_context("far", "ssh://far");
        let choose = |host: Option<&str>, context: Option<&str>| {
            HostChoice::choose(host.map(str::to_owned), context.map(str::to_owned), Some(folder.path()))
        };
        assert_eq!(choose(Some("tcp://h:1"), None).unwrap().host(), "tcp://h:1");
        assert_eq!(choose(None, None).unwrap().host(), "ssh://far");
        assert_eq!(choose(None, Some("default")).unwrap(), HostChoice::Default);
        assert!(choose(None, Some("nowhere")).unwrap_err().to_string().contains("\"nowhere\" was not found"));
    }
}
