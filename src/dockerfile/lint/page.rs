//! docs/lint.md, written from the rows.

use std::fmt::Write as _;

use super::rule::{Fix, Rule, Tier, unmarked};
use super::rules;

/// `docs/lint.md` as it must read.
pub fn page() -> String {
    let mut page = String::from(
        "# Dockerfile lint: the rules\n\n\
         Written from the rules' own rows (`src/dockerfile/lint/`); a test compares. The examples are tests too: the bad one \
         is found\nat the marked place and by no other rule, the good one is not found, and a quick fix makes the good one of \
         the bad one.\n\n\
         `boxyard lint [FILE...]` checks files (`./Dockerfile` where none is named, `-` for standard input), \
         and\nall Dockerfiles of a folder; the build \
         workbench shows the same findings while you type, and `f9` applies a fix.\n\n\
         | option | what it does |\n| --- | --- |\n\
         | `--format text`, `json`, `sarif` | for people, for programs, for code scanning (SARIF 2.1.0) |\n\
         | `--fix` | applies the fixes that need no look, and writes the files (standard input goes to standard output) |\n\
         | `--severity advice`, `warning`, `error` | tells nothing below it |\n\
         | `--fail-on advice`, `warning`, `error`, `never` | exits with 1 from there on; all that is told where it is \
         missing |\n\
         | `--ignore RULE`, `--only RULE` | leaves a rule out, or all others (may be repeated) |\n\
         | `--explain RULE` | tells what is on this page about a rule |\n\n\
         Exit codes: 0 nothing found, 1 something found, 2 a file can't be read or the command line is wrong.\n\n\
         A Dockerfile says for itself which rules it does not want: `# check=skip=RULE,RULE` in its first lines (`skip=all` \
         for all),\n`# check=error=true` makes BuildKit's checks fail the build, `# check=experimental=RULE` switches an \
         experimental one on. Advice is\nalso hushed for one instruction by a comment above it, as hadolint has it: \
         `# hadolint ignore=DL3008` or `# hadolint\nignore=AptPinVersions`; `# hadolint global ignore=...` is for the whole \
         file.\n",
    );
    let parts = [
        (
            "BuildKit's checks",
            "Names, conditions and messages are BuildKit's. Builds tell them too, as warnings.",
            [Tier::BuildKit, Tier::Experimental].as_slice(),
        ),
        ("Advice", "Told by the editor and by `boxyard lint`, never by a build.", &[Tier::Advice]),
    ];
    for (title, about, tiers) in parts {
        let mut rows: Vec<&Rule> = rules().filter(|rule| tiers.contains(&rule.tier)).collect();
        rows.sort_by_key(|rule| rule.name);
        let _ = write!(page, "\n## {title}\n\n{about}\n\n| rule | asks | fix |\n| --- | --- | --- |\n");
        for rule in &rows {
            let link = rule.name.to_lowercase();
            let _ = writeln!(page, "| [{}](#{link}) | {} | {} |", rule.name, rule.description, fix(rule));
        }
        rows.iter().for_each(|rule| section(&mut page, rule));
    }
    page
}

fn fix(rule: &Rule) -> &'static str {
    match rule.fix {
        Fix::None => "",
        Fix::Sure => "yes",
        Fix::Guess => "after a look",
    }
}

fn section(page: &mut String, rule: &Rule) {
    let _ = write!(page, "\n### {}\n\n{}.", rule.name, rule.description);
    if rule.tier == Tier::Experimental {
        page.push_str(" Experimental: off unless `# check=experimental=` names it.");
    }
    let _ = write!(page, " {}", rule.explanation);
    if !rule.hadolint.is_empty() {
        let _ = write!(page, " (hadolint: {})", rule.hadolint.join(", "));
    }
    page.push('\n');
    if let Some(url) = rule.url {
        let _ = write!(page, "\nBuildKit's page: <{url}>\n");
    }
    if let Some(ignore_file) = rule.ignore_file {
        let _ = write!(page, "\nWith this `.dockerignore`:\n\n```text\n{ignore_file}```\n");
    }
    let (bad, _) = unmarked(rule.bad);
    let _ = write!(page, "\nBad:\n\n```dockerfile\n{bad}```\n\nGood:\n\n```dockerfile\n{}```\n", rule.good);
}
