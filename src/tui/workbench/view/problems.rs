//! What is wrong with the text: one finding a row, the selected one whole.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Look, Places, draw_separator};
use crate::dockerfile::{Diagnostic, Severity};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::workbench::model::{Focus, Workbench};

pub(super) fn draw(frame: &mut Frame<'_>, places: &Places, bench: &Workbench, look: Look<'_>) {
    let Some(document) = bench.document.as_ref().filter(|_| !places.problems.is_empty()) else { return };
    let is_focused = bench.focus == Focus::Problems;
    let findings = &document.parsed().diagnostics;
    let title = format!("Problems {}", findings.len());
    let selected = findings.get(bench.problem).filter(|_| is_focused);
    let code = selected.map(|finding| look.span(finding.code, Role::Dim));
    draw_separator(frame, places.problems_title, &title, code, is_focused, look);
    let height = usize::from(places.problems.height);
    let first = bench.first_problem(height);
    for (place, finding) in findings.iter().enumerate().skip(first).take(height) {
        let y = places.problems.y + u16::try_from(place - first).unwrap_or(0);
        let row = Rect { y, height: 1, ..places.problems };
        let (mark, role) = match finding.severity {
            Severity::Error => (look.glyphs.failed, Role::Bad),
            Severity::Warning => (look.glyphs.warning, Role::Warn),
            Severity::Advice => (look.glyphs.info, Role::Dim),
        };
        let where_and_what = format!("{:>3}  {}", finding.lines.first, text::clean(&finding.sentence()));
        let fix = fix_word(finding);
        let room = room(row.width, fix);
        let line = text::left(&where_and_what, room, look.glyphs.ellipsis);
        let mark = look.span(format!(" {mark} "), role);
        let mut line = Line::from(vec![mark, look.span(line, Role::Text), look.span(fix.to_owned(), Role::Dim)]);
        if is_focused && place == bench.problem {
            line = line.style(look.style(Role::Selected));
            line.spans.iter_mut().for_each(|span| span.style = look.style(Role::Selected));
        }
        frame.render_widget(line, row);
    }
    for (row, line) in places.problem_detail.rows().zip(detail(bench, places.problem_detail.width)) {
        frame.render_widget(look.span(format!("{:INDENT$}{line}", ""), Role::Dim), row);
    }
}

/// Columns before a finding's text: blank, mark, blank, number, blanks.
const INDENT: usize = 8;

fn fix_word(finding: &Diagnostic) -> &'static str {
    if finding.suggestion.is_some() { " fix " } else { "" }
}

/// Columns for number and text in a row that ends in `fix`.
fn room(width: u16, fix: &str) -> usize {
    usize::from(width).saturating_sub(4 + fix.len())
}

/// The lines of the selected finding, where the list has the keys and its row can't hold it.
pub(super) fn detail(bench: &Workbench, width: u16) -> Vec<String> {
    let document = bench.document.as_ref().filter(|_| bench.focus == Focus::Problems);
    let Some(finding) = document.and_then(|it| it.parsed().diagnostics.get(bench.problem)) else { return Vec::new() };
    let sentence = text::clean(&finding.sentence());
    if text::width(&sentence) + INDENT - 3 <= room(width, fix_word(finding)) {
        return Vec::new();
    }
    text::wrap(&sentence, usize::from(width).saturating_sub(INDENT + 1))
}
