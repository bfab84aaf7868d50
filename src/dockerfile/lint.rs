//! Lint: what builds but should be written otherwise. Rules, names and words are BuildKit's.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{Body, Command, Dockerfile, Instruction, LineRange, Span, Stage};
use super::diagnostic::{Diagnostic, Severity, Suggestion};
use super::expand::{Escape, NoVariables, expand};
use super::predefined::is_predefined;
use super::suggest::nearest;

/// A rule of the linter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as `# check=skip=` takes it.
    pub name: &'static str,
    /// Why it is a rule.
    pub description: &'static str,
    /// Where it is explained, with examples.
    pub url: &'static str,
}

macro_rules! rules {
    ($($name:literal, $page:literal, $description:literal;)*) => {
        /// All rules, sorted by name.
        pub const RULES: &[Rule] = &[$(Rule {
            name: $name,
            description: $description,
            url: concat!("https://docs.docker.com/go/dockerfile/rule/", $page, "/"),
        }),*];
    };
}

rules! {
    "ConsistentInstructionCasing", "consistent-instruction-casing", "All instructions should be written in the same case";
    "DuplicateStageName", "duplicate-stage-name", "Only one of two stages of the same name can be referred to";
    "ExposeInvalidFormat", "expose-invalid-format", "EXPOSE takes ports, not addresses or mappings";
    "ExposeProtoCasing", "expose-proto-casing", "Protocols in EXPOSE should be in lower case";
    "FromAsCasing", "from-as-casing", "AS should be written in the same case as FROM";
    "FromPlatformFlagConstDisallowed", "from-platform-flag-const-disallowed", "A fixed platform keeps the image from being built for others";
    "JSONArgsRecommended", "json-args-recommended", "With the shell form a shell stands between the program and the signals";
    "LegacyKeyValueFormat", "legacy-key-value-format", "The form without = can only set one value";
    "MaintainerDeprecated", "maintainer-deprecated", "A label says the same and more";
    "MultipleInstructionsDisallowed", "multiple-instructions-disallowed", "Only the last one of these counts in a stage";
    "NoEmptyContinuation", "no-empty-continuation", "Blank lines inside of an instruction will be refused in future";
    "RedundantTargetPlatform", "redundant-target-platform", "The target platform is what FROM takes anyway";
    "ReservedStageName", "reserved-stage-name", "scratch and context already mean something";
    "SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env", "What stands in ARG or ENV can be read from the image";
    "StageNameCasing", "stage-name-casing", "Stage names should be in lower case";
    "UndefinedArgInFrom", "undefined-arg-in-from", "A variable in FROM must be declared by ARG before the first FROM";
    "UndefinedVar", "undefined-var", "A variable that is not set is replaced by nothing";
    "WorkdirRelativePath", "workdir-relative-path", "A relative WORKDIR depends on what the base image has set";
}

/// The rule of that name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// What the tree does not hold.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Blank lines inside of instructions.
    pub blank_lines: Vec<LineRange>,
}

/// Adds what is to be said about `file`, as far as `# check=` does not skip it.
pub(super) fn lint(text: &str, file: &Dockerfile, notes: &Notes, diagnostics: &mut Vec<Diagnostic>) {
    let check = Check::read(file.directive("check").unwrap_or_default());
    let mut linter = Linter { text, file, check, found: Vec::new() };
    linter.blank_lines(notes);
    linter.casing();
    linter.stage_names();
    linter.variables();
    for stage in &file.stages {
        linter.only_last_counts(stage);
        linter.relative_workdir(stage);
    }
    for instruction in &file.instructions {
        linter.instruction(instruction);
    }
    diagnostics.append(&mut linter.found);
}

/// `# check=skip=A,B;error=true`
struct Check {
    skip: Vec<String>,
    severity: Severity,
}

impl Check {
    fn read(value: &str) -> Self {
        let mut check = Self { skip: Vec::new(), severity: Severity::Warning };
        for part in value.split(';') {
            match part.trim().split_once('=') {
                Some(("skip", names)) => check.skip = names.split(',').map(|name| name.trim().to_lowercase()).collect(),
                Some(("error", "true")) => check.severity = Severity::Error,
                _ => {}
            }
        }
        check
    }

    fn skips(&self, rule: &str) -> bool {
        self.skip.iter().any(|name| name == "all" || name.eq_ignore_ascii_case(rule))
    }
}

struct Linter<'a> {
    text: &'a str,
    file: &'a Dockerfile,
    check: Check,
    found: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn say(&mut self, code: &'static str, lines: LineRange, span: Span, message: impl Into<String>) {
        self.suggest(code, lines, span, message, None);
    }

    fn suggest(
        &mut self,
        code: &'static str,
        lines: LineRange,
        span: Span,
        message: impl Into<String>,
        suggestion: Option<Suggestion>,
    ) {
        debug_assert!(rule(code).is_some(), "{code} is no rule");
        if !self.check.skips(code) {
            let severity = self.check.severity;
            self.found.push(Diagnostic {
                lines,
                span,
                severity,
                code,
                message: message.into(),
                expected: None,
                suggestion,
            });
        }
    }

    fn blank_lines(&mut self, notes: &Notes) {
        for lines in &notes.blank_lines {
            let start: usize = self.text.split_inclusive('\n').take(lines.first - 1).map(str::len).sum();
            self.say("NoEmptyContinuation", *lines, Span::new(start, start), "Empty continuation line");
        }
    }

    fn casing(&mut self) {
        let is_lower = |instruction: &&Instruction| self.written(instruction).chars().all(|c| c.is_lowercase());
        let is_upper = |instruction: &&Instruction| self.written(instruction).chars().all(|c| c.is_uppercase());
        let known: Vec<&Instruction> =
            self.file.instructions.iter().filter(|it| super::keyword::find(&it.keyword).is_some()).collect();
        let lower = known.iter().copied().filter(is_lower).count();
        let upper = known.iter().copied().filter(is_upper).count();
        let majority = if lower > upper { "lowercase" } else { "uppercase" };
        let odd: Vec<(LineRange, Span)> = known
            .iter()
            .filter(|it| if lower > upper { !is_lower(it) } else { !is_upper(it) })
            .map(|it| (it.lines, it.keyword_span))
            .collect();
        for (lines, span) in odd {
            let written = span.of(self.text);
            let message = format!("Command '{written}' should match the case of the command majority ({majority})");
            let replacement = if lower > upper { written.to_ascii_lowercase() } else { written.to_ascii_uppercase() };
            self.suggest("ConsistentInstructionCasing", lines, span, message, Some(Suggestion { span, replacement }));
        }
    }

    fn written(&self, instruction: &Instruction) -> &str {
        instruction.keyword_span.of(self.text)
    }

    fn stage_names(&mut self) {
        let mut seen = BTreeSet::new();
        for stage in &self.file.stages {
            let Some(from) = self.file.stage_instructions(stage).first() else { continue };
            let Body::From(base) = &from.body else { continue };
            let (Some(name), Some(span)) = (&base.name, base.name_span) else { continue };
            let lower = name.to_lowercase();
            if *name != lower {
                let suggestion = Suggestion { span, replacement: lower.clone() };
                let message = format!("Stage name '{name}' should be lowercase");
                self.suggest("StageNameCasing", from.lines, span, message, Some(suggestion));
            }
            if lower == "scratch" || lower == "context" {
                let message = format!("Stage name should not use the same name as reserved stage {lower:?}");
                self.say("ReservedStageName", from.lines, span, message);
            }
            if !seen.insert(lower) {
                let message = format!("Duplicate stage name {name:?}, stage names should be unique");
                self.say("DuplicateStageName", from.lines, span, message);
            }
            let between = Span::new(base.image_span.end, span.start);
            let as_word = between.of(self.text).trim();
            let is_upper = |word: &str| word.chars().all(|c| c.is_uppercase());
            if as_word.eq_ignore_ascii_case("as") && is_upper(as_word) != is_upper(self.written(from)) {
                self.say("FromAsCasing", from.lines, between, "'as' and 'FROM' keywords' casing do not match");
            }
        }
    }

    fn only_last_counts(&mut self, stage: &Stage) {
        for keyword in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
            let all: Vec<&Instruction> =
                self.file.stage_instructions(stage).iter().filter(|it| it.keyword == keyword).collect();
            let Some((_, ignored)) = all.split_last() else { continue };
            for instruction in ignored {
                let message = format!(
                    "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
                );
                self.say("MultipleInstructionsDisallowed", instruction.lines, instruction.keyword_span, message);
            }
        }
    }

    fn relative_workdir(&mut self, stage: &Stage) {
        // A relative path is fine below an absolute one of the same stage.
        for instruction in self.file.stage_instructions(stage) {
            let Body::Workdir(path) = &instruction.body else { continue };
            let path = path.trim_start_matches(['"', '\'']);
            if path.starts_with('/') || path.starts_with('$') || path.get(1..3).is_some_and(|drive| drive == ":\\") {
                return;
            }
            let message = format!("Relative workdir {path:?} can have unexpected results if the base image changes");
            self.say("WorkdirRelativePath", instruction.lines, instruction.span, message);
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let (lines, span, keyword) = (instruction.lines, instruction.span, instruction.keyword.as_str());
        match &instruction.body {
            Body::Cmd(Command::Shell(text)) | Body::Entrypoint(Command::Shell(text)) if !text.is_empty() => {
                let message = format!(
                    "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
                );
                self.say("JSONArgsRecommended", lines, span, message);
            }
            Body::Maintainer(_) => {
                let message = "Maintainer instruction is deprecated in favor of using label";
                self.say("MaintainerDeprecated", lines, span, message);
            }
            Body::Env(pairs) | Body::Label(pairs) => {
                if let Some(pair) = pairs.iter().find(|pair| pair.legacy) {
                    let message = format!(
                        "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                    );
                    let quoted = pair.value.contains(char::is_whitespace) && !pair.value.contains(['"', '\'']);
                    let value = if quoted { format!("\"{}\"", pair.value) } else { pair.value.clone() };
                    let replacement = format!("{} {}={value}", self.written(instruction), pair.key);
                    let is_one_line = lines.first == lines.last;
                    let suggestion = is_one_line.then_some(Suggestion { span, replacement });
                    self.suggest("LegacyKeyValueFormat", lines, span, message, suggestion);
                }
                if keyword == "ENV" {
                    pairs.iter().for_each(|pair| self.secret(instruction, &pair.key));
                }
            }
            Body::Arg(declarations) => {
                declarations.iter().for_each(|declaration| self.secret(instruction, &declaration.name));
            }
            Body::Expose(ports) => ports.iter().for_each(|port| self.port(instruction, port)),
            Body::From(base) => match base.platform.as_deref() {
                Some("$TARGETPLATFORM" | "${TARGETPLATFORM}") => {
                    let platform = base.platform.as_deref().unwrap_or_default();
                    let message = format!(
                        "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
                    );
                    self.say("RedundantTargetPlatform", lines, span, message);
                }
                Some(platform) if !platform.contains('$') => {
                    let message = format!("FROM --platform flag should not use constant value {platform:?}");
                    self.say("FromPlatformFlagConstDisallowed", lines, span, message);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn secret(&mut self, instruction: &Instruction, name: &str) {
        if is_secret(name) {
            let message =
                format!("Do not use ARG or ENV instructions for sensitive data ({} \"{name}\")", instruction.keyword);
            self.say("SecretsUsedInArgOrEnv", instruction.lines, instruction.span, message);
        }
    }

    fn port(&mut self, instruction: &Instruction, port: &str) {
        if port.contains('$') {
            return;
        }
        let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
        if number.contains(':') {
            let message =
                format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
            self.say("ExposeInvalidFormat", instruction.lines, instruction.span, message);
        }
        if protocol.chars().any(char::is_uppercase) {
            let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
            self.say("ExposeProtoCasing", instruction.lines, instruction.span, message);
        }
    }

    fn variables(&mut self) {
        let mut global = known_from_start();
        for instruction in self.file.preamble() {
            if let Body::Arg(declarations) = &instruction.body {
                global.extend(declarations.iter().map(|declaration| declaration.name.clone()));
            }
        }
        let mut by_stage: BTreeMap<String, Scope> = BTreeMap::new();
        for stage in &self.file.stages {
            let instructions = self.file.stage_instructions(stage);
            let Some((from, rest)) = instructions.split_first() else { continue };
            let Body::From(base) = &from.body else { continue };
            for word in [Some(&base.image), base.platform.as_ref()].into_iter().flatten() {
                for name in unset(word, &global, self.file.escape) {
                    let message = format!("FROM argument '{name}' is not declared");
                    self.say("UndefinedArgInFrom", from.lines, from.span, message);
                }
            }
            let mut scope = by_stage
                .get(&base.image.to_lowercase())
                .cloned()
                .unwrap_or_else(|| Scope { names: BTreeSet::new(), is_complete: base.image == "scratch" });
            for instruction in rest {
                self.uses(instruction, &scope);
                scope.declare(instruction);
            }
            by_stage.insert(stage.index.to_string(), scope.clone());
            if let Some(name) = &stage.name {
                by_stage.insert(name.clone(), scope);
            }
        }
    }

    /// A variable counts as undefined where all of the stage's variables are known (it stands on `scratch`), or where a
    /// declared one has nearly the same name. What a base image sets can't be known here.
    fn uses(&mut self, instruction: &Instruction, scope: &Scope) {
        let mut told = BTreeSet::new();
        for word in expanded_words(instruction) {
            for name in unset(word, &scope.names, self.file.escape) {
                let near = nearest(&name, scope.names.iter().map(String::as_str)).map(str::to_owned);
                if is_predefined(&name) || !(scope.is_complete || near.is_some()) || !told.insert(name.clone()) {
                    continue;
                }
                let place = instruction.span.of(self.text).find(&format!("${name}"));
                let span = place.map_or(instruction.span, |at| {
                    let start = instruction.span.start + at;
                    Span::new(start, start + name.len() + 1)
                });
                let suggestion = near.map(|near| Suggestion { span, replacement: format!("${near}") });
                let message = format!("Usage of undefined variable '${name}'");
                self.suggest("UndefinedVar", instruction.lines, span, message, suggestion);
            }
        }
    }
}

/// The variables of a stage.
#[derive(Debug, Clone)]
struct Scope {
    names: BTreeSet<String>,
    /// Whether no other can come from a base image.
    is_complete: bool,
}

impl Scope {
    fn declare(&mut self, instruction: &Instruction) {
        match &instruction.body {
            Body::Env(pairs) => self.names.extend(pairs.iter().map(|pair| pair.key.clone())),
            Body::Arg(declarations) => {
                self.names.extend(declarations.iter().map(|declaration| declaration.name.clone()));
            }
            _ => {}
        }
    }
}

fn known_from_start() -> BTreeSet<String> {
    let platform = ["TARGET", "BUILD"]
        .into_iter()
        .flat_map(|side| ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"].map(|part| format!("{side}{part}")));
    platform.chain(["TARGETSTAGE".to_owned()]).collect()
}

/// The words of an instruction in which variables are replaced.
fn expanded_words(instruction: &Instruction) -> Vec<&str> {
    let flags = instruction.flags.iter().filter_map(|flag| flag.value.as_deref());
    match &instruction.body {
        Body::Copy(transfer) | Body::Add(transfer) => {
            flags.chain(transfer.sources.iter().map(String::as_str)).chain([transfer.destination.as_str()]).collect()
        }
        Body::Env(pairs) | Body::Label(pairs) => {
            pairs.iter().flat_map(|pair| [pair.key.as_str(), pair.value.as_str()]).collect()
        }
        Body::Arg(declarations) => declarations.iter().filter_map(|it| it.default.as_deref()).collect(),
        Body::Workdir(word) | Body::User(word) | Body::StopSignal(word) => vec![word],
        Body::Expose(words) | Body::Volume(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

fn unset(word: &str, known: &BTreeSet<String>, escape: Escape) -> Vec<String> {
    let names = expand(word, &NoVariables, escape).map(|expanded| expanded.unset).unwrap_or_default();
    // The shell's own parameters ($1, $@) are nobody's typing mistake.
    let is_name = |name: &String| name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    names.into_iter().filter(|name| is_name(name) && !known.contains(name)).collect()
}

/// Whether a name looks like it holds a secret.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 9] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret"];
    let name = name.to_ascii_lowercase();
    let parts: Vec<&str> = name.split('_').collect();
    (parts.iter().any(|part| SECRET.contains(part) || *part == "token")) && !parts.contains(&"public")
}
