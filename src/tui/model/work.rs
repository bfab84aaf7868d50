//! Works under way and messages about those that ended.

use crate::tui::event::Progress;
use crate::tui::job::{Job, WorkId};
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// A work under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub job: Job,
    pub since: Timestamp,
    pub progress: Progress,
    pub is_cancelling: bool,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Good,
    Info,
    Warning,
    Bad,
}

/// A message, shown for a while and then kept in the activity list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub weight: Weight,
    pub text: String,
    /// Why it failed.
    pub why: String,
    /// What to do next.
    pub advice: String,
    pub at: Timestamp,
    /// When it leaves the screen.
    pub until: Timestamp,
}

/// Messages kept for the activity list.
const KEPT: usize = 200;

/// Works and messages.
#[derive(Debug, Default)]
pub struct Works {
    last: WorkId,
    pub running: BTreeMap<WorkId, Work>,
    pub messages: VecDeque<Message>,
}

impl Works {
    /// Books a work and numbers it.
    pub fn begin(&mut self, job: Job, now: Timestamp) -> WorkId {
        self.last = WorkId(self.last.0 + 1);
        let work = Work { job, since: now, progress: Progress::default(), is_cancelling: false };
        self.running.insert(self.last, work);
        self.last
    }

    /// Adds a message; a failure stays longer, since it is longer to read.
    pub fn say(&mut self, weight: Weight, text: String, why: String, advice: String, now: Timestamp) {
        let seconds = match weight {
            Weight::Good | Weight::Info => 4,
            Weight::Warning => 8,
            Weight::Bad => 12,
        };
        if self.messages.len() == KEPT {
            self.messages.pop_front();
        }
        let until = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
        self.messages.push_back(Message { weight, text, why, advice, at: now, until });
    }

    /// Messages that are on the screen, newest last.
    pub fn toasts(&self, now: Timestamp) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |message| message.until > now)
    }

    /// Sends the messages off the screen; true if there were any.
    pub fn dismiss(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for message in self.messages.iter_mut().filter(|message| message.until > now) {
            message.until = now;
            any = true;
        }
        any
    }

    /// The work the footer shows: the latest that takes long.
    pub fn shown(&self) -> Option<(WorkId, &Work)> {
        self.running.iter().rev().find(|(_, work)| work.job.is_long()).map(|(id, work)| (*id, work))
    }

    /// The word for a container that is being changed.
    pub fn busy_word(&self, container: &str) -> Option<&'static str> {
        self.running
            .values()
            .find(|work| work.job.container().is_some_and(|target| target.id == container))
            .map(|work| work.job.busy_word())
    }
}
