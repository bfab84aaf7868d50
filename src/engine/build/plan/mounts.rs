//! What the mounts of a RUN mean: every value read with the variables at hand, every default filled in, in the order they
//! are made.

use super::words::expanded;
use super::{BuildFacts, PlanError, StageState};
use crate::dockerfile::Instruction;
use crate::dockerfile::glob::clean;
use crate::dockerfile::mount::{Mount, MountKind, Sharing};

/// The build argument that keeps cache mounts of builds apart, as in BuildKit.
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// One mount, for the time of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct RunMount {
    /// Where, as an absolute path; `None` for a secret that is only a variable.
    pub target: Option<String>,
    /// What is there.
    pub what: Mounted,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) enum Mounted {
    /// Files of the context, a stage, an image or a named context; what is written is dropped.
    Bind { from: Option<String>, source: String, read_only: bool },
    /// A folder that stays from build to build.
    Cache { cache: CacheMount, source: String, read_only: bool },
    /// Memory.
    Tmpfs { size: Option<u64>, read_only: bool },
    /// What the client keeps secret, as a file and/or a variable.
    Secret { asked: Asked, env: Option<String> },
    /// The socket of an agent of the client.
    Ssh(Asked),
}

/// Which cache is meant, and who may use it at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct CacheMount {
    pub id: String,
    pub sharing: Sharing,
    /// What it begins with: a stage, an image or a named context.
    pub from: Option<String>,
    /// Mode, owner and group of its folder, where one of them is given.
    pub owner: Option<FileOwner>,
}

/// What is asked of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct Asked {
    pub id: String,
    /// Whether it is an error where the client has none.
    pub required: bool,
    pub owner: FileOwner,
}

/// Who may do what with a mounted file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::build) struct FileOwner {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl FileOwner {
    fn of(mount: &Mount, usual: u32) -> Self {
        Self { mode: mount.mode.unwrap_or(usual), uid: mount.uid.unwrap_or(0), gid: mount.gid.unwrap_or(0) }
    }
}

impl StageState {
    /// The mounts of a RUN: folders from outer to inner, then secrets and agents.
    pub(super) fn mounts(&self, instruction: &Instruction, facts: &BuildFacts) -> Result<Vec<RunMount>, PlanError> {
        let variables = self.variables();
        let expand = |text: &str| expanded(text, &variables, facts.escape).map_err(|error| error.message);
        let (mut mounts, mut agents) = (Vec::new(), 0);
        for flag in instruction.flags_named("mount") {
            let value = flag.value.as_deref().unwrap_or_default();
            refuse_variable_from(value)?;
            let mount = Mount::read(value, &expand).map_err(|fault| PlanError::new(fault.message))?;
            mounts.push(self.mount(&mount, facts, agents)?);
            agents += usize::from(mount.kind == MountKind::Ssh);
        }
        let is_asked = |mount: &RunMount| matches!(mount.what, Mounted::Secret { .. } | Mounted::Ssh(_));
        mounts.sort_by(|a, b| match (is_asked(a), is_asked(b)) {
            (false, false) => a.target.cmp(&b.target),
            (a, b) => a.cmp(&b),
        });
        Ok(mounts)
    }

    fn mount(&self, mount: &Mount, facts: &BuildFacts, agents: usize) -> Result<RunMount, PlanError> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let source = clean(&format!("/{}", mount.source.as_deref().unwrap_or_default()));
        let from = named(&mount.from);
        let read_only = mount.read_only;
        let asked = |usual| Asked {
            id: mount.client_id().unwrap_or_default().to_owned(),
            required: mount.required,
            owner: FileOwner::of(mount, usual),
        };
        let what = match mount.kind {
            MountKind::Bind => Mounted::Bind { from, source, read_only },
            MountKind::Tmpfs => Mounted::Tmpfs { size: mount.size, read_only },
            MountKind::Cache => {
                let id = named(&mount.id).unwrap_or_else(|| clean(mount.target.as_deref().unwrap_or_default()));
                let namespace = facts.build_args.get(CACHE_NAMESPACE).map_or("", String::as_str);
                let has_owner = mount.mode.is_some() || mount.uid.is_some() || mount.gid.is_some();
                let owner = has_owner.then(|| FileOwner::of(mount, 0o755));
                let id = if namespace.is_empty() { id } else { format!("{namespace}/{id}") };
                Mounted::Cache { cache: CacheMount { id, sharing: mount.sharing, from, owner }, source, read_only }
            }
            MountKind::Secret => Mounted::Secret { asked: asked(0o400), env: named(&mount.env) },
            MountKind::Ssh => Mounted::Ssh(asked(0o600)),
        };
        let target = match mount.kind {
            MountKind::Secret => mount.secret_target(),
            MountKind::Ssh => Some(named(&mount.target).unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{agents}"))),
            _ => Some(mount.target.clone().unwrap_or_default()),
        };
        let target = target.map(|target| self.target(&target)).transpose()?;
        Ok(RunMount { target, what })
    }

    fn target(&self, target: &str) -> Result<String, PlanError> {
        let path = match target.starts_with('/') {
            true => clean(target),
            false => clean(&format!("{}/{target}", self.workdir())),
        };
        match path.as_str() {
            "/" => Err(PlanError::new(format!("invalid mount target {target:?}: the root can't be mounted upon"))),
            _ => Ok(path),
        }
    }
}

/// Which stages are needed has to be known before any variable is.
fn refuse_variable_from(value: &str) -> Result<(), PlanError> {
    let is_from = |field: &&str| {
        field.split_once('=').is_some_and(|(key, value)| key.eq_ignore_ascii_case("from") && value.contains('$'))
    };
    match value.split(',').find(is_from) {
        Some(field) => {
            let value = field.split_once('=').map_or("", |(_, value)| value);
            let words = format!("'{value}' doesn't support variable expansion, define alias stage instead");
            Err(PlanError::new(words))
        }
        None => Ok(()),
    }
}

impl RunMount {
    /// What names it among the inputs of the cache's key: no content, only what the instruction says.
    pub(in crate::engine::build) fn name(&self) -> String {
        match (&self.target, &self.what) {
            (Some(target), _) => format!("mount {target}"),
            (None, Mounted::Secret { asked, .. } | Mounted::Ssh(asked)) => format!("mount of secret {}", asked.id),
            (None, _) => "mount".to_owned(),
        }
    }

    /// Its options, for the cache's key and for people.
    pub(in crate::engine::build) fn options(&self) -> String {
        let access = |read_only: bool| if read_only { "ro" } else { "rw" };
        let owned = |owner: &FileOwner| format!("mode={:o},uid={},gid={}", owner.mode, owner.uid, owner.gid);
        match &self.what {
            Mounted::Bind { from, source, read_only } => {
                format!("bind,from={},source={source},{}", from.as_deref().unwrap_or_default(), access(*read_only))
            }
            Mounted::Cache { cache, source, read_only } => {
                let owner = cache.owner.as_ref().map(owned).unwrap_or_default();
                let (from, sharing) = (cache.from.as_deref().unwrap_or_default(), cache.sharing.name());
                let access = access(*read_only);
                format!("cache,id={},from={from},source={source},sharing={sharing},{access},{owner}", cache.id)
            }
            Mounted::Tmpfs { size, read_only } => {
                format!("tmpfs,size={},{}", size.map_or(String::new(), |size| size.to_string()), access(*read_only))
            }
            Mounted::Secret { asked, env } => {
                let env = env.as_deref().unwrap_or_default();
                format!("secret,id={},required={},env={env},{}", asked.id, asked.required, owned(&asked.owner))
            }
            Mounted::Ssh(asked) => {
                format!("ssh,id={},required={},{}", asked.id, asked.required, owned(&asked.owner))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use crate::engine::build::plan::Step;

    fn plan_with(facts: &BuildFacts, text: &str) -> Result<Vec<RunMount>, String> {
        let file = parse(&format!("FROM x\n{text}\n")).file;
        let mut state = StageState::default();
        let mut mounts = Vec::new();
        for instruction in file.instructions.iter().skip(1) {
            let planned = state.plan(instruction, facts).map_err(|error| error.message)?;
            if let Step::Run(run) = planned.step {
                mounts = run.mounts;
            }
            state = planned.after;
        }
        Ok(mounts)
    }

    fn plan(text: &str) -> Vec<RunMount> {
        plan_with(&BuildFacts::default(), text).unwrap()
    }

    fn targets(mounts: &[RunMount]) -> Vec<&str> {
        mounts.iter().map(|mount| mount.target.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn defaults_are_buildkits() {
        let mounts = plan(
            "RUN --mount=type=secret,id=a/token --mount=type=ssh --mount=type=ssh,id=other --mount=type=cache,target=/c x",
        );
        assert_eq!(
            targets(&mounts),
            ["/c", "/run/secrets/token", "/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]
        );
        assert_eq!(mounts[0].options(), "cache,id=/c,from=,source=/,sharing=shared,rw,");
        assert_eq!(mounts[1].options(), "secret,id=a/token,required=false,env=,mode=400,uid=0,gid=0");
        assert_eq!(mounts[2].options(), "ssh,id=default,required=false,mode=600,uid=0,gid=0");
        let secret = &plan("RUN --mount=type=secret,id=t,env=T x")[0];
        assert_eq!((secret.target.as_deref(), secret.name().as_str()), (None, "mount of secret t"));
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        let mounts =
            plan("RUN --mount=type=tmpfs,target=/a/b --mount=type=secret,id=s,target=/a/b/s --mount=target=/a x");
        assert_eq!(targets(&mounts), ["/a", "/a/b", "/a/b/s"]);
    }

    #[test]
    fn variables_are_replaced_and_paths_are_the_stages() {
        let mounts = plan(
            "ARG who=7\nENV HOME=/root\nWORKDIR /w\nRUN --mount=type=cache,target=$HOME/.cache,id=pip-$who,uid=$who x",
        );
        assert_eq!(targets(&mounts), ["/root/.cache"]);
        assert_eq!(mounts[0].options(), "cache,id=pip-7,from=,source=/,sharing=shared,rw,mode=755,uid=7,gid=0");
        assert_eq!(targets(&plan("WORKDIR /w\nRUN --mount=target=. --mount=target=../o x")), ["/o", "/w"]);
        let facts =
            BuildFacts { build_args: [(CACHE_NAMESPACE.to_owned(), "ns".to_owned())].into(), ..BuildFacts::default() };
        let named = &plan_with(&facts, "RUN --mount=type=cache,target=/c x").unwrap()[0];
        assert!(named.options().starts_with("cache,id=ns//c,"));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let refused = |text: &str| plan_with(&BuildFacts::default(), text).unwrap_err();
        assert!(refused("RUN --mount=target=/ x").starts_with("invalid mount target \"/\""));
        assert_eq!(
            refused("ARG s=a\nRUN --mount=from=$s,target=/a x"),
            "'$s' doesn't support variable expansion, define alias stage instead"
        );
        assert_eq!(refused("ARG m=x\nRUN --mount=type=cache,target=/a,mode=$m x"), "invalid value x for mode");
    }
}
