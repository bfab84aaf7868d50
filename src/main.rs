//! Which role is this process? The composition root: the only place where client and engine meet.
//!
//! `boxyard shim` and `boxyard oci` come first, before anything else is looked at: they must stay small and must not
//! start a thread. Everything else is told by the command line.

mod roles;

use std::process::ExitCode;

use boxyard::engine::bundle;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|name| name == bundle::NAME) {
        return bundle::main(words);
    }
    match words.next().as_ref().and_then(|role| role.to_str()) {
        Some("shim") => return boxyard::engine::shim::process::main(words),
        Some("oci") => return bundle::main(words),
        _ => {}
    }
    roles::play(boxyard::cli::Arguments::from_command_line())
}
