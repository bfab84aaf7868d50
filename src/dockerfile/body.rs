//! The bodies of instructions, each by its own rules: words, pairs, a command, a JSON list.

use super::ast::{ArgDeclaration, Base, Body, Command, Flag, Pair, Role, Transfer};
use super::instruction::{Fault, Position, Reader, Rest};
use super::words::{self, Json, Word};
use super::{healthcheck, heredoc, meant};

impl Reader<'_> {
    /// What stands after keyword and flags. Faults that do not keep the rest from being read are in `self.faults`.
    pub(super) fn body(
        &mut self,
        keyword: &str,
        rest: &Rest<'_>,
        flags: &[Flag],
        position: Position,
    ) -> Result<Body, Fault> {
        match keyword {
            "FROM" => self.from(rest, flags),
            "RUN" => match self.command(rest)? {
                Command::Shell(text) if text.is_empty() => Err(at_least_one(keyword, rest)),
                Command::Exec(words) if words.is_empty() => Err(at_least_one(keyword, rest)),
                command => Ok(Body::Run(command)),
            },
            "CMD" => self.command(rest).map(Body::Cmd),
            "ENTRYPOINT" => self.command(rest).map(Body::Entrypoint),
            "SHELL" => self.shell(rest),
            "COPY" => self.transfer(keyword, rest).map(Body::Copy),
            "ADD" => self.transfer(keyword, rest).map(Body::Add),
            "ENV" => self.pairs(keyword, rest).map(Body::Env),
            "LABEL" => self.pairs(keyword, rest).map(Body::Label),
            "ARG" => self.arguments(rest),
            "WORKDIR" => self.exactly_one(keyword, rest).map(Body::Workdir),
            "USER" => self.exactly_one(keyword, rest).map(Body::User),
            "STOPSIGNAL" => self.exactly_one(keyword, rest).map(Body::StopSignal),
            "MAINTAINER" => self.exactly_one(keyword, rest).map(Body::Maintainer),
            "EXPOSE" => self.several(keyword, words::plain(rest.text, rest.at), rest).map(Body::Expose),
            "VOLUME" => {
                let paths = self.list(rest)?;
                let blank = paths.iter().find(|path| path.text.trim().is_empty()).map(|path| path.range.clone());
                match blank {
                    Some(range) => Err(rest.fault_at(range, "VOLUME specified can not be an empty string")),
                    None => self.several(keyword, paths, rest).map(Body::Volume),
                }
            }
            "HEALTHCHECK" => healthcheck::read(self, rest, flags).map(Body::Healthcheck),
            "ONBUILD" => self.on_build(rest, position),
            _ => Err(rest.fault(format!("unknown instruction: {keyword}"))),
        }
    }

    fn from(&mut self, rest: &Rest<'_>, flags: &[Flag]) -> Result<Body, Fault> {
        let words = words::plain(rest.text, rest.at);
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, as_word, name] if as_word.text.eq_ignore_ascii_case("as") => (image, Some((as_word, name))),
            words => {
                let why = meant::of_from(words);
                let fault = rest.fault(format!("FROM requires either one or three arguments{why}"));
                let replacement = match words {
                    [image, name] if why.is_empty() && is_stage_name(&name.text) => {
                        Some(format!("{} AS {}", image.text, name.text))
                    }
                    _ => None,
                };
                return Err(Fault { replacement, ..fault });
            }
        };
        self.part(Role::Image, image.range.clone());
        if let Some((as_word, name)) = name {
            if !is_stage_name(&name.text) {
                self.faults.push(Fault {
                    range: name.range.clone(),
                    code: "InvalidStageName",
                    message: format!(
                        "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                        name.text
                    ),
                    expected: Some("a letter, then letters, digits, -, _ and .".to_owned()),
                    replacement: None,
                });
            }
            self.part(Role::Subkeyword, as_word.range.clone());
            self.part(Role::StageName, name.range.clone());
        }
        let name = name.map(|(_, name)| name);
        Ok(Body::From(Base {
            image: image.text.clone(),
            image_span: self.logical.place(image.range.clone()),
            name: name.map(|name| name.text.clone()),
            name_span: name.map(|name| self.logical.place(name.range.clone())),
            platform: flags.iter().find(|flag| flag.name == "platform").and_then(|flag| flag.value.clone()),
        }))
    }

    /// A command: the JSON form, or what a shell is to read.
    pub(super) fn command(&mut self, rest: &Rest<'_>) -> Result<Command, Fault> {
        match self.json(rest)? {
            Some(words) => Ok(Command::Exec(words.into_iter().map(|word| word.text).collect())),
            None => {
                let end = rest.at + rest.text.len();
                let mut at = rest.at;
                for mark in &self.logical.marks {
                    if mark.start >= at && mark.end <= end {
                        self.part(Role::Shell, at..mark.start);
                        self.part(Role::HeredocMark, mark.clone());
                        at = mark.end;
                    }
                }
                self.part(Role::Shell, at..end);
                Ok(Command::Shell(rest.text.to_owned()))
            }
        }
    }

    /// The strings of a JSON form; `None` where it is none.
    fn json(&mut self, rest: &Rest<'_>) -> Result<Option<Vec<Word>>, Fault> {
        match words::json(rest.text) {
            Json::Not => Ok(None),
            Json::NotStrings => {
                Err(rest.fault("when using JSON array syntax, arrays must be comprised of strings only"))
            }
            Json::Strings(strings) => {
                let pieces = words::json_pieces(rest.text, rest.at);
                for (range, is_text) in &pieces {
                    self.part(if *is_text { Role::Text } else { Role::Punctuation }, range.clone());
                }
                let ranges = pieces.into_iter().filter(|(_, is_text)| *is_text).map(|(range, _)| range);
                Ok(Some(strings.into_iter().zip(ranges).map(|(text, range)| Word { text, range }).collect()))
            }
        }
    }

    /// A JSON list, or words between blanks. Only the JSON form marks its parts.
    fn list(&mut self, rest: &Rest<'_>) -> Result<Vec<Word>, Fault> {
        Ok(self.json(rest)?.unwrap_or_else(|| words::plain(rest.text, rest.at)))
    }

    fn several(&mut self, keyword: &str, words: Vec<Word>, rest: &Rest<'_>) -> Result<Vec<String>, Fault> {
        if words.is_empty() {
            return Err(at_least_one(keyword, rest));
        }
        if !rest.text.starts_with('[') || words.first().is_some_and(|word| word.range.start == rest.at) {
            words.iter().for_each(|word| self.part(Role::Argument, word.range.clone()));
        }
        Ok(words.into_iter().map(|word| word.text).collect())
    }

    fn exactly_one(&mut self, keyword: &str, rest: &Rest<'_>) -> Result<String, Fault> {
        if rest.text.is_empty() {
            return Err(rest.fault(format!("{keyword} requires exactly one argument")));
        }
        self.part(Role::Argument, rest.range());
        Ok(rest.text.to_owned())
    }

    fn shell(&mut self, rest: &Rest<'_>) -> Result<Body, Fault> {
        match self.json(rest)? {
            Some(words) if words.is_empty() => Err(at_least_one("SHELL", rest)),
            Some(words) => Ok(Body::Shell(words.into_iter().map(|word| word.text).collect())),
            None if rest.text.is_empty() => Err(at_least_one("SHELL", rest)),
            None => {
                let words = words::plain(rest.text, rest.at);
                let is_plain = |word: &Word| !word.text.contains(['"', '\'', '\\', '[', ']', ',', '$']);
                let list = || words.iter().map(|word| format!("{:?}", word.text)).collect::<Vec<_>>().join(", ");
                let replacement = words.iter().all(is_plain).then(|| format!("[{}]", list()));
                Err(Fault { replacement, ..rest.fault("SHELL requires the arguments to be in JSON form") })
            }
        }
    }

    fn transfer(&mut self, keyword: &str, rest: &Rest<'_>) -> Result<Transfer, Fault> {
        let json = self.json(rest)?;
        let is_json = json.is_some();
        let mut words = json.unwrap_or_else(|| words::plain(rest.text, rest.at));
        let Some(destination) = words.pop() else { return Err(at_least_one(keyword, rest)) };
        if words.is_empty() {
            return Err(rest.fault(format!(
                "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
            )));
        }
        let logical = self.logical;
        let find = |word: &Word| {
            let mark = heredoc::mark(&word.text).filter(|_| !is_json)?;
            logical.heredocs.iter().position(|heredoc| heredoc.name == mark.name)
        };
        if find(&destination).is_some() {
            let message = format!("{keyword} requires a path as its destination, not a heredoc");
            return Err(rest.fault_at(destination.range, message));
        }
        let mut transfer = Transfer { sources: Vec::new(), heredocs: Vec::new(), destination: String::new() };
        for word in words {
            let heredoc = find(&word);
            if !is_json {
                let role = if heredoc.is_some() { Role::HeredocMark } else { Role::Source };
                self.part(role, word.range);
            }
            match heredoc {
                Some(heredoc) => transfer.heredocs.push(heredoc),
                None => transfer.sources.push(word.text),
            }
        }
        if !is_json {
            self.part(Role::Destination, destination.range);
        }
        transfer.destination = destination.text;
        Ok(transfer)
    }

    fn pairs(&mut self, keyword: &str, rest: &Rest<'_>) -> Result<Vec<Pair>, Fault> {
        let words = words::quoted(rest.text, rest.at, self.escape);
        let Some(first) = words.first() else { return Err(at_least_one(keyword, rest)) };
        if !first.text.contains('=') {
            let Some((key, value)) = rest.text.split_once(words::is_blank) else {
                return Err(rest.fault(format!("{keyword} must have two arguments")));
            };
            let value = value.trim_start();
            self.part(Role::Key, rest.at..rest.at + key.len());
            self.part(Role::Value, rest.at + rest.text.len() - value.len()..rest.at + rest.text.len());
            return Ok(vec![Pair { key: key.to_owned(), value: value.to_owned(), legacy: true }]);
        }
        let mut pairs = Vec::with_capacity(words.len());
        for (index, word) in words.iter().enumerate() {
            self.assignment(word);
            match word.text.split_once('=') {
                None => {
                    let why = meant::of_pair(&words, index);
                    let message =
                        format!("Syntax error - can't find = in {:?}. Must be of the form: name=value{why}", word.text);
                    self.faults.push(rest.fault_at(word.range.clone(), message));
                }
                Some(("", _)) => {
                    self.faults.push(rest.fault_at(word.range.clone(), format!("{keyword} names can not be blank")));
                }
                Some((key, value)) => {
                    pairs.push(Pair { key: key.to_owned(), value: value.to_owned(), legacy: false });
                }
            }
        }
        Ok(pairs)
    }

    /// Marks `name`, `=` and value of a word.
    fn assignment(&mut self, word: &Word) {
        let (start, end) = (word.range.start, word.range.end);
        let equals = word.text.find('=').map_or(end, |at| (start + at).min(end));
        let value = (equals + 1).min(end);
        self.part(Role::Key, start..equals);
        self.part(Role::Punctuation, equals..value);
        self.part(Role::Value, value..end);
    }

    fn arguments(&mut self, rest: &Rest<'_>) -> Result<Body, Fault> {
        let words = words::quoted(rest.text, rest.at, self.escape);
        if words.is_empty() {
            return Err(at_least_one("ARG", rest));
        }
        let mut declarations = Vec::with_capacity(words.len());
        for word in words {
            self.assignment(&word);
            match word.text.split_once('=') {
                Some(("", _)) => self.faults.push(rest.fault_at(word.range, "ARG names can not be blank")),
                Some((name, default)) => {
                    declarations.push(ArgDeclaration { name: name.to_owned(), default: Some(default.to_owned()) });
                }
                None => declarations.push(ArgDeclaration { name: word.text, default: None }),
            }
        }
        Ok(Body::Arg(declarations))
    }

    fn on_build(&mut self, rest: &Rest<'_>, position: Position) -> Result<Body, Fault> {
        if rest.text.is_empty() {
            return Err(at_least_one("ONBUILD", rest));
        }
        let word = rest.text.split(words::is_blank).next().unwrap_or_default().to_ascii_uppercase();
        if position == Position::Trigger || word == "ONBUILD" {
            return Err(rest.fault("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
        }
        if word == "FROM" || word == "MAINTAINER" {
            return Err(rest.fault(format!("{word} isn't allowed as an ONBUILD trigger")));
        }
        Ok(Body::OnBuild(Box::new(self.instruction(rest.at, Position::Trigger))))
    }
}

pub(super) fn at_least_one(keyword: &str, rest: &Rest<'_>) -> Fault {
    rest.fault(format!("{keyword} requires at least one argument"))
}

/// Docker's rule for stage names: a letter, then letters, digits, `-`, `_` and `.`; case does not count.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
