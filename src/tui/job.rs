//! Work asked of the engine: what it is, how it ended, and how both are said to a person.
//!
//! A job carries the names it will be reported under, so a toast can name a container that is gone by then.

use super::form::spec::{NetworkSpec, RunSpec, VolumeSpec};

/// Numbers a work for progress, cancelling and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WorkId(pub u64);

/// An object by id, and the name a person knows it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    pub id: String,
    pub name: String,
}

impl Target {
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Target {
        Target { id: id.into(), name: name.into() }
    }
}

/// Kinds of objects that can be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneKind {
    Containers,
    /// Those without a name.
    DanglingImages,
    /// Those no container uses.
    UnusedImages,
    Volumes,
    Networks,
    BuildCache,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    Start(Target),
    Stop(Target),
    Restart(Target),
    Pause(Target),
    Unpause(Target),
    Kill {
        target: Target,
        signal: String,
    },
    Rename {
        target: Target,
        name: String,
    },
    RemoveContainer {
        target: Target,
        force: bool,
        volumes: bool,
    },
    Run(Box<RunSpec>),
    Pull {
        reference: String,
    },
    Tag {
        image: Target,
        reference: String,
    },
    RemoveImage {
        target: Target,
        force: bool,
    },
    CreateVolume(VolumeSpec),
    RemoveVolume {
        name: String,
        force: bool,
    },
    CreateNetwork(NetworkSpec),
    RemoveNetwork(Target),
    Connect {
        network: Target,
        container: Target,
    },
    Disconnect {
        network: Target,
        container: Target,
    },
    Prune(PruneKind),
    /// Makes an image from the host's own programs, then runs a shell in it.
    FirstContainer,
    SaveLog {
        path: String,
        text: String,
    },
}

/// How a work ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes given back, where the engine says.
    pub freed: Option<u64>,
    /// How many objects it concerned, where that is not one.
    pub count: Option<usize>,
    /// The object it made.
    pub made: Option<Target>,
    /// A remark of the engine.
    pub note: String,
}

/// How a work failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The engine's own words.
    pub why: String,
    /// HTTP status, 0 when the engine was not reached.
    pub status: u16,
    /// The user asked for it to end.
    pub is_cancelled: bool,
}

impl Job {
    /// What is being done, for the footer: `pull nginx:1.27`.
    pub fn title(&self) -> String {
        match self {
            Job::Start(t) => format!("start {}", t.name),
            Job::Stop(t) => format!("stop {}", t.name),
            Job::Restart(t) => format!("restart {}", t.name),
            Job::Pause(t) => format!("pause {}", t.name),
            Job::Unpause(t) => format!("resume {}", t.name),
            Job::Kill { target, signal } => format!("send {signal} to {}", target.name),
            Job::Rename { target, name } => format!("rename {} to {name}", target.name),
            Job::RemoveContainer { target, .. } => format!("remove {}", target.name),
            Job::Run(spec) => format!("run {}", spec.image),
            Job::Pull { reference } => format!("pull {reference}"),
            Job::Tag { image, reference } => format!("tag {} as {reference}", image.name),
            Job::RemoveImage { target, .. } => format!("remove image {}", target.name),
            Job::CreateVolume(spec) => format!("create volume {}", spec.name),
            Job::RemoveVolume { name, .. } => format!("remove volume {name}"),
            Job::CreateNetwork(spec) => format!("create network {}", spec.name),
            Job::RemoveNetwork(t) => format!("remove network {}", t.name),
            Job::Connect { network, container } => format!("connect {} to {}", container.name, network.name),
            Job::Disconnect { network, container } => format!("disconnect {} from {}", container.name, network.name),
            Job::Prune(kind) => format!("prune {}", kind.plural()),
            Job::FirstContainer => "make an image from this host".to_owned(),
            Job::SaveLog { path, .. } => format!("save log to {path}"),
        }
    }

    /// What was done, for the toast.
    pub fn done(&self, report: &Report) -> String {
        let freed = match report.freed {
            Some(bytes) if bytes > 0 => format!(", {} freed", super::text::size(bytes)),
            _ => String::new(),
        };
        match self {
            Job::Start(t) => format!("{} started", t.name),
            Job::Stop(t) => format!("{} stopped", t.name),
            Job::Restart(t) => format!("{} restarted", t.name),
            Job::Pause(t) => format!("{} paused", t.name),
            Job::Unpause(t) => format!("{} resumed", t.name),
            Job::Kill { target, signal } => format!("{signal} sent to {}", target.name),
            Job::Rename { target, name } => format!("{} is now {name}", target.name),
            Job::RemoveContainer { target, .. } => format!("{} removed", target.name),
            Job::Run(spec) => {
                let name = report.made.as_ref().map_or(spec.image.as_str(), |made| made.name.as_str());
                if report.note.is_empty() { format!("{name} is running") } else { format!("{name}: {}", report.note) }
            }
            Job::Pull { reference } => match report.note.as_str() {
                "" => format!("{reference} pulled"),
                note => format!("{reference}: {note}"),
            },
            Job::Tag { reference, .. } => format!("tagged {reference}"),
            Job::RemoveImage { target, .. } => format!("image {} removed{freed}", target.name),
            Job::CreateVolume(spec) => format!("volume {} created", spec.name),
            Job::RemoveVolume { name, .. } => format!("volume {name} removed"),
            Job::CreateNetwork(spec) => format!("network {} created", spec.name),
            Job::RemoveNetwork(t) => format!("network {} removed", t.name),
            Job::Connect { network, container } => format!("{} joined {}", container.name, network.name),
            Job::Disconnect { network, container } => format!("{} left {}", container.name, network.name),
            Job::Prune(kind) => match report.count {
                Some(0) => format!("no {} to prune", kind.plural()),
                Some(n) => format!("{} pruned{freed}", super::text::count(n, kind.noun())),
                None => format!("{} pruned{freed}", kind.plural()),
            },
            Job::FirstContainer => "your first container is running".to_owned(),
            Job::SaveLog { path, .. } => format!("log saved to {path}"),
        }
    }

    /// What a person can do about a failure.
    pub fn advice(&self, failure: &Failure) -> Option<String> {
        let why = failure.why.to_ascii_lowercase();
        if failure.status == 0 && !failure.is_cancelled && !matches!(self, Job::SaveLog { .. }) {
            return Some("the engine did not answer; it is tried again on its own".to_owned());
        }
        let advice = match self {
            Job::RemoveImage { force: false, .. } if failure.status == 409 => {
                "remove the containers that use it, or choose force"
            }
            Job::RemoveVolume { .. } if failure.status == 409 => "remove the containers that use it first",
            Job::RemoveNetwork(_) if failure.status == 403 || failure.status == 409 => {
                "disconnect or remove the containers on it first"
            }
            Job::RemoveContainer { force: false, .. } if failure.status == 409 => "stop it first, or remove with force",
            Job::Run(_) if failure.status == 409 && why.contains("name") => {
                "choose another name, or remove the other container"
            }
            Job::Run(_) | Job::Start(_) if why.contains("port") && why.contains("allocated") => {
                "publish another host port, or stop the holder"
            }
            Job::Pull { .. } if failure.status == 404 || why.contains("not found") => {
                "check the spelling of name and tag"
            }
            Job::Pull { .. } if why.contains("unauthorized") || why.contains("denied") => {
                "log in to that registry first"
            }
            Job::Pull { .. } if why.contains("lookup") || why.contains("dns") || why.contains("resolve") => {
                "check this host's network and DNS"
            }
            Job::Start(_) | Job::Run(_) if why.contains("not found") || why.contains("no such file") => {
                "check the command and the image's PATH"
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }

    /// The container it changes, whose row shows that it is busy.
    pub fn container(&self) -> Option<&Target> {
        match self {
            Job::Start(t) | Job::Stop(t) | Job::Restart(t) | Job::Pause(t) | Job::Unpause(t) => Some(t),
            Job::Kill { target, .. } | Job::Rename { target, .. } | Job::RemoveContainer { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The word that a busy row shows.
    pub fn busy_word(&self) -> &'static str {
        match self {
            Job::Start(_) => "starting",
            Job::Stop(_) => "stopping",
            Job::Restart(_) => "restarting",
            Job::Pause(_) => "pausing",
            Job::Unpause(_) => "resuming",
            Job::Kill { .. } => "killing",
            Job::RemoveContainer { .. } => "removing",
            _ => "working",
        }
    }

    /// Whether it takes long enough to show progress and offer cancelling.
    pub fn is_long(&self) -> bool {
        matches!(self, Job::Pull { .. } | Job::Run(_) | Job::Prune(_) | Job::FirstContainer)
    }
}

impl PruneKind {
    /// `stopped container`, `unused volume`.
    pub fn noun(self) -> &'static str {
        match self {
            PruneKind::Containers => "stopped container",
            PruneKind::DanglingImages => "untagged image",
            PruneKind::UnusedImages => "unused image",
            PruneKind::Volumes => "unused volume",
            PruneKind::Networks => "unused network",
            PruneKind::BuildCache => "build cache record",
        }
    }

    /// `stopped containers`, `build cache`.
    pub fn plural(self) -> &'static str {
        match self {
            PruneKind::Containers => "stopped containers",
            PruneKind::DanglingImages => "untagged images",
            PruneKind::UnusedImages => "unused images",
            PruneKind::Volumes => "unused volumes",
            PruneKind::Networks => "unused networks",
            PruneKind::BuildCache => "build cache",
        }
    }
}

impl Failure {
    /// Ended because the user wanted so.
    pub fn cancelled() -> Failure {
        Failure { why: "cancelled".to_owned(), status: 0, is_cancelled: true }
    }
}
