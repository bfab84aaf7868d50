//! System calls that no crate wraps: the only room with `unsafe`.

#![allow(unsafe_code)] // the one room where it is allowed; every block carries its SAFETY line

pub mod bpf;
pub mod command_line;
pub mod memory;
pub mod mount;
pub mod process;
pub mod readiness;
pub mod rights;
pub mod signal;
pub mod spawn;
pub mod userns;
