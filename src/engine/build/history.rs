//! What is remembered of builds: the last ones, with their steps and logs, across restarts.
//!
//! `<root>/build/history/<id>.json` is written when a build begins and when it ends, `<id>.log` at the end; what runs is told
//! from memory. A build that a killed engine left open counts as cancelled from the next start on.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::EventMessageTypeEnum;
use jiff::Timestamp;

use super::progress::{BuildFailure, BuildMessage};
use super::request::{BuildContext, BuildRequest};
use crate::buildkit::{BuildEntry, BuildState, BuildStep, BuildStepState, Vertex, millis_between};
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::store::{self, StateRoot};

/// So many builds are remembered.
const KEPT: usize = 100;
/// So much of a build's log is kept: its end.
const LOG_MAX: usize = 1 << 20;

/// The builds of one state root. Clones are the same history.
#[derive(Debug, Clone)]
pub(super) struct History {
    folder: PathBuf,
    events: Arc<Events>,
    /// By their beginning, oldest first.
    builds: Arc<Mutex<VecDeque<Arc<Run>>>>,
}

/// One build in it.
#[derive(Debug)]
struct Run {
    id: String,
    note: Mutex<Note>,
}

#[derive(Debug)]
struct Note {
    entry: BuildEntry,
    /// The place of each step among the entry's, and when it began.
    places: BTreeMap<String, (usize, Option<Timestamp>)>,
    /// While it runs; afterwards it is in its file.
    log: Log,
}

/// Writes one build down as it goes. Clones write the same one.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    run: Arc<Run>,
    history: History,
}

impl History {
    /// Reads what is remembered; damaged records are dropped.
    pub(super) fn open(root: &StateRoot, events: Arc<Events>) -> std::io::Result<Self> {
        let folder = root.room("build")?.join("history");
        std::fs::create_dir_all(&folder)?;
        let mut entries = Vec::new();
        for found in std::fs::read_dir(&folder)? {
            let path = found?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match store::read_record::<BuildEntry>(&path) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a build is forgotten");
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
        entries.sort_by_key(|entry| entry.started);
        for entry in entries.iter_mut().filter(|entry| entry.state == BuildState::Running) {
            close(entry, BuildState::Cancelled);
            entry.error = Some("the engine ended while it ran".to_owned());
            let _ = store::write_volatile_record(&record_of(&folder, &entry.id), entry);
        }
        let runs = entries.into_iter().map(|entry| {
            let note = Note { places: BTreeMap::new(), log: Log::default(), entry };
            Arc::new(Run { id: note.entry.id.clone(), note: Mutex::new(note) })
        });
        Ok(Self { folder, events, builds: Arc::new(Mutex::new(runs.collect())) })
    }

    /// A build begins.
    pub(super) fn begin(&self, id: String, request: &BuildRequest, now: Timestamp) -> Recorder {
        let entry = BuildEntry {
            id: id.clone(),
            tags: request.tags.clone(),
            dockerfile: request.dockerfile_name(),
            target: request.target.clone(),
            context: match &request.context {
                BuildContext::Remote(url) => without_password(url),
                _ => String::new(),
            },
            started: now,
            ended: None,
            state: BuildState::Running,
            image: None,
            error: None,
            steps: Vec::new(),
        };
        if let Err(error) = store::write_volatile_record(&record_of(&self.folder, &id), &entry) {
            tracing::warn!(%error, "a build will not be remembered");
        }
        let note = Note { entry, places: BTreeMap::new(), log: Log::default() };
        let run = Arc::new(Run { id, note: Mutex::new(note) });
        self.builds().push_back(Arc::clone(&run));
        let recorder = Recorder { run, history: self.clone() };
        recorder.publish("start");
        recorder
    }

    /// All builds, newest first.
    pub(super) fn list(&self) -> Vec<BuildEntry> {
        self.builds().iter().rev().map(|run| run.note().entry.clone()).collect()
    }

    /// The build called `id`, or the one whose name begins so.
    pub(super) fn get(&self, id: &str) -> Result<BuildEntry, EngineError> {
        self.find(id).map(|run| run.note().entry.clone())
    }

    /// What a build said. Blocking.
    pub(super) fn log(&self, id: &str) -> Result<Vec<u8>, EngineError> {
        let run = self.find(id)?;
        {
            let note = run.note();
            if note.entry.state == BuildState::Running || !note.log.text.is_empty() {
                return Ok(note.log.whole());
            }
        }
        match std::fs::read(log_of(&self.folder, &run.id)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(EngineError::system(format!("read the log of build {}: {error}", run.id))),
        }
    }

    /// Forgets a build that has ended. Blocking.
    pub(super) fn forget(&self, id: &str) -> Result<(), EngineError> {
        let run = self.find(id)?;
        if run.note().entry.state == BuildState::Running {
            return Err(EngineError::conflict(format!("build {} is running; cancel it first", run.id)));
        }
        self.builds().retain(|known| known.id != run.id);
        self.remove(&run.id);
        Ok(())
    }

    fn find(&self, id: &str) -> Result<Arc<Run>, EngineError> {
        let builds = self.builds();
        if let Some(run) = builds.iter().find(|run| run.id == id) {
            return Ok(Arc::clone(run));
        }
        let mut found = builds.iter().filter(|run| !id.is_empty() && run.id.starts_with(id));
        match (found.next(), found.next()) {
            (Some(run), None) => Ok(Arc::clone(run)),
            (Some(_), Some(_)) => {
                Err(EngineError::invalid(format!("multiple builds found with provided prefix: {id}")))
            }
            _ => Err(EngineError::not_found(format!("No such build: {id}"))),
        }
    }

    fn builds(&self) -> MutexGuard<'_, VecDeque<Arc<Run>>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the oldest ones beyond what is kept; running ones stay. Blocking.
    fn trim(&self) {
        let mut gone = Vec::new();
        {
            let mut builds = self.builds();
            let mut excess = builds.len().saturating_sub(KEPT);
            builds.retain(|run| {
                let goes = excess > 0 && run.note().entry.state != BuildState::Running;
                if goes {
                    excess -= 1;
                    gone.push(run.id.clone());
                }
                !goes
            });
        }
        gone.iter().for_each(|id| self.remove(id));
    }

    fn remove(&self, id: &str) {
        for path in [record_of(&self.folder, id), log_of(&self.folder, id)] {
            // What stays by mischance is read, or removed, at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Run {
    fn note(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// The build's ID.
    pub(super) fn id(&self) -> &str {
        &self.run.id
    }

    /// Takes in a message of the build.
    pub(super) fn note(&self, message: &BuildMessage) {
        let mut note = self.run.note();
        match message {
            BuildMessage::Vertex(vertex) => note.vertex(vertex),
            BuildMessage::Status(status) => {
                if let Some(why) = status.miss()
                    && let Some((at, _)) = note.places.get(&status.vertex).copied()
                    && let Some(step) = note.entry.steps.get_mut(at)
                {
                    step.why = Some(why.to_owned());
                }
            }
            BuildMessage::Text(text) => note.log.push(text.as_bytes()),
            BuildMessage::Image(id) => note.entry.image = Some(id.clone()),
            BuildMessage::Failed(failure) => note.log.push(format!("ERROR: {}\n", failure.message).as_bytes()),
            _ => {}
        }
    }

    /// The build has ended; from now on it is told so.
    pub(super) fn end(&self, failure: Option<&BuildFailure>) {
        {
            let mut note = self.run.note();
            let state = match failure {
                None => BuildState::Succeeded,
                Some(failure) if failure.is_cancelled() => BuildState::Cancelled,
                Some(failure) => {
                    note.entry.error = Some(failure.message.clone());
                    BuildState::Failed
                }
            };
            note.entry.ended = Some(Timestamp::now());
            close(&mut note.entry, state);
        }
        self.publish("finish");
    }

    /// Writes an ended build down, and forgets the oldest ones. Blocking.
    pub(super) fn save(&self) {
        let (entry, log) = {
            let note = self.run.note();
            (note.entry.clone(), note.log.whole())
        };
        let folder = &self.history.folder;
        let written = std::fs::write(log_of(folder, &entry.id), log).map_err(|error| error.to_string());
        let written = written.and_then(|()| {
            store::write_volatile_record(&record_of(folder, &entry.id), &entry).map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => self.run.note().log = Log::default(),
            Err(error) => tracing::warn!(error, "a build is not remembered"),
        }
        self.history.trim();
    }

    fn publish(&self, action: &str) {
        let attributes = {
            let note = self.run.note();
            let state = match note.entry.state {
                BuildState::Running => "running",
                BuildState::Succeeded => "succeeded",
                BuildState::Failed => "failed",
                BuildState::Cancelled => "cancelled",
            };
            [("name", note.entry.name().to_owned()), ("state", state.to_owned())]
        };
        self.history.events.publish(EventMessageTypeEnum::BUILDER, action, self.run.id.clone(), attributes);
    }
}

impl Note {
    /// Inner work like loading the context is no step.
    fn vertex(&mut self, vertex: &Vertex) {
        let Some(lines) = vertex.lines else { return };
        let at = match self.places.get(&vertex.digest) {
            Some((at, _)) => *at,
            None => {
                self.entry.steps.push(BuildStep {
                    name: vertex.name.clone(),
                    line: Some(lines.first),
                    state: BuildStepState::Waiting,
                    millis: 0,
                    why: None,
                });
                self.entry.steps.len() - 1
            }
        };
        self.places.insert(vertex.digest.clone(), (at, vertex.started));
        let Some(step) = self.entry.steps.get_mut(at) else { return };
        step.state = match (vertex.started, vertex.completed) {
            (_, Some(_)) if !vertex.error.is_empty() => BuildStepState::Failed,
            (_, Some(_)) if vertex.cached => BuildStepState::Cached,
            (_, Some(_)) => BuildStepState::Done,
            (Some(_), None) => BuildStepState::Running,
            (None, None) => BuildStepState::Waiting,
        };
        if let (Some(from), Some(to)) = (vertex.started, vertex.completed) {
            step.millis = millis_between(from, to);
        }
    }
}

/// The end of a log.
#[derive(Debug, Default)]
struct Log {
    text: VecDeque<u8>,
    dropped: u64,
}

impl Log {
    fn push(&mut self, bytes: &[u8]) {
        self.text.extend(bytes);
        if self.text.len() > LOG_MAX + LOG_MAX / 4 {
            // A line is not cut; a quarter at once, so that this is rare.
            let least = self.text.len() - LOG_MAX;
            let rest = self.text.iter().skip(least).position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.text.drain(..least + rest);
            self.dropped += (least + rest) as u64;
        }
    }

    fn whole(&self) -> Vec<u8> {
        let mut whole = match self.dropped {
            0 => Vec::new(),
            bytes => format!("[{bytes} bytes before this are not kept]\n").into_bytes(),
        };
        let (first, second) = self.text.as_slices();
        whole.extend_from_slice(first);
        whole.extend_from_slice(second);
        whole
    }
}

/// A name that no other build has.
pub(super) fn new_id() -> String {
    let mut random = [0; 6];
    match getrandom::fill(&mut random) {
        Ok(()) => hex::encode(random),
        // Without randomness the clock has to do; the build itself will tell.
        Err(_) => format!("{:012x}", Timestamp::now().as_nanosecond() & 0xffff_ffff_ffff),
    }
}

fn close(entry: &mut BuildEntry, state: BuildState) {
    entry.state = state;
    let is_open = |step: &&mut BuildStep| matches!(step.state, BuildStepState::Waiting | BuildStepState::Running);
    entry.steps.iter_mut().filter(is_open).for_each(|step| step.state = BuildStepState::Cancelled);
}

fn record_of(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn log_of(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.log"))
}

/// A URL as it may be shown: what stands before an `@` of its host is nobody's business.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let shown = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{shown}/{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::{MISS, VertexStatus};
    use crate::dockerfile::LineRange;

    fn open(folder: &Path) -> History {
        History::open(&StateRoot::open(folder).unwrap(), Arc::new(Events::default())).unwrap()
    }

    fn request(tag: &str) -> BuildRequest {
        let context = BuildContext::Remote("https://me:secret@host/x.git".to_owned());
        BuildRequest { tags: vec![tag.to_owned()], ..BuildRequest::new(context) }
    }

    fn vertex(digest: &str, from: i64, to: Option<i64>) -> BuildMessage {
        let at = |second| Timestamp::from_second(second).ok();
        BuildMessage::Vertex(Vertex {
            digest: digest.to_owned(),
            name: format!("step {digest}"),
            started: at(from),
            completed: to.and_then(at),
            lines: Some(LineRange { first: 3, last: 3 }),
            ..Vertex::default()
        })
    }

    #[test]
    fn a_build_is_told_while_it_runs_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let history = open(folder.path());
        let recorder = history.begin("b1".into(), &request("app"), Timestamp::UNIX_EPOCH);
        recorder.note(&vertex("a", 1, None));
        recorder.note(&BuildMessage::Text("Step 1/1 : RUN a\n".into()));
        let status = VertexStatus { vertex: "a".into(), name: format!("{MISS}x changed"), ..Default::default() };
        recorder.note(&BuildMessage::Status(status));
        let [live] = history.list().try_into().unwrap();
        assert_eq!((live.state, live.steps[0].state), (BuildState::Running, BuildStepState::Running));
        assert_eq!(history.log("b").unwrap(), b"Step 1/1 : RUN a\n");
        assert_eq!(history.forget("b1").unwrap_err().message(), "build b1 is running; cancel it first");

        recorder.note(&vertex("a", 1, Some(3)));
        recorder.note(&BuildMessage::Image("sha256:1".into()));
        recorder.end(None);
        recorder.save();
        drop((history, recorder));
        let history = open(folder.path());
        let past = history.get("b1").unwrap();
        assert_eq!((past.state, past.image.as_deref()), (BuildState::Succeeded, Some("sha256:1")));
        assert_eq!((past.steps[0].millis, past.steps[0].why.as_deref()), (2000, Some("x changed")));
        assert_eq!((past.context.as_str(), past.counts()), ("https://host/x.git", (1, 0)));
        assert_eq!(history.log("b1").unwrap(), b"Step 1/1 : RUN a\n");
        history.forget("b1").unwrap();
        assert_eq!(history.get("b1").unwrap_err().message(), "No such build: b1");
        assert!(open(folder.path()).list().is_empty());
    }

    #[test]
    fn what_a_killed_engine_left_open_was_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let history = open(folder.path());
        history.begin("b1".into(), &request("app"), Timestamp::UNIX_EPOCH);
        drop(history);
        let entry = open(folder.path()).get("b1").unwrap();
        assert_eq!(entry.state, BuildState::Cancelled);
        assert_eq!(entry.error.as_deref(), Some("the engine ended while it ran"));
    }

    #[test]
    fn the_oldest_builds_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let history = open(folder.path());
        for number in 0..KEPT + 3 {
            let recorder = history.begin(format!("b{number}"), &request("app"), Timestamp::UNIX_EPOCH);
            recorder.end(None);
            recorder.save();
        }
        assert_eq!(history.list().len(), KEPT);
        assert!(history.get("b2").is_err() && history.get("b3").is_ok());
        assert_eq!(open(folder.path()).list().len(), KEPT);
    }

    #[test]
    fn the_end_of_a_long_log_is_kept() {
        let mut log = Log::default();
        for number in 0..LOG_MAX / 4 {
            log.push(format!("line {number}\n").as_bytes());
        }
        let text = String::from_utf8(log.whole()).unwrap();
        assert!(text.len() <= LOG_MAX + LOG_MAX / 4 + 64);
        assert!(text.starts_with('[') && text.lines().nth(1).unwrap().starts_with("line "));
        assert!(text.ends_with(&format!("line {}\n", LOG_MAX / 4 - 1)));
    }
}
