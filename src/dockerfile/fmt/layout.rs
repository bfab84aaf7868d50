//! Lays the pieces of a Dockerfile out anew.

use super::super::ast::{Body, Command, Dockerfile, Instruction, Role};
use super::super::directive::is_directive;
use super::super::expand::Escape;
use super::super::pieces::{Piece, PieceKind};
use super::{Style, shell};

/// Shells whose quoting the formatter knows.
const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "ksh", "zsh", "busybox"];

/// The text of `file`, laid out.
pub(super) fn lay_out(file: &Dockerfile, style: Style) -> String {
    let source = file.source();
    let is_windows = source.find('\n').is_some_and(|end| source.get(..end).is_some_and(|line| line.ends_with('\r')));
    let mut layout = Layout {
        file,
        style,
        line_end: if is_windows { "\r\n" } else { "\n" },
        shell_is_known: knows_shells(file),
        out: String::with_capacity(source.len() + 64),
        head: 0,
        blank_lines: 0,
        line_is_open: false,
    };
    let pieces = file.pieces();
    let mut rest = pieces.as_slice();
    for instruction in &file.instructions {
        let first = rest.iter().position(is_part).unwrap_or(rest.len());
        let (between, after) = rest.split_at(first);
        layout.between(between);
        let mut left = instruction.parts.len();
        let length = after.iter().position(|piece| {
            left -= usize::from(is_part(piece));
            left == 0
        });
        let (own, after) = after.split_at(length.map_or(after.len(), |last| last + 1));
        layout.instruction(instruction, own);
        rest = after;
    }
    layout.between(rest);
    layout.end_line();
    layout.out
}

fn is_part(piece: &Piece) -> bool {
    matches!(piece.kind, PieceKind::Part(_))
}

/// Whether all shells of the file are ones whose quoting is known.
fn knows_shells(file: &Dockerfile) -> bool {
    file.escape == Escape::Backslash
        && file.instructions.iter().all(|instruction| match &instruction.body {
            Body::Shell(words) => words.first().is_some_and(|program| {
                let name = program.rsplit('/').next().unwrap_or(program);
                SHELLS.contains(&name)
            }),
            _ => true,
        })
}

struct Layout<'a> {
    file: &'a Dockerfile,
    style: Style,
    line_end: &'static str,
    shell_is_known: bool,
    out: String,
    /// How long `out` is when nothing but a byte order mark is in it.
    head: usize,
    /// Blank lines seen and not yet written.
    blank_lines: usize,
    /// Whether the last line of `out` still wants its end.
    line_is_open: bool,
}

/// What stands between two parts of an instruction.
#[derive(Debug, Default)]
struct Gap<'a> {
    /// The blanks before the first continuation; all of them where there is none.
    before: &'a str,
    /// Whether the line is continued.
    is_break: bool,
    /// Comments between the lines.
    comments: Vec<&'a str>,
    /// The blanks that the last line begins with.
    after: &'a str,
    /// How many blanks the joined line has here.
    joined: usize,
}

/// A line of an instruction after its first.
struct Line<'a> {
    comments: Vec<&'a str>,
    indent: Indent<'a>,
    text: String,
}

enum Indent<'a> {
    /// So many columns, which may be shifted together with the other lines'.
    Columns(usize),
    /// Exactly these blanks, which mean something.
    Exact(&'a str),
    /// None: the bracket that closes a list.
    None,
}

impl<'a> Layout<'a> {
    fn text(&self, piece: &Piece) -> &'a str {
        piece.span.of(self.file.source())
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.line_is_open) {
            self.out.push_str(self.line_end);
        }
    }

    /// Begins a line, after at most one blank line.
    fn begin_line(&mut self) {
        self.end_line();
        if std::mem::take(&mut self.blank_lines) > 0 && self.out.len() > self.head {
            self.out.push_str(self.line_end);
        }
        self.line_is_open = true;
    }

    /// Comments and blank lines between instructions.
    fn between(&mut self, pieces: &[Piece]) {
        let mut indent = "";
        for piece in pieces {
            let text = self.text(piece);
            match piece.kind {
                PieceKind::ByteOrderMark => {
                    self.out.push_str(text);
                    self.head = self.out.len();
                }
                PieceKind::LineEnd if self.line_is_open => self.end_line(),
                PieceKind::LineEnd => self.blank_lines += 1,
                PieceKind::Directive => {
                    self.begin_line();
                    let (name, value) = text.trim_start_matches('#').split_once('=').unwrap_or((text, ""));
                    self.out.push_str(&format!("# {}={}", name.trim().to_ascii_lowercase(), value.trim()));
                }
                PieceKind::Comment => self.comment(indent, text),
                PieceKind::Blank => {
                    indent = text;
                    continue;
                }
                _ => {}
            }
            indent = "";
        }
    }

    fn comment(&mut self, indent: &str, text: &str) {
        let text = text.trim_end();
        let is_first = self.out.len() == self.head;
        let had_blank_lines = self.blank_lines > 0;
        self.begin_line();
        // A comment at the top that looks like a directive must not become one.
        if is_directive(text) && self.file.instructions.first().is_none_or(|first| first.span.start > self.at(text)) {
            if is_first && had_blank_lines {
                self.out.push_str(self.line_end);
            }
            self.out.push_str(indent);
        }
        self.out.push_str(text);
    }

    /// Where a slice of the source begins in it.
    fn at(&self, text: &str) -> usize {
        (text.as_ptr() as usize).saturating_sub(self.file.source().as_ptr() as usize)
    }

    fn instruction(&mut self, instruction: &Instruction, pieces: &[Piece]) {
        self.begin_line();
        let is_of_body = |piece: &Piece| matches!(piece.kind, PieceKind::Part(Role::HeredocBody | Role::HeredocEnd));
        let body = pieces.iter().position(is_of_body).unwrap_or(pieces.len());
        let lines = pieces.get(..body).unwrap_or_default();
        let line_parts = lines.iter().rposition(is_part).map_or(0, |last| last + 1);
        match self.lines(instruction, lines.get(..line_parts).unwrap_or_default()) {
            Some((first, lines)) => {
                self.out.push_str(&first);
                self.write_lines(&lines);
            }
            None => {
                let end = lines.get(..line_parts).and_then(<[Piece]>::last).map_or(0, |last| last.span.end);
                self.out.push_str(self.file.source().get(instruction.span.start..end).unwrap_or_default());
            }
        }
        if let Some(first) = instruction.heredocs.first() {
            let end = instruction.heredocs.last().and_then(|last| last.end_span).map_or(first.span.end, |end| end.end);
            self.out.push_str(self.line_end);
            self.out.push_str(self.file.source().get(first.span.start..end).unwrap_or_default());
        }
    }

    /// The lines of an instruction without its heredocs; `None` where something in it has no layout of its own.
    fn lines(&self, instruction: &Instruction, pieces: &[Piece]) -> Option<(String, Vec<Line<'a>>)> {
        let mut gaps: Vec<Gap<'a>> = Vec::new();
        let mut parts: Vec<(Role, &'a str)> = Vec::new();
        let mut start = 0;
        for (at, piece) in pieces.iter().enumerate() {
            if let PieceKind::Part(role) = piece.kind {
                gaps.push(self.gap(pieces.get(start..at)?)?);
                parts.push((role, self.text(piece)));
                start = at + 1;
            }
        }
        let is_free = self.free_gaps(instruction, &parts, &gaps);
        let (mut first, mut lines): (Option<String>, Vec<Line<'a>>) = (None, Vec::new());
        let mut line = String::new();
        for (at, ((role, text), gap)) in parts.iter().zip(gaps).enumerate() {
            let before = at.checked_sub(1).and_then(|at| parts.get(at)).copied();
            if gap.is_break {
                let free = is_free.get(at).copied().unwrap_or(false);
                line.push_str(if free { " " } else { gap.before });
                line.push(self.file.escape.char());
                let done = std::mem::take(&mut line);
                match first {
                    None => first = Some(done),
                    Some(_) => lines.last_mut()?.text = done,
                }
                let indent = match free {
                    true if *role == Role::Punctuation && *text == "]" => Indent::None,
                    true => Indent::Columns(self.columns(gap.after)),
                    false => Indent::Exact(gap.after),
                };
                lines.push(Line { comments: gap.comments, indent, text: String::new() });
            } else {
                line.push_str(separator(before, (*role, text), gap.before));
            }
            match role {
                Role::Keyword | Role::Subkeyword => line.push_str(&text.to_ascii_uppercase()),
                _ => line.push_str(text),
            }
        }
        match first {
            None => first = Some(line),
            Some(_) => lines.last_mut()?.text = line,
        }
        Some((first?, lines))
    }

    /// `None` where something stands between that is no layout.
    fn gap(&self, pieces: &[Piece]) -> Option<Gap<'a>> {
        let mut gap = Gap::default();
        let mut blanks = "";
        for piece in pieces {
            let text = self.text(piece);
            match piece.kind {
                PieceKind::Blank => {
                    blanks = text;
                    continue;
                }
                PieceKind::Continuation => {
                    gap.joined += blanks.len();
                    if !gap.is_break {
                        gap.before = blanks;
                    }
                    gap.is_break = true;
                }
                PieceKind::LineEnd if gap.is_break => {}
                PieceKind::Comment if gap.is_break => gap.comments.push(text.trim_end()),
                _ => return None,
            }
            blanks = "";
        }
        gap.joined += blanks.len();
        if gap.is_break {
            gap.after = blanks;
        } else {
            gap.before = blanks;
        }
        // A second continuation leaves blanks of a line of its own, which neither `before` nor `after` would give back.
        Some(gap)
    }

    /// For every gap that breaks the line whether the number of its blanks means nothing.
    fn free_gaps(&self, instruction: &Instruction, parts: &[(Role, &str)], gaps: &[Gap<'_>]) -> Vec<bool> {
        let is_shell = |role: Role| matches!(role, Role::Shell | Role::HeredocMark);
        let has_shell = parts.iter().any(|(role, _)| *role == Role::Shell) && has_command(instruction);
        let mut joined = String::new();
        let mut places = Vec::with_capacity(gaps.len());
        let mut before: Option<(Role, &str)> = None;
        for ((role, text), gap) in parts.iter().zip(gaps) {
            let is_inside = has_shell && is_shell(*role) && before.is_some_and(|(role, _)| is_shell(role));
            places.push(is_inside.then_some(joined.len()));
            if is_inside {
                joined.extend(std::iter::repeat_n(' ', gap.joined));
            }
            if has_shell && is_shell(*role) {
                joined.push_str(text);
            }
            before = Some((*role, text));
        }
        let free = if self.shell_is_known { shell::free_blanks(&joined) } else { Vec::new() };
        let mut before: Option<(Role, &str)> = None;
        let of_part = instruction.parts.iter().map(|part| part.continues);
        let gaps = parts.iter().zip(gaps).zip(places).zip(of_part);
        gaps.map(|((((role, text), gap), place), continues)| {
            let in_list = before.is_some_and(|before| is_list(before, (*role, text)));
            before = Some((*role, text));
            match place {
                Some(at) => {
                    gap.joined > 0 && free.get(at..at + gap.joined).is_some_and(|run| run.iter().all(|free| *free))
                }
                None => in_list || gap.joined > 0 && !continues,
            }
        })
        .collect()
    }

    fn columns(&self, blanks: &str) -> usize {
        blanks.chars().map(|c| if c == '\t' { self.style.indent.max(1) } else { 1 }).sum()
    }

    /// Writes continued lines: the least indented by the style's depth, the others as much deeper as they were.
    fn write_lines(&mut self, lines: &[Line<'_>]) {
        let columns = lines.iter().filter_map(|line| match line.indent {
            Indent::Columns(columns) => Some(columns),
            _ => None,
        });
        let least = columns.min().unwrap_or(0);
        for line in lines {
            let indent = match line.indent {
                Indent::Columns(columns) => " ".repeat(self.style.indent + columns - least),
                Indent::Exact(blanks) => blanks.to_owned(),
                Indent::None => String::new(),
            };
            let of_comments = match line.indent {
                Indent::Columns(_) => indent.clone(),
                _ => " ".repeat(self.style.indent),
            };
            for comment in &line.comments {
                self.out.push_str(self.line_end);
                self.out.push_str(&of_comments);
                self.out.push_str(comment);
            }
            self.out.push_str(self.line_end);
            self.out.push_str(&indent);
            self.out.push_str(&line.text);
        }
    }
}

/// Whether some shell reads what the instruction says.
fn has_command(instruction: &Instruction) -> bool {
    match &instruction.body {
        Body::Run(command) | Body::Cmd(command) | Body::Entrypoint(command) => matches!(command, Command::Shell(_)),
        Body::Healthcheck(_) => true,
        Body::OnBuild(trigger) => has_command(trigger),
        _ => false,
    }
}

/// Whether two neighbours are of a JSON list, where blanks never mean anything.
fn is_list(before: (Role, &str), part: (Role, &str)) -> bool {
    before.0 == Role::Punctuation && matches!(before.1, "[" | ",")
        || part.0 == Role::Punctuation && matches!(part.1, "]" | ",")
}

/// What stands between two parts on the same line, where `blanks` stood.
fn separator<'a>(before: Option<(Role, &str)>, part: (Role, &str), blanks: &'a str) -> &'a str {
    let Some(before) = before else { return "" };
    let is_shell = |role: Role| matches!(role, Role::Shell | Role::HeredocMark);
    if is_list(before, part) {
        return if before.1 == "," && part.1 != "]" { " " } else { "" };
    }
    if is_shell(before.0) && is_shell(part.0) {
        return blanks;
    }
    if blanks.is_empty() { "" } else { " " }
}
