//! All verbs, and which function does each.

use std::process::ExitCode;

use clap::Subcommand;

use super::{build, builds, images, lifecycle, lists, run, stats, system};
use crate::client::Docker;

/// Something to do on an engine, named as docker names it.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List containers
    Ps(lists::Ps),
    /// List images
    Images(lists::Images),
    /// Make a container of an image and run it
    Run(Box<run::Run>),
    /// Make a container of an image
    Create(Box<run::Create>),
    /// Run a program beside a container's own
    Exec(run::Exec),
    /// Start containers
    Start(run::Start),
    /// Stay with a running container
    Attach(run::Attach),
    /// Stop containers
    Stop(lifecycle::Stop),
    /// Stop and start containers
    Restart(lifecycle::Stop),
    /// Send containers a signal
    Kill(lifecycle::Kill),
    /// Freeze containers
    Pause(lifecycle::Names),
    /// Let frozen containers run again
    Unpause(lifecycle::Names),
    /// Give a container another name
    Rename(lifecycle::Rename),
    /// Remove containers
    Rm(lifecycle::Remove),
    /// Wait for containers to end and print their exit codes
    Wait(lifecycle::Names),
    /// Show a container's log
    Logs(lifecycle::Logs),
    /// Show a container's processes
    Top(lifecycle::Top),
    /// Show what containers use
    Stats(stats::Stats),
    /// Tell all about containers, images, networks or volumes
    Inspect(lifecycle::Inspect),
    /// Get an image from a registry
    Pull(images::Pull),
    /// Put an image into a registry
    Push(images::Push),
    /// Give an image another name
    Tag(images::Tag),
    /// Remove images
    Rmi(images::Remove),
    /// Show how an image came to be
    History(lists::History),
    /// Load images from an archive
    Load(images::Load),
    /// Save images into an archive
    Save(images::Save),
    /// Build an image from a Dockerfile
    Build(Box<build::Build>),
    /// Show what was built: ls, show, logs, rm
    Builds(builds::Builds),
    /// The build cache: du, prune
    #[command(subcommand)]
    Builder(builds::Builder),
    /// Networks: ls, create, rm, connect, disconnect
    #[command(subcommand)]
    Network(system::Network),
    /// Volumes: ls, create, rm
    #[command(subcommand)]
    Volume(system::Volume),
    /// The engine's disk: df, prune; info, events
    #[command(subcommand)]
    System(system::System),
    /// Show what happens
    Events(system::Events),
    /// Show facts about the engine
    Info(system::Show),
    /// Show the versions of client and engine
    Version(system::Show),
}

/// Does `verb` on `docker` and tells the exit code.
///
/// # Errors
/// What the engine refused, in its words.
pub async fn perform(docker: &Docker, verb: &Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Ps(verb) => lists::containers(docker, verb).await,
        Verb::Images(verb) => lists::images(docker, verb).await,
        Verb::Run(verb) => run::run(docker, verb).await,
        Verb::Create(verb) => run::create(docker, verb).await,
        Verb::Exec(verb) => run::exec(docker, verb).await,
        Verb::Start(verb) => run::start(docker, verb).await,
        Verb::Attach(verb) => run::attach(docker, verb).await,
        Verb::Stop(verb) => lifecycle::stop(docker, verb).await,
        Verb::Restart(verb) => lifecycle::restart(docker, verb).await,
        Verb::Kill(verb) => lifecycle::kill(docker, verb).await,
        Verb::Pause(verb) => lifecycle::pause(docker, verb).await,
        Verb::Unpause(verb) => lifecycle::unpause(docker, verb).await,
        Verb::Rename(verb) => lifecycle::rename(docker, verb).await,
        Verb::Rm(verb) => lifecycle::remove(docker, verb).await,
        Verb::Wait(verb) => lifecycle::wait(docker, verb).await,
        Verb::Logs(verb) => lifecycle::logs(docker, verb).await,
        Verb::Top(verb) => lifecycle::top(docker, verb).await,
        Verb::Stats(verb) => stats::stats(docker, verb).await,
        Verb::Inspect(verb) => lifecycle::inspect(docker, verb).await,
        Verb::Pull(verb) => images::pull_verb(docker, verb).await,
        Verb::Push(verb) => images::push(docker, verb).await,
        Verb::Tag(verb) => images::tag(docker, verb).await,
        Verb::Rmi(verb) => images::remove(docker, verb).await,
        Verb::History(verb) => lists::history(docker, verb).await,
        Verb::Load(verb) => images::load(docker, verb).await,
        Verb::Save(verb) => images::save(docker, verb).await,
        Verb::Build(verb) => build::build(docker, verb).await,
        Verb::Builds(verb) => builds::builds(docker, verb).await,
        Verb::Builder(verb) => builds::builder(docker, verb).await,
        Verb::Network(verb) => system::network(docker, verb).await,
        Verb::Volume(verb) => system::volume(docker, verb).await,
        Verb::System(verb) => system::system(docker, verb).await,
        Verb::Events(verb) => system::events(docker, verb).await,
        Verb::Info(verb) => system::info(docker, verb).await,
        Verb::Version(verb) => system::version(docker, verb).await,
    }
}
