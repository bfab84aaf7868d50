//! `boxyard oci …`: containers of prepared bundles, by runc's command line, for dockerd, containerd and podman.
//!
//! Every call is a process of its own that ends soon; what lasts is the container's first process, which then belongs
//! to whoever called (no shim of ours is in between), and a directory below `--root` with its state. So this role never
//! starts a thread, and it first becomes a copy of the program that no container can write to ([`sealed`]).

mod command;
mod console;
mod create;
mod exec;
mod failure;
mod lifecycle;
mod observe;
mod sealed;
mod show;
mod state;
mod template;
mod update;

use std::ffi::OsString;
use std::process::ExitCode;

use command::Command;
use failure::Failure;

/// The name under which the program plays this role without being told, for callers that take only a path.
pub const NAME: &str = "boxyard-oci";

/// Plays the role. `words` are the arguments after `oci`.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Result<Vec<String>, OsString> = words.map(OsString::into_string).collect();
    let command = match words.map_err(|word| Failure::usage(format!("{} is no text", word.display()))) {
        Ok(words) => match Command::parse(words) {
            Ok(command) => command,
            Err(failure) => return failure.tell(&failure::Log::default()),
        },
        Err(failure) => return failure.tell(&failure::Log::default()),
    };
    match perform(&command) {
        Ok(code) => code,
        Err(failure) => failure.tell(&command.log),
    }
}

fn perform(command: &Command) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match command.verb.as_str() {
        "create" => create::create(command).map(done),
        "run" => create::run(command),
        "start" => lifecycle::start(command).map(done),
        "exec" => exec::exec(command),
        "kill" => lifecycle::kill(command).map(done),
        "delete" => lifecycle::delete(command).map(done),
        "pause" => lifecycle::pause(command).map(done),
        "resume" => lifecycle::resume(command).map(done),
        "update" => update::update(command).map(done),
        "state" => show::state(command).map(done),
        "list" => show::list(command).map(done),
        "ps" => show::ps(command).map(done),
        "events" => observe::events(command).map(done),
        "features" => template::features().map(done),
        "spec" => template::spec(command).map(done),
        "version" => template::version().map(done),
        "help" => template::help().map(done),
        other => Err(Failure::usage(format!("no such command: {other} (see boxyard oci help)"))),
    }
}
