//! Reads one logical line as an instruction: keyword, flags, and the body by the keyword's own rules.

use std::ops::Range;

use super::ast::{ArgDeclaration, Base, Body, Command, Flag, Healthcheck, Instruction, Pair, Span, Transfer};
use super::diagnostic::{Diagnostic, Severity, Suggestion};
use super::expand::Escape;
use super::keyword::{self, KEYWORDS, Keyword, Takes};
use super::logical::Logical;
use super::suggest::nearest;
use super::words::{self, Json, Word};
use super::{duration, heredoc};

/// What is wrong with an instruction, placed in its joined line.
struct Fault {
    range: Range<usize>,
    code: &'static str,
    message: String,
    replacement: Option<String>,
}

/// Reads `logical`. With a fault its body is [`Body::Invalid`] and the fault is among the diagnostics.
pub(super) fn read(logical: &Logical, escape: Escape, diagnostics: &mut Vec<Diagnostic>) -> Instruction {
    let reader = Reader { logical, escape, trigger: false };
    let (instruction, faults) = reader.instruction(0);
    diagnostics.extend(faults.into_iter().map(|fault| {
        let span = logical.place(fault.range);
        Diagnostic {
            lines: logical.lines,
            span,
            severity: Severity::Error,
            code: fault.code,
            message: fault.message,
            suggestion: fault.replacement.map(|replacement| Suggestion { span, replacement }),
        }
    }));
    if let Some(name) = &logical.unterminated {
        diagnostics.push(Diagnostic {
            lines: logical.lines,
            span: logical.place(0..logical.text.len()),
            severity: Severity::Error,
            code: "UnterminatedHeredoc",
            message: format!("unterminated heredoc: the line {name} that ends it is missing"),
            suggestion: None,
        });
    }
    instruction
}

struct Reader<'a> {
    logical: &'a Logical,
    escape: Escape,
    /// Whether it stands after ONBUILD.
    trigger: bool,
}

/// The part of the joined line after keyword and flags.
struct Rest<'a> {
    text: &'a str,
    at: usize,
    whole: Range<usize>,
}

impl Rest<'_> {
    fn range(&self) -> Range<usize> {
        if self.text.is_empty() { self.whole.clone() } else { self.at..self.at + self.text.len() }
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { range: self.range(), code: "SyntaxError", message: message.into(), replacement: None }
    }
}

impl Reader<'_> {
    fn instruction(&self, at: usize) -> (Instruction, Vec<Fault>) {
        let text = self.logical.text.get(at..).unwrap_or_default();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, after) = text.split_at(end);
        let keyword_range = at..at + end;
        let name = word.to_ascii_uppercase();
        let mut faults = Vec::new();
        let (mut flags, mut body) = (Vec::new(), Body::Invalid);
        match keyword::find(word) {
            None => faults.push(Fault {
                range: keyword_range.clone(),
                code: "UnknownInstruction",
                message: format!("unknown instruction: {word}"),
                replacement: nearest(word, KEYWORDS.iter().map(|known| known.name)).map(|near| same_case(word, near)),
            }),
            Some(keyword) => {
                let after_at = at + end;
                let (words, rest_at) = words::flags(after, after_at, self.escape);
                let rest =
                    Rest { text: after[rest_at..].trim_end(), at: after_at + rest_at, whole: keyword_range.clone() };
                flags = self.flags(keyword, words, &mut faults);
                match self.body(keyword.name, &rest, &flags) {
                    Ok(read) => body = read,
                    Err(fault) => faults.push(fault),
                }
            }
        }
        if !faults.is_empty() {
            body = Body::Invalid;
        }
        let start = self.logical.place(keyword_range.clone()).start;
        let instruction = Instruction {
            keyword: name,
            keyword_span: self.logical.place(keyword_range),
            span: Span::new(start, self.logical.span.end.max(start)),
            lines: self.logical.lines,
            text: text.to_owned(),
            flags,
            heredocs: self.logical.heredocs.clone(),
            body,
        };
        (instruction, faults)
    }

    fn flags(&self, keyword: &Keyword, words: Vec<Word>, faults: &mut Vec<Fault>) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::new();
        for word in words {
            let bare = word.text.trim_start_matches("--");
            let (name, value) = match bare.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (bare, None),
            };
            let mut refuse = |message: String, replacement: Option<String>| {
                faults.push(Fault { range: word.range.clone(), code: "InvalidFlag", message, replacement });
            };
            match keyword.flags.iter().find(|known| known.name == name) {
                None => {
                    let near = nearest(name, keyword.flags.iter().map(|known| known.name));
                    let replacement = near.map(|near| match &value {
                        Some(value) => format!("--{near}={value}"),
                        None => format!("--{near}"),
                    });
                    refuse(format!("unknown flag: --{name}"), replacement);
                }
                Some(known) => match (known.takes, value.as_deref()) {
                    (Takes::Value | Takes::Switch, _) if flags.iter().any(|flag| flag.name == name) => {
                        refuse(format!("Duplicate flag specified: {name}"), None);
                    }
                    (Takes::Value | Takes::Values, None) => refuse(format!("Missing a value on flag: {name}"), None),
                    (Takes::Switch, Some(value))
                        if !matches!(value.to_ascii_lowercase().as_str(), "true" | "false") =>
                    {
                        refuse(format!("Expecting boolean value for flag {name}, not: {value}"), None);
                    }
                    _ => {}
                },
            }
            flags.push(Flag { name: name.to_owned(), value, span: self.logical.place(word.range.clone()) });
        }
        flags
    }

    fn body(&self, keyword: &str, rest: &Rest<'_>, flags: &[Flag]) -> Result<Body, Fault> {
        match keyword {
            "FROM" => self.from(rest, flags),
            "RUN" => {
                let command = command(rest)?;
                match &command {
                    Command::Shell(text) if text.is_empty() => Err(at_least_one(keyword, rest)),
                    Command::Exec(words) if words.is_empty() => Err(at_least_one(keyword, rest)),
                    _ => Ok(Body::Run(command)),
                }
            }
            "CMD" => command(rest).map(Body::Cmd),
            "ENTRYPOINT" => match command(rest)? {
                Command::Shell(text) if text.is_empty() => Err(at_least_one(keyword, rest)),
                command => Ok(Body::Entrypoint(command)),
            },
            "SHELL" => match words::json(rest.text) {
                Json::Strings(words) if words.is_empty() => Err(at_least_one(keyword, rest)),
                Json::Strings(words) => Ok(Body::Shell(words)),
                _ if rest.text.is_empty() => Err(at_least_one(keyword, rest)),
                _ => Err(rest.fault("SHELL requires the arguments to be in JSON form")),
            },
            "COPY" => self.transfer(keyword, rest).map(Body::Copy),
            "ADD" => self.transfer(keyword, rest).map(Body::Add),
            "ENV" => self.pairs(keyword, rest).map(Body::Env),
            "LABEL" => self.pairs(keyword, rest).map(Body::Label),
            "ARG" => self.arguments(rest),
            "WORKDIR" => exactly_one(keyword, rest).map(Body::Workdir),
            "USER" => exactly_one(keyword, rest).map(Body::User),
            "STOPSIGNAL" => exactly_one(keyword, rest).map(Body::StopSignal),
            "MAINTAINER" => exactly_one(keyword, rest).map(Body::Maintainer),
            "EXPOSE" => match texts(words::plain(rest.text, rest.at)) {
                ports if ports.is_empty() => Err(at_least_one(keyword, rest)),
                ports => Ok(Body::Expose(ports)),
            },
            "VOLUME" => match list(rest)? {
                paths if paths.is_empty() => Err(at_least_one(keyword, rest)),
                paths if paths.iter().any(|path| path.trim().is_empty()) => {
                    Err(rest.fault("VOLUME specified can not be an empty string"))
                }
                paths => Ok(Body::Volume(paths)),
            },
            "HEALTHCHECK" => healthcheck(rest, flags).map(Body::Healthcheck),
            "ONBUILD" => self.on_build(rest),
            _ => Err(rest.fault(format!("unknown instruction: {keyword}"))),
        }
    }

    fn from(&self, rest: &Rest<'_>, flags: &[Flag]) -> Result<Body, Fault> {
        let words = words::plain(rest.text, rest.at);
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, as_word, name] if as_word.text.eq_ignore_ascii_case("as") => (image, Some(name)),
            _ => return Err(rest.fault("FROM requires either one or three arguments")),
        };
        if let Some(name) = name
            && !is_stage_name(&name.text)
        {
            return Err(Fault {
                range: name.range.clone(),
                code: "InvalidStageName",
                message: format!(
                    "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                    name.text
                ),
                replacement: None,
            });
        }
        Ok(Body::From(Base {
            image: image.text.clone(),
            image_span: self.logical.place(image.range.clone()),
            name: name.map(|name| name.text.clone()),
            name_span: name.map(|name| self.logical.place(name.range.clone())),
            platform: flags.iter().find(|flag| flag.name == "platform").and_then(|flag| flag.value.clone()),
        }))
    }

    fn transfer(&self, keyword: &str, rest: &Rest<'_>) -> Result<Transfer, Fault> {
        let mut words = list(rest)?;
        let destination = match words.pop() {
            None => return Err(at_least_one(keyword, rest)),
            Some(destination) => destination,
        };
        if words.is_empty() {
            return Err(rest.fault(format!(
                "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
            )));
        }
        let find = |word: &str| {
            let mark = heredoc::mark(word)?;
            self.logical.heredocs.iter().position(|heredoc| heredoc.name == mark.name)
        };
        if find(&destination).is_some() {
            return Err(rest.fault(format!("{keyword} requires a path as its destination, not a heredoc")));
        }
        let mut transfer = Transfer { sources: Vec::new(), heredocs: Vec::new(), destination };
        for word in words {
            match find(&word) {
                Some(heredoc) => transfer.heredocs.push(heredoc),
                None => transfer.sources.push(word),
            }
        }
        Ok(transfer)
    }

    fn pairs(&self, keyword: &str, rest: &Rest<'_>) -> Result<Vec<Pair>, Fault> {
        let words = words::quoted(rest.text, rest.at, self.escape);
        let Some(first) = words.first() else { return Err(at_least_one(keyword, rest)) };
        if !first.text.contains('=') {
            let Some((key, value)) = rest.text.split_once(char::is_whitespace) else {
                return Err(rest.fault(format!("{keyword} must have two arguments")));
            };
            return Ok(vec![Pair { key: key.to_owned(), value: value.trim_start().to_owned(), legacy: true }]);
        }
        words
            .iter()
            .map(|word| {
                let fault = |message: String| Fault {
                    range: word.range.clone(),
                    code: "SyntaxError",
                    message,
                    replacement: None,
                };
                match word.text.split_once('=') {
                    None => Err(fault(format!(
                        "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                        word.text
                    ))),
                    Some(("", _)) => Err(fault(format!("{keyword} names can not be blank"))),
                    Some((key, value)) => Ok(Pair { key: key.to_owned(), value: value.to_owned(), legacy: false }),
                }
            })
            .collect()
    }

    fn arguments(&self, rest: &Rest<'_>) -> Result<Body, Fault> {
        let words = words::quoted(rest.text, rest.at, self.escape);
        if words.is_empty() {
            return Err(at_least_one("ARG", rest));
        }
        let declarations = words.into_iter().map(|word| match word.text.split_once('=') {
            Some(("", _)) => Err(Fault {
                range: word.range,
                code: "SyntaxError",
                message: "ARG names can not be blank".to_owned(),
                replacement: None,
            }),
            Some((name, default)) => Ok(ArgDeclaration { name: name.to_owned(), default: Some(default.to_owned()) }),
            None => Ok(ArgDeclaration { name: word.text, default: None }),
        });
        declarations.collect::<Result<_, _>>().map(Body::Arg)
    }

    fn on_build(&self, rest: &Rest<'_>) -> Result<Body, Fault> {
        if rest.text.is_empty() {
            return Err(at_least_one("ONBUILD", rest));
        }
        let word = rest.text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if self.trigger || word == "ONBUILD" {
            return Err(rest.fault("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
        }
        if word == "FROM" || word == "MAINTAINER" {
            return Err(rest.fault(format!("{word} isn't allowed as an ONBUILD trigger")));
        }
        let inner = Reader { logical: self.logical, escape: self.escape, trigger: true };
        let (instruction, faults) = inner.instruction(rest.at);
        match faults.into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(Body::OnBuild(Box::new(instruction))),
        }
    }
}

fn at_least_one(keyword: &str, rest: &Rest<'_>) -> Fault {
    rest.fault(format!("{keyword} requires at least one argument"))
}

fn exactly_one(keyword: &str, rest: &Rest<'_>) -> Result<String, Fault> {
    if rest.text.is_empty() {
        return Err(rest.fault(format!("{keyword} requires exactly one argument")));
    }
    Ok(rest.text.to_owned())
}

fn command(rest: &Rest<'_>) -> Result<Command, Fault> {
    match words::json(rest.text) {
        Json::Strings(words) => Ok(Command::Exec(words)),
        Json::NotStrings => Err(rest.fault("when using JSON array syntax, arrays must be comprised of strings only")),
        Json::Not => Ok(Command::Shell(rest.text.to_owned())),
    }
}

/// A JSON list, or words between blanks.
fn list(rest: &Rest<'_>) -> Result<Vec<String>, Fault> {
    match words::json(rest.text) {
        Json::Strings(words) => Ok(words),
        Json::NotStrings => Err(rest.fault("when using JSON array syntax, arrays must be comprised of strings only")),
        Json::Not => Ok(texts(words::plain(rest.text, rest.at))),
    }
}

fn texts(words: Vec<Word>) -> Vec<String> {
    words.into_iter().map(|word| word.text).collect()
}

fn healthcheck(rest: &Rest<'_>, flags: &[Flag]) -> Result<Healthcheck, Fault> {
    let (kind, after) = rest.text.split_once(char::is_whitespace).unwrap_or((rest.text, ""));
    match kind.to_ascii_uppercase().as_str() {
        "" => return Err(at_least_one("HEALTHCHECK", rest)),
        "NONE" if after.trim().is_empty() => return Ok(Healthcheck::None),
        "NONE" => return Err(rest.fault("HEALTHCHECK NONE takes no arguments")),
        "CMD" => {}
        other => return Err(rest.fault(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    }
    let after = after.trim_start();
    let command = command(&Rest { text: after, at: rest.at + (rest.text.len() - after.len()), whole: rest.range() })?;
    if matches!(&command, Command::Shell(text) if text.is_empty()) || command == Command::Exec(Vec::new()) {
        return Err(rest.fault("Missing command after HEALTHCHECK CMD"));
    }
    let value = |name: &str| flags.iter().find(|flag| flag.name == name).and_then(|flag| flag.value.as_deref());
    let time = |name: &str| match value(name) {
        None | Some("") => Ok(None),
        Some(text) => match duration::parse(text) {
            None => Err(rest.fault(format!("time: invalid duration {text:?}"))),
            Some(time) if time.is_zero() => Ok(None),
            Some(time) if time.as_millis() == 0 => {
                Err(rest.fault(format!("Interval {name:?} cannot be less than 1ms")))
            }
            Some(time) => Ok(Some(time)),
        },
    };
    let retries = match value("retries") {
        None | Some("") => None,
        Some(text) => match text.parse::<i64>() {
            Err(_) => return Err(rest.fault(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
            Ok(count) if count < 0 => return Err(rest.fault(format!("--retries cannot be negative (got {count})"))),
            Ok(0) => None,
            Ok(count) => Some(count),
        },
    };
    Ok(Healthcheck::Check {
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
        command,
    })
}

/// Docker's rule for stage names: a letter, then letters, digits, `-`, `_` and `.`; case does not count.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// `near` in lower case where the person wrote lower case.
fn same_case(written: &str, near: &str) -> String {
    if written.chars().any(char::is_lowercase) { near.to_ascii_lowercase() } else { near.to_owned() }
}
