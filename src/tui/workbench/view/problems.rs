//! What is wrong with the text: one finding a row.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Look, Places, draw_separator};
use crate::dockerfile::Severity;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::workbench::model::{Focus, Workbench};

pub(super) fn draw(frame: &mut Frame<'_>, places: &Places, bench: &Workbench, look: Look<'_>) {
    let Some(document) = bench.document.as_ref().filter(|_| !places.problems.is_empty()) else { return };
    let is_focused = bench.focus == Focus::Problems;
    let findings = &document.parsed().diagnostics;
    let title = format!("Problems {}", findings.len());
    draw_separator(frame, places.problems_title, &title, None, is_focused, look);
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
        let fix = if finding.suggestion.is_some() { " fix " } else { "" };
        let room = usize::from(row.width).saturating_sub(4 + fix.len());
        let line = text::left(&where_and_what, room, look.glyphs.ellipsis);
        let mark = look.span(format!(" {mark} "), role);
        let mut line = Line::from(vec![mark, look.span(line, Role::Text), look.span(fix.to_owned(), Role::Dim)]);
        if is_focused && place == bench.problem {
            line = line.style(look.style(Role::Selected));
            line.spans.iter_mut().for_each(|span| span.style = look.style(Role::Selected));
        }
        frame.render_widget(line, row);
    }
}
