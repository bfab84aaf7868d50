//! EXPOSE.

use super::super::super::ast::Body;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

const PROTO_CASING: Rule = Rule::buildkit(
    "ExposeProtoCasing",
    "https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/",
    "Protocols in EXPOSE should be in lower case",
    "`80/TCP` works, but everything that prints a port prints `80/tcp`.",
    Shown { bad: "FROM alpine:3.20\nEXPOSE 80 «53/UDP»\n", good: "FROM alpine:3.20\nEXPOSE 80 53/udp\n" },
)
.with_fix(Fix::Sure);

const INVALID_FORMAT: Rule = Rule::buildkit(
    "ExposeInvalidFormat",
    "https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/",
    "EXPOSE takes ports, not addresses or mappings",
    "EXPOSE only says where the program listens. Which address and port of the host lead there is chosen when the \
     container is run (`-p`); what EXPOSE says about it is dropped.",
    Shown { bad: "FROM alpine:3.20\nEXPOSE «127.0.0.1:80:8080»\n", good: "FROM alpine:3.20\nEXPOSE 8080\n" },
)
.with_fix(Fix::Sure);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[PROTO_CASING, INVALID_FORMAT];

pub(super) fn check(linter: &mut Linter<'_>) {
    for instruction in &linter.file.instructions {
        let Body::Expose(_) = &instruction.body else { continue };
        for span in linter.words(instruction) {
            let port = span.of(linter.text);
            // A variable's value may hold a slash or a colon of its own, but this much is seen.
            if port.contains('$') {
                continue;
            }
            let (mapping, protocol) = port.split_once('/').unwrap_or((port, ""));
            if protocol.chars().any(char::is_uppercase) {
                let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                let replacement = format!("{mapping}/{}", protocol.to_lowercase());
                linter.correct(&PROTO_CASING, instruction, span, message, replacement);
            }
            if let Some((_, inside)) = mapping.rsplit_once(':') {
                let message =
                    format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
                let protocol = port.get(mapping.len()..).unwrap_or_default();
                linter.correct(&INVALID_FORMAT, instruction, span, message, format!("{inside}{protocol}"));
            }
        }
    }
}
