//! Carries out one stage: its instructions in turn, each from the cache or by doing it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_stubs::models as docker;
use jiff::Timestamp;
use rustix::fs::OFlags;
use tempfile::TempDir;

use super::cache::{Key, Record};
use super::copy::{Destination, is_archive};
use super::fetch::{self, Download};
use super::graph::{Base, Node, stage_before};
use super::owner::{Owner, owner};
use super::progress::BuildFailure;
use super::run::{Ended, Job};
use super::solve::Build;
use super::state::{CopyStep, Planned, RunStep, StageState, Step};
use super::step::StepTeller;
use super::tree::{Match, Owners, Tree, open_inside};
use crate::dockerfile::chmod::ModeChange;
use crate::dockerfile::ignore::IgnoreRules;
use crate::dockerfile::{Instruction, LineRange, parse};
use crate::engine::image::{HistoryEntry, ImageConfig};
use crate::engine::layer::{ApplyOptions, ChainId, Digest, Layer, OverlayStack, apply_tar, detached_root, inflater};
use crate::engine::{EngineError, ErrorKind};

/// What the history says made each step, so that tools which know BuildKit's images know ours.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What a stage has come to.
#[derive(Debug, Clone, Default)]
pub(super) struct StageResult {
    /// The image it would be.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<ChainId>,
}

impl StageResult {
    fn top(&self) -> Option<&ChainId> {
        self.layers.last()
    }

    /// A short name for the classic text: what the state's digest begins with.
    fn short_id(&self, state: &StageState) -> String {
        let text = format!("{:?}{}", self.layers, serde_json::to_string(&state.config).unwrap_or_default());
        Digest::of(text.as_bytes()).hex().chars().take(12).collect()
    }
}

/// Builds the stage of `node`.
pub(super) async fn build_stage(build: &Arc<Build>, node: &Node) -> Result<StageResult, BuildFailure> {
    let Some(stage) = build.file.stages.get(node.index) else { return Err(BuildFailure::cancelled()) };
    let instructions = build.file.stage_instructions(stage);
    let Some((from, rest)) = instructions.split_first() else { return Err(BuildFailure::cancelled()) };
    let mut teller = build.teller_of(node.index, 0);
    teller.begin(&from.text);
    let begun = begin(build, node, &mut teller).await;
    let result = teller.settle(begun)?;

    let mut work = Work::new(build, node.index, result);
    let triggers = work.take_triggers();
    if !triggers.is_empty() {
        let plural = if triggers.len() == 1 { "" } else { "s" };
        teller.text(format!("# Executing {} build trigger{plural}\n", triggers.len()));
    }
    for trigger in &triggers {
        work.instruction(trigger, from.lines, &mut teller).await?;
    }
    teller.end();
    for (index, instruction) in rest.iter().enumerate() {
        let mut teller = build.teller_of(node.index, index + 1);
        teller.begin(&instruction.text);
        let outcome = work.instruction(instruction, instruction.lines, &mut teller).await;
        teller.settle(outcome)?;
        teller.end();
    }
    Ok(work.finish())
}

/// FROM.
async fn begin(build: &Arc<Build>, node: &Node, teller: &mut StepTeller) -> Result<StageResult, BuildFailure> {
    match &node.base {
        Base::Scratch => {
            teller.text(" ---> \n");
            // No time until a step gives it one, so that an unchanged build gives the same image again.
            let config = ImageConfig { created: None, ..ImageConfig::for_host(Timestamp::UNIX_EPOCH) };
            Ok(StageResult { config, ..StageResult::default() })
        }
        Base::Stage(index) => {
            let below = build.result_of(*index).await?;
            let state = StageState::on(below.config.config.clone(), None);
            teller.text(format!(" ---> {}\n", below.short_id(&state)));
            Ok((*below).clone())
        }
        Base::Image(name) => {
            let platform = node.platform.as_deref().or(build.platform.as_deref());
            let image = build.bases.image(name, platform, &build.cancel, |progress| teller.pull(progress)).await?;
            teller.text(format!(" ---> {}\n", image.id.hex().get(..12).unwrap_or_default()));
            image.layers.iter().for_each(|layer| build.hold(layer));
            Ok(StageResult { config: image.config, layers: image.layers })
        }
    }
}

/// A stage at work.
struct Work<'a> {
    build: &'a Arc<Build>,
    index: usize,
    result: StageResult,
    state: StageState,
}

/// What a step has done.
struct Done {
    layer: Option<Layer>,
    created: Timestamp,
}

impl<'a> Work<'a> {
    fn new(build: &'a Arc<Build>, index: usize, result: StageResult) -> Self {
        let state = StageState::on(result.config.config.clone(), result.config.author.clone());
        Self { build, index, result, state }
    }

    /// The base image's ONBUILD instructions, which are then no longer part of it.
    fn take_triggers(&mut self) -> Vec<Instruction> {
        let texts = self.state.config.on_build.take().unwrap_or_default();
        let mut triggers = Vec::new();
        for text in texts {
            let file = parse(&format!("FROM scratch\n{text}")).file;
            triggers.extend(file.instructions.into_iter().skip(1));
        }
        triggers
    }

    fn finish(mut self) -> StageResult {
        self.result.config.config = self.state.config;
        self.result.config.author = self.state.author;
        self.result
    }

    async fn instruction(
        &mut self,
        instruction: &Instruction,
        lines: LineRange,
        teller: &mut StepTeller,
    ) -> Result<(), BuildFailure> {
        if self.build.cancel.is_cancelled() {
            return Err(BuildFailure::cancelled());
        }
        let Planned { step, after, created_by } = self.state.plan(instruction, &self.build.facts).map_err(|error| {
            EngineError::invalid(format!("dockerfile parse error on line {}: {error}", lines.first))
        })?;
        let done = match step {
            Step::Configure => self.configure(&after, &created_by, teller)?,
            Step::MakeWorkdir(path) => self.make_workdir(path, &created_by, teller).await?,
            Step::Run(run) => self.run(&run, teller).await?,
            Step::Copy(copy) => self.copy(&copy, &created_by, teller).await?,
        };
        self.state = after;
        let created = done.created.to_string();
        self.result.config.history.push(HistoryEntry {
            created: Some(created.clone()),
            created_by: Some(created_by),
            comment: Some(HISTORY_COMMENT.to_owned()),
            empty_layer: done.layer.is_none(),
            ..HistoryEntry::default()
        });
        self.result.config.created = Some(created);
        if let Some(layer) = done.layer {
            self.result.layers.push(layer.chain_id);
        }
        teller.text(format!(" ---> {}\n", self.result.short_id(&self.state)));
        Ok(())
    }

    /// The record of `key`, told as a hit; or why there is none, told as a miss.
    fn cached(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let layers = self.build.images().layers();
        if !self.build.no_cache {
            if let Some(Record { layer, created, .. }) =
                self.build.cache().find(key, |chain| layers.get(chain).is_some())
            {
                let layer = layer.and_then(|chain| layers.get(&chain));
                layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
                teller.cached();
                return Some(Done { layer, created });
            }
            if let Some(why) = self.build.cache().explain(key) {
                teller.missed(&why);
            }
        }
        None
    }

    fn keep(&self, key: Key, layer: Option<Layer>) -> Result<Done, BuildFailure> {
        let created = Timestamp::now();
        layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        let made = layer.as_ref().map(|layer| (&layer.chain_id, layer.size));
        let kept = self.build.cache().keep(key, self.result.top(), made, created);
        kept.map_err(|error| EngineError::system(error.to_string()))?;
        Ok(Done { layer, created })
    }

    fn configure(&self, after: &StageState, created_by: &str, teller: &mut StepTeller) -> Result<Done, BuildFailure> {
        let before = sorted_json(&self.state.config);
        let key = Key::new("config", created_by, self.result.top())
            .with("configuration", Digest::of(before.as_bytes()).to_string())
            .with("result", Digest::of(sorted_json(&after.config).as_bytes()).to_string());
        match self.cached_quietly(&key, teller) {
            Some(done) => Ok(done),
            None => self.keep(key, None),
        }
    }

    /// As [`Work::cached`], without a word about a miss: setting a variable costs nothing.
    fn cached_quietly(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let record = (!self.build.no_cache).then(|| self.build.cache().find(key, |_| true)).flatten()?;
        teller.cached();
        Some(Done { layer: None, created: record.created })
    }

    async fn make_workdir(
        &self,
        path: String,
        created_by: &str,
        teller: &mut StepTeller,
    ) -> Result<Done, BuildFailure> {
        let key = Key::new("workdir", created_by, self.result.top());
        if let Some(done) = self.cached(&key, teller) {
            return Ok(done);
        }
        let place = Place::new(self.build, &self.result.layers)?;
        let layer = self
            .blocking(move |build, below| {
                let root = detached_root(&place.stack)?;
                let inside = Path::new(path.trim_start_matches('/'));
                if open_inside(root.as_fd(), inside, OFlags::PATH | OFlags::DIRECTORY).is_err() {
                    let owner = Some(Owner { uid: 0, gid: 0 });
                    let to = Destination { root: root.as_fd(), path: "/", owner, mode: None, keeps_parents: false };
                    to.folder(Path::new(&path)).map_err(|error| EngineError::invalid(error.to_string()))?;
                }
                drop(root);
                place.commit(build, below)
            })
            .await?;
        self.keep(key, layer)
    }

    async fn run(&self, step: &RunStep, teller: &mut StepTeller) -> Result<Done, BuildFailure> {
        // Without the arguments' values, which are inputs of their own: else a new value would look like a new command.
        let mut key = Key::new("run", format!("RUN {}", step.args.join(" ")), self.result.top())
            .with("user", &step.user)
            .with("working directory", &step.workdir)
            .with("network", step.network.as_deref().unwrap_or("default"));
        for (name, value) in &step.env {
            let kind = if step.build_args.get(name) == Some(value) { "ARG" } else { "ENV" };
            key = key.with(format!("{kind} {name}"), value);
        }
        if let Some((_, script)) = &step.script {
            key = key.with("script", script);
        }
        if let Some(done) = self.cached(&key, teller) {
            return Ok(done);
        }
        let _permit = self.build.permit().await?;
        let mut place = Place::new(self.build, &self.result.layers)?;
        place.add_mount_points()?;
        let job = Job {
            step,
            proxies: self.build.facts.proxies().map(|(name, value)| (name.clone(), value.clone())).collect(),
            limits: &self.build.run,
            root: place.stack.clone(),
            cancel: &self.build.cancel,
        };
        match self.build.runner().run(job, teller).await? {
            Ended::Cancelled => return Err(BuildFailure::cancelled()),
            Ended::Exited { code: 0, .. } => {}
            Ended::Exited { code, oom_killed } => {
                let mut message = format!("The command '{}' returned a non-zero code: {code}", step.args.join(" "));
                if oom_killed {
                    message.push_str(" (the kernel killed it for want of memory)");
                }
                return Err(BuildFailure { kind: ErrorKind::System, message, code: Some(code) });
            }
        }
        let layer = self.blocking(move |build, below| place.commit(build, below)).await?;
        self.keep(key, layer)
    }

    async fn copy(&self, step: &CopyStep, created_by: &str, teller: &mut StepTeller) -> Result<Done, BuildFailure> {
        let keyword = if step.is_add { "ADD" } else { "COPY" };
        let failed = |error: EngineError| BuildFailure {
            kind: error.kind(),
            message: format!("{keyword} failed: {}", error.message()),
            code: None,
        };
        let (tree, owners) = self.source(step).await?;
        let exclude =
            IgnoreRules::parse(&step.exclude.join("\n")).map_err(|error| EngineError::invalid(error.to_string()))?;
        let (urls, paths): (Vec<String>, Vec<String>) =
            step.sources.iter().cloned().partition(|source| step.is_add && fetch::is_url(source));
        let permit = self.build.permit().await?;
        let mut downloads = Vec::new();
        for url in &urls {
            downloads.push(
                fetch::fetch(&self.build.parts().root, url, step.checksum.as_deref(), &self.build.cancel)
                    .await
                    .map_err(&failed)?,
            );
        }
        let found = {
            let (tree, from) = (Arc::clone(&tree), step.from.clone());
            let job = move || find(&tree, &paths, &exclude, owners, from.is_some());
            spawn(job).await.map_err(&failed)?
        };
        if step.is_more_than_one(&found, &downloads) && !step.destination.ends_with('/') {
            return Err(EngineError::invalid(format!(
                "When using {keyword} with more than one source file, the destination must be a directory and end with a /"
            ))
            .into());
        }
        let mut facts = found.facts.clone();
        for download in &downloads {
            facts.insert(download.url.clone(), format!("file 600 - {}", download.digest.hex()));
        }
        for (name, text) in &step.inline {
            facts.insert(format!("<<{name}"), format!("file 644 - {}", Digest::of(text.as_bytes()).hex()));
        }
        let key = Key::new("copy", created_by, self.result.top())
            .with("owner", step.chown.as_deref().unwrap_or("-"))
            .with("mode", step.chmod.as_deref().unwrap_or("-"))
            .with("parents", step.keeps_parents.to_string())
            .with("unpack", format!("{:?}", step.unpack))
            .with("from", if step.from.is_some() { "elsewhere" } else { "context" })
            .with_files(&facts);
        if let Some(done) = self.cached(&key, teller) {
            return Ok(done);
        }
        let place = Place::new(self.build, &self.result.layers)?;
        let step = step.clone();
        let layer = self
            .blocking(move |build, below| {
                let root = detached_root(&place.stack)?;
                write(root.as_fd(), &step, &tree, owners, &found.matches, downloads)?;
                drop(root);
                place.commit(build, below)
            })
            .await
            .map_err(&failed)?;
        drop(permit);
        self.keep(key, layer)
    }

    /// Where a COPY's files come from, and whether they keep their owners.
    async fn source(&self, step: &CopyStep) -> Result<(Arc<Tree>, Owners), BuildFailure> {
        let Some(from) = &step.from else { return Ok((Arc::clone(&self.build.context), Owners::Ignored)) };
        let layers = match stage_before(&self.build.file, from, self.index) {
            Some(index) if self.build.has_stage(index) => self.build.result_of(index).await?.layers.clone(),
            _ => {
                let image =
                    self.build.bases.image(from, self.build.platform.as_deref(), &self.build.cancel, |_| {}).await?;
                image.layers.iter().for_each(|layer| self.build.hold(layer));
                image.layers
            }
        };
        let place = Place::new(self.build, &layers)?;
        let tree = spawn(move || {
            let root = detached_root(&place.stack)?;
            Ok(Tree::new(root, place))
        });
        Ok((Arc::new(tree.await?), Owners::Kept))
    }

    /// Runs blocking work that ends in a layer above this stage's top.
    async fn blocking(
        &self,
        work: impl FnOnce(&Build, Option<&ChainId>) -> Result<Option<Layer>, EngineError> + Send + 'static,
    ) -> Result<Option<Layer>, EngineError> {
        let (build, below) = (Arc::clone(self.build), self.result.top().copied());
        spawn(move || work(&build, below.as_ref())).await
    }
}

async fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?
}

fn sorted_json(config: &docker::ImageConfig) -> String {
    let config = ImageConfig { config: config.clone(), ..ImageConfig::default() };
    config.to_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A root to write to: the stage's layers, and a fresh upper directory in a temp folder.
struct Place {
    stack: OverlayStack,
    folder: TempDir,
}

impl Place {
    fn new(build: &Build, layers: &[ChainId]) -> Result<Self, EngineError> {
        let failed = |error: std::io::Error| EngineError::system(format!("create a build step's folder: {error}"));
        let lowers = match layers.last() {
            Some(top) => build.images().layers().lowers(top)?,
            None => Vec::new(),
        };
        let folder = build.parts().root.temp_dir("step").map_err(failed)?;
        let stack = OverlayStack { lowers, upper: folder.path().join("upper"), work: folder.path().join("work") };
        for path in [&stack.upper, &stack.work] {
            std::fs::create_dir(path).map_err(failed)?;
        }
        // The upper directory's own mode and owner are those of `/`.
        let (mode, uid, gid) = match stack.lowers.first().map(std::fs::metadata).transpose().map_err(failed)? {
            Some(root) => (root.mode() & 0o7777, root.uid(), root.gid()),
            None => (0o755, 0, 0),
        };
        std::fs::set_permissions(&stack.upper, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        std::os::unix::fs::chown(&stack.upper, Some(uid), Some(gid)).map_err(failed)?;
        Ok(Self { stack, folder })
    }

    /// What a container mounts upon has to be there. Where the image lacks it, it stands in a layer of its own at the very
    /// bottom, so that making it is no change of the step's.
    fn add_mount_points(&mut self) -> Result<(), EngineError> {
        let bottom = self.folder.path().join("bottom");
        let attempt = || {
            for folder in ["dev/pts", "dev/shm", "dev/mqueue", "etc", "proc", "sys"] {
                std::fs::create_dir_all(bottom.join(folder))?;
            }
            for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
                std::fs::write(bottom.join(file), "")?;
            }
            std::fs::set_permissions(&bottom, std::fs::Permissions::from_mode(0o755))
        };
        attempt().map_err(|error| EngineError::system(format!("create a build step's folder: {error}")))?;
        self.stack.lowers.push(bottom);
        Ok(())
    }

    /// Makes the upper directory a layer above `below`; `None` where nothing was written.
    fn commit(self, build: &Build, below: Option<&ChainId>) -> Result<Option<Layer>, EngineError> {
        let failed = |error: std::io::Error| EngineError::system(format!("read a build step's changes: {error}"));
        if std::fs::read_dir(&self.stack.upper).map_err(failed)?.next().is_none() {
            return Ok(None);
        }
        let layer = build.images().layers().commit_tree(below, self.stack.upper.clone())?;
        Ok(Some(layer))
    }
}

/// What a COPY's sources matched.
#[derive(Default)]
struct Found {
    matches: Vec<Match>,
    facts: BTreeMap<String, String>,
}

impl CopyStep {
    fn is_more_than_one(&self, found: &Found, downloads: &[Download]) -> bool {
        found.matches.len() + downloads.len() + self.inline.len() > 1
    }
}

fn find(
    tree: &Tree,
    sources: &[String],
    exclude: &IgnoreRules,
    owners: Owners,
    is_from: bool,
) -> Result<Found, EngineError> {
    let mut all = Found::default();
    for source in sources {
        let found = tree.find(source, exclude).map_err(|error| EngineError::invalid(error.to_string()))?;
        let Some(found) = found else {
            let where_from =
                if is_from { "" } else { "file not found in build context or excluded by .dockerignore: " };
            return Err(EngineError::not_found(format!(
                "{where_from}stat {}: file does not exist",
                source.trim_start_matches('/')
            )));
        };
        for matched in &found {
            tree.facts(matched, owners, &mut all.facts).map_err(|error| EngineError::system(error.to_string()))?;
        }
        all.matches.extend(found);
    }
    if all.matches.is_empty() && !sources.is_empty() {
        return Err(EngineError::not_found("no source files were specified"));
    }
    Ok(all)
}

fn write(
    root: std::os::fd::BorrowedFd<'_>,
    step: &CopyStep,
    tree: &Tree,
    owners: Owners,
    matches: &[Match],
    downloads: Vec<Download>,
) -> Result<(), EngineError> {
    let plan = |error: super::state::PlanError| EngineError::invalid(error.message);
    let copy = |error: super::copy::CopyError| EngineError::invalid(error.to_string());
    let owner = match (&step.chown, owners) {
        (Some(spec), _) => Some(owner(spec, root).map_err(plan)?),
        (None, Owners::Ignored) => Some(Owner { uid: 0, gid: 0 }),
        (None, Owners::Kept) => None,
    };
    let mode = step.chmod.as_deref().map(ModeChange::parse).transpose();
    let mode = mode.map_err(|error| EngineError::invalid(error.to_string()))?;
    let to = Destination { root, path: &step.destination, owner, mode, keeps_parents: step.keeps_parents };
    for found in matches {
        if step.is_add && step.unpack != Some(false) && !found.is_folder() {
            let mut file = tree.open(&found.path).map_err(|error| EngineError::system(error.to_string()))?;
            let is_file = file.metadata().is_ok_and(|it| it.is_file());
            if is_file && is_archive(&mut file).map_err(|error| EngineError::system(error.to_string()))? {
                unpack(&to, &file)?;
                continue;
            }
        }
        to.take(tree, found).map_err(copy)?;
    }
    for download in downloads {
        if step.unpack == Some(true) {
            let mut file = download.file.reopen().map_err(|error| EngineError::system(error.to_string()))?;
            if is_archive(&mut file).map_err(|error| EngineError::system(error.to_string()))? {
                unpack(&to, &file)?;
                continue;
            }
        }
        let name = download.name();
        if name.is_none() && step.destination.ends_with('/') {
            return Err(EngineError::invalid(format!("cannot determine filename from url: {}", download.url)));
        }
        let target = to.file_path(OsStr::new(name.as_deref().unwrap_or("download"))).map_err(copy)?;
        to.write_download(&target, &download).map_err(copy)?;
    }
    for (name, text) in &step.inline {
        to.write_inline(name, text.as_bytes(), 0o644).map_err(copy)?;
    }
    Ok(())
}

fn unpack(to: &Destination<'_>, file: &std::fs::File) -> Result<(), EngineError> {
    let folder = to.folder(&PathBuf::from(to.path)).map_err(|error| EngineError::invalid(error.to_string()))?;
    let folder = rustix::fs::openat(
        &folder,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|errno| EngineError::system(format!("open {}: {errno}", to.path)))?;
    let inflated = inflater(std::io::BufReader::new(file)).map_err(|error| EngineError::invalid(error.to_string()))?;
    let options = ApplyOptions {
        owner: to.owner.filter(|owner| *owner != Owner { uid: 0, gid: 0 }).map(|it| (it.uid, it.gid)),
        ..ApplyOptions::default()
    };
    apply_tar(folder.as_fd(), inflated, &options)?;
    Ok(())
}
