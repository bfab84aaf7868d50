//! A moment in a log's life, told by its file: so that one reader can stop exactly where another begins.

use serde::{Deserialize, Serialize};

/// How far a log was written at some moment. Stays right when the file is rotated or compressed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The inode of the file that was being written.
    pub inode: u64,
    /// How many bytes it had; a line ended there.
    pub length: u64,
}
