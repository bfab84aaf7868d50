//! Everything a person sees. Knows the client and the Dockerfile language, never the engine.
