//! Draws the workbench: the text on one side, its layers and the output of one of them on the other.
//!
//! From 100 columns the halves stand side by side, below they stack, below 60x16 only the pane with the keys is shown.
//! [`Places`] is worked out once from the area and used by drawing, fitting and the mouse alike.

mod chooser;
mod editor;
mod log;
mod problems;
mod prompt;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::build::{Build, Outcome};
use super::model::{Focus, Workbench};
use super::steps::StepState;
use crate::tui::glyphs::Glyphs;
use crate::tui::text::{self, width};
use crate::tui::theme::{Role, Theme};

/// What drawing needs besides the workbench.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub theme: &'a Theme,
    pub glyphs: &'static Glyphs,
    /// Which picture of the spinner it is.
    pub spin: usize,
}

impl Look<'_> {
    fn style(&self, role: Role) -> Style {
        self.theme.style(role)
    }

    fn span(&self, text: impl Into<String>, role: Role) -> Span<'static> {
        Span::styled(text.into(), self.style(role))
    }

    fn spinner(&self) -> &'static str {
        let pictures = self.glyphs.spinner;
        pictures.get(self.spin % pictures.len().max(1)).copied().unwrap_or(self.glyphs.running)
    }

    /// The mark of a step's state, and its colour.
    fn mark(&self, state: &StepState) -> (&'static str, Role) {
        match state {
            StepState::Waiting => (self.glyphs.waiting, Role::Faint),
            StepState::Running { .. } => (self.spinner(), Role::Busy),
            StepState::Cached => (self.glyphs.done, Role::Info),
            StepState::Done { .. } => (self.glyphs.done, Role::Ok),
            StepState::Failed { .. } => (self.glyphs.failed, Role::Bad),
            StepState::Cancelled => (self.glyphs.exited, Role::Dim),
        }
    }
}

/// Where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// The line above the panes.
    pub title: Rect,
    /// The frame around text and problems.
    pub left: Rect,
    /// The frame around layers and output.
    pub right: Rect,
    /// The text with its gutter.
    pub editor: Rect,
    /// The border with the problems' title; empty without problems.
    pub problems_title: Rect,
    pub problems: Rect,
    /// The selected problem's whole text, where its row cuts it.
    pub problem_detail: Rect,
    pub steps: Rect,
    /// What the builder does beside the steps, where there is anything to tell.
    pub aside: Rect,
    /// The border with the title of the output.
    pub log_title: Rect,
    pub log: Rect,
}

/// Columns before the text: mark, finding, number, blanks.
const GUTTER: u16 = 8;
/// Problems shown without scrolling, however low the window is.
const FEW_PROBLEMS: u16 = 4;

impl Places {
    /// The places in an area.
    pub fn of(bench: &Workbench, area: Rect) -> Self {
        let mut places = Self { title: Rect { height: area.height.min(1), ..area }, ..Self::default() };
        let body = Rect { y: area.y + places.title.height, height: area.height - places.title.height, ..area };
        let shows_text = matches!(bench.focus, Focus::Editor | Focus::Problems);
        if area.width < 60 || area.height < 15 {
            if shows_text { places.left = body } else { places.right = body }
        } else if area.width < 100 {
            let top = if shows_text { body.height * 3 / 5 } else { body.height * 2 / 5 };
            places.left = Rect { height: top, ..body };
            places.right = Rect { y: body.y + top, height: body.height - top, ..body };
        } else {
            let half = body.width / 2;
            places.left = Rect { width: half, ..body };
            places.right = Rect { x: body.x + half, width: body.width - half, ..body };
        }
        places.divide_left(bench);
        places.divide_right(bench);
        places
    }

    fn divide_left(&mut self, bench: &Workbench) {
        let inner = inside(self.left);
        let findings = bench.document.as_ref().map_or(0, |document| document.parsed().diagnostics.len());
        let most = FEW_PROBLEMS.max(inner.height / 4).min(inner.height / 3);
        let rows = u16::try_from(findings).unwrap_or(u16::MAX).min(most);
        if rows == 0 {
            self.editor = inner;
            return;
        }
        let detail = problems::detail(bench, inner.width).len();
        let detail = u16::try_from(detail).unwrap_or(u16::MAX).min(inner.height / 4);
        let height = inner.height - rows - detail - 1;
        self.editor = Rect { height, ..inner };
        self.problems_title = Rect { y: inner.y + height, height: 1, ..self.left };
        self.problems = Rect { y: inner.y + height + 1, height: rows, ..inner };
        self.problem_detail = Rect { y: self.problems.bottom(), height: detail, ..inner };
    }

    fn divide_right(&mut self, bench: &Workbench) {
        let inner = inside(self.right);
        let Some(build) = &bench.build else {
            self.steps = inner;
            return;
        };
        let steps = build.steps.all().len();
        let aside = steps::rows_aside(build, bench.now, inner.width);
        let wanted = u16::try_from(steps).unwrap_or(u16::MAX).max(1);
        if inner.height < 4 {
            if bench.focus == Focus::Log {
                self.log = inner
            } else {
                self.steps = inner
            }
            return;
        }
        let height = if steps == 0 { aside.max(1).min(inner.height - 1) } else { wanted.min(inner.height / 2) };
        self.steps = Rect { height, ..inner };
        let inner = if steps == 0 {
            inner
        } else {
            let aside = aside.min(inner.height / 4);
            self.aside = Rect { y: inner.y + height, height: aside, ..inner };
            Rect { y: inner.y + aside, height: inner.height - aside, ..inner }
        };
        self.log_title = Rect { y: inner.y + height, height: 1, ..self.right };
        self.log = Rect { y: inner.y + height + 1, height: inner.height - height - 1, ..inner };
    }

    /// The text without its gutter.
    pub fn text(&self) -> Rect {
        let gutter = GUTTER.min(self.editor.width);
        Rect { x: self.editor.x + gutter, width: self.editor.width - gutter, ..self.editor }
    }
}

fn inside(frame: Rect) -> Rect {
    Rect {
        x: frame.x.saturating_add(1),
        y: frame.y.saturating_add(1),
        width: frame.width.saturating_sub(2),
        height: frame.height.saturating_sub(2),
    }
}

/// Draws it all.
pub fn draw(frame: &mut Frame<'_>, area: Rect, bench: &Workbench, look: Look<'_>) {
    let places = Places::of(bench, area);
    draw_title(frame, places.title, bench, look);
    if !places.left.is_empty() {
        let title = if bench.document.is_some() { "Dockerfile" } else { "" };
        draw_box(frame, places.left, title, bench.focus == Focus::Editor, look);
        editor::draw(frame, &places, bench, look);
        problems::draw(frame, &places, bench, look);
    }
    if !places.right.is_empty() {
        draw_box(frame, places.right, "Layers", bench.focus == Focus::Steps, look);
        steps::draw(frame, &places, bench, look);
        log::draw(frame, &places, bench, look);
    }
    if bench.chooser.is_some() {
        chooser::draw(frame, area, bench, look);
    }
    if let Some(typed) = &bench.prompt {
        prompt::draw(frame, area, typed, look);
    }
}

/// A frame with a title; its colour tells whether it has the keys.
fn draw_box(frame: &mut Frame<'_>, area: Rect, title: &str, is_focused: bool, look: Look<'_>) {
    let border = look.style(if is_focused { Role::BorderFocus } else { Role::Border });
    let block = ratatui::widgets::Block::bordered().border_set(look.glyphs.border).border_style(border);
    frame.render_widget(block, area);
    draw_border_title(frame, Rect { height: 1, ..area }, title, None, is_focused, look);
}

/// A separator within a frame, with a title at its left and a note at its right.
fn draw_separator(
    frame: &mut Frame<'_>,
    row: Rect,
    title: &str,
    note: Option<Span<'static>>,
    is_focused: bool,
    look: Look<'_>,
) {
    let border = look.style(if is_focused { Role::BorderFocus } else { Role::Border });
    let rule = look.glyphs.rule.repeat(usize::from(row.width.saturating_sub(2)));
    let line = format!("{}{rule}{}", look.glyphs.joint_left, look.glyphs.joint_right);
    frame.render_widget(Span::styled(line, border), row);
    draw_border_title(frame, row, title, note, is_focused, look);
}

fn draw_border_title(
    frame: &mut Frame<'_>,
    row: Rect,
    title: &str,
    note: Option<Span<'static>>,
    is_focused: bool,
    look: Look<'_>,
) {
    let room = usize::from(row.width.saturating_sub(6));
    let note_width = note.as_ref().map_or(0, |note| note.width() + 3).min(room);
    if !title.is_empty() {
        let role = if is_focused { Role::TitleFocus } else { Role::Title };
        let title = text::cut(title, room.saturating_sub(note_width), look.glyphs.ellipsis);
        let place = Rect { x: row.x + 2, width: row.width.saturating_sub(4), ..row };
        frame.render_widget(look.span(format!(" {title} "), role), place);
    }
    if let Some(note) = note.filter(|note| note.width() + 2 <= room) {
        let wide = u16::try_from(note.width() + 2).unwrap_or(row.width);
        let place = Rect { x: row.right().saturating_sub(wide + 2), width: wide, ..row };
        frame.render_widget(Line::from(vec![Span::raw(" "), note, Span::raw(" ")]), place);
    }
}

/// The path and whether it is saved; at the right what is built and how far it is.
fn draw_title(frame: &mut Frame<'_>, row: Rect, bench: &Workbench, look: Look<'_>) {
    let right = build_summary(bench, look);
    let right_width = right.iter().map(Span::width).sum::<usize>();
    let room = usize::from(row.width).saturating_sub(right_width + 4);
    let mut left = vec![Span::raw(" ")];
    if let Some(document) = &bench.document {
        let path = text::clean(&document.path().display().to_string());
        // The end of a path tells more than its beginning.
        let path = if width(&path) > room {
            let tail: String =
                path.chars().rev().take(room.saturating_sub(1)).collect::<Vec<_>>().into_iter().rev().collect();
            format!("{}{tail}", look.glyphs.ellipsis)
        } else {
            path
        };
        left.push(look.span(path, Role::Accent));
        if document.is_dirty() {
            left.push(look.span(format!(" {}", look.glyphs.running), Role::Warn));
            left.push(look.span(" not saved", Role::Dim));
        }
    }
    frame.render_widget(Line::from(left), row);
    let wide = u16::try_from(right_width + 1).unwrap_or(row.width).min(row.width);
    frame.render_widget(Line::from(right), Rect { x: row.right() - wide, width: wide, ..row });
}

fn build_summary(bench: &Workbench, look: Look<'_>) -> Vec<Span<'static>> {
    let tag = text::clean(&bench.tag);
    let Some(build) = &bench.build else {
        let what = if bench.document.is_some() { format!("f5 builds {tag}") } else { String::new() };
        return vec![look.span(what, Role::Dim)];
    };
    let (mark, role, word) = outcome_words(build, look);
    let counts = build.steps.counts();
    let mut spans = vec![look.span(format!("{mark} {word} {}", text::clean(&build.tag)), role)];
    let dot = format!(" {} ", look.glyphs.dot);
    let mut add = |text: String| {
        spans.push(look.span(dot.clone(), Role::Faint));
        spans.push(look.span(text, Role::Dim));
    };
    if counts.all > 0 {
        add(format!("{}/{} steps", counts.done, counts.all));
    }
    if counts.cached > 0 {
        add(format!("{} cached", counts.cached));
    }
    add(seconds(build.took(bench.now)));
    spans
}

fn outcome_words(build: &Build, look: Look<'_>) -> (&'static str, Role, &'static str) {
    match &build.outcome {
        Outcome::Running => (look.spinner(), Role::Busy, "build"),
        Outcome::Succeeded { .. } => (look.glyphs.done, Role::Ok, "built"),
        Outcome::Failed { .. } => (look.glyphs.failed, Role::Bad, "failed"),
        Outcome::Cancelled { .. } => (look.glyphs.exited, Role::Dim, "cancelled"),
    }
}

/// A time as the layer list shows it: `0.4s`, `12.3s`, `2m05s`.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole < 60 {
        format!("{}.{}s", whole, time.subsec_millis() / 100)
    } else {
        format!("{}m{:02}s", whole / 60, whole % 60)
    }
}

/// A box in the middle of the area.
fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

fn set_cursor(frame: &mut Frame<'_>, area: Rect, column: usize, row: usize) {
    let place = u16::try_from(column).ok().zip(u16::try_from(row).ok());
    if let Some((column, row)) = place.filter(|(column, row)| *column < area.width && *row < area.height) {
        frame.set_cursor_position(Position::new(area.x + column, area.y + row));
    }
}
