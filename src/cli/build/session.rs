//! `--secret`, `--ssh` and the folders of `--cache-from` and `--cache-to`: what the build may ask us for while it runs.
//!
//! What can be known before is told before: a file that is not there, a variable that is not set, a key with a passphrase. A
//! secret is read when a step asks for it, and goes from here to the sandbox's memory; a key never goes anywhere, as it is
//! signed with here.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::flags::Build;
use crate::buildkit::{CacheKind, CacheWay};
use crate::client::Docker;
use crate::client::build_cache::CacheFolder;
use crate::client::build_session::{Agent, BuildSession, Providers, SecretSource};
use crate::client::ssh::Key;

/// A secret longer than this is none: BuildKit's limit, and the engine's.
const MAX_SECRET: u64 = 500 << 10;

/// What this machine has, so far as flags name it.
struct Host {
    variable: fn(&str) -> Option<String>,
    file: fn(&str) -> Option<Metadata>,
}

const HERE: Host = Host { variable: |name| std::env::var(name).ok(), file: |path| std::fs::metadata(path).ok() };

/// All that the flags let the build ask for.
///
/// # Errors
/// A flag that can't be read, or names what is not there.
pub fn providers(flags: &Build) -> anyhow::Result<Providers> {
    let mut providers = Providers::default();
    for text in &flags.secret {
        let (id, source) = secret(text, &HERE)?;
        providers.secrets.insert(id, source);
    }
    for text in &flags.ssh {
        let (id, agent) = agent(text, &HERE)?;
        if providers.agents.insert(id.clone(), agent).is_some() {
            anyhow::bail!("--ssh {text}: {id} is forwarded already");
        }
    }
    for (way, texts) in [(CacheWay::From, &flags.cache_from), (CacheWay::To, &flags.cache_to)] {
        for (index, text) in texts.iter().enumerate() {
            let spec = way.parse(text)?;
            if spec.kind == CacheKind::Local {
                let folder = Box::new(CacheFolder(std::path::absolute(&spec.folder)?));
                match way {
                    CacheWay::From => drop(providers.contexts.insert(way.in_session(index), folder)),
                    CacheWay::To => drop(providers.outputs.insert(way.in_session(index), folder)),
                }
            }
        }
    }
    Ok(providers)
}

/// Opens the session, where there is something to ask for. Keep it until the build has ended.
///
/// # Errors
/// The host can't be reached, or has no sessions.
pub async fn open(docker: &Docker, providers: Providers) -> anyhow::Result<Option<BuildSession>> {
    match providers.is_empty() {
        true => Ok(None),
        false => Ok(Some(docker.build_session(providers).await?)),
    }
}

/// `id=ID[,src=FILE|,env=VAR][,type=file|env]`; with an id alone, the variable of that name, else the file.
fn secret(text: &str, host: &Host) -> anyhow::Result<(String, SecretSource)> {
    let mut given: HashMap<&str, &str> = HashMap::new();
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            anyhow::bail!("--secret {text}: invalid field '{field}' must be a key=value pair");
        };
        let key = match key.to_ascii_lowercase().as_str() {
            "id" => "id",
            "src" | "source" => "src",
            "env" => "env",
            "type" if matches!(value, "file" | "env") => "type",
            "type" => anyhow::bail!("--secret {text}: unsupported secret type {value:?}: file and env are known"),
            _ => anyhow::bail!("--secret {text}: unexpected key '{key}' in '{field}': id, src, env and type are known"),
        };
        given.insert(key, value);
    }
    let Some(id) = given.get("id").filter(|id| !id.is_empty()) else {
        anyhow::bail!("--secret {text}: its id is missing, as in id=NAME,src=FILE");
    };
    let is_env = given.get("type") == Some(&"env");
    let (env, file) = match (given.get("env"), given.get("src")) {
        (Some(env), _) => (Some(*env), None),
        (None, Some(src)) if is_env => (Some(*src), None),
        (None, Some(src)) => (None, Some(*src)),
        (None, None) if is_env || (host.variable)(id).is_some() => (Some(*id), None),
        (None, None) => (None, Some(*id)),
    };
    let source = match (env, file) {
        (Some(env), _) if (host.variable)(env).is_none() => {
            anyhow::bail!("--secret {text}: the variable {env} is not set, or is not text")
        }
        (Some(env), _) => SecretSource::Env(env.to_owned()),
        (None, file) => SecretSource::File(secret_file(text, file.unwrap_or_default(), host)?),
    };
    Ok(((*id).to_owned(), source))
}

fn secret_file(text: &str, path: &str, host: &Host) -> anyhow::Result<PathBuf> {
    match (host.file)(path) {
        None => anyhow::bail!("--secret {text}: {path}: no such file"),
        Some(metadata) if metadata.is_dir() => anyhow::bail!("--secret {text}: {path} is a folder"),
        Some(metadata) if metadata.len() > MAX_SECRET => {
            anyhow::bail!("--secret {text}: {path} has {} bytes; at most {MAX_SECRET} are carried", metadata.len())
        }
        Some(_) => Ok(std::path::absolute(path)?),
    }
}

/// `default`, `ID`, `ID=SOCKET`, or `ID=KEYFILE[,KEYFILE]`.
fn agent(text: &str, host: &Host) -> anyhow::Result<(String, Agent)> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id };
    let paths = match paths {
        "" => vec![(host.variable)("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).ok_or_else(|| {
            anyhow::anyhow!(
                "--ssh {text}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set, or name a key: --ssh {id}=KEYFILE"
            )
        })?],
        paths => paths.split(',').map(str::to_owned).collect(),
    };
    let mut keys = Vec::new();
    for path in &paths {
        match (host.file)(path) {
            None => anyhow::bail!("--ssh {text}: {path}: no such file"),
            Some(metadata) if metadata.is_dir() => anyhow::bail!("--ssh {text}: {path} is a folder"),
            Some(metadata) if metadata.file_type().is_socket() => match paths.as_slice() {
                [socket] => return Ok((id.to_owned(), Agent::Socket(std::path::absolute(socket)?))),
                _ => anyhow::bail!("--ssh {text}: {path} is an agent's socket, which stands alone or not at all"),
            },
            Some(_) => keys.push(key(text, id, path)?),
        }
    }
    Ok((id.to_owned(), Agent::Keys(keys)))
}

fn key(text: &str, id: &str, path: &str) -> anyhow::Result<Key> {
    Key::read(Path::new(path)).map_err(|error| {
        let way_out = match error.wants_agent() {
            true => format!("; load it into an agent (ssh-add {path}) and forward that: --ssh {id}"),
            false => String::new(),
        };
        anyhow::anyhow!("--ssh {text}: {path}: {error}{way_out}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Host = Host {
        variable: |name| ["TOKEN", "npm"].contains(&name).then(|| "value".to_owned()),
        file: |path| std::fs::metadata(path).ok(),
    };

    #[test]
    fn secrets_come_in_buildxs_spellings() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let read = |text: &str| secret(text, &NOWHERE).map_err(|error| error.to_string());
        let env = |id: &str, name: &str| Ok((id.to_owned(), SecretSource::Env(name.to_owned())));
        let of_file = |id: &str| Ok((id.to_owned(), SecretSource::File(file.path().to_owned())));
        assert_eq!(read("id=a,env=TOKEN"), env("a", "TOKEN"));
        assert_eq!(read("id=npm"), env("npm", "npm"));
        assert_eq!(read("type=env,id=a,src=TOKEN"), env("a", "TOKEN"));
        assert_eq!(read(&format!("id=a,src={path}")), of_file("a"));
        assert_eq!(read(&format!("type=file,source={path},ID=a")), of_file("a"));
        assert!(read("id=a,src=/nowhere").unwrap_err().ends_with("/nowhere: no such file"));
        assert!(read("id=a,env=NOT_SET").unwrap_err().contains("the variable NOT_SET is not set"));
        assert!(read("src=x").unwrap_err().contains("its id is missing"));
        assert!(read("id=a,path=x").unwrap_err().contains("unexpected key 'path' in 'path=x'"));
        assert!(read("a").unwrap_err().contains("must be a key=value pair"));
    }

    #[test]
    fn agents_are_sockets_or_keys() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (key, other) = (folder.path().join("key"), folder.path().join("other"));
        std::fs::write(&key, include_str!("../../client/ssh/test_keys/ed25519")).unwrap();
        std::fs::write(&other, "-----BEGIN DSA PRIVATE KEY-----\n-----END DSA PRIVATE KEY-----\n").unwrap();
        let read = |text: String| match agent(&text, &NOWHERE) {
            Ok((id, Agent::Socket(path))) => Ok(format!("{id} at {}", path.display())),
            Ok((id, Agent::Keys(keys))) => Ok(format!("{id} with {}", keys.len())),
            Err(error) => Err(error.to_string()),
        };
        let (socket, key, other) = (socket.display(), key.display(), other.display());
        assert_eq!(read(format!("git={socket}")), Ok(format!("git at {socket}")));
        assert_eq!(read(format!("={socket}")), Ok(format!("default at {socket}")));
        assert_eq!(read(format!("git={key},{key}")), Ok("git with 2".to_owned()));
        assert!(read("default".to_owned()).unwrap_err().contains("make sure SSH_AUTH_SOCK is set"));
        assert!(
            read(format!("git={other}"))
                .unwrap_err()
                .contains(&format!("ssh-add {other}) and forward that: --ssh git"))
        );
        assert!(read(format!("git={key},{socket}")).unwrap_err().contains("stands alone"));
        assert!(read(format!("git={key},/nowhere")).unwrap_err().ends_with("/nowhere: no such file"));
    }
}
