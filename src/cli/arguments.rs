//! What can be typed on the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::fmt::Fmt;
use super::lint::Lint;
use super::verb::Verb;

/// A full-screen terminal workbench for containers that brings its own engine.
///
/// Without a command it opens the screen: on its own engine (which starts in this process, or is joined where it runs
/// already), or on the Docker host that -H, --context or DOCKER_HOST name.
#[derive(Debug, Parser)]
#[command(name = "boxyard", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Arguments {
    /// Where the engine keeps and finds its things.
    #[command(flatten)]
    pub roots: Roots,

    /// Drive this host instead: unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST
    #[arg(short = 'H', long)]
    pub host: Option<String>,

    /// Drive the host of this Docker context instead
    #[arg(short, long, conflicts_with = "host")]
    pub context: Option<String>,

    /// The screen's theme: a name (dark, light, ...) or a theme file; what suits the terminal where it is missing
    #[arg(long)]
    pub theme: Option<String>,

    /// Draw the screen with ASCII alone
    #[arg(long)]
    pub ascii: bool,

    /// What to do; the screen where it is missing.
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// The engine's two roots.
#[derive(Debug, Clone, Args)]
pub struct Roots {
    /// The engine's state root: images, layers, containers, volumes
    #[arg(long, global = true, env = "BOXYARD_ROOT", default_value = "/var/lib/boxyard", hide_env_values = true)]
    pub root: PathBuf,

    /// The engine's run root: its socket and what lives until a reboot
    #[arg(long, global = true, env = "BOXYARD_RUN", default_value = "/run/boxyard", hide_env_values = true)]
    pub run: PathBuf,

    /// Give containers ids of their own on the host: default, USER[:GROUP] (of /etc/subuid, /etc/subgid) or FIRST+COUNT
    #[arg(long, global = true, env = "BOXYARD_USERNS_REMAP", value_name = "IDS", hide_env_values = true)]
    pub userns_remap: Option<String>,

    /// What the build cache may keep: reserve=10%,max=60%,free=20%,age=60d (the defaults), each a size, a part of the disk or
    /// none; a size alone is max
    #[arg(long, global = true, env = "BOXYARD_BUILD_CACHE", value_name = "LIMITS", hide_env_values = true)]
    pub build_cache: Option<String>,
}

/// What a process can be told to do.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Run the engine without a screen, for servers and other Docker clients
    Serve(Serve),
    /// Open the screen on a small living scene, made from nothing but this host's own programs
    Demo(Demo),
    /// Bring Dockerfiles into one layout, without changing what they mean
    Fmt(Fmt),
    /// Check Dockerfiles: what does not build, and what should be written otherwise
    Lint(Box<Lint>),
    /// Print a completion script for a shell
    Completion {
        /// For which shell
        shell: Shell,
    },
    /// A verb on containers, images, networks or volumes.
    #[command(flatten)]
    Verb(Verb),
}

/// How to show the demo.
#[derive(Debug, Args)]
pub struct Demo {
    /// Remove all that an earlier demo made
    #[arg(long)]
    pub clean: bool,
    /// Only make the scene; do not open the screen
    #[arg(long, conflicts_with = "clean")]
    pub no_screen: bool,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    /// Listen here too: unix:///PATH or tcp://127.0.0.1:PORT (may be repeated)
    #[arg(long = "host", value_name = "URL")]
    pub hosts: Vec<String>,

    /// Let containers run under this OCI runtime too (may be repeated); runc and crun are found where they are installed
    #[arg(long = "add-runtime", value_name = "NAME=PATH")]
    pub add_runtimes: Vec<String>,
}

impl Arguments {
    /// Reads this process's command line; help, version and mistakes end it here.
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

/// Prints a completion script.
pub fn print_completion(shell: Shell) {
    clap_complete::generate(shell, &mut Arguments::command(), "boxyard", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Arguments::command().debug_assert();
    }
}
