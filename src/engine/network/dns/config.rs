//! What a container's resolver knows: its settings, and the table of names that the engine rewrites.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::engine::network::error::NetworkError;

/// The settings of one container's resolver, handed to the shim at spawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Where the [`NameTable`] is; replaced atomically whenever a member of its networks comes or goes.
    pub names_path: PathBuf,
    /// Who answers for all other names, in order of preference; asked from the host's network namespace.
    pub upstreams: Vec<IpAddr>,
}

/// The names a container can resolve without asking anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameTable {
    /// Names in lower case, without a final dot, to addresses.
    pub names: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Addresses to the name a reverse lookup answers.
    pub addresses: BTreeMap<Ipv4Addr, String>,
    /// Whether other names are asked of the upstreams; not on internal networks.
    pub forwards: bool,
}

/// The name table as it is on disk, read again when it was replaced.
#[derive(Debug)]
pub struct Names {
    path: PathBuf,
    table: NameTable,
    seen: Option<Version>,
}

/// What tells one version of the file from another: each is a file of its own.
type Version = (u64, u64, Option<SystemTime>);

impl Names {
    /// The names at `path`, not read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, table: NameTable::default(), seen: None }
    }

    /// The table as of now. While there is no readable file, the last one holds.
    pub fn now(&mut self) -> &NameTable {
        let version = fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino(), file.modified().ok()));
        if version.is_some() && version != self.seen {
            let fresh = fs::read(&self.path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            if let Some(fresh) = fresh {
                self.table = fresh;
                self.seen = version;
            }
        }
        &self.table
    }
}

/// Replaces the name table at `path`, so that a reader has the old or the new one whole. Without its folder the container
/// is gone, and nothing is written. It is of use only to the running container, so it need not survive a power cut.
pub fn write_table(path: &Path, table: &NameTable) -> Result<(), NetworkError> {
    let refused = |source| NetworkError::File { action: "write", path: path.to_owned(), source };
    let text = serde_json::to_vec(table).map_err(|error| refused(io::Error::other(error)))?;
    let fresh = path.with_extension("json.new");
    match fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(error)),
        _ => Ok(()),
    }
}
