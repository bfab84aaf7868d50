//! Whether two Dockerfiles say the same, whatever they look like.

use super::super::ast::{Body, Command, Dockerfile, Healthcheck, Instruction};
use super::shell;

/// Whether both hold the same directives and instructions. Layout does not count: the case of keywords, comments, blank
/// lines, where lines are continued, and in shell commands how many blanks separate two words.
pub fn same_meaning(a: &Dockerfile, b: &Dockerfile) -> bool {
    let directives = |file: &Dockerfile| -> Vec<(String, String)> {
        file.directives.iter().map(|it| (it.name.clone(), it.value.clone())).collect()
    };
    let stages = |file: &Dockerfile| -> Vec<_> {
        file.stages.iter().map(|stage| (stage.name.clone(), stage.instructions.clone())).collect()
    };
    a.escape == b.escape
        && directives(a) == directives(b)
        && stages(a) == stages(b)
        && a.instructions.len() == b.instructions.len()
        && a.instructions.iter().zip(&b.instructions).all(|(a, b)| same_instruction(a, b))
}

fn same_instruction(a: &Instruction, b: &Instruction) -> bool {
    let same_flags = a.flags.len() == b.flags.len()
        && a.flags.iter().zip(&b.flags).all(|(a, b)| a.name == b.name && a.value == b.value);
    let same_heredocs = a.heredocs.len() == b.heredocs.len()
        && a.heredocs.iter().zip(&b.heredocs).all(|(a, b)| {
            (&a.name, &a.content, a.expand, a.strip_tabs) == (&b.name, &b.content, b.expand, b.strip_tabs)
        });
    a.keyword == b.keyword && same_flags && same_heredocs && same_body(&a.body, &b.body)
}

fn same_body(a: &Body, b: &Body) -> bool {
    match (a, b) {
        (Body::Run(a), Body::Run(b)) | (Body::Cmd(a), Body::Cmd(b)) | (Body::Entrypoint(a), Body::Entrypoint(b)) => {
            same_command(a, b)
        }
        (Body::From(a), Body::From(b)) => (&a.image, &a.name, &a.platform) == (&b.image, &b.name, &b.platform),
        (Body::OnBuild(a), Body::OnBuild(b)) => same_instruction(a, b),
        (Body::Healthcheck(a), Body::Healthcheck(b)) => match (a, b) {
            (
                Healthcheck::Check { command: one, interval, timeout, start_period, start_interval, retries },
                Healthcheck::Check {
                    command: other,
                    interval: other_interval,
                    timeout: other_timeout,
                    start_period: other_period,
                    start_interval: other_start,
                    retries: other_retries,
                },
            ) => {
                same_command(one, other)
                    && (interval, timeout, start_period, start_interval, retries)
                        == (other_interval, other_timeout, other_period, other_start, other_retries)
            }
            (a, b) => a == b,
        },
        (a, b) => a == b,
    }
}

fn same_command(a: &Command, b: &Command) -> bool {
    match (a, b) {
        (Command::Shell(a), Command::Shell(b)) => a == b || shell::collapsed(a) == shell::collapsed(b),
        (a, b) => a == b,
    }
}
