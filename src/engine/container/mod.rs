//! Containers: records, the state machine, lifecycle verbs.
