//! The distribution client: resolve, authenticate, pull, push.
