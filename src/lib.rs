//! Boxyard: a full-screen terminal workbench for containers that brings its own engine.
//!
//! One binary holds both halves: a TUI that people drive from the keyboard, and a container engine that needs no
//! daemon. Between the two stands one seam, the Docker Engine API, so the same TUI drives any Docker host and any
//! Docker client drives our engine.
//!
//! | room | what it holds | may know |
//! | --- | --- | --- |
//! | [`cli`] | the command line: each verb is client calls plus printing | [`client`], [`dockerfile`] |
//! | [`tui`] | everything a person sees | [`client`], [`dockerfile`] |
//! | [`client`] | Docker Engine API client in bollard's shapes | nothing of ours |
//! | [`dockerfile`] | lexer, parser, AST with spans, expansion, ignore rules; pure | nothing of ours |
//! | [`api`] | the Docker Engine API server | [`engine`] |
//! | [`engine`] | images, layers, containers, networks, volumes, builds | [`dockerfile`] (build only), [`sys`] |
//! | [`sys`] | the only place with `unsafe`: system calls that no crate wraps | nothing of ours |
//!
//! `client` and `engine` never know each other; only `main.rs`, the composition root, joins them.
//! `tests/architecture.rs` keeps these arrows.

pub mod api;
pub mod buildkit;
pub mod cli;
pub mod client;
pub mod dockerfile;
pub mod engine;
pub mod sys;
pub mod tui;
