//! The roles a process can play: the screen, the engine without a screen, a verb of the command line.
//!
//! All that need an engine get it in one way ([`handover`]): they join the one that runs, or become it.

mod demo;
mod embedded;
mod handover;
mod logging;
mod priority;
mod screen;
mod serve;
mod verbs;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use boxyard::cli::{Arguments, Role, Roots};
use boxyard::client::{Docker, HostChoice};
use boxyard::engine::build::Budget;
use boxyard::engine::instance::Instance;
use boxyard::engine::remap::Shift;
use boxyard::engine::runtimes::Runtimes;

use handover::Handover;
use priority::Usual;

/// Plays the role that `arguments` name and tells how it ended.
pub fn play(arguments: Arguments) -> ExitCode {
    let outcome = match &arguments.role {
        Some(Role::Serve(serve)) => serve::play(&arguments.roots, serve),
        Some(Role::Demo(demo)) => demo::play(&arguments, demo),
        Some(Role::Verb(verb)) => verbs::play(&arguments, verb),
        Some(Role::Fmt(fmt)) => boxyard::cli::format_files(fmt),
        Some(Role::Lint(lint)) => boxyard::cli::check_files(lint),
        Some(Role::Completion { shell }) => {
            boxyard::cli::print_completion(*shell);
            Ok(ExitCode::SUCCESS)
        }
        None => screen::play(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("boxyard: {}", boxyard::cli::causes(&error));
        ExitCode::FAILURE
    })
}

/// The engine's identity, from paths as a person wrote them.
fn instance(roots: &Roots) -> anyhow::Result<Instance> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| path.display().to_string());
    let setting = roots.userns_remap.as_deref().filter(|setting| !setting.is_empty());
    let remap = setting.map(Shift::from_setting).transpose()?;
    let budget = Budget::from_setting(roots.build_cache.as_deref().unwrap_or_default())?;
    Ok(Instance::new(&absolute(&roots.root)?, &absolute(&roots.run)?).with_remap(remap).with_build_cache(budget))
}

/// The OCI runtimes that are installed here.
fn runtimes() -> Runtimes {
    Runtimes::in_path(&std::env::var_os("PATH").unwrap_or_default())
}

/// Where the client leads.
pub struct Joined {
    /// The client.
    pub docker: Docker,
    /// Our own engine's transport, where it is our own engine.
    pub handover: Option<Handover>,
}

/// A client of the host that the flags or the environment name; of our own engine where they name none. A Docker
/// context counts only where it is asked for (`--context`, `DOCKER_CONTEXT`): who starts boxyard means boxyard.
fn join(arguments: &Arguments) -> anyhow::Result<Joined> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let host =
        arguments.host.clone().or_else(|| arguments.context.is_none().then(|| variable("DOCKER_HOST")).flatten());
    if let Some(host) = host {
        return Ok(Joined { docker: Docker::connect_with_host(&host)?, handover: None });
    }
    let context = arguments.context.clone().or_else(|| variable("DOCKER_CONTEXT")).filter(|name| name != "default");
    if let Some(context) = context {
        let folder = variable("DOCKER_CONFIG")
            .map(std::path::PathBuf::from)
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")))
            .context("a Docker context is named, but HOME is not set: nowhere to look for it")?;
        let choice = HostChoice::named(&context, &folder)?;
        return Ok(Joined { docker: Docker::connect_with_host(choice.host())?, handover: None });
    }
    let handover = Handover::new(instance(&arguments.roots)?);
    Ok(Joined { docker: Docker::connect_with_transport(Arc::new(handover.clone())), handover: Some(handover) })
}

/// How long a thread for blocking work waits for the next: less than the engine does before it gives memory back, so that
/// what a hundred of them had is among that.
const IDLE_THREADS: Duration = Duration::from_millis(500);

/// The runtime of every role but the shim.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let usual = Usual::of_this_thread();
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads
        .enable_all()
        .thread_keep_alive(IDLE_THREADS)
        .on_thread_start(move || usual.take())
        .build()
        .context("start threads")
}

/// Refuses to become the engine without root, before anything is touched.
fn must_be_root() -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "the engine needs root: namespaces, mounts, cgroups and network links can't be made without.\n\
         Try `sudo boxyard`, or drive a Docker host instead: `boxyard -H unix:///var/run/docker.sock`"
    )
}
