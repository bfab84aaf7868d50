//! Builds: Dockerfile to stage graph to operations, content-based cache, executor, progress.
