//! How long a Dockerfile of 10,000 lines takes to read, to print and to format: an editor does it on every key stroke.
//!
//! Run with `cargo bench --bench dockerfile`. It prints the fastest and the middle of fifty runs; the budget for reading
//! is 20 ms.

#![allow(clippy::unwrap_used)] // a bench fails by panicking

use std::hint::black_box;
use std::time::{Duration, Instant};

use boxyard::dockerfile::fmt::{Style, format};
use boxyard::dockerfile::{parse, parse_without_lint};

const LINES: usize = 10_000;
const RUNS: usize = 50;

/// A file of every kind of instruction, as large ones are: many stages, long RUNs, heredocs, comments.
fn sample() -> String {
    let stage = "\
FROM --platform=$BUILDPLATFORM debian:12 AS stageNAME
ARG VERSION=1.2 TARGETARCH
ENV PATH=/opt/app/bin:$PATH \\
    APP_HOME=/opt/app \\
    GREETING=\"hello world\"
LABEL org.example.title=\"a sample\" org.example.version=$VERSION
# what it needs
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
    apt-get update && \\
    # only what is needed
    apt-get install -y --no-install-recommends \\
        ca-certificates=20230311 \\
        curl=7.88.1 && \\
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY --link --chown=1000:1000 go.mod go.sum ./
COPY <<config.toml <<-'run.sh' /etc/app/
level = \"$LEVEL\"
config.toml
\t#!/bin/sh
\texec app
\trun.sh
EXPOSE 80 443/tcp
HEALTHCHECK --interval=30s --start-interval=1s CMD [\"curl\", \"-f\", \"http://localhost/\"]

USER app:app
ENTRYPOINT [\"/opt/app/bin/app\"]
CMD [\"serve\"]

";
    let mut text = String::from("# syntax=docker/dockerfile:1\n");
    let mut count = 0;
    let lines = stage.lines().count();
    while count * lines < LINES {
        text.push_str(&stage.replace("NAME", &count.to_string()));
        count += 1;
    }
    text
}

fn measure(name: &str, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{name:<10} fastest {:>9.2?}   middle {:>9.2?}", times[0], times[RUNS / 2]);
}

fn main() {
    let text = sample();
    let parsed = parse_without_lint(&text);
    assert_eq!(parsed.first_error(), None);
    println!("{} lines, {} instructions, {} bytes", text.lines().count(), parsed.file.instructions.len(), text.len());
    measure("parse", || drop(black_box(parse_without_lint(black_box(&text)))));
    measure("and lint", || drop(black_box(parse(black_box(&text)))));
    measure("print", || drop(black_box(parsed.file.to_string())));
    measure("format", || drop(black_box(format(black_box(&text), Style::default()))));
}
