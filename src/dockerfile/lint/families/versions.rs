//! Packages of languages and distributions without a version.

use super::super::linter::Linter;
use super::super::rule::{Rule, Shown};
use super::super::scene::Scene;
use super::super::shell::{Simple, Word};
use super::packages::{pip_install, verb};

const APK: Rule = Rule::advice(
    "ApkPinVersions",
    &["DL3018"],
    "apk packages should have a version",
    "Without a version each build takes whatever the branch has that day. Name it: `curl=8.9.1-r1`, or `curl~=8.9` for the \
     newest of a series.",
    Shown {
        bad: "FROM alpine:3.20\nRUN apk add --no-cache «curl» git=2.45.2-r0\n",
        good: "FROM alpine:3.20\nRUN apk add --no-cache curl=8.9.1-r1 git=2.45.2-r0\n",
    },
);

const PIP: Rule = Rule::advice(
    "PipPinVersions",
    &["DL3013"],
    "pip packages should have a version",
    "Without a version each build may get another one, with other bugs. Write `flask==3.1.0`, or install from a \
     requirements file that has the versions.",
    Shown {
        bad: "FROM python:3.13\nRUN pip install --no-cache-dir «flask»\n",
        good: "FROM python:3.13\nRUN pip install --no-cache-dir flask==3.1.0\n",
    },
);

const NPM: Rule = Rule::advice(
    "NpmPinVersions",
    &["DL3016"],
    "npm packages should have a version",
    "A package named without a version is whatever is newest that day. Write `typescript@5.6.3`, or let a lock file decide \
     (`npm ci`).",
    Shown {
        bad: "FROM node:22\nRUN npm install -g «typescript»\n",
        good: "FROM node:22\nRUN npm install -g typescript@5.6.3\n",
    },
);

const GEM: Rule = Rule::advice(
    "GemPinVersions",
    &["DL3028"],
    "gems should have a version",
    "A gem named without a version is whatever is newest that day. Write `rake:13.2.1`, or `-v 13.2.1`.",
    Shown { bad: "FROM ruby:3.3\nRUN gem install «rake»\n", good: "FROM ruby:3.3\nRUN gem install rake:13.2.1\n" },
);

const GO: Rule = Rule::advice(
    "GoPinVersions",
    &["DL3062"],
    "go install should name a version",
    "`@latest` is another version tomorrow. Write `@v1.2.3`.",
    Shown {
        bad: "FROM golang:1.23\nRUN go install «example.org/tool@latest»\n",
        good: "FROM golang:1.23\nRUN go install example.org/tool@v1.2.3\n",
    },
);

const CARGO: Rule = Rule::advice(
    "CargoPinVersions",
    &[],
    "cargo install should name a version",
    "Without a version the newest is installed, and without `--locked` with the newest of all it needs. Write \
     `cargo install --locked tool@1.2.3`.",
    Shown {
        bad: "FROM rust:1.82\nRUN cargo install --locked «ripgrep»\n",
        good: "FROM rust:1.82\nRUN cargo install --locked ripgrep@14.1.1\n",
    },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[APK, PIP, NPM, GEM, GO, CARGO];

/// One package manager's way to install.
struct Installer {
    rule: &'static Rule,
    kind: &'static str,
    /// The word after which packages stand.
    verb: fn(&Simple) -> Option<&Word>,
    /// Options that take the next word along.
    with_value: &'static [&'static str],
    /// Options that say where the versions are.
    versioned: &'static [&'static str],
    /// Whether a package has a version.
    is_pinned: fn(&str) -> bool,
}

const INSTALLERS: &[Installer] = &[
    Installer {
        rule: &APK,
        kind: "apk",
        verb: |command| verb(command, &["apk"], &["add"]),
        with_value: &[
            "-t",
            "--virtual",
            "-X",
            "--repository",
            "-p",
            "--root",
            "--repositories-file",
            "--keys-dir",
            "--arch",
        ],
        versioned: &[],
        is_pinned: |name| {
            name.contains(['=', '~', '<', '>', '@']) || name.starts_with(['.', '/']) || name.ends_with(".apk")
        },
    },
    Installer {
        rule: &PIP,
        kind: "pip",
        verb: pip_install,
        with_value: &[
            "-r",
            "--requirement",
            "-c",
            "--constraint",
            "-i",
            "--index-url",
            "--extra-index-url",
            "-f",
            "--find-links",
            "-t",
            "--target",
            "--prefix",
            "--root",
            "-e",
            "--editable",
            "--trusted-host",
            "--timeout",
            "--retries",
            "--proxy",
        ],
        versioned: &["-c", "--constraint"],
        is_pinned: |name| {
            name.contains(['=', '<', '>', '~', '@', '/']) || name.starts_with('.') || name.ends_with(".whl")
        },
    },
    Installer {
        rule: &NPM,
        kind: "npm",
        verb: |command| verb(command, &["npm", "pnpm", "yarn", "bun"], &["install", "i", "add"]),
        with_value: &["--prefix", "--registry", "-w", "--workspace", "--cwd", "-C", "--dir", "--filter"],
        versioned: &[],
        is_pinned: |name| {
            let version = name.rfind('@').filter(|at| *at > 0).and_then(|at| name.get(at + 1..));
            let is_path = name.starts_with(['.', '/', '~']) || name.contains(':') || name.ends_with(".tgz");
            is_path || version.is_some_and(|version| version != "latest")
        },
    },
    Installer {
        rule: &GEM,
        kind: "gem",
        verb: |command| verb(command, &["gem"], &["install"]),
        with_value: &["-v", "--version", "-i", "--install-dir", "-n", "--bindir", "-s", "--source", "--platform"],
        // A Gemfile has the versions.
        versioned: &["-v", "--version", "-g", "--file"],
        is_pinned: |name| name.contains(':') || name.ends_with(".gem"),
    },
    Installer {
        rule: &GO,
        kind: "go",
        verb: |command| verb(command, &["go"], &["install"]),
        with_value: &["-ldflags", "-tags", "-gcflags", "-mod", "-o", "-p", "-modfile"],
        versioned: &[],
        // Without any version it is a package of the module here.
        is_pinned: |name| !name.ends_with("@latest"),
    },
    Installer {
        rule: &CARGO,
        kind: "cargo",
        verb: |command| verb(command, &["cargo"], &["install"]),
        with_value: &[
            "--version",
            "--vers",
            "--git",
            "--rev",
            "--tag",
            "--branch",
            "--path",
            "--root",
            "--features",
            "-F",
            "--bin",
            "--target",
            "--profile",
            "-j",
            "--jobs",
            "--registry",
        ],
        versioned: &["--version", "--vers", "--path", "--rev", "--tag"],
        is_pinned: |name| name.contains('@'),
    },
];

pub(super) fn advise(linter: &mut Linter<'_>, scene: &Scene<'_>) {
    for run in &scene.runs {
        for (_, command) in run.commands() {
            INSTALLERS.iter().for_each(|installer| check(linter, installer, command));
        }
    }
}

fn check(linter: &mut Linter<'_>, installer: &Installer, command: &Simple) {
    let Some(verb) = (installer.verb)(command) else { return };
    let is_versioned = |word: &Word| {
        let option = word.text.split('=').next().unwrap_or_default();
        installer.versioned.contains(&option)
    };
    if command.arguments().iter().any(is_versioned) {
        return;
    }
    let operands = command.operands(installer.with_value);
    let packages = operands.iter().skip_while(|word| word.span != verb.span).skip(1);
    let loose: Vec<&Word> =
        packages.copied().filter(|word| word.is_plain && !(installer.is_pinned)(&word.text)).collect();
    super::unpinned(linter, installer.rule, installer.kind, &loose);
}
