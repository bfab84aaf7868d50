//! A build as the list shows it. The workbench makes these rows and keeps them current.

use super::table::{Item, Order};
pub use crate::buildkit::BuildStepState as StepState;
use crate::buildkit::{BuildEntry, BuildState};
use jiff::Timestamp;

/// How a build stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Running,
    Succeeded,
    Failed(String),
    Cancelled,
}

/// One step of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub name: String,
    pub state: StepState,
    pub millis: u64,
    /// Why its result was not taken from the cache.
    pub why: Option<String>,
}

/// One build, running or past.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    pub id: String,
    /// What it is to be called, e.g. `api:dev`.
    pub tag: String,
    /// Its Dockerfile, as who built it called it.
    pub dockerfile: String,
    pub context: String,
    /// The image it made; empty where it made none.
    pub image: String,
    pub started: Timestamp,
    pub millis: u64,
    pub steps: Vec<Step>,
    pub outcome: Outcome,
}

impl Build {
    /// The row of a build that our engine tells of.
    pub fn from_engine(entry: BuildEntry, now: Timestamp) -> Self {
        let steps = entry.steps.iter().map(|step| Step {
            name: step.name.clone(),
            state: step.state,
            millis: step.millis,
            why: step.why.clone(),
        });
        Self {
            steps: steps.collect(),
            tag: entry.name().to_owned(),
            started: entry.started,
            millis: entry.millis(now),
            outcome: match entry.state {
                BuildState::Running => Outcome::Running,
                BuildState::Succeeded => Outcome::Succeeded,
                BuildState::Failed => Outcome::Failed(entry.error.unwrap_or_default()),
                BuildState::Cancelled => Outcome::Cancelled,
            },
            id: entry.id,
            dockerfile: entry.dockerfile,
            context: entry.context,
            image: entry.image.unwrap_or_default(),
        }
    }

    /// Steps whose result is there.
    pub fn finished(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.state, StepState::Done | StepState::Cached)).count()
    }

    /// Changes with each step that ends, and with the build's own end.
    pub fn version(&self) -> u64 {
        2 * self.finished() as u64 + u64::from(self.outcome != Outcome::Running)
    }

    /// Steps that came from the cache.
    pub fn cached(&self) -> usize {
        self.steps.iter().filter(|step| step.state == StepState::Cached).count()
    }
}

impl Item for Build {
    fn key(&self) -> &str {
        &self.id
    }
    fn title(&self) -> &str {
        &self.tag
    }
    fn haystack(&self) -> String {
        format!("{} {}", self.tag, self.context)
    }
    fn is_active(&self) -> bool {
        self.outcome == Outcome::Running
    }
}

/// How builds can be ordered.
pub const BUILD_ORDERS: &[Order<Build>] = &[
    Order { name: "newest", compare: |a, b| b.started.cmp(&a.started) },
    Order { name: "name", compare: |a, b| a.tag.cmp(&b.tag) },
    Order { name: "longest", compare: |a, b| b.millis.cmp(&a.millis) },
];
