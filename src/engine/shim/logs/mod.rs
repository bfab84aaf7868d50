//! A container's log as Docker's json-file: written by its shim, read by any engine, also long after the end.
//!
//! One JSON object a line (`{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}`); a line of more
//! than 16 KiB is in several of them, of which only the last ends in a newline. `PATH` is the file being written, `PATH.1` the
//! one before it, and so on; rotated ones may be gzipped (`.gz`, see [`archive`]).

mod archive;
mod cursor;
mod file;
mod files;
mod line;
mod news;
mod position;
mod query;
mod relay;
mod split;
mod write;

pub use file::Compression;
pub use position::LogPosition;
pub use query::{Attrs, Follow, LogEntry, LogError, LogQuery, LogStream, read};
pub use relay::keep;
pub use write::LogWriter;

#[cfg(test)]
mod tests;
