//! What a Dockerfile means, with the place of every piece in the text.
//!
//! The tree keeps words as they were written: variables are replaced at build time, because ARG and ENV values are only
//! known then. Instructions stand in one list in the order of the text, also those with errors ([`Body::Invalid`]), so
//! that an editor can show something for every line; stages are ranges of that list.

use std::ops::Range;
use std::time::Duration;

use super::expand::Escape;
use super::mount::{Mount, MountFault};

/// A range of bytes of the Dockerfile's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to, not including, `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The text it covers; empty where it lies outside of `text`.
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// Lines of the Dockerfile, both ends included, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineRange {
    /// The first line, from 1.
    pub first: usize,
    /// The last line.
    pub last: usize,
}

impl LineRange {
    /// Only the line `line`.
    pub fn at(line: usize) -> Self {
        Self { first: line, last: line }
    }

    /// Whether `line` (from 1) is one of them.
    pub fn contains(&self, line: usize) -> bool {
        (self.first..=self.last).contains(&line)
    }
}

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dockerfile {
    /// The parser directives at its top (`# syntax=`, `# escape=`, `# check=`), names in lower case.
    pub directives: Vec<Directive>,
    /// The escape character in force.
    pub escape: Escape,
    /// Every instruction in the order of the text, also those before the first FROM and those with errors.
    pub instructions: Vec<Instruction>,
    /// The build stages in the order of the text.
    pub stages: Vec<Stage>,
    /// The text it was read from, which every span is about.
    pub(super) source: String,
}

impl Dockerfile {
    /// The text it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The instruction that covers `line` (from 1), where there is one.
    pub fn at_line(&self, line: usize) -> Option<&Instruction> {
        let after = self.instructions.partition_point(|instruction| instruction.lines.last < line);
        self.instructions.get(after).filter(|instruction| instruction.lines.contains(line))
    }

    /// The instructions of a stage, its FROM first.
    pub fn stage_instructions(&self, stage: &Stage) -> &[Instruction] {
        self.instructions.get(stage.instructions.clone()).unwrap_or_default()
    }

    /// The instructions before the first FROM (only ARG is allowed there).
    pub fn preamble(&self) -> &[Instruction] {
        let end = self.stages.first().map_or(self.instructions.len(), |stage| stage.instructions.start);
        self.instructions.get(..end).unwrap_or_default()
    }

    /// The value of a directive, by its name in lower case.
    pub fn directive(&self, name: &str) -> Option<&str> {
        self.directives.iter().find(|directive| directive.name == name).map(|directive| directive.value.as_str())
    }
}

/// `# name=value` at the top of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name, in lower case.
    pub name: String,
    /// Its value, without surrounding blanks.
    pub value: String,
    /// The comment's bytes.
    pub span: Span,
    /// Where its name stands.
    pub name_span: Span,
    /// Where its value stands.
    pub value_span: Span,
    /// The line it stands on, from 1.
    pub line: usize,
}

/// One FROM and what follows it up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its number, from 0.
    pub index: usize,
    /// Its name (`AS name`), in lower case as references to it compare.
    pub name: Option<String>,
    /// Which of [`Dockerfile::instructions`] it holds; the first is its FROM.
    pub instructions: Range<usize>,
    /// Its lines, from FROM to the end of its last instruction.
    pub lines: LineRange,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// The keyword in upper case (`RUN`), also of an unknown one.
    pub keyword: String,
    /// Where the keyword stands.
    pub keyword_span: Span,
    /// All its bytes: from the keyword's first to the end of its last line or heredoc, without the last newline.
    pub span: Span,
    /// Its lines, from 1.
    pub lines: LineRange,
    /// The instruction on one line: continuations joined, comments inside left out, heredoc bodies left out.
    pub text: String,
    /// Flags (`--from=build`) in the order written.
    pub flags: Vec<Flag>,
    /// Heredocs in the order of their bodies.
    pub heredocs: Vec<Heredoc>,
    /// What it says.
    pub body: Body,
    /// Every piece of it that means something, in the order of the text and without overlaps. Blanks, comments and
    /// continuations between them are no parts; an ONBUILD has its trigger's parts too.
    pub parts: Vec<Part>,
}

/// A piece of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub role: Role,
    /// Where it stands: on one line, without blanks at its ends.
    pub span: Span,
    /// Whether it is the rest of the part before, which a continuation has cut.
    pub continues: bool,
}

/// What a piece of an instruction is. What spans several lines is several parts, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The instruction's name.
    Keyword,
    /// `AS` in FROM; `CMD` and `NONE` in HEALTHCHECK.
    Subkeyword,
    /// A flag up to its `=`, dashes included.
    FlagName,
    /// A flag's value as written.
    FlagValue,
    /// What FROM stands on.
    Image,
    /// The name after AS.
    StageName,
    /// What a shell reads.
    Shell,
    /// `[`, `,` and `]` of a JSON form, `=` of a pair or flag.
    Punctuation,
    /// A string of a JSON form, with its quotes.
    Text,
    /// The name in ENV, LABEL and ARG.
    Key,
    /// The value in ENV and LABEL, the default in ARG.
    Value,
    /// What COPY and ADD take.
    Source,
    /// Where COPY and ADD put it.
    Destination,
    /// Any other word: a port, a path, a user, a signal.
    Argument,
    /// `<<EOF`
    HeredocMark,
    /// A heredoc's lines.
    HeredocBody,
    /// The line that ends a heredoc.
    HeredocEnd,
    /// What could not be read.
    Unread,
}

impl Instruction {
    /// Where the parts of that role begin, in order: the n-th [`Role::Key`] is the n-th pair's. Of a part that goes on on
    /// further lines it is the first line's piece.
    pub fn spans(&self, role: Role) -> impl Iterator<Item = Span> {
        self.parts.iter().filter(move |part| part.role == role && !part.continues).map(|part| part.span)
    }

    /// The values of the flag `name`, for flags that may stand several times.
    pub fn flags_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Flag> {
        self.flags.iter().filter(move |flag| flag.name == name)
    }

    /// What the RUN mounts, as far as it holds no variables; see [`Mount::read`] for values that do.
    ///
    /// # Errors
    /// The first mount that is wrong or can't be known yet.
    pub fn mounts(&self) -> Result<Vec<Mount>, MountFault> {
        let values = self.flags_named("mount").filter_map(|flag| flag.value.as_deref());
        values.map(|value| Mount::read(value, &|text| Ok(text.to_owned()))).collect()
    }

    /// The value of the flag `name` (without dashes), the last one where there are several.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|flag| flag.name == name).and_then(|flag| flag.value.as_deref())
    }

    /// Whether the flag `name` is given and not `false`.
    pub fn has_flag(&self, name: &str) -> bool {
        self.flags
            .iter()
            .rev()
            .find(|flag| flag.name == name)
            .is_some_and(|flag| !flag.value.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("false")))
    }
}

/// `--name=value` or `--name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Its name without dashes.
    pub name: String,
    /// Its value without quotes; `None` for a bare flag.
    pub value: Option<String>,
    /// Where it stands.
    pub span: Span,
    /// Where its name stands, dashes included.
    pub name_span: Span,
    /// Where its value stands, quotes included.
    pub value_span: Option<Span>,
}

/// A heredoc (`<<EOF`) and the lines that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// Its delimiter word without quotes; for COPY and ADD also the file's name.
    pub name: String,
    /// Its lines, each with its own line end, before tabs are taken off.
    pub content: String,
    /// Whether variables in it are replaced (the delimiter was not quoted).
    pub expand: bool,
    /// Whether leading tabs are taken off (`<<-`).
    pub strip_tabs: bool,
    /// Its lines' bytes, without the delimiter line.
    pub span: Span,
    /// Where `<<EOF` stands.
    pub mark_span: Span,
    /// The line that ends it; `None` where it is missing.
    pub end_span: Option<Span>,
}

impl Heredoc {
    /// Its content, with leading tabs taken off where `<<-` asks for it.
    pub fn data(&self) -> String {
        if !self.strip_tabs {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// What an instruction says. Words are as written: quotes and variables are dealt with at build time.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// `FROM [--platform=p] image [AS name]`
    From(Base),
    /// `RUN command`
    Run(Command),
    /// `CMD command`
    Cmd(Command),
    /// `ENTRYPOINT command`
    Entrypoint(Command),
    /// `SHELL ["exe", "arg"]`
    Shell(Vec<String>),
    /// `COPY [flags] source... destination`
    Copy(Transfer),
    /// `ADD [flags] source... destination`
    Add(Transfer),
    /// `ENV key=value ...`
    Env(Vec<Pair>),
    /// `LABEL key=value ...`
    Label(Vec<Pair>),
    /// `ARG name[=default] ...`
    Arg(Vec<ArgDeclaration>),
    /// `WORKDIR path`
    Workdir(String),
    /// `USER user[:group]`
    User(String),
    /// `EXPOSE port[/protocol] ...`
    Expose(Vec<String>),
    /// `VOLUME path ...`
    Volume(Vec<String>),
    /// `STOPSIGNAL signal`
    StopSignal(String),
    /// `MAINTAINER name`
    Maintainer(String),
    /// `HEALTHCHECK [flags] CMD command` or `HEALTHCHECK NONE`
    Healthcheck(Healthcheck),
    /// `ONBUILD instruction`
    OnBuild(Box<Instruction>),
    /// It has an error, which is among the diagnostics.
    Invalid,
}

/// What `FROM` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The image or stage, as written.
    pub image: String,
    /// Where it stands.
    pub image_span: Span,
    /// The name after AS, as written.
    pub name: Option<String>,
    /// Where the name stands.
    pub name_span: Option<Span>,
    /// The `--platform`, as written.
    pub platform: Option<String>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For the shell: the rest of the line.
    Shell(String),
    /// The JSON form: run as it is.
    Exec(Vec<String>),
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Paths, wildcards or URLs, as written; heredocs are not among them.
    pub sources: Vec<String>,
    /// The heredocs that are files to write, by their place in [`Instruction::heredocs`].
    pub heredocs: Vec<usize>,
    /// Where to, as written.
    pub destination: String,
}

/// `key=value` of ENV and LABEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key, as written.
    pub key: String,
    /// The value, as written, quotes included.
    pub value: String,
    /// Whether it was written as `ENV key value`.
    pub legacy: bool,
}

/// `name[=default]` of ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The variable.
    pub name: String,
    /// Its default, as written, quotes included.
    pub default: Option<String>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// Switches an inherited check off.
    None,
    /// Runs a command now and then. `None` inherits a setting.
    Check {
        /// What is run.
        command: Command,
        /// Time between two checks.
        interval: Option<Duration>,
        /// How long one may take.
        timeout: Option<Duration>,
        /// Failures that do not count at the start.
        start_period: Option<Duration>,
        /// Time between two checks in the start period.
        start_interval: Option<Duration>,
        /// How many failures in a row make it unhealthy.
        retries: Option<i64>,
    },
}
