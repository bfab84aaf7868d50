//! The state root: one lock, atomic records, temp folders with an owner, trash that is swept.
//!
//! Nothing becomes visible before it is whole: records are written beside their place and renamed into it, folders are
//! filled under `tmp/` and renamed out of it. What a killed engine leaves in `tmp/` and `trash/` goes at the next start.

mod record;
mod root;

pub use record::{RecordError, read_record, remove_record, sync_record, write_record, write_volatile_record};
pub use root::{StateRoot, StateRootError, Trash};
