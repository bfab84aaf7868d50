//! Secrets by their looks: values in the text, and files that hold them.

use std::sync::LazyLock;

use regex::Regex;

use super::super::super::ast::{Body, Span};
use super::super::linter::Linter;
use super::super::rule::{Rule, Shown};

const VALUE: Rule = Rule::advice(
    "SecretValue",
    &[],
    "No secret should stand in a Dockerfile",
    "Who has the file or the image has the secret, and a later change takes it out of neither the history of the one nor \
     the layers of the other. Take it back where it was issued, and hand the new one in by `RUN --mount=type=secret`.",
    Shown {
        bad: "FROM alpine:3.20\nRUN AWS_ACCESS_KEY_ID=«AKIAIOSFODNN7EXAMPLE» fetch\n",
        good: "FROM alpine:3.20\nRUN --mount=type=secret,id=aws,target=/root/.aws/credentials fetch\n",
    },
);

const FILE: Rule = Rule::advice(
    "SecretFileCopied",
    &[],
    "Files with secrets should not be copied into the image",
    "A copied file stays in its layer even where a later RUN removes it. Mount it for the step that needs it: \
     `RUN --mount=type=secret`.",
    Shown {
        bad: "FROM node:22\nCOPY «.npmrc» /root/\nRUN npm ci\n",
        good: "FROM node:22\nRUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci\n",
    },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[VALUE, FILE];

/// What secrets look like, and what they are.
const LOOKS: [(&str, &str); 10] = [
    (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", "an AWS access key"),
    (r"\bgh[pousr]_[A-Za-z0-9]{36,}", "a GitHub token"),
    (r"\bgithub_pat_[A-Za-z0-9_]{22,}", "a GitHub token"),
    (r"\bglpat-[A-Za-z0-9_-]{20,}", "a GitLab token"),
    (r"\bxox[abprs]-[A-Za-z0-9-]{10,}", "a Slack token"),
    (r"\bsk_live_[A-Za-z0-9]{16,}", "a Stripe key"),
    (r"\bnpm_[A-Za-z0-9]{36}\b", "an npm token"),
    (r"\bAIza[0-9A-Za-z_-]{35}", "a Google API key"),
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----", "a private key"),
    (r#"\b[a-z][a-z0-9+.-]*://[^\s/:@$"']+:[^\s/@$"']+@"#, "a password in a URL"),
];

/// Files that hold secrets, by name.
const NAMES: [&str; 10] = [
    ".env",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".pgpass",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
];
/// Files that hold secrets, by the end of their path.
const PATHS: [&str; 3] = [".aws/credentials", ".docker/config.json", ".kube/config"];

pub(super) fn advise(linter: &mut Linter<'_>) {
    values(linter);
    for instruction in &linter.file.instructions {
        let (Body::Copy(transfer) | Body::Add(transfer)) = &instruction.body else { continue };
        if instruction.flag("from").is_some() {
            continue;
        }
        for source in &transfer.sources {
            let name = source.rsplit('/').next().unwrap_or(source);
            if NAMES.contains(&name) || PATHS.iter().any(|path| source.ends_with(path)) {
                let span = linter.place_of(instruction, source);
                linter.advise(&FILE, span, format!("{name} holds secrets, and stays in the layer"), None);
            }
        }
    }
}

fn values(linter: &mut Linter<'_>) {
    static ANY: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let looks: Vec<String> = LOOKS.iter().map(|(look, _)| format!("({look})")).collect();
        Regex::new(&looks.join("|")).ok()
    });
    let Some(any) = ANY.as_ref() else { return };
    for found in any.captures_iter(linter.text) {
        let kinds = found.iter().skip(1).zip(LOOKS);
        let Some((place, kind)) = kinds.filter_map(|(group, (_, kind))| Some((group?, kind))).next() else { continue };
        let span = Span::new(place.start(), place.end());
        let line = linter.line_of(span.start);
        // What stands in a comment is in no image, but in the file all the same.
        let is_comment = linter.file.at_line(line).is_none();
        let place = if is_comment { "in a comment" } else { "here" };
        linter.advise(&VALUE, span, format!("this looks like {kind}; {place} everybody can read it"), None);
    }
}
