//! The one small process per container: stdio, logs, exit status, DNS.
