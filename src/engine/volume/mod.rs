//! Volumes: named, anonymous; created, used, removed.
