//! The command line: what can be typed, and the verbs. Each verb is client calls plus printing.

mod arguments;

pub use arguments::{Arguments, Role, Roots, Serve, print_completion};
