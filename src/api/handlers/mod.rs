//! The handlers, a file per resource. Each reads its call into the engine's own options, asks, and says what it returns.

pub mod archives;
pub mod builds;
pub mod containers;
pub mod events;
pub mod execs;
pub mod history;
pub mod images;
pub mod logs;
pub mod networks;
pub mod swarm;
pub mod system;
pub mod usage;
pub mod volumes;
