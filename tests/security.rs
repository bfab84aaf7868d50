//! Attacks on real containers: the escapes of runc, crun and Docker since 2018, and what else would be tried first.
//!
//! Each test plays a hostile image, a hostile program in a container, or a hostile value in a request, and looks at what
//! it got. docs/security.md says what the walls are.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

#[path = "security/attack.rs"]
mod attack;
#[path = "security/builds.rs"]
mod builds;
#[path = "security/confinement.rs"]
mod confinement;
#[path = "security/copies.rs"]
mod copies;
#[path = "security/escapes.rs"]
mod escapes;
#[path = "security/images.rs"]
mod images;
#[path = "security/labels.rs"]
mod labels;
#[path = "security/networks.rs"]
mod networks;
#[path = "security/syscalls.rs"]
mod syscalls;
#[path = "security/users.rs"]
mod users;
