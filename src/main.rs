//! Which role is this process? The composition root: the only place where client and engine meet.
//!
//! `boxyard shim` comes first, before anything else is looked at: a container's shim must stay small and must not start
//! a thread. Everything else is told by the command line.

mod roles;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|role| role == "shim") {
        return boxyard::engine::shim::process::main(words);
    }
    roles::play(boxyard::cli::Arguments::from_command_line())
}
