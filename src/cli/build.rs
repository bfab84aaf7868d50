//! `build`: a folder and its Dockerfile become an image.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;

use super::images::{Board, all_credentials};
use super::words::parse_size;
use crate::client::Docker;
use crate::client::build_context::{ContextFilter, folder_body};
use crate::client::query_parameters::{BuildImageOptions, BuilderVersion};
use crate::dockerfile::ignore::{FILE_NAME, IgnoreRules};

/// What to build, and how.
#[derive(Debug, Args)]
pub struct Build {
    /// Name of the image (may be repeated)
    #[arg(short, long)]
    tag: Vec<String>,
    /// The Dockerfile, PATH/Dockerfile where it is missing
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Build this stage instead of the last one
    #[arg(long, default_value = "")]
    target: String,
    /// Give a value to an ARG: NAME=VALUE, or NAME to hand ours on
    #[arg(long)]
    build_arg: Vec<String>,
    /// Label the image: KEY=VALUE
    #[arg(long)]
    label: Vec<String>,
    /// Run every step, whatever the cache holds
    #[arg(long)]
    no_cache: bool,
    /// Ask for newer base images
    #[arg(long)]
    pull: bool,
    /// Print nothing but the image's ID
    #[arg(short, long)]
    quiet: bool,
    /// Network of the steps: a name, host or none
    #[arg(long)]
    network: Option<String>,
    /// Memory limit of a step
    #[arg(short, long, value_parser = parse_size)]
    memory: Option<i64>,
    /// OS/ARCH of the image
    #[arg(long, default_value = "")]
    platform: String,
    /// The folder
    path: PathBuf,
}

/// What `.dockerignore` leaves out; the Dockerfile and the ignore file themselves always go along.
struct Ignored {
    rules: IgnoreRules,
    kept: Vec<String>,
}

impl ContextFilter for Ignored {
    fn excludes(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        !self.kept.iter().any(|kept| *kept == path) && self.rules.ignores(&path)
    }

    fn excludes_all_below(&self, path: &Path) -> bool {
        let inside = format!("{}/", path.to_string_lossy());
        !self.rules.has_exceptions() && !self.kept.iter().any(|kept| kept.starts_with(&inside))
    }
}

pub async fn build(docker: &Docker, build: &Build) -> anyhow::Result<ExitCode> {
    let folder = build.path.canonicalize().with_context(|| build.path.display().to_string())?;
    let dockerfile = dockerfile(&folder, build.file.as_deref())?;
    let context = folder_body(&folder, ignored(&folder, &dockerfile)?);
    let options = BuildImageOptions {
        dockerfile,
        q: build.quiet,
        nocache: build.no_cache,
        pull: build.pull.then(|| "1".to_owned()),
        rm: true,
        memory: build.memory.and_then(|bytes| i32::try_from(bytes).ok()),
        buildargs: Some(arguments(&build.build_arg)),
        labels: Some(build.label.iter().map(|label| pair(label)).collect()),
        networkmode: build.network.clone(),
        platform: build.platform.clone(),
        target: build.target.clone(),
        version: BuilderVersion::BuilderV1,
        ..BuildImageOptions::default()
    };
    let credentials = Some(all_credentials()).filter(|known| !known.is_empty());
    let mut records = pin!(docker.build_image(options, &build.tag, credentials, Some(context)));
    let mut board = Board::new();
    let mut said = String::new();
    while let Some(record) = records.next().await {
        let record = record?;
        if let Some(words) = record.failure() {
            if build.quiet {
                eprint!("{said}");
            }
            anyhow::bail!(words.to_owned());
        }
        if let Some(status) = &record.status {
            board.tell(record.id.as_deref(), status, record.progress_detail.as_ref());
        }
        let Some(text) = &record.stream else { continue };
        match build.quiet {
            true => said.push_str(text),
            false => print!("{text}"),
        }
    }
    if build.quiet {
        println!("{}", said.trim().lines().last().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

/// The Dockerfile's path inside the context.
fn dockerfile(folder: &Path, file: Option<&Path>) -> anyhow::Result<String> {
    let Some(file) = file else { return Ok("Dockerfile".to_owned()) };
    let found = file.canonicalize().or_else(|_| folder.join(file).canonicalize());
    let found = found.with_context(|| format!("Dockerfile {}", file.display()))?;
    let inside = found.strip_prefix(folder).with_context(|| {
        format!(
            "{} is not inside of {}; move it there, or build from a folder above both",
            found.display(),
            folder.display()
        )
    })?;
    Ok(inside.to_string_lossy().into_owned())
}

/// The rules of `<Dockerfile>.dockerignore`, else of `.dockerignore`.
fn ignored(folder: &Path, dockerfile: &str) -> anyhow::Result<Ignored> {
    let own = format!("{dockerfile}.dockerignore");
    let text = fs::read_to_string(folder.join(&own)).or_else(|_| fs::read_to_string(folder.join(FILE_NAME)));
    let rules = IgnoreRules::parse(&text.unwrap_or_default())?;
    Ok(Ignored { rules, kept: vec![dockerfile.to_owned(), FILE_NAME.to_owned(), own] })
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn arguments(texts: &[String]) -> HashMap<String, String> {
    let whole = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.clone(), value)),
    };
    texts.iter().filter_map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_goes_along_whatever_is_ignored() {
        let rules = IgnoreRules::parse("*\n").unwrap();
        let filter = Ignored { rules, kept: vec!["deploy/Dockerfile".to_owned()] };
        assert!(filter.excludes(Path::new("src")));
        assert!(!filter.excludes(Path::new("deploy/Dockerfile")));
        assert!(!filter.excludes_all_below(Path::new("deploy")));
        assert!(filter.excludes_all_below(Path::new("src")));
    }
}
