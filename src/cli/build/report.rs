//! What is said once a build has ended: the failed step's last lines and its place in the Dockerfile, and the warnings.

use std::fmt::Write as _;

use super::progress::{Step, Steps, clock};
use crate::buildkit::VertexWarning;
use crate::client::BuildSource;
use crate::dockerfile::LineRange;

/// So many lines before and behind the place are shown with it.
const AROUND: usize = 2;
const RULE: &str = "--------------------";

/// Tells of the failure: what the step wrote last, where it stands in the Dockerfile, and the words.
pub fn failure(steps: &Steps, source: Option<&BuildSource>, message: &str) -> String {
    let mut said = String::new();
    if let Some(step) = steps.failed().filter(|step| !step.tail.is_empty()) {
        said.push_str(&last_lines(step));
    }
    if let Some(source) = source {
        said.push_str(&excerpt(source));
    }
    let _ = writeln!(said, "ERROR: {message}");
    said
}

fn last_lines(step: &Step) -> String {
    let mut said = format!("------\n > {}:\n", step.vertex.name);
    for line in &step.tail {
        let _ = writeln!(said, "{} {}", clock(line.at), line.text);
    }
    said.push_str("------\n");
    said
}

/// The lines around a place, the place itself marked by `>>>`, as buildx shows it.
pub fn excerpt(source: &BuildSource) -> String {
    let mut said = format!("{}:{}\n{RULE}\n", source.file, source.first);
    for (number, line) in (source.begins..).zip(&source.lines) {
        let mark = if (source.first..=source.last).contains(&number) { ">>>" } else { "   " };
        let _ = writeln!(said, "{}", format!("{number:>4} | {mark} {line}").trim_end());
    }
    said.push_str(RULE);
    said.push('\n');
    said
}

/// The lines `lines` of `text` with those around them.
pub fn source(file: &str, text: &str, lines: LineRange) -> BuildSource {
    let begins = lines.first.saturating_sub(AROUND).max(1);
    let shown = text.lines().skip(begins - 1).take(lines.last + AROUND + 1 - begins).map(str::to_owned);
    BuildSource { file: file.to_owned(), first: lines.first, last: lines.last, begins, lines: shown.collect() }
}

/// The warnings, counted, each with the page that explains it.
pub fn warnings(warnings: &[VertexWarning]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let plural = if warnings.len() == 1 { "" } else { "s" };
    let mut said = format!("\n {} warning{plural} found:\n", warnings.len());
    for warning in warnings {
        let _ = writeln!(said, " - {}", warning.short);
        if !warning.url.is_empty() {
            let _ = writeln!(said, "   {}", warning.url);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_marked_among_its_neighbours() {
        let text = "FROM a\n\nRUN one\nRUN two \\\n  three\nCMD x\n";
        let shown = excerpt(&source("Dockerfile", text, LineRange { first: 4, last: 5 }));
        let expected = "Dockerfile:4\n--------------------\n   2 |\n   3 |     RUN one\n   4 | >>> RUN two \\\n   5 | >>>   three\n   6 |     CMD x\n--------------------\n";
        assert_eq!(shown, expected);
        let shown = excerpt(&source("D", "FRM a\n", LineRange { first: 1, last: 1 }));
        assert_eq!(shown, "D:1\n--------------------\n   1 | >>> FRM a\n--------------------\n");
    }

    #[test]
    fn warnings_are_counted_and_explained() {
        let warning =
            |short: &str, url: &str| VertexWarning { short: short.into(), url: url.into(), ..Default::default() };
        assert_eq!(warnings(&[]), "");
        assert_eq!(warnings(&[warning("A: b (line 1)", "")]), "\n 1 warning found:\n - A: b (line 1)\n");
        let two = warnings(&[warning("A", "https://x"), warning("B", "")]);
        assert_eq!(two, "\n 2 warnings found:\n - A\n   https://x\n - B\n");
    }
}
