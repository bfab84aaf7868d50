//! The Dockerfile language: pure, shared by the editor and the builder.
