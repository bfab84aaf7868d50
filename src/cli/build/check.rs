//! `build --check` and `--call`: what can be said of a Dockerfile without building it, in buildx's form.

use std::collections::BTreeMap;
use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::ask;
use super::call::{Call, Location, Method};
use super::context::{Context, Text};
use super::flags::Build;
use super::outline::{columns, comment_about, outline};
use super::report;
use crate::dockerfile::{Body, Diagnostic, Parsed, Stage, Surroundings, parse, rule};

/// Prints the answer to what the flags ask. The exit code is 1 where checks find something.
///
/// # Errors
/// The Dockerfile is not on this machine, or does not parse.
pub fn answer(flags: &Build, context: &Context, text: Option<&Text>) -> anyhow::Result<ExitCode> {
    let read = context.read_input()?;
    let text = read.as_ref().or(text).ok_or_else(|| match context {
        Context::Folder { .. } => anyhow::anyhow!("there is no Dockerfile; name it with -f"),
        _ => anyhow::anyhow!(
            "only a Dockerfile on this machine can be looked at: name a folder, or - for standard input"
        ),
    })?;
    let mut parsed = parse(&text.text);
    let Call { method, is_json, ignores_status } = flags.call;
    let is_check = flags.check || method == Method::Check;
    if is_check && is_json && parsed.first_error().is_some() {
        println!("{:#}", findings(&parsed, text));
        return Ok(ExitCode::FAILURE);
    }
    refuse(&parsed, text)?;
    let ignore = context.ignore_rules()?;
    parsed.look_around(&text.text, &Surroundings { ignore: ignore.as_ref(), ..Surroundings::default() });
    match method {
        _ if is_check => {
            let found: Vec<&Diagnostic> = parsed.warnings().collect();
            match is_json {
                true => println!("{:#}", findings(&parsed, text)),
                false => print!("{}", told(&found, text)),
            }
            let is_fine = found.is_empty() || ignores_status;
            return Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Method::Outline => {
            let given: BTreeMap<String, String> =
                ask::arguments(&flags.build_arg).into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let outline = outline(&parsed.file, &flags.target, &given)?;
            match is_json {
                true => println!("{:#}", serde_json::to_value(&outline)?),
                false => print!("{}", outline.table()),
            }
        }
        Method::Targets | Method::Check | Method::Build => {
            let targets = targets(&parsed, text);
            match is_json {
                true => {
                    println!("{:#}", json!({ "targets": targets, "sources": [BASE64_STANDARD.encode(&text.text)] }))
                }
                false => print!("{}", targets_table(&targets)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The stages that can be built, as BuildKit writes them.
fn targets(parsed: &Parsed, text: &Text) -> Vec<Value> {
    let file = &parsed.file;
    let last = file.stages.len().saturating_sub(1);
    let target = |stage: &Stage| {
        let name = stage.name.clone().unwrap_or_else(|| stage.index.to_string());
        let mut target = json!({ "name": name });
        let mut add =
            |name: &str, value: Value| drop(target.as_object_mut().map(|it| it.insert(name.to_owned(), value)));
        if stage.index == last {
            add("default", json!(true));
        }
        let description = comment_about(&name, stage.lines.first, &text.text);
        if !description.is_empty() {
            add("description", json!(description));
        }
        if let Some((from, Body::From(base))) = file.stage_instructions(stage).first().map(|from| (from, &from.body)) {
            add("base", json!(base.image));
            if let Some(platform) = &base.platform {
                add("platform", json!(platform));
            }
            add("location", json!(Location::from(from.lines)));
        }
        target
    };
    file.stages.iter().map(target).collect()
}

fn targets_table(targets: &[Value]) -> String {
    let text = |target: &Value, name: &str| target[name].as_str().unwrap_or_default().to_owned();
    let rows: Vec<[String; 2]> = targets
        .iter()
        .map(|target| {
            let mark = if target["default"] == json!(true) { " (default)" } else { "" };
            [format!("{}{mark}", text(target, "name")), text(target, "description")]
        })
        .collect();
    let rows = rows.iter().map(|[name, description]| vec![name.as_str(), description.as_str()]);
    columns(&[vec!["TARGET", "DESCRIPTION"]].into_iter().chain(rows).collect::<Vec<_>>())
}

/// What the checks find, or the error before that, as BuildKit writes it.
fn findings(parsed: &Parsed, text: &Text) -> Value {
    let warnings = parsed.warnings().map(|finding| {
        let rule = rule(finding.code);
        json!({
            "ruleName": finding.code,
            "description": rule.map(|rule| rule.description).unwrap_or_default(),
            "url": rule.and_then(|rule| rule.url).unwrap_or_default(),
            "detail": finding.message,
            "location": Location::from(finding.lines),
        })
    });
    let source = json!({ "filename": text.name, "language": "Dockerfile", "data": BASE64_STANDARD.encode(&text.text) });
    match parsed.first_error() {
        Some(error) => json!({
            "warnings": [],
            "sources": [source],
            "buildError": { "message": error.parse_error(), "location": Location::from(error.lines) },
        }),
        None => json!({ "warnings": warnings.collect::<Vec<_>>(), "sources": [source] }),
    }
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
