//! The command line: clap definitions and verbs. Each verb is client calls plus printing.
