//! The verbs on images: pull, push, tag, remove, load, save.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use clap::Args;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::words::size;
use crate::client::models::ProgressDetail;
use crate::client::query_parameters::{
    CreateImageOptions, ImportImageOptions, PushImageOptions, RemoveImageOptions, TagImageOptions,
};
use crate::client::{Docker, DockerCredentials, RequestBody};

/// What to pull.
#[derive(Debug, Args)]
pub struct Pull {
    /// OS/ARCH instead of this machine's own
    #[arg(long)]
    platform: Option<String>,
    /// Print nothing but the name
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

/// What to push.
#[derive(Debug, Args)]
pub struct Push {
    image: String,
}

/// Which name to give.
#[derive(Debug, Args)]
pub struct Tag {
    image: String,
    name: String,
}

/// Which images to remove.
#[derive(Debug, Args)]
pub struct Remove {
    /// Also where it has several names or stopped containers
    #[arg(short, long)]
    force: bool,
    /// Keep parents without a name
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true)]
    images: Vec<String>,
}

/// Where to load from.
#[derive(Debug, Args)]
pub struct Load {
    /// An archive; standard input where it is missing
    #[arg(short, long)]
    input: Option<PathBuf>,
    /// Print no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Where to save to.
#[derive(Debug, Args)]
pub struct Save {
    /// The archive; standard output where it is missing
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[arg(required = true)]
    images: Vec<String>,
}

/// Splits a name from its tag; a colon before a slash belongs to a registry's port. A digest stays with the name.
pub fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') && !name.contains('@') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// Pulls an image and shows how it goes on standard error.
pub async fn pull(docker: &Docker, image: &str, platform: Option<&str>) -> anyhow::Result<()> {
    let (repository, tag) = split_tag(image);
    let tag = tag.or_else(|| (!image.contains('@')).then_some("latest"));
    let options = CreateImageOptions {
        from_image: Some(repository.to_owned()),
        tag: tag.map(str::to_owned),
        platform: platform.unwrap_or_default().to_owned(),
        ..CreateImageOptions::default()
    };
    let mut messages = pin!(docker.create_image(Some(options), None, credentials(image)));
    let mut board = Board::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        if let Some(words) = message.error_detail.and_then(|detail| detail.message) {
            anyhow::bail!(words);
        }
        board.tell(
            message.id.as_deref(),
            message.status.as_deref().unwrap_or_default(),
            message.progress_detail.as_ref(),
        );
    }
    Ok(())
}

pub async fn pull_verb(docker: &Docker, verb: &Pull) -> anyhow::Result<ExitCode> {
    pull(docker, &verb.image, verb.platform.as_deref()).await?;
    println!("{}", verb.image);
    Ok(ExitCode::SUCCESS)
}

pub async fn push(docker: &Docker, push: &Push) -> anyhow::Result<ExitCode> {
    let (repository, tag) = split_tag(&push.image);
    let options = PushImageOptions { tag: tag.map(str::to_owned), ..PushImageOptions::default() };
    let mut messages = pin!(docker.push_image(repository, Some(options), credentials(&push.image)));
    let mut board = Board::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        if let Some(words) = message.error_detail.and_then(|detail| detail.message) {
            anyhow::bail!(words);
        }
        board.tell(None, message.status.as_deref().unwrap_or_default(), message.progress_detail.as_ref());
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn tag(docker: &Docker, tag: &Tag) -> anyhow::Result<ExitCode> {
    let (repository, name) = split_tag(&tag.name);
    let options = TagImageOptions { repo: Some(repository.to_owned()), tag: name.map(str::to_owned) };
    docker.tag_image(&tag.image, Some(options)).await?;
    Ok(ExitCode::SUCCESS)
}

pub async fn remove(docker: &Docker, remove: &Remove) -> anyhow::Result<ExitCode> {
    let mut outcome = ExitCode::SUCCESS;
    for image in &remove.images {
        let options = RemoveImageOptions { force: remove.force, noprune: remove.no_prune, platforms: None };
        match docker.remove_image(image, Some(options), None).await {
            Ok(gone) => {
                for item in gone {
                    item.untagged.iter().for_each(|name| println!("Untagged: {name}"));
                    item.deleted.iter().for_each(|id| println!("Deleted: {id}"));
                }
            }
            Err(error) => {
                eprintln!("boxyard: {error}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    Ok(outcome)
}

pub async fn load(docker: &Docker, load: &Load) -> anyhow::Result<ExitCode> {
    let body: RequestBody = match &load.input {
        Some(path) => {
            let file =
                tokio::fs::File::open(path).await.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            streamed(file)
        }
        None if io::stdin().is_terminal() => anyhow::bail!("an archive is wanted: --input FILE, or on standard input"),
        None => streamed(tokio::io::stdin()),
    };
    let options = ImportImageOptions { quiet: load.quiet, ..ImportImageOptions::default() };
    let mut messages = pin!(docker.import_image(options, body));
    while let Some(message) = messages.next().await {
        let message = message?;
        if let Some(words) = message.failure() {
            anyhow::bail!(words.to_owned());
        }
        message.stream.iter().for_each(|text| print!("{text}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A file or a pipe as a request's body.
fn streamed(reader: impl AsyncRead + Send + Sync + 'static) -> RequestBody {
    let frames = ReaderStream::new(reader).map(|chunk| chunk.map(Frame::data));
    BodyExt::boxed(StreamBody::new(frames))
}

pub async fn save(docker: &Docker, save: &Save) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = save.images.iter().map(String::as_str).collect();
    let mut archive = pin!(docker.export_images(&names));
    let mut to: Box<dyn Write> = match &save.output {
        Some(path) => {
            Box::new(std::fs::File::create(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?)
        }
        None if io::stdout().is_terminal() => {
            anyhow::bail!("an archive is no text for a terminal: --output FILE, or a pipe")
        }
        None => Box::new(io::stdout()),
    };
    while let Some(chunk) = archive.next().await {
        to.write_all(&chunk?)?;
    }
    to.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What `~/.docker/config.json` holds for the registry of `image`, where it holds it in the open.
pub fn credentials(image: &str) -> Option<DockerCredentials> {
    let registry = match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "https://index.docker.io/v1/",
    };
    all_credentials().remove(registry)
}

/// All credentials that `~/.docker/config.json` holds in the open, by registry.
pub fn all_credentials() -> HashMap<String, DockerCredentials> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let text = folder.and_then(|folder| std::fs::read(folder.join("config.json")).ok()).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let entries = config.get("auths").and_then(|auths| auths.as_object()).into_iter().flatten();
    entries
        .filter_map(|(registry, entry)| {
            let mut found: DockerCredentials = serde_json::from_value(entry.clone()).ok()?;
            let (user, password) = user_and_password(found.auth.as_deref()?)?;
            // Builds hand these on, and some engines read no other form.
            found.username.get_or_insert(user);
            found.password.get_or_insert(password);
            found.serveraddress = Some(registry.clone());
            Some((registry.clone(), found))
        })
        .collect()
}

/// What `auth` of docker's configuration holds: `user:password` in base64.
fn user_and_password(auth: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let bytes = base64::prelude::BASE64_STANDARD.decode(auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Progress by layer: a line each on a terminal, redrawn in place; elsewhere one line for each change of state.
pub struct Board {
    lines: Vec<(String, String)>,
    is_live: bool,
}

impl Board {
    /// An empty board on standard error.
    pub fn new() -> Self {
        Self { lines: Vec::new(), is_live: io::stderr().is_terminal() }
    }

    /// Shows what is so with `id`, or a line of its own.
    pub fn tell(&mut self, id: Option<&str>, status: &str, detail: Option<&ProgressDetail>) {
        let Some(id) = id else {
            eprintln!("{status}");
            self.lines.clear();
            return;
        };
        let known = self.lines.iter().position(|(known, _)| known == id);
        let is_news = known.and_then(|index| self.lines.get(index)).is_none_or(|(_, last)| last != status);
        let index = known.unwrap_or_else(|| {
            self.lines.push((id.to_owned(), String::new()));
            self.lines.len() - 1
        });
        if let Some((_, last)) = self.lines.get_mut(index) {
            status.clone_into(last);
        }
        if !self.is_live {
            if is_news {
                eprintln!("{id}: {status}");
            }
            return;
        }
        let done = detail.and_then(|detail| Some((detail.current?, detail.total?)));
        let done = done.map(|(current, total)| format!(" {}/{}", size(current, 4), size(total, 4))).unwrap_or_default();
        let up = self.lines.len() - index;
        match known {
            // Up to its line, clear it, write, and back down.
            Some(_) => eprint!("\x1b[{up}A\x1b[2K\r{id}: {status}{done}\x1b[{up}B\r"),
            None => eprintln!("{id}: {status}{done}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split_tag("a:1"), ("a", Some("1")));
        assert_eq!(split_tag("127.0.0.1:5000/a"), ("127.0.0.1:5000/a", None));
        assert_eq!(split_tag("127.0.0.1:5000/a:b"), ("127.0.0.1:5000/a", Some("b")));
        assert_eq!(split_tag("a@sha256:00"), ("a@sha256:00", None));
    }
}
