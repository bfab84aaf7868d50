//! The Dockerfile being edited: its text, what the parser says of it, and whether it is saved.

use std::path::{Path, PathBuf};

use ratatui_textarea::{CursorMove, TextArea};

use crate::dockerfile::ignore::IgnoreRules;
use crate::dockerfile::{Diagnostic, Parsed, Severity, Span, Surroundings, lint};

/// How many edits can be taken back.
const UNDO_DEPTH: usize = 1_000;

/// A place in the text: line and character, both from 0.
pub type Place = (usize, usize);

/// A Dockerfile being edited.
#[derive(Debug, Clone)]
pub struct Document {
    path: PathBuf,
    area: TextArea<'static>,
    saved: Option<String>,
    parsed: Parsed,
    /// What the context leaves out.
    ignore: Option<IgnoreRules>,
    /// First line shown, and first column.
    scroll: (usize, usize),
    /// Lines that fit on the screen when it was last drawn.
    page: usize,
}

impl Document {
    /// The content of the file at `path`; `None` for a file that does not exist yet, which begins with `template`.
    pub fn new(path: &Path, content: Option<&str>, template: &str) -> Self {
        let text = content.unwrap_or(template);
        let mut document = Self {
            path: path.to_owned(),
            area: TextArea::new(lines_of(text)),
            saved: content.map(str::to_owned),
            parsed: lint(text, &Surroundings::default()),
            ignore: None,
            scroll: (0, 0),
            page: 20,
        };
        document.area.set_max_histories(UNDO_DEPTH);
        document
    }

    /// Notes what the context leaves out, which the lint looks at.
    pub fn set_ignore(&mut self, ignore: Option<IgnoreRules>) {
        self.ignore = ignore;
        self.lint();
    }

    fn lint(&mut self) {
        let surroundings = Surroundings { ignore: self.ignore.as_ref(), ..Surroundings::default() };
        self.parsed = lint(&self.text(), &surroundings);
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder it is in: the build's context.
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The text as it would be saved: it ends with a line end.
    pub fn text(&self) -> String {
        let mut text = self.area.lines().join("\n");
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// Whether the file on disk differs from what is shown.
    pub fn is_dirty(&self) -> bool {
        self.saved.as_deref() != Some(self.text().as_str())
    }

    /// Notes that `text` is on disk now.
    pub fn mark_saved(&mut self, text: String) {
        self.saved = Some(text);
    }

    /// The lines.
    pub fn lines(&self) -> &[String] {
        self.area.lines()
    }

    /// What the parser and the lint say of it.
    pub fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Where the cursor is.
    pub fn cursor(&self) -> Place {
        let cursor = self.area.cursor();
        (cursor.0, cursor.1)
    }

    /// What is selected: start, and one past the end.
    pub fn selection(&self) -> Option<(Place, Place)> {
        self.area.selection_range().filter(|(start, end)| start != end)
    }

    /// First line and column shown.
    pub fn scroll(&self) -> (usize, usize) {
        self.scroll
    }

    /// The worst finding about a line (from 1).
    pub fn finding_at(&self, line: usize) -> Option<&Diagnostic> {
        let of_line = self.parsed.diagnostics.iter().filter(|finding| finding.lines.first == line);
        of_line.max_by_key(|finding| finding.severity)
    }

    /// How many errors and how many warnings.
    pub fn finding_counts(&self) -> (usize, usize) {
        let errors = self.parsed.diagnostics.iter().filter(|finding| finding.severity == Severity::Error).count();
        (errors, self.parsed.diagnostics.len() - errors)
    }

    /// Goes to a line (from 1).
    pub fn go_to_line(&mut self, line: usize) {
        self.jump((line.saturating_sub(1), 0));
        self.area.cancel_selection();
    }

    /// Changes the text or the cursor, then parses it again where the text changed.
    pub fn edit(&mut self, edit: Edit) {
        let is_changed = match edit {
            Edit::Insert(c) => {
                self.area.insert_char(c);
                true
            }
            Edit::Paste(text) => self.area.insert_str(text.replace("\r\n", "\n").replace('\r', "\n")),
            Edit::NewLine => {
                let indent = self.indent();
                self.area.insert_newline();
                self.area.insert_str(indent);
                true
            }
            Edit::Indent => self.area.insert_tab(),
            Edit::DeleteBack => self.area.delete_char(),
            Edit::DeleteForward => self.area.delete_next_char(),
            Edit::DeleteWordBack => self.area.delete_word(),
            Edit::DeleteLine => self.delete_line(),
            Edit::Undo => self.area.undo(),
            Edit::Redo => self.area.redo(),
            Edit::Cut => self.area.cut(),
            Edit::Copy => {
                self.area.copy();
                false
            }
            Edit::PasteYanked => self.area.paste(),
            Edit::SelectAll => {
                self.area.select_all();
                false
            }
            Edit::Move(movement, Selecting::No) => {
                self.area.cancel_selection();
                self.go(movement);
                false
            }
            Edit::Move(movement, Selecting::Yes) => {
                if !self.area.is_selecting() {
                    self.area.start_selection();
                }
                self.go(movement);
                false
            }
        };
        if is_changed {
            self.lint();
        }
    }

    /// Replaces some bytes of the text as one edit.
    pub fn replace(&mut self, span: Span, replacement: &str) {
        let text = self.text();
        let (start, end) = (place_of(&text, span.start), place_of(&text, span.end));
        self.jump(start);
        self.area.start_selection();
        self.jump(end);
        self.area.cut();
        self.area.insert_str(replacement);
        self.lint();
    }

    /// What was cut or copied last.
    pub fn yanked(&self) -> String {
        self.area.yank_text()
    }

    fn go(&mut self, movement: Movement) {
        let (row, column) = self.cursor();
        match movement {
            Movement::Cursor(movement) => self.area.move_cursor(movement),
            Movement::PageUp => self.jump((row.saturating_sub(self.page), column)),
            Movement::PageDown => self.jump((row + self.page, column)),
            Movement::HalfPageUp => self.jump((row.saturating_sub(self.page / 2), column)),
            Movement::HalfPageDown => self.jump((row + self.page / 2, column)),
            Movement::To(place) => self.jump(place),
        }
    }

    fn jump(&mut self, (row, column): Place) {
        let row = row.min(self.lines().len().saturating_sub(1));
        let clamp = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        self.area.move_cursor(CursorMove::Jump(clamp(row), clamp(column)));
    }

    /// The blanks that the cursor's line begins with; after a `\` at least four, as people indent what goes on.
    fn indent(&self) -> String {
        let (row, column) = self.cursor();
        let before: String = self.lines().get(row).map(|line| line.chars().take(column).collect()).unwrap_or_default();
        let indent: String = before.chars().take_while(|c| c.is_whitespace()).collect();
        if before.trim_end().ends_with('\\') && indent.is_empty() { " ".repeat(4) } else { indent }
    }

    fn delete_line(&mut self) -> bool {
        self.area.cancel_selection();
        self.area.move_cursor(CursorMove::Head);
        let is_emptied = self.area.delete_line_by_end();
        self.area.delete_next_char() || is_emptied
    }

    /// Moves what is shown so that the cursor is in it; called with the editor's inner size before each drawing.
    pub fn follow_cursor(&mut self, height: usize, width: usize) {
        let (row, column) = self.cursor();
        self.page = height.max(1);
        let line = self.lines().get(row).map(String::as_str).unwrap_or_default();
        let column = super::super::text::width(&line.chars().take(column).collect::<String>());
        self.scroll = (reveal(self.scroll.0, row, height), reveal(self.scroll.1, column, width));
    }
}

/// The new first position so that `position` is among the `extent` shown from there.
fn reveal(first: usize, position: usize, extent: usize) -> usize {
    if position < first {
        position
    } else if position >= first + extent.max(1) {
        position + 1 - extent.max(1)
    } else {
        first
    }
}

fn lines_of(text: &str) -> Vec<String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect()
}

/// The line and character of a byte of the text.
fn place_of(text: &str, byte: usize) -> Place {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count(), before.get(line_start..).unwrap_or_default().chars().count())
}

/// The character of `line` that is drawn at `column`.
pub fn character_at(line: &str, column: usize) -> usize {
    let mut end = 0;
    let taken = line.chars().take_while(|c| {
        end += super::super::text::width(c.encode_utf8(&mut [0; 4]));
        end <= column
    });
    taken.count()
}

/// Whether a movement takes the selection with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selecting {
    Yes,
    No,
}

/// Where the cursor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    Cursor(CursorMove),
    PageUp,
    PageDown,
    HalfPageUp,
    HalfPageDown,
    To(Place),
}

/// One change of text, cursor or selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    Insert(char),
    Paste(String),
    NewLine,
    Indent,
    DeleteBack,
    DeleteForward,
    DeleteWordBack,
    DeleteLine,
    Undo,
    Redo,
    Cut,
    Copy,
    PasteYanked,
    SelectAll,
    Move(Movement, Selecting),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::new(Path::new("/srv/app/Dockerfile"), Some(text), "")
    }

    fn type_in(document: &mut Document, text: &str) {
        for c in text.chars() {
            document.edit(if c == '\n' { Edit::NewLine } else { Edit::Insert(c) });
        }
    }

    #[test]
    fn editing_makes_dirty_and_saving_makes_clean() {
        let mut document = document("FROM a\n");
        assert!(!document.is_dirty());
        document.edit(Edit::Move(Movement::Cursor(CursorMove::End), Selecting::No));
        type_in(&mut document, "b");
        assert!(document.is_dirty());
        document.mark_saved(document.text());
        assert!(!document.is_dirty());
        document.edit(Edit::Undo);
        assert_eq!((document.text().as_str(), document.is_dirty()), ("FROM a\n", true));
    }

    #[test]
    fn a_new_file_is_dirty_until_saved() {
        let document = Document::new(Path::new("Dockerfile"), None, "FROM x\n");
        assert!(document.is_dirty());
        assert_eq!(document.folder(), Path::new("."));
    }

    #[test]
    fn what_goes_on_is_indented() {
        let mut document = document("RUN a \\");
        document.edit(Edit::Move(Movement::Cursor(CursorMove::End), Selecting::No));
        type_in(&mut document, "\nb \\\nc");
        assert_eq!(document.text(), "RUN a \\\n    b \\\n    c\n");
    }

    #[test]
    fn a_typo_is_a_finding_at_its_line() {
        let document = document("FROM a\nRUNN b\n");
        let finding = document.finding_at(2).unwrap();
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.contains("unknown instruction: RUNN"), "{}", finding.message);
        assert_eq!(document.finding_counts().0, 1);
    }

    #[test]
    fn the_lint_knows_what_the_context_leaves_out() {
        let mut document = document("FROM a:1\nCOPY x.log /srv/\n");
        assert_eq!(document.parsed().diagnostics, []);
        document.set_ignore(IgnoreRules::parse("*.log").ok());
        assert_eq!(document.finding_at(2).map(|finding| finding.code), Some("CopyIgnoredFile"));
    }

    #[test]
    fn a_line_goes_as_a_whole() {
        let mut document = document("one\ntwo\nthree\n");
        document.go_to_line(2);
        document.edit(Edit::DeleteLine);
        assert_eq!(document.text(), "one\nthree\n");
    }

    #[test]
    fn the_cursor_stays_in_sight() {
        let mut document = document(&"x\n".repeat(100));
        document.go_to_line(50);
        document.follow_cursor(10, 40);
        assert_eq!(document.scroll(), (40, 0));
        document.go_to_line(5);
        document.follow_cursor(10, 40);
        assert_eq!(document.scroll(), (4, 0));
    }
}
