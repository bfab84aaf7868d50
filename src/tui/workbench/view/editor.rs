//! The text with its gutter: each instruction carries the state of its layer, each finding its mark.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Look, Places, set_cursor};
use crate::dockerfile::Severity;
use crate::tui::text::{self, width};
use crate::tui::theme::Role;
use crate::tui::workbench::document::Document;
use crate::tui::workbench::highlight::{Syntax, pieces};
use crate::tui::workbench::model::{Focus, Workbench};
use crate::tui::workbench::steps::StepState;

pub(super) fn draw(frame: &mut Frame<'_>, places: &Places, bench: &Workbench, look: Look<'_>) {
    let Some(document) = &bench.document else {
        let hint = "Open a Dockerfile with ctrl-o.";
        frame.render_widget(look.span(hint, Role::Dim), places.editor);
        return;
    };
    let text_area = places.text();
    let (first, left) = document.scroll();
    let states = LineStates::new(bench, document);
    let mut start = document.lines().iter().take(first).map(|line| line.len() + 1).sum::<usize>();
    for (row, line) in document.lines().iter().enumerate().skip(first).take(usize::from(places.editor.height)) {
        let y = places.editor.y + u16::try_from(row - first).unwrap_or(0);
        let gutter = Rect { y, height: 1, width: places.editor.width.min(super::GUTTER), ..places.editor };
        frame.render_widget(gutter_line(document, row, &states, look), gutter);
        let styled = styled_line(document, line, start, row, look);
        let shown = Rect { y, height: 1, ..text_area };
        let note = note_at_line(bench, document, row + 1);
        frame.render_widget(visible(styled, left, usize::from(shown.width), note, look), shown);
        start += line.len() + 1;
    }
    if bench.focus == Focus::Editor && bench.prompt.is_none() && bench.chooser.is_none() {
        let (row, column) = document.cursor();
        let line = document.lines().get(row).map(String::as_str).unwrap_or_default();
        let column = width(&line.chars().take(column).collect::<String>());
        set_cursor(frame, text_area, column.saturating_sub(left), row.saturating_sub(first));
    }
}

/// The state of each instruction, by the lines it covers now.
struct LineStates<'a> {
    states: Vec<(crate::dockerfile::LineRange, &'a StepState)>,
}

impl<'a> LineStates<'a> {
    fn new(bench: &'a Workbench, document: &'a Document) -> Self {
        let Some(build) = &bench.build else { return Self { states: Vec::new() } };
        let parsed = document.parsed();
        let states = build.gutter(parsed).into_iter();
        let states = states.filter_map(|(line, state)| Some((parsed.file.at_line(line)?.lines, state)));
        Self { states: states.collect() }
    }

    /// The state at a line (from 1), and whether the instruction begins there.
    fn at(&self, line: usize) -> Option<(&'a StepState, bool)> {
        let found = self.states.iter().find(|(lines, _)| lines.contains(line));
        found.map(|(lines, state)| (*state, lines.first == line))
    }
}

fn gutter_line(document: &Document, row: usize, states: &LineStates<'_>, look: Look<'_>) -> Line<'static> {
    let is_cursor_row = document.cursor().0 == row;
    let (mark, mark_role) = match states.at(row + 1) {
        Some((state, true)) => look.mark(state),
        // The rest of the instruction belongs to the same layer.
        Some((state, false)) if !matches!(state, StepState::Waiting) => {
            (look.glyphs.border.vertical_left, look.mark(state).1)
        }
        _ => (" ", Role::Faint),
    };
    let (finding, finding_role) = match document.finding_at(row + 1).map(|finding| finding.severity) {
        Some(Severity::Error) => (look.glyphs.failed, Role::Bad),
        Some(Severity::Warning) => (look.glyphs.warning, Role::Warn),
        Some(Severity::Advice) => (look.glyphs.info, Role::Dim),
        None => (" ", Role::Faint),
    };
    let number_role = if is_cursor_row { Role::Text } else { Role::Faint };
    Line::from(vec![
        look.span(format!(" {mark}"), mark_role),
        look.span(finding, finding_role),
        look.span(format!("{:>3}  ", row + 1), number_role),
    ])
}

/// What stands behind the text of a line: why its step failed.
fn note_at_line(bench: &Workbench, document: &Document, line: usize) -> Option<String> {
    let build = bench.build.as_ref()?;
    let step = build.steps.failed().and_then(|place| build.steps.get(place))?;
    let StepState::Failed { why, .. } = &step.state else { return None };
    let now = build.line_now(step.lines?.first, document.parsed())?;
    (now == line).then(|| text::clean(why))
}

/// The line in colours, with selection and findings laid over them: a style for each character.
fn styled_line(document: &Document, line: &str, start: usize, row: usize, look: Look<'_>) -> Vec<(char, Style)> {
    let parsed = document.parsed();
    let base = look.style(Role::Text);
    let mut styled: Vec<(usize, char, Style)> = line.char_indices().map(|(at, c)| (at, c, base)).collect();
    for (range, syntax) in pieces(&parsed.file, line, start, row + 1) {
        let style = syntax_style(syntax, look);
        for (_, _, target) in styled.iter_mut().filter(|(at, ..)| range.contains(at)) {
            *target = style;
        }
    }
    for finding in parsed.diagnostics.iter().filter(|finding| finding.lines.contains(row + 1)) {
        let role = match finding.severity {
            Severity::Error => Role::Bad,
            Severity::Warning => Role::Warn,
            // Advice has its mark in the gutter; a text full of underlines hides what matters.
            Severity::Advice => continue,
        };
        let underline = look.style(role).add_modifier(Modifier::UNDERLINED);
        let is_marked = |at: usize| (finding.span.start..finding.span.end).contains(&(start + at));
        for (_, _, target) in styled.iter_mut().filter(|(at, c, _)| is_marked(*at) && !c.is_whitespace()) {
            *target = target.patch(underline);
        }
    }
    if let Some((from, to)) = document.selection() {
        let selected = look.style(Role::Selected);
        for (column, (_, _, target)) in styled.iter_mut().enumerate() {
            if (row, column) >= from && (row, column) < to {
                *target = selected;
            }
        }
    }
    styled.into_iter().map(|(_, c, style)| (c, style)).collect()
}

fn syntax_style(syntax: Syntax, look: Look<'_>) -> Style {
    match syntax {
        Syntax::Comment => look.style(Role::Dim).add_modifier(Modifier::ITALIC),
        Syntax::Keyword => look.style(Role::Accent),
        Syntax::Flag => look.style(Role::JsonKey),
        Syntax::Image => look.style(Role::Project),
        Syntax::String => look.style(Role::JsonString),
        Syntax::Variable => look.style(Role::JsonNumber),
        Syntax::Operator => look.style(Role::Dim),
        Syntax::Option => look.style(Role::JsonWord),
    }
}

/// The columns of a line from `left` on, and the note behind it where there is room.
fn visible(
    styled: Vec<(char, Style)>,
    left: usize,
    room: usize,
    note: Option<String>,
    look: Look<'_>,
) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    let (mut column, mut used) = (0, 0);
    for (c, style) in styled {
        let c = if c == '\t' { ' ' } else { c };
        let wide = if text::is_unsafe(c) { 0 } else { width(c.encode_utf8(&mut [0; 4])) };
        let is_shown = wide > 0 && column >= left && column + wide <= left + room;
        column += wide;
        if !is_shown {
            continue;
        }
        used += wide;
        match spans.last_mut() {
            Some(span) if span.style == style => span.content.to_mut().push(c),
            _ => spans.push(Span::styled(c.to_string(), style)),
        }
    }
    // Less than this tells nothing.
    const LEAST_NOTE: usize = 16;
    if let Some(note) = note.filter(|_| room.saturating_sub(used) > LEAST_NOTE) {
        let note = text::cut(&note, room - used - 5, look.glyphs.ellipsis);
        spans.push(look.span(format!("   {} {note}", look.glyphs.failed), Role::Bad));
    }
    Line::from(spans)
}
