//! Volumes and mounts: data that outlives containers, and what a container has mounted where.
//!
//! [`Volumes`] keeps named and anonymous volumes under `<root>/volumes/<name>/{_data, volume.json}`. [`plan`] is pure: it
//! turns `-v`, `--mount`, `--tmpfs`, image volumes and `--volumes-from` into one list of [`MountRequest`]s, or Docker's
//! words of refusal. The container room carries the list: at create through [`Volumes::realise`], at start through
//! [`Volumes::mount`], at removal through [`Volumes::release`].

pub mod plan;
mod volumes;

pub use plan::{MountInput, MountRequest, MountSource, mount_requests};
pub use volumes::{ListVolumes, MountedPoint, VolumeUsers, Volumes};
