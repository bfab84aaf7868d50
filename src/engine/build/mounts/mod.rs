//! The mounts of a RUN, ready to be made: sources found, caches leased, secrets in memory, agents' sockets listening.
//!
//! [`Sources`] is what the cache's key needs; [`Mounts`] is what the sandbox needs, and owns all of it until the command
//! has ended. A secret's content is in an anonymous file of memory, which the sandbox's first process reads by its
//! descriptor and copies into memory of its own: no disk, no plan, no log ever sees it.

mod agent;
mod cache_mounts;
mod shelf;
mod source;
mod targets;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;

use self::agent::AgentSocket;
pub(super) use self::cache_mounts::{CacheKey, CacheMounts, Lease, Want};
use self::source::path_of;
pub(super) use self::source::{Origin, Source};
pub(super) use self::targets::Targets;
use super::plan::{Asked, CacheMount, Mounted, RunMount};
use super::session::Session;
use crate::engine::oci::{EnvFrom, MountKind, MountPlan, Scratch};
use crate::engine::{EngineError, ErrorKind};

/// Where programs look for an ssh agent.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// What the mounts' files are, by the place of each mount in the step.
#[derive(Default)]
pub(super) struct Sources {
    found: BTreeMap<usize, Found>,
}

struct Found {
    source: Source,
    /// What counts of it for the cache.
    facts: BTreeMap<String, String>,
    is_folder: bool,
}

impl Sources {
    /// Takes in what mount `at` shows; looks at the files, which may take long.
    pub(super) fn add(&mut self, at: usize, mount: &RunMount, source: Source) -> Result<(), EngineError> {
        let (path, from) = match &mount.what {
            Mounted::Bind { from, source, .. } => (source, from),
            Mounted::Cache { cache, source, .. } => (source, &cache.from),
            _ => return Ok(()),
        };
        let from = from.as_deref().unwrap_or_default();
        let found = match mount.what {
            Mounted::Cache { .. } => {
                let facts = source.name().map(|name| (format!("{from}:/"), name)).into_iter().collect();
                Found { facts, is_folder: true, source }
            }
            _ => {
                let (facts, is_folder) = source.look(path, from)?;
                Found { facts, is_folder, source }
            }
        };
        self.found.insert(at, found);
        Ok(())
    }

    /// What counts of the files for the cache.
    pub(super) fn facts(&self) -> BTreeMap<String, String> {
        self.found.values().flat_map(|found| found.facts.clone()).collect()
    }

    /// The caches that `mounts` want.
    pub(super) fn wants<'a>(&'a self, mounts: &'a [RunMount]) -> impl Iterator<Item = Want> + 'a {
        mounts.iter().enumerate().filter_map(|(at, mount)| match &mount.what {
            Mounted::Cache { cache, .. } => Some(self.want(at, cache)),
            _ => None,
        })
    }

    fn want(&self, at: usize, cache: &CacheMount) -> Want {
        let found = self.found.get(&at);
        let seed = found.map(|found| (found.source.tree.clone(), found.source.name().unwrap_or_default()));
        Want { id: cache.id.clone(), sharing: cache.sharing, owner: cache.owner, seed }
    }
}

/// All that a command's mounts are made of; what it owns goes when the command has ended.
#[derive(Default)]
pub(super) struct Mounts {
    /// What is mounted, in order.
    pub plans: Vec<MountPlan>,
    /// Where, and whether that is a folder.
    pub places: Vec<(String, bool)>,
    /// Variables whose values are secret.
    pub secret_env: Vec<EnvFrom>,
    /// Other variables that come with mounts, unless the stage sets them.
    pub env: BTreeMap<String, String>,
    _secrets: Vec<File>,
    _agents: Vec<AgentSocket>,
    _leases: BTreeMap<CacheKey, Lease>,
}

/// What [`Mounts::prepare`] works with.
pub(super) struct Workshop<'a> {
    /// The step's mounts.
    pub mounts: &'a [RunMount],
    /// The files of binds and caches.
    pub sources: &'a Sources,
    /// The caches of [`Sources::wants`].
    pub leases: BTreeMap<CacheKey, Lease>,
    /// The client; `None` where the build has no session.
    pub session: Option<Session>,
    /// A folder that goes with the step.
    pub folder: &'a Path,
}

impl Mounts {
    /// Makes ready all that `workshop` names.
    pub(super) async fn prepare(mut workshop: Workshop<'_>) -> Result<Self, EngineError> {
        let mut all = Self { _leases: std::mem::take(&mut workshop.leases), ..Self::default() };
        for (at, mount) in workshop.mounts.iter().enumerate() {
            let target = mount.target.as_deref();
            match &mount.what {
                Mounted::Bind { source, read_only, .. } => {
                    let Some(found) = workshop.sources.found.get(&at) else { continue };
                    let plan = bind(found, target.unwrap_or_default(), source, *read_only, &workshop, at)?;
                    all.add(plan, found.is_folder);
                }
                Mounted::Cache { cache, source, read_only } => {
                    let key = workshop.sources.want(at, cache).key();
                    let Some(lease) = all._leases.get(&key) else { continue };
                    let plan = cache_bind(&lease.data(), target.unwrap_or_default(), source, *read_only, cache)?;
                    all.add(plan, is_folder_inside(&lease.data(), source));
                }
                Mounted::Tmpfs { size, read_only } => {
                    let size = size.map(|size| format!("size={size}"));
                    let plan =
                        MountPlan::tmpfs(target.unwrap_or_default(), size.into_iter().chain(["mode=1777".to_owned()]));
                    all.add(if *read_only { plan.read_only() } else { plan }, true);
                }
                Mounted::Secret { asked, env } => {
                    all.secret(asked, target, env.as_deref(), workshop.session.as_ref()).await?;
                }
                Mounted::Ssh(asked) => {
                    let name = format!("agent.{at}");
                    all.agent(asked, target.unwrap_or_default(), &workshop, &name).await?;
                }
            }
        }
        Ok(all)
    }

    fn add(&mut self, plan: MountPlan, is_folder: bool) {
        self.places.push((plan.target.to_string_lossy().into_owned(), is_folder));
        self.plans.push(plan);
    }

    async fn secret(
        &mut self,
        asked: &Asked,
        target: Option<&str>,
        env: Option<&str>,
        session: Option<&Session>,
    ) -> Result<(), EngineError> {
        let id = &asked.id;
        let content = match session {
            Some(session) => session.secret(id).await?,
            None => None,
        };
        let Some(content) = content else {
            if !asked.required {
                return Ok(());
            }
            let way_out = format!("give it with `boxyard build --secret id={id},src=FILE` or `id={id},env=NAME`");
            return Err(EngineError::new(ErrorKind::NotFound, format!("secret {id}: not found; {way_out}")));
        };
        let failed = |error: io::Error| EngineError::system(format!("hold secret {id:?} in memory: {error}"));
        let memory = in_memory(&content).map_err(failed)?;
        let source = path_of(&memory);
        if let Some(env) = env {
            self.secret_env.push(EnvFrom { name: env.to_owned(), source: source.clone() });
        }
        if let Some(target) = target {
            let owner = asked.owner;
            let kind = MountKind::Content { source, mode: owner.mode, uid: owner.uid, gid: owner.gid };
            let plan = MountPlan { target: target.into(), kind, flags: Default::default() };
            self.add(plan.read_only().hardened(), false);
        }
        self._secrets.push(memory);
        Ok(())
    }

    async fn agent(
        &mut self,
        asked: &Asked,
        target: &str,
        workshop: &Workshop<'_>,
        name: &str,
    ) -> Result<(), EngineError> {
        let id = &asked.id;
        let session = match &workshop.session {
            Some(session) if session.ssh(id).await?.is_some() => session,
            _ if !asked.required => return Ok(()),
            _ => {
                let way_out = format!("forward one with `boxyard build --ssh {id}` or `--ssh {id}=SOCKET`");
                return Err(EngineError::new(ErrorKind::NotFound, format!("unset ssh forward key {id}; {way_out}")));
            }
        };
        let socket = AgentSocket::listen(workshop.folder, name, session.clone(), asked)
            .map_err(|error| EngineError::system(format!("make a socket for ssh agent {id:?}: {error}")))?;
        self.add(MountPlan::bind(socket.path(), target).shifted(), false);
        self.env.entry(AGENT_VARIABLE.to_owned()).or_insert_with(|| target.to_owned());
        self._agents.push(socket);
        Ok(())
    }
}

/// A file of memory that has no name.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("boxyard-secret", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

/// Files to be read; what is written goes to a folder of the step's and is dropped with it.
fn bind(
    found: &Found,
    target: &str,
    source: &str,
    read_only: bool,
    workshop: &Workshop<'_>,
    at: usize,
) -> Result<MountPlan, EngineError> {
    let scratch = match read_only {
        true => None,
        false => Some(scratch(&workshop.folder.join(format!("scratch.{at}")), &found.source)?),
    };
    let subpath = Some(PathBuf::from(source.trim_start_matches('/'))).filter(|path| !path.as_os_str().is_empty());
    let kind = MountKind::Layers { lowers: found.source.directories(), subpath, scratch };
    let plan = MountPlan { target: target.into(), kind, flags: Default::default() };
    let plan = plan.shifted();
    Ok(if read_only { plan.read_only() } else { plan })
}

fn scratch(folder: &Path, below: &Source) -> Result<Scratch, EngineError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let failed = |error: io::Error| EngineError::system(format!("make a place for a mount's changes: {error}"));
    let scratch = Scratch { upper: folder.join("upper"), work: folder.join("work") };
    for path in [&scratch.upper, &scratch.work] {
        std::fs::create_dir_all(path).map_err(failed)?;
    }
    // The upper directory's own mode and owner are those of the whole.
    if let Some(top) = below.directories().first() {
        let metadata = std::fs::metadata(top).map_err(failed)?;
        chown(&scratch.upper, Some(metadata.uid()), Some(metadata.gid())).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(metadata.mode() & 0o7777);
        std::fs::set_permissions(&scratch.upper, mode).map_err(failed)?;
    }
    Ok(scratch)
}

fn cache_bind(
    data: &Path,
    target: &str,
    source: &str,
    read_only: bool,
    cache: &CacheMount,
) -> Result<MountPlan, EngineError> {
    let subpath = Some(PathBuf::from(source.trim_start_matches('/'))).filter(|path| !path.as_os_str().is_empty());
    if let (Some(path), None) = (&subpath, &cache.from) {
        let failed =
            |error: io::Error| EngineError::system(format!("make {source} in the cache {:?}: {error}", cache.id));
        let data = File::open(data).map_err(failed)?;
        make_inside(&data, path).map_err(failed)?;
    }
    let mut plan = MountPlan::bind(data, target).shifted();
    if let MountKind::Bind { subpath: inside, recursive, .. } = &mut plan.kind {
        *inside = subpath;
        *recursive = false;
    }
    Ok(if read_only { plan.read_only() } else { plan })
}

/// Whether `source` is a folder in the cache `data`; a link of the cache's leads to no other place.
fn is_folder_inside(data: &Path, source: &str) -> bool {
    use std::os::fd::AsFd;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let inside = Path::new(source.trim_start_matches('/'));
    File::open(data).is_ok_and(|data| super::tree::open_inside(data.as_fd(), inside, flags).is_ok())
}

/// Makes the folders of `path`, which no link of the cache's leads out of.
fn make_inside(folder: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, mkdirat};
    use std::os::fd::AsFd;
    let mut at = super::tree::open_inside(folder.as_fd(), Path::new(""), OFlags::PATH)?;
    for part in path.components() {
        match mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        at = super::tree::open_inside(at.as_fd(), Path::new(part.as_os_str()), OFlags::PATH | OFlags::NOFOLLOW)?;
    }
    Ok(())
}
