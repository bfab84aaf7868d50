//! Volumes and mounts: data that outlives containers, and what a container has mounted where.
//!
//! [`Volumes`] keeps named and anonymous volumes under `<root>/volumes/<name>/{_data, volume.json}`. [`plan`] is pure: it
//! turns `-v`, `--mount`, `--tmpfs`, image volumes and `--volumes-from` into one list of [`MountRequest`]s, or Docker's
//! words of refusal. The container room carries the list on: at create through [`Volumes::realise`] and
//! [`Volumes::copy_up`], at start through [`Volumes::mount`], at its end through [`Volumes::unmount`], at removal through
//! [`Volumes::release`]. In between it keeps the [`MountedPoint`]s in the container's record.

pub(in crate::engine) mod copy;
mod mode;
mod mounting;
pub mod options;
pub mod plan;
mod point;
mod propagation;
mod record;
mod spec;
#[cfg(test)]
mod tests;
mod usage;
mod volumes;

pub use plan::{MountInput, MountOrigin, MountRequest, MountSource, mount_requests};
pub use point::MountedPoint;
pub use record::VolumeRecord;
pub use spec::volumes_from;
pub use volumes::{ListVolumes, VolumeUsers, Volumes};
