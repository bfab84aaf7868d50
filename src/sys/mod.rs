//! System calls that no crate wraps: the only room with `unsafe`.

#![allow(unsafe_code)] // the one room where it is allowed; every block carries its SAFETY line

pub mod readiness;
pub mod spawn;
