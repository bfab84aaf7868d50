//! `build --check` and `--call targets`: what can be said of a Dockerfile without building it, in buildx's form.

use std::process::ExitCode;

use super::context::{Context, Text};
use super::report;
use crate::dockerfile::{Diagnostic, Parsed, Surroundings, parse, rule};

/// Prints what BuildKit's checks find; the exit code is 1 where they find something.
///
/// # Errors
/// The Dockerfile is not on this machine, or does not parse.
pub fn check(context: &Context, text: Option<&Text>) -> anyhow::Result<ExitCode> {
    let text = here(context, text)?;
    let mut parsed = parse(&text.text);
    refuse(&parsed, text)?;
    let ignore = context.ignore_rules()?;
    parsed.look_around(&text.text, &Surroundings { ignore: ignore.as_ref(), ..Surroundings::default() });
    let found: Vec<&Diagnostic> = parsed.warnings().collect();
    print!("{}", told(&found, text));
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the stages that can be built.
///
/// # Errors
/// As [`check`].
pub fn targets(context: &Context, text: Option<&Text>) -> anyhow::Result<ExitCode> {
    let text = here(context, text)?;
    let parsed = parse(&text.text);
    refuse(&parsed, text)?;
    let last = parsed.file.stages.len().saturating_sub(1);
    println!("TARGET");
    for (index, stage) in parsed.file.stages.iter().enumerate() {
        let name = stage.name.clone().unwrap_or_else(|| index.to_string());
        println!("{name}{}", if index == last { " (default)" } else { "" });
    }
    Ok(ExitCode::SUCCESS)
}

fn here<'a>(context: &Context, text: Option<&'a Text>) -> anyhow::Result<&'a Text> {
    text.ok_or_else(|| match context {
        Context::Folder { .. } => anyhow::anyhow!("there is no Dockerfile; name it with -f"),
        _ => anyhow::anyhow!("only a Dockerfile on this machine can be checked: name a folder, or use boxyard lint -"),
    })
}

fn refuse(parsed: &Parsed, text: &Text) -> anyhow::Result<()> {
    let Some(error) = parsed.first_error() else { return Ok(()) };
    eprint!("{}", report::excerpt(&report::source(&text.name, &text.text, error.lines)));
    anyhow::bail!(error.parse_error())
}

fn told(found: &[&Diagnostic], text: &Text) -> String {
    let mut said = match found.len() {
        0 => return "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for finding in found {
        let url = rule(finding.code).and_then(|rule| rule.url).map(|url| format!(" - {url}")).unwrap_or_default();
        let place = report::excerpt(&report::source(&text.name, &text.text, finding.lines));
        said.push_str(&format!("\nWARNING: {}{url}\n{}\n{place}", finding.code, finding.message));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_with_their_page_and_place() {
        let text = Text { name: "Dockerfile".into(), text: "FROM alpine:3 AS Base\nCMD [\"x\"]\n".into() };
        let parsed = parse(&text.text);
        let found: Vec<&Diagnostic> = parsed.warnings().collect();
        let expected = "Check complete, 1 warning has been found!\n\n\
            WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\
            Stage name 'Base' should be lowercase\nDockerfile:1\n--------------------\n\
            \x20  1 | >>> FROM alpine:3 AS Base\n   2 |     CMD [\"x\"]\n--------------------\n";
        assert_eq!(told(&found, &text), expected);
        assert_eq!(told(&[], &text), "Check complete, no warnings found.\n");
    }
}
