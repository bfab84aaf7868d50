//! The reader of the shell's grammar.

use super::source::Placed;
use super::{Joint, Script, Simple, Word, is_assignment};
use crate::dockerfile::ast::Span;

/// How deep substitutions may stand in each other; what is deeper is left unread.
const MAX_DEPTH: usize = 40;

/// Keywords after which a command begins, and that open a condition.
const OPENING: [&str; 4] = ["if", "while", "until", "{"];
/// Keywords after which a command begins.
const GOING_ON: [&str; 6] = ["then", "else", "elif", "do", "!", "time"];
/// Keywords that end what [`OPENING`], `for` or `case` began.
const CLOSING: [&str; 4] = ["fi", "done", "esac", "}"];

/// Reads a script.
pub(in crate::dockerfile::lint) fn read(source: &Placed) -> Script {
    Reader::new(source, 0).script()
}

/// One command of ready words: the JSON form.
pub(in crate::dockerfile::lint) fn read_words(words: &[Placed]) -> Script {
    let words: Vec<Word> = words
        .iter()
        .map(|word| Word {
            text: word.chars.iter().map(|(_, c)| *c).collect(),
            span: word.span(0, word.chars.len()),
            is_plain: true,
        })
        .collect();
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return Script::default() };
    let span = Span::new(first.span.start, last.span.end);
    let command = Simple { assignments: Vec::new(), words, joint: Joint::First, subshells: 0, conditions: 0, span };
    Script { commands: vec![command], ..Script::default() }
}

struct Reader<'a> {
    source: &'a Placed,
    at: usize,
    depth: usize,
    script: Script,
    /// The command being read: its words and where it began and ended.
    words: Vec<Word>,
    assignments: Vec<Word>,
    from: Option<usize>,
    to: usize,
    joint: Joint,
    subshells: usize,
    conditions: usize,
    /// How many of the conditions are `case`.
    cases: usize,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Placed, depth: usize) -> Self {
        Self {
            source,
            at: 0,
            depth,
            script: Script::default(),
            words: Vec::new(),
            assignments: Vec::new(),
            from: None,
            to: 0,
            joint: Joint::First,
            subshells: 0,
            conditions: 0,
            cases: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.source.chars.get(self.at + ahead).map(|(_, c)| *c)
    }

    fn eat(&mut self, expected: char) -> bool {
        let is_it = self.peek() == Some(expected);
        self.at += usize::from(is_it);
        is_it
    }

    fn script(mut self) -> Script {
        while let Some(next) = self.peek() {
            match next {
                ';' if self.peek_at(1) == Some(';') => {
                    self.at += 2;
                    self.end(Joint::First);
                    self.patterns();
                }
                // A line may end behind `&&` and go on in the next.
                '\n' if self.from.is_none() => self.at += 1,
                '\n' | ';' => {
                    self.at += 1;
                    self.end(Joint::Then);
                }
                ' ' | '\t' | '\r' => self.at += 1,
                '\\' if self.peek_at(1) == Some('\n') => self.at += 2,
                '#' => self.comment(),
                '&' if self.peek_at(1) == Some('&') => {
                    self.at += 2;
                    self.end(Joint::And);
                }
                '&' if self.peek_at(1) == Some('>') => self.redirection(),
                '&' => {
                    self.at += 1;
                    self.end(Joint::Then);
                }
                '|' if self.peek_at(1) == Some('|') => {
                    self.at += 2;
                    self.end(Joint::Or);
                }
                '|' => {
                    self.at += 1;
                    self.eat('&');
                    self.end(Joint::Pipe);
                }
                '(' => self.open(),
                ')' => self.close(),
                '<' | '>' if self.peek_at(1) != Some('(') => self.redirection(),
                _ => self.word(),
            }
        }
        self.end(Joint::Then);
        self.script
    }

    fn comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    /// Ends the command being read; the next one is joined by `next`.
    fn end(&mut self, next: Joint) {
        let words = std::mem::take(&mut self.words);
        let assignments = std::mem::take(&mut self.assignments);
        if let Some(from) = self.from.take() {
            self.script.commands.push(Simple {
                assignments,
                words,
                joint: self.joint,
                subshells: self.subshells,
                conditions: self.conditions,
                span: self.source.span(from, self.to),
            });
        }
        self.joint = next;
    }

    fn open(&mut self) {
        self.at += 1;
        if self.from.is_some() {
            // `name()`: what follows is a function's body, its name no command.
            self.words.clear();
            self.from = None;
            self.eat(')');
            return;
        }
        self.subshells += 1;
    }

    fn close(&mut self) {
        self.at += 1;
        self.end(Joint::Then);
        self.subshells = self.subshells.saturating_sub(1);
    }

    /// Eats the patterns of a `case` up to their `)`.
    fn patterns(&mut self) {
        while let Some(next) = self.peek().filter(|_| self.cases > 0) {
            let before = self.at;
            match next {
                ')' => {
                    self.at += 1;
                    return;
                }
                '#' => self.comment(),
                c if c.is_whitespace() || is_operator(c) => self.at += 1,
                _ => {
                    if self.read_word().text == "esac" {
                        self.at = before;
                        return;
                    }
                    self.at += usize::from(self.at == before);
                }
            }
        }
    }

    /// Eats a redirection with its target.
    fn redirection(&mut self) {
        let from = self.at;
        while matches!(self.peek(), Some('<' | '>' | '&' | '|' | '-')) {
            self.at += 1;
        }
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
        if self.peek().is_some_and(|c| !is_operator(c) && !c.is_whitespace()) {
            let _ = self.read_word();
        }
        self.from.get_or_insert(from);
        self.to = self.at;
    }

    fn word(&mut self) {
        let from = self.at;
        let word = self.read_word();
        if self.at == from {
            // Nothing that a word can begin with: never stand still.
            self.at += 1;
            return;
        }
        let is_descriptor = !word.text.is_empty() && word.text.chars().all(|c| c.is_ascii_digit());
        if is_descriptor && matches!(self.peek(), Some('<' | '>')) {
            self.from.get_or_insert(from);
            return self.redirection();
        }
        if self.words.is_empty() && self.keyword(&word) {
            return;
        }
        self.from.get_or_insert(from);
        self.to = self.at;
        if self.words.is_empty() && is_assignment(&word.text) {
            self.assignments.push(word);
        } else {
            self.words.push(word);
        }
    }

    /// Whether `word` is a keyword, which is done with here.
    fn keyword(&mut self, word: &Word) -> bool {
        let text = word.text.as_str();
        if word.span.end - word.span.start != text.len() {
            return false; // quoted
        }
        if OPENING.contains(&text) {
            self.conditions += usize::from(text != "{");
            self.joint = if text == "{" { self.joint } else { Joint::First };
        } else if GOING_ON.contains(&text) {
            self.joint = Joint::First;
        } else if CLOSING.contains(&text) {
            self.conditions -= usize::from(text != "}" && self.conditions > 0);
            self.cases -= usize::from(text == "esac" && self.cases > 0);
        } else if matches!(text, "for" | "case" | "select") {
            self.conditions += 1;
            self.cases += usize::from(text == "case");
            self.joint = Joint::First;
            self.head_of(text);
        } else {
            return false;
        }
        true
    }

    /// Eats `for x in a b` up to the end of the list, or `case x in`.
    fn head_of(&mut self, keyword: &str) {
        while let Some(next) = self.peek() {
            match next {
                '\n' | ';' => return,
                c if c.is_whitespace() => self.at += 1,
                _ => {
                    let before = self.at;
                    let word = self.read_word();
                    if keyword == "case" && word.text == "in" {
                        self.patterns();
                        return;
                    }
                    self.at += usize::from(self.at == before);
                }
            }
        }
    }

    fn read_word(&mut self) -> Word {
        let from = self.at;
        let mut text = String::new();
        let mut is_plain = true;
        while let Some(next) = self.peek() {
            match next {
                '\\' if self.peek_at(1) == Some('\n') => self.at += 2,
                '\\' => {
                    text.extend(self.peek_at(1));
                    self.at += 2;
                }
                '\'' => self.single_quoted(&mut text),
                '"' => is_plain &= self.double_quoted(&mut text),
                '$' | '`' => {
                    self.dollar(&mut text);
                    is_plain = false;
                }
                '<' | '>' if self.peek_at(1) == Some('(') && self.at == from => {
                    self.at += 1;
                    self.substitution(&mut text);
                    is_plain = false;
                }
                c if c.is_whitespace() || is_operator(c) => break,
                c => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        self.at = self.at.min(self.source.chars.len());
        Word { text, span: self.source.span(from, self.at), is_plain }
    }

    fn single_quoted(&mut self, text: &mut String) {
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '\'' {
                return;
            }
            text.push(c);
        }
        self.script.is_open = true;
    }

    /// Whether it holds nothing that is known only when it runs.
    fn double_quoted(&mut self, text: &mut String) -> bool {
        self.at += 1;
        let mut is_plain = true;
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.at += 1;
                    return is_plain;
                }
                '$' | '`' => {
                    self.dollar(text);
                    is_plain = false;
                }
                '\\' => {
                    match self.peek_at(1) {
                        Some(escaped @ ('"' | '$' | '`' | '\\')) => text.push(escaped),
                        Some('\n') => {}
                        Some(other) => text.extend(['\\', other]),
                        None => {}
                    }
                    self.at += 2;
                }
                _ => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        self.script.is_open = true;
        is_plain
    }

    /// Reads `$name`, `${...}`, `$(...)`, `$((...))` or a backtick's command, as written.
    fn dollar(&mut self, text: &mut String) {
        match (self.peek(), self.peek_at(1)) {
            (Some('`'), _) => self.backticks(text),
            (_, Some('(')) => {
                text.push('$');
                self.at += 1;
                self.substitution(text);
            }
            (_, Some('{')) => self.braces(text),
            _ => {
                text.push('$');
                self.at += 1;
            }
        }
    }

    fn braces(&mut self, text: &mut String) {
        let mut open = 0_usize;
        while let Some(c) = self.peek() {
            text.push(c);
            self.at += 1;
            match c {
                '{' => open += 1,
                '}' => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return;
                    }
                }
                '\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                _ => {}
            }
        }
        self.script.is_open = true;
    }

    /// Reads from `(` to its `)`; what is in it is a script of its own, but for arithmetic.
    fn substitution(&mut self, text: &mut String) {
        let from = self.at;
        let is_arithmetic = self.peek_at(1) == Some('(');
        let mut open = 0_usize;
        let mut quote = None;
        while let Some(c) = self.peek() {
            text.push(c);
            self.at += 1;
            match (quote, c) {
                (_, '\\') if quote != Some('\'') => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '(') => open += 1,
                (None, ')') => {
                    open -= 1;
                    if open == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        self.script.is_open |= open > 0;
        self.at = self.at.min(self.source.chars.len());
        if !is_arithmetic {
            self.inner(from + 1, self.at.saturating_sub(1));
        }
    }

    fn backticks(&mut self, text: &mut String) {
        text.push('`');
        self.at += 1;
        let from = self.at;
        self.script.is_open |= !self.source.chars.iter().skip(from).any(|(_, c)| *c == '`');
        while let Some(c) = self.peek() {
            text.push(c);
            self.at += 1;
            match c {
                '`' => break,
                '\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                _ => {}
            }
        }
        self.at = self.at.min(self.source.chars.len());
        self.inner(from, self.at.saturating_sub(1));
    }

    fn inner(&mut self, from: usize, to: usize) {
        if self.depth < MAX_DEPTH {
            let part = self.source.part(from, to);
            self.script.inner.push(Reader::new(&part, self.depth + 1).script());
        }
    }
}

/// Whether an unquoted character ends a word.
fn is_operator(c: char) -> bool {
    matches!(c, '|' | '&' | ';' | '(' | ')' | '<' | '>')
}
