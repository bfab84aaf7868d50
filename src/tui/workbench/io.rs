//! Carries the workbench's effects out: files on this machine, builds and containers through the client.

use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::StreamExt;

use super::chooser::find_dockerfiles;
use super::model::Cached;
use super::update::{BuildFailure, WorkbenchEffect, WorkbenchEvent};
use crate::buildkit::{TRACE_ID, decode_aux};
use crate::client::build_context::{ContextFilter, folder_body};
use crate::client::models::ContainerCreateBody;
use crate::client::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use crate::client::{BuildRecord, Docker, Error};
use crate::dockerfile::ignore::IgnoreRules;

/// Does what `effect` says and tells the news of it. To cancel a build, drop the future: the engine sees its stream go.
pub async fn carry_out(docker: Docker, effect: WorkbenchEffect, tell: impl Fn(WorkbenchEvent) + Send + Sync) {
    match effect {
        WorkbenchEffect::Find(folder) => {
            let found = tokio::task::spawn_blocking(move || find_dockerfiles(&folder)).await;
            tell(WorkbenchEvent::Found(found.unwrap_or_default()));
        }
        WorkbenchEffect::Open(path) => {
            let content = match tokio::fs::read_to_string(&path).await {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            };
            let is_there = content.is_ok();
            tell(WorkbenchEvent::Opened { path: path.clone(), content });
            if is_there {
                let of = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let (folder, name) = folder_and_name(&of);
                    ignore_text(folder, &name)
                });
                tell(WorkbenchEvent::Ignore { path, text: read.await.unwrap_or_default() });
            }
        }
        WorkbenchEffect::Save { path, text } => {
            let result = write_whole(path, text.clone()).await;
            tell(WorkbenchEvent::Saved { text, result });
        }
        WorkbenchEffect::Build { build, path, tag, cached } => {
            let begun = Instant::now();
            let result = run_build(&docker, build, &path, &tag, cached, &tell).await;
            tell(WorkbenchEvent::Ended { build, result, took: Some(begun.elapsed()) });
        }
        // Cancelling is dropping the future of the build; who holds it does that.
        WorkbenchEffect::Cancel { .. } => {}
        WorkbenchEffect::Run { image } => {
            let ran = run_image(&docker, &image).await.map_err(|error| error.to_string());
            tell(WorkbenchEvent::Ran(ran));
        }
    }
}

/// Writes beside the file and renames, so that a full disk never costs the old text. A link stays one.
async fn write_whole(path: PathBuf, text: String) -> Result<(), String> {
    let written = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let path = path.canonicalize().unwrap_or(path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".dockerfile-").tempfile_in(folder)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        let permissions = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.permissions(),
            Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
        };
        file.as_file().set_permissions(permissions)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    });
    written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// The folder of a Dockerfile, which is its context, and its name there.
fn folder_and_name(path: &Path) -> (&Path, String) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder, path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

/// `NAME.dockerignore` beside the Dockerfile, else `.dockerignore`.
fn ignore_text(folder: &Path, dockerfile: &str) -> Option<String> {
    let of_file = std::fs::read_to_string(folder.join(format!("{dockerfile}.dockerignore")));
    of_file.or_else(|_| std::fs::read_to_string(folder.join(".dockerignore"))).ok()
}

/// The ignore file as the filter of what is sent.
struct Ignored {
    rules: IgnoreRules,
    kept: Vec<PathBuf>,
}

impl Ignored {
    fn read(folder: &Path, dockerfile: &str) -> Self {
        let text = ignore_text(folder, dockerfile).unwrap_or_default();
        // A file with a bad pattern is sent as it is, with everything: the builder then says which line is wrong.
        let rules = IgnoreRules::parse(&text).unwrap_or_default();
        // The builder needs these two whatever the rules say.
        Self { rules, kept: vec![dockerfile.into(), ".dockerignore".into()] }
    }
}

impl ContextFilter for Ignored {
    fn excludes(&self, path: &Path) -> bool {
        !self.kept.iter().any(|kept| kept == path) && self.rules.ignores(&path.to_string_lossy())
    }

    fn excludes_all_below(&self, _: &Path) -> bool {
        !self.rules.has_exceptions()
    }
}

async fn run_build(
    docker: &Docker,
    build: u64,
    path: &Path,
    tag: &str,
    cached: Cached,
    tell: &(impl Fn(WorkbenchEvent) + Send + Sync),
) -> Result<String, BuildFailure> {
    let refused = |error: Error| BuildFailure::Refused(error.to_string());
    let (folder, name) = folder_and_name(path);
    let options = BuildImageOptionsBuilder::default()
        .dockerfile(&name)
        .nocache(cached == Cached::No)
        .rm(true)
        .version(BuilderVersion::BuilderBuildKit)
        .build();
    let tags: Vec<String> = (!tag.is_empty()).then(|| tag.to_owned()).into_iter().collect();
    let context = folder_body(folder, Ignored::read(folder, &name));
    let mut records = Box::pin(docker.build_image(options, &tags, None, Some(context)));
    let mut image = None;
    while let Some(record) = records.next().await {
        let record = record.map_err(refused)?;
        if let Some(why) = record.failure() {
            return Err(BuildFailure::Refused(why.to_owned()));
        }
        if let Some(update) = trace_of(&record).map_err(refused)? {
            tell(WorkbenchEvent::Progress { build, update: Box::new(update) });
        }
        image = image_of(&record).or(image);
    }
    let image = image.ok_or_else(|| BuildFailure::Refused("the engine ended the build without an image".to_owned()))?;
    if let Ok(history) = docker.image_history(&image).await {
        let created_by = history.into_iter().rev().map(|it| (it.created_by, u64::try_from(it.size).unwrap_or(0)));
        tell(WorkbenchEvent::Sizes { build, created_by: created_by.collect() });
    }
    Ok(image)
}

fn trace_of(record: &BuildRecord) -> Result<Option<crate::buildkit::TraceUpdate>, Error> {
    match (&record.id, &record.aux) {
        (Some(id), Some(serde_json::Value::String(aux))) if id == TRACE_ID => {
            decode_aux(aux).map(Some).map_err(|error| Error::DockerStreamError { error: error.to_string() })
        }
        _ => Ok(None),
    }
}

fn image_of(record: &BuildRecord) -> Option<String> {
    record.aux.as_ref()?.get("ID")?.as_str().map(str::to_owned)
}

async fn run_image(docker: &Docker, image: &str) -> Result<(String, String), Error> {
    let config = ContainerCreateBody { image: Some(image.to_owned()), ..Default::default() };
    let id = docker.create_container(None, config).await?.id;
    if let Err(error) = docker.start_container(&id, None).await {
        // What never ran is of no use to anybody.
        let _ = docker.remove_container(&id, None).await;
        return Err(error);
    }
    let name = docker.inspect_container(&id, None).await?.name.unwrap_or_default();
    Ok((id, name.trim_start_matches('/').to_owned()))
}
