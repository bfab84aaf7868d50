//! Docker Engine API client in bollard's shapes.

pub mod build_trace;
