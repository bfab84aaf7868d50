//! `lint`: what should be written otherwise in Dockerfiles, for people, for programs and for code scanning.
//!
//! It needs no engine. The exit code is for CI: 0 where nothing was found, 1 where something was, 2 where a file can't be
//! read.

mod place;
mod sarif;
mod text;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::dockerfiles;
use crate::dockerfile::ignore::{FILE_NAME, IgnoreRules};
use crate::dockerfile::{Diagnostic, Fix, Rule, Severity, Surroundings, fix, lint, rule, rules, unmarked};

use place::Places;

/// The exit code where a file can't be read or written; clap's own for a wrong command line.
const UNREADABLE: u8 = 2;

/// What to check, and how to tell it.
#[derive(Debug, Args)]
pub struct Lint {
    /// How to tell what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Apply the fixes that are sure; standard input comes out fixed on standard output
    #[arg(long)]
    fix: bool,
    /// Tell nothing below this
    #[arg(long, value_enum, default_value_t = Level::Advice, value_name = "LEVEL")]
    severity: Level,
    /// Exit with 1 from this on; where it is missing, for all that is told
    #[arg(long, value_enum, value_name = "LEVEL")]
    fail_on: Option<Threshold>,
    /// Leave a rule out (may be repeated)
    #[arg(long, value_name = "RULE", value_parser = known_rule)]
    ignore: Vec<&'static str>,
    /// Leave all other rules out (may be repeated)
    #[arg(long, value_name = "RULE", value_parser = known_rule)]
    only: Vec<&'static str>,
    /// Tell what a rule asks for, why, and what to do instead
    #[arg(long, value_name = "RULE", value_parser = known_rule)]
    explain: Option<&'static str>,
    /// Dockerfiles, or folders of them; `-` is standard input
    #[arg(value_name = "FILE", default_value = "Dockerfile")]
    files: Vec<PathBuf>,
}

/// How findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// A JSON list of findings
    Json,
    /// SARIF 2.1.0
    Sarif,
}

/// A severity, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Advice,
    Warning,
    Error,
}

/// From which severity on a finding counts for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threshold {
    Advice,
    Warning,
    Error,
    Never,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Advice => Severity::Advice,
            Level::Warning => Severity::Warning,
            Level::Error => Severity::Error,
        }
    }
}

/// A rule's own name for the name that was typed: ours in any case, or hadolint's.
fn known_rule(name: &str) -> Result<&'static str, String> {
    let is_it = |known: &str| known.eq_ignore_ascii_case(name);
    let found = rules().find(|rule| is_it(rule.name) || rule.hadolint.iter().any(|alias| is_it(alias)));
    found.map(|rule| rule.name).ok_or_else(|| "no such rule; docs/lint.md lists them".to_owned())
}

/// A Dockerfile and what was found in it.
#[derive(Debug)]
struct Checked {
    /// Its name as it was given; `-` for standard input.
    name: String,
    text: String,
    findings: Vec<Diagnostic>,
    /// How many fixes were applied.
    fixed: usize,
}

/// Checks the files and tells what was found.
///
/// # Errors
/// Standard output can't be written to.
pub fn check_files(options: &Lint) -> anyhow::Result<ExitCode> {
    if let Some(rule) = options.explain.and_then(rule) {
        io::stdout().write_all(explanation(rule).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut checked = Vec::new();
    let mut is_unreadable = false;
    let (files, refused) = dockerfiles::named(&options.files);
    for (path, why) in refused {
        eprintln!("boxyard: {}: {why}", path.display());
        is_unreadable = true;
    }
    for path in &files {
        match check_file(options, path) {
            Ok(file) => checked.push(file),
            Err(error) => {
                eprintln!("boxyard: {}: {error}", path.display());
                is_unreadable = true;
            }
        }
    }
    let report = match options.format {
        Format::Text => text::report(&checked),
        Format::Json => format!("{:#}\n", Value::Array(checked.iter().flat_map(listed).collect())),
        Format::Sarif => format!("{:#}\n", sarif::log(&checked)),
    };
    // The fixed text of standard input has standard output for itself.
    if options.fix && options.files.iter().any(|path| path == Path::new("-")) {
        io::stderr().write_all(report.as_bytes())?;
    } else {
        io::stdout().write_all(report.as_bytes())?;
    }
    let told = checked.iter().flat_map(|file| &file.findings);
    let least = match options.fail_on {
        None | Some(Threshold::Advice) => Some(Severity::Advice),
        Some(Threshold::Warning) => Some(Severity::Warning),
        Some(Threshold::Error) => Some(Severity::Error),
        Some(Threshold::Never) => None,
    };
    let has_failed = least.is_some_and(|least| told.into_iter().any(|finding| finding.severity >= least));
    Ok(match (is_unreadable, has_failed) {
        (true, _) => ExitCode::from(UNREADABLE),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

fn check_file(options: &Lint, path: &Path) -> io::Result<Checked> {
    let is_input = path == Path::new("-");
    let mut bytes = Vec::new();
    match is_input {
        true => drop(io::stdin().lock().take(MOST_INPUT).read_to_end(&mut bytes)?),
        false => bytes = fs::read(path)?,
    }
    let (mut text, is_utf8) = dockerfiles::text_of(bytes)?;
    let ignore = ignore_rules(path);
    let surroundings = Surroundings { ignore: ignore.as_ref(), ..Surroundings::default() };
    let mut fixed = 0;
    if options.fix && !is_utf8 {
        return dockerfiles::not_utf8();
    }
    if options.fix {
        let result = fix(&text, &surroundings, |finding| options.wants(finding));
        match is_input {
            true => io::stdout().write_all(result.text.as_bytes())?,
            false if result.count > 0 => fs::write(path, &result.text)?,
            false => {}
        }
        (text, fixed) = (result.text, result.count);
    }
    let mut findings = lint(&text, &surroundings).diagnostics;
    findings.retain(|finding| options.wants(finding));
    Ok(Checked { name: path.display().to_string(), text, findings, fixed })
}

/// More than this is no Dockerfile, but something that never ends.
const MOST_INPUT: u64 = 64 * 1024 * 1024;

impl Lint {
    /// Whether a finding is told. Errors are no rules: `--only` does not hide that a file can't be read.
    fn wants(&self, finding: &Diagnostic) -> bool {
        let is_chosen = rule(finding.code).is_none()
            || (self.only.is_empty() || self.only.contains(&finding.code)) && !self.ignore.contains(&finding.code);
        is_chosen && finding.severity >= self.severity.into()
    }
}

/// The rules of `FILE.dockerignore`, else of `.dockerignore` beside it. One that can't be read is told and not used.
fn ignore_rules(path: &Path) -> Option<IgnoreRules> {
    let mut own = path.as_os_str().to_owned();
    own.push(".dockerignore");
    let text = fs::read_to_string(own).or_else(|_| fs::read_to_string(path.with_file_name(FILE_NAME))).ok()?;
    IgnoreRules::parse(&text).inspect_err(|error| eprintln!("boxyard: {error}")).ok()
}

/// The findings of a file as JSON.
fn listed(file: &Checked) -> Vec<Value> {
    let places = Places::new(&file.text);
    let region = |span| {
        let ((line, column), (end_line, end_column)) = places.range(span);
        json!({ "line": line, "column": column, "endLine": end_line, "endColumn": end_column })
    };
    let one = |finding: &Diagnostic| {
        let mut value = json!({
            "file": file.name,
            "rule": finding.code,
            "severity": word(finding.severity),
            "message": finding.message,
        });
        let (Value::Object(fields), Value::Object(place)) = (&mut value, region(finding.span)) else { return value };
        fields.extend(place);
        if let Some(url) = rule(finding.code).and_then(|rule| rule.url) {
            fields.insert("url".to_owned(), url.into());
        }
        if let Some(suggestion) = &finding.suggestion {
            let mut fix = region(suggestion.span);
            fix["replacement"] = suggestion.replacement.as_str().into();
            fix["sure"] = rule(finding.code).is_some_and(|rule| rule.fix == Fix::Sure).into();
            fields.insert("fix".to_owned(), fix);
        }
        value
    };
    file.findings.iter().map(one).collect()
}

/// What `--explain` tells.
fn explanation(rule: &Rule) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (bad, _) = unmarked(rule.bad);
    let mut told = format!("{}: {}\n\n{}\n", rule.name, rule.description, rule.explanation);
    told.push_str(&format!("\nbad:\n{}\ngood:\n{}", indented(&bad), indented(rule.good)));
    if let Some(url) = rule.url {
        told.push_str(&format!("\n{url}\n"));
    }
    told
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Advice => "advice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

#[cfg(test)]
fn checked(name: &str, text: &str) -> Checked {
    let findings = lint(text, &Surroundings::default()).diagnostics;
    Checked { name: name.to_owned(), text: text.to_owned(), findings, fixed: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_as_json() {
        let found = listed(&checked("a/Dockerfile", "FROM alpine:3.20 AS é\nEXPOSE 80/TCP\n"));
        let [_, port] = found.as_slice() else { panic!("{found:?}") };
        let expected = json!({
            "file": "a/Dockerfile",
            "rule": "ExposeProtoCasing",
            "severity": "warning",
            "message": "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            "line": 2, "column": 8, "endLine": 2, "endColumn": 14,
            "url": "https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/",
            "fix": { "line": 2, "column": 8, "endLine": 2, "endColumn": 14, "replacement": "80/tcp", "sure": true },
        });
        assert_eq!(*port, expected);
    }

    #[test]
    fn every_rule_explains_itself() {
        for rule in rules() {
            let told = explanation(rule);
            assert!(told.starts_with(rule.name) && told.contains(rule.explanation) && !told.contains('«'), "{told}");
        }
    }

    #[test]
    fn rules_are_named_in_any_case() {
        assert_eq!(known_rule("stagenamecasing"), Ok("StageNameCasing"));
        assert!(known_rule("Nonsense").is_err());
    }
}
