//! What is remembered of a build, in the words that the engine writes and the client reads (`GET /boxyard/builds`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One build, running or past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildEntry {
    /// Its name.
    pub id: String,
    /// What its image was to be called.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What its caller calls the Dockerfile: its path in the context, where it is there.
    #[serde(default)]
    pub dockerfile: String,
    /// The stage that was asked for; the last where `None`.
    #[serde(default)]
    pub target: Option<String>,
    /// Where the files came from: a URL; empty where the client sent them.
    #[serde(default)]
    pub context: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub state: BuildState,
    /// The image it made (`sha256:…`).
    #[serde(default)]
    pub image: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Its steps, in the order of the Dockerfile.
    #[serde(default)]
    pub steps: Vec<BuildStep>,
}

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildState {
    /// It is under way.
    Running,
    /// It made its image.
    Succeeded,
    /// It did not.
    Failed,
    /// Its client went, or its engine.
    Cancelled,
}

/// One step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildStep {
    /// Like `[build 2/4] RUN make`.
    pub name: String,
    /// Where its instruction begins in the Dockerfile, from 1.
    #[serde(default)]
    pub line: Option<usize>,
    /// How it stands.
    pub state: BuildStepState,
    /// How long it took.
    #[serde(default)]
    pub millis: u64,
    /// Why its result was not taken from the cache, where there is a reason to tell.
    #[serde(default)]
    pub why: Option<String>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildStepState {
    /// Its turn has not come.
    Waiting,
    /// It is under way.
    Running,
    /// Its result came from the cache.
    Cached,
    /// It was done.
    Done,
    /// It was done, and ended badly.
    Failed,
    /// The build ended before it did.
    Cancelled,
}

impl BuildEntry {
    /// What a person calls it: its first tag, or the Dockerfile.
    pub fn name(&self) -> &str {
        self.tags.first().unwrap_or(&self.dockerfile)
    }

    /// Steps whose result is there, and how many of those came from the cache.
    pub fn counts(&self) -> (usize, usize) {
        let of = |state| self.steps.iter().filter(|step| step.state == state).count();
        let cached = of(BuildStepState::Cached);
        (of(BuildStepState::Done) + cached, cached)
    }

    /// How long it took, or has taken up to `now`.
    pub fn millis(&self, now: Timestamp) -> u64 {
        millis_between(self.started, self.ended.unwrap_or(now))
    }
}

/// Milliseconds from one time to a later one; 0 where it is no later.
pub fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}
